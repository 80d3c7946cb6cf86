//! The few single values of sync that the store keeps, under their keys in the `meta` table.

use reconvene_model::compare::{CompareKey, CompareRange};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{Seq, TxHash, TxNumber};

use crate::error::{Result, StoreError};
use crate::keys;
use crate::sync::Role;
use crate::sync::expiry::{Mark, Swept};

const ROLE: &[u8] = b"sync/role";
const SECRET: &[u8] = b"sync/secret";
const CLOCK: &[u8] = b"sync/clock";
const LAST_TX: &[u8] = b"sync/last";
const CURSOR: &[u8] = b"sync/cursor";
const DECIDED: &[u8] = b"sync/decided";
const SENT: &[u8] = b"sync/sent";
const SEEN: &[u8] = b"sync/seen";
const CATCHING_UP: &[u8] = b"sync/catching-up";
const EPOCH: &[u8] = b"sync/epoch";
const HEAD: &[u8] = b"sync/head";
const FORMER: &[u8] = b"sync/former";
const ERAS: &[u8] = b"sync/eras";
const COMPARE: &[u8] = b"sync/compare";
const SUSPECT: &[u8] = b"sync/suspect";
const CONFLICTS: &[u8] = b"sync/conflicts";
const TIMES: &[u8] = b"sync/times";
const EXPIRY: &[u8] = b"sync/expiry";

/// The bytes of a mark: a time and a position.
const MARK_BYTES: usize = 16;

/// The bytes of how far the history was looked through: horizon, count, and the key of a change.
const SWEPT_BYTES: usize = 16 + 20;

/// How many former histories are remembered.
const FORMER_MAX: usize = 64;

/// The bytes of one: its epoch and its head.
const FORMER_BYTES: usize = 16;

/// There while the schema has changed and properties have not taken their places yet; see [`super::adopt`].
pub(crate) const ADOPT: &[u8] = b"sync/adopt";

/// Reading and writing the `meta` table, in whatever transaction is at hand.
pub(crate) trait MetaTable {
    fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>>;
    fn meta_put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
}

/// Up to where a device has everything in its view: of which history, under which view, to which position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The random identity of the server's history; 0 before the first login.
    pub epoch: u64,
    /// The hash of the view: rules, claims, subscriptions, schema.
    pub view: u64,
    /// The position.
    pub seq: Seq,
}

fn number(tx: &impl MetaTable, key: &[u8]) -> Result<Option<u64>> {
    tx.meta_get(key)?.map(|bytes| fixed(key, bytes).map(u64::from_be_bytes)).transpose()
}

fn fixed<const N: usize>(key: &[u8], bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| {
        StoreError::damaged(
            "meta",
            format!("{} has {} bytes instead of {N}", String::from_utf8_lossy(key), bytes.len()),
        )
    })
}

/// Writes the role of a new directory, or checks that an old one has this role.
pub(crate) fn claim_role(tx: &mut impl MetaTable, role: Role) -> Result<Role> {
    let byte = match role {
        Role::Device => 0,
        Role::Server => 1,
    };
    match tx.meta_get(ROLE)? {
        Some(stored) if stored == [byte] => Ok(role),
        Some(_) => Err(StoreError::WrongRole { wanted: role }),
        None => tx.meta_put(ROLE, &[byte]).map(|()| role),
    }
}

pub(crate) fn secret(tx: &impl MetaTable) -> Result<Option<[u8; 32]>> {
    tx.meta_get(SECRET)?.map(|bytes| fixed(SECRET, bytes)).transpose()
}

pub(crate) fn put_secret(tx: &mut impl MetaTable, secret: &[u8; 32]) -> Result<()> {
    tx.meta_put(SECRET, secret)
}

/// The store's name and its former ones, encoded; nothing before it had another one.
pub(crate) fn eras(tx: &impl MetaTable) -> Result<Option<&[u8]>> {
    tx.meta_get(ERAS)
}

pub(crate) fn put_eras(tx: &mut impl MetaTable, row: &[u8]) -> Result<()> {
    tx.meta_put(ERAS, row)
}

pub(crate) fn clock(tx: &impl MetaTable) -> Result<u64> {
    Ok(number(tx, CLOCK)?.unwrap_or(0))
}

pub(crate) fn put_clock(tx: &mut impl MetaTable, hlc: u64) -> Result<()> {
    if planted(Planted::ClockForgotten) {
        return Ok(());
    }
    tx.meta_put(CLOCK, &hlc.to_be_bytes())
}

/// The number and hash of the newest transaction that this store issued.
pub(crate) fn last_tx(tx: &impl MetaTable) -> Result<(TxNumber, TxHash)> {
    let Some(bytes) = tx.meta_get(LAST_TX)? else { return Ok((0, TxHash::NONE)) };
    let bytes: [u8; 24] = fixed(LAST_TX, bytes)?;
    let (number, hash) = bytes.split_at(8);
    Ok((
        u64::from_be_bytes(number.try_into().expect("split at 8")),
        TxHash(hash.try_into().expect("24 less 8 are 16")),
    ))
}

pub(crate) fn put_last_tx(tx: &mut impl MetaTable, number: TxNumber, hash: TxHash) -> Result<()> {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&hash.0);
    tx.meta_put(LAST_TX, &bytes)
}

pub(crate) fn cursor(tx: &impl MetaTable) -> Result<Cursor> {
    let Some(bytes) = tx.meta_get(CURSOR)? else { return Ok(Cursor::default()) };
    let bytes: [u8; 24] = fixed(CURSOR, bytes)?;
    let at = |n: usize| u64::from_be_bytes(bytes[n..n + 8].try_into().expect("8 bytes of 24"));
    Ok(Cursor { epoch: at(0), view: at(8), seq: Seq(at(16)) })
}

pub(crate) fn put_cursor(tx: &mut impl MetaTable, cursor: Cursor) -> Result<()> {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&cursor.epoch.to_be_bytes());
    bytes[8..16].copy_from_slice(&cursor.view.to_be_bytes());
    bytes[16..].copy_from_slice(&cursor.seq.0.to_be_bytes());
    tx.meta_put(CURSOR, &bytes)
}

/// The highest number up to which every verdict is recorded durably.
pub(crate) fn decided(tx: &impl MetaTable) -> Result<TxNumber> {
    Ok(number(tx, DECIDED)?.unwrap_or(0))
}

pub(crate) fn put_decided(tx: &mut impl MetaTable, number: TxNumber) -> Result<()> {
    tx.meta_put(DECIDED, &number.to_be_bytes())
}

/// The number up to which transactions may have been sent to somebody: they never change any more.
pub(crate) fn sent(tx: &impl MetaTable) -> Result<TxNumber> {
    Ok(number(tx, SENT)?.unwrap_or(0))
}

pub(crate) fn put_sent(tx: &mut impl MetaTable, number: TxNumber) -> Result<()> {
    tx.meta_put(SENT, &number.to_be_bytes())
}

/// The largest clock reading among what a server is known to have accepted.
pub(crate) fn seen(tx: &impl MetaTable) -> Result<u64> {
    Ok(number(tx, SEEN)?.unwrap_or(0))
}

pub(crate) fn put_seen(tx: &mut impl MetaTable, hlc: u64) -> Result<()> {
    tx.meta_put(SEEN, &hlc.to_be_bytes())
}

/// Whether a catch-up began and has not ended: transactions may be half visible.
pub(crate) fn catching_up(tx: &impl MetaTable) -> Result<bool> {
    Ok(tx.meta_get(CATCHING_UP)?.is_some_and(|row| row.first() == Some(&1)))
}

/// Where within a position the catch-up goes on that was cut off, as the server said it; empty if at the end of one.
pub(crate) fn resume(tx: &impl MetaTable) -> Result<&[u8]> {
    let row = tx.meta_get(CATCHING_UP)?.unwrap_or_default();
    Ok(row.strip_prefix(&[1]).unwrap_or_default())
}

/// Notes where the catch-up goes on if it is cut off here.
pub(crate) fn put_resume(tx: &mut impl MetaTable, resume: &[u8]) -> Result<()> {
    if catching_up(tx)? { tx.meta_put(CATCHING_UP, &[&[1], resume].concat()) } else { Ok(()) }
}

pub(crate) fn put_catching_up(tx: &mut impl MetaTable, on: bool) -> Result<()> {
    tx.meta_put(CATCHING_UP, &[u8::from(on)])
}

/// What becomes of objects that a compare finds the server to lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extras {
    /// They leave: they are not in the view, or were removed.
    Leave,
    /// They are kept for the application: the server may have lost them.
    AreKept,
}

/// The compare that is under way, durably: until it is complete no cursor stands for what is confirmed.
pub(crate) fn compare(tx: &impl MetaTable) -> Result<Option<Extras>> {
    match tx.meta_get(COMPARE)? {
        None | Some([0 | AFTER_COMPARE]) => Ok(None),
        Some([1]) => Ok(Some(Extras::Leave)),
        Some([2]) => Ok(Some(Extras::AreKept)),
        Some(_) => Err(StoreError::damaged("meta", "sync/compare is none of 0 to 3")),
    }
}

pub(crate) fn put_compare(tx: &mut impl MetaTable, extras: Extras) -> Result<()> {
    let byte = match extras {
        Extras::Leave => 1,
        Extras::AreKept => 2,
    };
    tx.meta_put(COMPARE, &[byte])
}

/// The range of keys in which the server was found to have something else; the compare that is due takes all of it from the server.
pub(crate) fn suspect(tx: &impl MetaTable) -> Result<Option<CompareRange>> {
    let bytes = tx.meta_get(SUSPECT)?.unwrap_or_default();
    if bytes.is_empty() {
        return Ok(None);
    }
    let (keys, rest) = bytes.as_chunks::<{ CompareKey::BYTES }>();
    match (keys, rest.is_empty()) {
        (&[start], true) => Ok(Some(CompareRange::new(CompareKey::from_bytes(start), None))),
        (&[start, end], true) => {
            Ok(Some(CompareRange::new(CompareKey::from_bytes(start), Some(CompareKey::from_bytes(end)))))
        }
        _ => Err(StoreError::damaged("meta", format!("sync/suspect has {} bytes", bytes.len()))),
    }
}

pub(crate) fn put_suspect(tx: &mut impl MetaTable, range: Option<&CompareRange>) -> Result<()> {
    let keys = range.into_iter().flat_map(|range| [Some(range.start), range.end]).flatten();
    let bytes: Vec<u8> = keys.flat_map(CompareKey::to_bytes).collect();
    tx.meta_put(SUSPECT, &bytes)
}

/// In place of a compare: it is complete, but what the catch-up after it undoes may be lost as well.
const AFTER_COMPARE: u8 = 3;

/// Whether what a catch-up undoes is to be kept, since it follows on a compare of which that holds.
pub(crate) fn keeps_after_compare(tx: &impl MetaTable) -> Result<bool> {
    Ok(tx.meta_get(COMPARE)? == Some(&[AFTER_COMPARE]))
}

/// Ends a compare; `keeps` says whether what the catch-up undoes is to be kept.
pub(crate) fn end_compare(tx: &mut impl MetaTable, keeps: bool) -> Result<()> {
    tx.meta_put(COMPARE, &[if keeps { AFTER_COMPARE } else { 0 }])
}

/// The number of the newest conflict, and how many bytes all rows of conflicts have.
pub(crate) fn conflicts(tx: &impl MetaTable) -> Result<(u64, u64)> {
    let Some(bytes) = tx.meta_get(CONFLICTS)? else { return Ok((0, 0)) };
    let both = u128::from_be_bytes(fixed(CONFLICTS, bytes)?);
    Ok(((both >> 64) as u64, both as u64))
}

pub(crate) fn put_conflicts(tx: &mut impl MetaTable, last: u64, bytes: u64) -> Result<()> {
    tx.meta_put(CONFLICTS, &(u128::from(last) << 64 | u128::from(bytes)).to_be_bytes())
}

/// The random identity of a server's history.
pub(crate) fn epoch(tx: &impl MetaTable) -> Result<Option<u64>> {
    number(tx, EPOCH)
}

pub(crate) fn put_epoch(tx: &mut impl MetaTable, epoch: u64) -> Result<()> {
    tx.meta_put(EPOCH, &epoch.to_be_bytes())
}

/// The newest position of a server's history.
pub(crate) fn head(tx: &impl MetaTable) -> Result<Seq> {
    Ok(Seq(number(tx, HEAD)?.unwrap_or(0)))
}

pub(crate) fn put_head(tx: &mut impl MetaTable, head: Seq) -> Result<()> {
    tx.meta_put(HEAD, &head.0.to_be_bytes())
}

/// When the head of a server's history was where, ascending.
pub(crate) fn marks(tx: &impl MetaTable) -> Result<Vec<Mark>> {
    let (rows, rest) = tx.meta_get(TIMES)?.unwrap_or_default().as_chunks::<MARK_BYTES>();
    if !rest.is_empty() {
        return Err(StoreError::damaged("meta", "sync/times does not end with a mark"));
    }
    let number = |row: &[u8; MARK_BYTES], at: usize| {
        u64::from_be_bytes(row[at..at + 8].try_into().expect("8 bytes of 16"))
    };
    Ok(rows.iter().map(|row| Mark { ms: number(row, 0), seq: Seq(number(row, 8)) }).collect())
}

pub(crate) fn put_marks(tx: &mut impl MetaTable, marks: &[Mark]) -> Result<()> {
    let bytes: Vec<u8> =
        marks.iter().flat_map(|mark| [mark.ms.to_be_bytes(), mark.seq.0.to_be_bytes()]).flatten().collect();
    tx.meta_put(TIMES, &bytes)
}

/// How far a server's history has been looked through for removals that are old enough to be forgotten.
pub(crate) fn swept(tx: &impl MetaTable) -> Result<Swept> {
    let Some(bytes) = tx.meta_get(EXPIRY)? else { return Ok(Swept::default()) };
    let bytes: [u8; SWEPT_BYTES] = fixed(EXPIRY, bytes)?;
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes of 36"));
    Ok(Swept { horizon: Seq(number(0)), forgotten: number(8), at: keys::change(&bytes[16..])? })
}

pub(crate) fn put_swept(tx: &mut impl MetaTable, swept: &Swept) -> Result<()> {
    let (seq, entity, id) = swept.at;
    let mut bytes = Vec::with_capacity(SWEPT_BYTES);
    bytes.extend_from_slice(&swept.horizon.0.to_be_bytes());
    bytes.extend_from_slice(&swept.forgotten.to_be_bytes());
    bytes.extend_from_slice(&keys::change_key(seq, entity, id));
    tx.meta_put(EXPIRY, &bytes)
}

/// The highest position of a removal that a server has forgotten.
pub(crate) fn horizon(tx: &impl MetaTable) -> Result<Seq> {
    Ok(swept(tx)?.horizon)
}

/// Notes that the history of this epoch goes on from `head` under another one.
pub(crate) fn put_former(tx: &mut impl MetaTable, epoch: u64, head: Seq) -> Result<()> {
    let mut bytes = tx.meta_get(FORMER)?.unwrap_or_default().to_vec();
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(&head.0.to_be_bytes());
    let surplus = (bytes.len() / FORMER_BYTES).saturating_sub(FORMER_MAX);
    bytes.drain(..surplus * FORMER_BYTES);
    tx.meta_put(FORMER, &bytes)
}

/// Up to where the history of a former epoch is the beginning of this one; `None` for an epoch that was never this history's.
pub(crate) fn shared_with(tx: &impl MetaTable, epoch: u64) -> Result<Option<Seq>> {
    let bytes = tx.meta_get(FORMER)?.unwrap_or_default();
    let (rows, rest) = bytes.as_chunks::<FORMER_BYTES>();
    if !rest.is_empty() {
        return Err(StoreError::damaged("meta", format!("sync/former has {} bytes", bytes.len())));
    }
    let mut shared: Option<Seq> = None;
    for row in rows {
        let number = |at: usize| u64::from_be_bytes(row[at..at + 8].try_into().expect("8 bytes of 16"));
        let (former, head) = (number(0), Seq(number(8)));
        // A history that went on more than once was cut to each of the heads after it.
        shared = shared.map(|shared| shared.min(head)).or((former == epoch).then_some(head));
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

    impl MetaTable for Rows {
        fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
            Ok(self.0.get(key).map(Vec::as_slice))
        }

        fn meta_put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            self.0.insert(key.to_vec(), value.to_vec());
            Ok(())
        }
    }

    #[test]
    fn a_former_history_is_shared_up_to_the_lowest_head_after_it() {
        let mut rows = Rows::default();
        for (epoch, head) in [(1, 9), (2, 20), (3, 5), (4, 8)] {
            put_former(&mut rows, epoch, Seq(head)).unwrap();
        }
        let shared = |of| shared_with(&rows, of).unwrap().map(|seq| seq.0);
        assert_eq!([1, 2, 3, 4, 5].map(shared), [Some(5), Some(5), Some(5), Some(8), None]);
    }

    #[test]
    fn the_oldest_of_many_former_histories_are_forgotten() {
        let mut rows = Rows::default();
        for epoch in 1..=FORMER_MAX as u64 + 3 {
            put_former(&mut rows, epoch, Seq(epoch)).unwrap();
        }
        assert_eq!([3, 4].map(|of| shared_with(&rows, of).unwrap()), [None, Some(Seq(4))]);
        rows.meta_put(FORMER, &[0; 17]).unwrap();
        assert!(shared_with(&rows, 4).is_err());
    }
}
