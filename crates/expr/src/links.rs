//! How a predicate reaches other objects: the store fills this.

use std::ops::ControlFlow;

use reconvene_model::record::{RecordError, Table};
use reconvene_model::{EntityId, ObjectId, PropertyId, Uid};

/// Where a predicate finds the objects that links and relations lead to.
pub trait Links {
    /// What can go wrong on the way.
    type Error: From<RecordError>;

    /// The properties of an object; `None` if there is no such object.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn object(&self, entity: EntityId, id: ObjectId) -> Result<Option<Table<'_>>, Self::Error>;

    /// Hands over the ids of the objects that a relation leads to from the object of this id, each once, until told to stop.
    /// There may be ids of objects that do not exist among them.
    ///
    /// # Errors
    ///
    /// If the relation cannot be read, and those of `take`.
    fn linked(
        &self,
        relation: &Relation,
        id: ObjectId,
        take: &mut dyn FnMut(ObjectId) -> Result<ControlFlow<()>, Self::Error>,
    ) -> Result<(), Self::Error>;
}

/// A relation that leads to any number of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// The entity of the objects that it leads to.
    pub target: EntityId,
    /// How it leads there.
    pub way: Way,
}

/// How a [`Relation`] leads to its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the objects that link here.
    Backlink {
        /// The property of theirs that links here.
        property: PropertyId,
        /// Its slot in their records.
        slot: usize,
    },
    /// Along a standalone relation.
    Forward {
        /// The relation.
        relation: Uid,
    },
    /// Along a standalone relation, from its targets to its owners.
    Reverse {
        /// The relation.
        relation: Uid,
    },
}

/// No other objects: every link leads nowhere, every relation to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLinks;

impl Links for NoLinks {
    type Error = RecordError;

    fn object(&self, _: EntityId, _: ObjectId) -> Result<Option<Table<'_>>, RecordError> {
        Ok(None)
    }

    fn linked(
        &self,
        _: &Relation,
        _: ObjectId,
        _: &mut dyn FnMut(ObjectId) -> Result<ControlFlow<()>, RecordError>,
    ) -> Result<(), RecordError> {
        Ok(())
    }
}
