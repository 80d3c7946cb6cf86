//! Tables for people: lines on a terminal, plain text elsewhere, never wider than the screen.

use std::io::IsTerminal;

use crate::demo::grouped;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The width where there is no terminal to ask.
const WIDTH: u16 = 120;

/// The most characters of a cell; longer text is cut, because a table is for looking.
const CELL_CHARS_MAX: usize = 200;

/// A table with these headings.
pub(crate) fn new<'h>(headings: impl IntoIterator<Item = &'h str>) -> Table {
    let mut table = Table::new();
    let terminal = std::io::stdout().is_terminal();
    table
        .load_style(if terminal { presets::UTF8_FULL_CONDENSED } else { presets::ASCII_FULL_CONDENSED })
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(if terminal { terminal_width() } else { WIDTH })
        .set_header(headings.into_iter().map(plain));
    table
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

    #[test]
    fn cells_neither_act_on_a_terminal_nor_flood_it() {
        assert_eq!(plain("a\u{1b}[2Jb\tc"), "a\u{fffd}[2Jb c");
        assert_eq!(plain(&"ä".repeat(500)).chars().count(), CELL_CHARS_MAX + 1);
    }
}
