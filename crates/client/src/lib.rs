//! Keeps a store in sync with a server, in the background.
//!
//! [`SyncClient`] runs one thread of its own: it connects, logs in, uploads what the outbox holds, applies what the server
//! sends, and after a cut tries again with growing pauses. Reads and writes of the application never wait for it.
//!
//! - [`options`]: where to, with which credentials, with which limits
//! - [`status`]: what the client is doing, and waiting for it to have done something
//! - [`event`]: what listeners are told
//! - [`driver`]: what a client does on one connection, without socket and clock, for this crate's engine and for others
//! - `engine`: the thread; `session`: one connection; `comparing`: what a compare brings; `server_time`: when stamps are too far ahead; `delivery`: from the protocol's words to the store's

mod comparing;
mod delivery;
pub mod driver;
mod engine;
pub mod event;
pub mod options;
mod probing;
mod server_time;
mod session;
pub mod status;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use reconvene_store::{OutboxListener, Store};

pub use driver::{Driver, Progress};
pub use event::SyncEvent;
pub use options::{ClientError, SyncClientBuilder};
pub use reconvene_protocol::{ClientConfig, Closed, ClosedBy, Code, Secret};
pub use status::{State, Status, WaitError};

use engine::Shared;

/// A store's connection to a server; dropping it stops the thread and leaves the store as it is.
pub struct SyncClient {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Not among what the thread shares: the store must not keep alive what keeps the store alive.
    _listener: OutboxListener,
}

impl SyncClient {
    /// Prepares a client of the server at `url`, `ws://host:port`.
    ///
    /// Nothing is sent before [`SyncClientBuilder::start`].
    pub fn builder(store: &Store, url: impl Into<String>) -> SyncClientBuilder {
        SyncClientBuilder::new(store, url.into())
    }

    /// What the client is doing at this moment.
    pub fn status(&self) -> Status {
        self.shared.status.get()
    }

    /// Waits until the server has taken the login of this or a later connection.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`], or [`WaitError::Ended`] if the client has given up or was stopped.
    pub fn wait_logged_in(&self, timeout: Duration) -> Result<(), WaitError> {
        self.shared.status.wait(timeout, |status| matches!(status.state, State::CatchingUp | State::Live))
    }

    /// Waits until everything that the server had when the client asked has been applied here.
    ///
    /// # Errors
    ///
    /// As [`SyncClient::wait_logged_in`].
    pub fn wait_downloaded(&self, timeout: Duration) -> Result<(), WaitError> {
        self.shared.status.wait(timeout, |status| status.state == State::Live)
    }

    /// Waits until the server has decided on every write that was committed here.
    ///
    /// # Errors
    ///
    /// As [`SyncClient::wait_logged_in`].
    pub fn wait_uploaded(&self, timeout: Duration) -> Result<(), WaitError> {
        let sync = self.shared.store.sync();
        // The outbox is asked for each time: the application may write while it waits.
        self.shared.status.wait(timeout, |_| sync.undecided().is_ok_and(|undecided| undecided == 0))
    }

    /// Tries to connect at once, because the application knows that the network is back.
    pub fn network_is_back(&self) {
        self.shared.network_is_back();
    }

    /// Says goodbye to the server, ends the connection and waits for the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened; there is nothing to add here.
            drop(thread.join());
        }
    }
}

impl Drop for SyncClient {
    fn drop(&mut self) {
        self.end();
    }
}
