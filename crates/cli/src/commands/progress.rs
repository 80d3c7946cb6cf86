//! How far a command is, on standard error: a line that is drawn where a person looks, or events for programs.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::messages;

/// How often a line without a known end is drawn.
const DRAWN_PER_SECOND: u8 = 4;

/// How long programs hear nothing between two events.
const TOLD_EVERY: Duration = Duration::from_secs(1);

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
        told: Cell<Instant>,
    },
}

impl Progress {
    /// Begins to count, up to this number if it is known.
    pub(crate) fn new(what: &'static str, end: Option<u64>) -> Progress {
        if messages::is_json() {
            return Progress::Told { what, end, told: Cell::new(Instant::now()) };
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND);
        let template = match end {
            Some(_) => "{prefix:<10} [{bar:40}] {human_pos} of {human_len}",
            None => "{prefix:<10} {human_pos}",
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
                if told.get().elapsed() >= TOLD_EVERY {
                    messages::progress(what, number, *end);
                    told.set(Instant::now());
                }
            }
        }
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
    fn both_templates_are_sound() {
        Progress::new("Reading", Some(3)).finish(3);
        Progress::new("Reading", None).finish(0);
    }
}
