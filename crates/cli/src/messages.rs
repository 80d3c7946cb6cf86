//! What the program says beside its results: lines for people or JSON objects for programs, on standard error.
//!
//! The objects are those of the server's log, so that one reader understands both.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::level_filters::LevelFilter;

use crate::config::Environment;
use crate::logging::{self, LogFormat, LogSettings};
use crate::options::{LOG_FORMAT, OptionSpec};
use crate::value::{Found, Value};

/// Whether messages are JSON; text unless somebody asked for this.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Everything that is told, in either form.
const LOG: LogSettings = LogSettings { level: LevelFilter::INFO, format: LogFormat::Json };

/// How messages look from here on.
pub(crate) fn set_format(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether messages are JSON objects.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// The format that a command line asks for before anything else of it is understood, so that even a mistake in it is told
/// in that format. What nobody can read is text; whoever reads the options complains of it.
pub(crate) fn format_asked(arguments: &[OsString], environment: &Environment) -> LogFormat {
    let option: &OptionSpec = &LOG_FORMAT;
    let long = format!("--{}", option.long.unwrap_or_default());
    let assigned = format!("{long}=");
    let mut asked = environment.get(OsStr::new(option.environment)).cloned();
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if *argument == *long {
            asked = arguments.next().cloned();
        } else if let Some(word) = argument.to_str().and_then(|text| text.strip_prefix(&assigned)) {
            asked = Some(word.into());
        }
    }
    match asked.map(|word| option.kind.read(Found::Os(word))) {
        Some(Ok(Value::Choice("json"))) => LogFormat::Json,
        _ => LogFormat::Text,
    }
}

/// Tells why the program does not do what it was asked to.
pub(crate) fn error(text: &str) {
    tell(|| tracing::error!(target: "reconvene", "{text}"), &format!("error: {text}"));
}

/// Tells what is allowed and yet worth a second look.
pub(crate) fn warning(text: &str) {
    tell(|| tracing::warn!(target: "reconvene", "{text}"), &format!("warning: {text}"));
}

/// Tells what was done.
pub(crate) fn note(text: &str) {
    tell(|| tracing::info!(target: "reconvene", "{text}"), text);
}

/// Tells programs how far a command is; people see a bar.
pub(crate) fn progress(what: &str, done: u64, total: Option<u64>) {
    json(|| tracing::info!(target: "reconvene", what, done, total, "progress"));
}

fn tell(event: impl FnOnce(), line: &str) {
    if is_json() {
        json(event);
    } else {
        // A standard error that is closed leaves nobody to tell.
        let _ = writeln!(io::stderr(), "reconvene: {line}");
    }
}

fn json(event: impl FnOnce()) {
    tracing::subscriber::with_default(logging::subscriber(LOG, false, io::stderr), event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_seen_in_any_command_line() {
        let asked = |line: &str, variable: Option<&str>| {
            let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
            let environment = variable.map(|word| (LOG_FORMAT.environment.into(), word.into()));
            format_asked(&arguments, &environment.into_iter().collect())
        };
        for (line, variable, expected) in [
            ("reconvene query --log-format json", None, LogFormat::Json),
            ("reconvene --no-such --log-format=json", None, LogFormat::Json),
            ("reconvene query", Some("json"), LogFormat::Json),
            ("reconvene query --log-format=text", Some("json"), LogFormat::Text),
            ("reconvene query -- --log-format=json", None, LogFormat::Text),
            ("reconvene query --log-format", Some("json"), LogFormat::Text),
            ("reconvene query --log-format xml", None, LogFormat::Text),
            ("reconvene", Some(""), LogFormat::Text),
        ] {
            assert_eq!(asked(line, variable), expected, "{line} {variable:?}");
        }
    }
}
