//! `cargo xtask fuzz`: searches for inputs that break a target of `crates/fuzz`, guided by coverage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::steps::{Step, call, cargo, run_all};

/// How long a run takes that names no time, in minutes.
pub(crate) const MINUTES: u32 = 60;

/// The crate with a program for each target, outside the workspace.
const PROGRAMS: &str = "crates/fuzz/libfuzzer";

/// What makes the compiler of the stable toolchain count which code an input reaches, for libFuzzer to read.
const INSTRUMENTATION: [&str; 6] = [
    "passes=sancov-module",
    "llvm-args=-sanitizer-coverage-level=4",
    "llvm-args=-sanitizer-coverage-trace-compares",
    "llvm-args=-sanitizer-coverage-inline-8bit-counters",
    "llvm-args=-sanitizer-coverage-pc-table",
    "codegen-units=1",
];

/// An input longer than this is not made: readers have no limit that only a longer one meets.
const INPUT_BYTES_MAX: u32 = 16 * 1024;

/// A run that holds more memory has found something.
const MEMORY_MB_MAX: u32 = 1024;

/// An input that takes longer has found something, in seconds.
const INPUT_SECONDS_MAX: u32 = 10;

pub(crate) fn run(root: &Path, target: &str, minutes: u32) -> anyhow::Result<()> {
    let targets = targets(root)?;
    if !targets.iter().any(|known| known == target) {
        bail!("there is no target `{target}`; there are {}", targets.join(", "));
    }
    let host = host(root)?;
    let build = root.join("target/libfuzzer");
    let work = root.join("target/fuzz");
    let (corpus, crashes) = (work.join("corpus").join(target), work.join("found").join(target));
    for folder in [&corpus, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
    }
    run_all(vec![
        Step::new("build with instrumentation", || call(&mut build_command(root, &build, &host, target))),
        Step::new("search", || {
            println!(
                "Inputs that reach new code go to target/fuzz/corpus/{target}, one that breaks a promise to \
                 target/fuzz/found/{target} and ends the run: keep it in crates/fuzz/corpus/{target} under the name of the fault."
            );
            let mut program = Command::new(build.join(&host).join("release").join(target));
            program.arg(&corpus).args(seeds(root, target)).args([
                format!("-max_total_time={}", u64::from(minutes) * 60),
                format!("-max_len={INPUT_BYTES_MAX}"),
                format!("-rss_limit_mb={MEMORY_MB_MAX}"),
                format!("-timeout={INPUT_SECONDS_MAX}"),
                format!("-artifact_prefix={}/", crashes.display()),
                "-print_final_stats=1".to_owned(),
            ]);
            call(program.current_dir(root))
        }),
    ])
}

/// The names of all targets.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join(PROGRAMS).join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{} could not be read", folder.display()))? {
        let path = entry?.path();
        if let (Some("rs"), Some(name)) =
            (path.extension().and_then(|ending| ending.to_str()), path.file_stem())
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The folders whose files a run begins with.
fn seeds(root: &Path, target: &str) -> Vec<PathBuf> {
    let fixtures = match target {
        "frame" | "ranges" => Some("fixtures/messages"),
        "tx" | "states" => Some("fixtures/changes"),
        "record" => Some("fixtures/records"),
        "flex" => Some("fixtures/flex"),
        "model_file" => Some("fixtures/models"),
        _ => None,
    };
    let kept = Path::new("crates/fuzz/corpus").join(target);
    let folders = [Some(kept), fixtures.map(PathBuf::from)].into_iter().flatten();
    folders.map(|folder| root.join(folder)).filter(|folder| folder.is_dir()).collect()
}

/// With a target named, Cargo keeps the instrumentation away from build scripts and macros.
fn build_command(root: &Path, build: &Path, host: &str, target: &str) -> Command {
    let flags: Vec<String> = INSTRUMENTATION.iter().map(|flag| format!("-C {flag}")).collect();
    let mut command = cargo(root, &["build", "--release", "--bin", target, "--target", host]);
    command
        .arg("--target-dir")
        .arg(build)
        .current_dir(root.join(PROGRAMS))
        .env("RUSTFLAGS", flags.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// The name that the compiler gives this machine.
fn host(root: &Path) -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").current_dir(root).output();
    let output = output.context("rustc could not be started")?;
    ensure!(output.status.success(), "rustc does not tell its version");
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let root = root();
        let targets = targets(&root).unwrap();
        let manifest = fs::read_to_string(root.join(PROGRAMS).join("Cargo.toml")).unwrap();
        assert!(targets.len() >= 6, "{targets:?}");
        for target in &targets {
            assert!(manifest.contains(&format!("\nname = \"{target}\"\n")), "{target}");
            assert!(!seeds(&root, target).is_empty(), "{target}");
        }
    }

    #[test]
    fn an_unknown_target_is_answered_with_the_known_ones() {
        let message = run(&root(), "frames", 1).unwrap_err().to_string();
        assert!(message.starts_with("there is no target `frames`; there are ") && message.contains("frame,"));
    }

    #[test]
    fn the_compiler_names_its_host() {
        assert!(host(&root()).unwrap().contains('-'));
    }
}
