//! `reconvene backup`: a copy of one moment, in one file that knows whether it is whole.

use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgMatches, Command};
use reconvene::Store;

use super::file::{self, NewFile};
use super::progress::Progress;
use super::{DIR, backup_file, dir, directory, path, required};
use crate::demo::grouped;
use crate::exit::Exit;

pub(crate) const NAME: &str = "backup";

const FILE: &str = "file";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Copies a database, also one in use, to a file with a checksum")
        .long_about(
            "Copies a database to one file, as it is at one moment. A server or an application may have it open and go on \
             writing; what they free meanwhile is used again only when the copy is done.\n\n\
             The file ends with the length and the SHA-256 of its data, so that \"reconvene restore\" notices truncation and \
             damage. It appears under its name when it is whole and on disk. It holds everything that the database holds, \
             the secret key of its identity included: keep it as safe as the database.\n\n\
             Example:\n  reconvene backup data monday.backup",
        )
        .arg(dir())
        .arg(path(FILE, "FILE").help("The file to write"))
        .arg(file::force("Replaces the file if it exists"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let target = required::<PathBuf>(matches, FILE);
    let file = NewFile::new(target, matches.get_flag(file::FORCE))?;
    let given = required::<PathBuf>(matches, DIR);
    let store = directory::open_to_read(given)?;
    let progress = Progress::bytes("Copying", Store::copy_bytes(given)?);
    progress.follow(file.partial(), || store.backup(file.partial()))?;
    let bytes =
        backup_file::seal(file.partial()).with_context(|| format!("cannot write {}", target.display()))?;
    file.keep()?;
    crate::print(&format!("{} bytes of data are in {}\n", grouped(bytes), target.display()))
}
