//! The project's own chores: `cargo xtask help` lists them.
//!
//! `whole` is everything that must hold before a commit, `tidy` what no compiler checks, `codegen` the code written
//! from the protocol's definition, `soak` the tests that take long, `fuzz` the search for bad inputs,
//! `callgrind` the instructions of the hot paths; `steps` runs programs and says how it goes.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

mod callgrind;
mod codegen;
mod fuzz;
mod soak;
mod steps;
mod tidy;
mod whole;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

const HELP: &str = "\
The chores of Reconvene.

Usage: cargo xtask <command>

Commands:
  test               Everything that must hold before a commit, from formatting to the documentation.
                     Installs what it needs when that is missing (cargo-deny, rustfmt, clippy, valgrind).
  tidy               The rules of the house that no compiler checks: edges between crates, unsafe code,
                     links, length of files. Takes a second.
  codegen [--check]  Writes crates/protocol/src/generated.rs from crates/protocol/proto/reconvene.proto;
                     with --check only tells whether the file is what would be written.
  callgrind [--bless]
                     Counts the instructions of the hot paths and compares them with
                     crates/bench/instructions.json; with --bless writes them there.
  soak [--kills N]   The kill test, with N kills of each process (100 unless told) and N restores; for each of those
                     100 power cuts, 100 seeds of the simulator and, up to 30, a minute of real processes. A release
                     build.
  fuzz <target> [--minutes N]
                     Searches for N minutes (60 unless told) for inputs that break a target of crates/fuzz.
  help               This text.

Exit codes: 0 all is well, 1 something failed, 2 the command was not understood.
";

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Chore {
    Test,
    Tidy,
    Codegen { check: bool },
    Callgrind { bless: bool },
    Soak { kills: u32 },
    Fuzz { target: String, minutes: u32 },
    Help,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let chore = match parse(&arguments) {
        Ok(chore) => chore,
        Err(message) => {
            eprintln!("error: {message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> anyhow::Result<()> {
    let root = root()?;
    match chore {
        Chore::Test => whole::run(&root),
        Chore::Tidy => tidy::run(&root),
        Chore::Codegen { check: true } => codegen::check(&root),
        Chore::Codegen { check: false } => codegen::write(&root),
        Chore::Callgrind { bless } => callgrind::run(&root, *bless),
        Chore::Soak { kills } => soak::run(&root, *kills),
        Chore::Fuzz { target, minutes } => fuzz::run(&root, target, *minutes),
        Chore::Help => {
            print!("{HELP}");
            Ok(())
        }
    }
}

fn parse(arguments: &[&str]) -> Result<Chore, String> {
    match arguments {
        ["test"] => Ok(Chore::Test),
        ["tidy"] => Ok(Chore::Tidy),
        ["codegen"] => Ok(Chore::Codegen { check: false }),
        ["codegen", "--check"] => Ok(Chore::Codegen { check: true }),
        ["callgrind"] => Ok(Chore::Callgrind { bless: false }),
        ["callgrind", "--bless"] => Ok(Chore::Callgrind { bless: true }),
        ["soak"] => Ok(Chore::Soak { kills: soak::KILLS }),
        ["soak", "--kills", kills] => match kills.parse() {
            Ok(kills) if kills > 0 => Ok(Chore::Soak { kills }),
            _ => Err(format!("`{kills}` is not a number of kills: give 1 or more")),
        },
        ["fuzz", target] if !target.starts_with('-') => {
            Ok(Chore::Fuzz { target: (*target).to_owned(), minutes: fuzz::MINUTES })
        }
        ["fuzz", target, "--minutes", minutes] => match minutes.parse() {
            Ok(minutes) if minutes > 0 => Ok(Chore::Fuzz { target: (*target).to_owned(), minutes }),
            _ => Err(format!("`{minutes}` is not a number of minutes: give 1 or more")),
        },
        ["fuzz"] => Err("`fuzz` needs the name of a target, such as `frame`".to_owned()),
        ["help" | "--help" | "-h"] => Ok(Chore::Help),
        [] => Err("a command is missing".to_owned()),
        [command @ ("test" | "tidy" | "codegen" | "callgrind" | "soak" | "fuzz" | "help"), rest @ ..] => {
            Err(format!("`{command}` does not take `{}`", rest.join(" ")))
        }
        [command, ..] => Err(format!("there is no command `{command}`")),
    }
}

/// The directory of the workspace, of which this crate is two folders below.
fn root() -> anyhow::Result<PathBuf> {
    // Cargo tells running programs as well where their package lies; without Cargo, the place of the build holds.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root =
        Path::new(&package).ancestors().nth(2).context("this crate must lie in <workspace>/crates/xtask")?;
    Ok(root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_what_help_lists() {
        for (line, chore) in [
            ("test", Chore::Test),
            ("tidy", Chore::Tidy),
            ("codegen", Chore::Codegen { check: false }),
            ("codegen --check", Chore::Codegen { check: true }),
            ("callgrind", Chore::Callgrind { bless: false }),
            ("callgrind --bless", Chore::Callgrind { bless: true }),
            ("soak", Chore::Soak { kills: 100 }),
            ("soak --kills 7", Chore::Soak { kills: 7 }),
            ("fuzz frame", Chore::Fuzz { target: "frame".to_owned(), minutes: 60 }),
            ("fuzz tx --minutes 5", Chore::Fuzz { target: "tx".to_owned(), minutes: 5 }),
            ("help", Chore::Help),
            ("--help", Chore::Help),
        ] {
            let arguments: Vec<&str> = line.split(' ').collect();
            assert_eq!(parse(&arguments), Ok(chore), "{line}");
        }
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        for (arguments, reason) in [
            (&[][..], "a command is missing"),
            (&["tests"], "there is no command `tests`"),
            (&["tidy", "--fix"], "`tidy` does not take `--fix`"),
            (&["soak", "--kills"], "`soak` does not take `--kills`"),
            (&["soak", "--kills", "0"], "`0` is not a number of kills: give 1 or more"),
            (&["fuzz"], "`fuzz` needs the name of a target, such as `frame`"),
            (&["fuzz", "--minutes", "5"], "`fuzz` does not take `--minutes 5`"),
            (&["fuzz", "tx", "--minutes", "0"], "`0` is not a number of minutes: give 1 or more"),
            (&["soak", "--kills", "-1"], "`-1` is not a number of kills: give 1 or more"),
        ] {
            assert_eq!(parse(arguments), Err(reason.to_owned()));
        }
    }
}
