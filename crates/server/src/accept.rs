//! Accepting connections: one thread with a runtime for all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reconvene_protocol::SUBPROTOCOL;
use reconvene_protocol::limits::LOGIN_BYTES_MAX;
use reconvene_socket::{Meter, Metered, Socket};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

use crate::connection;
use crate::options::ServerError;
use crate::shared::Shared;

/// The buffers of each connection, in bytes: with thousands of idle ones they are what costs memory.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024;

/// The bytes that a connection may bring before its login is accepted: the handshake, the login, and the frames around them.
const RECEIVED_BEFORE_LOGIN_MAX: u64 = 2 * LOGIN_BYTES_MAX as u64;

/// How long to wait after the operating system refused a connection, as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The runtime of all connections.
pub(crate) struct Listening {
    runtime: Runtime,
    ended: oneshot::Receiver<()>,
}

impl Listening {
    /// Lets something run beside the connections, until the server has drained.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Waits until every connection has ended; cuts those that have not in time, and tells so.
    pub(crate) fn wait(self, timeout: Duration) -> bool {
        let Listening { runtime, ended } = self;
        // On a helper thread, for the caller may be within a runtime of its own.
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let drained = runtime.block_on(async { tokio::time::timeout(timeout, ended).await.is_ok() });
                runtime.shutdown_timeout(Duration::from_secs(1));
                drained
            });
            waiter.join().unwrap_or(false)
        })
    }
}

/// Binds, and starts to accept.
pub(crate) fn start(shared: Arc<Shared>, bind: SocketAddr) -> Result<(Listening, SocketAddr), ServerError> {
    let bind_error = |error| ServerError::Bind { address: bind, error };
    let listener = std::net::TcpListener::bind(bind).map_err(bind_error)?;
    listener.set_nonblocking(true).map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("reconvene-server")
        .enable_io()
        .enable_time()
        .build()
        .map_err(ServerError::Threads)?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener).map_err(bind_error)?
    };
    let (end, ended) = oneshot::channel();
    runtime.spawn(async move {
        accept(shared, listener).await;
        let _ = end.send(());
    });
    Ok((Listening { runtime, ended }, address))
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(shared.limits.sessions_max));
    let mut draining = shared.draining.subscribe();
    let mut connections = JoinSet::new();
    while !*draining.borrow_and_update() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let number = shared.stats.connections.fetch_add(1, Ordering::Relaxed) + 1;
                        tracing::debug!(session = number, %address, "connection accepted");
                        let session = SessionName { number, address };
                        connections.spawn(handle(shared.clone(), stream, session, place));
                    }
                    // To close at once costs least; the device comes back after a pause.
                    Err(_) => tracing::warn!(%address, max = shared.limits.sessions_max, "too many connections: one was closed"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            _ = draining.changed() => {}
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task ended by a panic; the others go on");
    }
}

/// What the log calls a connection by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionName {
    /// Counts the connections since the start.
    pub(crate) number: u64,
    /// The other end; that of a proxy if there is one between.
    pub(crate) address: SocketAddr,
}

async fn handle(shared: Arc<Shared>, stream: TcpStream, session: SessionName, _place: OwnedSemaphorePermit) {
    let number = session.number;
    let mut draining = shared.draining.subscribe();
    let shaken = tokio::time::timeout(shared.limits.handshake_timeout, shake_hands(&shared, stream));
    let socket = tokio::select! {
        shaken = shaken => match shaken {
            Ok(Ok(socket)) => socket,
            Ok(Err(reason)) => return tracing::debug!(session = number, reason, "no WebSocket came about"),
            Err(_) => return tracing::debug!(session = number, "the WebSocket handshake took too long"),
        },
        _ = draining.wait_for(|&draining| draining) => return,
    };
    connection::serve(shared, socket, session).await;
}

async fn shake_hands(shared: &Shared, stream: TcpStream) -> Result<Socket, String> {
    // Verdicts and small pushes must not wait for more bytes to come.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let config = reconvene_socket::config(SOCKET_BUFFER_BYTES, shared.protocol.limits.message_bytes_max);
    let stream = Metered::new(stream, Meter::with_limit(RECEIVED_BEFORE_LOGIN_MAX));
    let socket = accept_hdr_async_with_config(stream, grant_subprotocol, Some(config))
        .await
        .map_err(|error| error.to_string())?;
    socket.get_ref().meter().limit_frames(LOGIN_BYTES_MAX as u64);
    Ok(socket)
}

#[expect(clippy::result_large_err, reason = "the WebSocket library fixes the type of a refusal")]
fn grant_subprotocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let asked = request.headers().get_all("Sec-WebSocket-Protocol").iter();
    let ours = asked
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    if !ours {
        let text = format!("this is a sync server: ask for the WebSocket subprotocol {SUBPROTOCOL}\n");
        let mut refusal = ErrorResponse::new(Some(text));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}
