//! What a client is doing, and waiting for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reconvene_protocol::Closed;

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made, or the login is under way.
    #[default]
    Connecting,
    /// Logged in; what happened meanwhile is on its way, transactions may be half visible.
    CatchingUp,
    /// Logged in and up to date; changes arrive as they happen.
    Live,
    /// Without a connection, until the pause is over.
    Waiting,
    /// The client has given up: trying again would not help.
    GaveUp,
    /// The client was stopped.
    Stopped,
}

/// A client's state with its counters since it was started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// How often it tried to connect.
    pub connects: u64,
    /// Bytes of messages sent, without the WebSocket's framing.
    pub bytes_sent: u64,
    /// Bytes of messages received, without the WebSocket's framing.
    pub bytes_received: u64,
    /// Objects that were applied.
    pub objects_applied: u64,
    /// How often the server was found to have something else than this store.
    pub divergences: u64,
    /// How the last connection ended.
    pub last_closed: Option<Closed>,
}

/// Why waiting ended without what was waited for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time was up.
    #[error("the time was up while the client was {state:?}{}", last(.closed))]
    TimedOut {
        /// Where the client stood.
        state: State,
        /// How its last connection ended.
        closed: Option<Closed>,
    },
    /// The client has given up or was stopped.
    #[error("the client has ended{}", last(.closed))]
    Ended {
        /// How its last connection ended.
        closed: Option<Closed>,
    },
}

fn last(closed: &Option<Closed>) -> String {
    closed.as_ref().map_or_else(String::new, |closed| format!("; last: {closed}"))
}

/// A status that can be waited on.
#[derive(Debug, Default)]
pub(crate) struct StatusCell {
    status: Mutex<Status>,
    changed: Condvar,
}

impl StatusCell {
    pub(crate) fn get(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the status and wakes those who wait.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `reached` holds, which is asked after every change.
    pub(crate) fn wait(&self, timeout: Duration, reached: impl Fn(&Status) -> bool) -> Result<(), WaitError> {
        let deadline = Instant::now() + timeout;
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if reached(&status) {
                return Ok(());
            }
            if matches!(status.state, State::GaveUp | State::Stopped) {
                return Err(WaitError::Ended { closed: status.last_closed.clone() });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitError::TimedOut { state: status.state, closed: status.last_closed.clone() });
            }
            status = self.changed.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
