//! On a server: the peers that have logged in, and the verdicts that they have not confirmed yet.

use std::ops::Bound;

use reconvene_model::codec::{Reader as Bytes, put_varint};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};

use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::SyncTables;
use crate::sync::apply::{LostOp, Verdict};
use crate::txn::WriteTxn;

/// What a server knows of a peer that has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The Ed25519 public key to which the peer's id is bound for ever.
    pub public_key: [u8; 32],
    /// The highest number that the server has decided on; 0 before the first.
    pub decided: TxNumber,
    /// The hash of that transaction.
    pub hash: TxHash,
    /// Up to which number the peer holds its verdicts durably.
    pub confirmed: TxNumber,
}

const ORIGIN_BYTES: usize = 32 + 8 + 16 + 8;
const ACCEPTED: u8 = 0;
const REFUSED: u8 = 1;
const SUPERSEDED: u8 = 2;

pub(crate) fn get<R: Reader>(reader: &R, tables: &SyncTables, peer: PeerId) -> Result<Option<Origin>> {
    let Some(row) = reader.get(tables.origins, &keys::number_key(peer.0))? else { return Ok(None) };
    if row.len() != ORIGIN_BYTES {
        return Err(StoreError::damaged("origins", format!("a row of {} bytes", row.len())));
    }
    let number =
        |at: usize| u64::from_be_bytes(row[at..at + 8].try_into().expect("8 bytes of a checked row"));
    Ok(Some(Origin {
        public_key: row[..32].try_into().expect("32 bytes of a checked row"),
        decided: number(32),
        hash: TxHash(row[40..56].try_into().expect("16 bytes of a checked row")),
        confirmed: number(56),
    }))
}

pub(crate) fn put(tx: &mut WriteTxn<'_>, peer: PeerId, origin: &Origin) -> Result<()> {
    let mut row = Vec::with_capacity(ORIGIN_BYTES);
    row.extend_from_slice(&origin.public_key);
    row.extend_from_slice(&origin.decided.to_be_bytes());
    row.extend_from_slice(&origin.hash.0);
    row.extend_from_slice(&origin.confirmed.to_be_bytes());
    let table = tx.inner().sync.tables.origins;
    tx.put_raw(table, &keys::number_key(peer.0), &row)
}

/// Binds a peer to its key at the first login, and checks the binding at every later one.
pub(crate) fn register(tx: &mut WriteTxn<'_>, peer: PeerId, public_key: &[u8; 32]) -> Result<Origin> {
    match get(tx.engine_tx(), &tx.inner().sync.tables, peer)? {
        Some(origin) if origin.public_key == *public_key => Ok(origin),
        Some(_) => Err(StoreError::KeyMismatch { peer }),
        None => {
            let origin = Origin { public_key: *public_key, decided: 0, hash: TxHash::NONE, confirmed: 0 };
            put(tx, peer, &origin)?;
            Ok(origin)
        }
    }
}

/// Forgets the verdicts up to `number`: the peer holds them.
pub(crate) fn confirm(tx: &mut WriteTxn<'_>, peer: PeerId, number: TxNumber) -> Result<()> {
    let Some(mut origin) = get(tx.engine_tx(), &tx.inner().sync.tables, peer)? else {
        return Err(StoreError::UnknownPeer { peer });
    };
    // A peer can confirm only what was decided; a larger number is cut, not believed.
    let number =
        if planted(Planted::VerdictsForgotten) { origin.decided } else { number.min(origin.decided) };
    if number <= origin.confirmed {
        return Ok(());
    }
    let table = tx.inner().sync.tables.decisions;
    for decided in origin.confirmed + 1..=number {
        tx.delete_raw(table, &keys::peer_number_key(peer, decided))?;
    }
    origin.confirmed = number;
    put(tx, peer, &origin)
}

pub(crate) fn put_verdict(
    tx: &mut WriteTxn<'_>,
    peer: PeerId,
    number: TxNumber,
    verdict: &Verdict,
) -> Result<()> {
    let mut row = Vec::with_capacity(16);
    let lost_ops = |row: &mut Vec<u8>, lost: &[LostOp]| {
        put_varint(row, lost.len() as u64);
        for lost in lost {
            put_varint(row, u64::from(lost.op));
            put_varint(row, lost.generation);
        }
    };
    match verdict {
        Verdict::Accepted { seq, lost } => {
            row.push(ACCEPTED);
            put_varint(&mut row, seq.0);
            lost_ops(&mut row, lost);
        }
        Verdict::Refused { code, op, message } => {
            row.push(REFUSED);
            put_varint(&mut row, u64::from(*code));
            put_varint(&mut row, op.map_or(0, |op| u64::from(op) + 1));
            row.extend_from_slice(message.as_bytes());
        }
        Verdict::Superseded { lost } => {
            row.push(SUPERSEDED);
            lost_ops(&mut row, lost);
        }
    }
    let table = tx.inner().sync.tables.decisions;
    tx.put_raw(table, &keys::peer_number_key(peer, number), &row)
}

pub(crate) fn verdict<R: Reader>(
    reader: &R,
    tables: &SyncTables,
    peer: PeerId,
    number: TxNumber,
) -> Result<Option<Verdict>> {
    let row = reader.get(tables.decisions, &keys::peer_number_key(peer, number))?;
    row.map(read_verdict).transpose()
}

/// The verdicts after `confirmed` that the peer must not miss: refusals, and acceptances that lost ops.
pub(crate) fn unconfirmed<R: Reader>(
    reader: &R,
    tables: &SyncTables,
    peer: PeerId,
    confirmed: TxNumber,
) -> Result<Vec<(TxNumber, Verdict)>> {
    let start = keys::peer_number_key(peer, confirmed);
    let end = keys::peer_number_key(peer, TxNumber::MAX);
    let range = (Bound::Excluded(&start[..]), Bound::Included(&end[..]));
    let mut verdicts = Vec::new();
    for row in reader.range(tables.decisions, range, Direction::Forward)? {
        let (key, row) = row?;
        let verdict = read_verdict(row)?;
        if !matches!(&verdict, Verdict::Accepted { lost, .. } if lost.is_empty()) {
            if planted(Planted::RefusalsUntold) {
                continue;
            }
            verdicts.push((keys::peer_number(key)?.1, verdict));
        }
    }
    Ok(verdicts)
}

pub(crate) fn read_verdict(row: &[u8]) -> Result<Verdict> {
    let damaged = |e| StoreError::damaged("decisions", e);
    let number = |n: u64| u32::try_from(n).map_err(|e| StoreError::damaged("decisions", e));
    let mut bytes = Bytes::new(row);
    let kind = bytes.u8().map_err(damaged)?;
    let lost_ops = |bytes: &mut Bytes<'_>| -> Result<Vec<LostOp>> {
        let count = bytes.varint().map_err(damaged)?;
        let mut lost = Vec::new();
        for _ in 0..count {
            let op = number(bytes.varint().map_err(damaged)?)?;
            lost.push(LostOp { op, generation: bytes.varint().map_err(damaged)? });
        }
        Ok(lost)
    };
    match kind {
        ACCEPTED => {
            let seq = Seq(bytes.varint().map_err(damaged)?);
            Ok(Verdict::Accepted { seq, lost: lost_ops(&mut bytes)? })
        }
        REFUSED => {
            let code = number(bytes.varint().map_err(damaged)?)?;
            let op = bytes.varint().map_err(damaged)?.checked_sub(1).map(number).transpose()?;
            Ok(Verdict::Refused { code, op, message: String::from_utf8_lossy(bytes.rest()).into_owned() })
        }
        SUPERSEDED => Ok(Verdict::Superseded { lost: lost_ops(&mut bytes)? }),
        other => Err(StoreError::damaged("decisions", format!("unknown kind {other}"))),
    }
}
