//! What a query tells about how it found its results.

use std::fmt;

/// How a query found its results, and what that took; from [`Query::explain`](crate::Query::explain).
///
/// For people, in a line: which index, how much of it, whether results were sorted and whether each was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The plan in words, which may change.
    pub plan: String,
    /// The properties whose indexes were walked along; none if all objects were.
    pub indexes: Vec<String>,
    /// How many entries were walked along: objects, or keys of an index.
    pub entries: u64,
    /// How many objects were read by their ids, as an index or a link names them; to read the results themselves may take more.
    pub objects: u64,
    /// How many results there are.
    pub results: u64,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { plan, entries, objects, results, .. } = self;
        let s = |number: u64| if number == 1 { "" } else { "s" };
        let entry_word = if *entries == 1 { "entry" } else { "entries" };
        write!(
            f,
            "{plan}; {entries} {entry_word} and {objects} object{} looked at, {results} result{}",
            s(*objects),
            s(*results),
        )
    }
}
