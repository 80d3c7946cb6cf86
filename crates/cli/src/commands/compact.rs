//! `reconvene compact`: a database without free pages.

use std::path::PathBuf;

use clap::{ArgMatches, Command};
use reconvene::Store;

use super::progress::Progress;
use super::{DIR, dir, directory, required};
use crate::demo::grouped;
use crate::exit::Exit;

pub(crate) const NAME: &str = "compact";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Makes the file of a closed database as small as its data")
        .long_about(
            "Makes the file of a closed database as small as its data. Space that removed objects leave is used again by \
             new ones, so this is worth the while only after much was removed for good.\n\n\
             The data is copied beside the old file, which needs as much free space, and takes its place in one step: a \
             crash leaves either the old file or the new one. No process may have the database open, not even for reading.",
        )
        .arg(dir())
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let given = required::<PathBuf>(matches, DIR);
    let path = directory::existing(given)?;
    let progress = Progress::bytes("Copying", Store::copy_bytes(&path)?);
    let copy = path.join(Store::COMPACTED_FILE);
    let sizes = progress
        .follow(&copy, || Store::compact(&path))
        .map_err(|error| directory::not_beside(given, error.into()))?;
    crate::print(&format!(
        "{} bytes before, {} bytes after\n",
        grouped(sizes.bytes_before),
        grouped(sizes.bytes_after)
    ))
}
