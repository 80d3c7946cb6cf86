//! The sync header of a record: who the object is, its generation, and a stamp for every property.

use crate::codec::{DecodeError, Reader, put_varint};
use crate::ids::{Generation, GlobalId, PeerId, Seq, Uid};
use crate::kinds::Kind;
use crate::record::{RecordError, SYNCED};
use crate::stamp::{Stamp, put_rank, read_rank};

const FOREIGN: u8 = 1;
const GENERATION: u8 = 2;
const SEQ: u8 = 4;
const BASE_BY_ORIGIN: u8 = 8;
const OVERRIDES: u8 = 16;
const UNKNOWN: u8 = 32;
const ABSENT: u8 = 64;
const MORE: u8 = 128;
/// In the second byte of flags.
const RANKED: u8 = 1;
const KINDS: u8 = 2;

/// The bytes of a stamp.
const STAMP_BYTES: usize = 16;

/// What a record says of its object beside the properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncHeader {
    /// Whether the object exists; a tombstone does not, nor does an id that waits for its object.
    pub exists: bool,
    /// The global id, where it is neither this store's own nor shared.
    pub gid: Option<GlobalId>,
    /// How often the object was removed.
    pub generation: Generation,
    /// On a server: the position of the last change.
    pub seq: Option<Seq>,
    /// The stamp of the properties that have none of their own.
    pub base: Stamp,
    /// Slots with another stamp, ascending; [`Stamp::NEVER`] for properties that nobody wrote.
    pub overrides: Vec<(u16, Stamp)>,
    /// Properties that this store's schema does not know, ascending by uid.
    pub unknown: Vec<UnknownRegister>,
    /// The states of counters and sets, ascending by slot; the table shows their values.
    pub kinds: Vec<KindState>,
}

/// The state of a counter or set; one that nobody ever changed has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindState {
    /// The slot of the property.
    pub slot: u16,
    /// What it is.
    pub kind: Kind,
    /// All that tells how changes merge.
    pub state: Vec<u8>,
}

/// A property that this store's schema does not know, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRegister {
    /// Its identity.
    pub uid: Uid,
    /// Its type number, which may be unknown as well.
    pub ty: u8,
    /// Its stamp.
    pub stamp: Stamp,
    /// Its value.
    pub cell: Option<Vec<u8>>,
}

/// A sync header that was not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct SyncHeaderBytes<'a> {
    bytes: &'a [u8],
}

impl<'a> SyncHeaderBytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        SyncHeaderBytes { bytes }
    }

    /// Whether the object exists, read without decoding the rest.
    pub fn exists(self) -> bool {
        self.bytes.first().is_some_and(|flags| flags & ABSENT == 0)
    }

    /// Decodes the header.
    ///
    /// # Errors
    ///
    /// [`RecordError::Header`] if it is damaged or a newer release wrote it.
    pub fn parse(self) -> Result<SyncHeader, RecordError> {
        let mut reader = Reader::new(self.bytes);
        let flags = reader.u8()?;
        let has = |flag: u8| flags & flag != 0;
        let more = if has(MORE) { reader.u8()? } else { 0 };
        if more & !(RANKED | KINDS) != 0 || (has(MORE) && more == 0) {
            return Err(DecodeError::UnknownVersion { what: "the sync header", version: more.into() }.into());
        }
        let ranked = more & RANKED != 0;
        if has(BASE_BY_ORIGIN) && !has(FOREIGN) {
            return Err(invalid("the base stamp is by an origin that is not named"));
        }
        let gid = match has(FOREIGN) {
            true => {
                let origin = PeerId(u64::from_be_bytes(reader.array()?));
                Some(GlobalId::new(origin, reader.varint()?))
            }
            false => None,
        };
        let generation = if has(GENERATION) { reader.varint()? } else { 0 };
        let seq = if has(SEQ) { Some(Seq(reader.varint()?)) } else { None };
        let hlc = reader.u64()?;
        let peer = match gid {
            Some(gid) if has(BASE_BY_ORIGIN) => gid.origin,
            _ => PeerId(reader.u64()?),
        };
        let rank = if ranked { read_rank(&mut reader)? } else { 0 };
        let mut header = SyncHeader {
            exists: !has(ABSENT),
            gid,
            generation,
            seq,
            base: Stamp { rank, hlc, peer },
            overrides: Vec::new(),
            unknown: Vec::new(),
            kinds: Vec::new(),
        };
        if has(OVERRIDES) {
            header.read_overrides(&mut reader, ranked)?;
        }
        if has(UNKNOWN) {
            header.read_unknown(&mut reader, ranked)?;
        }
        if more & KINDS != 0 {
            header.read_kinds(&mut reader)?;
        }
        if reader.is_empty() { Ok(header) } else { Err(invalid("bytes follow the header")) }
    }
}

fn invalid(what: &'static str) -> RecordError {
    DecodeError::Invalid { what }.into()
}

impl SyncHeader {
    /// The state of the counter or set in this slot, if it was ever changed.
    pub fn kind_state(&self, slot: u16) -> Option<&KindState> {
        let found = self.kinds.binary_search_by_key(&slot, |kind| kind.slot);
        found.ok().map(|at| &self.kinds[at])
    }

    /// The stamp of the property in this slot of a table that has `table_slots` slots.
    ///
    /// The base stamp covers the slots of the table; beyond them nothing was ever written. Not for counters and sets, whose stamps
    /// follow from their states.
    pub fn stamp_of(&self, slot: usize, table_slots: usize) -> Stamp {
        if slot >= table_slots {
            return Stamp::NEVER;
        }
        let found = self.overrides.binary_search_by_key(&slot, |&(slot, _)| slot as usize);
        found.map_or(self.base, |at| self.overrides[at].1)
    }

    /// Appends the record that has this header and this table.
    ///
    /// # Panics
    ///
    /// If overrides, unknown properties or states do not ascend.
    pub fn write_record(&self, table: &[u8], out: &mut Vec<u8>) {
        assert!(self.overrides.is_sorted_by(|a, b| a.0 < b.0), "overrides ascend by slot");
        assert!(self.unknown.is_sorted_by(|a, b| a.uid < b.uid), "unknown properties ascend by uid");
        assert!(
            self.kinds.is_sorted_by(|a, b| a.slot < b.slot),
            "states of counters and sets ascend by slot"
        );
        out.push(SYNCED);
        // Most headers are shorter than 128 bytes: their length is one byte, written last.
        let at = out.len();
        out.push(0);
        self.write(out);
        let length = out.len() - at - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => out[at] = short,
            _ => {
                let mut prefix = Vec::new();
                put_varint(&mut prefix, length as u64);
                out.splice(at..=at, prefix);
            }
        }
        out.extend_from_slice(table);
    }

    fn write(&self, out: &mut Vec<u8>) {
        let ranked = self.is_ranked();
        let by_origin = self.gid.is_some_and(|gid| gid.origin == self.base.peer);
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let more = flag(ranked, RANKED) | flag(!self.kinds.is_empty(), KINDS);
        out.push(
            flag(self.gid.is_some(), FOREIGN)
                | flag(self.generation > 0, GENERATION)
                | flag(self.seq.is_some(), SEQ)
                | flag(by_origin, BASE_BY_ORIGIN)
                | flag(!self.overrides.is_empty(), OVERRIDES)
                | flag(!self.unknown.is_empty(), UNKNOWN)
                | flag(!self.exists, ABSENT)
                | flag(more != 0, MORE),
        );
        if more != 0 {
            out.push(more);
        }
        if let Some(gid) = self.gid {
            out.extend_from_slice(&gid.origin.0.to_be_bytes());
            put_varint(out, gid.counter);
        }
        if self.generation > 0 {
            put_varint(out, self.generation);
        }
        if let Some(seq) = self.seq {
            put_varint(out, seq.0);
        }
        out.extend_from_slice(&self.base.hlc.to_le_bytes());
        if !by_origin {
            out.extend_from_slice(&self.base.peer.0.to_le_bytes());
        }
        if ranked {
            put_rank(out, self.base.rank);
        }
        if !self.overrides.is_empty() {
            put_varint(out, self.overrides.len() as u64);
            for &(slot, stamp) in &self.overrides {
                out.extend_from_slice(&slot.to_le_bytes());
                put_stamp(out, stamp, ranked);
            }
        }
        if !self.unknown.is_empty() {
            put_varint(out, self.unknown.len() as u64);
            for register in &self.unknown {
                out.extend_from_slice(&register.uid.0.to_le_bytes());
                out.push(register.ty);
                put_stamp(out, register.stamp, ranked);
                // One more than the length, so that 0 says null.
                put_varint(out, register.cell.as_ref().map_or(0, |cell| cell.len() as u64 + 1));
                out.extend_from_slice(register.cell.as_deref().unwrap_or_default());
            }
        }
        if !self.kinds.is_empty() {
            put_varint(out, self.kinds.len() as u64);
            for KindState { slot, kind, state } in &self.kinds {
                out.extend_from_slice(&slot.to_le_bytes());
                out.push(*kind as u8);
                put_varint(out, state.len() as u64);
                out.extend_from_slice(state);
            }
        }
    }

    /// Whether a stamp has a rank, and so all are written with theirs.
    fn is_ranked(&self) -> bool {
        self.base.rank != 0
            || self.overrides.iter().any(|(_, stamp)| stamp.rank != 0)
            || self.unknown.iter().any(|register| register.stamp.rank != 0)
    }

    fn read_overrides(&mut self, reader: &mut Reader<'_>, ranked: bool) -> Result<(), RecordError> {
        let count = read_count(reader, "overrides", 2 + STAMP_BYTES)?;
        self.overrides.reserve_exact(count);
        for _ in 0..count {
            let slot = reader.u16()?;
            if self.overrides.last().is_some_and(|&(last, _)| last >= slot) {
                return Err(invalid("overrides do not ascend"));
            }
            self.overrides.push((slot, read_stamp(reader, ranked)?));
        }
        Ok(())
    }

    fn read_unknown(&mut self, reader: &mut Reader<'_>, ranked: bool) -> Result<(), RecordError> {
        let count = read_count(reader, "unknown properties", 8 + 1 + STAMP_BYTES + 1)?;
        for _ in 0..count {
            let uid = Uid(reader.u64()?);
            if self.unknown.last().is_some_and(|last| last.uid >= uid) {
                return Err(invalid("unknown properties do not ascend"));
            }
            let ty = reader.u8()?;
            let stamp = read_stamp(reader, ranked)?;
            let cell = match reader.varint()?.checked_sub(1) {
                Some(len) => {
                    let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
                    Some(reader.bytes(len)?.to_vec())
                }
                None => None,
            };
            self.unknown.push(UnknownRegister { uid, ty, stamp, cell });
        }
        Ok(())
    }
}

impl SyncHeader {
    fn read_kinds(&mut self, reader: &mut Reader<'_>) -> Result<(), RecordError> {
        let count = read_count(reader, "states of counters and sets", 2 + 1 + 1)?;
        for _ in 0..count {
            let slot = reader.u16()?;
            if self.kinds.last().is_some_and(|last| last.slot >= slot) {
                return Err(invalid("states of counters and sets do not ascend"));
            }
            let kind =
                Kind::of_type(reader.u8()?).ok_or_else(|| invalid("a state is of no kind that merges"))?;
            let state = reader.prefixed()?;
            kind.check_state(state)?;
            self.kinds.push(KindState { slot, kind, state: state.to_vec() });
        }
        Ok(())
    }
}

/// A count that the bytes which are left can hold.
///
/// There is no other limit: what others write into an object is kept, however many properties of newer schemas they have.
fn read_count(reader: &mut Reader<'_>, what: &'static str, bytes_each: usize) -> Result<usize, RecordError> {
    let count = reader.varint()?;
    let max = reader.len() / bytes_each;
    match usize::try_from(count) {
        Ok(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(DecodeError::TooLong { what, len: count, max: max as u64 }.into()),
    }
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp, ranked: bool) {
    out.extend_from_slice(&stamp.hlc.to_le_bytes());
    out.extend_from_slice(&stamp.peer.0.to_le_bytes());
    if ranked {
        put_rank(out, stamp.rank);
    }
}

fn read_stamp(reader: &mut Reader<'_>, ranked: bool) -> Result<Stamp, RecordError> {
    let stamp = Stamp::new(reader.u64()?, PeerId(reader.u64()?));
    Ok(stamp.ranked(if ranked { read_rank(reader)? } else { 0 }))
}
