//! Benchmarks: what Reconvene takes in times of a floor that is measured in the same run.
//!
//! `store` (with `whole`), `sync` and `merge` are the suites, `floor` the minimal program on LMDB that they are compared with, `calibrate` what the floor
//! itself is compared with, `echo` a bare WebSocket, `hot` the work whose instructions are counted,
//! `parties` the processes of the suite of sync. `measure` runs ours and the floor in interleaved pairs, `report` prints. `docs/performance.md`
//! says what was found.

mod calibrate;
mod data;
mod echo;
mod floor;
mod hot;
mod measure;
mod merge;
mod parties;
mod report;
mod store;
mod store_queries;
mod sync;
mod whole;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tempfile::TempDir;

use measure::Row;

/// What a suite is to run with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many objects.
    pub(crate) objects: usize,
    /// How many pairs of ours and the floor.
    pub(crate) pairs: usize,
    /// Where stores are made; it should lie on the disk whose flushes are to count.
    pub(crate) within: PathBuf,
}

impl Settings {
    /// A new directory for one store, removed when it is dropped.
    pub(crate) fn directory(&self) -> anyhow::Result<TempDir> {
        let made = tempfile::tempdir_in(&self.within);
        made.with_context(|| format!("no directory for a store could be made in {}", self.within.display()))
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    let (suite, matches) = matches.subcommand().context("clap demands a suite")?;
    if suite == "party" {
        let directory = matches.get_one::<PathBuf>("directory").context("clap demands a directory")?;
        parties::run(directory, matches.get_one::<String>("server").map(String::as_str))?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = settings(matches);
    if suite == "hot" {
        return hot(matches.get_one::<String>("piece"), &settings);
    }
    let rows = match suite {
        "store" => {
            let mut rows = calibrate::run(&settings, "store")?;
            rows.extend(store::run(&settings)?);
            rows
        }
        "merge" => merge::run(&settings)?,
        _ => sync::run(&settings)?,
    };
    let mut output = io::stdout().lock();
    writeln!(output, "{}", report::table(&rows)).context("cannot write to standard output")?;
    if let Some(file) = matches.get_one::<PathBuf>("json") {
        std::fs::write(file, report::json_lines(&rows))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let all_ok = rows.iter().all(Row::ok);
    Ok(if matches.get_flag("check") && !all_ok { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Does one piece of work, or names them all.
fn hot(piece: Option<&String>, settings: &Settings) -> anyhow::Result<ExitCode> {
    match piece {
        Some(piece) => hot::run(piece, settings)?,
        None => {
            let mut output = io::stdout().lock();
            hot::names().try_for_each(|name| writeln!(output, "{name}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(matches: &ArgMatches) -> Settings {
    let number = |name| matches.get_one::<u32>(name).copied().expect("the option has a default") as usize;
    Settings {
        objects: number("objects"),
        pairs: number("pairs"),
        within: matches.get_one::<PathBuf>("directory").cloned().unwrap_or_else(std::env::temp_dir),
    }
}

fn command() -> Command {
    let options = || {
        let number = |name, help: &'static str, default| {
            let parser = value_parser!(u32).range(1..);
            Arg::new(name).long(name).value_name("N").help(help).value_parser(parser).default_value(default)
        };
        let path = |name, value, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help).value_parser(value_parser!(PathBuf))
        };
        [
            number("objects", "How many objects each operation covers", "100000"),
            number("pairs", "How often ours and the floor are measured, in turns", "5"),
            path("json", "FILE", "Write the rows there as well, one JSON object a line"),
            path("directory", "DIR", "Where the stores are made; default: where temporary files go"),
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Exit with 1 if the lower quartile of some row's ratios is above its target"),
        ]
    };
    Command::new("reconvene-bench")
        .about("Measures Reconvene in times of a minimal program on LMDB, in interleaved pairs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("store").about("Puts, reads and queries").args(options()))
        .subcommand(
            Command::new("party")
                .about("A server or a device of the suite of sync, which takes orders from it")
                .hide(true)
                .arg(
                    Arg::new("directory")
                        .value_name("DIR")
                        .required(true)
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(Arg::new("server").value_name("ADDRESS")),
        )
        .subcommand(
            Command::new("hot")
                .about("One piece of work for cargo xtask callgrind, or without a name their names")
                .arg(Arg::new("piece").value_name("NAME").help("Which one"))
                .args(options()),
        )
        .subcommand(Command::new("sync").about("Two devices and a server").args(options()))
        .subcommand(
            Command::new("merge")
                .about("Incoming updates, the room for stamps, the simulator")
                .args(options()),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults() {
        command().debug_assert();
        let matches = command().try_get_matches_from(["reconvene-bench", "sync", "--pairs", "7"]).unwrap();
        let settings = settings(matches.subcommand().unwrap().1);
        assert_eq!((settings.objects, settings.pairs), (100_000, 7));
        assert!(command().try_get_matches_from(["reconvene-bench", "store", "--pairs", "0"]).is_err());
    }
}
