//! Writes a block of ops.

use crate::change::block::{
    BlockTooLarge, ShapeProperty, TablesWriter, put_bitmap, put_counter, set_null, varint_len,
};
use crate::change::cell::put_cell;
use crate::change::{GENERATION_MAX, OPS_MAX, Op, OpKind};
use crate::codec::put_varint;
use crate::ids::{Generation, GlobalId, PeerId, Uid};

/// Bits 0 and 1 of an op's tag: what it does.
pub(super) const KIND_INSERT: u8 = 0;
pub(super) const KIND_UPDATE: u8 = 1;
pub(super) const KIND_REMOVE: u8 = 2;
pub(super) const KIND_MASK: u8 = 0b11;
/// Bit 2 of an op's tag: the generation is not 0 and follows.
pub(super) const GENERATION: u8 = 0b100;
/// Bits 3 and 4 of an op's tag: the origin of the object.
pub(super) const ORIGIN_OF_TX: u8 = 0;
pub(super) const ORIGIN_SHARED: u8 = 0b0_1000;
pub(super) const ORIGIN_PEER: u8 = 0b1_0000;
pub(super) const ORIGIN_MASK: u8 = 0b1_1000;

/// Collects the ops of one transaction into a block.
///
/// Writing allocates nothing per op but room in one buffer: entities, properties and foreign peers go into tables that
/// all ops share.
#[derive(Debug)]
pub struct OpsWriter {
    origin: PeerId,
    tables: TablesWriter,
    ops: Vec<u8>,
    len: usize,
    last_counter: u64,
}

impl OpsWriter {
    /// A block without ops, of a transaction that `origin` commits.
    pub fn new(origin: PeerId) -> Self {
        OpsWriter {
            origin,
            tables: TablesWriter::new(&[origin, PeerId::SHARED]),
            ops: Vec::new(),
            len: 0,
            last_counter: 0,
        }
    }

    /// Appends an op; the cells of a remove are left out.
    ///
    /// # Panics
    ///
    /// If a cell of a type with a fixed width has another one, if there are more cells than an entity may have properties,
    /// or if the generation is beyond [`GENERATION_MAX`].
    pub fn push(&mut self, op: &Op<'_>) {
        let cells = op.cells.iter();
        let shape = cells.clone().map(|cell| (cell.uid, cell.ty));
        self.put(op.entity, op.gid, op.generation, op.kind, shape, cells.map(|cell| cell.bytes.as_deref()));
    }

    /// Appends an op from its parts: the properties that it writes, and as many cells.
    ///
    /// # Panics
    ///
    /// As [`OpsWriter::push`], and if the number of cells is not that of the properties.
    pub fn push_cells<'c>(
        &mut self,
        entity: Uid,
        gid: GlobalId,
        generation: Generation,
        kind: OpKind,
        shape: &[(Uid, u8)],
        cells: impl Iterator<Item = Option<&'c [u8]>>,
    ) {
        self.put(entity, gid, generation, kind, shape.iter().copied(), cells);
    }

    /// The number of ops.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no op.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bytes that [`OpsWriter::finish`] will return.
    pub fn bytes_len(&self) -> usize {
        self.tables.bytes_len() + varint_len(self.len) + self.ops.len()
    }

    /// Checks that readers will accept the block; to be called before a transaction is committed.
    ///
    /// # Errors
    ///
    /// [`BlockTooLarge`] if it has more ops, shapes or peers than [`OPS_MAX`], [`SHAPES_MAX`](crate::change::SHAPES_MAX)
    /// or [`PEERS_MAX`](crate::change::PEERS_MAX).
    pub fn check_limits(&self) -> Result<(), BlockTooLarge> {
        BlockTooLarge::check("writes", self.len, OPS_MAX)?;
        self.tables.check_limits()
    }

    /// The block.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes_len());
        self.tables.put(&mut out);
        put_varint(&mut out, self.len as u64);
        out.extend_from_slice(&self.ops);
        out
    }

    fn put<'c>(
        &mut self,
        entity: Uid,
        gid: GlobalId,
        generation: Generation,
        kind: OpKind,
        shape: impl ExactSizeIterator<Item = ShapeProperty> + Clone,
        cells: impl Iterator<Item = Option<&'c [u8]>>,
    ) {
        assert!(generation <= GENERATION_MAX, "generation {generation} leaves no room for a remove");
        let cell_count = if kind == OpKind::Remove { 0 } else { shape.len() };
        let shape_index = self.tables.shape(entity, shape.clone().take(cell_count)) as u64;
        self.put_tag(gid, generation, kind, shape_index);
        if cell_count > 0 {
            let bitmap = put_bitmap(&mut self.ops, cell_count);
            let mut written = 0;
            for ((_, ty), bytes) in shape.zip(cells) {
                match bytes {
                    Some(bytes) => put_cell(ty, bytes, |peer| self.tables.peer(peer) as u64, &mut self.ops),
                    None => set_null(&mut self.ops, bitmap, written),
                }
                written += 1;
            }
            assert_eq!(written, cell_count, "an op has a cell, maybe null, for each property that it writes");
        }
        self.len += 1;
    }

    fn put_tag(&mut self, gid: GlobalId, generation: Generation, kind: OpKind, shape_index: u64) {
        let kind = match kind {
            OpKind::Insert => KIND_INSERT,
            OpKind::Update => KIND_UPDATE,
            OpKind::Remove => KIND_REMOVE,
        };
        let origin = match gid.origin {
            PeerId::SHARED => ORIGIN_SHARED,
            peer if peer == self.origin => ORIGIN_OF_TX,
            _ => ORIGIN_PEER,
        };
        let with_generation = if generation == 0 { 0 } else { GENERATION };
        self.ops.push(kind | with_generation | origin);
        put_varint(&mut self.ops, shape_index);
        if origin == ORIGIN_PEER {
            let index = self.tables.peer(gid.origin) - self.tables.known_peers();
            put_varint(&mut self.ops, index as u64);
        }
        put_counter(&mut self.ops, gid.counter, self.last_counter);
        self.last_counter = gid.counter;
        if generation != 0 {
            put_varint(&mut self.ops, generation);
        }
    }
}
