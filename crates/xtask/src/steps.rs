//! Runs the steps of a chore one after the other and says how each went and how long it took.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// One step: what it is called in the output, and what it does.
pub(crate) struct Step<'a> {
    name: &'static str,
    action: Box<dyn FnOnce() -> anyhow::Result<()> + 'a>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(name: &'static str, action: impl FnOnce() -> anyhow::Result<()> + 'a) -> Self {
        Self { name, action: Box::new(action) }
    }
}

/// Runs all steps in order; the first that fails ends it.
pub(crate) fn run_all(steps: Vec<Step<'_>>) -> anyhow::Result<()> {
    let started = Instant::now();
    let count = steps.len();
    for (at, Step { name, action }) in steps.into_iter().enumerate() {
        println!("[{}/{count}] {name} ...", at + 1);
        let step_started = Instant::now();
        let result = action();
        let took = seconds(step_started.elapsed());
        result.with_context(|| format!("step {} of {count} failed after {took}: {name}", at + 1))?;
        println!("[{}/{count}] {name}: ok, {took}", at + 1);
    }
    println!("All {count} steps passed in {}.", seconds(started.elapsed()));
    Ok(())
}

/// A call of the Cargo that runs this program, in the root of the workspace.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(arguments).current_dir(root);
    // What Cargo tells this program about its own package must not pass for news about the packages that are built.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program with our own output and fails unless it succeeds.
pub(crate) fn call(command: &mut Command) -> anyhow::Result<()> {
    let line = line_of(command);
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}; its own output stands above");
    }
    Ok(())
}

/// Whether a program can be run and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command as a person would type it.
fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_it_and_is_named() {
        let mut ran = Vec::new();
        let log = std::cell::RefCell::new(&mut ran);
        let error = run_all(vec![
            Step::new("one", || {
                log.borrow_mut().push(1);
                Ok(())
            }),
            Step::new("two", || bail!("no luck")),
            Step::new("three", || {
                log.borrow_mut().push(3);
                Ok(())
            }),
        ])
        .unwrap_err();
        let message = format!("{error:#}");
        assert!(message.starts_with("step 2 of 3 failed after "), "{message}");
        assert!(message.ends_with("two: no luck"), "{message}");
        assert_eq!(ran, [1]);
    }

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(call(cargo(root, &["--version"]).stdout(Stdio::null())).is_ok());
        assert!(succeeds(&mut cargo(root, &["--version"])));
        let message = call(cargo(root, &["no-such-chore"]).stderr(Stdio::null())).unwrap_err().to_string();
        assert!(message.contains("cargo no-such-chore` ended with"), "{message}");
        assert!(!succeeds(&mut cargo(root, &["no-such-chore"])));
        let message = call(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert_eq!(message, "`no-such-program` could not be started");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(seconds(Duration::from_millis(1540)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(754)), "12 min 34 s");
    }
}
