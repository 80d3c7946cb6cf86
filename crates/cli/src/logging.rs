//! The log: events as lines for people or as JSON objects for programs, on standard error.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;

/// What the log shows, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The lowest level that is shown of our own events; of the libraries below us nothing under "warn" is.
    pub(crate) level: LevelFilter,
    /// Lines or objects.
    pub(crate) format: LogFormat,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object on a line.
    Json,
}

/// How the targets of our own events begin: every crate of the house is called so.
const OWN_TARGETS: &str = "reconvene";

/// Sends the events of this process to standard error from here on.
///
/// # Errors
///
/// If something else has taken the events already.
pub(crate) fn start(settings: LogSettings) -> anyhow::Result<()> {
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing::subscriber::set_global_default(subscriber(settings, colour, io::stderr))?;
    Ok(())
}

/// What writes events in a given form.
pub(crate) fn subscriber<W>(settings: LogSettings, colour: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let targets = Targets::new()
        .with_default(settings.level.min(LevelFilter::WARN))
        .with_target(OWN_TARGETS, settings.level);
    let layer = fmt::layer().with_writer(writer);
    let layer = match settings.format {
        LogFormat::Text => layer.with_ansi(colour).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LevelFilter, format: LogFormat, events: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = subscriber(LogSettings { level, format }, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    fn events() {
        tracing::debug!(target: "reconvene_server::accept", "a session");
        tracing::info!(target: "reconvene", address = "ws://127.0.0.1:1", "ready");
        tracing::info!(target: "tungstenite", "foreign chatter");
        tracing::warn!(target: "tungstenite", "foreign warning");
    }

    #[test]
    fn each_level_shows_what_is_above_it() {
        for (level, expected) in [
            (LevelFilter::OFF, &[][..]),
            (LevelFilter::ERROR, &[]),
            (LevelFilter::WARN, &["foreign warning"]),
            (LevelFilter::INFO, &["ready", "foreign warning"]),
            (LevelFilter::TRACE, &["a session", "ready", "foreign warning"]),
        ] {
            let text = logged(level, LogFormat::Text, events);
            assert_eq!(text.lines().count(), expected.len(), "{level}: {text}");
            for (line, expected) in text.lines().zip(expected) {
                assert!(line.contains(expected), "{level}: {text}");
            }
        }
    }

    #[test]
    fn json_is_one_object_a_line_with_fields_beside_the_message() {
        let text = logged(LevelFilter::INFO, LogFormat::Json, events);
        let event: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["message"], "ready");
        assert_eq!(event["address"], "ws://127.0.0.1:1");
        assert_eq!(event["target"], "reconvene");
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'), "{text}");
    }

    #[test]
    fn what_devices_send_cannot_act_on_a_terminal_or_forge_a_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(LevelFilter::INFO, format, || {
                tracing::info!(target: "reconvene", name = ?"\u{1b}[2J\nfake", "device {:?}", "\u{1b}]0;x\n");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }
}
