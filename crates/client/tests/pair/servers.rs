//! Servers that do only part of what a server does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reconvene_model::{Seq, TxHash};
use reconvene_protocol::{Code, LoginAnswer, ServerConfig, ServerEvent, ServerSession};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// How far a server goes with every connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Conduct {
    /// It accepts, and closes.
    Closes,
    /// It accepts, and says nothing.
    Accepts,
    /// It finishes the WebSocket handshake, and says nothing more.
    ShakesHands,
    /// It takes the login of a new device into the history of this epoch, and says nothing more.
    LogsIn { epoch: u64, heartbeat: Duration },
    /// It sends every device away.
    Refuses(Code),
}

/// A server with a conduct, which ends when dropped.
pub(crate) struct PartialServer {
    pub(crate) address: SocketAddr,
    connects: Arc<AtomicU64>,
    end: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl PartialServer {
    pub(crate) fn start(conduct: Conduct) -> PartialServer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (connects, end) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (count, ended) = (connects.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            count.fetch_add(1, Ordering::SeqCst);
                            tokio::spawn(serve(accepted.unwrap().0, conduct));
                        }
                        () = ended.notified() => return,
                    }
                }
            });
        });
        PartialServer { address, connects, end, thread: Some(thread) }
    }

    /// How many connections came in.
    pub(crate) fn connects(&self) -> u64 {
        self.connects.load(Ordering::SeqCst)
    }
}

impl Drop for PartialServer {
    fn drop(&mut self) {
        self.end.notify_one();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

async fn serve(stream: TcpStream, conduct: Conduct) {
    let mut socket = match conduct {
        Conduct::Closes => return,
        Conduct::Accepts => {
            let _stream = stream;
            return std::future::pending().await;
        }
        _ => shake_hands(stream).await,
    };
    let config = match conduct {
        Conduct::LogsIn { heartbeat, .. } => ServerConfig { heartbeat, ..ServerConfig::default() },
        Conduct::Refuses(_) => ServerConfig::default(),
        _ => return std::future::pending().await,
    };
    let mut session = ServerSession::new(config, [1; 32], 0, Duration::ZERO);
    send_all(&mut socket, &mut session).await;
    // A device may end the connection whenever it likes.
    let Some(Ok(Message::Binary(login))) = socket.next().await else { return };
    session.handle_frame(login, Duration::ZERO);
    let Some(ServerEvent::LoginRequested(_)) = session.poll_event() else { panic!("a login was due") };
    match conduct {
        Conduct::Refuses(code) => session.refuse_login(code, "not at the moment"),
        Conduct::LogsIn { epoch, .. } => session.accept_login(answer(epoch), Duration::ZERO),
        _ => unreachable!("the others have returned"),
    }
    send_all(&mut socket, &mut session).await;
    if let Conduct::LogsIn { .. } = conduct {
        std::future::pending().await
    }
}

async fn send_all(socket: &mut WebSocketStream<TcpStream>, session: &mut ServerSession) {
    while let Some(frame) = session.poll_message() {
        // A device that has gone away needs no answer.
        drop(socket.send(Message::Binary(frame)).await);
    }
}

#[expect(clippy::result_large_err, reason = "the WebSocket library fixes the type of a refusal")]
async fn shake_hands(stream: TcpStream) -> WebSocketStream<TcpStream> {
    let grant = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        response.headers_mut().insert("Sec-WebSocket-Protocol", "reconvene.v1".parse().unwrap());
        Ok(response)
    };
    match tokio_tungstenite::accept_hdr_async(stream, grant).await {
        Ok(socket) => socket,
        // The device has gone away before the handshake was done.
        Err(_) => std::future::pending().await,
    }
}

fn answer(epoch: u64) -> LoginAnswer {
    LoginAnswer {
        session: 1,
        server_time_ms: 0,
        decided_number: 0,
        decided_hash: TxHash::NONE,
        decided_seq: Seq(0),
        refusals: Vec::new(),
        epoch,
        view: 1,
        catch_up_from: Seq(0),
        capabilities: Vec::new(),
        compare: false,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    }
}
