//! The nearest known name to a mistyped one.

/// Longer words are not compared: no name is that long, and comparing costs time and memory by length.
const WORD_CHARS_MAX: usize = 64;

/// The known name that was most likely meant, if one is near enough to be worth a question.
///
/// Case, dashes and underscores do not count, so that every spelling of an option leads to the one that is valid here.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.chars().nth(WORD_CHARS_MAX).is_some() {
        return None;
    }
    let word = letters(word);
    // A third of the letters may be wrong: beyond that a suggestion misleads more than it helps.
    let tolerated = word.len().max(3) / 3;
    let distances = known.into_iter().map(|candidate| (distance(&word, &letters(candidate)), candidate));
    distances.filter(|&(distance, _)| distance <= tolerated).min().map(|(_, near)| near)
}

/// The question that follows a word nobody knows, with a leading separator; nothing if there is none to ask.
pub(crate) fn question(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
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

    const KNOWN: [&str; 4] = ["bind", "dbDirectory", "sharedSecret", "sharedSecretFile"];

    #[test]
    fn near_words_are_found() {
        for (word, near) in [
            ("bnid", "bind"),
            ("Bind", "bind"),
            ("binds", "bind"),
            ("db-directory", "dbDirectory"),
            ("DB_DIRECTORY", "dbDirectory"),
            ("dbDir", "dbDirectory"),
            ("sharedSecrets", "sharedSecret"),
            ("sharedSecretFiel", "sharedSecretFile"),
        ] {
            let expected = (word != "dbDir").then_some(near);
            assert_eq!(nearest(word, KNOWN), expected, "{word}");
        }
    }

    #[test]
    fn far_and_endless_words_are_not() {
        let endless = "x".repeat(10_000_000);
        for word in ["", "port", "colour", &endless] {
            assert_eq!(nearest(word, KNOWN), None);
        }
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
