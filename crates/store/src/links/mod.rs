//! Links between objects: to-one, to-many by backlink, and standalone many-to-many relations.
//!
//! A to-one link is a property that holds an id. A backlink is the index of such a property. A standalone relation has rows of
//! its own, one for each direction. What is done along them in the same way is a [`Hop`].

mod access;
mod backlinks;
mod cascade;
mod dynamic;
mod field;
mod hop;
mod relation;
mod rows;
mod to_many;
mod to_one;
mod tree;

pub use self::access::LinkAccess;
pub use self::backlinks::Backlinks;
pub use self::cascade::CASCADE_OBJECTS_MAX;
pub use self::field::{LinkField, LinksField};
pub(crate) use self::field::{carry_edits, put_links, put_targets};
pub(crate) use self::hop::Hop;
pub use self::relation::{LinkName, Relation};
pub use self::to_many::ToMany;
pub use self::to_one::ToOne;
pub(crate) use self::to_one::{Eager, eager};
