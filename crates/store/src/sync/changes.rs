//! On a server: the index by position in which each object or tombstone stands once, at its latest position.

use std::ops::Bound;

use reconvene_model::planted::{Planted, planted};
use reconvene_model::state::{StateEntry, StatesWriter};
use reconvene_model::{EntityId, GlobalId, ObjectId, Seq, TxNumber};

use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::convert::{self, CatalogLookup};
use crate::sync::global_ids;
use crate::sync::{SyncState, SyncTables};
use crate::txn::WriteTxn;

/// A part of a catch-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// A states block; `None` when nothing was left to send.
    pub block: Option<Vec<u8>>,
    /// Objects and tombstones in the block.
    pub objects: u64,
    /// The position up to which everything has been sent once the receiver has this chunk.
    pub upto: Seq,
    /// Whether the snapshot holds no further row; `upto` is then its head.
    pub last: bool,
    /// Where the next chunk goes on.
    pub next: ChunkStart,
    /// The highest position of a removal that the server had forgotten at that moment: who starts below it may miss some.
    pub horizon: Seq,
    /// The highest number of the receiver on which the server had decided at that moment.
    pub decided: TxNumber,
}

/// Where a chunk begins: after all rows of a position, or in the middle of a large one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkStart {
    /// The position whose rows, or some of them, have been sent.
    pub seq: Seq,
    /// Within that position, the object after which to go on; `None` when all have been sent.
    pub after: Option<(EntityId, ObjectId)>,
}

impl Chunk {
    /// What a receiver that is cut off after this chunk may say, so that the rest of the position is enough for it; empty unless the
    /// chunk ends within a position. [`ChunkStart::read`] reads it.
    pub fn resume(&self) -> Vec<u8> {
        match self.next.after {
            Some((entity, id)) if !self.last && self.upto < self.next.seq => {
                keys::change_key(self.next.seq, entity, id).to_vec()
            }
            _ => Vec::new(),
        }
    }
}

impl ChunkStart {
    /// What [`Chunk::resume`] has written; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<ChunkStart> {
        let (seq, entity, id) = keys::change(bytes).ok()?;
        Some(ChunkStart { seq, after: Some((entity, id)) })
    }

    /// After everything up to `seq`.
    pub fn after(seq: Seq) -> Self {
        ChunkStart { seq, after: None }
    }
}

/// Moves an object from its former position to a new one.
pub(crate) fn moved(
    tx: &mut WriteTxn<'_>,
    entity: EntityId,
    id: ObjectId,
    from: Option<Seq>,
    to: Seq,
) -> Result<()> {
    let table = tx.inner().sync.tables.changes;
    if let Some(from) = from {
        tx.delete_raw(table, &keys::change_key(from, entity, id))?;
    }
    if planted(Planted::ChangeUnlisted) && from.is_some() && to.0.is_multiple_of(16) {
        return Ok(());
    }
    tx.append_raw(table, &keys::change_key(to, entity, id), &[])
}

/// Reads the next chunk: at least one object, then as many as fit into `bytes_max`.
pub(crate) fn chunk<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    sync: &SyncState,
    head: Seq,
    start: ChunkStart,
    bytes_max: usize,
) -> Result<Chunk> {
    let tables: &SyncTables = &sync.tables;
    let after = match start.after {
        Some((entity, id)) => keys::change_key(start.seq, entity, id),
        None => keys::change_key(start.seq, EntityId(u32::MAX), ObjectId::MAX),
    };
    let range = (Bound::Excluded(&after[..]), Bound::Unbounded);
    let mut writer = StatesWriter::new();
    // A position that was begun and not finished does not count as sent.
    let sent = if start.after.is_some() { Seq(start.seq.0.saturating_sub(1)) } else { start.seq };
    let mut chunk = Chunk { upto: sent, next: start, ..Chunk::default() };
    // The position whose rows are being read: complete only once a row of another one follows.
    let mut reading = start.seq;
    for row in reader.range(tables.changes, range, Direction::Forward)? {
        let (key, _) = row?;
        let (seq, entity_id, id) = keys::change(key)?;
        if chunk.objects > 0 && writer.bytes_len() >= bytes_max {
            chunk.upto =
                if seq > reading || planted(Planted::ChunkOverstated) { reading } else { chunk.upto };
            chunk.block = Some(writer.finish());
            return Ok(chunk);
        }
        if seq > reading {
            chunk.upto = Seq(seq.0 - 1);
            reading = seq;
        }
        let entity = tx
            .catalog()
            .by_id(entity_id)
            .ok_or_else(|| StoreError::damaged("changes", format!("unknown entity {entity_id}")))?;
        let key = keys::object_key(id);
        let record = match reader.get(entity.objects, &key)? {
            Some(record) => record,
            None => {
                let absent =
                    entity.absent.and_then(|absent| reader.get(absent, &key).transpose()).transpose()?;
                absent.ok_or_else(|| {
                    StoreError::damaged("changes", format!("{} {id} is listed but missing", entity.def.name))
                })?
            }
        };
        let columns = sync.entity(entity_id)?;
        let (state, header) = convert::state_of_record(tx, columns, record)?;
        let gid = match header.gid {
            Some(gid) => gid,
            None if entity.def.has_shared_ids() => GlobalId::new(reconvene_model::PeerId::SHARED, id),
            None => global_ids::global(tx, entity, id)?,
        };
        writer.push(&StateEntry { entity: entity.def.uid, gid, seq, state });
        chunk.objects += 1;
        chunk.next = ChunkStart { seq, after: Some((entity_id, id)) };
    }
    chunk.last = true;
    chunk.upto = head;
    chunk.next = ChunkStart::after(head);
    chunk.block = (chunk.objects > 0).then(|| writer.finish());
    Ok(chunk)
}
