//! Writes a block of ops.

use std::ops::Deref;

use crate::change::block::{
    BlockTooLarge, ShapeProperty, TablesWriter, put_bitmap, put_counter, set_null, varint_len,
};
use crate::change::cell::put_cell;
use crate::change::{GENERATION_MAX, OPS_MAX, Op, OpKind};
use crate::codec::{put_varint, zigzag};
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

/// Bytes that are left free before the ops, so that a transaction's head and its tables mostly fit in front of them without
/// a copy of all ops: five entities of ten properties take as much.
const HEAD_ROOM_BYTES: usize = 576;

/// An entity and the properties that an op writes, in the table of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeIndex(usize);

/// Collects the ops of one transaction into a block.
///
/// Writing allocates nothing per op but room in one buffer: entities, properties and foreign peers go into tables that
/// all ops share.
#[derive(Debug)]
pub struct OpsWriter {
    origin: PeerId,
    tables: TablesWriter,
    /// The room for what comes before them, then the ops.
    ops: Vec<u8>,
    len: usize,
    cells: usize,
    last_counter: u64,
}

impl OpsWriter {
    /// A block without ops, of a transaction that `origin` commits.
    pub fn new(origin: PeerId) -> Self {
        OpsWriter {
            origin,
            tables: TablesWriter::new(&[origin, PeerId::SHARED]),
            ops: vec![0; HEAD_ROOM_BYTES],
            len: 0,
            cells: 0,
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
        let cells = if op.kind == OpKind::Remove { &[] } else { op.cells.as_slice() };
        let shape = cells.iter().map(|cell| (cell.uid, cell.ty));
        let mut written = self.open(op.entity, op.gid, op.generation, op.kind, shape);
        cells.iter().for_each(|cell| written.put(cell.ty, cell.bytes.as_deref()));
        written.finish();
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
        let mut op = self.begin(entity, gid, generation, kind, shape);
        if kind != OpKind::Remove {
            cells.for_each(|cell| op.push(cell));
        }
        op.finish();
    }

    /// Begins an op whose cells are appended one by one, where collecting them first would cost an allocation.
    ///
    /// The op counts once [`OpCells::finish`] was called; dropped before that, its bytes are taken back.
    ///
    /// # Panics
    ///
    /// If the generation is beyond [`GENERATION_MAX`].
    pub fn begin<'w>(
        &'w mut self,
        entity: Uid,
        gid: GlobalId,
        generation: Generation,
        kind: OpKind,
        shape: &'w [(Uid, u8)],
    ) -> OpCells<'w> {
        let shape = if kind == OpKind::Remove { &[] } else { shape };
        let mut op = self.open(entity, gid, generation, kind, shape.iter().copied());
        op.shape = shape;
        op
    }

    /// What ops write that write these properties of this entity, for [`OpsWriter::begin_shaped`].
    pub fn shape(&mut self, entity: Uid, properties: &[(Uid, u8)]) -> ShapeIndex {
        ShapeIndex(self.tables.shape(entity, properties.iter().copied()))
    }

    /// As [`OpsWriter::begin`], of a shape that was asked for before, of this writer and with the same properties.
    ///
    /// # Panics
    ///
    /// As [`OpsWriter::begin`].
    #[inline]
    pub fn begin_shaped<'w>(
        &'w mut self,
        index: ShapeIndex,
        gid: GlobalId,
        generation: Generation,
        kind: OpKind,
        shape: &'w [(Uid, u8)],
    ) -> OpCells<'w> {
        self.open_shaped(index, gid, generation, kind, shape, shape.len())
    }

    /// The number of ops.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no op.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of cells of all ops, null ones included.
    pub fn cells_len(&self) -> usize {
        self.cells
    }

    /// The number of bytes that [`OpsWriter::finish`] will return.
    pub fn bytes_len(&self) -> usize {
        self.tables.bytes_len() + varint_len(self.len) + self.ops.len() - HEAD_ROOM_BYTES
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
        self.finish_behind(Vec::new()).to_vec()
    }

    /// The block behind these bytes.
    pub(super) fn finish_behind(mut self, mut head: Vec<u8>) -> EncodedTx {
        self.tables.put(&mut head);
        put_varint(&mut head, self.len as u64);
        let start = match HEAD_ROOM_BYTES.checked_sub(head.len()) {
            Some(start) => {
                self.ops[start..HEAD_ROOM_BYTES].copy_from_slice(&head);
                start
            }
            None => {
                self.ops.splice(..HEAD_ROOM_BYTES, head);
                0
            }
        };
        EncodedTx { bytes: self.ops, start }
    }

    /// Begins an op; `shape` are its properties, of which a remove has none.
    fn open<'w>(
        &'w mut self,
        entity: Uid,
        gid: GlobalId,
        generation: Generation,
        kind: OpKind,
        shape: impl ExactSizeIterator<Item = ShapeProperty> + Clone,
    ) -> OpCells<'w> {
        let due = shape.len();
        let index = ShapeIndex(self.tables.shape(entity, shape));
        self.open_shaped(index, gid, generation, kind, &[], due)
    }

    #[inline]
    fn open_shaped<'w>(
        &'w mut self,
        ShapeIndex(index): ShapeIndex,
        gid: GlobalId,
        generation: Generation,
        kind: OpKind,
        shape: &'w [ShapeProperty],
        due: usize,
    ) -> OpCells<'w> {
        assert!(generation <= GENERATION_MAX, "generation {generation} leaves no room for a remove");
        let (start, last_counter) = (self.ops.len(), self.last_counter);
        self.put_tag(gid, generation, kind, index as u64);
        let bitmap = put_bitmap(&mut self.ops, due);
        OpCells { writer: self, shape, due, bitmap, written: 0, start, last_counter }
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
        let tag = kind | with_generation | origin;
        let counter = zigzag(gid.counter.wrapping_sub(self.last_counter).cast_signed());
        if tag == KIND_INSERT | ORIGIN_OF_TX && shape_index < 0x80 && counter < 0x80 {
            // New objects in a row, which bulk loads consist of: each number is one byte.
            self.ops.extend_from_slice(&[tag, shape_index as u8, counter as u8]);
            self.last_counter = gid.counter;
            return;
        }
        self.ops.push(tag);
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

/// The bytes of a transaction, which begin somewhere within their buffer.
#[derive(Clone, Debug)]
pub struct EncodedTx {
    bytes: Vec<u8>,
    start: usize,
}

impl Deref for EncodedTx {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The cells of an op that is being written; made by [`OpsWriter::begin`].
#[derive(Debug)]
pub struct OpCells<'w> {
    writer: &'w mut OpsWriter,
    /// The properties; empty if whoever appends cells names their types.
    shape: &'w [ShapeProperty],
    /// How many cells the op has once it is complete.
    due: usize,
    bitmap: usize,
    written: usize,
    /// Where the op begins, and the number before it, so that an unfinished op can be taken back.
    start: usize,
    last_counter: u64,
}

impl OpCells<'_> {
    /// Appends the next cell.
    ///
    /// # Panics
    ///
    /// If the op has all its cells, or a cell of a type with a fixed width has another one.
    #[inline]
    pub fn push(&mut self, cell: Option<&[u8]>) {
        self.put(self.shape[self.written].1, cell);
    }

    #[inline]
    fn put(&mut self, ty: u8, cell: Option<&[u8]>) {
        let OpsWriter { tables, ops, .. } = &mut *self.writer;
        match cell {
            Some(bytes) => put_cell(ty, bytes, |peer| tables.peer(peer) as u64, ops),
            None => set_null(ops, self.bitmap, self.written),
        }
        self.written += 1;
    }

    /// The properties whose cells are still to come.
    pub(super) fn left(&self) -> &[ShapeProperty] {
        &self.shape[self.written..]
    }

    /// The ops so far, where the bitmap of this one stands, and how many cells it has by now.
    pub(super) fn out(&mut self) -> (&mut Vec<u8>, usize, &mut usize) {
        (&mut self.writer.ops, self.bitmap, &mut self.written)
    }

    /// Counts the op.
    ///
    /// # Panics
    ///
    /// If cells are missing.
    pub fn finish(mut self) {
        assert_eq!(self.written, self.due, "an op has a cell, maybe null, for each property that it writes");
        self.writer.len += 1;
        self.writer.cells += self.written;
        self.start = self.writer.ops.len();
        self.last_counter = self.writer.last_counter;
    }
}

impl Drop for OpCells<'_> {
    fn drop(&mut self) {
        self.writer.ops.truncate(self.start);
        self.writer.last_counter = self.last_counter;
    }
}
