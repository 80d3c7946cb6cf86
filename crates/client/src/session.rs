//! One connection: frames in, deliveries to the store, frames out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use reconvene_model::TxHash;
use reconvene_protocol::{
    Backoff, ClientEvent, ClientLogin, ClientSession, Closed, ClosedBy, Code, Cursor, LoginAccepted,
    SchemaHashes,
};
use reconvene_socket::{FRAMES_OUT_MAX, Meter, Socket};
use reconvene_store::StoreError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::delivery::Inbox;
use crate::engine::Shared;
use crate::event::SyncEvent;
use crate::status::State;

/// The bytes of received messages after which they are applied, although more may be ready.
const APPLY_BYTES: usize = 8 * 1024 * 1024;

/// The frames after which they are applied, although more may be ready.
const APPLY_FRAMES: usize = 256;

/// How long the server may take to accept a frame before the connection counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the farewell may take to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Drives a session until it ends; returns how.
pub(crate) async fn drive(shared: &Arc<Shared>, socket: Socket, backoff: &mut Backoff) -> Closed {
    let start = Instant::now();
    let login = match login(shared) {
        Ok(login) => login,
        Err(error) => return failed(&error),
    };
    let meter = socket.get_ref().meter().clone();
    let (sink, stream) = socket.split();
    let (frames, queue) = mpsc::channel(FRAMES_OUT_MAX);
    let mut connection = Connection {
        shared,
        session: ClientSession::new(shared.protocol.clone(), login, start.elapsed()),
        start,
        stream,
        moved: meter.moved(),
        meter,
        frames: Some(frames),
        inbox: Inbox::default(),
        backoff,
        closed: None,
    };
    let writer = tokio::spawn(reconvene_socket::write(sink, queue, SEND_TIMEOUT));
    connection.run().await;
    let closed = connection.closed.take();
    connection.say_goodbye(writer).await;
    closed.unwrap_or_else(|| Closed {
        by: ClosedBy::Link,
        code: Code::LinkLost,
        reason: "the connection ended".to_owned(),
    })
}

fn login(shared: &Shared) -> Result<ClientLogin, StoreError> {
    let sync = shared.store.sync();
    let state = sync.login_state()?;
    let schema = shared.store.schema();
    Ok(ClientLogin {
        key: sync.key().clone(),
        credentials: shared.credentials.clone(),
        schema: SchemaHashes { base: schema.base_hash(), full: schema.full_hash() },
        cursor: Cursor { epoch: state.cursor.epoch, view: state.cursor.view, seq: state.cursor.seq },
        last_number: state.last_number,
        last_hash: state.last_hash,
        confirmed: state.decided,
        capabilities: Vec::new(),
    })
}

fn failed(error: &StoreError) -> Closed {
    Closed { by: ClosedBy::Us, code: Code::ClientFailed, reason: error.to_string() }
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    session: ClientSession,
    start: Instant,
    stream: SplitStream<Socket>,
    meter: Arc<Meter>,
    /// What the meter showed when it was last looked at.
    moved: u64,
    /// `None` once the farewell is on its way.
    frames: Option<mpsc::Sender<Bytes>>,
    inbox: Inbox,
    backoff: &'a mut Backoff,
    closed: Option<Closed>,
}

impl Connection<'_> {
    async fn run(&mut self) {
        while self.closed.is_none() {
            if self.shared.is_stopping() {
                self.session.close(Code::Done, "the client was stopped");
            }
            if self.shared.take_outbox_grew() {
                self.session.handle_local_commit();
            }
            self.carry_out();
            if self.closed.is_some() {
                return;
            }
            let Some(frames) = self.frames.clone() else { return };
            while frames.capacity() > 0 {
                let Some(frame) = self.session.poll_message() else { break };
                self.shared.status.update(|status| status.bytes_sent += frame.len() as u64);
                if frames.try_send(frame).is_err() {
                    self.session.handle_disconnected("the connection was lost while sending");
                }
            }
            if self.session.is_closed() {
                continue;
            }
            // With the queue full, the session may have more to say as soon as there is room.
            let full = frames.capacity() == 0;
            let timeout = self.session.poll_timeout().map(|at| self.start + at);
            tokio::select! {
                message = self.stream.next() => self.receive(message),
                () = self.shared.wake.notified() => {}
                _ = frames.reserve(), if full => {}
                () = frames.closed() => self.session.handle_disconnected("the server takes nothing more"),
                () = sleep_until(timeout) => self.time_is_up(),
            }
        }
    }

    /// Acts on deadlines; a connection on which bytes still move is slow, not dead.
    fn time_is_up(&mut self) {
        let moved = self.meter.moved();
        if std::mem::replace(&mut self.moved, moved) != moved {
            self.session.handle_progress(self.start.elapsed());
        }
        self.session.handle_timeout(self.start.elapsed());
    }

    /// Takes one message and those that are already here, so that they share one commit.
    fn receive(&mut self, first: Option<Result<Message, SocketError>>) {
        let mut next = Some(first);
        let mut frames = 0;
        let mut bytes = 0;
        while let Some(message) = next.take() {
            match message {
                Some(Ok(Message::Binary(frame))) => {
                    frames += 1;
                    bytes += frame.len();
                    self.session.handle_frame(frame, self.start.elapsed());
                }
                Some(Ok(Message::Close(_))) | None => {
                    self.session.handle_disconnected("the server closed the connection")
                }
                Some(Ok(Message::Text(_))) => {
                    self.session.close(Code::FrameInvalid, "messages of this protocol are binary");
                }
                Some(Ok(_)) => {}
                Some(Err(SocketError::Capacity(error))) => {
                    self.session.close(Code::FrameTooLong, &error.to_string());
                }
                Some(Err(error)) => self.session.handle_disconnected(&error.to_string()),
            }
            if self.session.is_closed() || bytes >= APPLY_BYTES || frames >= APPLY_FRAMES {
                break;
            }
            next = self.stream.next().now_or_never();
        }
        self.shared.status.update(|status| status.bytes_received += bytes as u64);
    }

    /// Carries out what the session asks for; everything that came together is applied together.
    fn carry_out(&mut self) {
        while let Some(event) = self.session.poll_event() {
            let done = match event {
                ClientEvent::LoggedIn(accepted) => self.logged_in(accepted),
                ClientEvent::Verdicts(verdicts) => {
                    self.inbox.verdicts(verdicts);
                    Ok(())
                }
                ClientEvent::CatchUp { states, upto_seq } => {
                    self.inbox.states(states, upto_seq);
                    Ok(())
                }
                ClientEvent::CatchUpDone(seq) => {
                    self.inbox.catch_up_done(seq);
                    self.apply().map(|()| {
                        self.shared.status.update(|status| status.state = State::Live);
                        self.shared.tell(&SyncEvent::CaughtUp { seq });
                    })
                }
                ClientEvent::Pushed(txs) => {
                    self.inbox.pushed(txs);
                    Ok(())
                }
                ClientEvent::SendTxs { from, txs_max, bytes_max, .. } => {
                    self.send_txs(from, txs_max, bytes_max)
                }
                ClientEvent::Closed(closed) => {
                    self.closed = Some(closed);
                    Ok(())
                }
            };
            let done = done.and_then(|()| match self.inbox.bytes() >= APPLY_BYTES {
                true => self.apply(),
                false => Ok(()),
            });
            if let Err(problem) = done {
                self.end(problem);
                return;
            }
        }
        if let Err(problem) = self.apply() {
            self.end(problem);
        }
    }

    /// Ends the session from this side and keeps the reason.
    fn end(&mut self, problem: Problem) {
        self.inbox.clear();
        tracing::error!(code = problem.code.name(), reason = problem.reason, "sync cannot go on");
        self.session.close(problem.code, &problem.reason);
        self.closed = Some(Closed { by: ClosedBy::Us, code: problem.code, reason: problem.reason });
    }

    fn logged_in(&mut self, accepted: Box<LoginAccepted>) -> Result<(), Problem> {
        let sync = self.shared.store.sync();
        if accepted.decided_number > 0 {
            match sync.hash_of(accepted.decided_number)? {
                Some(hash) if hash == accepted.decided_hash => {}
                Some(_) => {
                    return Err(Problem::copied(
                        "the server has decided on other writes under this identity",
                    ));
                }
                None if accepted.decided_number > sync.login_state()?.last_number => {
                    return Err(Problem::copied(
                        "the server has decided on writes that this directory does not hold",
                    ));
                }
                None => {
                    return Err(Problem::server_lost(
                        "the server has forgotten writes of this device that it had acknowledged",
                    ));
                }
            }
        } else if sync.outbox(0, 1, 0)?.first().is_some_and(|first| !follows_nothing(first)) {
            return Err(Problem::server_lost(
                "the server does not know this device's earlier writes any more",
            ));
        }
        self.backoff.handle_login();
        self.inbox.login(accepted);
        self.apply()?;
        self.shared.status.update(|status| status.state = State::CatchingUp);
        self.shared.tell(&SyncEvent::LoggedIn);
        Ok(())
    }

    fn send_txs(&mut self, from: u64, txs_max: usize, bytes_max: usize) -> Result<(), Problem> {
        let txs = self.shared.store.sync().outbox(from.saturating_sub(1), txs_max, bytes_max)?;
        let txs = txs.into_iter().map(|tx| (tx.number, Bytes::from(tx.bytes))).collect();
        self.session
            .handle_txs(txs)
            .map_err(|error| Problem { code: Code::ClientFailed, reason: error.to_string() })
    }

    fn apply(&mut self) -> Result<(), Problem> {
        if self.inbox.is_empty() {
            return Ok(());
        }
        let sync = self.shared.store.sync();
        let applied = sync.apply(&self.inbox.deliveries())?;
        self.inbox.clear();
        self.session.handle_durable(applied.decided);
        // Also wakes those who wait for the outbox to be empty.
        self.shared.status.update(|status| status.objects_applied += applied.objects);
        if !applied.rejected.is_empty() {
            self.shared.tell(&SyncEvent::Rejected { numbers: applied.rejected });
        }
        if applied.objects > 0 {
            let seq = sync.cursor()?.seq;
            self.shared.tell(&SyncEvent::Applied { objects: applied.objects, seq });
        }
        Ok(())
    }

    /// Sends what the session still has to say and closes the connection.
    async fn say_goodbye(&mut self, writer: JoinHandle<Result<(), SocketError>>) {
        let abort = writer.abort_handle();
        if let Some(frames) = self.frames.take() {
            while let Some(frame) = self.session.poll_message() {
                if tokio::time::timeout(FAREWELL_TIMEOUT, frames.send(frame)).await.is_err() {
                    break;
                }
            }
        }
        if tokio::time::timeout(FAREWELL_TIMEOUT, writer).await.is_err() {
            abort.abort();
        }
    }
}

/// Whether a transaction is the first of its origin.
fn follows_nothing(tx: &reconvene_store::OutboxTx) -> bool {
    reconvene_model::change::decode_tx(&tx.bytes).is_ok_and(|(head, _)| head.previous == TxHash::NONE)
}

/// Why the session cannot go on, seen from this side.
struct Problem {
    code: Code,
    reason: String,
}

impl Problem {
    fn copied(what: &str) -> Self {
        Problem {
            code: Code::IdentityForked,
            reason: format!(
                "{what}: the directory is a copy, or was restored from a backup; nothing was changed, its unsent writes \
                 are kept in it"
            ),
        }
    }

    fn server_lost(what: &str) -> Self {
        Problem {
            code: Code::HistoryLost,
            reason: format!("{what}: it was restored from a backup or replaced; nothing was changed here"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::OtherHistory { .. } => Code::HistoryLost,
            StoreError::Disorder { .. } | StoreError::VerdictMissing { .. } => Code::OrderViolated,
            _ => Code::ClientFailed,
        };
        Problem { code, reason: error.to_string() }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
