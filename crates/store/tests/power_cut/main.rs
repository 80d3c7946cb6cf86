//! Power cuts: whatever the disk kept of what was not flushed, every commit that returned is there, and the rest is whole or
//! absent.
//!
//! A workload runs in a child process, above a small library in C that records every write and flush. From the record, images
//! are made of what the disk may hold when the power fails at some moment, and each is opened with the real store, in another
//! child process, as a store that reads garbage may crash. A flush that is left out on purpose must be found.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report, and a child process talks to its test"
)]

mod disk;
mod log;
mod peers;
mod verify;
mod workload;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use reconvene_store::Durability;

/// How many images an ordinary run looks at in each mode of durability; [`IMAGES_VARIABLE`] asks for more.
const IMAGES: usize = 150;
const IMAGES_VARIABLE: &str = "RECONVENE_POWER_CUT_IMAGES";

/// How many images are enough to find a flush that is missing; the first that shows it ends the search.
const FAULT_IMAGES: usize = 1_000;

/// With which seed the first workload runs.
const SEED_VARIABLE: &str = "RECONVENE_POWER_CUT_SEED";

/// What a child process is to do, and with what.
const ROLE: &str = "RECONVENE_TEST_CHILD";
const RELAXED: &str = "RECONVENE_CUT_RELAXED";
const ROOT: &str = "RECONVENE_CUT_ROOT";
const LOG: &str = "RECONVENE_CUT_LOG";
const MARKS: &str = "RECONVENE_CUT_MARKS";
const SWALLOW: &str = "RECONVENE_CUT_SWALLOW";
const FAIL: &str = "RECONVENE_CUT_FAIL";

/// How the verifying process begins the line that says what it found.
const FOUND: &str = "found: ";

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

/// Does what a child process is started for; whether this is one.
fn is_child() -> bool {
    let path = |variable: &str| PathBuf::from(env::var_os(variable).unwrap());
    let durability = if env::var_os(RELAXED).is_some() { Durability::Relaxed } else { Durability::Full };
    let seed = number(SEED_VARIABLE, 1);
    match env::var(ROLE).as_deref() {
        Ok("workload") => workload::run(&path(ROOT), &path(MARKS), durability, seed),
        Ok("verify") => {
            let events = log::read(&path(LOG));
            let images = number(IMAGES_VARIABLE, IMAGES as u64) as usize;
            if let Err(finding) = verify::run(&path(ROOT), &events, durability, seed, images) {
                println!("\n{FOUND}{finding}");
                std::process::exit(1);
            }
        }
        Ok("failing") => workload::meet_a_failing_flush(&path(ROOT)),
        Ok(other) => panic!("no child process is a {other}"),
        Err(_) => return false,
    }
    true
}

/// The shim, built once with the compiler that builds LMDB.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = SHIM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cut/shim.c");
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        let built = command.args(["-ldl", "-lpthread"]).output().expect("a C compiler, as LMDB needs one");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        (folder, library)
    });
    library
}

/// A recorded run of the workload.
struct Recorded {
    folder: tempfile::TempDir,
    test: &'static str,
    durability: Durability,
    seed: u64,
}

impl Recorded {
    fn new(test: &'static str, durability: Durability, seed: u64) -> Recorded {
        let recorded = Recorded { folder: verify::folder(), test, durability, seed };
        std::fs::create_dir(recorded.root()).unwrap();
        recorded
    }

    fn run(test: &'static str, durability: Durability, seed: u64, swallow: Option<&str>) -> Recorded {
        let recorded = Recorded::new(test, durability, seed);
        let mut command = recorded.child("workload");
        command.env("LD_PRELOAD", shim()).env(LOG, recorded.log());
        if let Some(swallow) = swallow {
            command.env(SWALLOW, swallow);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "the workload failed: {}", text(&output));
        recorded
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("disk")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn child(&self, role: &str) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", self.test, "--nocapture"]).env(ROLE, role).env(ROOT, self.root());
        command.env(MARKS, self.root().with_file_name("marks")).env(SEED_VARIABLE, self.seed.to_string());
        if self.durability == Durability::Relaxed {
            command.env(RELAXED, "1");
        }
        command
    }

    /// Looks at images in a process of their own; what is wrong, if anything is.
    fn verify(&self, images: usize) -> Result<(), String> {
        let mut command = self.child("verify");
        let output = command.env(LOG, self.log()).env(IMAGES_VARIABLE, images.to_string()).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        let said = text(&output);
        let last = said.lines().rfind(|line| line.starts_with("after event")).unwrap_or("before any image");
        let found = said.lines().find_map(|line| line.strip_prefix(FOUND)).map(str::to_owned);
        let found = found.unwrap_or_else(|| format!("the process ended with {}: {said}", output.status));
        Err(format!("seed {}, {last}: {found}", self.seed))
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn survives(test: &'static str, durability: Durability) {
    let images = number(IMAGES_VARIABLE, IMAGES as u64) as usize;
    // One workload has some hundred steps: more images than it has moments want other workloads.
    let workloads = images.div_ceil(2_000);
    for seed in (number(SEED_VARIABLE, 1)..).take(workloads) {
        let recorded = Recorded::run(test, durability, seed, None);
        verify::check_complete(&recorded.root(), &log::read(&recorded.log()));
        if let Err(finding) = recorded.verify(images / workloads) {
            panic!("{finding}");
        }
        println!("{durability:?}, seed {seed}: {} images are sound", images / workloads);
    }
}

#[test]
fn what_was_committed_survives_a_power_cut() {
    if !is_child() {
        survives("what_was_committed_survives_a_power_cut", Durability::Full);
    }
}

#[test]
fn a_relaxed_store_loses_its_last_commit_at_most() {
    if !is_child() {
        survives("a_relaxed_store_loses_its_last_commit_at_most", Durability::Relaxed);
    }
}

#[test]
fn a_missing_flush_is_found() {
    const NAME: &str = "a_missing_flush_is_found";
    if is_child() {
        return;
    }
    for (durability, swallow) in [
        (Durability::Full, "data"),
        (Durability::Full, "meta"),
        (Durability::Full, "directory"),
        (Durability::Relaxed, "data"),
        // One flush of many is enough to be found.
        (Durability::Full, "data:40"),
        (Durability::Full, "meta:40"),
        (Durability::Relaxed, "data:40"),
    ] {
        let recorded = Recorded::run(NAME, durability, 1, Some(swallow));
        let found =
            recorded.verify(FAULT_IMAGES).expect_err("a store without flushes passes for a sound one");
        println!("{durability:?} without {swallow}: {found:.300}");
    }
}

#[test]
fn a_store_is_spent_after_a_flush_that_failed_and_whole_when_opened_again() {
    const NAME: &str = "a_store_is_spent_after_a_flush_that_failed_and_whole_when_opened_again";
    if is_child() {
        return;
    }
    // The store flushes when its file is made, when it is opened, and with the first note.
    let recorded = Recorded::new(NAME, Durability::Full, 1);
    let mut command = recorded.child("failing");
    command.env("LD_PRELOAD", shim()).env(LOG, recorded.log()).env(FAIL, "4");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
