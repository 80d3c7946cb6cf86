//! Transactions as they travel: a head, and a block of ops that write registers of objects.
//!
//! `docs/changes.md` describes the bytes one by one. A transaction is written with an [`OpsWriter`] and [`encode_tx`], and
//! read with [`decode_tx`] and an [`OpsReader`], which checks everything a stranger could get wrong before it hands it out.
//!
//! ```
//! use reconvene_model::change::{Cell, Op, OpKind, OpsReader, OpsWriter, TxHead, decode_tx, encode_tx};
//! use reconvene_model::{GlobalId, PeerId, PropertyType, TxHash, Uid};
//!
//! let me = PeerId(7);
//! let mut op = Op::new(Uid(1), GlobalId::new(me, 12), 0, OpKind::Insert);
//! op.cells.push(Cell::new(Uid(2), PropertyType::String, Some(b"buy milk")));
//! let mut ops = OpsWriter::new(me);
//! ops.push(&op);
//! let head = TxHead { origin: me, number: 1, previous: TxHash::NONE, hlc: 5 << 16 };
//! let tx = encode_tx(&head, &ops.finish());
//!
//! let (read, block) = decode_tx(&tx)?;
//! assert_eq!(read, head);
//! let ops: Result<Vec<Op>, _> = OpsReader::new(read.origin, block)?.collect();
//! assert_eq!(ops?, [op]);
//! # Ok::<(), reconvene_model::codec::DecodeError>(())
//! ```

use std::borrow::Cow;

use crate::ids::{Generation, GlobalId, PeerId, TxHash, TxNumber, Uid};
use crate::stamp::Stamp;
use crate::types::PropertyType;

pub(crate) mod block;
pub(crate) mod cell;
mod ops_reader;
mod ops_writer;
mod table_cell;
mod tx;

pub use block::{BlockTooLarge, PEERS_MAX, SHAPES_MAX};
pub use cell::check_cell;
pub use ops_reader::OpsReader;
pub use ops_writer::{EncodedTx, OpCells, OpsWriter, ShapeIndex};
pub use table_cell::TableCells;
pub use tx::{TX_HEAD_BYTES_MAX, TX_VERSION, decode_tx, encode_tx, encode_tx_of};

/// The most ops of one transaction.
pub const OPS_MAX: usize = 1 << 24;

/// The largest generation an op may name: a remove raises it by one.
pub const GENERATION_MAX: Generation = Generation::MAX - 1;

/// What an op does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Makes the object exist, and writes registers.
    Insert,
    /// Writes registers.
    Update,
    /// Ends the object's generation and everything written in it.
    Remove,
}

/// The value that an op writes to one property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The property.
    pub uid: Uid,
    /// The type number of the property; it may be one that this release does not know.
    pub ty: u8,
    /// The canonical bytes of the value as [`check_cell`] describes them; `None` is null.
    pub bytes: Option<Cow<'a, [u8]>>,
}

impl<'a> Cell<'a> {
    /// A cell with borrowed bytes.
    pub fn new(uid: Uid, ty: PropertyType, bytes: Option<&'a [u8]>) -> Self {
        Cell { uid, ty: ty as u8, bytes: bytes.map(Cow::Borrowed) }
    }

    /// The same cell with bytes of its own.
    pub fn into_owned(self) -> Cell<'static> {
        Cell { uid: self.uid, ty: self.ty, bytes: self.bytes.map(|bytes| Cow::Owned(bytes.into_owned())) }
    }
}

/// One op of a transaction: what happened to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// The entity of the object.
    pub entity: Uid,
    /// The object.
    pub gid: GlobalId,
    /// The generation of the object that the op writes to, at most [`GENERATION_MAX`].
    pub generation: Generation,
    /// What the op does.
    pub kind: OpKind,
    /// What it writes, each property at most once; empty for a remove.
    pub cells: Vec<Cell<'a>>,
}

impl<'a> Op<'a> {
    /// An op that writes nothing yet.
    pub fn new(entity: Uid, gid: GlobalId, generation: Generation, kind: OpKind) -> Self {
        Op { entity, gid, generation, kind, cells: Vec::new() }
    }

    /// The same op with bytes of its own.
    pub fn into_owned(self) -> Op<'static> {
        Op {
            entity: self.entity,
            gid: self.gid,
            generation: self.generation,
            kind: self.kind,
            cells: self.cells.into_iter().map(Cell::into_owned).collect(),
        }
    }
}

/// An op to be filled by [`OpsReader::read_into`].
impl Default for Op<'_> {
    fn default() -> Self {
        Op::new(Uid(0), GlobalId::default(), 0, OpKind::Update)
    }
}

/// What a transaction says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxHead {
    /// Who committed it; not [`PeerId::SHARED`].
    pub origin: PeerId,
    /// Its number among the origin's transactions, from 1.
    pub number: TxNumber,
    /// The hash of the origin's transaction before it; [`TxHash::NONE`] for the first.
    pub previous: TxHash,
    /// The clock reading of all its writes.
    pub hlc: u64,
}

impl TxHead {
    /// The stamp of every register that the transaction writes.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(self.hlc, self.origin)
    }
}
