//! Places in the text of an expression, and how to show them to a person.

/// A part of an expression's text, in bytes: from `start` up to but not including `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one; equal to `start` for a place between two characters.
    pub end: usize,
}

/// How many characters of a line are shown on each side of the place meant.
const CONTEXT_CHARS: usize = 60;

impl Span {
    /// Line and column of the span's start within `text`, both from 1; columns count characters.
    pub fn position(self, text: &str) -> (usize, usize) {
        let before = &text[..text.floor_char_boundary(self.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The line of `text` in which the span starts, and below it carets under the span; two lines without a line end.
    ///
    /// Of a long line only the surroundings of the span are shown.
    ///
    /// ```
    /// # use reconvene_expr::Span;
    /// assert_eq!(Span { start: 5, end: 6 }.carets("done = true"), "done = true\n     ^");
    /// ```
    pub fn carets(self, text: &str) -> String {
        let start = text.floor_char_boundary(self.start);
        let end = text.floor_char_boundary(self.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let before: Vec<char> = text[line_start..start].chars().collect();
        let mut shown: String = before[before.len().saturating_sub(CONTEXT_CHARS)..].iter().collect();
        let indent = shown.chars().count();
        shown.extend(text[start..line_end].chars().take(CONTEXT_CHARS));
        // A tab or another control character would move the carets away from what they mean.
        let shown = shown.replace(char::is_control, " ");
        let width = text[start..end.min(line_end)].chars().take(CONTEXT_CHARS).count().max(1);
        format!("{shown}\n{:indent$}{}", "", "^".repeat(width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let text = "a == 'ä'\nAND é < 3";
        let at = |part: &str| {
            let start = text.find(part).expect("the text has this part");
            Span { start, end: start + part.len() }
        };
        assert_eq!(at("a").position(text), (1, 1));
        assert_eq!(at("AND").position(text), (2, 1));
        assert_eq!(at("< 3").position(text), (2, 7));
        assert_eq!(at("< 3").carets(text), "AND é < 3\n      ^^^");
        assert_eq!(Span { start: 99, end: 100 }.carets(text), "AND é < 3\n         ^");
    }

    #[test]
    fn carets_stay_under_what_they_mean() {
        let text = format!("{}\t== x", "n".repeat(1_000));
        let shown = Span { start: 1_001, end: 1_003 }.carets(&text);
        let (line, carets) = shown.split_once('\n').expect("two lines are shown");
        assert_eq!(line.find("=="), carets.find("^^"));
        assert!(line.len() < 200 && !line.contains('\t'));
    }
}
