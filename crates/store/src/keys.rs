//! The names of all tables and the shapes of all keys, in one place; `docs/keys.md` describes them byte by byte.
//!
//! Numbers in keys are big-endian, so that byte order is numeric order.

#[cfg(test)]
mod golden_tests;

use reconvene_model::{EntityId, GlobalId, IndexId, ObjectId, PeerId, Seq, TxNumber};

use crate::error::{Result, StoreError};

/// The table of single values.
pub(crate) const META: &str = "meta";
/// Number to transaction: written here, not decided on yet.
pub(crate) const OUTBOX: &str = "outbox";
/// Entity and object to record: what is confirmed about objects with undecided transactions.
pub(crate) const CONFIRMED: &str = "confirmed";
/// Number to reason and transaction: what a server did not take.
pub(crate) const REJECTED: &str = "rejected";
/// Number to both sides: writes of this store that met those of others.
pub(crate) const CONFLICTS: &str = "conflicts";
/// Position, entity and object to nothing: what changed when, on servers.
pub(crate) const CHANGES: &str = "changes";
/// Peer to key, numbers and hash, on servers.
pub(crate) const ORIGINS: &str = "origins";
/// Peer and number to verdict, on servers.
pub(crate) const DECISIONS: &str = "decisions";

/// In [`META`]: the format version of the whole directory.
pub(crate) const FORMAT_KEY: &[u8] = b"format";
/// In [`META`]: the model file.
pub(crate) const MODEL_KEY: &[u8] = b"model";

/// In [`META`]: how often the schema has changed.
pub(crate) const SCHEMA_KEY: &[u8] = b"schema";

/// The table of an entity's objects: id to record.
pub(crate) fn objects_table(entity: EntityId) -> String {
    format!("e/{}", entity.0)
}

/// The table of a synced entity's objects that do not exist: id to record.
pub(crate) fn absent_table(entity: EntityId) -> String {
    format!("a/{}", entity.0)
}

/// The table of a synced entity's foreign objects: global id to id.
pub(crate) fn global_ids_table(entity: EntityId) -> String {
    format!("g/{}", entity.0)
}

/// The table of an index: value and id to nothing.
pub(crate) fn index_table(index: IndexId) -> String {
    format!("i/{}", index.0)
}

/// The table of a standalone relation: source and target to nothing.
pub(crate) fn relation_table(relation: u32) -> String {
    format!("r/{relation}")
}

/// The table of a standalone relation from its other side: target and source to nothing.
pub(crate) fn relation_back_table(relation: u32) -> String {
    format!("b/{relation}")
}

/// In [`META`]: the largest id that an entity's objects ever had.
pub(crate) fn last_id_key(entity: EntityId) -> String {
    format!("last-id/{}", entity.0)
}

/// In [`META`]: from where on an entity's objects have yet to enter the outbox, because it became synced.
pub(crate) fn enroll_key(entity: EntityId) -> String {
    format!("enroll/{}", entity.0)
}

/// In [`META`]: from where on an entity's objects have yet to lose what sync knew of them, because it became local.
pub(crate) fn leave_key(entity: EntityId) -> String {
    format!("leave/{}", entity.0)
}

/// In [`META`]: from where on the objects have yet to enter an index.
pub(crate) fn build_key(index: IndexId) -> String {
    format!("build/{}", index.0)
}

/// The key of an object in the tables of its entity.
pub(crate) fn object_key(id: ObjectId) -> [u8; 8] {
    id.to_be_bytes()
}

/// The id in an [`object_key`].
#[inline]
pub(crate) fn object_id(key: &[u8]) -> Result<ObjectId> {
    key.try_into().map(ObjectId::from_be_bytes).map_err(|_| wrong_length("an object's", key, 8))
}

/// The global id that is a key of its entity's table of them.
pub(crate) fn global_id(key: &[u8]) -> Result<GlobalId> {
    let bytes = key.try_into().map_err(|_| wrong_length("a global id's", key, GlobalId::BYTES))?;
    Ok(GlobalId::from_bytes(bytes))
}

/// The key of a link in a table of its relation: from which object to which, as the table has them.
pub(crate) fn link_key(from: ObjectId, to: ObjectId) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&object_key(from));
    key[8..].copy_from_slice(&object_key(to));
    key
}

/// From which object to which a [`link_key`] leads.
pub(crate) fn link(key: &[u8]) -> Result<(ObjectId, ObjectId)> {
    match key.split_first_chunk::<8>() {
        Some((from, to)) if to.len() == 8 => Ok((ObjectId::from_be_bytes(*from), object_id(to)?)),
        _ => Err(wrong_length("a link's", key, 16)),
    }
}

/// The key of an object among those of all entities.
pub(crate) fn entity_object_key(entity: EntityId, id: ObjectId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&entity.0.to_be_bytes());
    key[4..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The entity and the id in an [`entity_object_key`].
pub(crate) fn entity_object(key: &[u8]) -> Result<(EntityId, ObjectId)> {
    match key.split_first_chunk::<4>() {
        Some((entity, rest)) if rest.len() == 8 => {
            Ok((EntityId(u32::from_be_bytes(*entity)), object_id(rest)?))
        }
        _ => Err(wrong_length("an object's", key, 12)),
    }
}

/// The key of a transaction of this store, or of a peer.
pub(crate) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number in a [`number_key`].
pub(crate) fn number(key: &[u8]) -> Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| wrong_length("a number's", key, 8))
}

/// The key of a peer's transaction.
pub(crate) fn peer_number_key(peer: PeerId, number: TxNumber) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&peer.0.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The peer and the number in a [`peer_number_key`].
pub(crate) fn peer_number(key: &[u8]) -> Result<(PeerId, TxNumber)> {
    match key.split_first_chunk::<8>() {
        Some((peer, rest)) if rest.len() == 8 => Ok((PeerId(u64::from_be_bytes(*peer)), number(rest)?)),
        _ => Err(wrong_length("a peer's transaction", key, 16)),
    }
}

/// The key of a change: where in the history, and which object.
pub(crate) fn change_key(seq: Seq, entity: EntityId, id: ObjectId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&seq.0.to_be_bytes());
    key[8..].copy_from_slice(&entity_object_key(entity, id));
    key
}

/// What a [`change_key`] names.
pub(crate) fn change(key: &[u8]) -> Result<(Seq, EntityId, ObjectId)> {
    let wrong = || wrong_length("a change's", key, 20);
    let (seq, rest) = key.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (entity, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let id: [u8; 8] = rest.try_into().map_err(|_| wrong())?;
    Ok((Seq(u64::from_be_bytes(*seq)), EntityId(u32::from_be_bytes(*entity)), u64::from_be_bytes(id)))
}

#[cold]
fn wrong_length(what: &str, key: &[u8], expected: usize) -> StoreError {
    StoreError::damaged("key", format!("{what} key has {} bytes instead of {expected}", key.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_order_as_numbers() {
        assert_eq!(object_id(&object_key(7)).unwrap(), 7);
        assert!(object_key(255) < object_key(256));
        let key = entity_object_key(EntityId(2), 7);
        assert_eq!(entity_object(&key).unwrap(), (EntityId(2), 7));
        assert!(entity_object(&key[1..]).is_err());
        assert_eq!(peer_number(&peer_number_key(PeerId(3), 9)).unwrap(), (PeerId(3), 9));
        let (seq, entity) = (Seq(300), EntityId(2));
        assert_eq!(change(&change_key(seq, entity, 5)).unwrap(), (seq, entity, 5));
        assert!(change_key(seq, entity, u64::MAX) < change_key(Seq(301), EntityId(0), 0));
    }

    #[test]
    fn keys_of_other_lengths_are_damage() {
        for key in [&b""[..], b"1234567", b"123456789"] {
            assert!(object_id(key).is_err() && number(key).is_err(), "{key:?}");
            assert!(peer_number(key).is_err() && change(key).is_err(), "{key:?}");
        }
    }
}
