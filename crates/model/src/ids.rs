//! The identities of peers, objects, entities and transactions.

use std::fmt;

/// The local identity of an object: unique in its box on this device, never handed out twice, never 0 once stored.
pub type ObjectId = u64;

/// The count of an origin's transactions, from 1 upwards without gaps.
pub type TxNumber = u64;

/// How often an object was removed; 0 for an object that never was.
pub type Generation = u64;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The stable 64-bit identity of an entity, property, index or relation, across renames; 0 means none.
    Uid(u64)
}
number! {
    /// The number of an entity within one model, from 1; it names the entity's table on this device.
    EntityId(u32)
}
number! {
    /// The number of a property within its entity, from 1; its slot in a record is one less.
    PropertyId(u32)
}
number! {
    /// The number of an index within one model, from 1; it names the index's table on this device.
    IndexId(u32)
}
number! {
    /// A position in a server's history, from 1; 0 is before everything.
    Seq(u64)
}

impl PropertyId {
    /// The slot of this property in a record: the id less one.
    ///
    /// # Panics
    ///
    /// For id 0, which no schema holds.
    pub fn slot(self) -> usize {
        (self.0 as usize)
            .checked_sub(1)
            .expect("property ids start at 1: the schema was checked when it was built")
    }
}

/// Who a peer is: the first 8 bytes, big-endian, of the BLAKE3 hash of its Ed25519 public key; 0 is nobody.
///
/// As the origin of a [`GlobalId`], 0 marks an object whose id is shared by all peers.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl PeerId {
    /// The origin of objects whose ids are shared by all peers.
    pub const SHARED: PeerId = PeerId(0);
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// The identity of an object for everyone, together with its entity: who made it, and its number there.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalId {
    /// The peer that inserted the object; [`PeerId::SHARED`] for entities with shared ids.
    pub origin: PeerId,
    /// The object's local id on its origin; for shared ids, its id everywhere.
    pub counter: u64,
}

impl GlobalId {
    /// The number of bytes of [`GlobalId::to_bytes`].
    pub const BYTES: usize = 16;

    /// The identity of the object that `origin` stores under `counter`.
    pub fn new(origin: PeerId, counter: u64) -> Self {
        GlobalId { origin, counter }
    }

    /// Origin, then counter, both big-endian, so that byte order is id order.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.origin.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }

    /// The inverse of [`GlobalId::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [o0, o1, o2, o3, o4, o5, o6, o7, c0, c1, c2, c3, c4, c5, c6, c7] = bytes;
        GlobalId {
            origin: PeerId(u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7])),
            counter: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        }
    }
}

impl fmt::Display for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.counter)
    }
}

impl fmt::Debug for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlobalId({self})")
    }
}

/// The first 16 bytes of the BLAKE3 hash of a transaction's bytes: a link of its origin's chain.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxHash(pub [u8; 16]);

impl TxHash {
    /// What the first transaction of an origin names as its predecessor.
    pub const NONE: TxHash = TxHash([0; 16]);

    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        TxHash(short)
    }
}

impl fmt::Display for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_of_global_ids_is_their_order() {
        let low = GlobalId::new(PeerId(1), u64::MAX);
        let high = GlobalId::new(PeerId(2), 0);
        assert!(low < high && low.to_bytes() < high.to_bytes());
        assert_eq!(GlobalId::from_bytes(high.to_bytes()), high);
    }
}
