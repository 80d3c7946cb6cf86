//! `cargo xtask callgrind`: counts the instructions of the hot paths and compares them with the committed numbers.
//!
//! Instructions, unlike times, are nearly the same on a busy machine and an idle one, so a small change for the worse is seen
//! in any run. They depend on the compiler: numbers of another one are shown and not judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::steps::{call, cargo, succeeds};

/// The committed numbers.
const FILE: &str = "crates/bench/instructions.json";

/// How many objects each piece of work covers.
const OBJECTS: &str = "2000";

/// By how much a number may exceed the committed one, in percent: hash tables are seeded anew in each process, the system's
/// library is another one elsewhere, and some code suits itself to the processor.
const TOLERANCE_PERCENT: f64 = 4.0;

/// The function of the benchmarks that calls what is to be counted.
const COLLECTED: &str = "--toggle-collect=*collected_by_callgrind*";

pub(crate) fn run(root: &Path, bless: bool) -> anyhow::Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("The committed numbers of instructions are those of Linux on x86-64: nothing was compared.");
        return Ok(());
    }
    install()?;
    let program = build(root)?;
    let counted = count(&program)?;
    let compiler = compiler(root)?;
    let file = root.join(FILE);
    if bless {
        let mut text = serde_json::to_string_pretty(&json!({
            "compiler": compiler, "objects": OBJECTS, "instructions": counted,
        }))?;
        text.push('\n');
        std::fs::write(&file, text).with_context(|| format!("{FILE} could not be written"))?;
        println!("{FILE} holds these numbers:\n{}", table(&counted, &BTreeMap::new()));
        return Ok(());
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("{FILE} could not be read"))?;
    let committed: Value = serde_json::from_str(&text).with_context(|| format!("{FILE} is not JSON"))?;
    let numbers =
        committed["instructions"].as_object().with_context(|| format!("{FILE} has no instructions"))?;
    let numbers: BTreeMap<String, u64> =
        numbers.iter().filter_map(|(name, number)| Some((name.clone(), number.as_u64()?))).collect();
    println!("{}", table(&counted, &numbers));
    if committed["compiler"] != json!(compiler) {
        println!(
            "The committed numbers are those of another compiler: nothing was judged. Bless those of {compiler}."
        );
        return Ok(());
    }
    let complaints = complaints(&counted, &numbers);
    ensure!(
        complaints.is_empty(),
        "{}\nFind out why; if it must be so, run `cargo xtask callgrind --bless` and say why in the commit",
        complaints.join("\n")
    );
    Ok(())
}

/// Installs valgrind where the package manager of Debian is at hand.
pub(crate) fn install() -> anyhow::Result<()> {
    let is_there = || succeeds(Command::new("valgrind").arg("--version"));
    if is_there() || !cfg!(target_os = "linux") {
        return Ok(());
    }
    println!("valgrind is missing and is installed");
    let steps: [&[&str]; 2] = [&["update"], &["install", "--yes", "valgrind"]];
    for step in steps {
        // Where the lists cannot be renewed, those that are there may do.
        let _ = succeeds(Command::new("apt-get").args(step))
            || succeeds(Command::new("sudo").args(["--non-interactive", "apt-get"]).args(step));
    }
    ensure!(is_there(), "valgrind could not be installed: install the package valgrind of your system");
    Ok(())
}

/// Builds the benchmarks; the program.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let mut build = cargo(root, &["build", "--release", "--package", "reconvene-bench"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("Cargo could not be started")?;
    ensure!(output.status.success(), "the benchmarks could not be built; the compiler's output stands above");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .context("Cargo named no program of reconvene-bench")
}

/// The instructions of every piece of work, by its name.
fn count(program: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let names = Command::new(program).arg("hot").output().context("the benchmarks could not be started")?;
    let names = String::from_utf8(names.stdout).context("the names of the pieces of work are no text")?;
    let directory = std::env::temp_dir().join(format!("reconvene-callgrind-{}", std::process::id()));
    std::fs::create_dir_all(&directory).context("no directory for what callgrind writes could be made")?;
    let out = directory.join("out");
    let one = |name: &str| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--quiet", COLLECTED]);
        valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
        valgrind.args(["hot", name, "--objects", OBJECTS, "--directory"]).arg(&directory);
        call(&mut valgrind)?;
        let written = std::fs::read_to_string(&out).context("callgrind has written nothing")?;
        let count = total(&written).with_context(|| format!("callgrind counted nothing in {name:?}"))?;
        Ok((name.to_owned(), count))
    };
    let counted = names.lines().map(one).collect();
    // Best effort: it lies among temporary files.
    let _ = std::fs::remove_dir_all(&directory);
    counted
}

/// The sum in a file of callgrind; `None` if there is none, or nothing was counted.
fn total(written: &str) -> Option<u64> {
    let line = written.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok().filter(|&total| total > 0)
}

fn compiler(root: &Path) -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("--version").current_dir(root).output();
    let output = output.context("rustc could not be started")?;
    if !output.status.success() {
        bail!("`rustc --version` ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// By how many percent a number differs from the committed one.
fn change(counted: u64, committed: u64) -> f64 {
    (counted as f64 / committed as f64 - 1.0) * 100.0
}

fn table(counted: &BTreeMap<String, u64>, committed: &BTreeMap<String, u64>) -> String {
    let mut lines =
        vec![format!("{:<28} {:>14} {:>14} {:>8}", "work", "instructions", "committed", "change")];
    for (name, &count) in counted {
        let (before, change) = match committed.get(name) {
            Some(&before) => (before.to_string(), format!("{:+.2} %", change(count, before))),
            None => ("-".to_owned(), "-".to_owned()),
        };
        lines.push(format!("{name:<28} {count:>14} {before:>14} {change:>8}"));
    }
    lines.join("\n")
}

/// What is worse than it may be, or is not compared at all.
fn complaints(counted: &BTreeMap<String, u64>, committed: &BTreeMap<String, u64>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, &count) in counted {
        match committed.get(name) {
            Some(&before) if change(count, before) > TOLERANCE_PERCENT => complaints.push(format!(
                "{name}: {:+.2} % instructions, {TOLERANCE_PERCENT} % are allowed",
                change(count, before)
            )),
            Some(_) => {}
            None => complaints.push(format!("{name}: {FILE} has no number for it")),
        }
    }
    let gone = committed.keys().filter(|name| !counted.contains_key(*name));
    complaints.extend(gone.map(|name| format!("{name}: {FILE} has a number for it, but it is not counted")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[(&str, u64)]) -> BTreeMap<String, u64> {
        numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    #[test]
    fn more_instructions_than_allowed_are_complained_about() {
        let committed = numbers(&[("get", 1000), ("put", 1000), ("scan", 1000)]);
        assert!(complaints(&numbers(&[("get", 1039), ("put", 10), ("scan", 1000)]), &committed).is_empty());
        let complained = complaints(&numbers(&[("get", 1041), ("put", 1000), ("find", 1)]), &committed);
        assert_eq!(complained.len(), 3, "{complained:?}");
        assert!(complained[1].starts_with("get: +4.10 %"), "{complained:?}");
    }

    #[test]
    fn the_sum_is_found_in_what_callgrind_writes() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1)\n1 5\ntotals: 123456\n"), Some(123_456));
        assert_eq!(total("events: Ir\ntotals: 0\n"), None);
        assert_eq!(total("events: Ir\n"), None);
    }
}
