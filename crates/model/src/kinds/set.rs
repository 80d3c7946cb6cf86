//! Sets: per element, the stamp of its last change, and whether that added it.

use std::cmp::Ordering;

use crate::change::check_cell;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::digest::Digest;
use crate::ids::{GlobalId, PeerId};
use crate::kinds::Kind;
use crate::planted::{Planted, planted};
use crate::stamp::Stamp;
use crate::types::PropertyType;

/// The most bytes that the state of a set may have: it travels whole where an object does.
pub const SET_BYTES_MAX: usize = 4 << 20;

/// The last change of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The element, as [`Kind`] says.
    pub key: &'a [u8],
    /// Whether the change added it; else it removed it.
    pub present: bool,
    /// When it was changed; [`Stamp::NEVER`] in a change, whose stamp is that of its transaction.
    pub stamp: Stamp,
}

impl Element<'_> {
    fn beats(&self, other: &Element<'_>) -> bool {
        if planted(Planted::SetTieByArrival) && self.stamp.hlc == other.stamp.hlc {
            return true;
        }
        (self.stamp, self.present) > (other.stamp, other.present)
    }
}

/// The cell of an op that changes these elements, each named once: true adds, false removes; `None` without elements.
pub fn set_change<'a>(elements: impl IntoIterator<Item = (&'a [u8], bool)>) -> Option<Vec<u8>> {
    let mut elements: Vec<(&[u8], bool)> = elements.into_iter().collect();
    elements.sort_unstable();
    elements.dedup_by_key(|element| element.0);
    if elements.is_empty() {
        return None;
    }
    let mut change = Vec::new();
    put_varint(&mut change, elements.len() as u64);
    elements.iter().for_each(|&(key, present)| put_key(&mut change, key, present));
    Some(change)
}

/// The changes of elements that the cell of an op makes, ascending.
///
/// # Errors
///
/// [`DecodeError`] if it is no change of a set of this kind.
pub fn set_elements(kind: Kind, change: &[u8]) -> Result<Vec<Element<'_>>, DecodeError> {
    parse_change(kind, change)
}

fn put_key(out: &mut Vec<u8>, key: &[u8], present: bool) {
    put_varint(out, (key.len() as u64) << 1 | u64::from(present));
    out.extend_from_slice(key);
}

fn read_key<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<(&'a [u8], bool), DecodeError> {
    let head = reader.varint()?;
    let length = usize::try_from(head >> 1).map_err(|_| DecodeError::Truncated)?;
    let key = reader.bytes(length)?;
    match kind {
        Kind::Strings => check_cell(PropertyType::String as u8, key)?,
        Kind::Integers if length != 8 => {
            return Err(DecodeError::Invalid { what: "an integer in a set is not 8 bytes wide" });
        }
        Kind::Links if length != GlobalId::BYTES => {
            return Err(DecodeError::Invalid { what: "a link in a set is not a global id" });
        }
        _ => {}
    }
    Ok((key, head & 1 == 1))
}

fn read_count(reader: &mut Reader<'_>, what: &'static str, bytes_each: usize) -> Result<usize, DecodeError> {
    let count = reader.varint()?;
    let max = (reader.len() / bytes_each) as u64;
    match usize::try_from(count) {
        Ok(count) if count > 0 && count as u64 <= max => Ok(count),
        _ => Err(DecodeError::TooLong { what, len: count, max }),
    }
}

fn push<'a>(elements: &mut Vec<Element<'a>>, element: Element<'a>) -> Result<(), DecodeError> {
    if elements.last().is_some_and(|last| last.key >= element.key) {
        return Err(DecodeError::Invalid { what: "the elements of a set do not ascend" });
    }
    elements.push(element);
    Ok(())
}

pub(super) fn parse_change(kind: Kind, change: &[u8]) -> Result<Vec<Element<'_>>, DecodeError> {
    let mut reader = Reader::new(change);
    let count = read_count(&mut reader, "changed elements of a set", 1)?;
    let mut elements = Vec::new();
    for _ in 0..count {
        let (key, present) = read_key(kind, &mut reader)?;
        push(&mut elements, Element { key, present, stamp: Stamp::NEVER })?;
    }
    if reader.is_empty() {
        Ok(elements)
    } else {
        Err(DecodeError::Invalid { what: "bytes follow a set's change" })
    }
}

pub(super) fn parse(kind: Kind, state: &[u8]) -> Result<Vec<Element<'_>>, DecodeError> {
    let mut reader = Reader::new(state);
    let count = read_count(&mut reader, "authors of a set", 8)?;
    let mut peers: Vec<(PeerId, bool)> = Vec::with_capacity(count);
    for _ in 0..count {
        let peer = PeerId(reader.u64()?);
        if peers.last().is_some_and(|&(last, _)| last >= peer) {
            return Err(DecodeError::Invalid { what: "the authors of a set do not ascend" });
        }
        peers.push((peer, false));
    }
    let count = read_count(&mut reader, "elements of a set", 1 + 8 + 1)?;
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, present) = read_key(kind, &mut reader)?;
        let hlc = reader.u64()?;
        let at = usize::try_from(reader.varint()?).ok();
        let peer = at.and_then(|at| peers.get_mut(at));
        let (peer, used) = peer.ok_or(DecodeError::Invalid { what: "an element of a set has no author" })?;
        *used = true;
        let stamp = Stamp::new(hlc, *peer);
        if stamp.is_never() {
            return Err(DecodeError::Invalid { what: "an element of a set was never changed" });
        }
        push(&mut elements, Element { key, present, stamp })?;
    }
    if !peers.iter().all(|&(_, used)| used) {
        return Err(DecodeError::Invalid { what: "an author of a set changed nothing" });
    }
    if reader.is_empty() { Ok(elements) } else { Err(DecodeError::Invalid { what: "bytes follow a set" }) }
}

/// The elements of bytes that were checked where they came from.
fn elements(kind: Kind, state: &[u8]) -> Vec<Element<'_>> {
    parse(kind, state).unwrap_or_default()
}

fn encode(elements: &[Element<'_>]) -> Vec<u8> {
    let mut peers: Vec<PeerId> = elements.iter().map(|element| element.stamp.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    let mut state = Vec::new();
    put_varint(&mut state, peers.len() as u64);
    peers.iter().for_each(|peer| state.extend_from_slice(&peer.0.to_le_bytes()));
    put_varint(&mut state, elements.len() as u64);
    for element in elements {
        put_key(&mut state, element.key, element.present);
        state.extend_from_slice(&element.stamp.hlc.to_le_bytes());
        let at = peers.binary_search(&element.stamp.peer).unwrap_or_default();
        put_varint(&mut state, at as u64);
    }
    state
}

/// The later change of each element; whether the right side brought anything.
fn merge<'a>(left: Vec<Element<'a>>, right: Vec<Element<'a>>) -> (Vec<Element<'a>>, bool) {
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let mut changed = false;
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => a.key.cmp(b.key),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (merged, changed),
        };
        match order {
            Ordering::Less => merged.extend(left.next()),
            Ordering::Greater => {
                merged.extend(right.next());
                changed = true;
            }
            Ordering::Equal => {
                if let (Some(a), Some(b)) = (left.next(), right.next()) {
                    let wins = b.beats(&a);
                    changed |= wins && a != b;
                    merged.push(if wins { b } else { a });
                }
            }
        }
    }
}

pub(super) fn apply(kind: Kind, state: Option<&[u8]>, change: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
    let mut brought = parse_change(kind, change).ok()?;
    brought.iter_mut().for_each(|element| element.stamp = stamp);
    let known = state.map(|state| elements(kind, state)).unwrap_or_default();
    let (merged, changed) = merge(known, brought);
    changed.then(|| encode(&merged))
}

pub(super) fn amend(kind: Kind, state: Option<&[u8]>, change: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
    let brought = parse_change(kind, change).ok()?;
    let mut known = state.map(|state| elements(kind, state)).unwrap_or_default();
    known.retain(|known| {
        known.stamp != stamp || brought.binary_search_by_key(&known.key, |element| element.key).is_err()
    });
    let known = (!known.is_empty()).then(|| encode(&known));
    apply(kind, known.as_deref(), change, stamp)
}

pub(super) fn change_at(kind: Kind, state: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
    let elements = elements(kind, state);
    let then = elements.iter().filter(|element| element.stamp == stamp);
    set_change(then.map(|element| (element.key, element.present)))
}

pub(super) fn join(kind: Kind, left: &[u8], right: &[u8]) -> Vec<u8> {
    encode(&merge(elements(kind, left), elements(kind, right)).0)
}

pub(super) fn stamps(kind: Kind, state: &[u8]) -> Vec<Stamp> {
    elements(kind, state)
        .iter()
        .map(|element| {
            let mut digest = Digest::default();
            digest.update(&[u8::from(element.present)]);
            digest.update(element.key);
            let hash = digest.finalize();
            let short = hash.first_chunk().map_or(0, |short| u64::from_le_bytes(*short));
            element.stamp.ranked(short)
        })
        .collect()
}

pub(super) fn redated(kind: Kind, state: &[u8], old: Stamp, hlc: u64) -> Option<Vec<u8>> {
    let mut elements = elements(kind, state);
    let mut found = false;
    let is_old = |stamp: Stamp| stamp.hlc == old.hlc && stamp.peer == old.peer;
    for element in elements.iter_mut().filter(|element| is_old(element.stamp)) {
        element.stamp.hlc = hlc;
        found = true;
    }
    found.then(|| encode(&elements))
}

pub(super) fn lost(kind: Kind, before: &[u8], now: &[u8]) -> Option<Vec<u8>> {
    let now = elements(kind, now);
    let mut lost = elements(kind, before);
    lost.retain(|element| {
        let now = now.binary_search_by_key(&element.key, |now| now.key).ok().map(|at| &now[at]);
        now.is_none_or(|now| (element.stamp, element.present) > (now.stamp, now.present))
    });
    (!lost.is_empty()).then(|| encode(&lost))
}

/// The elements that are there, as a cell of a vector.
pub(super) fn shown(kind: Kind, state: &[u8]) -> Option<Vec<u8>> {
    let elements = elements(kind, state);
    cell(kind, elements.iter().filter(|element| element.present).map(|element| element.key))
}

fn cell<'a>(kind: Kind, keys: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut cell = Vec::new();
    for key in keys {
        match kind {
            Kind::Strings => {
                cell.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
                cell.extend_from_slice(key);
            }
            Kind::Integers => {
                let mut number = <[u8; 8]>::try_from(key).unwrap_or_default();
                number[0] ^= 0x80;
                cell.extend_from_slice(&i64::from_be_bytes(number).to_le_bytes());
            }
            _ => cell.extend_from_slice(key),
        }
    }
    (!cell.is_empty()).then_some(cell)
}

/// The keys of the elements in a cell of a vector, ascending, each once.
fn keys(kind: Kind, cell: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut reader = Reader::new(cell.unwrap_or_default());
    let mut next = || -> Result<Vec<u8>, DecodeError> {
        Ok(match kind {
            Kind::Strings => {
                let length = reader.u32()?;
                reader.bytes(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)?.to_vec()
            }
            Kind::Integers => {
                let mut key = i64::from_le_bytes(reader.array()?).to_be_bytes();
                key[0] ^= 0x80;
                key.to_vec()
            }
            _ => reader.bytes(GlobalId::BYTES)?.to_vec(),
        })
    };
    while let Ok(key) = next() {
        keys.push(key);
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

pub(super) fn change_between(kind: Kind, before: Option<&[u8]>, after: Option<&[u8]>) -> Option<Vec<u8>> {
    let (before, after) = (keys(kind, before), keys(kind, after));
    let gone = before.iter().filter(|key| after.binary_search(key).is_err()).map(|key| (&key[..], false));
    let come = after.iter().filter(|key| before.binary_search(key).is_err()).map(|key| (&key[..], true));
    set_change(gone.chain(come))
}

pub(super) fn show_changed(kind: Kind, shown: Option<&[u8]>, change: &[u8]) -> Option<Vec<u8>> {
    let mut keys = keys(kind, shown);
    for element in parse_change(kind, change).unwrap_or_default() {
        match (keys.binary_search_by(|key| key[..].cmp(element.key)), element.present) {
            (Err(at), true) => keys.insert(at, element.key.to_vec()),
            (Ok(at), false) => drop(keys.remove(at)),
            _ => {}
        }
    }
    cell(kind, keys.iter().map(Vec::as_slice))
}
