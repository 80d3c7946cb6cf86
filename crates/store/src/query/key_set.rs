//! Sets of keys, as ranges: what a condition leaves of an index, or of the ids.

use std::cmp::Ordering;
use std::ops::Bound;

use smallvec::{SmallVec, smallvec};

use crate::seam::{Key, KeyRange, prefix_end};

/// The keys from `start` up to, but without, `end`; without an `end`, all from `start` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Key,
    pub(crate) end: Option<Key>,
    /// Whether all its keys have one value, and so order by id.
    pub(crate) is_value: bool,
}

impl Span {
    pub(crate) fn range(&self) -> KeyRange<'_> {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        KeyRange { start: Bound::Included(&self.start), end }
    }

    /// Whether it holds just the keys that begin as it does.
    pub(crate) fn is_prefix(&self) -> bool {
        self.is_value && self.end == prefix_end(&self.start)
    }

    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    fn order_ends(&self, other: &Span) -> Ordering {
        match (&self.end, &other.end) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(end), Some(other)) => end.cmp(other),
        }
    }

    fn intersection(&self, other: &Span) -> Span {
        let end = if self.order_ends(other).is_le() { &self.end } else { &other.end };
        Span {
            start: if self.start >= other.start { self.start.clone() } else { other.start.clone() },
            end: end.clone(),
            is_value: self.is_value || other.is_value,
        }
    }
}

/// Keys in ascending ranges that do not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeySet(SmallVec<[Span; 1]>);

impl KeySet {
    pub(crate) fn empty() -> KeySet {
        KeySet(SmallVec::new())
    }

    pub(crate) fn all() -> KeySet {
        KeySet::range(Key::new(), None)
    }

    /// The keys from `start` up to, but without, `end`.
    pub(crate) fn range(start: Key, end: Option<Key>) -> KeySet {
        let span = Span { start, end, is_value: false };
        KeySet(if span.is_empty() { SmallVec::new() } else { smallvec![span] })
    }

    /// The keys that begin with one of these, of which each stands for one value and none begins with another.
    pub(crate) fn values(mut keys: Vec<Key>) -> KeySet {
        keys.sort_unstable();
        keys.dedup();
        KeySet(
            keys.into_iter().map(|key| Span { end: prefix_end(&key), start: key, is_value: true }).collect(),
        )
    }

    /// The keys that begin with this one, which stands for one value.
    pub(crate) fn value(key: Key) -> KeySet {
        KeySet(smallvec![Span { end: prefix_end(&key), start: key, is_value: true }])
    }

    /// The keys in both sets.
    pub(crate) fn intersection(&self, other: &KeySet) -> KeySet {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = SmallVec::new();
        while let (Some(one), Some(other)) = (mine.peek(), theirs.peek()) {
            let span = one.intersection(other);
            if !span.is_empty() {
                both.push(span);
            }
            if one.order_ends(other).is_le() {
                mine.next()
            } else {
                theirs.next()
            };
        }
        KeySet(both)
    }

    /// The keys in at least one of both sets.
    pub(crate) fn union(&self, other: &KeySet) -> KeySet {
        let mut spans: Vec<Span> = self.0.iter().chain(&other.0).cloned().collect();
        spans.sort_by(|one, other| one.start.cmp(&other.start).then_with(|| other.order_ends(one)));
        let mut either: SmallVec<[Span; 1]> = SmallVec::new();
        for span in spans {
            match either.last_mut() {
                Some(last) if *last == span => {}
                Some(last) if last.end.as_ref().is_none_or(|end| span.start < *end) => {
                    if last.order_ends(&span).is_lt() {
                        last.end = span.end;
                        last.is_value = false;
                    }
                }
                _ => either.push(span),
            }
        }
        KeySet(either)
    }

    /// The keys that are not in the set.
    pub(crate) fn complement(&self) -> KeySet {
        let mut gaps = SmallVec::new();
        let mut start = Some(Key::new());
        for span in &self.0 {
            let before = start.take().unwrap_or_default();
            let gap = Span { start: before, end: Some(span.start.clone()), is_value: false };
            if !gap.is_empty() {
                gaps.push(gap);
            }
            start.clone_from(&span.end);
            if start.is_none() {
                break;
            }
        }
        if let Some(start) = start {
            gaps.push(Span { start, end: None, is_value: false });
        }
        KeySet(gaps)
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all keys have the same value.
    pub(crate) fn is_one_value(&self) -> bool {
        matches!(&self.0[..], [span] if span.is_value)
    }

    /// Whether the set is a list of values.
    pub(crate) fn is_values(&self) -> bool {
        self.0.iter().all(|span| span.is_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn has(set: &KeySet, key: &[u8]) -> bool {
        set.spans()
            .iter()
            .any(|span| &span.start[..] <= key && span.end.as_ref().is_none_or(|end| key < &end[..]))
    }

    fn set() -> impl Strategy<Value = KeySet> {
        prop_oneof![
            (vec(0..4_u8, 0..3), option::of(vec(0..4_u8, 0..3)))
                .prop_map(|(start, end)| KeySet::range(start.into(), end.map(Key::from))),
            vec((0..4_u8, 0..4_u8).prop_map(|(a, b)| Key::from_slice(&[a, b])), 0..5)
                .prop_map(KeySet::values),
        ]
    }

    proptest! {
        #[test]
        fn an_intersection_holds_what_both_hold(sets in vec(set(), 1..4), keys in vec(vec(0..4_u8, 0..4), 1..40)) {
            let both = sets.iter().fold(KeySet::all(), |both, set| both.intersection(set));
            for key in keys {
                prop_assert_eq!(has(&both, &key), sets.iter().all(|set| has(set, &key)), "{:?}", key);
            }
            let spans = both.spans();
            prop_assert!(spans.iter().all(|span| !span.is_empty()));
            prop_assert!(spans.windows(2).all(|pair| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start)));
        }
    }

    proptest! {
        #[test]
        fn a_union_holds_what_either_holds_and_a_complement_the_rest(one in set(), other in set(), keys in vec(vec(0..4_u8, 0..4), 1..40)) {
            let (either, rest) = (one.union(&other), one.complement());
            for key in keys {
                prop_assert_eq!(has(&either, &key), has(&one, &key) || has(&other, &key), "{:?}", key);
                prop_assert_eq!(has(&rest, &key), !has(&one, &key), "{:?}", key);
            }
            for set in [either, rest] {
                let spans = set.spans();
                prop_assert!(spans.iter().all(|span| !span.is_empty()));
                prop_assert!(spans.windows(2).all(|pair| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start)));
            }
        }
    }

    #[test]
    fn values_stay_values_within_ranges() {
        let values = KeySet::values([3, 1, 3, 2].map(|byte| Key::from_slice(&[byte])).to_vec());
        let narrowed = values.intersection(&KeySet::range(smallvec![2], Some(smallvec![3])));
        assert!(narrowed.is_one_value() && values.is_values() && !values.is_one_value());
        assert!(KeySet::range(smallvec![2], Some(smallvec![2])).is_empty() && !KeySet::all().is_values());
    }
}
