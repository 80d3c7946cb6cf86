//! `reconvene check`: reads a whole database and names what is damaged.
//!
//! The data file is mapped into memory, so damage to its inner structure can end the process that reads it. Therefore a child
//! process reads, and this one tells how that ended.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use anyhow::Context;
use clap::{ArgMatches, Command};
use reconvene::{FINDINGS_MAX, Store};

use super::{DIR, dir, directory, required, table};
use crate::exit::{Exit, complain};

pub(crate) const NAME: &str = "check";

/// In the environment of the process that reads, so that it does not start another one.
const READER: &str = "RECONVENE_CHECK_READER";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Reads a whole database and names what is damaged")
        .long_about(
            "Reads a whole database and names what is damaged: every record is read down to its last property, every index \
             is compared with its objects, and the tables of sync with each other. Nothing is changed. A server or an \
             application may have the database open meanwhile.\n\n\
             The exit code is 0 if nothing is damaged, and 1 otherwise. A damaged database is best restored from a backup; \
             a device that has nothing waiting in its outbox can as well sync anew into an empty directory.",
        )
        .arg(dir())
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let directory = required::<PathBuf>(matches, DIR);
    if std::env::var_os(READER).is_some() { check(directory) } else { in_child(directory) }
}

fn in_child(directory: &Path) -> anyhow::Result<Exit> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let child = Process::new(program)
        .arg(NAME)
        .arg("--")
        .arg(directory)
        .env(READER, "1")
        .stdin(Stdio::null())
        .status()
        .context("the process that reads the database cannot be started")?;
    match child.code() {
        Some(0) => Ok(Exit::Success),
        Some(2) => Ok(Exit::Usage),
        Some(1) => Ok(Exit::Failure),
        // A signal, or the code of a panic: what was read made no sense at all.
        _ => {
            complain(&format!(
                "error: the file {} is damaged so badly that the process reading it was ended ({child}); restore a backup",
                directory.join(Store::DATA_FILE).display()
            ));
            Ok(Exit::Failure)
        }
    }
}

fn check(directory: &Path) -> anyhow::Result<Exit> {
    let store = directory::open_to_read(directory)?;
    let findings = store.check()?;
    let mut objects = 0;
    for entity in store.schema().entities() {
        // What cannot be counted is among the findings.
        objects += store.objects(&entity.name)?.count().unwrap_or(0);
    }
    if findings.is_empty() {
        return crate::print(&format!("no damage: {} read\n", table::counted(objects, "object")));
    }
    let mut text = String::new();
    for finding in &findings {
        text += &format!("{}\n", table::plain(&finding.to_string()));
    }
    crate::print(&text)?;
    let more = if findings.len() >= FINDINGS_MAX { " or more; it stopped there" } else { "" };
    complain(&format!(
        "error: {}{more}; restore a backup, or let a device with an empty outbox sync anew",
        table::counted(findings.len() as u64, "finding")
    ));
    Ok(Exit::Failure)
}
