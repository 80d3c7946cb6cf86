//! The nearest known word to a mistyped one.

/// The sentence that names what was meant, if one of `known` is near enough, and all of them otherwise.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "known here: {}",
            known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let distances = known.iter().map(|&candidate| (distance(&word, &candidate.to_lowercase()), candidate));
    // A third of the letters may be wrong: beyond that a suggestion misleads more than it helps.
    distances.filter(|&(distance, _)| distance <= word.chars().count().max(3) / 3).min().map(|(_, near)| near)
}

/// The edits (insert, delete, replace, swap of neighbours) that lead from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["name", "was", "uid", "ty"];
        assert_eq!(hint("nmae", &known), "did you mean `name`?");
        assert_eq!(hint("Name", &known), "did you mean `name`?");
        assert_eq!(hint("uuid", &known), "did you mean `uid`?");
        assert_eq!(hint("colour", &known), "known here: `name`, `was`, `uid`, `ty`");
    }
}
