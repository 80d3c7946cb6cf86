//! What listeners of a client are told.

use std::sync::Arc;
use std::time::Duration;

use reconvene_model::{PeerId, Seq, TxNumber};
use reconvene_protocol::Closed;
use reconvene_store::Conflict;

/// Something that happened to a client, in the order in which it happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SyncEvent {
    /// A connection is being tried.
    Connecting,
    /// The server took the login; what happened meanwhile follows.
    LoggedIn,
    /// What is here is compared with what the server has; only what differs is transferred.
    Comparing {
        /// How many objects the server has.
        objects: u64,
        /// How many of them, as far as is known, are not here or are otherwise.
        missing: u64,
    },
    /// Everything up to this position of the server's history is here; from now on changes come as they happen.
    CaughtUp {
        /// The position.
        seq: Seq,
    },
    /// The server was found to have something else than this store, which should not happen: a fault of a disk, or in this software.
    ///
    /// The store compares with the server at once and takes what that has; what it had otherwise is kept as rejected. `docs/errors.md`
    /// says more under `session.diverged`.
    Diverged {
        /// How often this was found since the store was opened, or since all was last found to be the same.
        times: u32,
    },
    /// The store goes on under another name: its directory is a copy, or was restored, and another store goes by the present one.
    ///
    /// Nothing is lost: what was not sent is sent under the new name, and local ids stay. A connection is made anew at once.
    Renamed {
        /// The name that the other store keeps.
        former: PeerId,
        /// The new name.
        peer: PeerId,
        /// How many transactions are sent under it that were written under the former one.
        reissued: u64,
    },
    /// Changes were applied and are durable; observers of the store have been told what they are.
    Applied {
        /// How many objects they concern.
        objects: u64,
        /// The position up to which this store has everything.
        seq: Seq,
    },
    /// The server did not take some of this store's transactions, or not whole; `store.sync().rejected()` has the data.
    Rejected {
        /// Their numbers there.
        numbers: Vec<TxNumber>,
    },
    /// A write of this store met a concurrent one of another, and one of them lost; `store.sync().conflicts()` keeps it.
    ///
    /// Told once, after the commit that brought it, in the order of commits. What a process does not live to tell stays in the box.
    Conflict {
        /// Both versions, which of them stands, and why.
        conflict: Box<Conflict>,
    },
    /// The connection ended, or did not come about.
    Disconnected {
        /// By whom and why.
        closed: Closed,
        /// When the next attempt is made; none is made before something changes if this is `None`.
        retry_in: Option<Duration>,
    },
    /// The client has given up: trying again would not help.
    GaveUp {
        /// By whom and why the last connection was ended.
        closed: Closed,
    },
}

/// Called with everything that happens.
pub(crate) type Listener = Arc<dyn Fn(&SyncEvent) + Send + Sync>;
