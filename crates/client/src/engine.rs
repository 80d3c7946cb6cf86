//! The client's thread: connects, drives one session after the other, and pauses between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reconvene_protocol::{Backoff, ClientConfig, Closed, ClosedBy, Code, Credential};
use reconvene_socket::{Meter, Metered, Socket};
use reconvene_store::{CONFLICTS_MAX, Store};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::event::{Listener, SyncEvent};
use crate::options::{Address, ClientError, SyncClientBuilder};
use crate::session;
use crate::status::{State, StatusCell};

/// The WebSocket's buffers, in bytes each: messages are handed over whole, so little is gained by more.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;

/// Names of servers that are looked up at a time: a resolver may hang for longer than an attempt lasts.
const LOOKUPS_MAX: usize = 2;

/// What the thread and the application's handle share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) status: StatusCell,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) protocol: ClientConfig,
    listeners: Vec<Listener>,
    /// Wakes the thread: the outbox grew, the network is back, or the client is to stop.
    pub(crate) wake: Notify,
    outbox_grew: AtomicBool,
    network_is_back: AtomicBool,
    stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(builder: &SyncClientBuilder) -> Self {
        Shared {
            store: builder.store.clone(),
            status: StatusCell::default(),
            credentials: builder.credentials.clone(),
            protocol: builder.protocol.clone(),
            listeners: builder.listeners.clone(),
            wake: Notify::new(),
            outbox_grew: AtomicBool::new(false),
            network_is_back: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn outbox_grew(&self) {
        self.outbox_grew.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn network_is_back(&self) {
        self.network_is_back.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn take_outbox_grew(&self) -> bool {
        self.outbox_grew.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn tell(&self, event: &SyncEvent) {
        for listener in &self.listeners {
            listener(event);
        }
    }

    /// Tells conflicts in the order in which they were found; those that have left their box already are many at once, and old.
    pub(crate) fn tell_conflicts(&self, numbers: &[u64]) {
        if self.listeners.is_empty() {
            return;
        }
        let sync = self.store.sync();
        let first = numbers.len().saturating_sub(CONFLICTS_MAX as usize);
        for &number in &numbers[first..] {
            match sync.conflict(number) {
                Ok(Some(conflict)) => self.tell(&SyncEvent::Conflict { conflict: Box::new(conflict) }),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a conflict could not be read after a commit"),
            }
        }
    }
}

/// Starts the thread.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    address: Address,
    builder: SyncClientBuilder,
) -> Result<JoinHandle<()>, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(LOOKUPS_MAX)
        .build()?;
    let (connect_timeout, pauses) = (builder.connect_timeout, builder.retry_pauses);
    let thread = std::thread::Builder::new().name("reconvene-client".to_owned()).spawn(move || {
        let ended = Ended(shared.clone());
        runtime.block_on(run(&shared, &address, connect_timeout, Backoff::with_steps(&pauses)));
        // A name that is still being looked up must not hold up who stops the client.
        runtime.shutdown_background();
        drop(ended);
    })?;
    Ok(thread)
}

/// Tells those who wait that nothing will happen any more, however the thread ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.status.update(|status| {
            if status.state != State::GaveUp {
                status.state = State::Stopped;
            }
        });
    }
}

async fn run(shared: &Arc<Shared>, address: &Address, connect_timeout: Duration, mut backoff: Backoff) {
    let start = Instant::now();
    while !shared.is_stopping() {
        shared.status.update(|status| {
            status.state = State::Connecting;
            status.connects += 1;
        });
        shared.tell(&SyncEvent::Connecting);
        let closed = match connect(shared, address, connect_timeout).await {
            Ok(socket) => session::drive(shared, socket, &mut backoff, start).await,
            Err(Some(closed)) => closed,
            Err(None) => break,
        };
        tracing::info!(code = closed.code.name(), reason = closed.reason, "the sync connection ended");
        shared.status.update(|status| status.last_closed = Some(closed.clone()));
        if shared.is_stopping() {
            break;
        }
        if !closed.code.retry_helps() {
            shared.status.update(|status| status.state = State::GaveUp);
            shared.tell(&SyncEvent::GaveUp { closed });
            return;
        }
        let pause_for = backoff.handle_failure(start.elapsed(), random());
        shared.status.update(|status| status.state = State::Waiting);
        shared.tell(&SyncEvent::Disconnected { closed, retry_in: Some(pause_for) });
        pause(shared, start, &mut backoff).await;
    }
}

/// Waits until the next attempt is due; the application may know better.
async fn pause(shared: &Shared, start: Instant, backoff: &mut Backoff) {
    while let Some(until) = backoff.poll_timeout() {
        let now = start.elapsed();
        if shared.is_stopping() || until <= now {
            return;
        }
        if shared.network_is_back.swap(false, Ordering::AcqRel) {
            backoff.network_is_back(now);
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(until - now) => return,
            () = shared.wake.notified() => {}
        }
    }
}

async fn connect(shared: &Shared, address: &Address, timeout: Duration) -> Result<Socket, Option<Closed>> {
    let attempt = tokio::time::timeout(timeout, open(shared, address));
    let failed = |reason: String| {
        Some(Closed {
            by: ClosedBy::Link,
            code: Code::LinkLost,
            reason: format!("{}: {reason}", address.url),
        })
    };
    tokio::select! {
        opened = attempt => match opened {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed(format!("no connection within {} s", timeout.as_secs_f32()))),
        },
        () = stopped(shared) => Err(None),
    }
}

async fn stopped(shared: &Shared) {
    while !shared.is_stopping() {
        shared.wake.notified().await;
    }
}

async fn open(shared: &Shared, address: &Address) -> Result<Socket, String> {
    let stream = TcpStream::connect(&address.target).await.map_err(|error| error.to_string())?;
    // Verdicts and small pushes must not wait for more bytes to come.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut request = address.url.as_str().into_client_request().map_err(|error| error.to_string())?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(reconvene_protocol::SUBPROTOCOL));
    let config = reconvene_socket::config(SOCKET_BUFFER_BYTES, shared.protocol.message_bytes_max);
    let stream = Metered::new(stream, Meter::new());
    let (socket, _) =
        client_async_with_config(request, stream, Some(config)).await.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// Spreads the attempts of many clients; without randomness they only come together.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX / 2,
    }
}
