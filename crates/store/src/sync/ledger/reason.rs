//! Why a server refuses a transaction for what is in it.

use reconvene_model::GlobalId;

/// Why a server refuses a transaction for what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The server's schema has no such entity.
    #[error("the server does not know this entity; upload the schema that has it")]
    UnknownEntity,
    /// The entity does not travel.
    #[error("{entity} is not a synced entity on the server")]
    NotSynced {
        /// The entity's name.
        entity: String,
    },
    /// A property has another type on the server.
    #[error("{entity}.{property} is {known} on the server, not {got}; a change of type needs a new uid")]
    TypeMismatch {
        /// The entity's name.
        entity: String,
        /// The property's name.
        property: String,
        /// The server's type.
        known: String,
        /// The type in the transaction.
        got: String,
    },
    /// A new object under the name of another peer.
    #[error("a peer can insert new {entity} objects only under its own id")]
    ForeignId {
        /// The entity's name.
        entity: String,
    },
    /// A generation that the object has not reached.
    #[error("{entity} {gid} is in generation {known}, not yet in {got}")]
    GenerationAhead {
        /// The entity's name.
        entity: String,
        /// The object.
        gid: GlobalId,
        /// The server's generation.
        known: u64,
        /// The op's generation.
        got: u64,
    },
    /// An update or remove of an object that the server does not have.
    #[error("{entity} {gid} is not on the server: this write depends on a refused change")]
    DependsOnRefused {
        /// The entity's name.
        entity: String,
        /// The object.
        gid: GlobalId,
    },
    /// Another object has the value already.
    #[error("another {entity} already has this {property}")]
    UniqueTaken {
        /// The entity's name.
        entity: String,
        /// The property's name.
        property: String,
    },
    /// More operations than a verdict could name.
    #[error("the transaction has more than {max} operations; split it into smaller ones")]
    TooManyOps {
        /// The limit.
        max: usize,
    },
    /// More values than a server judges at once.
    #[error("the transaction has more than {max} values, null ones included; split it into smaller ones")]
    TooManyValues {
        /// The limit.
        max: usize,
    },
    /// More properties than an object can have, unknown ones included.
    #[error("{entity} {gid} would have more than {max} properties")]
    TooManyProperties {
        /// The entity's name.
        entity: String,
        /// The object.
        gid: GlobalId,
        /// The limit.
        max: usize,
    },
    /// More in a set than an object can carry, removed elements included.
    #[error("the set {entity}.{property} of {gid} would take more than {max} bytes")]
    SetTooLarge {
        /// The entity's name.
        entity: String,
        /// The property's name; empty if the server does not know it.
        property: String,
        /// The object.
        gid: GlobalId,
        /// The limit.
        max: usize,
    },
    /// A stamp too far in the future.
    #[error("the device's clock is {ahead_ms} ms ahead of the server's; more than {max_ms} ms is refused")]
    ClockAhead {
        /// By how much.
        ahead_ms: u64,
        /// What is allowed.
        max_ms: u64,
    },
}

impl RefusalReason {
    /// The stable code of this reason, as documented in `docs/errors.md`.
    pub fn code(&self) -> u32 {
        match self {
            RefusalReason::UnknownEntity => 605,
            RefusalReason::NotSynced { .. } => 605,
            RefusalReason::TypeMismatch { .. } => 607,
            RefusalReason::ForeignId { .. } => 704,
            RefusalReason::GenerationAhead { .. } => 701,
            RefusalReason::DependsOnRefused { .. } => 700,
            RefusalReason::UniqueTaken { .. } => 703,
            RefusalReason::TooManyOps { .. }
            | RefusalReason::TooManyValues { .. }
            | RefusalReason::TooManyProperties { .. }
            | RefusalReason::SetTooLarge { .. } => 603,
            RefusalReason::ClockAhead { .. } => 604,
        }
    }
}
