//! Which transactions of the outbox are left out: a newer one takes the place of the one before it.
//!
//! A device that is away for a week and writes one value ten thousand times keeps one transaction of it. That is so only where nobody
//! can tell, which all of this together ensures:
//!
//! - The older one was never sent to anybody: it lies above the mark, and there is no other behind it. So numbers stay dense, the chain stays whole, and
//!   what others see of this store are some of the moments that it went through, in their order, and no others.
//! - Both only update, and they update the same objects of the same generations. So a server that takes the older one takes
//!   the newer one, for an object that is there for the one is there for the other; and no transaction is parted or made
//!   larger than its author made it.
//! - The newer one writes every property that the older one wrote, at a larger stamp. So the older one is
//!   [absorbed](is_absorbed): merged or not, it leaves no trace, whatever others have written and when.
//! - It writes no unique value: that might be refused, and would take along what could have been accepted.
//!
//! Who lets a server refuse a transaction for anything else that it says, and not for the objects and properties that it names,
//! must keep such transactions apart here.

use reconvene_model::change::{Op, OpKind, OpsReader, TxHead, decode_tx, encode_tx};
use reconvene_model::codec::DecodeError;
use reconvene_model::merge::is_absorbed;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{Stamp, TxNumber};

use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::Reader;
use crate::sync::touches::Touches;
use crate::txn::WriteTxn;

/// The most objects that a transaction may write to take the place of another: what is compared with it is little.
const OBJECTS_MAX: usize = 64;

/// A transaction that is about to be appended, made one that takes the place of the newest in the outbox, if nobody can tell; `touches` is what it wrote.
pub(super) fn in_place(
    tx: &WriteTxn<'_>,
    touches: &Touches,
    appended: &[u8],
) -> Result<Option<(TxNumber, Vec<u8>)>> {
    let newest = {
        let writer = tx.sync_writer()?;
        let is_sent = writer.last_number <= writer.sent && !planted(Planted::SentCoalesced);
        let touched = touches.list.first().filter(|_| !is_sent && touches.may_take_place(OBJECTS_MAX));
        let Some(first) = touched else { return Ok(None) };
        // Mostly the transaction before this one wrote something else, and is not read.
        match writer.pending.last(first.entity.def.id, first.id) {
            Some(last) if last == writer.last_number => last,
            Some(last) if planted(Planted::CoalescedOverOthers) && last > writer.sent => last,
            _ => return Ok(None),
        }
    };
    let outbox = tx.inner().sync.tables.outbox;
    let Some(earlier) = tx.engine_tx().get(outbox, &keys::number_key(newest))? else { return Ok(None) };
    let (before, earlier) = decode_tx(earlier).map_err(damaged)?;
    let (head, later) = decode_tx(appended).map_err(damaged)?;
    let (then, now) = (Stamp::new(before.hlc, before.origin), Stamp::new(head.hlc, head.origin));
    if before.origin != head.origin || !is_left_out(tx, (earlier, then), (later, now))? {
        return Ok(None);
    }
    let head = TxHead { number: newest, previous: before.previous, ..head };
    Ok(Some((newest, encode_tx(&head, later))))
}

fn damaged(error: DecodeError) -> StoreError {
    StoreError::damaged("outbox", error)
}

/// Whether nobody can tell that the ops of one transaction were left out in favour of another's.
fn is_left_out(tx: &WriteTxn<'_>, earlier: (&[u8], Stamp), later: (&[u8], Stamp)) -> Result<bool> {
    let mut ops = OpsReader::new(earlier.1.peer, earlier.0).map_err(damaged)?;
    let overs = OpsReader::new(later.1.peer, later.0).map_err(damaged)?;
    // A transaction updates an object once. So where each op of one meets one of the other, and they are as many, they name the same objects.
    if ops.len() != overs.len() && !planted(Planted::PartCoalesced) {
        return Ok(false);
    }
    let overs: Vec<Op<'_>> = overs.collect::<std::result::Result<_, _>>().map_err(damaged)?;
    let mut op = Op::default();
    while ops.read_into(&mut op).map_err(damaged)? {
        let Some(over) = overs.iter().find(|over| (over.entity, over.gid) == (op.entity, op.gid)) else {
            if planted(Planted::PartCoalesced) {
                continue;
            }
            return Ok(false);
        };
        let entity = tx.inner().catalog.by_uid(op.entity).filter(|entity| entity.def.is_synced());
        let Some(entity) = entity else { return Ok(false) };
        let columns = tx.sync_entity(entity)?;
        let are_updates = (op.kind, over.kind) == (OpKind::Update, OpKind::Update);
        let is_below = is_absorbed(
            (&op, columns.stamp(earlier.1, &op, None)),
            (over, columns.stamp(later.1, over, None)),
        );
        let mut unique = entity.unique_indexes().map(|index| index.property().uid);
        let may_clash = unique.any(|uid| over.cells.iter().any(|cell| cell.uid == uid));
        let is_same = are_updates && op.generation == over.generation;
        if !is_same || !is_below || (may_clash && !planted(Planted::UniqueCoalesced)) {
            return Ok(false);
        }
    }
    Ok(true)
}
