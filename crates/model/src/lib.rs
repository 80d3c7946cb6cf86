//! The words of Reconvene: what an entity, a value, a record, a change and a stamp are, and how changes merge.
//!
//! Nothing in this crate touches a file, a thread, a socket or a clock; a browser could run all of it. The rooms:
//!
//! - [`ids`]: the identities of peers, objects, entities and transactions
//! - [`types`]: property types, flags and conflict policies with the numbers that model files use
//! - [`schema`] and [`evolve`]: what an application stores, and how that changes between versions
//! - [`model_file`]: the same as a JSON file that keeps ids and uids, for people and version control
//! - [`value`] and [`record`]: values in memory and as bytes in the store
//! - [`flex`]: values without a schema
//! - [`stamp`] and [`clock`]: which write is later
//! - [`change`]: transactions as they travel; [`state`]: objects with all their registers as they travel
//! - [`merge`]: the laws by which everyone agrees; [`ranking`]: what conflict policies put above time; [`kinds`]: counters and sets
//! - [`compare`]: sets of objects as two stores compare them
//! - [`identity`]: the key that makes a store a peer

pub mod change;
pub mod clock;
pub mod codec;
pub mod compare;
pub mod digest;
pub mod evolve;
pub mod flex;
pub mod identity;
pub mod ids;
pub mod kinds;
pub mod merge;
pub mod model_file;
#[doc(hidden)]
pub mod planted;
pub mod ranking;
pub mod record;
pub mod schema;
pub mod stamp;
pub mod state;
pub mod types;
pub mod value;

pub use flex::Flex;
pub use ids::{
    EntityId, Generation, GlobalId, IndexId, ObjectId, PeerId, PropertyId, Seq, TxHash, TxNumber, Uid,
};
pub use schema::{BacklinkDef, EntityDef, IndexDef, PropertyDef, RelationDef, Schema};
pub use stamp::Stamp;
pub use types::{ConflictPolicy, EntityFlags, MergeKind, PropertyFlags, PropertyType};
pub use value::{Value, ValueRef};
