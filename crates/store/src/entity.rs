//! What makes a Rust struct an entity.

use reconvene_model::ObjectId;
use reconvene_model::evolve::EntityDescription;

use crate::error::Result;
use crate::field::{FieldReader, FieldWriter, ReadError};
use crate::links::LinkField;

/// A struct whose values are objects of a store; written by `#[derive(Entity)]`.
///
/// ```
/// use reconvene_store::{Date, Entity, ToOne};
///
/// #[derive(Entity, Debug, Default)]
/// #[entity(crate = "reconvene_store")]
/// struct Project {
///     id: u64,
///     #[unique]
///     name: String,
/// }
///
/// #[derive(Entity, Debug, Default)]
/// #[entity(sync, crate = "reconvene_store")]
/// struct Task {
///     id: u64,
///     title: String,
///     #[index]
///     done: bool,
///     due: Option<Date>,
///     project: ToOne<Project>,
///     #[transient]
///     selected: bool,
/// }
///
/// let open_and_urgent = Task::done().eq(false).and(Task::due().lt(Date(1_800_000_000_000)));
/// assert_eq!(open_and_urgent.to_string(), "done == false AND due < 1800000000000");
/// ```
///
/// The id is the field marked `#[id]`, else the field named `id`; it is a `u64`, 0 until the object was put.
///
/// | On the struct | |
/// | --- | --- |
/// | `#[entity(sync)]` | objects travel to other devices |
/// | `#[entity(shared_ids)]` | with `sync`: an object has the same id everywhere, chosen by the application |
/// | `#[entity(self_assigned_ids)]` | the application may choose ids; also `#[id(assignable)]` on the id |
/// | `#[entity(conflict = "property")]` | which of two concurrent writes wins: per `property` (default), per `object`, by `precedence` or by `arrival`; see the guide to conflicts |
/// | `#[entity(name = "Task", was = "Todo", uid = 7)]` | the stored name, the former name, a fixed uid |
/// | `#[entity(crate = "path")]` | where the library is found, `::reconvene` unless given |
///
/// | On a field | |
/// | --- | --- |
/// | `#[index]` | kept in an index, by value; `#[index(hash)]` and `#[index(hash64)]`: by hash, for `==` and `IN` only; `skip_null`, `skip_zero`: without what is null or zero |
/// | `#[unique]` | no two objects share a value; `#[unique(replace)]`: a put removes the object that has it |
/// | `#[expires]` | a date from which the object is hidden |
/// | `#[id_companion]` | a date that the store sets when the object is inserted without one |
/// | `#[id(monotonic)]` | marks the id as ever growing, which ids of this store are anyway |
/// | `#[sync_clock]` | an `i64` that shows the clock of the object's last write, written by the store; implies `object` |
/// | `#[sync_precedence]` | a whole number: a write with a higher one wins; implies `precedence` |
/// | `#[property(name = "..", was = "..", uid = 7)]` | the stored name, the former name, a fixed uid |
/// | `#[property(ty = "Date")]` | stored as this type of property instead of the one that follows from the field |
/// | `#[property(default = value)]` | what a null is read as, such as that of objects older than the property; `default` alone: `Default` of the type |
/// | `#[property(convert = "i64")]` | stored as this type, by `From` and `TryFrom` |
/// | `#[property(with = "..")]` | stored as this type that implements [`Conversion`](crate::Conversion) says |
/// | `#[property(handle = "..")]` | the name of the generated function, where a method of yours has the field's name |
/// | `#[transient]` | not stored; `Default` when read |
/// | `#[relation(owned)]` | on a [`ToMany`](crate::ToMany): who is removed takes its targets along; `name`, `was`, `uid` and `handle` as above |
/// | `#[backlink(to = "project")]` | on a [`Backlinks`](crate::Backlinks): of which link or relation of the other entity it is the other direction, also `owned`, `name`, `handle` |
///
/// For each stored field the derive adds a function of the field's name that returns its [`Property`](crate::Property),
/// the start of conditions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an entity",
    label = "not an entity",
    note = "mark the struct with `#[derive(Entity)]`"
)]
pub trait Entity: Sized + Send + Sync + 'static {
    /// The name of the entity in the schema and in expressions.
    const NAME: &'static str;

    /// What the struct wants stored, for the schema to be made or brought up to date.
    fn description() -> EntityDescription;

    /// The object's id; 0 for an object that was never put.
    fn id(&self) -> ObjectId;

    /// Sets the object's id; the store does so when it inserts the object.
    fn set_id(&mut self, id: ObjectId);

    /// Writes every stored property but the id, by ordinal: its place among the properties of
    /// [`Entity::description`], the id left out of the count.
    fn write(&self, fields: &mut FieldWriter<'_, '_>);

    /// Builds the object of this id from its stored properties.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged, or hold a value that a field's type does not have.
    fn read(id: ObjectId, fields: &FieldReader<'_>) -> Result<Self, ReadError>;

    /// Whether there are fields that link to other objects.
    #[doc(hidden)]
    const HAS_LINKS: bool = false;

    /// Visits the fields that link to other objects, with their names.
    #[doc(hidden)]
    fn link_fields(
        &mut self,
        _visit: &mut dyn FnMut(&'static str, &mut dyn LinkField) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }
}
