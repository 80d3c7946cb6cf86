//! Digests of some objects at one Seq, by which a device and a server notice that they have come apart.

use crate::compare::{CompareKey, CompareRange};
use crate::digest::Digest;
use crate::ids::Seq;
use crate::state::ObjectState;
use crate::types::PropertyType;

/// The bytes of a slice's hash.
pub const SLICE_HASH_BYTES: usize = 16;

/// What a device has confirmed of a range of keys at a Seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Seq.
    pub seq: Seq,
    /// The range, of one entity.
    pub range: CompareRange,
    /// How many objects exist in it.
    pub objects: u64,
    /// Their hash, from a [`SliceHasher`].
    pub hash: [u8; SLICE_HASH_BYTES],
    /// Whether the hash covers values.
    pub values: bool,
}

/// What a server says to a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SliceOutcome {
    /// It had the same at that Seq.
    Same = 0,
    /// It cannot tell: something in the range has changed since, or too much would have to be read.
    Unknown = 1,
    /// It had something else.
    Differs = 2,
}

/// Hashes the objects of a slice one after the other, in order of their keys.
///
/// The hash covers everything in its order, so that nothing has to be added up, and no salt keeps sums from being made equal.
#[derive(Default)]
pub struct SliceHasher {
    digest: Digest,
    objects: u64,
    bytes: u64,
    values: bool,
    buffer: Vec<u8>,
}

impl SliceHasher {
    /// A hasher of slices with or without values.
    pub fn new(values: bool) -> Self {
        SliceHasher { values, ..SliceHasher::default() }
    }

    /// Adds an object that exists. `is_read` says of a property by uid and type whether the schema knows it.
    ///
    /// Of a link only the counter counts: what it names beyond that follows from the store where the target does not travel. The
    /// value of a property that the schema does not know is left out, since one that does may show another one.
    pub fn object(
        &mut self,
        key: CompareKey,
        state: &ObjectState<'_>,
        is_read: impl Fn(crate::ids::Uid, u8) -> bool,
    ) {
        let buffer = &mut self.buffer;
        buffer.clear();
        let number = |buffer: &mut Vec<u8>, number: u64| buffer.extend_from_slice(&number.to_le_bytes());
        buffer.extend_from_slice(&key.to_bytes());
        number(buffer, state.generation);
        number(buffer, state.registers.len() as u64);
        for register in &state.registers {
            number(buffer, register.uid.0);
            number(buffer, register.stamp.rank);
            number(buffer, register.stamp.hlc);
            number(buffer, register.stamp.peer.0);
            if !self.values || !is_read(register.uid, register.ty) {
                continue;
            }
            let Some(cell) = register.cell.as_deref() else {
                number(buffer, 0);
                continue;
            };
            let is_link = register.ty == PropertyType::Relation as u8;
            let cell = if is_link { &cell[cell.len().min(8)..] } else { cell };
            number(buffer, cell.len() as u64 + 1);
            buffer.extend_from_slice(cell);
        }
        self.digest.update(buffer);
        self.objects += 1;
        self.bytes += buffer.len() as u64;
    }

    /// How many objects were added.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// How many bytes were hashed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of what was added.
    pub fn finish(&self) -> [u8; SLICE_HASH_BYTES] {
        let hash = self.digest.finalize();
        *hash.first_chunk().expect("a hash has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stamp;
    use crate::ids::{GlobalId, PeerId, Uid};
    use crate::state::Register;

    fn hash(values: bool, cell: Option<&[u8]>, ty: PropertyType, hlc: u64) -> [u8; SLICE_HASH_BYTES] {
        let register = Register {
            uid: Uid(3),
            ty: ty as u8,
            stamp: Stamp::new(hlc, PeerId(2)),
            cell: cell.map(Into::into),
        };
        let state = ObjectState { generation: 0, exists: true, registers: vec![register] };
        let mut hasher = SliceHasher::new(values);
        hasher.object(CompareKey::new(Uid(1), GlobalId::new(PeerId(2), 1)), &state, |_, _| true);
        hasher.finish()
    }

    #[test]
    fn values_count_where_they_are_to_and_stamps_always() {
        let (long, link) = (PropertyType::Long, PropertyType::Relation);
        assert_ne!(hash(true, Some(b"1"), long, 4), hash(true, Some(b"2"), long, 4));
        assert_ne!(hash(true, Some(b""), long, 4), hash(true, None, long, 4));
        assert_eq!(hash(false, Some(b"1"), long, 4), hash(false, Some(b"2"), long, 4));
        assert_ne!(hash(false, Some(b"1"), long, 4), hash(false, Some(b"1"), long, 5));
        assert_eq!(
            hash(true, Some(b"origin-1counter1"), link, 4),
            hash(true, Some(b"origin-2counter1"), link, 4)
        );
        assert_ne!(
            hash(true, Some(b"origin-1counter1"), link, 4),
            hash(true, Some(b"origin-1counter2"), link, 4)
        );
    }

    #[test]
    fn what_was_added_is_counted() {
        let mut hasher = SliceHasher::new(true);
        assert_eq!((hasher.objects(), hasher.bytes()), (0, 0));
        let state = ObjectState { generation: 0, exists: true, registers: vec![] };
        for counter in 1..=3 {
            let key = CompareKey::new(Uid(1), GlobalId::new(PeerId(2), counter));
            hasher.object(key, &state, |_, _| true);
        }
        let bytes = CompareKey::BYTES as u64 + 16;
        assert_eq!((hasher.objects(), hasher.bytes()), (3, 3 * bytes), "key, generation and no registers");
    }

    #[test]
    fn nothing_has_a_hash_as_well() {
        assert_eq!(SliceHasher::new(true).finish(), SliceHasher::new(false).finish());
    }
}
