//! Objects with all their registers as they travel: what catch-up and compares send, and what merges with [`crate::merge`].
//!
//! `docs/changes.md` describes the bytes one by one.
//!
//! ```
//! use reconvene_model::state::{ObjectState, Register, StateEntry, StatesReader, StatesWriter};
//! use reconvene_model::{GlobalId, PeerId, Seq, Stamp, Uid};
//!
//! let stamp = Stamp::new(9, PeerId(7));
//! let note = Register { uid: Uid(2), ty: 9, stamp, cell: Some(b"hello".into()) };
//! let state = ObjectState { generation: 0, exists: true, registers: vec![note] };
//! let entry = StateEntry { entity: Uid(1), gid: GlobalId::new(PeerId(7), 1), seq: Seq(40), state };
//!
//! let mut states = StatesWriter::new();
//! states.push(&entry);
//! let block = states.finish();
//! let read: Result<Vec<StateEntry>, _> = StatesReader::new(&block)?.collect();
//! assert_eq!(read?, [entry]);
//! # Ok::<(), reconvene_model::codec::DecodeError>(())
//! ```

use std::borrow::Cow;

use crate::change::Cell;
use crate::ids::{Generation, GlobalId, Seq, Uid};
use crate::kinds::Kind;
use crate::stamp::Stamp;

mod states_reader;
mod states_writer;

pub use states_reader::StatesReader;
pub use states_writer::StatesWriter;

/// The most objects of one block of states.
pub const STATES_MAX: usize = 1 << 24;

/// One property of one object: its value, and who wrote it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register<'a> {
    /// The property.
    pub uid: Uid,
    /// The type number of the property; it may be one that this release does not know.
    pub ty: u8,
    /// The write that won; of a counter or set its newest change.
    pub stamp: Stamp,
    /// The canonical bytes of the value as [`check_cell`](crate::change::check_cell) describes them; `None` is null. Of a
    /// counter or set the state, never null: see [`Kind`].
    pub cell: Option<Cow<'a, [u8]>>,
}

impl<'a> Register<'a> {
    /// The register that a cell written at `stamp` makes of one that was never written; `None` if the cell changes nothing of a
    /// counter or set.
    #[inline]
    pub fn written(cell: &Cell<'a>, stamp: Stamp) -> Option<Self> {
        match Kind::of_type(cell.ty) {
            None => Some(Register { uid: cell.uid, ty: cell.ty, stamp, cell: cell.bytes.clone() }),
            Some(kind) => {
                let state = kind.apply(None, cell.bytes.as_deref()?, stamp)?;
                Some(Register::of_kind(cell.uid, kind, Cow::Owned(state)))
            }
        }
    }

    /// The register of a counter or set with this state.
    pub fn of_kind(uid: Uid, kind: Kind, state: Cow<'a, [u8]>) -> Self {
        Register { uid, ty: kind as u8, stamp: kind.newest(&state), cell: Some(state) }
    }

    /// What [`compare_writes`](crate::merge::compare_writes) compares.
    pub fn write(&self) -> (Stamp, Option<&[u8]>, u8) {
        (self.stamp, self.cell.as_deref(), self.ty)
    }

    /// What stands for it in a [fingerprint](crate::compare::Fingerprinter): its stamp, or those of a counter or set.
    pub fn stamps(&self) -> Vec<Stamp> {
        match Kind::of_type(self.ty).zip(self.cell.as_deref()) {
            Some((kind, state)) => kind.stamps(state),
            None => vec![self.stamp],
        }
    }

    /// The same register with bytes of its own.
    pub fn into_owned(self) -> Register<'static> {
        Register {
            uid: self.uid,
            ty: self.ty,
            stamp: self.stamp,
            cell: self.cell.map(|cell| Cow::Owned(cell.into_owned())),
        }
    }
}

/// All that is known of one object; the default is an object that nobody has heard of.
///
/// A state that does not exist is a tombstone if its generation is not 0, or holds registers of updates that came before
/// their insert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectState<'a> {
    /// How often the object was removed.
    pub generation: Generation,
    /// Whether an insert of this generation was merged.
    pub exists: bool,
    /// The properties written in this generation, ascending by uid, each once.
    pub registers: Vec<Register<'a>>,
}

impl<'a> ObjectState<'a> {
    /// The register of this property, if it was ever written.
    pub fn register(&self, uid: Uid) -> Option<&Register<'a>> {
        self.registers.binary_search_by_key(&uid, |register| register.uid).ok().map(|at| &self.registers[at])
    }

    /// The same state with bytes of its own.
    pub fn into_owned(self) -> ObjectState<'static> {
        ObjectState {
            generation: self.generation,
            exists: self.exists,
            registers: self.registers.into_iter().map(Register::into_owned).collect(),
        }
    }
}

/// One object of a block of states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateEntry<'a> {
    /// The entity of the object.
    pub entity: Uid,
    /// The object.
    pub gid: GlobalId,
    /// Where the object last changed in the server's history.
    pub seq: Seq,
    /// The object itself.
    pub state: ObjectState<'a>,
}

impl StateEntry<'_> {
    /// The same entry with bytes of its own.
    pub fn into_owned(self) -> StateEntry<'static> {
        StateEntry { entity: self.entity, gid: self.gid, seq: self.seq, state: self.state.into_owned() }
    }
}
