//! The demo as people run it: the real program, with its exit codes and its last lines.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reconvene::{Role, Store};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconvene"));
    command.arg("demo").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    demo(arguments).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The content hash in the last result.
fn hash(text: &str) -> &str {
    let mut lines =
        text.lines().skip_while(|line| !line.starts_with("reopened    server, A and B hold the same: "));
    lines.nth(1).expect("a line with the hash").trim()
}

#[test]
fn quiet_prints_the_results_only() {
    let text = succeed(&["--objects", "2000", "--quiet", "--seed", "7"]);
    let beginnings = ["import ", "on the wire ", "reconvened ", "reopened ", " "];
    assert_eq!(text.lines().count(), beginnings.len(), "{text}");
    for (line, beginning) in text.lines().zip(beginnings) {
        assert!(line.starts_with(beginning) && line.len() <= 100, "{line}");
    }
    // Two of the cities were removed; of five shops one was refused.
    assert!(text.contains(": 1,998 cities, 4 shops\n"), "{text}");
    assert_eq!(hash(&text).len(), 64);
}

#[test]
fn everything_is_told_within_100_columns() {
    let text = succeed(&["--objects", "1000"]);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for words in [
        "GeoNames",
        "The network is cut: 2 connections were reset.",
        "6 changes wait on A, 6 on B.",
        "by the law",
        "the later write",
        "because the object was removed on another device",
        "because op.not-unique (703)",
        "name \"South Pier\", code \"PIER-1\"",
        "cargo run --release -p tasks -- watch",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("EXPECTED") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn what_is_kept_is_what_was_compared() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let kept_text = kept.to_str().unwrap();
    let text = succeed(&["--objects", "5000", "--quiet", "--keep", kept_text]);
    for (name, role) in [("server", Role::Server), ("a", Role::Device), ("b", Role::Device)] {
        let store = Store::builder(kept.join(name)).role(role).open().unwrap();
        let content: String =
            store.sync().content_hash().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(content, hash(&text), "{name}");
        let rejected = store.sync().rejected().unwrap().len();
        assert_eq!(rejected, if name == "b" { 2 } else { 0 }, "{name}");
    }

    let again = run(&["--keep", kept_text]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("is not empty; name a new directory"));
}

#[test]
fn wrong_options_are_told_and_nothing_is_begun() {
    for (arguments, words) in [
        (&["--objekts", "5"][..], "'--objects'"),
        (&["--objects", "99"], "99 is not in 100..=171075"),
        (&["--objects", "171076"], "171076"),
        (&["--seed", "x"], "invalid digit"),
        (&["--keep", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], "Cargo.toml cannot be used"),
        (&["more"], "unexpected argument 'more'"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(&[]);
    child.env("TMPDIR", temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("A server and two devices"));
    let directory = lines.next().unwrap().unwrap();
    assert!(Path::new(&directory).starts_with(temporary.path()), "{directory}");

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("stopped; the temporary directories are removed"), "{error}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
