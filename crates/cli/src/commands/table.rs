//! Tables for people: lines on a terminal, plain text elsewhere, never wider than the screen.

use std::io::{self, IsTerminal, Write};

use crate::demo::grouped;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// The width where there is no terminal to ask.
const WIDTH: u16 = 120;

/// The most characters of a cell; longer text is cut, because a table is for looking.
const CELL_CHARS_MAX: usize = 200;

/// How many rows of a long table are held in memory; the first ones say how wide the columns are.
const ROWS_HELD: usize = 256;

/// How wide columns of numbers are at least in a long table, with their margins: later ones may have more digits, and a number
/// should not be broken.
const NUMBER_WIDTH: u16 = 12;

/// How many columns of a long table get [`NUMBER_WIDTH`]; the id comes first.
const NUMBERS_MAX: usize = 4;

/// A table with these headings.
pub(crate) fn new<'h>(headings: impl IntoIterator<Item = &'h str>) -> Table {
    let mut table = without_headings();
    table.set_header(headings.into_iter().map(plain));
    table
}

fn without_headings() -> Table {
    let mut table = Table::new();
    let terminal = io::stdout().is_terminal();
    table
        .load_style(if terminal { presets::UTF8_FULL_CONDENSED } else { presets::ASCII_FULL_CONDENSED })
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(if terminal { terminal_width() } else { WIDTH });
    table
}

/// A table of any length that takes the memory of [`ROWS_HELD`] rows.
pub(crate) struct LongTable {
    held: Table,
    rows: usize,
    /// The columns that stand to the right.
    right: Vec<usize>,
    /// How wide each column is with its margins, once that is settled.
    widths: Vec<u16>,
    /// The line that ends it, once it has begun.
    end: String,
}

impl LongTable {
    /// A table with these headings, each with whether its column stands to the right.
    pub(crate) fn new<'h>(columns: impl IntoIterator<Item = (&'h str, bool)>) -> LongTable {
        let (headings, is_right): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let right = (0..is_right.len()).filter(|&at| is_right[at]).collect();
        LongTable { held: new(headings), rows: 0, right, widths: Vec::new(), end: String::new() }
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// Those of the destination.
    pub(crate) fn push(
        &mut self,
        cells: impl IntoIterator<Item = String>,
        to: &mut impl Write,
    ) -> io::Result<()> {
        self.held.add_row(cells);
        self.rows += 1;
        if self.rows < ROWS_HELD {
            return Ok(());
        }
        if self.widths.is_empty() {
            for &column in self.right.iter().take(NUMBERS_MAX) {
                constrain(
                    &mut self.held,
                    column,
                    ColumnConstraint::LowerBoundary(Width::Fixed(NUMBER_WIDTH)),
                );
            }
        }
        self.flush(to)
    }

    /// Writes what is held, and the end.
    ///
    /// # Errors
    ///
    /// Those of the destination.
    pub(crate) fn finish(mut self, to: &mut impl Write) -> io::Result<()> {
        self.flush(to)?;
        writeln!(to, "{}", self.end)
    }

    fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        let has_begun = !self.widths.is_empty();
        if has_begun && self.rows == 0 {
            return Ok(());
        }
        let mut held = std::mem::replace(&mut self.held, without_headings());
        self.rows = 0;
        for &column in &self.right {
            right(&mut held, column);
        }
        for (column, &width) in self.widths.iter().enumerate() {
            constrain(&mut held, column, ColumnConstraint::Absolute(Width::Fixed(width)));
        }
        let text = held.to_string();
        let mut lines: Vec<_> = text.lines().collect();
        self.end = lines.pop().unwrap_or_default().to_owned();
        if !has_begun {
            self.widths = widths(lines.first().unwrap_or(&""));
        }
        // Only the first rows have a line above them.
        for line in lines.into_iter().skip(usize::from(has_begun)) {
            writeln!(to, "{line}")?;
        }
        Ok(())
    }
}

fn constrain(table: &mut Table, column: usize, constraint: ColumnConstraint) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(constraint);
    }
}

/// How wide the columns are below a line that begins a table.
fn widths(line: &str) -> Vec<u16> {
    let spans = line.split(|character| !matches!(character, '-' | '\u{2500}'));
    let widths = spans.map(|span| u16::try_from(span.chars().count()).unwrap_or(u16::MAX));
    widths.filter(|&width| width > 0).collect()
}

/// A number of things, with an s where there is not one.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Numbers stand to the right.
pub(crate) fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Text as a cell can show it: cut, and without what would act on a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(CELL_CHARS_MAX));
    for (at, character) in text.chars().enumerate() {
        if at == CELL_CHARS_MAX {
            shown.push('…');
            break;
        }
        match character {
            '\n' => shown.push('\n'),
            '\t' => shown.push(' '),
            control if control.is_control() => shown.push('\u{fffd}'),
            other => shown.push(other),
        }
    }
    shown
}

/// The width that the environment tells; shells keep it up to date.
fn terminal_width() -> u16 {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(rows: usize, cell: impl Fn(usize) -> String) -> String {
        let mut table = LongTable::new([("id", true), ("name", false)]);
        let mut text = Vec::new();
        for row in 0..rows {
            table.push([row.to_string(), cell(row)], &mut text).unwrap();
            assert!(table.rows < ROWS_HELD);
        }
        table.finish(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_long_table_is_one_table_whatever_its_length() {
        for rows in [0, 1, ROWS_HELD - 1, ROWS_HELD, ROWS_HELD + 1, 2 * ROWS_HELD, 5 * ROWS_HELD + 7] {
            let text = long(rows, |row| format!("name {}", row % 10));
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), rows + 4, "{rows} rows: {text}");
            assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
            assert!(lines.iter().all(|line| line.starts_with(['+', '|']) && line.ends_with(['+', '|'])));
            assert_eq!(
                (lines[0], lines.iter().filter(|line| **line == lines[0]).count()),
                (lines[lines.len() - 1], 2)
            );
            for (row, line) in lines[3..lines.len() - 1].iter().enumerate() {
                let cells: Vec<_> = line.split('|').map(str::trim).collect();
                assert_eq!(cells, ["", &row.to_string(), &format!("name {}", row % 10), ""]);
            }
        }
    }

    #[test]
    fn later_rows_keep_to_the_width_and_lose_nothing() {
        let text =
            long(ROWS_HELD + 2, |row| if row < ROWS_HELD { "東京".to_owned() } else { "ab cd ".repeat(20) });
        let (first, later): (Vec<_>, Vec<_>) = text.lines().partition(|line| !line.contains("ab"));
        assert!(first.iter().filter(|line| line.contains("東京")).count() == ROWS_HELD);
        assert_eq!(later.join("").matches("ab").count(), 40, "{text}");
        assert!(later.iter().all(|line| line.len() == first[0].len()), "{text}");
    }

    #[test]
    fn cells_neither_act_on_a_terminal_nor_flood_it() {
        assert_eq!(plain("a\u{1b}[2Jb\tc"), "a\u{fffd}[2Jb c");
        assert_eq!(plain(&"ä".repeat(500)).chars().count(), CELL_CHARS_MAX + 1);
    }
}
