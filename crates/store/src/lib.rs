//! An embedded object store: typed objects, ACID transactions, indexes, queries, observers and sync metadata.
//!
//! Start at [`Store::builder`] and [`Entity`]. The rooms:
//!
//! - [`Store`], its builder and its transactions; [`EntityBox`], where a program puts and gets its structs
//! - conditions and queries over them
//! - `seam`: LMDB and the in-memory form, as ordered tables of bytes; `keys`: what lies in which table
//! - `sync`: identity, outbox, confirmed state, and what a server's store adds; engines reach it by [`SyncHandle`]
//!
//! Nothing in here knows a network, a runtime for asynchronous code, or a clock but the given one.

#[doc(hidden)]
pub mod __private;
mod boxes;
mod building;
mod catalog;
mod check;
mod column;
mod condition;
mod conversion;
mod counter;
mod dates;
mod enroll;
mod entity;
mod error;
mod field;
mod in_order;
mod index;
mod index_changes;
mod keys;
mod kinds;
mod leave;
mod linked;
mod links;
mod live;
mod lock;
mod maintenance;
mod object_box;
mod objects;
mod observer;
mod open;
mod order;
mod os;
mod param;
mod primitives;
mod progress;
mod property;
mod property_value;
mod query;
mod registry;
mod seam;
mod store;
mod structs;
mod sync;
mod time;
mod tracked;
mod txn;
mod value_set;
mod within_flex;
mod write_queue;

pub use boxes::EntityBox;
pub use check::{FINDINGS_MAX, FileReport, Finding};
pub use column::Column;
pub use condition::Condition;
pub use conversion::Conversion;
pub use counter::Counter;
pub use entity::Entity;
pub use error::{Result, StoreError};
pub use field::{FieldMap, FieldMapError, FieldReader, FieldWriter, ReadError};
pub use linked::Backwards;
pub use links::{Backlinks, CASCADE_OBJECTS_MAX, LinkAccess, LinkName, Relation, ToMany, ToOne};
pub use live::{ChangeStream, Results, StreamEnd, TOLD_IDS_MAX, Told, Watch};
pub use maintenance::{Compacted, DirectoryHold};
pub use object_box::{Object, ObjectBox, ObjectQuery};
pub use observer::{Changes, EntityChanges, Subscription};
pub use open::StoreBuilder;
pub use order::Order;
pub use param::{Param, param};
pub use progress::{OpeningProgress, OpeningStep};
pub use property::{Comparable, Elements, Operand, Ordered, Property, Sortable, Steps, Text};
pub use property_value::{Date, DateNano, NeverNull, PropertyValue};
pub use query::{
    Explanation, InWrite, Number, ObjectPropertyQuery, PropertyQuery, Query, ReadAccess, WriteAccess,
};
pub use reconvene_expr::{Argument, CheckError, Expr, Literal, ParameterError, ParseError, Sort};
pub use reconvene_macros::{Entity, PropertyValue};
pub use reconvene_model::flex::{Flex, FlexMap};
pub use seam::{Durability, SeamError};
pub use store::Store;
pub use structs::Put;
pub use sync::{
    Applied, Break, CONFLICTS_BYTES_MAX, CONFLICTS_MAX, Chunk, ChunkStart, Claim, Conflict, ConflictLaw,
    Cursor, Decided, Decision, Delivery, EXPIRY_STEP_ROWS, Expired, Expiry, Fetched, Fork, Held, Incoming,
    Kinship, LOST_BY_SERVER, LOST_OBJECTS_FROM, LoginState, LostOp, Origin, OutboxListener, OutboxTx,
    PushedTx, Rebased, RefusalReason, Rejected, RejectedOp, Renewed, Role, Side, SyncHandle, TX_BYTES_MAX,
    TX_OPS_MAX, TX_VALUES_MAX, Uploads, VERDICTS_KEPT, Verdict, Version,
};
pub use time::{SystemTimeSource, TimeSource};
pub use tracked::Tracked;
pub use txn::{ReadTxn, WriteTxn};
pub use value_set::{SetElement, ValueSet};
pub use write_queue::{PendingWrite, QUEUED_WRITES_MAX};
