//! `cargo xtask soak`: the kill test, the power cuts, the store against plain maps, the simulator and real processes, with far
//! more of them than an ordinary run has time for.

use std::path::Path;

use crate::steps::{Step, call, cargo, run_all};

/// How often a run that names no number kills each process.
pub(crate) const KILLS: u32 = 100;

/// The environment variable by which the kill test learns how often to kill each process.
const KILLS_VARIABLE: &str = "RECONVENE_KILLS";

/// The environment variable by which it learns how often to put the server back to a backup.
const RESTORES_VARIABLE: &str = "RECONVENE_RESTORES";

/// How many disks the power cuts look at in each mode of durability, for each kill of the kill test.
const IMAGES_PER_KILL: u32 = 100;

/// The environment variable by which the power cuts learn how many disks to look at.
const IMAGES_VARIABLE: &str = "RECONVENE_POWER_CUT_IMAGES";

/// How many random histories the store is held against plain maps with, on disk and in memory, for each kill of the kill test.
const HISTORIES_PER_KILL: u32 = 10;

/// The environment variable by which that test learns how many.
const HISTORIES_VARIABLE: &str = "RECONVENE_MODEL_CASES";

/// How many seeds the simulator runs for each kill of the kill test.
const SEEDS_PER_KILL: u32 = 100;

/// How many minutes real processes run at most; a minute for each kill of the kill test.
const REAL_MINUTES_MAX: u32 = 30;

pub(crate) fn run(root: &Path, kills: u32) -> anyhow::Result<()> {
    let images = kills.saturating_mul(IMAGES_PER_KILL);
    println!(
        "Killing and restarting a server and two devices {kills} times each, then cutting the power {images} times in each \
         mode of durability; the tests print how far they are."
    );
    // The first one is printed, and a seed that fails says how to replay it.
    let (start, seeds) = (fresh_seed().to_string(), kills.saturating_mul(SEEDS_PER_KILL).to_string());
    let seed = start.clone();
    let test = |package: &str, test: &str| {
        cargo(root, &["test", "-p", package, "--release", "--test", test, "--", "--nocapture"])
    };
    run_all(vec![
        Step::new("kill test", || {
            let mut test = test("reconvene-cli", "kills");
            call(test.env(KILLS_VARIABLE, kills.to_string()).env(RESTORES_VARIABLE, kills.to_string()))
        }),
        Step::new("power cuts", || {
            call(test("reconvene-store", "power_cut").env(IMAGES_VARIABLE, images.to_string()))
        }),
        Step::new("store against plain maps", || {
            let histories = kills.saturating_mul(HISTORIES_PER_KILL);
            call(test("reconvene-store", "model").env(HISTORIES_VARIABLE, histories.to_string()))
        }),
        Step::new("simulator", move || {
            let run = ["run", "-p", "reconvene-sim", "--release", "--", "--start", &start, "--seeds", &seeds];
            call(&mut cargo(root, &run))
        }),
        Step::new("real processes", move || {
            let minutes = kills.clamp(1, REAL_MINUTES_MAX).to_string();
            let run = [
                "run",
                "-p",
                "reconvene-sim",
                "--release",
                "--",
                "real",
                "--minutes",
                &minutes,
                "--seed",
                &seed,
            ];
            call(&mut cargo(root, &run))
        }),
    ])
}

/// The first of many seeds that nobody has tried.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() << 20
}
