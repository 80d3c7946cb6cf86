//! One connection: its task reads, has done what the conversation wants, and writes at the pace of the socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, SplitStream};
use reconvene_model::compare::{CompareRange, Slice, SliceOutcome};
use reconvene_model::{PeerId, Seq};
use reconvene_protocol::{Closed, Code, LoginRequest};
use reconvene_socket::{FRAMES_OUT_MAX, Meter, Socket};
use reconvene_store::{Chunk, ChunkStart, Fetched, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::accept::SessionName;
use crate::committer::Job;
use crate::committing::{Reply, Upload};
use crate::comparing::SharedSet;
use crate::conversation::{Conversation, Fed, Wanted};
use crate::login::{self, Refusal};
use crate::shared::{Registration, Shared};

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
        talk: Conversation::new(shared.protocol.clone(), nonce, shared.now_ms(), start.elapsed()),
        name,
        start,
        stream,
        signs_of_life: meter.signs_of_life(),
        meter,
        frames: Some(frames),
        replies: FuturesOrdered::new(),
        task: None,
        set: None,
        judged: None,
        head: shared.ring.head(),
        draining: shared.draining.subscribe(),
        registration: None,
        closed: None,
        shared,
    };
    connection.run().await;
    connection.say_goodbye(writer).await;
}

/// Work of this session on a thread that may block; one at a time.
enum Task {
    Login(JoinHandle<Result<(reconvene_protocol::LoginAnswer, PeerId), Refusal>>),
    Chunk(JoinHandle<Result<Chunk, StoreError>>),
    Fetch(JoinHandle<Result<Fetched, StoreError>>),
}

enum Done {
    Login(Result<(reconvene_protocol::LoginAnswer, PeerId), Refusal>),
    Chunk(Result<Chunk, StoreError>),
    Fetch(Result<Fetched, StoreError>),
    Failed,
}

struct Connection {
    shared: Arc<Shared>,
    talk: Conversation,
    name: SessionName,
    start: Instant,
    stream: SplitStream<Socket>,
    meter: Arc<Meter>,
    /// What the meter showed when it was last looked at.
    signs_of_life: u64,
    /// `None` once the farewell is on its way.
    frames: Option<mpsc::Sender<Bytes>>,
    /// What the committer will answer, in the order of the uploads.
    replies: FuturesOrdered<oneshot::Receiver<Reply>>,
    task: Option<Task>,
    /// The set to compare with that is being found.
    set: Option<JoinHandle<Result<Arc<SharedSet>, StoreError>>>,
    /// The digest that is being judged.
    judged: Option<JoinHandle<Result<SliceOutcome, StoreError>>>,
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
            self.head.borrow_and_update();
            let fed = match self.talk.follow(&self.shared.ring) {
                Fed::Chunk(start) => {
                    self.read_chunk(start);
                    Fed::Empty
                }
                Fed::Fetch(ranges) => {
                    self.fetch(ranges);
                    Fed::Empty
                }
                fed => fed,
            };
            let Some(frames) = self.frames.clone() else { return };
            while frames.capacity() > 0 {
                let Some(frame) = self.talk.poll_message() else { break };
                self.shared.stats.bytes_sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
                if frames.try_send(frame).is_err() {
                    self.talk.session().handle_disconnected("the connection was lost while sending");
                }
            }
            // What was just handed on may have made room for what could not be fetched before.
            if self.talk.session().is_closed() || (fed == Fed::Full && self.talk.has_room()) {
                continue;
            }
            let draining = *self.draining.borrow_and_update();
            if draining && self.replies.is_empty() {
                self.talk.session().drain();
                continue;
            }
            // With the queue full, the session may have more to say as soon as there is room.
            let full = frames.capacity() == 0;
            let live = self.talk.is_live() && !full;
            let timeout = self.talk.poll_timeout().map(|at| self.start + at);
            let replaced = self.registration.as_ref().map(Registration::replaced);
            tokio::select! {
                message = self.stream.next(), if !draining => self.receive(message),
                Some(reply) = self.replies.next(), if !self.replies.is_empty() => self.answer(reply),
                done = finish(&mut self.task), if self.task.is_some() => self.finished(done),
                set = found(&mut self.set), if self.set.is_some() => self.take_set(set),
                judged = found(&mut self.judged), if self.judged.is_some() => self.take_judged(judged),
                _ = self.head.changed(), if live => {}
                _ = frames.reserve(), if full => {}
                _ = self.draining.changed(), if !draining => {}
                () = frames.closed() => self.talk.session().handle_disconnected("the client takes nothing more"),
                () = notified(replaced) => {
                    self.talk.session().close(Code::Replaced, "this peer has logged in again; only its newest session stays");
                }
                () = sleep_until(timeout) => self.time_is_up(),
            }
        }
    }

    /// Acts on deadlines; a connection on which bytes still move is slow, not dead.
    fn time_is_up(&mut self) {
        let signs = self.meter.signs_of_life();
        if std::mem::replace(&mut self.signs_of_life, signs) != signs {
            self.talk.session().handle_progress(self.start.elapsed());
        }
        self.talk.session().handle_timeout(self.start.elapsed());
    }

    fn receive(&mut self, message: Option<Result<Message, SocketError>>) {
        match message {
            Some(Ok(Message::Binary(frame))) => {
                self.shared.stats.bytes_received.fetch_add(frame.len() as u64, Ordering::Relaxed);
                self.talk.session().handle_frame(frame, self.start.elapsed());
                self.talk.handle_set_age(self.shared.elapsed());
            }
            Some(Ok(Message::Text(_))) => {
                self.talk.session().close(Code::FrameInvalid, "messages of this protocol are binary");
            }
            Some(Ok(Message::Close(_))) | None => {
                self.talk.session().handle_disconnected("the client closed the connection");
            }
            Some(Ok(_)) => {}
            Some(Err(SocketError::Capacity(error))) => {
                self.talk.session().close(Code::FrameTooLong, &error.to_string());
            }
            // The meter's answer to a stranger who sends more than a login.
            Some(Err(SocketError::Io(error))) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.talk.session().close(Code::FrameTooLong, &error.to_string());
            }
            Some(Err(error)) => self.talk.session().handle_disconnected(&error.to_string()),
        }
    }

    async fn carry_out(&mut self) {
        while let Some(wanted) = self.talk.poll_wanted() {
            match wanted {
                Wanted::Login(request) => self.log_in(*request),
                Wanted::Decide { peer, txs } => self.decide(peer, txs).await,
                Wanted::Judge(slice) => self.judge(slice),
                Wanted::Set { from } => self.set = Some(tokio::spawn(self.shared.clone().set(from))),
                // To forget verdicts late does no harm, so a full queue may drop this.
                Wanted::Confirmed { peer, number } => {
                    drop(self.shared.jobs.try_send(Job::Confirmed(peer, number)));
                }
                Wanted::Closed(closed) => self.closed = Some(closed),
            }
        }
    }

    fn log_in(&mut self, request: LoginRequest) {
        let (shared, number) = (self.shared.clone(), self.name.number);
        self.task = Some(Task::Login(tokio::task::spawn_blocking(move || {
            let now_ms = shared.now_ms();
            let answer = login::judge(&shared.sync, &shared.admission, &request, number, now_ms)?;
            // Should the last confirmation have been lost, this makes up for it; a full queue may drop it once more.
            drop(shared.jobs.try_send(Job::Confirmed(request.peer, request.login.confirmed)));
            Ok((answer, request.peer))
        })));
    }

    async fn decide(&mut self, peer: PeerId, txs: Vec<Bytes>) {
        let (reply, receiver) = oneshot::channel();
        // Waits while the queue is full, and so reads no more from this client.
        if self.shared.jobs.send(Job::Upload(Upload { peer, txs, reply })).await.is_err() {
            self.talk.session().close(Code::ServerFailed, "the server can write no more; its log says why");
            return;
        }
        self.replies.push_back(receiver);
    }

    fn answer(&mut self, reply: Result<Reply, oneshot::error::RecvError>) {
        let before = self.talk.verdicts();
        match reply {
            Ok(reply) => self.talk.handle_decided(reply),
            Err(_) => {
                self.talk
                    .session()
                    .close(Code::ServerFailed, "the server can write no more; its log says why");
            }
        }
        self.shared.stats.verdicts.fetch_add(self.talk.verdicts() - before, Ordering::Relaxed);
    }

    fn read_chunk(&mut self, start: ChunkStart) {
        let shared = self.shared.clone();
        let Some(peer) = self.registration.as_ref().map(Registration::peer) else { return };
        self.task = Some(Task::Chunk(tokio::spawn(async move {
            let _permit = shared.catch_ups.acquire().await;
            let (sync, bytes) = (shared.sync.clone(), shared.limits.chunk_bytes);
            let read = tokio::task::spawn_blocking(move || sync.chunk_for(peer, start, bytes));
            read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        })));
    }

    fn fetch(&mut self, ranges: Vec<CompareRange>) {
        let shared = self.shared.clone();
        self.task = Some(Task::Fetch(tokio::spawn(async move {
            let _permit = shared.catch_ups.acquire().await;
            let (sync, bytes) = (shared.sync.clone(), shared.limits.chunk_bytes);
            let read = tokio::task::spawn_blocking(move || sync.fetch(&ranges, bytes));
            read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        })));
    }

    fn judge(&mut self, slice: Slice) {
        let shared = self.shared.clone();
        self.judged = Some(tokio::spawn(async move {
            let _permit = shared.catch_ups.acquire().await;
            let sync = shared.sync.clone();
            let judged = tokio::task::spawn_blocking(move || sync.judge_slice(&slice));
            judged.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        }));
    }

    fn take_judged(&mut self, judged: Option<Result<SliceOutcome, StoreError>>) {
        self.judged = None;
        match judged {
            Some(judged) => {
                let differs = self.talk.handle_judged(judged);
                self.shared.stats.divergences.fetch_add(u64::from(differs), Ordering::Relaxed);
            }
            None => self.finished(Done::Failed),
        }
    }

    fn take_set(&mut self, set: Option<Result<Arc<SharedSet>, StoreError>>) {
        self.set = None;
        match set {
            Some(set) => self.talk.handle_set(set),
            None => self.finished(Done::Failed),
        }
    }

    fn finished(&mut self, done: Done) {
        self.task = None;
        match done {
            Done::Login(Ok((answer, peer))) => {
                let SessionName { number, address } = self.name;
                tracing::info!(session = number, %peer, %address, seq = %answer.catch_up_from, compare = answer.compare, "a device logged in");
                self.meter.lift_limit();
                self.registration = Some(self.shared.register(peer));
                self.talk.handle_login(Ok(answer), self.start.elapsed());
            }
            Done::Login(Err(refusal)) => {
                let SessionName { number, address } = self.name;
                let code = refusal.code;
                tracing::warn!(session = number, %address, code = %code.name(), reason = refusal.message, "a login was refused");
                self.talk.handle_login(Err(refusal), self.start.elapsed());
            }
            Done::Chunk(chunk) => self.talk.handle_chunk(chunk),
            Done::Fetch(fetched) => self.talk.handle_fetched(fetched),
            Done::Failed => self
                .talk
                .session()
                .close(Code::ServerFailed, "something broke on the server; its log says what"),
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
            while let Some(frame) = self.talk.poll_message() {
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
        Some(Task::Fetch(handle)) => handle.await.map_or(Done::Failed, Done::Fetch),
        None => std::future::pending().await,
    }
}

async fn found<T>(task: &mut Option<JoinHandle<Result<T, StoreError>>>) -> Option<Result<T, StoreError>> {
    match task {
        Some(handle) => handle.await.ok(),
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
