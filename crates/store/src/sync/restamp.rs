//! Which transactions may travel, and those dated too far ahead of server time dated anew before anybody saw them.
//!
//! Numbers up to a stored mark may have been sent: these transactions are frozen. The mark moves before a transaction travels,
//! so that no crash can make two different transactions of one number. Stamps ascend with the numbers, so what lies too
//! far ahead is a tail of the outbox, and it is larger than all that this store has heard from a server: dated anew in order, from
//! above all confirmed stamps, it wins and loses the same registers as before.

use std::sync::Arc;

use reconvene_model::change::{Op, OpKind, OpsReader, OpsWriter, TxHead, decode_tx, encode_tx};
use reconvene_model::clock::{Clock, DRIFT_MAX, from_millis, is_ahead};
use reconvene_model::kinds::Kind;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::{KindState, Record};
use reconvene_model::{ObjectId, Stamp, TxHash, TxNumber};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Reader, TableId};
use crate::sync::meta::MetaTable;
use crate::sync::outbox::OutboxTx;
use crate::sync::{SyncTables, global_ids, local, meta, outbox};
use crate::txn::WriteTxn;

/// What may be uploaded at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// The transactions to send, ascending. They are frozen from here on.
    pub txs: Vec<OutboxTx>,
    /// What keeps later ones from being sent.
    pub held: Held,
}

/// What keeps transactions from being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// Some are dated too far ahead; they are dated anew when every transaction that was sent is decided on.
    UntilDecided,
    /// Some are dated too far ahead, and can be dated anew.
    UntilRestamped,
}

/// How far an outbox is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Up to here transactions may have been sent.
    frozen: TxNumber,
    /// Up to here they may be sent: their stamps are not too far ahead.
    sane: TxNumber,
    last: TxNumber,
    held: Held,
}

impl Progress {
    /// Whether the mark must move before all that may be sent is.
    pub(crate) fn needs_mark(&self) -> bool {
        self.sane > self.frozen
    }

    /// The highest number that may be sent once the mark has moved.
    pub(crate) fn sane(&self) -> TxNumber {
        self.sane
    }

    pub(crate) fn held(&self) -> Held {
        self.held
    }
}

/// The number up to which transactions are frozen.
pub(crate) fn frozen(tx: &impl MetaTable) -> Result<TxNumber> {
    Ok(meta::sent(tx)?.max(meta::decided(tx)?))
}

/// Looks how far the outbox is on its way at this server time, in milliseconds since 1970.
pub(crate) fn progress(
    tx: &impl MetaTable,
    reader: &impl Reader,
    tables: &SyncTables,
    server_ms: u64,
) -> Result<Progress> {
    let frozen = if planted(Planted::FrozenRestamped) { meta::decided(tx)? } else { frozen(tx)? };
    let (last, _) = meta::last_tx(tx)?;
    let ahead = |number: TxNumber| -> Result<bool> {
        Ok(is_ahead(head_of(reader, tables, number)?.hlc, server_ms, DRIFT_MAX))
    };
    let mut sane = last.max(frozen);
    if last > frozen && ahead(last)? {
        // The last one that is not ahead lies from `sane` on and before `high`.
        let mut high = last;
        sane = frozen;
        while high - sane > 1 {
            let middle = sane + (high - sane) / 2;
            if ahead(middle)? { high = middle } else { sane = middle }
        }
    }
    let held = match sane {
        _ if sane >= last => Held::Nothing,
        _ if planted(Planted::FrozenRestamped) => Held::UntilRestamped,
        _ if sane == frozen && meta::decided(tx)? >= frozen => Held::UntilRestamped,
        _ => Held::UntilDecided,
    };
    Ok(Progress { frozen, sane, last, held })
}

fn head_of(reader: &impl Reader, tables: &SyncTables, number: TxNumber) -> Result<TxHead> {
    let bytes = reader.get(tables.outbox, &keys::number_key(number))?;
    let bytes = bytes.ok_or_else(|| {
        StoreError::damaged("outbox", format!("transaction {number} was never sent and is missing"))
    })?;
    Ok(decode_tx(bytes).map_err(|e| StoreError::damaged("outbox", e))?.0)
}

/// Freezes what may be sent at this server time.
pub(crate) fn mark(tx: &mut WriteTxn<'_>, server_ms: u64) -> Result<Progress> {
    let found = progress(tx, tx.engine_tx(), &tx.inner().sync.tables, server_ms)?;
    if found.needs_mark() {
        put_sent(tx, found.sane)?;
    }
    Ok(found)
}

fn put_sent(tx: &mut WriteTxn<'_>, number: TxNumber) -> Result<()> {
    meta::put_sent(tx, number)?;
    tx.sync_writer_mut(|writer| writer.sent = number)
}

/// Dates the unsent transactions anew, if the first of them is too far ahead and all before it are decided on; how many.
///
/// Takes the memory of one transaction at a time; what it writes is bounded by the outbox and the objects in it.
pub(crate) fn restamp(tx: &mut WriteTxn<'_>, server_ms: u64) -> Result<u64> {
    let found = progress(tx, tx.engine_tx(), &tx.inner().sync.tables, server_ms)?;
    if found.held() != Held::UntilRestamped {
        return Ok(0);
    }
    let first = head_of(tx.engine_tx(), &tx.inner().sync.tables, found.frozen + 1)?;
    let base = newest_accepted(tx, found.frozen)?.max(from_millis(server_ms));
    if base >= first.hlc && !planted(Planted::FrozenRestamped) {
        // The server's own clock was set back: what it took before is newer than this, and its verdict must tell.
        put_sent(tx, found.last)?;
        return Ok(0);
    }
    let mut previous = first.previous;
    let mut hlc = base;
    for number in found.frozen + 1..=found.last {
        hlc += 1;
        previous = restamp_one(tx, number, previous, hlc)?;
    }
    meta::put_last_tx(tx, found.last, previous)?;
    meta::put_clock(tx, hlc)?;
    meta::put_sent(tx, found.last)?;
    tx.sync_writer_mut(|writer| {
        writer.last_hash = previous;
        writer.clock = Clock::new(hlc);
        writer.sent = found.last;
    })?;
    Ok(found.last - found.frozen)
}

/// The largest stamp that this store knows a server to have accepted, of its own transactions and of others.
fn newest_accepted(tx: &WriteTxn<'_>, frozen: TxNumber) -> Result<u64> {
    let mut newest = meta::seen(tx)?;
    // All of these are decided on, and refused ones have left the outbox.
    for row in outbox::rows(tx, 0)? {
        let row = row?;
        if row.number > frozen {
            break;
        }
        newest = newest.max(decode_tx(row.bytes).map_err(|e| StoreError::damaged("outbox", e))?.0.hlc);
    }
    Ok(newest)
}

/// Dates one transaction anew, in the outbox and in the registers that it wrote; its new hash.
///
/// Each new reading is below the old one of the same transaction, so it can only equal old ones that are replaced already.
fn restamp_one(tx: &mut WriteTxn<'_>, number: TxNumber, previous: TxHash, hlc: u64) -> Result<TxHash> {
    let bytes = outbox::expect(tx, number)?;
    let damaged = |e| StoreError::damaged("outbox", e);
    let (head, block) = decode_tx(&bytes).map_err(damaged)?;
    let old = Stamp::new(head.hlc, head.origin);
    let mut shows_clock = false;
    for op in OpsReader::new(head.origin, block).map_err(damaged)? {
        let op = op.map_err(damaged)?;
        let Some(entity) = tx.inner().catalog.by_uid(op.entity).cloned() else { continue };
        if op.kind == OpKind::Remove || !entity.def.is_synced() {
            continue;
        }
        shows_clock |= entity.clock.is_some();
        if let Some(id) = global_ids::local(tx, &entity, op.gid)? {
            restamp_record(tx, &entity, id, old, hlc)?;
        }
    }
    let head = TxHead { previous, hlc, ..head };
    let bytes = match shows_clock {
        true => encode_tx(&head, &with_clock(tx, &head, block)?),
        false => encode_tx(&head, block),
    };
    let outbox = tx.inner().sync.tables.outbox;
    tx.put_raw(outbox, &keys::number_key(number), &bytes)?;
    Ok(TxHash::of(&bytes))
}

/// The ops with the reading of their head in the properties that show the clock.
fn with_clock(tx: &WriteTxn<'_>, head: &TxHead, block: &[u8]) -> Result<Vec<u8>> {
    let damaged = |e| StoreError::damaged("outbox", e);
    let shown = head.hlc.to_le_bytes();
    let mut ops = OpsWriter::new(head.origin);
    let mut reader = OpsReader::new(head.origin, block).map_err(damaged)?;
    let mut op = Op::default();
    while reader.read_into(&mut op).map_err(damaged)? {
        let entity = tx.inner().catalog.by_uid(op.entity).filter(|entity| entity.def.is_synced());
        let clock = match entity.and_then(|entity| Some((entity, entity.clock?))) {
            Some((entity, slot)) => tx.sync_entity(entity)?.at_slot(slot),
            None => None,
        };
        for cell in op.cells.iter_mut().filter(|cell| clock.is_some_and(|clock| clock.uid == cell.uid)) {
            cell.bytes = Some(shown[..].into());
        }
        ops.push(&op);
    }
    Ok(ops.finish())
}

/// Replaces one reading in what is visible of an object. But for a clock that it shows no value changes, so that indexes and
/// observers are not concerned.
fn restamp_record(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    old: Stamp,
    hlc: u64,
) -> Result<()> {
    let tables: [Option<TableId>; 2] = [Some(entity.objects), entity.absent];
    for table in tables.into_iter().flatten() {
        let key = keys::object_key(id);
        let Some(stored) = tx.engine_tx().get(table, &key)? else { continue };
        let record = Record::parse(stored).map_err(|e| StoreError::damaged("record", e))?;
        let Some(header) = record.header else { continue };
        let mut header = header.parse().map_err(|e| StoreError::damaged("record", e))?;
        let is_old = |stamp: Stamp| stamp.hlc == old.hlc && stamp.peer == old.peer;
        let shown = entity.clock.filter(|&slot| is_old(header.stamp_of(slot as usize, record.table.slots())));
        let overrides = header.overrides.iter_mut().map(|(_, stamp)| stamp);
        let unknown = header.unknown.iter_mut().map(|register| &mut register.stamp);
        let stamps = std::iter::once(&mut header.base).chain(overrides).chain(unknown);
        let mut found = false;
        for stamp in stamps.filter(|stamp| is_old(**stamp)) {
            stamp.hlc = hlc;
            found = true;
        }
        for KindState { kind, state, .. } in &mut header.kinds {
            if let Some(redated) = kind.redated(state, old, hlc) {
                *state = redated;
                found = true;
            }
        }
        for register in &mut header.unknown {
            let state = register.cell.as_deref();
            let redated =
                Kind::of_type(register.ty).zip(state).and_then(|(kind, state)| kind.redated(state, old, hlc));
            if let Some(redated) = redated {
                register.cell = Some(redated);
                found = true;
            }
        }
        if !found {
            continue;
        }
        let mut bytes = Vec::with_capacity(stored.len());
        match shown {
            Some(slot) => {
                let shows = local::clocked(entity, slot, record.table.as_bytes(), Stamp { hlc, ..old })?;
                header.write_record(&shows, &mut bytes);
            }
            None => header.write_record(record.table.as_bytes(), &mut bytes),
        }
        if shown.is_some() && table == entity.objects {
            tx.replace_record(entity, id, Some(&bytes))?;
        } else {
            tx.put_raw(table, &key, &bytes)?;
        }
    }
    Ok(())
}
