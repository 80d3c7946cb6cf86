//! What can go wrong in a store, in words for the person who has to act on it.

use std::path::PathBuf;
use std::sync::Arc;

use reconvene_expr::{CheckError, ParameterError, ParseError};
use reconvene_model::change::BlockTooLarge;
use reconvene_model::model_file::ModelFileError;
use reconvene_model::record::{RecordError, ValueError};
use reconvene_model::schema::SchemaError;
use reconvene_model::{ObjectId, PeerId, PropertyType, Seq, TxNumber};

use crate::field::FieldMapError;
use crate::seam::SeamError;
use crate::sync::Role;

/// A result of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store refused or failed.
///
/// No variant leaves a half-applied transaction behind: a write transaction whose closure returns an error is undone whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The storage engine.
    #[error(transparent)]
    Engine(#[from] SeamError),
    /// Another process has the directory open for writing.
    #[error(
        "the store in {path:?} is open in another process{}; end that process, or open the store for reading only",
        pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, if it is known.
        pid: Option<u32>,
    },
    /// Another process has the directory open for reading, and what was asked for needs it closed.
    #[error("the store in {path:?} is being read by another process; end that process first")]
    ReadElsewhere {
        /// The directory.
        path: PathBuf,
    },
    /// A store in memory has no file to copy.
    #[error("the store lives in memory and has no file to copy; open it in a directory")]
    NotOnDisk,
    /// The directory holds the data of something else.
    #[error("the files in {path:?} belong to another program; choose another directory")]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A newer release wrote the directory.
    #[error(
        "the store was written by a newer release (format {found}, this one reads up to {known}); update this program"
    )]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this release reads.
        known: u32,
    },
    /// The store is open in this process with another schema or in another way.
    #[error(
        "the store in {path:?} is already open in this process and {what}; close it first, or open it the same way"
    )]
    OpenOtherwise {
        /// The directory.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The directory is of the other role.
    #[error(
        "the directory does not belong to a {wanted:?}: a store keeps the role that it was created with; choose another directory"
    )]
    WrongRole {
        /// The role that was asked for.
        wanted: Role,
    },
    /// The schema is wrong or cannot become what is asked for.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The model file is wrong.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// A struct does not fit the store's schema.
    #[error(transparent)]
    Struct(#[from] FieldMapError),
    /// The given model does not continue the stored one.
    #[error("the model does not continue the one in the directory: {what}")]
    OtherModel {
        /// What differs, and what to do.
        what: String,
    },
    /// No entity of this name.
    #[error("the store has no entity {name:?}; register it when opening the store{}", near.as_ref().map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default())]
    UnknownEntity {
        /// The name.
        name: String,
        /// The nearest name that exists.
        near: Option<String>,
    },
    /// No property of this name.
    #[error("{entity} has no property {name:?}{}", near.as_ref().map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default())]
    UnknownProperty {
        /// The entity.
        entity: String,
        /// The name.
        name: String,
        /// The name that was most likely meant.
        near: Option<String>,
    },
    /// Objects were to be ordered by a property whose values have no order.
    #[error("{entity}.{property} is of type {ty}, which has no order; order by another property")]
    NotOrdered {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
    },
    /// Values were to be added up that are no numbers.
    #[error(
        "{entity}.{property} is of type {ty}, whose values cannot be added up; choose a property with numbers"
    )]
    NotANumber {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
    },
    /// A sum does not fit its type.
    #[error(
        "the values of {entity}.{property} add up to {sum}, which does not fit into 64 bits; add up fewer of them at a time, \
         or ask for their mean"
    )]
    SumTooLarge {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The sum.
        sum: i128,
    },
    /// The id was given among the values of an object.
    #[error(
        "{entity}.{property} is the id of the object, not one of its values; set the object's id instead"
    )]
    IdAmongValues {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
    },
    /// A value does not fit its property.
    #[error("{entity}.{property}: {source}")]
    Value {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// Why.
        source: ValueError,
    },
    /// A value of a struct cannot be stored.
    #[error("{entity}.{property} of {} cannot be stored: {reason}", object(*id))]
    Unstorable {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The object; 0 if it was never put.
        id: ObjectId,
        /// Why.
        reason: String,
    },
    /// A stored value is none of those that the type of the struct's field has.
    #[error(
        "{entity} {id}: {property} cannot be read: {reason}; a newer version of the application may have written it: update \
         this one, or give the type a variant for all others (the object is as it was)"
    )]
    Unreadable {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The object.
        id: ObjectId,
        /// What was read, and why it does not do.
        reason: String,
    },
    /// A write transaction was begun inside another one on the same thread.
    #[error(
        "this thread is already inside a write transaction of the store; use that transaction instead of beginning another"
    )]
    NestedWrite,
    /// A thread was to wait, inside a write transaction, for a write that can only follow it.
    #[error(
        "this thread is inside a write transaction of the store, which the queued write has to wait for; wait for it after that"
    )]
    WaitInWrite,
    /// The queue of writes is full, and inside a write transaction nobody can wait for room in it.
    #[error(
        "{max} writes are queued and none of them can be committed before this thread ends its write transaction; write in \
         that transaction, or queue after it"
    )]
    WriteQueueFull {
        /// How many may be queued.
        max: usize,
    },
    /// The closure of a queued write panicked.
    #[error("the closure of a write panicked ({what}); nothing of that write was kept")]
    Panicked {
        /// What the panic said.
        what: String,
    },
    /// The commit that a queued write was part of failed.
    #[error("{0}; this write and all that were to be committed with it were not kept")]
    GroupNotCommitted(#[source] Arc<StoreError>),
    /// No object of this id.
    #[error(
        "{entity} {id} does not exist; it may have been removed meanwhile (to insert a new object, put it with id 0)"
    )]
    NotFound {
        /// The entity.
        entity: String,
        /// The id.
        id: ObjectId,
    },
    /// A link to an id that no object ever had.
    #[error(
        "{entity}.{property} links to {target} {id}, an id that no object has had yet; put the target first"
    )]
    LinkToUnassigned {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The entity linked to.
        target: String,
        /// The id.
        id: ObjectId,
    },
    /// A name is neither of a link nor of a relation or backlink.
    #[error("{entity}.{name} leads to no other objects; name a link, a relation or a backlink")]
    NotALink {
        /// The entity.
        entity: String,
        /// The name.
        name: String,
    },
    /// A synced entity has a standalone relation.
    #[error(
        "{entity}.{relation} is a standalone relation of a synced entity, and its links do not travel in this release; make \
         the entity local, or put an entity with two links in its place"
    )]
    RelationNotSynced {
        /// The entity.
        entity: String,
        /// The relation.
        relation: String,
    },
    /// Links lead in a circle where they should lead to a root.
    #[error("{entity} {id} is its own ancestor by {property}; correct one of the links of that circle")]
    Cycle {
        /// The entity.
        entity: String,
        /// The link that was followed.
        property: String,
        /// An object of the circle.
        id: ObjectId,
    },
    /// The removal of an object would take too many others with it.
    #[error(
        "removing {entity} {id} would remove more than {max} objects that it owns; remove parts of them first, in \
         transactions of their own"
    )]
    CascadeTooLarge {
        /// The entity.
        entity: String,
        /// The object that was to be removed.
        id: ObjectId,
        /// The limit.
        max: usize,
    },
    /// Another object has the value already.
    #[error(
        "{entity}.{property} is unique and {entity} {other} already has {value}, which {} cannot have as well; give it another \
         value, or change {entity} {other}", object(*id)
    )]
    UniqueViolation {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The object that was to be written; 0 for a new one.
        id: ObjectId,
        /// The value, cut where it is long.
        value: String,
        /// The object that has the value.
        other: ObjectId,
    },
    /// Something is to be added to what is no counter.
    #[error(
        "{entity}.{property} is no counter, to which one could add; put another value, or make it a Counter with a new uid"
    )]
    NotACounter {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
    },
    /// A set would take more than it may.
    #[error(
        "the set {entity}.{property} would take {bytes} bytes with all that was ever removed, at most {max} are allowed; give its \
         elements an entity of their own"
    )]
    SetTooLarge {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// How much it would take.
        bytes: usize,
        /// How much is allowed.
        max: usize,
    },
    /// A write has a lower precedence than the one that is stored, so it would lose to it.
    #[error(
        "{entity} {id} has the {property} {stored}, which a write with {} cannot change; put it with {stored} or more, or remove \
         the object and put it again", given.map_or_else(|| "none".to_owned(), |given| given.to_string())
    )]
    PrecedenceTooLow {
        /// The entity.
        entity: String,
        /// The object.
        id: ObjectId,
        /// The property that holds the precedence.
        property: String,
        /// The precedence of what is stored.
        stored: i128,
        /// The precedence of the write that was refused.
        given: Option<i128>,
    },
    /// A property cannot become unique, because objects share a value of it.
    #[error(
        "{entity}.{property} cannot become unique: {entity} {} have the same value{}; change all but one of them with the former \
         schema first, and open the store again", listed(ids), others_shared(*further)
    )]
    NotUnique {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
        /// The objects that share the lowest such value, ascending; a hundred at most.
        ids: Vec<ObjectId>,
        /// How many other values are shared as well.
        further: u64,
    },
    /// An object was put without an id where the application chooses ids.
    #[error(
        "{entity} has the same ids on every device, so the application chooses them; set the id before the put"
    )]
    IdNeeded {
        /// The entity.
        entity: String,
    },
    /// An entity used up all ids.
    #[error("{entity} has no ids left: one of its objects has the largest id that there is")]
    IdsExhausted {
        /// The entity.
        entity: String,
    },
    /// A condition does not fit the schema.
    #[error(transparent)]
    Condition(#[from] CheckError),
    /// A parameter of a condition has no value, or one that does not fit.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// A query that was to have one result at most has several.
    #[error(
        "several objects of {entity} meet the condition, at least {one} and {other}; narrow it, or ask for the first"
    )]
    SeveralResults {
        /// The entity.
        entity: String,
        /// The id of the first result.
        one: ObjectId,
        /// The id of the second.
        other: ObjectId,
    },
    /// The text of a condition does not parse.
    #[error(transparent)]
    ConditionText(#[from] ParseError),
    /// Bytes in the store contradict themselves.
    #[error(
        "the store is damaged ({place}: {what}); restore a backup, or let the store sync anew into an empty directory"
    )]
    Damaged {
        /// Where.
        place: &'static str,
        /// What was found.
        what: String,
    },
    /// What was to be stored is no proper record.
    #[error("the object cannot be stored: {0}")]
    BadRecord(#[source] RecordError),
    /// What a server sent cannot be read.
    #[error("what the server delivered cannot be read ({what}); nothing of it was applied")]
    BadDelivery {
        /// Why.
        what: String,
    },
    /// The operating system gave no random bytes.
    #[error("the system gives no random bytes ({reason}), which a new store needs for its identity")]
    Randomness {
        /// What it said.
        reason: String,
    },
    /// The directory was copied and the copies used more often than can be told apart.
    #[error(
        "this directory and its copies took each other's place {max} times, and no further name can be noted; give each device a \
         directory of its own, what this one has not sent is kept in it"
    )]
    TooManyNames {
        /// How many former names a store may have.
        max: usize,
    },
    /// A local write to a synced entity of a server's store.
    #[error("this store belongs to a server; synced objects are written on devices and reach it by sync")]
    ServerDirectory,
    /// An operation of servers on a device's store.
    #[error("this store belongs to a device; only a server's store can do this")]
    DeviceDirectory,
    /// A transaction is too large to travel.
    #[error(
        "the transaction has {bytes} bytes to sync, more than the {max} that one may have; split it into smaller ones"
    )]
    TransactionTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A transaction is too varied to travel.
    #[error(transparent)]
    TransactionTooVaried(#[from] BlockTooLarge),
    /// A transaction has too many operations to travel.
    #[error(
        "the transaction writes {operations} synced objects, more than the {max} that one may; split it into smaller ones"
    )]
    TooManyOperations {
        /// Their number.
        operations: usize,
        /// The limit.
        max: usize,
    },
    /// A transaction has too many values to travel.
    #[error(
        "the transaction writes {values} values of synced objects, null ones included, more than the {max} that one may; split \
         it into smaller ones"
    )]
    TooManyValues {
        /// Their number.
        values: usize,
        /// The limit.
        max: usize,
    },
    /// A server of another history.
    #[error(
        "the server's history ({offered:016x}) is not the one that this store has synced with ({known:016x}): the server was \
         set up anew or is another one; connect to the former server, or open an empty directory for this one"
    )]
    OtherHistory {
        /// The history known.
        known: u64,
        /// The history offered.
        offered: u64,
    },
    /// What only a compare brings came without one.
    #[error("the server compares although this store does not; the connection is to be made anew")]
    NotComparing,
    /// Positions came out of order.
    #[error("position {got} came where {at} was reached already; the connection is to be made anew")]
    Disorder {
        /// The position reached.
        at: Seq,
        /// The position that came.
        got: Seq,
    },
    /// A server named a transaction that this store does not have.
    #[error("the server names transaction {number}, which this store does not have in its outbox")]
    NotOurs {
        /// The number.
        number: TxNumber,
    },
    /// A server named the place of a transaction before its verdict.
    #[error(
        "the server names the place of transaction {number} before its verdict; the connection is to be made anew"
    )]
    VerdictMissing {
        /// The number.
        number: TxNumber,
    },
    /// A peer came with another key than before.
    #[error("{peer} is bound to another key")]
    KeyMismatch {
        /// The peer.
        peer: PeerId,
    },
    /// A peer that never logged in.
    #[error("{peer} never logged in here")]
    UnknownPeer {
        /// The peer.
        peer: PeerId,
    },
    /// What a closure returned for its own reasons; its transaction was undone.
    #[error(transparent)]
    Application(Box<dyn std::error::Error + Send + Sync>),
    /// A broken invariant: a mistake in this library.
    #[error("a mistake in the store itself: {what}; please report it")]
    Internal {
        /// The invariant.
        what: &'static str,
    },
}

fn object(id: ObjectId) -> String {
    if id == 0 { "a new object".to_owned() } else { format!("object {id}") }
}

/// Ids as one reads them out: "2, 4 and 5".
fn listed(ids: &[ObjectId]) -> String {
    let text: Vec<String> = ids.iter().map(ObjectId::to_string).collect();
    match text.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => text.concat(),
    }
}

fn others_shared(values: u64) -> String {
    match values {
        0 => String::new(),
        1 => ", and one other value is shared too".to_owned(),
        values => format!(", and {values} other values are shared too"),
    }
}

impl StoreError {
    /// Wraps an error of the application, to leave a write transaction with it.
    ///
    /// ```
    /// # use reconvene_store::{Store, StoreError};
    /// let store = Store::builder("memory:").open()?;
    /// let refused = store.write(|_tx| Err::<(), _>(StoreError::application("the till is closed")));
    /// assert_eq!(refused.unwrap_err().to_string(), "the till is closed");
    /// # Ok::<(), StoreError>(())
    /// ```
    pub fn application(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        StoreError::Application(error.into())
    }

    #[cold]
    pub(crate) fn internal(what: &'static str) -> Self {
        StoreError::Internal { what }
    }

    #[cold]
    pub(crate) fn damaged(place: &'static str, what: impl std::fmt::Display) -> Self {
        StoreError::Damaged { place, what: what.to_string() }
    }

    #[cold]
    pub(crate) fn bad_record(error: RecordError) -> Self {
        StoreError::BadRecord(error)
    }

    #[cold]
    pub(crate) fn bad_delivery(error: impl std::fmt::Display) -> Self {
        StoreError::BadDelivery { what: error.to_string() }
    }

    #[cold]
    pub(crate) fn not_found(entity: &str, id: ObjectId) -> Self {
        StoreError::NotFound { entity: entity.to_owned(), id }
    }
}
