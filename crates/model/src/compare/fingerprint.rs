//! The fingerprints of objects, and their sums over ranges.

use std::fmt;

use crate::compare::CompareKey;
use crate::ids::{Generation, Uid};
use crate::stamp::Stamp;

/// The number of bytes of a [`Salt`].
pub const SALT_BYTES: usize = 32;

/// What all fingerprints of one compare are keyed with, random and made by the server.
///
/// Who does not know the salt in advance cannot choose writes whose fingerprints add up to those of others.
pub type Salt = [u8; SALT_BYTES];

/// The bytes of a fingerprint, or of the hash of a sum, that travel.
pub const FINGERPRINT_SHORT_BYTES: usize = 16;

/// What stands for the state of an object in a compare: a hash over its key, its generation and all its stamps.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint([u64; 4]);

impl Fingerprint {
    /// The first 16 bytes, which travel.
    pub fn short(&self) -> [u8; FINGERPRINT_SHORT_BYTES] {
        let mut short = [0; FINGERPRINT_SHORT_BYTES];
        short[..8].copy_from_slice(&self.0[0].to_le_bytes());
        short[8..].copy_from_slice(&self.0[1].to_le_bytes());
        short
    }

    pub(super) fn limbs(&self) -> [u64; 4] {
        self.0
    }

    pub(super) fn from_limbs(limbs: [u64; 4]) -> Self {
        Fingerprint(limbs)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:016x}..)", self.0[0])
    }
}

/// Makes the fingerprints of one compare.
///
/// ```
/// use reconvene_model::compare::{CompareKey, Fingerprinter};
/// use reconvene_model::{GlobalId, PeerId, Stamp, Uid};
///
/// let mut fingerprints = Fingerprinter::new(&[7; 32]);
/// let key = CompareKey::new(Uid(1), GlobalId::new(PeerId(7), 1));
/// let (old, new) = (Stamp::new(1, PeerId(7)), Stamp::new(2, PeerId(7)));
/// let one = fingerprints.object(key, 0, [(Uid(2), old), (Uid(3), old)]);
/// let other = fingerprints.object(key, 0, [(Uid(2), new), (Uid(3), old)]);
/// assert_ne!(one, other);
/// // A property that nobody wrote is as good as none.
/// assert_eq!(one, fingerprints.object(key, 0, [(Uid(2), old), (Uid(3), old), (Uid(9), Stamp::NEVER)]));
/// ```
#[derive(Clone)]
pub struct Fingerprinter {
    salt: Salt,
    bytes: Vec<u8>,
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

impl Fingerprinter {
    /// Fingerprints with this salt.
    pub fn new(salt: &Salt) -> Self {
        Fingerprinter { salt: *salt, bytes: Vec::new() }
    }

    /// The fingerprint of an object: of its generation, and of the stamps of its properties, ascending by uid.
    ///
    /// Properties that were never written may be named or left out; those that the schema does not know count as well.
    pub fn object(
        &mut self,
        key: CompareKey,
        generation: Generation,
        stamps: impl IntoIterator<Item = (Uid, Stamp)>,
    ) -> Fingerprint {
        self.bytes.clear();
        self.bytes.extend_from_slice(&key.to_bytes());
        self.bytes.extend_from_slice(&generation.to_le_bytes());
        for (uid, stamp) in stamps {
            if stamp.is_never() {
                continue;
            }
            if stamp.rank != 0 {
                // No uid is 0, so nothing else can be taken for a rank.
                self.bytes.extend_from_slice(&0_u64.to_le_bytes());
                self.bytes.extend_from_slice(&stamp.rank.to_le_bytes());
            }
            self.bytes.extend_from_slice(&uid.0.to_le_bytes());
            self.bytes.extend_from_slice(&stamp.hlc.to_le_bytes());
            self.bytes.extend_from_slice(&stamp.peer.0.to_le_bytes());
        }
        let hash = blake3::keyed_hash(&self.salt, &self.bytes);
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            *limb = u64::from_le_bytes(bytes.try_into().expect("a chunk has 8 bytes"));
        }
        Fingerprint(limbs)
    }
}

/// How many items a range holds, and the sum of their fingerprints modulo 2^256.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RangeSum {
    /// How many items there are.
    pub count: u64,
    sum: [u64; 4],
}

impl RangeSum {
    /// A sum of this many fingerprints.
    pub(super) fn from_parts(count: u64, sum: [u64; 4]) -> Self {
        RangeSum { count, sum }
    }

    /// Adds an item.
    pub fn add(&mut self, fingerprint: Fingerprint) {
        self.count = self.count.wrapping_add(1);
        self.sum = add(self.sum, fingerprint.0);
    }

    /// Takes an item away that was added before.
    pub fn remove(&mut self, fingerprint: Fingerprint) {
        self.count = self.count.wrapping_sub(1);
        self.sum = subtract(self.sum, fingerprint.0);
    }

    /// The hash of count and sum, which travels: its first 16 bytes.
    pub fn hash(&self) -> [u8; FINGERPRINT_SHORT_BYTES] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        for (to, limb) in bytes[8..].chunks_exact_mut(8).zip(self.sum) {
            to.copy_from_slice(&limb.to_le_bytes());
        }
        let mut short = [0; FINGERPRINT_SHORT_BYTES];
        short.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..FINGERPRINT_SHORT_BYTES]);
        short
    }
}

impl fmt::Debug for RangeSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RangeSum({}, {:016x}..)", self.count, self.sum[0])
    }
}

pub(super) fn add(one: [u64; 4], other: [u64; 4]) -> [u64; 4] {
    let mut sum = [0; 4];
    let mut carry = false;
    for ((limb, a), b) in sum.iter_mut().zip(one).zip(other) {
        let (partial, first) = a.overflowing_add(b);
        let (total, second) = partial.overflowing_add(u64::from(carry));
        (*limb, carry) = (total, first | second);
    }
    sum
}

pub(super) fn subtract(from: [u64; 4], what: [u64; 4]) -> [u64; 4] {
    let mut difference = [0; 4];
    let mut borrow = false;
    for ((limb, a), b) in difference.iter_mut().zip(from).zip(what) {
        let (partial, first) = a.overflowing_sub(b);
        let (total, second) = partial.overflowing_sub(u64::from(borrow));
        (*limb, borrow) = (total, first | second);
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GlobalId, PeerId};

    fn key(counter: u64) -> CompareKey {
        CompareKey::new(Uid(1), GlobalId::new(PeerId(2), counter))
    }

    #[test]
    fn sums_carry_through_all_limbs_and_back() {
        let (max, one) = ([u64::MAX; 4], [1, 0, 0, 0]);
        assert_eq!(add(max, one), [0; 4]);
        assert_eq!(subtract([0; 4], one), max);
        assert_eq!(add([u64::MAX, 0, u64::MAX, 3], [1, u64::MAX, 0, 4]), [0, 0, 0, 8]);
        assert_eq!(subtract([0, 0, 0, 8], [1, u64::MAX, 0, 4]), [u64::MAX, 0, u64::MAX, 3]);
    }

    #[test]
    fn everything_that_a_fingerprint_covers_changes_it() {
        let stamp = Stamp::new(5, PeerId(2));
        let mut salted = Fingerprinter::new(&[1; SALT_BYTES]);
        let all = [
            salted.object(key(1), 0, [(Uid(1), stamp)]),
            salted.object(key(2), 0, [(Uid(1), stamp)]),
            salted.object(key(1), 1, [(Uid(1), stamp)]),
            salted.object(key(1), 0, [(Uid(2), stamp)]),
            salted.object(key(1), 0, [(Uid(1), Stamp::new(6, PeerId(2)))]),
            salted.object(key(1), 0, [(Uid(1), Stamp::new(5, PeerId(3)))]),
            salted.object(key(1), 0, [(Uid(1), stamp.ranked(1))]),
            salted.object(key(1), 0, [(Uid(1), stamp.ranked(2))]),
            salted.object(key(1), 0, [(Uid(1), stamp), (Uid(2), stamp)]),
            salted.object(key(1), 0, []),
            Fingerprinter::new(&[2; SALT_BYTES]).object(key(1), 0, [(Uid(1), stamp)]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other != one && other.short() != one.short()), "{at}");
        }
    }

    /// These bytes are those of docs/compare.md: other implementations arrive at them too.
    #[test]
    fn fingerprints_and_sums_are_the_documented_ones() {
        let mut salted = Fingerprinter::new(&[7; SALT_BYTES]);
        let one = salted.object(key(1), 0, [(Uid(3), Stamp::new(4, PeerId(2)))]);
        let two = salted.object(key(2), 1, []);
        let mut sum = RangeSum::default();
        let nothing = sum.hash();
        sum.add(one);
        sum.add(two);
        let hex = |bytes: [u8; 16]| bytes.map(|byte| format!("{byte:02x}")).concat();
        let document = include_str!("../../../../docs/compare.md");
        for (what, bytes) in
            [("one", one.short()), ("two", two.short()), ("sum", sum.hash()), ("nothing", nothing)]
        {
            assert!(document.contains(&hex(bytes)), "{what} is {}", hex(bytes));
        }
        sum.remove(one);
        sum.remove(two);
        assert_eq!(sum, RangeSum::default());
    }
}
