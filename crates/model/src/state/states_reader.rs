//! Reads a block of states and checks every byte of it.

use crate::change::GENERATION_MAX;
use crate::change::block::{Tables, is_null, read_bitmap, read_count, read_counter, read_generation};
use crate::change::cell::{Form, read_cell, read_peer};
use crate::codec::{DecodeError, Reader};
use crate::ids::{GlobalId, PeerId, Seq, Uid};
use crate::kinds::Kind;
use crate::stamp::{Stamp, read_rank};
use crate::state::states_writer::{
    EXISTS, GENERATION, ORIGIN_AS_BEFORE, ORIGIN_MASK, ORIGIN_PEER, ORIGIN_SHARED, OVERRIDES, RANKED,
};
use crate::state::{Register, STATES_MAX, StateEntry};

/// Hands out the objects of a block, one after the other.
///
/// Cells borrow from the block. An object takes more memory than its bytes, up to a few hundred times more if most of its
/// cells are null; so read large blocks entry by entry with [`StatesReader::read_into`] and keep none. After an error
/// nothing more comes.
#[derive(Clone, Debug)]
pub struct StatesReader<'a> {
    tables: Tables,
    reader: Reader<'a>,
    len: usize,
    left: usize,
    last_seq: u64,
    last_gid: Option<GlobalId>,
}

impl<'a> StatesReader<'a> {
    /// Reads the tables of a block.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the tables are not well-formed or the block announces more than the limits.
    pub fn new(block: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(block);
        let tables = Tables::read(&mut reader, &[PeerId::SHARED])?;
        if !tables.are_shapes_ascending() {
            return Err(DecodeError::Invalid { what: "a shape of states does not ascend by uid" });
        }
        let len = read_count(&mut reader, "states", STATES_MAX)?;
        let states = StatesReader { tables, reader, len, left: len, last_seq: 0, last_gid: None };
        states.check_end()?;
        Ok(states)
    }

    /// Reads a whole block and forgets it, and returns the number of objects.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if reading it would meet one.
    pub fn check(block: &'a [u8]) -> Result<usize, DecodeError> {
        let mut states = StatesReader::new(block)?;
        let mut entry = StateEntry::default();
        while states.read_into(&mut entry)? {}
        Ok(states.len())
    }

    /// The number of objects that the block announces.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the block announces no object.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Replaces `entry` by the next one and reuses its memory; false if there is none, and `entry` is as it was.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the entry is not well-formed, or if bytes follow the last one; `entry` is then of no use.
    pub fn read_into(&mut self, entry: &mut StateEntry<'a>) -> Result<bool, DecodeError> {
        if self.left == 0 {
            return Ok(false);
        }
        let left = self.left - 1;
        self.left = 0;
        self.read_entry(entry)?;
        self.left = left;
        self.check_end()?;
        Ok(true)
    }

    fn read_entry(&mut self, entry: &mut StateEntry<'a>) -> Result<(), DecodeError> {
        let reader = &mut self.reader;
        let tag = reader.u8()?;
        if tag & !(EXISTS | OVERRIDES | GENERATION | ORIGIN_MASK | RANKED) != 0 {
            return Err(DecodeError::Invalid { what: "a state's tag has bits that mean nothing" });
        }
        let (entity, properties) = self.tables.read_shape_index(reader)?;
        let origin = match (tag & ORIGIN_MASK, self.last_gid) {
            (ORIGIN_AS_BEFORE, Some(last)) => last.origin,
            (ORIGIN_SHARED, _) => PeerId::SHARED,
            (ORIGIN_PEER, _) => read_peer(reader, self.tables.table_peers())?,
            _ => return Err(DecodeError::Invalid { what: "a state's tag has an origin of no kind" }),
        };
        self.last_seq = self.last_seq.wrapping_add(reader.varint()?);
        let last_counter = self.last_gid.map_or(0, |last| last.counter);
        let gid = GlobalId::new(origin, read_counter(reader, last_counter)?);
        self.last_gid = Some(gid);
        entry.entity = entity;
        entry.gid = gid;
        entry.seq = Seq(self.last_seq);
        let state = &mut entry.state;
        state.exists = tag & EXISTS != 0;
        state.generation = if tag & GENERATION == 0 { 0 } else { read_generation(reader)? };
        if state.exists && state.generation > GENERATION_MAX {
            return Err(DecodeError::Invalid { what: "an object's generation leaves no room for a remove" });
        }
        state
            .registers
            .resize(properties.len(), Register { uid: Uid(0), ty: 0, stamp: Stamp::NEVER, cell: None });
        if properties.is_empty() {
            return if tag & (OVERRIDES | RANKED) == 0 {
                Ok(())
            } else {
                Err(DecodeError::Invalid { what: "a state without registers has overrides or ranks" })
            };
        }
        let ranked = tag & RANKED != 0;
        let base = read_stamp(reader, self.tables.peers(), ranked)?;
        for (register, &(uid, ty)) in state.registers.iter_mut().zip(properties) {
            (register.uid, register.ty, register.stamp) = (uid, ty, base);
        }
        if tag & OVERRIDES != 0 {
            read_overrides(reader, self.tables.peers(), ranked, &mut state.registers)?;
        }
        let bitmap = read_bitmap(reader, properties.len())?;
        for (at, register) in state.registers.iter_mut().enumerate() {
            let old = register.cell.take();
            if !is_null(bitmap, at) {
                register.cell = Some(read_cell(register.ty, reader, self.tables.peers(), old, Form::State)?);
            }
            if let Some(kind) = Kind::of_type(register.ty) {
                let Some(state) = &register.cell else {
                    return Err(DecodeError::Invalid { what: "a counter or set has no state" });
                };
                register.stamp = kind.newest(state);
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), DecodeError> {
        if self.left == 0 && !self.reader.is_empty() {
            return Err(DecodeError::Invalid { what: "bytes follow the last state" });
        }
        Ok(())
    }
}

impl<'a> Iterator for StatesReader<'a> {
    type Item = Result<StateEntry<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entry = StateEntry::default();
        match self.read_into(&mut entry) {
            Ok(true) => Some(Ok(entry)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

fn read_overrides(
    reader: &mut Reader<'_>,
    peers: &[PeerId],
    ranked: bool,
    registers: &mut [Register<'_>],
) -> Result<(), DecodeError> {
    let mut next = 0;
    for _ in 0..read_count(reader, "overrides of a state", registers.len())? {
        let at = read_count(reader, "the position of an override", registers.len() - 1)?;
        if at < next {
            return Err(DecodeError::Invalid { what: "the overrides of a state do not ascend" });
        }
        if Kind::of_type(registers[at].ty).is_some() {
            return Err(DecodeError::Invalid { what: "a counter or set has a stamp beside its state" });
        }
        registers[at].stamp = read_stamp(reader, peers, ranked)?;
        next = at + 1;
    }
    Ok(())
}

fn read_stamp(reader: &mut Reader<'_>, peers: &[PeerId], ranked: bool) -> Result<Stamp, DecodeError> {
    let hlc = reader.u64()?;
    let stamp = Stamp::new(hlc, read_peer(reader, peers)?);
    if stamp.is_never() {
        return Err(DecodeError::Invalid { what: "a state has a register that was never written" });
    }
    Ok(stamp.ranked(if ranked { read_rank(reader)? } else { 0 }))
}
