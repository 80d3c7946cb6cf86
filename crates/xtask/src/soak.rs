//! `cargo xtask soak`: the kill tests, far more often than an ordinary run has time for.

use std::path::Path;

use crate::steps::{Step, call, cargo, run_all};

/// Kills of a run that names no number.
pub(crate) const KILLS: u32 = 100;

/// The environment variable by which the kill tests learn how often to kill.
const KILLS_VARIABLE: &str = "RECONVENE_SOAK_KILLS";

pub(crate) fn run(root: &Path, kills: u32) -> anyhow::Result<()> {
    println!("Killing and restarting {kills} times; the tests print how far they are.");
    let arguments = ["test", "-p", "reconvene-cli", "--release", "--test", "kills", "--", "--nocapture"];
    run_all(vec![Step::new("kill tests", || {
        call(cargo(root, &arguments).env(KILLS_VARIABLE, kills.to_string()))
    })])
}
