//! The conflicts box: writes of this store that met writes of others, neither knowing of the other, until the application dismisses
//! them.
//!
//! Nothing reads it but the application: what wins is decided by the merge rules, and told here. [`super::apply`] finds conflicts.

use std::ops::Bound;

use reconvene_model::codec::{DecodeError, Reader as Bytes, put_varint};
use reconvene_model::state::{ObjectState, StateEntry, StatesReader, StatesWriter};
use reconvene_model::{GlobalId, ObjectId, PeerId, Seq, Stamp, TxNumber, Uid, Value};

use crate::error::{Result, StoreError};
use crate::keys;
use crate::object_box::Object;
use crate::seam::{Direction, Reader, TableId};
use crate::sync::convert::CatalogLookup;
use crate::sync::{global_ids, meta, rejected};
use crate::txn::WriteTxn;

/// How many conflicts a store keeps; the oldest go first.
pub const CONFLICTS_MAX: u64 = 1_000;

/// How many bytes the kept conflicts may take, values included; the oldest go first, and the newest always stays.
pub const CONFLICTS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Two writes to one object, one of this store and one of another, whose authors did not know of each other's.
///
/// Told by the store whose write reached the server later, once for each pair; `docs/guide/conflicts.md` says exactly what counts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conflict {
    /// Counts the conflicts of this store, from 1; also the handle to settle it by.
    pub number: u64,
    /// The entity's name.
    pub entity: String,
    /// The local id of the object; 0 if it has none any more.
    pub id: ObjectId,
    /// Which of the two stands, unless a later write replaces it or the server refuses this store's write.
    pub winner: Side,
    /// The law by which it does.
    pub law: ConflictLaw,
    /// The transaction of this store, among all that it ever issued; the number of [`Rejected`](crate::Rejected) if it is refused.
    pub transaction: TxNumber,
    /// What this store wrote.
    pub mine: Version,
    /// What the other one wrote.
    pub theirs: Version,
}

/// One of the two writes of a [`Conflict`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Version {
    /// Whether it removed the object.
    pub removed: bool,
    /// Who wrote it; `None` for removes of others, which do not name their author.
    pub peer: Option<PeerId>,
    /// When, by the author's clock, in milliseconds since 1970; `None` as with `peer`.
    pub written_ms: Option<u64>,
    /// The values over which the two differ, by property name; where one of the two removed the object, all that the other wrote.
    pub values: Vec<(String, Value)>,
}

/// One side of a [`Conflict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This store.
    Mine,
    /// The other one.
    Theirs,
}

/// By which law a [`Conflict`] was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConflictLaw {
    /// The later write stands.
    Later,
    /// Both writes have the same date, so that the names of their authors decide.
    Tie,
    /// The write of the higher precedence stands.
    Precedence,
    /// The write that reaches the server last stands.
    Arrival,
    /// A remove beats every edit that its author had not seen.
    Removed,
}

const LAWS: [ConflictLaw; 5] = [
    ConflictLaw::Later,
    ConflictLaw::Tie,
    ConflictLaw::Precedence,
    ConflictLaw::Arrival,
    ConflictLaw::Removed,
];

/// A conflict that was found; a side that exists not has removed the object.
pub(crate) struct Found<'a> {
    pub(crate) entity: Uid,
    pub(crate) gid: GlobalId,
    pub(crate) law: ConflictLaw,
    pub(crate) winner: Side,
    /// The transaction of this store that wrote last among those that take part, and its clock reading.
    pub(crate) number: TxNumber,
    pub(crate) hlc: u64,
    pub(crate) mine: ObjectState<'a>,
    pub(crate) theirs: ObjectState<'a>,
}

/// Keeps a conflict, and lets the oldest go where there are too many; its number.
pub(crate) fn put(tx: &mut WriteTxn<'_>, found: Found<'_>) -> Result<u64> {
    let mut row = vec![LAWS.iter().position(|law| *law == found.law).unwrap_or_default() as u8];
    row.push(u8::from(found.winner == Side::Theirs));
    put_varint(&mut row, rejected::handle(tx, found.number));
    put_varint(&mut row, found.hlc);
    let mut states = StatesWriter::new();
    for state in [found.mine, found.theirs] {
        states.push(&StateEntry { entity: found.entity, gid: found.gid, seq: Seq(0), state });
    }
    row.extend_from_slice(&states.finish());

    let table = tx.inner().sync.tables.conflicts;
    let (last, mut bytes) = meta::conflicts(tx)?;
    let number = last + 1;
    bytes += row.len() as u64;
    tx.put_raw(table, &keys::number_key(number), &row)?;
    while tx.engine_tx().count(table)? > CONFLICTS_MAX || bytes > CONFLICTS_BYTES_MAX {
        let Some((oldest, length)) = oldest(tx, table)?.filter(|&(oldest, _)| oldest != number) else {
            break;
        };
        tx.delete_raw(table, &keys::number_key(oldest))?;
        bytes = bytes.saturating_sub(length);
    }
    meta::put_conflicts(tx, number, bytes)?;
    Ok(number)
}

fn oldest(tx: &WriteTxn<'_>, table: TableId) -> Result<Option<(u64, u64)>> {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let first = tx.engine_tx().range(table, everything, Direction::Forward)?.next().transpose()?;
    first.map(|(key, row)| Ok((keys::number(key)?, row.len() as u64))).transpose()
}

/// Forgets a conflict; whether it was there.
pub(crate) fn dismiss(tx: &mut WriteTxn<'_>, number: u64) -> Result<bool> {
    let table = tx.inner().sync.tables.conflicts;
    let key = keys::number_key(number);
    let Some(length) = tx.engine_tx().get(table, &key)?.map(<[u8]>::len) else { return Ok(false) };
    let (last, bytes) = meta::conflicts(tx)?;
    meta::put_conflicts(tx, last, bytes.saturating_sub(length as u64))?;
    tx.delete_raw(table, &key)
}

/// Writes one side of a conflict again, as a new write, and forgets the conflict; whether it was there.
pub(crate) fn take(tx: &mut WriteTxn<'_>, number: u64, side: Side) -> Result<bool> {
    let Some(conflict) = one(tx, tx.engine_tx(), tx.inner().sync.tables.conflicts, number)? else {
        return Ok(false);
    };
    let version = match side {
        Side::Mine => conflict.mine,
        Side::Theirs => conflict.theirs,
    };
    let objects = tx.objects(&conflict.entity)?;
    if version.removed {
        objects.remove(conflict.id)?;
    } else {
        if conflict.id == 0 {
            return Err(StoreError::not_found(&conflict.entity, 0));
        }
        objects.put(&mut Object { id: conflict.id, values: version.values.into_iter().collect() })?;
    }
    dismiss(tx, number)
}

/// Every conflict, oldest first.
pub(crate) fn all<R: Reader>(tx: &impl CatalogLookup, reader: &R, table: TableId) -> Result<Vec<Conflict>> {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let rows = reader.range(table, everything, Direction::Forward)?.map(|row| {
        let (key, row) = row?;
        read(tx, keys::number(key)?, row)
    });
    rows.filter_map(Result::transpose).collect()
}

/// One conflict, if it is still there.
pub(crate) fn one<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    table: TableId,
    number: u64,
) -> Result<Option<Conflict>> {
    match reader.get(table, &keys::number_key(number))? {
        Some(row) => read(tx, number, row),
        None => Ok(None),
    }
}

/// Reads a row; `None` if the schema has no such entity any more.
pub(crate) fn read(tx: &impl CatalogLookup, number: u64, row: &[u8]) -> Result<Option<Conflict>> {
    let damaged = |e: DecodeError| StoreError::damaged("conflicts", e);
    let mut bytes = Bytes::new(row);
    let law = bytes.u8().map_err(damaged)?;
    let law = *LAWS
        .get(law as usize)
        .ok_or_else(|| StoreError::damaged("conflicts", format!("unknown law {law}")))?;
    let winner = match bytes.u8().map_err(damaged)? {
        0 => Side::Mine,
        1 => Side::Theirs,
        other => return Err(StoreError::damaged("conflicts", format!("unknown winner {other}"))),
    };
    let transaction = bytes.varint().map_err(damaged)?;
    let hlc = bytes.varint().map_err(damaged)?;
    let mut sides = StatesReader::new(bytes.rest()).map_err(damaged)?;
    let mut side = || -> Result<StateEntry<'_>> {
        let side = sides.next().transpose().map_err(damaged)?;
        side.ok_or_else(|| StoreError::damaged("conflicts", "a side is missing"))
    };
    let (mine, theirs) = (side()?, side()?);
    let Some(entity) = tx.catalog().by_uid(mine.entity).filter(|entity| entity.def.is_synced()) else {
        return Ok(None);
    };
    let version = |state: &ObjectState<'_>, written: Option<Stamp>| -> Result<Version> {
        Ok(Version {
            removed: !state.exists,
            peer: written.map(|stamp| stamp.peer),
            written_ms: written.map(Stamp::millis),
            values: rejected::values_of_registers(tx, entity, &state.registers)?,
        })
    };
    let newest = theirs.state.registers.iter().map(|register| register.stamp).max_by_key(|stamp| stamp.hlc);
    Ok(Some(Conflict {
        number,
        entity: entity.def.name.clone(),
        id: global_ids::named_by_peer(tx, entity, mine.gid)?.unwrap_or(0),
        winner,
        law,
        transaction,
        mine: version(&mine.state, Some(Stamp::new(hlc, tx.naming()?.peer())))?,
        theirs: version(&theirs.state, newest)?,
    }))
}
