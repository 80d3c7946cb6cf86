//! How far a command is, on standard error, and only where a person looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line without a known end is drawn.
const DRAWN_PER_SECOND: u8 = 4;

/// A line that counts; with a known end it is a bar.
pub(crate) fn bar(what: &'static str, end: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND);
    let template = match end {
        Some(_) => "{prefix:<10} [{bar:40}] {human_pos} of {human_len}",
        None => "{prefix:<10} {human_pos}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is a constant that a test draws");
    let bar = ProgressBar::with_draw_target(end, target).with_prefix(what).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_templates_are_sound() {
        super::bar("Reading", Some(3)).finish_and_clear();
        super::bar("Reading", None).finish_and_clear();
    }
}
