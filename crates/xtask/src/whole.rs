//! `cargo xtask test`: everything that must hold before a commit, quick checks first.

use std::path::Path;
use std::process::Command;

use crate::steps::{Step, call, cargo, run_all, succeeds};
use crate::{callgrind, codegen, tidy};

/// The version of cargo-deny for which `deny.toml` is written.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    run_all(vec![
        Step::new("install what is missing", || install(root)),
        Step::new("formatting", || call(&mut cargo(root, &["fmt", "--all", "--check"]))),
        Step::new("tidy", || tidy::run(root)),
        Step::new("generated code", || codegen::check(root)),
        Step::new("licences, bans, sources", || {
            call(&mut cargo(
                root,
                &["deny", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"],
            ))
        }),
        Step::new("lints", || {
            call(&mut cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        }),
        Step::new("documentation", || {
            // Only libraries: the program and the facade share a name, and their pages would share a folder.
            let mut doc = cargo(root, &["doc", "--workspace", "--no-deps", "--lib"]);
            call(doc.env("RUSTDOCFLAGS", "-D warnings"))
        }),
        Step::new("tests", || call(&mut cargo(root, &["test", "--workspace"]))),
        Step::new("mistakes made on purpose", || {
            // A build of its own: no other test may run a product that makes mistakes.
            let test = ["test", "-p", "reconvene-sim", "--features", "planted-faults", "--test", "planted"];
            call(&mut cargo(root, &test))
        }),
        Step::new("instructions of the hot paths", || callgrind::run(root, false)),
    ])
}

/// Installs the tools that the steps need and the machine lacks.
fn install(root: &Path) -> anyhow::Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !succeeds(&mut cargo(root, &[subcommand, "--version"])) {
            println!("{component} is missing and is added to the toolchain");
            call(Command::new("rustup").args(["component", "add", component]).current_dir(root))?;
        }
    }
    if !succeeds(&mut cargo(root, &["deny", "--version"])) {
        println!("cargo-deny is missing and is installed, which takes some minutes");
        call(&mut cargo(root, &["install", "--locked", CARGO_DENY]))?;
    }
    callgrind::install()
}
