//! The rejected box: what a server did not take, with the reason and the data, until the application dismisses it.

use std::borrow::Cow;
use std::ops::Bound;

use reconvene_model::change::OpKind;
use reconvene_model::codec::{Reader as Bytes, put_varint};
use reconvene_model::kinds::{Kind, set_change, set_elements};
use reconvene_model::state::{Register, StatesReader};
use reconvene_model::{GlobalId, ObjectId, PropertyType, TxNumber, Uid, Value};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::apply::{LostOp, ops_of};
use crate::sync::convert::CatalogLookup;
use crate::sync::global_ids;
use crate::txn::WriteTxn;

const LOST: u8 = 0;
const REFUSED: u8 = 1;
const SUPERSEDED: u8 = 2;
const LOST_TX: u8 = 3;
const LOST_STATES: u8 = 4;

/// The code of what a restored server has lost after it had accepted it.
pub const LOST_BY_SERVER: u32 = 608;

/// Where the numbers begin that are those of no transaction: of objects of anybody's that a restored server has lost.
pub const LOST_OBJECTS_FROM: TxNumber = 1 << 63;

/// A transaction of this store that a server did not take, or not whole; or what a restored server had and has lost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rejected {
    /// Its number among all that this store ever issued; also the handle to dismiss it by. From [`LOST_OBJECTS_FROM`] on it names no
    /// transaction of this store.
    pub number: TxNumber,
    /// The stable code of a refusal, [`LOST_BY_SERVER`]; 0 where later removes swallowed ops.
    pub code: u32,
    /// Why, in words.
    pub message: String,
    /// The ops that took no effect.
    pub ops: Vec<RejectedOp>,
}

/// One op that took no effect, with what it would have written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RejectedOp {
    /// The entity's name.
    pub entity: String,
    /// The local id of the object.
    pub id: ObjectId,
    /// Insert, update or remove.
    pub kind: OpKind,
    /// Whether the server named this op as the reason.
    pub to_blame: bool,
    /// What it would have written, by property name: of a counter how much it would have added, of a set the elements that it would have
    /// added.
    pub values: Vec<(String, Value)>,
    /// The elements that it would have removed from sets, by property name.
    pub removed: Vec<(String, Value)>,
}

/// Why a transaction is put here.
pub(crate) enum Cause<'a> {
    Lost(&'a [LostOp]),
    Refused {
        code: u32,
        op: Option<u32>,
        message: &'a str,
    },
    Superseded(&'a [LostOp]),
    /// It had been accepted, but the server was restored and has it no more.
    LostByServer,
    /// Not a transaction, but a block of states that the server had and has no more.
    LostStates,
}

/// What tells a transaction of this store from all others that it ever issued, under former names as well.
pub(crate) fn handle(tx: &WriteTxn<'_>, number: TxNumber) -> TxNumber {
    tx.naming().issued_before().saturating_add(number)
}

/// Keeps a transaction with its reason.
pub(crate) fn put(tx: &mut WriteTxn<'_>, number: TxNumber, cause: Cause<'_>, bytes: &[u8]) -> Result<()> {
    let mut row = Vec::with_capacity(bytes.len() + 64);
    let key = match &cause {
        Cause::LostStates => number,
        _ => handle(tx, number),
    };
    let lost_ops = |row: &mut Vec<u8>, lost: &[LostOp]| {
        put_varint(row, lost.len() as u64);
        for lost in lost {
            put_varint(row, u64::from(lost.op));
            put_varint(row, lost.generation);
        }
    };
    match cause {
        Cause::LostByServer => row.push(LOST_TX),
        Cause::LostStates => row.push(LOST_STATES),
        Cause::Lost(lost) => {
            row.push(LOST);
            lost_ops(&mut row, lost);
        }
        Cause::Superseded(lost) => {
            row.push(SUPERSEDED);
            lost_ops(&mut row, lost);
        }
        Cause::Refused { code, op, message } => {
            row.push(REFUSED);
            put_varint(&mut row, u64::from(code));
            // One more than the op, so that 0 says that none is to blame.
            put_varint(&mut row, op.map_or(0, |op| u64::from(op) + 1));
            put_varint(&mut row, message.len() as u64);
            row.extend_from_slice(message.as_bytes());
        }
    }
    row.extend_from_slice(bytes);
    let table = tx.inner().sync.tables.rejected;
    tx.put_raw(table, &keys::number_key(key), &row)
}

/// The number for the next block of states that a server has lost.
pub(crate) fn next_lost(tx: &WriteTxn<'_>) -> Result<TxNumber> {
    let table = tx.inner().sync.tables.rejected;
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let last = tx.engine_tx().range(table, everything, Direction::Backward)?.next().transpose()?;
    let last = last.map(|(key, _)| keys::number(key)).transpose()?;
    Ok(last.filter(|&last| last >= LOST_OBJECTS_FROM).map_or(LOST_OBJECTS_FROM, |last| last + 1))
}

/// Forgets a rejected transaction; whether it was there.
pub(crate) fn dismiss(tx: &mut WriteTxn<'_>, number: TxNumber) -> Result<bool> {
    let table = tx.inner().sync.tables.rejected;
    tx.delete_raw(table, &keys::number_key(number))
}

/// Every rejected transaction, oldest first.
pub(crate) fn all<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    table: crate::seam::TableId,
) -> Result<Vec<Rejected>> {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    reader
        .range(table, everything, Direction::Forward)?
        .map(|row| {
            let (key, row) = row?;
            read(tx, keys::number(key)?, row)
        })
        .collect()
}

pub(crate) fn read(tx: &impl CatalogLookup, number: TxNumber, row: &[u8]) -> Result<Rejected> {
    let damaged = |e| StoreError::damaged("rejected", e);
    let mut bytes = Bytes::new(row);
    let kind = bytes.u8().map_err(damaged)?;
    let (code, message, only, blame) = match kind {
        REFUSED => {
            let code = bytes.varint().map_err(damaged)?;
            let op = bytes.varint().map_err(damaged)?;
            let length = bytes.varint().map_err(damaged)?;
            let length = usize::try_from(length).map_err(|e| StoreError::damaged("rejected", e))?;
            let message = String::from_utf8_lossy(bytes.bytes(length).map_err(damaged)?).into_owned();
            (u32::try_from(code).unwrap_or(u32::MAX), message, None, op.checked_sub(1))
        }
        LOST | SUPERSEDED => {
            let count = bytes.varint().map_err(damaged)?;
            let mut lost = Vec::new();
            for _ in 0..count {
                lost.push(bytes.varint().map_err(damaged)?);
                bytes.varint().map_err(damaged)?;
            }
            let message =
                "the object was removed on another device before this write arrived; the remove stands";
            (0, message.to_owned(), Some(lost), None)
        }
        LOST_TX => (LOST_BY_SERVER, lost_message(), None, None),
        LOST_STATES => return read_states(tx, number, bytes.rest()),
        other => return Err(StoreError::damaged("rejected", format!("unknown kind {other}"))),
    };
    let mut ops = Vec::new();
    for (at, (_, op)) in ops_of(bytes.rest())?.into_iter().enumerate() {
        if only.as_ref().is_some_and(|only| !only.contains(&(at as u64))) {
            continue;
        }
        let Some(entity) = tx.catalog().by_uid(op.entity) else { continue };
        let id = global_ids::local(tx, entity, op.gid)?.unwrap_or(0);
        let (mut added, mut removed) = (Vec::with_capacity(op.cells.len()), Vec::new());
        for cell in &op.cells {
            let (add, remove) = match (Kind::of_type(cell.ty), cell.bytes.as_deref()) {
                // Nothing was to be changed.
                (Some(_), None) => continue,
                (Some(kind), Some(change)) => shown_change(entity, cell.uid, kind, change)?,
                (None, bytes) => (Some(bytes.map(<[u8]>::to_vec)), None),
            };
            added.extend(add.map(|bytes| (cell.uid, bytes)));
            removed.extend(remove.map(|bytes| (cell.uid, Some(bytes))));
        }
        let shown = |cells: &[(Uid, Option<Vec<u8>>)]| {
            values(tx, entity, cells.iter().map(|(uid, bytes)| (*uid, bytes.as_deref())))
        };
        ops.push(RejectedOp {
            entity: entity.def.name.clone(),
            id,
            kind: op.kind,
            to_blame: blame == Some(at as u64),
            values: shown(&added)?,
            removed: shown(&removed)?,
        });
    }
    Ok(Rejected { number, code, message, ops })
}

fn lost_message() -> String {
    "the server was restored and has lost this, which it had accepted; write it again if it is still wanted"
        .to_owned()
}

/// What a server had and has lost, object by object.
fn read_states(tx: &impl CatalogLookup, number: TxNumber, block: &[u8]) -> Result<Rejected> {
    let damaged = |e| StoreError::damaged("rejected", e);
    let mut ops = Vec::new();
    for entry in StatesReader::new(block).map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let Some(entity) = tx.catalog().by_uid(entry.entity) else { continue };
        let state = &entry.state;
        let kind = match (state.exists, state.registers.is_empty()) {
            (true, _) => OpKind::Insert,
            (false, false) => OpKind::Update,
            (false, true) => OpKind::Remove,
        };
        let values = values_of_registers(tx, entity, &state.registers)?;
        let id = global_ids::named_by_peer(tx, entity, entry.gid)?.unwrap_or(0);
        let (entity, removed) = (entity.def.name.clone(), Vec::new());
        ops.push(RejectedOp { entity, id, kind, to_blame: false, values, removed });
    }
    Ok(Rejected { number, code: LOST_BY_SERVER, message: lost_message(), ops })
}

/// The cells of a property that show what a change of a counter or set adds, and what it removes.
type ShownChange = (Option<Option<Vec<u8>>>, Option<Vec<u8>>);

fn shown_change(entity: &EntityRuntime, uid: Uid, kind: Kind, change: &[u8]) -> Result<ShownChange> {
    let Some(property) = entity.def.property_by_uid(uid).filter(|property| property.kind() == Some(kind))
    else {
        return Ok((None, None));
    };
    if kind == Kind::Counter {
        return Ok((Some(kind.show_changed(property.ty, None, change)), None));
    }
    let elements = set_elements(kind, change).map_err(|e| StoreError::damaged("rejected", e))?;
    let of = |present: bool| {
        let keys = elements.iter().filter(|element| element.present == present);
        let change = set_change(keys.map(|element| (element.key, true)))?;
        kind.show_changed(property.ty, None, &change)
    };
    Ok((of(true).map(Some), of(false)))
}

/// The values that registers show, by property name.
pub(crate) fn values_of_registers(
    tx: &impl CatalogLookup,
    entity: &EntityRuntime,
    registers: &[Register<'_>],
) -> Result<Vec<(String, Value)>> {
    let shown = registers.iter().map(|register| {
        let property = entity.def.property_by_uid(register.uid);
        let kind = Kind::of_type(register.ty).zip(property);
        let bytes = match kind {
            Some((kind, property)) => kind.shown(property.ty, register.cell.as_deref()).map(Cow::Owned),
            None => register.cell.as_deref().map(Cow::Borrowed),
        };
        (register.uid, bytes)
    });
    let shown: Vec<(Uid, Option<Cow<'_, [u8]>>)> = shown.collect();
    values(tx, entity, shown.iter().map(|(uid, bytes)| (*uid, bytes.as_deref())))
}

/// Values by property name, links as local ids.
pub(crate) fn values<'c>(
    tx: &impl CatalogLookup,
    entity: &EntityRuntime,
    cells: impl Iterator<Item = (Uid, Option<&'c [u8]>)>,
) -> Result<Vec<(String, Value)>> {
    let mut values = Vec::new();
    for (uid, bytes) in cells {
        let Some(property) = entity.def.property_by_uid(uid) else { continue };
        let value = match bytes {
            None => Value::Null,
            Some(bytes) if property.ty == PropertyType::Relation => {
                let target = property.relation_target.as_deref().and_then(|name| tx.catalog().by_name(name));
                let gid = <[u8; 16]>::try_from(bytes).map_err(|e| StoreError::damaged("rejected", e))?;
                let gid = GlobalId::from_bytes(gid);
                match target {
                    Some(target) if target.def.is_synced() => {
                        Value::Relation(global_ids::local(tx, target, gid)?.unwrap_or(0))
                    }
                    _ => Value::Relation(gid.counter),
                }
            }
            Some(bytes) => reconvene_model::value::value_of_cell(property.ty, bytes)
                .map_err(|e| StoreError::damaged("rejected", e))?,
        };
        values.push((property.name.clone(), value));
    }
    Ok(values)
}
