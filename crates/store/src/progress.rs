//! How far the work is that an opening has to do before, or after, it is done.

use std::fmt;

/// What an opening is doing after the schema of the directory has changed; see
/// [`StoreBuilder::on_progress`](crate::StoreBuilder::on_progress).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningProgress {
    /// What is being done.
    pub step: OpeningStep,
    /// How many objects are done. Objects of other entities, or that are removed meanwhile, may make it end below the total.
    pub done: u64,
    /// How many there were when it began.
    pub total: u64,
}

/// A piece of work that a change of the schema leaves to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpeningStep {
    /// The objects of an entity that became local lose what sync knew of them.
    Leave {
        /// The entity.
        entity: String,
    },
    /// The objects of an entity that became synced enter the outbox.
    Enroll {
        /// The entity.
        entity: String,
    },
    /// Properties that the schema has learnt or dropped change their places in the objects of an entity.
    Adopt {
        /// The entity.
        entity: String,
    },
    /// An index is built.
    Index {
        /// The entity.
        entity: String,
        /// The property.
        property: String,
    },
}

impl fmt::Display for OpeningStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpeningStep::Leave { entity } => write!(f, "making {entity} local"),
            OpeningStep::Enroll { entity } => write!(f, "making {entity} synced"),
            OpeningStep::Adopt { entity } => write!(f, "moving properties of {entity}"),
            OpeningStep::Index { entity, property } => write!(f, "indexing {entity}.{property}"),
        }
    }
}

/// Who wants to know how far it is.
pub(crate) type Watch<'w> = &'w (dyn Fn(&OpeningProgress) + Send + Sync);

/// How far one step is.
pub(crate) struct Progress<'w> {
    watch: Watch<'w>,
    now: OpeningProgress,
}

impl<'w> Progress<'w> {
    pub(crate) fn new(watch: Watch<'w>, step: OpeningStep) -> Progress<'w> {
        Progress { watch, now: OpeningProgress { step, done: 0, total: 0 } }
    }

    /// Sets how many objects there are, and tells that the step begins.
    pub(crate) fn of(&mut self, total: u64) {
        self.now.total = total;
        (self.watch)(&self.now);
    }

    /// Adds to what is done, and tells it.
    pub(crate) fn advance(&mut self, objects: u64) {
        self.now.done = (self.now.done + objects).min(self.now.total);
        (self.watch)(&self.now);
    }
}
