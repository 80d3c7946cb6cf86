//! Writes a block of states.

use crate::change::BlockTooLarge;
use crate::change::block::{TablesWriter, put_bitmap, put_counter, set_null, varint_len};
use crate::change::cell::put_cell;
use crate::codec::put_varint;
use crate::ids::{GlobalId, PeerId};
use crate::kinds::Kind;
use crate::stamp::{Stamp, put_rank};
use crate::state::{ObjectState, Register, STATES_MAX, StateEntry};

/// Bit 0 of an entry's tag: the object exists.
pub(super) const EXISTS: u8 = 0b1;
/// Bit 1 of an entry's tag: some registers have another stamp than the base.
pub(super) const OVERRIDES: u8 = 0b10;
/// Bit 2 of an entry's tag: the generation is not 0 and follows.
pub(super) const GENERATION: u8 = 0b100;
/// Bits 3 and 4 of an entry's tag: the origin of the object.
pub(super) const ORIGIN_AS_BEFORE: u8 = 0;
pub(super) const ORIGIN_SHARED: u8 = 0b0_1000;
pub(super) const ORIGIN_PEER: u8 = 0b1_0000;
pub(super) const ORIGIN_MASK: u8 = 0b1_1000;
/// Bit 5 of an entry's tag: every stamp is followed by its rank.
pub(super) const RANKED: u8 = 0b10_0000;

/// Collects objects into a block.
///
/// Writing allocates nothing per object but room in one buffer. Ascending Seqs and neighbouring objects of one origin make
/// it small; any other order is as correct.
#[derive(Debug)]
pub struct StatesWriter {
    tables: TablesWriter,
    entries: Vec<u8>,
    len: usize,
    last_seq: u64,
    last_gid: Option<GlobalId>,
}

impl Default for StatesWriter {
    fn default() -> Self {
        StatesWriter::new()
    }
}

impl StatesWriter {
    /// A block without objects.
    pub fn new() -> Self {
        StatesWriter {
            tables: TablesWriter::new(&[PeerId::SHARED]),
            entries: Vec::new(),
            len: 0,
            last_seq: 0,
            last_gid: None,
        }
    }

    /// Appends an object; registers that were never written are left out.
    ///
    /// # Panics
    ///
    /// If the registers do not ascend by uid, if there are more than an entity may have properties, or if a cell of a type
    /// with a fixed width has another one.
    pub fn push(&mut self, entry: &StateEntry<'_>) {
        let state = &entry.state;
        assert!(
            state.registers.windows(2).all(|pair| pair[0].uid < pair[1].uid),
            "the registers of a state ascend by uid: every merge keeps them so"
        );
        if state.registers.iter().any(|register| register.stamp.is_never()) {
            let written: Vec<Register<'_>> =
                state.registers.iter().filter(|register| !register.stamp.is_never()).cloned().collect();
            self.put(entry, &ObjectState { registers: written, ..*state });
        } else {
            self.put(entry, state);
        }
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bytes that [`StatesWriter::finish`] will return; tells when a chunk is full.
    pub fn bytes_len(&self) -> usize {
        self.tables.bytes_len() + varint_len(self.len) + self.entries.len()
    }

    /// Checks that readers will accept the block.
    ///
    /// # Errors
    ///
    /// [`BlockTooLarge`] if it has more objects, shapes or peers than [`STATES_MAX`],
    /// [`SHAPES_MAX`](crate::change::SHAPES_MAX) or [`PEERS_MAX`](crate::change::PEERS_MAX).
    pub fn check_limits(&self) -> Result<(), BlockTooLarge> {
        BlockTooLarge::check("objects", self.len, STATES_MAX)?;
        self.tables.check_limits()
    }

    /// The block.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes_len());
        self.tables.put(&mut out);
        put_varint(&mut out, self.len as u64);
        out.extend_from_slice(&self.entries);
        out
    }

    fn put(&mut self, entry: &StateEntry<'_>, state: &ObjectState<'_>) {
        let registers = &state.registers;
        let base = base_stamp(registers);
        let overrides = registers.iter().filter(|register| is_override(register, base)).count();
        let ranked = registers.iter().any(|register| register.stamp.rank != 0);
        self.put_tag(entry, state, overrides > 0, ranked);
        if !registers.is_empty() {
            self.put_stamp(base, ranked);
            if overrides > 0 {
                put_varint(&mut self.entries, overrides as u64);
                self.put_overrides(registers, base, ranked);
            }
            self.put_cells(registers);
        }
        self.len += 1;
    }

    fn put_tag(
        &mut self,
        entry: &StateEntry<'_>,
        state: &ObjectState<'_>,
        has_overrides: bool,
        ranked: bool,
    ) {
        let origin = match entry.gid.origin {
            origin if self.last_gid.is_some_and(|last| last.origin == origin) => ORIGIN_AS_BEFORE,
            PeerId::SHARED => ORIGIN_SHARED,
            _ => ORIGIN_PEER,
        };
        let mut tag = origin;
        for (holds, bit) in [
            (state.exists, EXISTS),
            (has_overrides, OVERRIDES),
            (state.generation != 0, GENERATION),
            (ranked, RANKED),
        ] {
            tag |= if holds { bit } else { 0 };
        }
        self.entries.push(tag);
        let shape = state.registers.iter().map(|register| (register.uid, register.ty));
        put_varint(&mut self.entries, self.tables.shape(entry.entity, shape) as u64);
        if origin == ORIGIN_PEER {
            let index = self.tables.peer(entry.gid.origin) - self.tables.known_peers();
            put_varint(&mut self.entries, index as u64);
        }
        put_varint(&mut self.entries, entry.seq.0.wrapping_sub(self.last_seq));
        let last_counter = self.last_gid.map_or(0, |last| last.counter);
        put_counter(&mut self.entries, entry.gid.counter, last_counter);
        if state.generation != 0 {
            put_varint(&mut self.entries, state.generation);
        }
        self.last_seq = entry.seq.0;
        self.last_gid = Some(entry.gid);
    }

    fn put_overrides(&mut self, registers: &[Register<'_>], base: Stamp, ranked: bool) {
        for (at, register) in registers.iter().enumerate().filter(|(_, register)| is_override(register, base))
        {
            put_varint(&mut self.entries, at as u64);
            self.put_stamp(register.stamp, ranked);
        }
    }

    fn put_stamp(&mut self, stamp: Stamp, ranked: bool) {
        self.entries.extend_from_slice(&stamp.hlc.to_le_bytes());
        put_varint(&mut self.entries, self.tables.peer(stamp.peer) as u64);
        if ranked {
            put_rank(&mut self.entries, stamp.rank);
        }
    }

    fn put_cells(&mut self, registers: &[Register<'_>]) {
        let bitmap = put_bitmap(&mut self.entries, registers.len());
        for (at, register) in registers.iter().enumerate() {
            match &register.cell {
                Some(cell) => {
                    put_cell(register.ty, cell, |peer| self.tables.peer(peer) as u64, &mut self.entries)
                }
                None => set_null(&mut self.entries, bitmap, at),
            }
        }
    }
}

/// Whether a register needs its stamp beside it; the states of counters and sets say it themselves.
fn is_override(register: &Register<'_>, base: Stamp) -> bool {
    register.stamp != base && Kind::of_type(register.ty).is_none()
}

/// The stamp that most registers share, if more than half of them share one; else one of them.
///
/// A vote in one pass: each register speaks for its stamp or against the one that leads.
fn base_stamp(registers: &[Register<'_>]) -> Stamp {
    let mut leader = Stamp::NEVER;
    let mut lead = 0_usize;
    let plain = registers.iter().filter(|register| Kind::of_type(register.ty).is_none());
    for register in plain.clone().chain(registers.first().filter(|_| plain.clone().next().is_none())) {
        if lead == 0 {
            leader = register.stamp;
        }
        lead = if register.stamp == leader { lead + 1 } else { lead - 1 };
    }
    leader
}
