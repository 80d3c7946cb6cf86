//! `reconvene check`: reads a whole database and names what is damaged.
//!
//! The pages of the file are read first, without mapping it into memory; only a file whose structure is sound is opened, in
//! a process of its own like with every command that looks into databases.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use reconvene::{FINDINGS_MAX, Finding, Store};

use super::progress::Progress;
use super::{DIR, dir, directory, required, table};
use crate::exit::Exit;
use crate::messages;

pub(crate) const NAME: &str = "check";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Reads a whole database and names what is damaged")
        .long_about(
            "Reads a whole database and names what is damaged. First the data file, page by page: the place, the bounds, the \
             order and the number of everything in it. Then what it holds: every record is read down to its last property, \
             every index is compared with its objects, and the tables of sync with each other. Nothing is changed. A server \
             or an application may have the database open meanwhile.\n\n\
             A finding names page and byte, the entity, and the objects concerned. Where pages are damaged, the records that \
             can still be reached are read, and what could not be looked at is said.\n\n\
             The exit code is 0 if nothing is damaged, and 1 otherwise. A damaged database is best restored from a backup; \
             a device that has nothing waiting in its outbox can as well sync anew into an empty directory.",
        )
        .arg(dir())
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let given = required::<PathBuf>(matches, DIR);
    let path = directory::existing(given)?;
    let report =
        watched(|bytes| Progress::bytes("Pages", bytes), |watch| Store::check_file_watched(path, watch))?;
    if !report.findings.is_empty() {
        return damaged(&report.findings, &report.unseen);
    }
    let (findings, objects) = content(given)?;
    if !findings.is_empty() {
        return damaged(&findings, &[]);
    }
    let mut text = format!("no damage: {} read\n", table::counted(objects, "object"));
    if report.lost_pages > 0 {
        let lost = table::counted(report.lost_pages, "page");
        text +=
            &format!("{lost} of the file will never be used again; \"reconvene compact\" gives them back\n");
    }
    crate::print(&text)
}

/// Checks what a file of sound structure holds; the findings, and how many objects there are.
fn content(directory: &Path) -> anyhow::Result<(Vec<Finding>, u64)> {
    let store = directory::open_to_read(directory)?;
    let findings = watched(|rows| Progress::new("Content", Some(rows)), |watch| store.check_watched(watch))?;
    let mut objects = 0;
    for entity in store.schema().entities() {
        // What cannot be counted is among the findings.
        objects += store.objects(&entity.name)?.count().unwrap_or(0);
    }
    Ok((findings, objects))
}

/// Does something that tells how far it is, if that takes long enough to be told at all.
fn watched<T>(begin: impl Fn(u64) -> Progress, work: impl FnOnce(&dyn Fn(u64, u64)) -> T) -> T {
    let progress = OnceCell::new();
    let told = Cell::new(0);
    let outcome = work(&|done, total| {
        told.set(done);
        progress.get_or_init(|| begin(total)).set(done);
    });
    if let Some(progress) = progress.into_inner() {
        progress.finish(told.get());
    }
    outcome
}

fn damaged(findings: &[Finding], unseen: &[String]) -> anyhow::Result<Exit> {
    let mut text = String::new();
    for finding in findings {
        text += &format!("{}\n", table::plain(&finding.to_string()));
    }
    for sentence in unseen {
        text += &format!("{}\n", table::plain(sentence));
    }
    crate::print(&text)?;
    let more = if findings.len() >= FINDINGS_MAX { " or more; it stopped there" } else { "" };
    messages::error(&format!(
        "{}{more}; restore a backup, or let a device with an empty outbox sync anew",
        table::counted(findings.len() as u64, "finding")
    ));
    Ok(Exit::Failure)
}
