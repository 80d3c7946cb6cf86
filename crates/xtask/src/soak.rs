//! `cargo xtask soak`: the kill test, with far more kills than an ordinary run has time for.

use std::path::Path;

use crate::steps::{Step, call, cargo, run_all};

/// How often a run that names no number kills each process.
pub(crate) const KILLS: u32 = 100;

/// The environment variable by which the kill test learns how often to kill each process.
const KILLS_VARIABLE: &str = "RECONVENE_KILLS";

pub(crate) fn run(root: &Path, kills: u32) -> anyhow::Result<()> {
    println!(
        "Killing and restarting a server and two devices {kills} times each; the test prints how far it is."
    );
    let arguments = ["test", "-p", "reconvene-cli", "--release", "--test", "kills", "--", "--nocapture"];
    run_all(vec![Step::new("kill test", || {
        call(cargo(root, &arguments).env(KILLS_VARIABLE, kills.to_string()))
    })])
}
