//! The nearest known name to a mistyped one.

/// Longer words are not compared: comparing costs time and memory by length.
const WORD_CHARS_MAX: usize = 64;

/// The known name that was most likely meant, if one is near enough to be worth a question.
///
/// Case, dashes and underscores do not count, so that a name in the spelling of another language is found.
///
/// ```
/// assert_eq!(reconvene_expr::nearest("Titel", ["done", "title"]), Some("title"));
/// assert_eq!(reconvene_expr::nearest("owner", ["done", "title"]), None);
/// ```
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let is_short = |word: &str| word.chars().nth(WORD_CHARS_MAX).is_none();
    if !is_short(word) {
        return None;
    }
    let word = letters(word);
    // A third of the letters may be wrong: beyond that a suggestion misleads more than it helps.
    let tolerated = word.len().max(3) / 3;
    let known = known.into_iter().filter(|name| is_short(name));
    let distances = known.map(|name| (distance(&word, &letters(name)), name));
    distances.filter(|&(distance, _)| distance <= tolerated).min().map(|(_, near)| near)
}

fn letters(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// The letters to insert, delete, replace or swap with their neighbour on the way from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, &letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &other) in to.iter().enumerate() {
            let replaced = above[j] + usize::from(letter != other);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == to[j - 1] && from[i - 1] == other {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["done", "title", "dueDate", "project"];
        for (word, near) in [
            ("doen", Some("done")),
            ("Titel", Some("title")),
            ("due_date", Some("dueDate")),
            ("projects", Some("project")),
            ("owner", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
        assert_eq!(nearest(&"done".repeat(1_000_000), known), None);
    }

    #[test]
    fn distances_are_counted() {
        let count = |from, to| distance(&letters(from), &letters(to));
        for (from, to, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("ab", "ba", 1),
            ("abc", "axc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(count(from, to), expected, "{from} {to}");
            assert_eq!(count(to, from), expected, "{to} {from}");
        }
    }
}
