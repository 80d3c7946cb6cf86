//! Reads a block of ops and checks every byte of it.

use crate::change::block::{Tables, is_null, read_bitmap, read_count, read_counter, read_generation};
use crate::change::cell::{Form, read_cell, read_peer};
use crate::change::ops_writer::{
    GENERATION, KIND_INSERT, KIND_MASK, KIND_REMOVE, KIND_UPDATE, ORIGIN_MASK, ORIGIN_OF_TX, ORIGIN_PEER,
    ORIGIN_SHARED,
};
use crate::change::{Cell, GENERATION_MAX, OPS_MAX, Op, OpKind};
use crate::codec::{DecodeError, Reader};
use crate::ids::{GlobalId, PeerId, Uid};

/// Hands out the ops of a block, one after the other.
///
/// Cells borrow from the block. An op takes more memory than its bytes, up to a few hundred times more if most of its cells
/// are null; so read large blocks op by op with [`OpsReader::read_into`] and keep none. After an error nothing more comes.
#[derive(Clone, Debug)]
pub struct OpsReader<'a> {
    origin: PeerId,
    tables: Tables,
    reader: Reader<'a>,
    len: usize,
    left: usize,
    last_counter: u64,
}

impl<'a> OpsReader<'a> {
    /// Reads the tables of a block that belongs to a transaction of `origin`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the tables are not well-formed or the block announces more than the limits.
    pub fn new(origin: PeerId, block: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(block);
        let tables = Tables::read(&mut reader, &[origin, PeerId::SHARED])?;
        let len = read_count(&mut reader, "ops", OPS_MAX)?;
        let ops = OpsReader { origin, tables, reader, len, left: len, last_counter: 0 };
        ops.check_end()?;
        Ok(ops)
    }

    /// Reads a whole block and forgets it: whoever passes on or stores a block of a stranger does this first.
    ///
    /// Returns the number of ops.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if reading it would meet one.
    pub fn check(origin: PeerId, block: &'a [u8]) -> Result<usize, DecodeError> {
        let mut ops = OpsReader::new(origin, block)?;
        let mut op = Op::default();
        while ops.read_into(&mut op)? {}
        Ok(ops.len())
    }

    /// The number of ops that the block announces.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the block announces no op.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Replaces `op` by the next one and reuses its memory; false if there is none, and `op` is as it was.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the op is not well-formed, or if bytes follow the last one; `op` is then of no use.
    pub fn read_into(&mut self, op: &mut Op<'a>) -> Result<bool, DecodeError> {
        if self.left == 0 {
            return Ok(false);
        }
        let left = self.left - 1;
        self.left = 0;
        self.read_op(op)?;
        self.left = left;
        self.check_end()?;
        Ok(true)
    }

    fn read_op(&mut self, op: &mut Op<'a>) -> Result<(), DecodeError> {
        let reader = &mut self.reader;
        let tag = reader.u8()?;
        op.kind = read_kind(tag)?;
        let (entity, properties) = self.tables.read_shape_index(reader)?;
        op.entity = entity;
        let origin = match tag & ORIGIN_MASK {
            ORIGIN_OF_TX => self.origin,
            ORIGIN_SHARED => PeerId::SHARED,
            ORIGIN_PEER => read_peer(reader, self.tables.table_peers())?,
            _ => return Err(DecodeError::Invalid { what: "an op's tag has an origin of no kind" }),
        };
        op.gid = GlobalId::new(origin, read_counter(reader, self.last_counter)?);
        self.last_counter = op.gid.counter;
        op.generation = if tag & GENERATION == 0 { 0 } else { read_generation(reader)? };
        if op.generation > GENERATION_MAX {
            return Err(DecodeError::Invalid { what: "an op's generation leaves no room for a remove" });
        }
        if op.kind == OpKind::Remove {
            op.cells.clear();
            return Ok(());
        }
        let bitmap = read_bitmap(reader, properties.len())?;
        op.cells.resize(properties.len(), Cell { uid: Uid(0), ty: 0, bytes: None });
        for (at, (cell, &(uid, ty))) in op.cells.iter_mut().zip(properties).enumerate() {
            cell.uid = uid;
            cell.ty = ty;
            let old = cell.bytes.take();
            if !is_null(bitmap, at) {
                cell.bytes = Some(read_cell(ty, reader, self.tables.peers(), old, Form::Change)?);
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), DecodeError> {
        if self.left == 0 && !self.reader.is_empty() {
            return Err(DecodeError::Invalid { what: "bytes follow the last op" });
        }
        Ok(())
    }
}

impl<'a> Iterator for OpsReader<'a> {
    type Item = Result<Op<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut op = Op::default();
        match self.read_into(&mut op) {
            Ok(true) => Some(Ok(op)),
            Ok(false) => None,
            Err(error) => {
                self.left = 0;
                Some(Err(error))
            }
        }
    }
}

fn read_kind(tag: u8) -> Result<OpKind, DecodeError> {
    if tag & !(KIND_MASK | GENERATION | ORIGIN_MASK) != 0 {
        return Err(DecodeError::Invalid { what: "an op's tag has bits that mean nothing" });
    }
    match tag & KIND_MASK {
        KIND_INSERT => Ok(OpKind::Insert),
        KIND_UPDATE => Ok(OpKind::Update),
        KIND_REMOVE => Ok(OpKind::Remove),
        _ => Err(DecodeError::Invalid { what: "an op's tag has no kind" }),
    }
}
