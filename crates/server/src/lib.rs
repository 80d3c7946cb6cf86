//! The sync server as a library: it accepts devices, decides on their writes and tells everyone.
//!
//! ```no_run
//! use std::time::Duration;
//! use reconvene_server::{Authentication, Secret, Server};
//! use reconvene_store::{Role, Store};
//!
//! let store = Store::builder("server-data").role(Role::Server).open()?;
//! let server = Server::builder(&store)
//!     .bind("127.0.0.1:9999".parse()?)
//!     .authentication(Authentication::SharedSecret(Secret::new("open sesame")))
//!     .start()?;
//! println!("listening on {}", server.local_addr());
//! server.shutdown(Duration::from_secs(10))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the server does for its sessions is in [`conversation`], [`committing`], [`comparing`], [`login`] and [`ring`], without sockets, threads
//! and clocks. Around it, the engine: one thread accepts and drives all connections (`connection`), a few more do what may block for them, and one writes
//! (`committer`). What was accepted goes out through the `ring`; who falls behind reads from the store.

mod accept;
mod committer;
pub mod committing;
pub mod comparing;
mod connection;
pub mod conversation;
mod expiry;
pub mod login;
pub mod options;
pub mod ring;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use reconvene_store::Store;

pub use options::{Authentication, REMOVALS_KEPT, ServerBuilder, ServerError, ServerLimits};
pub use reconvene_protocol::{Secret, ServerConfig};

use accept::Listening;
use login::Admission;
use shared::Shared;

/// A running sync server; dropping it drains it.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Option<Threads>,
}

struct Threads {
    listening: Listening,
    committer: JoinHandle<()>,
}

/// What a server counts since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were accepted.
    pub connections: u64,
    /// Peers that are logged in at this moment.
    pub sessions: u64,
    /// Bytes of messages sent, without the WebSocket's framing.
    pub bytes_sent: u64,
    /// Bytes of messages received, without the WebSocket's framing.
    pub bytes_received: u64,
    /// Verdicts that were sent.
    pub verdicts: u64,
    /// How often a device was found to have something else than the server.
    pub divergences: u64,
}

/// How long a server that is dropped may take to drain.
const DROP_DRAIN: Duration = Duration::from_secs(5);

impl Server {
    /// Prepares a server on a store that was opened with [`Role::Server`](reconvene_store::Role::Server).
    pub fn builder(store: &Store) -> ServerBuilder {
        ServerBuilder::new(store)
    }

    fn start(builder: ServerBuilder) -> Result<Server, ServerError> {
        let ServerBuilder { store, bind, authentication, takes_over, removals_kept, limits, protocol } =
            builder;
        let authentication = authentication.ok_or(ServerError::NoAuthentication)?;
        let admission = Admission { authentication, takes_over };
        let sync = store.sync();
        let ring = Arc::new(ring::Ring::new(sync.head()?, limits.ring_bytes_max));
        let committer = committer::start(sync, ring.clone()).map_err(ServerError::Threads)?;
        let shared = Arc::new(Shared::new(store, admission, limits, protocol, ring, committer.jobs));
        let (listening, address) = accept::start(shared.clone(), bind)?;
        if let Some(term) = removals_kept {
            listening.spawn(expiry::run(shared.clone(), term));
        }
        let threads = Some(Threads { listening, committer: committer.thread });
        Ok(Server { shared, address, threads })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the server has done so far.
    pub fn stats(&self) -> ServerStats {
        let stats = &self.shared.stats;
        ServerStats {
            connections: stats.connections.load(Ordering::Relaxed),
            sessions: self.shared.sessions() as u64,
            bytes_sent: stats.bytes_sent.load(Ordering::Relaxed),
            bytes_received: stats.bytes_received.load(Ordering::Relaxed),
            verdicts: stats.verdicts.load(Ordering::Relaxed),
            divergences: stats.divergences.load(Ordering::Relaxed),
        }
    }

    /// Ends the server in good order: it accepts no more connections, decides on what was uploaded, answers, says goodbye to
    /// every device and writes what is left to write.
    ///
    /// # Errors
    ///
    /// [`ServerError::DrainTimedOut`] if some session did not end in time; it was cut then.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), ServerError> {
        self.drain(timeout)
    }

    fn drain(&mut self, timeout: Duration) -> Result<(), ServerError> {
        let Some(threads) = self.threads.take() else { return Ok(()) };
        self.shared.draining.send_replace(true);
        let drained = threads.listening.wait(timeout);
        // The connections have ended, so nothing comes after this.
        if self.shared.jobs.try_send(committer::Job::End).is_err() {
            tracing::error!("the committer's queue is full although nobody is there to fill it");
        }
        if threads.committer.join().is_err() {
            tracing::error!("the committer had ended by a panic");
        }
        if drained { Ok(()) } else { Err(ServerError::DrainTimedOut(timeout)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.drain(DROP_DRAIN) {
            tracing::warn!(%error, "the server was dropped before it had drained");
        }
    }
}
