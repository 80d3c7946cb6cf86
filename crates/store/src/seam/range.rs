//! Which keys to visit, and in which order.

use std::ops::Bound;

use smallvec::SmallVec;

/// The bytes of a key; those of numbers and of short text take no allocation.
pub(crate) type Key = SmallVec<[u8; 24]>;

/// The order in which entries are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// By ascending key.
    Forward,
    /// By descending key.
    Backward,
}

/// A range of keys; a range whose start lies after its end is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange<'k> {
    /// Where it begins.
    pub(crate) start: Bound<&'k [u8]>,
    /// Where it ends.
    pub(crate) end: Bound<&'k [u8]>,
}

#[allow(dead_code, reason = "one whole set of ranges, whichever of them the rooms above use")]
impl<'k> KeyRange<'k> {
    /// All keys.
    pub(crate) fn all() -> KeyRange<'k> {
        KeyRange { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// `start` and all larger keys.
    pub(crate) fn from(start: &'k [u8]) -> KeyRange<'k> {
        KeyRange { start: Bound::Included(start), end: Bound::Unbounded }
    }

    /// All keys smaller than `end`.
    pub(crate) fn below(end: &'k [u8]) -> KeyRange<'k> {
        KeyRange { start: Bound::Unbounded, end: Bound::Excluded(end) }
    }

    /// From `start` on, up to but without `end`.
    pub(crate) fn between(start: &'k [u8], end: &'k [u8]) -> KeyRange<'k> {
        KeyRange { start: Bound::Included(start), end: Bound::Excluded(end) }
    }

    /// All keys that begin with `prefix`, given its [`prefix_end`].
    pub(crate) fn prefix(prefix: &'k [u8], end: Option<&'k [u8]>) -> KeyRange<'k> {
        KeyRange { start: Bound::Included(prefix), end: end.map_or(Bound::Unbounded, Bound::Excluded) }
    }

    /// The same keys without empty bounds, which LMDB refuses to seek; `None` if no key can lie in the range.
    pub(super) fn normal(self) -> Option<KeyRange<'k>> {
        let start = match self.start {
            Bound::Included([]) | Bound::Excluded([]) => Bound::Unbounded,
            start => start,
        };
        match (start, self.end) {
            (_, Bound::Included([]) | Bound::Excluded([])) => return None,
            (Bound::Included(start), Bound::Included(end)) if start > end => return None,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) if start > end => {
                return None;
            }
            (Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) if start == end => {
                return None;
            }
            (Bound::Included(start), Bound::Excluded(end)) if start == end => return None,
            _ => {}
        }
        Some(KeyRange { start, end: self.end })
    }
}

impl<'k> From<(Bound<&'k [u8]>, Bound<&'k [u8]>)> for KeyRange<'k> {
    fn from((start, end): (Bound<&'k [u8]>, Bound<&'k [u8]>)) -> KeyRange<'k> {
        KeyRange { start, end }
    }
}

/// The smallest key above all that begin with `prefix`; `None` if there is none, because it has only bytes 255.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = Key::from_slice(&prefix[..=last]);
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_below_the_next_key() {
        for (prefix, end) in [
            (&b"a"[..], Some(&b"b"[..])),
            (b"a\xff", Some(b"b")),
            (b"\x00", Some(b"\x01")),
            (b"a\xff\xffb", Some(b"a\xff\xffc")),
            (b"\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(prefix_end(prefix).as_deref(), end, "after {prefix:?}");
        }
    }

    #[test]
    fn ranges_that_no_key_can_be_in_are_known_to_be_empty() {
        for (range, empty) in [
            (KeyRange::all(), false),
            (KeyRange::from(b""), false),
            (KeyRange::below(b""), true),
            (KeyRange::between(b"", b""), true),
            (KeyRange::between(b"a", b"a"), true),
            (KeyRange::between(b"b", b"a"), true),
            (KeyRange::between(b"a", b"b"), false),
            (KeyRange { start: Bound::Excluded(b"a"), end: Bound::Included(b"a") }, true),
            (KeyRange { start: Bound::Included(b"a"), end: Bound::Included(b"a") }, false),
            (KeyRange { start: Bound::Excluded(b""), end: Bound::Included(b"") }, true),
        ] {
            assert_eq!(range.normal().is_none(), empty, "{range:?}");
        }
    }
}
