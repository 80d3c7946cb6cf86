//! `reconvene restore`: a database from a backup. What was there before is never deleted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{ArgMatches, Command};
use reconvene::{Role, Store};

use super::{DIR, backup_file, dir, directory, file, path, required};
use crate::demo::grouped;
use crate::exit::{Exit, Mistake};

pub(crate) const NAME: &str = "restore";

const FILE: &str = "file";

/// How many directories of former restores may lie beside the new one before somebody should tidy up.
const SET_ASIDE_MAX: u32 = 1_000;

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Makes a database from a backup, whose checksum is verified first")
        .long_about(
            "Makes a database from a backup. Its checksum is verified before anything else happens, and the database \
             appears under its name when it is whole and on disk.\n\n\
             A directory that holds anything is refused. With --force it is moved aside, under its name with \
             \".before-restore-1\" behind it, or the next number that is free, and never deleted; no process may have it open.\n\n\
             The backup of a device holds the device's identity. Run one of the two only: a server takes them for one \
             device, and notices the copy as soon as both have written. A server that is restored has forgotten what came \
             after the backup, so its history goes on as a new one. Devices that have seen more compare themselves with it, upload what they \
             had not sent, and keep what the server has lost in their rejected box.",
        )
        .arg(path(FILE, "FILE").help("The backup"))
        .arg(dir().help("The directory to make; it must be missing or empty"))
        .arg(file::force("Moves a directory that holds something aside"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let backup = required::<PathBuf>(matches, FILE);
    let given = required::<PathBuf>(matches, DIR);
    let target = directory::absolute(given)?;
    let occupied = is_occupied(&target)?;
    if occupied && !matches.get_flag(file::FORCE) {
        return Err(Mistake(format!(
            "{} is not empty; name another directory, or give --force to move it aside",
            given.display()
        ))
        .into());
    }
    let made = Made::new(backup, &target)?;
    let mut text = String::new();
    if occupied {
        let hold = target.is_dir().then(|| Store::hold(&target)).transpose();
        let _hold = hold.map_err(|error| directory::not_beside(given, error.into()))?;
        let aside = free_name(&target)?;
        fs::rename(&target, &aside).with_context(|| format!("cannot move {} aside", given.display()))?;
        text += &format!("what was there is in {}\n", aside.display());
    }
    let bytes = made.bytes;
    made.keep(&target)?;
    let store = directory::open_to_read(&target)?;
    text += &format!("{} bytes of data are in {}\n", grouped(bytes), given.display());
    text += &match store.sync().role() {
        Role::Device => format!(
            "This is a copy of a device's identity ({}). If the server knows more of that device by now, or it still runs, one of \
             the two goes on under another name; nothing is lost by that.\n",
            store.sync().peer()
        ),
        Role::Server => format!(
            "A new history of the server begins after position {}. Devices that have seen no more go on with it; those that \
             have compare with it, upload what they had not sent, and keep what it has lost in their rejected box.\n",
            store.sync().head()?
        ),
    };
    crate::print(&text)
}

/// A database that is not in its place yet; it goes when this is dropped before [`Made::keep`].
struct Made {
    directory: PathBuf,
    bytes: u64,
    kept: bool,
}

impl Made {
    /// Verifies the backup and makes a database of it beside the place that it is for.
    fn new(backup: &Path, target: &Path) -> anyhow::Result<Made> {
        let unfit = || format!("{} cannot be restored", backup.display());
        // Once without writing anything: a wrong file must not cost the space of a copy.
        backup_file::unseal("Verifying", backup, &mut io::sink()).with_context(unfit)?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".restoring-{}", std::process::id()));
        let directory = target.with_file_name(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let mut made = Made { directory, bytes: 0, kept: false };
        let failed = || format!("cannot write to {}", made.directory.display());
        let mut data = File::create_new(made.directory.join(Store::DATA_FILE)).with_context(failed)?;
        let bytes = backup_file::unseal("Copying", backup, &mut data).with_context(unfit)?;
        data.sync_all().with_context(failed)?;
        drop(data);
        // A checksum says that the bytes are those that were written; opening it says that they are a database.
        let role = directory::open_to_read(&made.directory).with_context(unfit)?.sync().role();
        if role == Role::Server {
            Store::begin_new_history(&made.directory).with_context(unfit)?;
        }
        File::open(&made.directory).and_then(|directory| directory.sync_all()).with_context(failed)?;
        made.bytes = bytes;
        Ok(made)
    }

    fn keep(mut self, target: &Path) -> anyhow::Result<()> {
        // Over a missing directory or an empty one; anything else makes this fail.
        fs::rename(&self.directory, target)
            .with_context(|| format!("cannot put the database at {}", target.display()))?;
        self.kept = true;
        file::sync_parent(target).with_context(|| format!("cannot make {} durable", target.display()))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: why it was not kept has been told.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn is_occupied(target: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => {
            Err(Mistake(format!("{} cannot be the directory of a database: {error}", target.display()))
                .into())
        }
    }
}

/// A name beside the directory that nothing has.
fn free_name(target: &Path) -> anyhow::Result<PathBuf> {
    let name = target.file_name().unwrap_or_default();
    (1..=SET_ASIDE_MAX)
        .map(|number| {
            let mut name = name.to_owned();
            name.push(format!(".before-restore-{number}"));
            target.with_file_name(name)
        })
        .find(|path| path.symlink_metadata().is_err())
        .with_context(|| format!("too many directories lie beside {}; tidy up first", target.display()))
}
