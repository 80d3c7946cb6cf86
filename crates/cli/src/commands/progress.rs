//! How far a command is, on standard error: a line that is drawn where a person looks, or events for programs.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::messages;

/// How often a line without a known end is drawn.
const DRAWN_PER_SECOND: u8 = 4;

/// How long programs hear nothing between two events.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How often a growing file is looked at.
const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Number,
    Bytes,
}

/// Counts what is done, as far as somebody wants to know.
pub(crate) enum Progress {
    /// A line; with a known end it is a bar.
    Drawn(ProgressBar),
    /// Events, and one more at the end.
    Told {
        /// What is done.
        what: &'static str,
        /// Of how many, if that is known.
        end: Option<u64>,
        /// When that was told last.
        told: Mutex<Instant>,
    },
}

impl Progress {
    /// Begins to count, up to this number if it is known.
    pub(crate) fn new(what: &'static str, end: Option<u64>) -> Progress {
        Progress::of(what, end, Unit::Number)
    }

    /// Begins to count bytes, up to this number.
    pub(crate) fn bytes(what: &'static str, end: u64) -> Progress {
        Progress::of(what, Some(end), Unit::Bytes)
    }

    fn of(what: &'static str, end: Option<u64>, unit: Unit) -> Progress {
        if messages::is_json() {
            return Progress::Told { what, end, told: Mutex::new(Instant::now()) };
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND);
        let template = match (end, unit) {
            (Some(_), Unit::Number) => "{prefix:<10} [{bar:40}] {human_pos} of {human_len}",
            (None, Unit::Number) => "{prefix:<10} {human_pos}",
            (_, Unit::Bytes) => "{prefix:<10} [{bar:40}] {decimal_bytes} of {decimal_total_bytes}",
        };
        let style =
            ProgressStyle::with_template(template).expect("the template is a constant that a test draws");
        let bar = ProgressBar::with_draw_target(end, target).with_prefix(what).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress::Drawn(bar)
    }

    /// So many are done.
    pub(crate) fn set(&self, number: u64) {
        match self {
            Progress::Drawn(bar) => bar.set_position(number),
            Progress::Told { what, end, told } => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.elapsed() >= TOLD_EVERY {
                    messages::progress(what, number, *end);
                    *told = Instant::now();
                }
            }
        }
    }

    /// Counts the bytes of a file that grows while something is done, until that ends; what it ends with.
    pub(crate) fn follow<T>(self, file: &Path, work: impl FnOnce() -> T) -> T {
        let bytes = || file.metadata().map_or(0, |metadata| metadata.len());
        let (ended, end) = mpsc::channel::<()>();
        let look = || self.set(bytes());
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                while end.recv_timeout(LOOKED_EVERY) == Err(RecvTimeoutError::Timeout) {
                    look();
                }
            });
            let outcome = work();
            drop(ended);
            outcome
        });
        self.finish(bytes());
        outcome
    }

    /// Ends with so many done, whether or not these are all.
    pub(crate) fn finish(self, number: u64) {
        match self {
            Progress::Drawn(bar) => bar.finish_and_clear(),
            Progress::Told { what, end, .. } => messages::progress(what, number, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn all_templates_are_sound() {
        Progress::new("Reading", Some(3)).finish(3);
        Progress::new("Reading", None).finish(0);
        Progress::bytes("Copying", 5_000_000).finish(3);
    }

    #[test]
    fn a_growing_file_is_followed_until_the_work_ends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let progress = Progress::bytes("Copying", 3);
        let outcome = progress.follow(file.path(), || std::fs::write(file.path(), "abc"));
        outcome.unwrap();
    }
}
