//! Counters: per author, the reading of the last change that is included, and the sum of all.

use std::cmp::Ordering;

use crate::codec::{DecodeError, Reader, put_varint, unzigzag, zigzag};
use crate::ids::PeerId;
use crate::planted::{Planted, planted};
use crate::stamp::Stamp;
use crate::types::PropertyType;

/// What one author has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    peer: PeerId,
    hlc: u64,
    sum: i64,
}

impl Entry {
    /// Whether the other one of the same author includes more: readings ascend, and equal ones hold the same sum unless somebody
    /// does not keep to the rules.
    fn is_before(&self, other: &Entry) -> bool {
        (self.hlc, self.sum) < (other.hlc, other.sum)
    }
}

/// The bytes of a peer and a reading, and at least one of a sum.
const ENTRY_BYTES_MIN: usize = 17;

/// The cell of an op that adds this to a counter.
pub fn counter_change(by: i64) -> Vec<u8> {
    let mut change = Vec::new();
    put_varint(&mut change, zigzag(by));
    change
}

/// How much the cell of an op adds.
///
/// # Errors
///
/// [`DecodeError`] if it is no change of a counter.
pub fn counter_delta(change: &[u8]) -> Result<i64, DecodeError> {
    parse_change(change)
}

pub(super) fn parse_change(change: &[u8]) -> Result<i64, DecodeError> {
    let mut reader = Reader::new(change);
    let by = unzigzag(reader.varint()?);
    if reader.is_empty() {
        Ok(by)
    } else {
        Err(DecodeError::Invalid { what: "bytes follow a counter's change" })
    }
}

pub(super) fn parse(state: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let mut reader = Reader::new(state);
    let count = reader.varint()?;
    let max = (reader.len() / ENTRY_BYTES_MIN) as u64;
    if count == 0 || count > max {
        return Err(DecodeError::TooLong { what: "authors of a counter", len: count, max });
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for _ in 0..count {
        let (peer, hlc) = (PeerId(reader.u64()?), reader.u64()?);
        let sum = unzigzag(reader.varint()?);
        if Stamp::new(hlc, peer).is_never() {
            return Err(DecodeError::Invalid { what: "nobody added to a counter" });
        }
        if entries.last().is_some_and(|last| last.peer >= peer) {
            return Err(DecodeError::Invalid { what: "the authors of a counter do not ascend" });
        }
        entries.push(Entry { peer, hlc, sum });
    }
    if reader.is_empty() { Ok(entries) } else { Err(DecodeError::Invalid { what: "bytes follow a counter" }) }
}

/// The entries of bytes that were checked where they came from.
fn entries(state: &[u8]) -> Vec<Entry> {
    parse(state).unwrap_or_default()
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut state = Vec::with_capacity(2 + entries.len() * (ENTRY_BYTES_MIN + 2));
    put_varint(&mut state, entries.len() as u64);
    for entry in entries {
        state.extend_from_slice(&entry.peer.0.to_le_bytes());
        state.extend_from_slice(&entry.hlc.to_le_bytes());
        put_varint(&mut state, zigzag(entry.sum));
    }
    state
}

pub(super) fn apply(state: Option<&[u8]>, change: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
    let is_later = |known: u64| stamp.hlc > known || planted(Planted::DeltaTwice);
    add(state, change, stamp, is_later)
}

pub(super) fn amend(state: Option<&[u8]>, change: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
    add(state, change, stamp, |known| stamp.hlc >= known)
}

fn add(state: Option<&[u8]>, change: &[u8], stamp: Stamp, counts: impl Fn(u64) -> bool) -> Option<Vec<u8>> {
    let by = parse_change(change).ok()?;
    let mut entries = state.map(entries).unwrap_or_default();
    match entries.binary_search_by_key(&stamp.peer, |entry| entry.peer) {
        Ok(at) => {
            let entry = &mut entries[at];
            if !counts(entry.hlc) {
                return None;
            }
            entry.hlc = stamp.hlc.max(entry.hlc);
            entry.sum = entry.sum.wrapping_add(by);
        }
        Err(at) => entries.insert(at, Entry { peer: stamp.peer, hlc: stamp.hlc, sum: by }),
    }
    Some(encode(&entries))
}

pub(super) fn join(left: &[u8], right: &[u8]) -> Vec<u8> {
    let (left, right) = (entries(left), entries(right));
    let mut joined = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.peer.cmp(&b.peer) {
            Ordering::Less => joined.extend(left.next()),
            Ordering::Greater => joined.extend(right.next()),
            Ordering::Equal => {
                let pair = left.next().zip(right.next());
                joined.extend(pair.map(|(a, b)| if a.is_before(&b) { b } else { a }));
            }
        }
    }
    joined.extend(left);
    joined.extend(right);
    encode(&joined)
}

pub(super) fn stamps(state: &[u8]) -> Vec<Stamp> {
    entries(state)
        .iter()
        .map(|entry| Stamp::new(entry.hlc, entry.peer).ranked(entry.sum.cast_unsigned()))
        .collect()
}

pub(super) fn redated(state: &[u8], old: Stamp, hlc: u64) -> Option<Vec<u8>> {
    let mut entries = entries(state);
    let entry = entries.iter_mut().find(|entry| entry.peer == old.peer && entry.hlc == old.hlc)?;
    entry.hlc = hlc;
    Some(encode(&entries))
}

pub(super) fn lost(before: &[u8], now: &[u8]) -> Option<Vec<u8>> {
    let now = entries(now);
    let lost: Vec<Entry> = entries(before)
        .into_iter()
        .filter_map(|entry| {
            let now = now.iter().find(|now| now.peer == entry.peer);
            let sum = now.map_or(0, |now| now.sum);
            now.is_none_or(|now| now.is_before(&entry))
                .then(|| Entry { sum: entry.sum.wrapping_sub(sum), ..entry })
        })
        .collect();
    (!lost.is_empty()).then(|| encode(&lost))
}

/// The sum over all authors; it wraps around at the ends of 64 bits.
pub(super) fn total(state: &[u8]) -> i64 {
    entries(state).iter().fold(0, |total: i64, entry| total.wrapping_add(entry.sum))
}

/// The number that a cell of a property shows; null is 0.
pub(super) fn number(shown: Option<&[u8]>) -> i64 {
    match shown {
        Some(&[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
        Some(bytes) => bytes.try_into().map_or(0, i64::from_le_bytes),
        None => 0,
    }
}

/// The cell of a property that shows this number; an Int shows the lower half of its bits.
pub(super) fn cell(ty: PropertyType, number: i64) -> Vec<u8> {
    number.to_le_bytes()[..ty.scalar_bytes().unwrap_or(8)].to_vec()
}
