//! What people see: lines and a table that fit a terminal, plain text where there is none.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::outcome::{Outcome, Refused};

/// The widest that anything is printed.
const WIDTH: u16 = 100;

/// The widths of the table's columns, with a blank on either side; six lines stand between and around them.
const COLUMNS: [u16; 5] = [20, 14, 18, 20, 22];

/// Standard output.
pub(crate) struct Screen {
    quiet: bool,
    terminal: bool,
}

impl Screen {
    pub(crate) fn new(quiet: bool) -> Screen {
        Screen { quiet, terminal: io::stdout().is_terminal() }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints unless only results are wanted.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.result(text);
        }
    }

    /// Prints in any case.
    pub(crate) fn result(&self, text: &str) {
        let mut output = io::stdout().lock();
        // Whoever stops reading has seen enough; the exit code still tells how it ended.
        let _ = writeln!(output, "{text}").and_then(|()| output.flush());
    }
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The table of what both did and what came of it.
pub(crate) fn scenes(outcomes: &[Outcome], terminal: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(if terminal { presets::UTF8_FULL } else { presets::ASCII_FULL })
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(["", "A, offline", "B, offline", "everyone has", "by the law"])
        .set_constraints(COLUMNS.map(|width| ColumnConstraint::Absolute(Width::Fixed(width))));
    for outcome in outcomes {
        let now =
            if outcome.holds { outcome.now.clone() } else { format!("NOT AS EXPECTED: {}", outcome.now) };
        table.add_row([&*outcome.scene, &outcome.a, &outcome.b, &now, outcome.law]);
    }
    table.to_string()
}

/// What the server did not take, with the reason and the data that are kept.
pub(crate) fn refused(all: &[Refused]) -> String {
    let mut text =
        "\nWhat took no effect is not lost: its device keeps it in `store.sync().rejected()`.\n".to_owned();
    for refused in all {
        let mark = if refused.expected { "" } else { "NOT EXPECTED: " };
        text += &format!("  {mark}{}: {}\n", refused.device, refused.what);
        text += &wrapped(&format!("because {}", refused.reason), 4);
    }
    text + "\n"
}

/// The text in lines of at most [`WIDTH`], each `indent` to the right.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > usize::from(WIDTH) {
            if width > 0 {
                lines.push('\n');
            }
            lines.push_str(&" ".repeat(indent));
            lines.push_str(word);
            width = indent + length;
        } else {
            lines.push(' ');
            lines.push_str(word);
            width += 1 + length;
        }
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!(
            [0, 999, 1_000, 171_075, 1_234_567].map(grouped),
            ["0", "999", "1,000", "171,075", "1,234,567"]
        );
    }

    #[test]
    fn long_reasons_stay_within_the_width() {
        let text = wrapped(&"because ".repeat(60), 4);
        assert_eq!(text.split_whitespace().count(), 60);
        assert!(text.lines().all(|line| line.len() <= usize::from(WIDTH) && line.starts_with("    because")));
    }

    #[test]
    fn the_table_fits_and_marks_what_is_wrong() {
        let outcome = |holds| Outcome {
            scene: "Springfield: one property".to_owned(),
            a: "Springfield: note \"It rains here most of the time\"".to_owned(),
            b: "Springfield: note \"It never rains here at all\", later".to_owned(),
            now: "Springfield: note \"It never rains here at all\"".to_owned(),
            law: "the later write wins its property",
            holds,
        };
        for terminal in [true, false] {
            let table = scenes(&[outcome(true), outcome(false)], terminal);
            assert!(table.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{table}");
            assert_eq!(table.matches("EXPECTED").count(), 1);
            assert_eq!(table.is_ascii(), !terminal);
        }
    }
}
