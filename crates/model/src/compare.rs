//! Sets of objects as two stores compare them: by ranges of keys, of which only a count and a sum need to travel.
//!
//! An **item** is an existing object: its [`CompareKey`] and its [`Fingerprint`], which covers generation and all stamps. A
//! [`CompareSet`] holds items in order and tells of any range how many there are and what their fingerprints add up to, its
//! [`RangeSum`]; equal sums mean equal items. [`SortedItems`] is such a set in memory. `docs/compare.md` argues why this is
//! safe; the machines that compare stand in `reconvene-protocol`.

mod fingerprint;
mod key;
mod slice;
mod sorted;

pub use fingerprint::{FINGERPRINT_SHORT_BYTES, Fingerprint, Fingerprinter, RangeSum, SALT_BYTES, Salt};
pub use key::{CompareKey, CompareRange};
pub use slice::{SLICE_HASH_BYTES, Slice, SliceHasher, SliceOutcome};
pub use sorted::{DuplicateItem, SortedItems, SortedItemsBuilder};

/// An object in a set that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which object.
    pub key: CompareKey,
    /// In which state.
    pub fingerprint: Fingerprint,
}

/// A set of items in order of their keys, as both sides of a compare read it.
///
/// All fingerprints of a set are made with one salt. The answers may be of different moments of a set that changes, but each
/// item that an answer covers must be in a state that it had at one time since the compare began.
pub trait CompareSet {
    /// Why the set could not be read.
    type Error;

    /// How many items lie in a range, and what their fingerprints add up to.
    fn sum(&self, range: &CompareRange) -> Result<RangeSum, Self::Error>;

    /// The first items of a range, ascending, at most `limit`.
    fn items(&self, range: &CompareRange, limit: usize) -> Result<Vec<Item>, Self::Error>;

    /// Bounds that part a range into at most `parts` ranges, each with at least one item and about as many as the others.
    ///
    /// They ascend strictly and lie above the start and below the end of the range; a range with fewer than two items, or
    /// fewer than two `parts`, has none.
    fn bounds(&self, range: &CompareRange, parts: usize) -> Result<Vec<CompareKey>, Self::Error>;
}
