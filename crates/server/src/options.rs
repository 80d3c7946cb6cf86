//! What a server is told when it is built.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reconvene_protocol::limits::ENVELOPE_BYTES_MAX;
use reconvene_protocol::{Secret, ServerConfig};
use reconvene_store::{Role, Store, StoreError, TX_BYTES_MAX, TX_OPS_MAX};

use crate::Server;

/// Who may log in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// Every device that reaches the server, with a key of its own. For tests and closed networks only.
    None,
    /// Devices that prove to know this secret.
    SharedSecret(Secret),
}

/// Why a server could not be started, or ended badly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No choice of authentication was made.
    #[error(
        "no authentication was chosen: give a shared secret, or ask for none in so many words; a server that anyone may \
         write to must be wanted"
    )]
    NoAuthentication,
    /// The store is a device's.
    #[error("this directory belongs to a device; a server needs a directory of its own")]
    DeviceStore,
    /// The messages are too short for the transactions that stores make.
    #[error(
        "the longest message is set to {message_bytes_max} bytes; it must be at least {needed}, or a device's largest \
         transaction could never be sent"
    )]
    MessagesTooShort {
        /// The limit that was set.
        message_bytes_max: usize,
        /// The least that will do.
        needed: usize,
    },
    /// Nothing can listen there.
    #[error("cannot listen on {address}: {error}; choose another address, or stop what listens there")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The operating system gave no thread.
    #[error("the server's threads could not be started: {0}")]
    Threads(std::io::Error),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Draining took too long, and what was still running was cut.
    #[error(
        "the server did not drain within {0:?}; what was acknowledged is safe, the rest will be sent again"
    )]
    DrainTimedOut(Duration),
}

/// For how long a server tells devices of a removal, unless it is told otherwise.
pub const REMOVALS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What bounds a server; each limit has a default that suits small machines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerLimits {
    /// The most connections at a time, default 10,000. Each needs a file descriptor.
    pub sessions_max: usize,
    /// The memory for recent changes that live sessions read from, default 64 MiB. Sessions that fall further behind read
    /// from the store.
    pub ring_bytes_max: usize,
    /// The size of a chunk of catch-up, default 256 KiB.
    pub chunk_bytes: usize,
    /// How many sessions read chunks of catch-up from the store at the same time, default 4.
    pub catch_ups_max: usize,
    /// How long a connection may take over the WebSocket handshake, default 10 s.
    pub handshake_timeout: Duration,
    /// How long a client may take to accept a frame before its session ends, default 60 s.
    pub send_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            sessions_max: 10_000,
            ring_bytes_max: 64 * 1024 * 1024,
            chunk_bytes: 256 * 1024,
            catch_ups_max: 4,
            handshake_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(60),
        }
    }
}

/// A server that is being prepared; made by [`Server::builder`].
#[derive(Clone)]
pub struct ServerBuilder {
    pub(crate) store: Store,
    pub(crate) bind: SocketAddr,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) takes_over: bool,
    pub(crate) removals_kept: Option<Duration>,
    pub(crate) limits: ServerLimits,
    pub(crate) protocol: ServerConfig,
}

impl ServerBuilder {
    pub(crate) fn new(store: &Store) -> Self {
        ServerBuilder {
            store: store.clone(),
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9999),
            authentication: None,
            takes_over: false,
            removals_kept: Some(REMOVALS_KEPT),
            limits: ServerLimits::default(),
            protocol: ServerConfig::default(),
        }
    }

    /// Where to listen, default `127.0.0.1:9999`; port 0 takes a free one, see [`Server::local_addr`].
    #[must_use]
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = address;
        self
    }

    /// Who may log in; there is no default.
    #[must_use]
    pub fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Whether devices may come from a history that this server knows nothing of; default: no.
    ///
    /// Such a device was at another server, or this one was replaced, or restored more than once. It is then brought to this
    /// server's state; what it had otherwise is kept in its `rejected` box. Without leave it is refused and keeps everything.
    #[must_use]
    pub fn take_over_devices(mut self, takes_over: bool) -> Self {
        self.takes_over = takes_over;
        self
    }

    /// For how long the server tells devices of a removal, default [`REMOVALS_KEPT`]; for ever with `None`.
    ///
    /// A device that was away for longer compares what it has with what the server has, before it sends anything. The age is
    /// known to one part in 64 of the term, at best to 10 ms; time is that of the store's clock.
    #[must_use]
    pub fn removals_kept(mut self, term: Option<Duration>) -> Self {
        self.removals_kept = term;
        self
    }

    /// The bounds of this server.
    #[must_use]
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Message sizes, upload windows and heartbeats of sessions.
    #[must_use]
    pub fn protocol(mut self, config: ServerConfig) -> Self {
        self.protocol = config;
        self
    }

    /// Starts the server's threads and listens.
    ///
    /// # Errors
    ///
    /// If no authentication was chosen, the store is a device's, or the address is taken.
    pub fn start(self) -> Result<Server, ServerError> {
        if self.authentication.is_none() {
            return Err(ServerError::NoAuthentication);
        }
        if self.store.sync().role() != Role::Server {
            return Err(ServerError::DeviceStore);
        }
        let message_bytes_max = self.protocol.limits.message_bytes_max;
        let needed = TX_BYTES_MAX + ENVELOPE_BYTES_MAX;
        if message_bytes_max < needed || self.protocol.tx_ops_max() < TX_OPS_MAX {
            return Err(ServerError::MessagesTooShort { message_bytes_max, needed });
        }
        Server::start(self)
    }
}
