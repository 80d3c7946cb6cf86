//! Going on under another name, because a server knows other transactions under the present one.
//!
//! A copied directory holds the same key as its original, and one that was restored is a copy of its own past. Who uploads first
//! keeps the name; a server tells the other one, whose chain of hashes does not fit any more. That one settles what both
//! have in common, takes a new key, and issues everything after the fork again.
//!
//! The new key follows from what is issued again, so that copies of a copy, which have that in common, do not each issue it.
//!
//! An object that was inserted after the fork is another one than that which the other store inserted under the same id, so its
//! global id begins with the new name. Local ids stay, and with them all own links and everything that an application holds.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::change::{Cell, Op, OpKind, OpsReader, OpsWriter, TxHead, decode_tx, encode_tx_of};
use reconvene_model::digest::Digest;
use reconvene_model::identity::PeerKey;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::Record;
use reconvene_model::{EntityId, GlobalId, ObjectId, PeerId, PropertyType, Seq, TxHash, TxNumber};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::apply::Verdict;
use crate::sync::eras::Era;
use crate::sync::handle::LoginState;
use crate::sync::id_runs::IdRuns;
use crate::sync::overlay::{self, Place};
use crate::sync::{Identity, Role, SyncWriter, apply, global_ids, meta, outbox, random_bytes, relink};
use crate::txn::{ReadTxn, WriteTxn};

/// How many objects are computed anew at a time: the transactions that write them are held in memory.
const RECOMPUTED_MAX: usize = 4_096;

/// Where a server and a store that go by one name have parted.
#[derive(Clone, Copy, Debug)]
pub struct Fork<'a> {
    /// The last transaction that both have; 0 if there is none.
    pub common: TxNumber,
    /// The position up to which the server's decisions on what both have lie.
    pub decided_seq: Seq,
    /// What the server took back of it, by rising number; what comes after `common` is not this store's and is left out.
    pub verdicts: &'a [(TxNumber, Verdict)],
}

/// Whether the transactions on which a server has decided are this store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kinship {
    /// All of them are.
    Same,
    /// Only those up to here: the store is to go on under another name.
    Forked {
        /// The last transaction that both have.
        common: TxNumber,
    },
    /// At least those up to here; what was told does not say more, and the server is to be asked about the next ones.
    Longer {
        /// The last transaction of which it is known that both have it.
        common: TxNumber,
    },
    /// Not all of them are, and the server does not tell which.
    Untold,
}

/// Holds what a server says of this store's transactions against what the store knows: the newest on which it has decided, with its
/// hash, and the hashes of those that follow what was decided here when the store `said` how far it had come.
pub(crate) fn kinship(
    tx: &ReadTxn<'_>,
    said: &LoginState,
    decided: TxNumber,
    decided_hash: TxHash,
    chain: &[TxHash],
) -> Result<Kinship> {
    let (own, last) = (said.decided, said.last_number);
    // A copy may have brought what was written here since.
    if decided == 0 || hash_of(tx, decided)? == Some(decided_hash) {
        return Ok(Kinship::Same);
    }
    let mut common = own;
    for &hash in chain {
        if common >= last.min(decided) || hash_of(tx, common + 1)? != Some(hash) {
            break;
        }
        common += 1;
    }
    let told = own.saturating_add(chain.len() as u64);
    // The server spoke of what it was told of. What was written since may be among the rest of what it has.
    if common == last && decided > last + 1 && meta::last_tx(tx)?.0 > last {
        return Ok(Kinship::Longer { common });
    }
    Ok(if decided <= own || common == last || common < told {
        Kinship::Forked { common }
    } else if common > own && common < decided {
        Kinship::Longer { common }
    } else {
        Kinship::Untold
    })
}

/// The hash of one of this store's transactions, if it is the newest or still in the outbox.
pub(crate) fn hash_of(tx: &ReadTxn<'_>, number: TxNumber) -> Result<Option<TxHash>> {
    let (last_number, last_hash) = meta::last_tx(tx)?;
    if number == last_number {
        return Ok(Some(last_hash));
    }
    let outbox = tx.inner().sync.tables.outbox;
    if let Some(bytes) = tx.engine_tx().get(outbox, &keys::number_key(number))? {
        return Ok(Some(TxHash::of(bytes)));
    }
    // The successor of a transaction that left the outbox names its hash.
    let next = tx.engine_tx().get(outbox, &keys::number_key(number.saturating_add(1)))?;
    next.map(|next| Ok(decode_tx(next).map_err(damaged)?.0.previous)).transpose()
}

/// What became of a store that took a new name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewed {
    /// The name that another store keeps.
    pub former: PeerId,
    /// The new name.
    pub peer: PeerId,
    /// How many transactions are issued again.
    pub reissued: u64,
    /// What of the common transactions the server had not taken, or not whole: see [`crate::SyncHandle::rejected`].
    pub rejected: Vec<TxNumber>,
    /// What of them was found to conflict with others: see [`crate::SyncHandle::conflicts`].
    pub conflicts: Vec<u64>,
}

/// Settles what both have, takes a new name, and issues again what comes after the fork.
pub(crate) fn renew(tx: &mut WriteTxn<'_>, fork: &Fork<'_>) -> Result<Renewed> {
    if tx.inner().sync.role == Role::Server {
        return Err(StoreError::ServerDirectory);
    }
    let (last, _) = meta::last_tx(tx)?;
    if fork.common < meta::decided(tx)? || fork.common > last {
        return Err(StoreError::internal("a fork lies between what is decided and what was issued"));
    }
    let settled = apply::settle_common(tx, fork)?;
    if settled.settled > 0 {
        // What was settled is confirmed beyond the cursor, until the catch-up that follows.
        meta::put_catching_up(tx, true)?;
    }
    let former = tx.own_peer();
    let mut inserted = inserted_since(tx)?;
    let era = Era { peer: former, issued: last, upto: borders(tx, &mut inserted)? };
    let key = PeerKey::from_secret(next_secret(tx, fork.common, last)?);
    let naming = Arc::new(tx.naming().renamed(era, key.peer())?);
    meta::put_secret(tx, &key.expose_secret())?;
    meta::put_eras(tx, &naming.encode())?;
    tx.sync.naming = naming.clone();
    tx.sync.renewed = Some(Identity { key, naming });

    name_inserted(tx, &mut inserted)?;
    let places = reissue(tx, former, fork.common, last, &inserted)?;
    let reissued = last - fork.common;
    meta::put_decided(tx, 0)?;
    meta::put_sent(tx, 0)?;
    let writer = SyncWriter::load(tx)?;
    tx.sync_writer_mut(|stale| *stale = writer)?;
    relink::keep_former_links(tx, former, &mut inserted)?;
    let places: Vec<Place> = places.into_iter().collect();
    for places in places.chunks(RECOMPUTED_MAX) {
        overlay::recompute(tx, &places.iter().copied().collect())?;
    }
    tx.sync.outbox_grew |= reissued > 0;
    Ok(Renewed {
        former,
        peer: tx.own_peer(),
        reissued,
        rejected: settled.rejected,
        conflicts: settled.conflicts,
    })
}

/// The secret of the next name.
///
/// It follows from the former one and the first transaction after the fork. A copy that has this transaction, too, comes by the same
/// name, so that it counts once whoever brings it; where these two part, they part as any copies do.
fn next_secret(tx: &WriteTxn<'_>, common: TxNumber, last: TxNumber) -> Result<[u8; PeerKey::BYTES]> {
    let mut digest = Digest::default();
    digest.update(b"reconvene renewal 1");
    if common < last {
        digest.update(&tx.inner().sync.key().expose_secret()[..]);
        digest.update(&TxHash::of(&outbox::expect(tx, common + 1)?).0);
    } else {
        let Some(seed) = tx.inner().sync.renewal_seed else { return random_bytes() };
        digest.update(&seed);
        digest.update(&tx.own_peer().0.to_be_bytes());
    }
    Ok(digest.finalize())
}

/// The objects that this store inserted after the fork: all undecided transactions are.
fn inserted_since(tx: &WriteTxn<'_>) -> Result<IdRuns<()>> {
    let mut inserted = IdRuns::default();
    if planted(Planted::FormerIdsKept) {
        return Ok(inserted);
    }
    let mut op = Op::default();
    for row in outbox::rows(tx, 0)? {
        let (head, block) = decode_tx(row?.bytes).map_err(damaged)?;
        let mut ops = OpsReader::new(head.origin, block).map_err(damaged)?;
        while ops.read_into(&mut op).map_err(damaged)? {
            let Some(entity) = tx.inner().catalog.synced(op.entity) else { continue };
            // Who makes an object again that was removed before goes on with what everyone knows.
            let is_new = op.kind == OpKind::Insert && op.generation == 0 && op.gid.origin == tx.own_peer();
            if is_new && inserted.get(entity.def.id, op.gid.counter).is_none() {
                inserted.add(entity.def.id, op.gid.counter, ());
            }
        }
    }
    Ok(inserted)
}

/// Up to which id the objects of each entity keep the former name.
fn borders(tx: &mut WriteTxn<'_>, inserted: &mut IdRuns<()>) -> Result<Vec<(EntityId, ObjectId)>> {
    let mut firsts: Vec<(EntityId, ObjectId)> = Vec::new();
    for run in inserted.runs() {
        if firsts.last().is_none_or(|&(entity, _)| entity != run.entity) {
            firsts.push((run.entity, run.first));
        }
    }
    let catalog = &tx.inner().catalog;
    let named = catalog.entities().filter(|entity| entity.def.is_synced() && !entity.def.has_shared_ids());
    let mut borders = Vec::new();
    for entity in named {
        let of = entity.def.id;
        let first = firsts.iter().find(|(entity, _)| *entity == of).map(|&(_, first)| first);
        let border = match first {
            Some(first) => last_other(tx, entity, inserted, first)?.unwrap_or(first - 1),
            None => {
                let last = tx.last_id(entity)?;
                // An id that was handed out and undone lies below the border, and must not be given to an object of the new name.
                tx.put_raw(tx.inner().meta, keys::last_id_key(of).as_bytes(), &keys::object_key(last))?;
                last
            }
        };
        borders.push((of, border));
    }
    borders.sort_unstable();
    Ok(borders)
}

/// The last object from `first` on that names no origin and was not inserted after the fork: where the application chooses
/// ids, newer objects may have smaller ones.
fn last_other(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    inserted: &IdRuns<()>,
    first: ObjectId,
) -> Result<Option<ObjectId>> {
    let mut last = None;
    let start = keys::object_key(first);
    for table in [Some(entity.objects), entity.absent].into_iter().flatten() {
        let range = (Bound::Included(&start[..]), Bound::Unbounded);
        for row in tx.engine_tx().range(table, range, Direction::Forward)? {
            let (key, record) = row?;
            let id = keys::object_id(key)?;
            if inserted.get(entity.def.id, id).is_none() && global_ids::gid_of_record(record)?.is_none() {
                last = last.max(Some(id));
            }
        }
    }
    Ok(last)
}

/// Lets objects that were inserted after the fork, and whose ids lie within reach of a former name, name their global ids.
fn name_inserted(tx: &mut WriteTxn<'_>, inserted: &mut IdRuns<()>) -> Result<()> {
    for run in inserted.runs() {
        let Some(entity) = tx.inner().catalog.by_id(run.entity).cloned() else { continue };
        for id in run.first..=run.last {
            // What lies beyond the border needs no name, and so does all that follows it.
            if tx.naming().origin(run.entity, id) == tx.own_peer() {
                break;
            }
            let key = keys::object_key(id);
            for table in [Some(entity.objects), entity.absent].into_iter().flatten() {
                let Some(stored) = tx.engine_tx().get(table, &key)?.map(<[u8]>::to_vec) else { continue };
                let record = Record::parse(&stored).map_err(|e| StoreError::damaged("record", e))?;
                let Some(header) = record.header else { continue };
                let mut header = header.parse().map_err(|e| StoreError::damaged("record", e))?;
                header.gid = global_ids::name_new(tx, &entity, id)?;
                let mut named = Vec::with_capacity(stored.len() + GlobalId::BYTES);
                header.write_record(record.table.as_bytes(), &mut named);
                tx.put_raw(table, &key, &named)?;
            }
        }
    }
    Ok(())
}

/// Issues the transactions after the fork again, numbered from 1 and with a chain of their own; the objects that they write.
fn reissue(
    tx: &mut WriteTxn<'_>,
    former: PeerId,
    common: TxNumber,
    last: TxNumber,
    inserted: &IdRuns<()>,
) -> Result<BTreeSet<Place>> {
    let outbox = tx.inner().sync.tables.outbox;
    let mut places = BTreeSet::new();
    let mut previous = TxHash::NONE;
    for number in common + 1..=last {
        let bytes = outbox::expect(tx, number)?;
        outbox::delete(tx, number)?;
        let (head, block) = decode_tx(&bytes).map_err(damaged)?;
        let head = TxHead { origin: tx.own_peer(), number: number - common, previous, hlc: head.hlc };
        let mut ops = OpsWriter::new(head.origin);
        let mut reader = OpsReader::new(former, block).map_err(damaged)?;
        let mut op = Op::default();
        while reader.read_into(&mut op).map_err(damaged)? {
            let entity = tx.inner().catalog.by_uid(op.entity).filter(|entity| entity.def.is_synced());
            if let Some(entity) = entity {
                rename_op(tx, entity, former, inserted, &mut op)?;
                if let Some(id) = global_ids::local(tx, entity, op.gid)? {
                    places.insert((entity.def.id, id));
                }
            }
            ops.push(&op);
        }
        ops.check_limits()?;
        let bytes = encode_tx_of(&head, ops);
        previous = TxHash::of(&bytes);
        tx.put_raw(outbox, &keys::number_key(head.number), &bytes)?;
    }
    meta::put_last_tx(tx, last - common, previous)?;
    Ok(places)
}

/// Puts the new name where an op names, or links to, an object that was inserted after the fork.
fn rename_op(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    former: PeerId,
    inserted: &IdRuns<()>,
    op: &mut Op<'_>,
) -> Result<()> {
    let peer = tx.own_peer();
    let is_new =
        |entity: EntityId, gid: GlobalId| gid.origin == former && inserted.get(entity, gid.counter).is_some();
    if is_new(entity.def.id, op.gid) {
        op.gid.origin = peer;
    }
    let columns = tx.sync_entity(entity)?;
    let links = op.cells.iter_mut().filter(|cell| cell.ty == PropertyType::Relation as u8);
    for Cell { uid, bytes, .. } in links {
        let Some(target) = columns.column(*uid).and_then(|column| column.target) else { continue };
        let Some(gid) = bytes.as_deref().and_then(|bytes| bytes.try_into().ok()) else { continue };
        let gid = GlobalId::from_bytes(gid);
        if is_new(target, gid) {
            *bytes = Some(GlobalId::new(peer, gid.counter).to_bytes().to_vec().into());
        }
    }
    Ok(())
}

fn damaged(error: reconvene_model::codec::DecodeError) -> StoreError {
    StoreError::damaged("outbox", error)
}
