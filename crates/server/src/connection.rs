//! One connection: its task reads, asks the committer, follows the history, and writes at the pace of the socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, SplitStream};
use reconvene_model::{PeerId, Seq, TxNumber};
use reconvene_protocol::{Closed, Code, LoginRequest, SendError, ServerEvent, ServerSession, UploadedTx};
use reconvene_socket::{FRAMES_OUT_MAX, Meter, Socket};
use reconvene_store::{Break, Chunk, ChunkStart, Decision, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::accept::SessionName;
use crate::committer::{Job, Reply, Upload};
use crate::login::{self, Refusal};
use crate::ring::Next;
use crate::shared::{Registration, Shared};

/// The bytes that may wait in a session before the next part of the history is fetched for it.
const QUEUE_BYTES: usize = 512 * 1024;

/// How long a farewell may take to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves a connection whose WebSocket handshake is done, until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, socket: Socket, name: SessionName) {
    let start = Instant::now();
    let mut nonce = [0; reconvene_protocol::NONCE_BYTES];
    if let Err(error) = getrandom::fill(&mut nonce) {
        tracing::error!(%error, "no random numbers are to be had: no session can be opened");
        return;
    }
    let meter = socket.get_ref().meter().clone();
    let (sink, stream) = socket.split();
    let (frames, queue) = mpsc::channel(FRAMES_OUT_MAX);
    let writer = tokio::spawn(reconvene_socket::write(sink, queue, shared.limits.send_timeout));
    let mut connection = Connection {
        session: ServerSession::new(shared.protocol.clone(), nonce, shared.now_ms(), start.elapsed()),
        name,
        start,
        stream,
        moved: meter.moved(),
        meter,
        frames: Some(frames),
        replies: FuturesOrdered::new(),
        task: None,
        following: Following::Nothing,
        told: 0,
        head: shared.ring.head(),
        draining: shared.draining.subscribe(),
        registration: None,
        closed: None,
        shared,
    };
    connection.run().await;
    connection.say_goodbye(writer).await;
}

/// How a session follows the history.
enum Following {
    /// Not logged in.
    Nothing,
    /// Reading from the store, from here on.
    CatchUp(ChunkStart),
    /// Reading from the ring.
    Live,
}

/// Why no more of the history was fetched for a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fed {
    /// What was fetched before has to leave first.
    Full,
    /// There is nothing more at this moment; something will wake the session when there is.
    Empty,
}

/// Work of this session on a thread that may block; one at a time.
enum Task {
    Login(JoinHandle<Result<(reconvene_protocol::LoginAnswer, PeerId), Refusal>>),
    Chunk(JoinHandle<Result<Chunk, StoreError>>),
}

enum Done {
    Login(Result<(reconvene_protocol::LoginAnswer, PeerId), Refusal>),
    Chunk(Result<Chunk, StoreError>),
    Failed,
}

struct Connection {
    shared: Arc<Shared>,
    session: ServerSession,
    name: SessionName,
    start: Instant,
    stream: SplitStream<Socket>,
    meter: Arc<Meter>,
    /// What the meter showed when it was last looked at.
    moved: u64,
    /// `None` once the farewell is on its way.
    frames: Option<mpsc::Sender<Bytes>>,
    /// What the committer will answer, in the order of the uploads.
    replies: FuturesOrdered<oneshot::Receiver<Reply>>,
    task: Option<Task>,
    following: Following,
    /// The highest own transaction of whose verdict the client was told.
    told: TxNumber,
    head: watch::Receiver<Seq>,
    draining: watch::Receiver<bool>,
    registration: Option<Registration>,
    closed: Option<Closed>,
}

impl Connection {
    async fn run(&mut self) {
        loop {
            self.carry_out().await;
            if self.closed.is_some() {
                return;
            }
            let fed = self.follow();
            let Some(frames) = self.frames.clone() else { return };
            while frames.capacity() > 0 {
                let Some(frame) = self.session.poll_message() else { break };
                self.shared.stats.bytes_sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
                if frames.try_send(frame).is_err() {
                    self.session.handle_disconnected("the connection was lost while sending");
                }
            }
            // What was just handed on may have made room for what could not be fetched before.
            if self.session.is_closed() || (fed == Fed::Full && self.has_room()) {
                continue;
            }
            let draining = *self.draining.borrow_and_update();
            if draining && self.replies.is_empty() {
                self.session.drain();
                continue;
            }
            // With the queue full, the session may have more to say as soon as there is room.
            let full = frames.capacity() == 0;
            let live = matches!(self.following, Following::Live) && !full;
            let timeout = self.session.poll_timeout().map(|at| self.start + at);
            let replaced = self.registration.as_ref().map(Registration::replaced);
            tokio::select! {
                message = self.stream.next(), if !draining => self.receive(message),
                Some(reply) = self.replies.next(), if !self.replies.is_empty() => self.answer(reply),
                done = finish(&mut self.task), if self.task.is_some() => self.finished(done),
                _ = self.head.changed(), if live => {}
                _ = frames.reserve(), if full => {}
                _ = self.draining.changed(), if !draining => {}
                () = frames.closed() => self.session.handle_disconnected("the client takes nothing more"),
                () = notified(replaced) => {
                    self.session.close(Code::Replaced, "this peer has logged in again; only its newest session stays");
                }
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

    fn receive(&mut self, message: Option<Result<Message, SocketError>>) {
        match message {
            Some(Ok(Message::Binary(frame))) => {
                self.shared.stats.bytes_received.fetch_add(frame.len() as u64, Ordering::Relaxed);
                self.session.handle_frame(frame, self.start.elapsed());
            }
            Some(Ok(Message::Text(_))) => {
                self.session.close(Code::FrameInvalid, "messages of this protocol are binary");
            }
            Some(Ok(Message::Close(_))) | None => {
                self.session.handle_disconnected("the client closed the connection");
            }
            Some(Ok(_)) => {}
            Some(Err(SocketError::Capacity(error))) => {
                self.session.close(Code::FrameTooLong, &error.to_string());
            }
            Some(Err(error)) => self.session.handle_disconnected(&error.to_string()),
        }
    }

    async fn carry_out(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                ServerEvent::LoginRequested(request) => self.log_in(*request),
                ServerEvent::Uploaded(txs) => self.upload(txs).await,
                ServerEvent::Confirmed(number) => {
                    if let Some(peer) = self.session.peer() {
                        // To forget verdicts late does no harm, so a full queue may drop this.
                        drop(self.shared.jobs.try_send(Job::Confirmed(peer, number)));
                    }
                }
                ServerEvent::Closed(closed) => self.closed = Some(closed),
            }
        }
    }

    fn log_in(&mut self, request: LoginRequest) {
        let (shared, number) = (self.shared.clone(), self.name.number);
        self.task = Some(Task::Login(tokio::task::spawn_blocking(move || {
            let now_ms = shared.now_ms();
            let answer = login::judge(&shared.sync, &shared.authentication, &request, number, now_ms)?;
            // Should the last confirmation have been lost, this makes up for it; a full queue may drop it once more.
            drop(shared.jobs.try_send(Job::Confirmed(request.peer, request.login.confirmed)));
            Ok((answer, request.peer))
        })));
    }

    async fn upload(&mut self, txs: Vec<UploadedTx>) {
        let Some(peer) = self.session.peer() else { return };
        let (reply, receiver) = oneshot::channel();
        let txs = txs.into_iter().map(|tx| tx.bytes).collect();
        // Waits while the queue is full, and so reads no more from this client.
        if self.shared.jobs.send(Job::Upload(Upload { peer, txs, reply })).await.is_err() {
            self.session.close(Code::ServerFailed, "the server can write no more; its log says why");
            return;
        }
        self.replies.push_back(receiver);
    }

    fn answer(&mut self, reply: Result<Reply, oneshot::error::RecvError>) {
        let decided = match reply {
            Ok(Ok(decided)) => decided,
            Ok(Err(_)) | Err(_) => {
                let reason = "the server could not store what was uploaded; nothing of it was taken, send it again later";
                self.session.close(Code::ServerFailed, reason);
                return;
            }
        };
        let mut verdicts = Vec::with_capacity(decided.len());
        for decided in decided {
            match decided.decision {
                Decision::Verdict { number, verdict } => {
                    self.told = self.told.max(number);
                    verdicts.push(login::verdict((number, verdict)));
                }
                Decision::Known { number } => self.told = self.told.max(number),
                Decision::Broken { what, reason } => {
                    tracing::warn!(peer = %decided.peer, reason, "a client uploaded what is no transaction of its own");
                    let code = match what {
                        Break::Chain => Code::TxChainBroken,
                        Break::Gap => Code::TxGap,
                        Break::Content => Code::TxInvalid,
                    };
                    self.session.close(code, &reason);
                    return;
                }
            }
        }
        self.shared.stats.verdicts.fetch_add(verdicts.len() as u64, Ordering::Relaxed);
        if let Err(error) = self.session.send_verdicts(verdicts) {
            self.send_failed(error);
        }
    }

    fn finished(&mut self, done: Done) {
        self.task = None;
        match done {
            Done::Login(Ok((answer, peer))) => {
                let SessionName { number, address } = self.name;
                tracing::info!(session = number, %peer, %address, seq = %answer.catch_up_from, "a device logged in");
                self.following = Following::CatchUp(ChunkStart::after(answer.catch_up_from));
                self.told = answer.decided_number;
                self.meter.lift_limit();
                self.registration = Some(self.shared.register(peer));
                self.session.accept_login(answer, self.start.elapsed());
            }
            Done::Login(Err(refusal)) => {
                let SessionName { number, address } = self.name;
                let code = refusal.code;
                tracing::warn!(session = number, %address, code = %code.name(), reason = refusal.message, "a login was refused");
                self.session.refuse_login(refusal.code, &refusal.message);
            }
            Done::Chunk(Ok(chunk)) => self.send_chunk(chunk),
            Done::Chunk(Err(error)) => {
                tracing::error!(%error, session = self.name.number, "the history could not be read");
                self.session
                    .close(Code::ServerFailed, "the server could not read its history; its log says why");
            }
            Done::Failed => {
                self.session.close(Code::ServerFailed, "something broke on the server; its log says what")
            }
        }
    }

    fn send_chunk(&mut self, chunk: Chunk) {
        self.following = Following::CatchUp(chunk.next);
        if let Some(block) = chunk.block
            && let Err(error) = self.session.send_catch_up(block.into(), chunk.upto)
        {
            self.send_failed(error);
            return;
        }
        if chunk.last {
            match self.session.send_catch_up_done(chunk.upto) {
                Ok(()) => self.following = Following::Live,
                Err(error) => self.send_failed(error),
            }
        }
    }

    fn has_room(&self) -> bool {
        self.session.queue_bytes() < QUEUE_BYTES.min(self.shared.protocol.queue_bytes_max)
    }

    /// Fetches what comes next in the history, as long as what was fetched before is on its way.
    fn follow(&mut self) -> Fed {
        while self.session.is_logged_in() {
            if !self.has_room() {
                return Fed::Full;
            }
            match self.following {
                Following::Nothing => return Fed::Empty,
                Following::CatchUp(start) => {
                    if self.task.is_none() {
                        let shared = self.shared.clone();
                        self.task = Some(Task::Chunk(tokio::spawn(async move {
                            let _permit = shared.catch_ups.acquire().await;
                            let (sync, bytes) = (shared.sync.clone(), shared.limits.chunk_bytes);
                            let read = tokio::task::spawn_blocking(move || sync.chunk(start, bytes));
                            read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
                        })));
                    }
                    return Fed::Empty;
                }
                Following::Live => {
                    let (Some(peer), Some(sent)) = (self.session.peer(), self.session.sent_seq()) else {
                        return Fed::Empty;
                    };
                    self.head.borrow_and_update();
                    match self.shared.ring.next(sent) {
                        Next::UpToDate => return Fed::Empty,
                        Next::FallenBehind => self.following = Following::CatchUp(ChunkStart::after(sent)),
                        // With its own transaction confirmed, a client forgets what it wrote; the verdict, which may name
                        // ops that were lost, has to come before. It is on its way and wakes the session.
                        Next::Run(run) if run.last_number_of(peer) > Some(self.told) => return Fed::Empty,
                        Next::Run(run) => {
                            for frame in run.frames_for(peer, sent) {
                                if let Err(error) = self.session.send_push(&frame) {
                                    self.send_failed(error);
                                    return Fed::Empty;
                                }
                            }
                        }
                    }
                }
            }
        }
        Fed::Empty
    }

    fn send_failed(&mut self, error: SendError) {
        match error {
            // The session is over; what it missed it gets at the next login.
            SendError::NotLoggedIn => {}
            error => {
                tracing::error!(%error, session = self.name.number, "the server could not send what it should have");
                self.session.close(Code::ServerFailed, &error.to_string());
            }
        }
    }

    /// Sends what the session still has to say and closes the connection.
    async fn say_goodbye(&mut self, writer: JoinHandle<Result<(), SocketError>>) {
        let peer = self.registration.take().map(|registration| registration.peer());
        if let Some(closed) = &self.closed {
            let (session, code, reason) = (self.name.number, closed.code.name(), &closed.reason);
            match peer {
                Some(peer) => tracing::info!(session, %peer, %code, reason, "a device has left"),
                None => tracing::debug!(session, %code, reason, "a connection ended without a login"),
            }
        }
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

async fn finish(task: &mut Option<Task>) -> Done {
    match task {
        Some(Task::Login(handle)) => handle.await.map_or(Done::Failed, Done::Login),
        Some(Task::Chunk(handle)) => handle.await.map_or(Done::Failed, Done::Chunk),
        None => std::future::pending().await,
    }
}

async fn notified(replaced: Option<Arc<tokio::sync::Notify>>) {
    match replaced {
        Some(replaced) => replaced.notified().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
