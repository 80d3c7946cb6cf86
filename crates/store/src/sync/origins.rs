//! On a server: the peers that have logged in, and the verdicts on their newest transactions.
//!
//! Verdicts are kept for longer than until the peer has confirmed them: a copy of its directory, or one that was restored, may
//! come and ask up to where the server's transactions are also its own, and what became of them.

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
    /// If decisions of this server were lost and the peer's own number was taken over: since when.
    pub rebased: Option<Rebased>,
}

/// How a server came to a number that it did not decide up to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebased {
    /// The history to which the peer's cursor belonged.
    pub epoch: u64,
    /// The highest number that this server had decided on.
    pub known: TxNumber,
}

/// What a peer says of its own chain at a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The history to which its cursor belongs.
    pub epoch: u64,
    /// The highest number whose verdict it holds.
    pub confirmed: TxNumber,
    /// The hash of that transaction.
    pub hash: TxHash,
}

impl Origin {
    /// Up to which number the verdicts are forgotten.
    pub fn forgotten(&self) -> TxNumber {
        self.confirmed.min(self.decided.saturating_sub(VERDICTS_KEPT))
    }
}

/// How many of a peer's newest verdicts are kept although it has confirmed them.
///
/// A copy whose outbox was not empty when it was made, and whose original has had more transactions decided since, cannot be told
/// what became of those that both have.
pub const VERDICTS_KEPT: u64 = 65_536;

const ORIGIN_BYTES: usize = 32 + 8 + 16 + 8;
const REBASED_BYTES: usize = 8 + 8;
const ACCEPTED: u8 = 0;
const REFUSED: u8 = 1;
const SUPERSEDED: u8 = 2;

pub(crate) fn get<R: Reader>(reader: &R, tables: &SyncTables, peer: PeerId) -> Result<Option<Origin>> {
    let Some(row) = reader.get(tables.origins, &keys::number_key(peer.0))? else { return Ok(None) };
    if row.len() != ORIGIN_BYTES && row.len() != ORIGIN_BYTES + REBASED_BYTES {
        return Err(StoreError::damaged("origins", format!("a row of {} bytes", row.len())));
    }
    let number =
        |at: usize| u64::from_be_bytes(row[at..at + 8].try_into().expect("8 bytes of a checked row"));
    Ok(Some(Origin {
        public_key: row[..32].try_into().expect("32 bytes of a checked row"),
        decided: number(32),
        hash: TxHash(row[40..56].try_into().expect("16 bytes of a checked row")),
        confirmed: number(56),
        rebased: (row.len() > ORIGIN_BYTES).then(|| Rebased { epoch: number(64), known: number(72) }),
    }))
}

pub(crate) fn put(tx: &mut WriteTxn<'_>, peer: PeerId, origin: &Origin) -> Result<()> {
    let mut row = Vec::with_capacity(ORIGIN_BYTES + REBASED_BYTES);
    row.extend_from_slice(&origin.public_key);
    row.extend_from_slice(&origin.decided.to_be_bytes());
    row.extend_from_slice(&origin.hash.0);
    row.extend_from_slice(&origin.confirmed.to_be_bytes());
    if let Some(rebased) = &origin.rebased {
        row.extend_from_slice(&rebased.epoch.to_be_bytes());
        row.extend_from_slice(&rebased.known.to_be_bytes());
    }
    let table = tx.inner().sync.tables.origins;
    tx.put_raw(table, &keys::number_key(peer.0), &row)
}

/// Binds a peer to its key at the first login, and checks the binding at every later one.
pub(crate) fn register(tx: &mut WriteTxn<'_>, peer: PeerId, public_key: &[u8; 32]) -> Result<Origin> {
    match get(tx.engine_tx(), &tx.inner().sync.tables, peer)? {
        Some(origin) if origin.public_key == *public_key => Ok(origin),
        Some(_) => Err(StoreError::KeyMismatch { peer }),
        None => {
            let public_key = *public_key;
            let origin = Origin { public_key, decided: 0, hash: TxHash::NONE, confirmed: 0, rebased: None };
            put(tx, peer, &origin)?;
            Ok(origin)
        }
    }
}

/// What a peer of another history is to be told of a claim, if that needs no write: the number up to which this server decided itself.
///
/// Told until the peer has taken its cursor into this history: the answer to an earlier login may have been lost.
pub(crate) fn told(origin: &Origin, claim: &Claim) -> Option<TxNumber> {
    let rebased = origin.rebased.filter(|rebased| rebased.epoch == claim.epoch)?;
    (claim.confirmed <= origin.decided && rebased.known < claim.confirmed).then_some(rebased.known)
}

/// Takes over a peer's own number and hash, where they are ahead of what this server has decided on.
///
/// The peer speaks of its own chain only, and of transactions that this server does not have. A number that is too high is one
/// that the peer itself can never use.
pub(crate) fn rebase(tx: &mut WriteTxn<'_>, peer: PeerId, claim: &Claim) -> Result<Option<TxNumber>> {
    let Some(mut origin) = get(tx.engine_tx(), &tx.inner().sync.tables, peer)? else {
        return Err(StoreError::UnknownPeer { peer });
    };
    if claim.confirmed <= origin.decided {
        return Ok(told(&origin, claim));
    }
    let again = origin.rebased.filter(|rebased| rebased.epoch == claim.epoch);
    let rebased = again.unwrap_or(Rebased { epoch: claim.epoch, known: origin.decided });
    // The peer holds verdicts up to its number, so it needs none of those before.
    let table = tx.inner().sync.tables.decisions;
    let (start, end) = (keys::peer_number_key(peer, 0), keys::peer_number_key(peer, TxNumber::MAX));
    let range = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    let mut rows = Vec::new();
    for row in tx.engine_tx().range(table, range, Direction::Forward)? {
        rows.push(row?.0.to_vec());
    }
    for row in rows {
        tx.delete_raw(table, &row)?;
    }
    (origin.decided, origin.hash, origin.confirmed) = (claim.confirmed, claim.hash, claim.confirmed);
    origin.rebased = Some(rebased);
    put(tx, peer, &origin)?;
    Ok(Some(rebased.known))
}

/// Forgets the verdicts up to `number`: the peer holds them.
pub(crate) fn confirm(tx: &mut WriteTxn<'_>, peer: PeerId, number: TxNumber) -> Result<()> {
    let Some(mut origin) = get(tx.engine_tx(), &tx.inner().sync.tables, peer)? else {
        return Err(StoreError::UnknownPeer { peer });
    };
    // A peer can confirm only what was decided; a larger number is cut, not believed.
    let number = number.min(origin.decided);
    if planted(Planted::VerdictsForgotten) {
        forget(tx, peer, origin.forgotten(), origin.decided)?;
    }
    if number <= origin.confirmed {
        return Ok(());
    }
    let before = origin.forgotten();
    origin.confirmed = number;
    forget(tx, peer, before, origin.forgotten())?;
    put(tx, peer, &origin)
}

/// Notes the decision on the next transaction of a peer.
pub(crate) fn decided(
    tx: &mut WriteTxn<'_>,
    peer: PeerId,
    origin: &mut Origin,
    hash: TxHash,
    verdict: &Verdict,
) -> Result<()> {
    let before = origin.forgotten();
    origin.decided += 1;
    origin.hash = hash;
    put(tx, peer, origin)?;
    put_verdict(tx, peer, origin.decided, hash, verdict)?;
    forget(tx, peer, before, origin.forgotten())
}

/// Deletes the verdicts after one number up to another.
fn forget(tx: &mut WriteTxn<'_>, peer: PeerId, after: TxNumber, upto: TxNumber) -> Result<()> {
    let table = tx.inner().sync.tables.decisions;
    for number in after + 1..=upto {
        tx.delete_raw(table, &keys::peer_number_key(peer, number))?;
    }
    Ok(())
}

fn put_verdict(
    tx: &mut WriteTxn<'_>,
    peer: PeerId,
    number: TxNumber,
    hash: TxHash,
    verdict: &Verdict,
) -> Result<()> {
    let mut row = Vec::with_capacity(32);
    row.extend_from_slice(&hash.0);
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
    Ok(row.map(read_verdict).transpose()?.map(|(_, verdict)| verdict))
}

/// The hashes of the transactions after `after` up to `upto`, at most `max` of them; it ends where verdicts are forgotten.
pub(crate) fn hashes<R: Reader>(
    reader: &R,
    tables: &SyncTables,
    peer: PeerId,
    after: TxNumber,
    upto: TxNumber,
    max: usize,
) -> Result<Vec<TxHash>> {
    let (start, end) = (keys::peer_number_key(peer, after), keys::peer_number_key(peer, upto));
    if upto <= after {
        return Ok(Vec::new());
    }
    let range = (Bound::Excluded(&start[..]), Bound::Included(&end[..]));
    let mut hashes = Vec::new();
    for row in reader.range(tables.decisions, range, Direction::Forward)?.take(max) {
        let (key, row) = row?;
        if keys::peer_number(key)?.1 != after + 1 + hashes.len() as u64 {
            break;
        }
        hashes.push(read_verdict(row)?.0);
    }
    Ok(hashes)
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
        let (_, verdict) = read_verdict(row)?;
        if !matches!(&verdict, Verdict::Accepted { lost, .. } if lost.is_empty()) {
            if planted(Planted::RefusalsUntold) {
                continue;
            }
            verdicts.push((keys::peer_number(key)?.1, verdict));
        }
    }
    Ok(verdicts)
}

/// What was decided on transactions of these peers after these numbers, as far as it is kept.
pub(crate) fn decisions<R: Reader>(
    reader: &R,
    tables: &SyncTables,
    asked: &[(PeerId, TxNumber)],
) -> Result<Vec<(PeerId, TxNumber, TxHash, Verdict)>> {
    let mut all = Vec::new();
    for &(peer, after) in asked {
        let start = keys::peer_number_key(peer, after);
        let end = keys::peer_number_key(peer, TxNumber::MAX);
        let range = (Bound::Excluded(&start[..]), Bound::Included(&end[..]));
        for row in reader.range(tables.decisions, range, Direction::Forward)? {
            let (key, row) = row?;
            let (hash, verdict) = read_verdict(row)?;
            all.push((peer, keys::peer_number(key)?.1, hash, verdict));
        }
    }
    Ok(all)
}

pub(crate) fn read_verdict(row: &[u8]) -> Result<(TxHash, Verdict)> {
    let damaged = |e| StoreError::damaged("decisions", e);
    let number = |n: u64| u32::try_from(n).map_err(|e| StoreError::damaged("decisions", e));
    let mut bytes = Bytes::new(row);
    let hash = bytes.bytes(size_of::<TxHash>()).map_err(damaged)?;
    let hash = TxHash(hash.try_into().expect("as many bytes were read"));
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
    let verdict = match kind {
        ACCEPTED => {
            let seq = Seq(bytes.varint().map_err(damaged)?);
            Verdict::Accepted { seq, lost: lost_ops(&mut bytes)? }
        }
        REFUSED => {
            let code = number(bytes.varint().map_err(damaged)?)?;
            let op = bytes.varint().map_err(damaged)?.checked_sub(1).map(number).transpose()?;
            Verdict::Refused { code, op, message: String::from_utf8_lossy(bytes.rest()).into_owned() }
        }
        SUPERSEDED => Verdict::Superseded { lost: lost_ops(&mut bytes)? },
        other => return Err(StoreError::damaged("decisions", format!("unknown kind {other}"))),
    };
    Ok((hash, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_forgotten_only_when_they_are_confirmed_and_old() {
        let forgotten = |decided, confirmed| {
            Origin { public_key: [0; 32], decided, hash: TxHash::NONE, confirmed, rebased: None }.forgotten()
        };
        assert_eq!(forgotten(VERDICTS_KEPT, VERDICTS_KEPT), 0);
        assert_eq!(forgotten(VERDICTS_KEPT + 5, VERDICTS_KEPT), 5);
        assert_eq!(forgotten(VERDICTS_KEPT + 5, 3), 3);
    }
}
