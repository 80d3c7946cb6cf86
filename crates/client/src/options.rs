//! Where a client connects to, with which credentials, and within which limits.

use std::sync::Arc;
use std::time::Duration;

use reconvene_protocol::{ClientConfig, Credential, Secret, backoff};
use reconvene_store::{Role, Store, StoreError};

use crate::SyncClient;
use crate::engine::{self, Shared};
use crate::event::{Listener, SyncEvent};

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL cannot be used.
    #[error("{url:?} is not the address of a sync server: {reason}; it looks like ws://host:9999")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory belongs to a server.
    #[error("this store belongs to a sync server; a client needs a directory of its own")]
    ServerStore,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gave no thread.
    #[error("the client's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A client that is being prepared; made by [`SyncClient::builder`].
pub struct SyncClientBuilder {
    pub(crate) store: Store,
    pub(crate) url: String,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry_pauses: Vec<Duration>,
    pub(crate) protocol: ClientConfig,
}

impl SyncClientBuilder {
    pub(crate) fn new(store: &Store, url: String) -> Self {
        SyncClientBuilder {
            store: store.clone(),
            url,
            credentials: Vec::new(),
            listeners: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            retry_pauses: backoff::STEPS.to_vec(),
            protocol: ClientConfig::default(),
        }
    }

    /// Proves to the server that this device knows the secret which it shares with its clients.
    ///
    /// The secret itself is never sent. A server without authentication ignores it.
    #[must_use]
    pub fn shared_secret(mut self, secret: Secret) -> Self {
        self.credentials.push(Credential::SharedSecret(secret));
        self
    }

    /// Calls `listener` with everything that happens, on the client's thread and under no lock.
    ///
    /// Sync waits while it runs, so it should be short.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&SyncEvent) + Send + Sync + 'static) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// How long a connection may take to come about, default 15 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The pauses between attempts to connect, the last one repeated; without any, the default ones hold: 0.5, 1, 2, 4, 8,
    /// 15, 30, 30 and 60 s.
    ///
    /// Each is the most that is waited, and half of it the least, by chance. They start over when a session has brought the
    /// store forward or has held for as long as the longest of them. Short pauses suit tests and a server on the same
    /// machine; many devices with short pauses keep a server that comes back from coming up.
    #[must_use]
    pub fn retry_pauses(mut self, pauses: &[Duration]) -> Self {
        self.retry_pauses = pauses.to_vec();
        self
    }

    /// How long the server may take to answer a login or a sign of life, and the largest message, see [`ClientConfig`].
    #[must_use]
    pub fn protocol(mut self, config: ClientConfig) -> Self {
        self.protocol = config;
        self
    }

    /// Starts the client's thread and returns at once; whether it gets through shows in
    /// [`SyncClient::status`] and in events.
    ///
    /// # Errors
    ///
    /// If the URL cannot be used, if the store is a server's, or if there is no thread to be had.
    pub fn start(self) -> Result<SyncClient, ClientError> {
        if self.store.sync().role() == Role::Server {
            return Err(ClientError::ServerStore);
        }
        let address = Address::parse(&self.url)?;
        let shared = Arc::new(Shared::new(&self));
        let wake = shared.clone();
        let listener = self.store.sync().on_outbox(move || wake.outbox_grew());
        let thread = engine::spawn(shared.clone(), address, self)?;
        Ok(SyncClient { shared, thread: Some(thread), _listener: listener })
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) url: String,
    /// Host and port as the resolver takes them.
    pub(crate) target: String,
}

impl Address {
    fn parse(url: &str) -> Result<Address, ClientError> {
        let wrong = |reason: &str| ClientError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let Some(rest) = url.strip_prefix("ws://") else {
            return Err(wrong(match url.split_once("://") {
                Some(("wss", _)) => "this release has no TLS yet; put a TLS proxy in front of the server",
                Some(_) => "the scheme must be ws",
                None => "it has no scheme",
            }));
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(wrong("credentials do not belong into the address"));
        }
        // The colon of a port comes after the brackets of an IPv6 address.
        let port = host.rsplit_once(':').filter(|(name, _)| !name.starts_with('[') || name.ends_with(']'));
        let target = match port {
            Some((name, port)) if !name.is_empty() => {
                port.parse::<u16>().map_err(|_| wrong("the port is not a number up to 65535"))?;
                host.to_owned()
            }
            None if !host.is_empty() => format!("{host}:80"),
            _ => return Err(wrong("it has no host")),
        };
        Ok(Address { url: url.to_owned(), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_started() {
        let target =
            |url| Address::parse(url).map(|address| address.target).map_err(|error| error.to_string());
        assert_eq!(target("ws://localhost:9999").as_deref(), Ok("localhost:9999"));
        assert_eq!(target("ws://[::1]:9999/sync").as_deref(), Ok("[::1]:9999"));
        assert_eq!(target("ws://[::1]").as_deref(), Ok("[::1]:80"));
        assert_eq!(target("ws://example.org?x=1").as_deref(), Ok("example.org:80"));
        for (url, reason) in [
            ("localhost:9999", "no scheme"),
            ("http://localhost", "the scheme must be ws"),
            ("wss://localhost", "no TLS yet"),
            ("ws://", "no host"),
            ("ws://:9", "no host"),
            ("ws://h:99999", "the port"),
            ("ws://me:pw@h", "credentials"),
        ] {
            let error = target(url).expect_err(url);
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
