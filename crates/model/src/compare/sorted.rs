//! A set of items in memory, sorted once and never changed.

use std::convert::Infallible;
use std::ops::Range;

use crate::compare::fingerprint::{add, subtract};
use crate::compare::{CompareKey, CompareRange, CompareSet, Fingerprint, Item, RangeSum};

/// A key that was pushed twice into a [`SortedItemsBuilder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object {key} stands twice in a set that is to be compared; check the store")]
pub struct DuplicateItem {
    /// The key.
    pub key: CompareKey,
}

/// All items of a moment in order, with running sums: a range costs two binary searches, whatever lies in it.
///
/// It takes [`SortedItems::BYTES_PER_ITEM`] bytes per item, and is meant to be built by one scan when a compare begins. A
/// server may keep it for other sessions with the same view: it is right as long as catch-up starts at its moment.
#[derive(Clone, Debug, Default)]
pub struct SortedItems {
    entries: Vec<Entry>,
    total: [u64; 4],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: CompareKey,
    /// While building the fingerprint of the item; then the sum of those of all items before it.
    before: [u64; 4],
}

/// Collects the items of a [`SortedItems`].
#[derive(Clone, Debug, Default)]
pub struct SortedItemsBuilder {
    entries: Vec<Entry>,
}

impl SortedItemsBuilder {
    /// An empty collection with room for this many items.
    pub fn with_capacity(items: usize) -> Self {
        SortedItemsBuilder { entries: Vec::with_capacity(items) }
    }

    /// Adds an item; any order will do.
    pub fn push(&mut self, key: CompareKey, fingerprint: Fingerprint) {
        self.entries.push(Entry { key, before: fingerprint.limbs() });
    }

    /// Sorts the items and adds them up.
    ///
    /// # Errors
    ///
    /// [`DuplicateItem`] if two items have the same key.
    pub fn finish(mut self) -> Result<SortedItems, DuplicateItem> {
        self.entries.sort_unstable_by_key(|entry| entry.key);
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(DuplicateItem { key: pair[0].key });
        }
        let mut total = [0; 4];
        for entry in &mut self.entries {
            let fingerprint = entry.before;
            entry.before = total;
            total = add(total, fingerprint);
        }
        Ok(SortedItems { entries: self.entries, total })
    }
}

impl SortedItems {
    /// What an item takes in memory, in bytes.
    pub const BYTES_PER_ITEM: usize = size_of::<Entry>();

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where the items of a range stand.
    fn places(&self, range: &CompareRange) -> Range<usize> {
        let from = self.entries.partition_point(|entry| entry.key < range.start);
        let to = match range.end {
            Some(end) => self.entries.partition_point(|entry| entry.key < end),
            None => self.entries.len(),
        };
        from..to.max(from)
    }

    /// The sum of the fingerprints of all items before this place.
    fn before(&self, at: usize) -> [u64; 4] {
        self.entries.get(at).map_or(self.total, |entry| entry.before)
    }
}

impl CompareSet for SortedItems {
    type Error = Infallible;

    fn sum(&self, range: &CompareRange) -> Result<RangeSum, Infallible> {
        let places = self.places(range);
        let sum = subtract(self.before(places.end), self.before(places.start));
        Ok(RangeSum::from_parts(places.len() as u64, sum))
    }

    fn items(&self, range: &CompareRange, limit: usize) -> Result<Vec<Item>, Infallible> {
        let places = self.places(range).take(limit);
        Ok(places
            .map(|at| Item {
                key: self.entries[at].key,
                fingerprint: Fingerprint::from_limbs(subtract(self.before(at + 1), self.before(at))),
            })
            .collect())
    }

    fn bounds(&self, range: &CompareRange, parts: usize) -> Result<Vec<CompareKey>, Infallible> {
        let places = self.places(range);
        let count = places.len();
        let parts = parts.min(count);
        // 128 bits, for a count times a number of parts.
        let nth = |part: usize| places.start + (count as u128 * part as u128 / parts as u128) as usize;
        Ok((1..parts)
            .map(nth)
            .map(|at| CompareKey::bound_between(self.entries[at - 1].key, self.entries[at].key))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::compare::Fingerprinter;
    use crate::ids::{GlobalId, PeerId, Uid};
    use crate::stamp::Stamp;

    fn key() -> impl Strategy<Value = CompareKey> {
        let origin = prop_oneof![0..3u64, any::<u64>()];
        let counter = prop_oneof![0..40u64, any::<u64>()];
        (0..3u64, origin, counter).prop_map(|(entity, origin, counter)| {
            CompareKey::new(Uid(entity), GlobalId::new(PeerId(origin), counter))
        })
    }

    fn range() -> impl Strategy<Value = CompareRange> {
        (key(), proptest::option::of(key())).prop_map(|(start, end)| CompareRange::new(start, end))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_are_what_a_plain_list_says(
            items in btree_map(key(), 1u64..9, 0..60),
            ranges in vec(range(), 1..8),
            parts in 0usize..12,
            limit in 0usize..10,
        ) {
            let mut fingerprints = Fingerprinter::new(&[3; 32]);
            let plain: Vec<Item> = items
                .iter()
                .map(|(&key, &hlc)| Item { key, fingerprint: fingerprints.object(key, 0, [(Uid(1), Stamp::new(hlc, PeerId(1)))]) })
                .collect();
            let mut builder = SortedItemsBuilder::default();
            for item in plain.iter().rev() {
                builder.push(item.key, item.fingerprint);
            }
            let set = builder.finish().unwrap();
            prop_assert_eq!((set.len(), set.is_empty()), (plain.len(), plain.is_empty()));
            for range in ranges.iter().chain([&CompareRange::ALL]) {
                let inside: Vec<Item> = plain.iter().filter(|item| range.contains(item.key)).copied().collect();
                let mut sum = RangeSum::default();
                inside.iter().for_each(|item| sum.add(item.fingerprint));
                prop_assert_eq!(set.sum(range).unwrap(), sum);
                prop_assert_eq!(set.items(range, limit).unwrap(), &inside[..limit.min(inside.len())]);
                let bounds = set.bounds(range, parts).unwrap();
                prop_assert_eq!(bounds.len(), parts.min(inside.len()).saturating_sub(1));
                let mut start = range.start;
                let mut counts = Vec::new();
                for end in bounds.iter().map(|bound| Some(*bound)).chain([range.end]) {
                    let part = CompareRange::new(start, end);
                    counts.push(set.sum(&part).unwrap().count);
                    start = end.unwrap_or(start);
                }
                if !bounds.is_empty() {
                    prop_assert!(bounds.is_sorted_by(|a, b| a < b) && bounds[0] > range.start);
                    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                    prop_assert!(*least >= 1 && most - least <= 1);
                }
            }
        }
    }

    #[test]
    fn a_key_stands_once() {
        let mut builder = SortedItemsBuilder::default();
        for counter in [2, 1, 2] {
            builder.push(CompareKey::new(Uid(1), GlobalId::new(PeerId(1), counter)), Fingerprint::default());
        }
        let twice = CompareKey::new(Uid(1), GlobalId::new(PeerId(1), 2));
        assert_eq!(builder.finish().unwrap_err(), DuplicateItem { key: twice });
    }

    #[test]
    fn ranges_are_parted_at_short_bounds() {
        let key = |counter| CompareKey::new(Uid(1), GlobalId::new(PeerId(1), counter));
        let mut builder = SortedItemsBuilder::with_capacity(4);
        [1, 0x1fe, 0x301, 0x302]
            .into_iter()
            .for_each(|counter| builder.push(key(counter), Fingerprint::default()));
        let bounds = builder.finish().unwrap().bounds(&CompareRange::ALL, 2).unwrap();
        assert_eq!(bounds, [key(0x300)], "between the second and the third");
    }

    #[test]
    fn an_item_takes_what_the_documents_say() {
        assert_eq!(SortedItems::BYTES_PER_ITEM, 56);
    }
}
