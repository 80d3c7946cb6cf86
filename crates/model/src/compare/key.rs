//! Where an item stands in a set, and ranges of such places.

use std::fmt;

use crate::ids::{GlobalId, PeerId, Uid};

/// The place of an object among those of all entities: by entity uid, then origin, then counter.
///
/// A key may also be a bound between objects; then it need not name one, and its parts may be 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompareKey {
    /// The entity of the object.
    pub entity: Uid,
    /// The object.
    pub gid: GlobalId,
}

impl CompareKey {
    /// The number of bytes of [`CompareKey::to_bytes`].
    pub const BYTES: usize = 24;

    /// At or below all keys.
    pub const FIRST: CompareKey =
        CompareKey { entity: Uid(0), gid: GlobalId { origin: PeerId(0), counter: 0 } };

    /// The place of this object.
    pub fn new(entity: Uid, gid: GlobalId) -> Self {
        CompareKey { entity, gid }
    }

    /// Entity, origin, counter, each big-endian, so that byte order is the order of keys.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.entity.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.gid.to_bytes());
        bytes
    }

    /// The inverse of [`CompareKey::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (entity, gid) = bytes.split_first_chunk().expect("24 bytes begin with 8");
        CompareKey {
            entity: Uid(u64::from_be_bytes(*entity)),
            gid: GlobalId::from_bytes(gid.try_into().expect("16 of 24 bytes are left")),
        }
    }

    /// The next possible key; `None` after the last one.
    pub fn next(self) -> Option<Self> {
        let mut bytes = self.to_bytes();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(Self::from_bytes(bytes));
            }
        }
        None
    }

    /// The bound with the most trailing zero bytes that lies above `below` and not above `above`, which must be larger.
    ///
    /// Bounds travel without their trailing zeros, so such a one is short.
    pub fn bound_between(below: Self, above: Self) -> Self {
        let (below, above) = (below.to_bytes(), above.to_bytes());
        let same = below.iter().zip(&above).take_while(|(a, b)| a == b).count();
        let mut bound = [0; Self::BYTES];
        let kept = (same + 1).min(Self::BYTES);
        bound[..kept].copy_from_slice(&above[..kept]);
        Self::from_bytes(bound)
    }
}

impl fmt::Display for CompareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.entity, self.gid)
    }
}

impl fmt::Debug for CompareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompareKey({self})")
    }
}

/// The keys from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompareRange {
    /// The first key.
    pub start: CompareKey,
    /// The first key that is not in the range; `None` if all from the start are.
    pub end: Option<CompareKey>,
}

impl CompareRange {
    /// All keys.
    pub const ALL: CompareRange = CompareRange { start: CompareKey::FIRST, end: None };

    /// The range from `start` up to, not including, `end`.
    pub fn new(start: CompareKey, end: Option<CompareKey>) -> Self {
        CompareRange { start, end }
    }

    /// The range of one key.
    pub fn of(key: CompareKey) -> Self {
        CompareRange { start: key, end: key.next() }
    }

    /// Whether no key can lie in it.
    pub fn is_empty(&self) -> bool {
        self.end.is_some_and(|end| end <= self.start)
    }

    /// Whether a key lies in it.
    pub fn contains(&self, key: CompareKey) -> bool {
        key >= self.start && self.end.is_none_or(|end| key < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(entity: u64, origin: u64, counter: u64) -> CompareKey {
        CompareKey::new(Uid(entity), GlobalId::new(PeerId(origin), counter))
    }

    #[test]
    fn byte_order_is_key_order_and_reads_back() {
        let keys =
            [CompareKey::FIRST, key(0, 0, 1), key(0, 1, 0), key(1, 0, 0), key(1, 0, u64::MAX), key(1, 1, 0)];
        assert!(keys.is_sorted());
        assert!(keys.map(CompareKey::to_bytes).is_sorted());
        for key in keys {
            assert_eq!(CompareKey::from_bytes(key.to_bytes()), key);
        }
    }

    #[test]
    fn the_next_key_carries_and_ends() {
        assert_eq!(key(1, 2, u64::MAX).next(), Some(key(1, 3, 0)));
        assert_eq!(key(1, u64::MAX, u64::MAX).next(), Some(key(2, 0, 0)));
        assert_eq!(key(u64::MAX, u64::MAX, u64::MAX).next(), None);
        let last = CompareRange::of(key(u64::MAX, u64::MAX, u64::MAX));
        assert!(last.end.is_none() && last.contains(last.start) && !last.is_empty());
        let one = CompareRange::of(key(1, 2, 3));
        assert!(one.contains(key(1, 2, 3)) && !one.contains(key(1, 2, 4)) && !one.contains(key(1, 2, 2)));
        assert_eq!(one.start.to_string(), format!("{}/{}", Uid(1), one.start.gid));
    }

    #[test]
    fn bounds_lie_between_and_end_in_zeros() {
        for (below, above, bound) in [
            (key(1, 2, 0x1fe), key(1, 2, 0x301), key(1, 2, 0x300)),
            (key(1, 2, 3), key(1, 2, 4), key(1, 2, 4)),
            (key(1, 2, 3), key(1 << 56, 5, 6), key(1 << 56, 0, 0)),
        ] {
            assert_eq!(CompareKey::bound_between(below, above), bound);
            assert!(below < bound && bound <= above);
        }
    }
}
