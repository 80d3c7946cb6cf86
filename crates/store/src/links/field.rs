//! What the fields of a struct that link to other objects do when the struct is put and read.

use std::any::Any;

use reconvene_model::ObjectId;

use crate::entity::Entity;
use crate::error::Result;
use crate::store::StructRuntime;
use crate::txn::WriteTxn;

/// A field that links to other objects; called by generated code and the store.
#[doc(hidden)]
pub trait LinkField: Any {
    /// Puts what the field holds and is not stored yet, before the object itself.
    fn put_target(&mut self, _tx: &mut WriteTxn<'_>) -> Result<()> {
        Ok(())
    }

    /// Writes the links that lie beside the object, once it is put.
    fn put_links(&mut self, _tx: &mut WriteTxn<'_>, _of: &StructRuntime, _place: LinkPlace) -> Result<()> {
        Ok(())
    }

    /// What was changed and is not known to be committed, to be taken over by the same field of another struct.
    fn take_edits(&mut self) -> Option<Box<dyn Any>> {
        None
    }

    /// Takes over what [`LinkField::take_edits`] gave.
    fn set_edits(&mut self, _edits: Box<dyn Any>) {}

    /// The field itself.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// Whose links a field stands for.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkPlace {
    pub(super) entity: &'static str,
    pub(super) name: &'static str,
    pub(super) id: ObjectId,
}

/// A field that stands for any number of links; called by generated code.
#[doc(hidden)]
pub trait LinksField: LinkField {
    /// The entity linked with.
    type Far: Entity;

    /// The field of the object of this id.
    fn of(entity: &'static str, name: &'static str, id: ObjectId) -> Self;
}

/// Puts the new objects that fields hold.
pub(crate) fn put_targets<T: Entity>(object: &mut T, tx: &mut WriteTxn<'_>) -> Result<()> {
    if !T::HAS_LINKS {
        return Ok(());
    }
    object.link_fields(&mut |_, field| field.put_target(tx))
}

/// Writes the links that lie beside the object.
pub(crate) fn put_links<T: Entity>(object: &mut T, tx: &mut WriteTxn<'_>, of: &StructRuntime) -> Result<()> {
    if !T::HAS_LINKS {
        return Ok(());
    }
    let id = object.id();
    object.link_fields(&mut |name, field| field.put_links(tx, of, LinkPlace { entity: T::NAME, name, id }))
}

/// Lets a struct that was read anew know of the changes that only count once a transaction is committed.
pub(crate) fn carry_edits<T: Entity>(from: &mut T, to: &mut T) -> Result<()> {
    if !T::HAS_LINKS {
        return Ok(());
    }
    let mut edits = Vec::new();
    from.link_fields(&mut |name, field| {
        edits.extend(field.take_edits().map(|edits| (name, edits)));
        Ok(())
    })?;
    if edits.is_empty() {
        return Ok(());
    }
    to.link_fields(&mut |name, field| {
        if let Some(at) = edits.iter().position(|(of, _)| *of == name) {
            field.set_edits(edits.swap_remove(at).1);
        }
        Ok(())
    })
}
