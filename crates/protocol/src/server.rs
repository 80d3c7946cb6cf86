//! The session of a server with one client.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::change::{TxHead, decode_tx};
use reconvene_model::identity::peer_of;
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};

use crate::PROTOCOL_VERSION;
use crate::close::Closed;
use crate::code::Code;
use crate::heartbeat::Heartbeat;
use crate::limits::{
    ENVELOPE_BYTES_MAX, LOGIN_BYTES_MAX, LOST_OPS_MAX, Limits, MESSAGE_BYTES_MIN, TEXT_BYTES_MAX,
    UPLOAD_TXS_MAX, VERDICTS_MAX,
};
use crate::login::{CredentialProof, Nonce, Secret, verify_login};
use crate::message::{Hello, Login, LoginAccepted, Message, Outcome, Verdict};
use crate::push::PushFrame;
use crate::timer::{Timer, TimerTable};

/// One connection of a server to a client, as a machine without sockets, clock or store.
///
/// The engine makes one per connection and throws it away with it. What goes in:
///
/// - [`handle_frame`](Self::handle_frame) for every WebSocket binary message, and [`handle_progress`](Self::handle_progress)
///   while a long one is under way
/// - [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is past
/// - [`accept_login`](Self::accept_login) or [`refuse_login`](Self::refuse_login) in answer to
///   [`ServerEvent::LoginRequested`]
/// - after that [`send_verdicts`](Self::send_verdicts), [`send_catch_up`](Self::send_catch_up),
///   [`send_catch_up_done`](Self::send_catch_up_done) and then [`send_push`](Self::send_push), as the history goes on
/// - [`handle_disconnected`](Self::handle_disconnected) when the connection is gone; [`drain`](Self::drain) or
///   [`close`](Self::close) to end it
///
/// After each of these the engine takes what came out: [`poll_event`](Self::poll_event) until `None`, then
/// [`poll_message`](Self::poll_message) until `None` or until the connection takes no more, then it waits until
/// `poll_timeout`. Time is a `Duration` since any start that stays the same for the session.
///
/// A client that must catch up again, because its queue was full, is sent another catch-up from [`Self::sent_seq`]: that is
/// legal at any time. After [`ServerEvent::Closed`] no event follows; the engine sends what `poll_message` still gives, the
/// farewell, and drops the connection. Nothing that a client sends makes the session panic.
#[derive(Debug)]
pub struct ServerSession {
    config: ServerConfig,
    nonce: Nonce,
    state: State,
    timers: TimerTable,
    events: VecDeque<ServerEvent>,
    queue: VecDeque<Bytes>,
    queue_bytes: usize,
}

/// How a server session behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What a client must keep to.
    pub limits: Limits,
    /// After this long without a word from the server a client asks for a sign of life; the server asks after half as long
    /// again. Default 30 s; shorter finds dead connections sooner and costs traffic and battery.
    pub heartbeat: Duration,
    /// How long a client that was asked for a sign of life may take. Default 15 s.
    pub pong_timeout: Duration,
    /// How long a client may take from the opening of the connection to its login. Default 10 s.
    pub login_timeout: Duration,
    /// The most bytes of pushes and catch-up that wait for one client. Default 4 MiB; a single frame may be longer.
    pub queue_bytes_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            limits: Limits::default(),
            heartbeat: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(15),
            login_timeout: Duration::from_secs(10),
            queue_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl ServerConfig {
    /// The most operations of a transaction that a server with these limits can take: a verdict must be able to name each.
    pub fn tx_ops_max(&self) -> usize {
        let room = self.limits.message_bytes_max.max(MESSAGE_BYTES_MIN) - TEXT_BYTES_MAX - ENVELOPE_BYTES_MAX;
        LOST_OPS_MAX.min(room / LOST_OP_BYTES_MAX)
    }

    /// The longest transaction that fits a message with these limits, in bytes.
    pub fn tx_bytes_max(&self) -> usize {
        self.limits.message_bytes_max.max(MESSAGE_BYTES_MIN) - ENVELOPE_BYTES_MAX
    }
}

/// What a server session asks of its engine, in the order in which it must be done.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// A client wants a session, and owns the key that it names. The engine answers with [`ServerSession::accept_login`] or
    /// [`ServerSession::refuse_login`].
    LoginRequested(Box<LoginRequest>),
    /// The client sent transactions. The engine decides on them in this order and answers with
    /// [`ServerSession::send_verdicts`] once that is durable. The first may have been decided before: it gets its original
    /// verdict again, or none if that is confirmed.
    Uploaded(Vec<UploadedTx>),
    /// The client holds the verdicts up to this number durably, and they may be forgotten. The number only rises.
    Confirmed(TxNumber),
    /// The session is over.
    Closed(Closed),
}

/// A transaction as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedTx {
    /// Its head; the origin is the peer of this session.
    pub head: TxHead,
    /// All its bytes, head included.
    pub bytes: Bytes,
}

/// A client's request for a session; its signature was checked.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The name of the client: the hash of its public key.
    pub peer: PeerId,
    /// What the client sent.
    pub login: Login,
    nonce: Nonce,
}

impl LoginRequest {
    /// Whether the client proved that it knows this secret; takes the same time for every wrong proof.
    pub fn verify_secret(&self, secret: &Secret) -> bool {
        self.login.credentials.iter().fold(false, |known, proof| match proof {
            CredentialProof::SharedSecret(proof) => {
                known | secret.proves(&self.nonce, &self.login.public_key, proof)
            }
            _ => known,
        })
    }

    /// Whether the client offered the proof of a shared secret, right or wrong.
    pub fn offers_secret(&self) -> bool {
        self.login.credentials.iter().any(|proof| matches!(proof, CredentialProof::SharedSecret(_)))
    }
}

/// What the engine knows when it accepts a login; the session adds limits and heartbeat.
#[derive(Clone, Debug)]
pub struct LoginAnswer {
    /// The number of this session in the server's logs.
    pub session: u64,
    /// The server's clock in milliseconds since 1970.
    pub server_time_ms: u64,
    /// The highest number of this client that is decided durably; 0 for none.
    pub decided_number: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub decided_hash: TxHash,
    /// The head of the history.
    pub decided_seq: Seq,
    /// The verdicts above the confirmed number that took something back, in the order of their numbers.
    pub refusals: Vec<Verdict>,
    /// The epoch of the server's history; not 0.
    pub epoch: u64,
    /// The key of the client's view.
    pub view: u64,
    /// Catch-up starts above this Seq: at most the Seq of the client's cursor, or 0 if that is of another epoch or view.
    pub catch_up_from: Seq,
    /// Those of the client's capabilities that are in force.
    pub capabilities: Vec<String>,
}

/// Why something could not be sent; the session is as if nobody had tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is over, or not logged in.
    #[error("the session is not logged in; drop what was to be sent, the client gets it when it comes back")]
    NotLoggedIn,
    /// The client reads too slowly.
    #[error("too much waits for this client; catch it up again when the queue has drained")]
    QueueFull,
    /// It would not continue what was sent before.
    #[error(
        "this does not follow what the client was sent; after a catch-up comes its end, then pushes by rising Seq"
    )]
    OutOfOrder,
    /// It does not fit a message.
    #[error("a message of {length} bytes is longer than the limit of {max}; cut it smaller")]
    TooLong {
        /// The length of the frame in bytes.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
}

#[derive(Debug)]
enum State {
    AwaitLogin,
    /// The engine judges the login.
    Judging(Box<Judging>),
    LoggedIn(Box<LoggedIn>),
    Closed,
}

/// What of the login is needed once the engine has answered.
#[derive(Debug)]
struct Judging {
    peer: PeerId,
    confirmed: TxNumber,
}

#[derive(Debug)]
struct LoggedIn {
    peer: PeerId,
    /// Whether the answer to the login is on its way.
    greeted: bool,
    heartbeat: Heartbeat,
    /// The highest number that was uploaded in this session or decided before it.
    uploaded: TxNumber,
    /// The highest number that the client was told a verdict on.
    decided: TxNumber,
    confirmed: TxNumber,
    /// Uploaded and without verdict: number and length.
    in_flight: VecDeque<(TxNumber, usize)>,
    in_flight_bytes: usize,
    /// The client was sent everything up to here.
    seq: Seq,
    catching_up: bool,
}

/// What one lost operation adds to a verdict, at most, in bytes.
const LOST_OP_BYTES_MAX: usize = 25;

/// About how long a message with several verdicts is.
const VERDICTS_BYTES: usize = 256 * 1024;

impl ServerSession {
    /// The session of a connection that has just been opened.
    ///
    /// The nonce must come from a cryptographic random number generator and never be used twice.
    pub fn new(config: ServerConfig, nonce: Nonce, server_time_ms: u64, now: Duration) -> Self {
        let mut timers = TimerTable::default();
        timers.set(Timer::Login, now + config.login_timeout);
        let limits = Limits {
            message_bytes_max: config.limits.message_bytes_max.max(MESSAGE_BYTES_MIN),
            upload_window_txs: config.limits.upload_window_txs.clamp(1, UPLOAD_TXS_MAX),
            upload_window_bytes: config.limits.upload_window_bytes.max(1),
        };
        let mut session = ServerSession {
            config: ServerConfig { limits, ..config },
            nonce,
            state: State::AwaitLogin,
            timers,
            events: VecDeque::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
        };
        let hello = Hello { versions: vec![PROTOCOL_VERSION], nonce, server_time_ms };
        session.enqueue(Message::Hello(hello).encode());
        session
    }

    /// Takes one WebSocket binary message.
    pub fn handle_frame(&mut self, frame: Bytes, now: Duration) {
        if self.is_closed() {
            return;
        }
        match Message::decode(frame, self.message_bytes_max()) {
            Ok(message) => self.handle_message(message, now),
            Err(error) => self.close(error.code(), &error.to_string()),
        }
    }

    /// Notes that bytes of a message that is not whole yet moved in either direction: a sign of life.
    pub fn handle_progress(&mut self, now: Duration) {
        if let State::LoggedIn(session) = &mut self.state {
            session.heartbeat.heard(&mut self.timers, now);
        }
    }

    /// Acts on every deadline that is past.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(timer) = self.timers.expire(now) {
            match (timer, &mut self.state) {
                (Timer::Idle, State::LoggedIn(session)) => session.heartbeat.idle(&mut self.timers, now),
                (Timer::Pong, _) => {
                    self.close(
                        Code::HeartbeatLost,
                        "the client gave no sign of life; the connection is dead",
                    );
                }
                (Timer::Login, _) => {
                    self.close(Code::LoginLate, "the client did not log in in time; connect again");
                }
                (Timer::Idle, _) => {}
            }
        }
    }

    /// Opens the session for the client whose login was requested; without such a request it does nothing.
    pub fn accept_login(&mut self, answer: LoginAnswer, now: Duration) {
        let State::Judging(judging) = &self.state else { return };
        let session = LoggedIn {
            peer: judging.peer,
            greeted: false,
            heartbeat: Heartbeat::start(
                self.config.heartbeat + self.config.heartbeat / 2,
                self.config.pong_timeout,
                &mut self.timers,
                now,
            ),
            uploaded: answer.decided_number,
            decided: answer.decided_number,
            confirmed: judging.confirmed,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            seq: answer.catch_up_from,
            catching_up: true,
        };
        let message = Message::LoginAccepted(Box::new(LoginAccepted {
            session: answer.session,
            server_time_ms: answer.server_time_ms,
            decided_number: answer.decided_number,
            decided_hash: answer.decided_hash,
            decided_seq: answer.decided_seq,
            refusals: answer.refusals,
            epoch: answer.epoch,
            view: answer.view,
            catch_up_from: answer.catch_up_from,
            limits: self.config.limits,
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX).max(1),
            capabilities: answer.capabilities,
        }));
        self.state = State::LoggedIn(Box::new(session));
        self.enqueue(message.encode());
    }

    /// Sends the client away with a reason; without a login that waits for its judgement it does nothing.
    pub fn refuse_login(&mut self, code: Code, message: &str) {
        if matches!(self.state, State::Judging(_)) {
            self.refuse(code, message);
        }
    }

    /// Tells the client what was decided durably, by rising numbers unless a duplicate gets its original verdict.
    ///
    /// Never refused for a full queue: the upload window bounds what can be due.
    pub fn send_verdicts(&mut self, verdicts: Vec<Verdict>) -> Result<(), SendError> {
        let max = self.config.limits.message_bytes_max;
        let State::LoggedIn(session) = &mut self.state else { return Err(SendError::NotLoggedIn) };
        if let Some(length) = verdicts.iter().map(verdict_bytes).find(|length| *length > max) {
            return Err(SendError::TooLong { length, max });
        }
        for verdict in &verdicts {
            session.settle(verdict.number);
        }
        let mut run: Vec<Verdict> = Vec::new();
        let mut bytes = 0;
        let target = VERDICTS_BYTES.min(max);
        for verdict in verdicts {
            let length = verdict_bytes(&verdict);
            if !run.is_empty() && (bytes + length > target || run.len() == VERDICTS_MAX) {
                self.enqueue(Message::Verdicts(std::mem::take(&mut run)).encode());
                bytes = 0;
            }
            bytes += length;
            run.push(verdict);
        }
        if !run.is_empty() {
            self.enqueue(Message::Verdicts(run).encode());
        }
        Ok(())
    }

    /// Sends a chunk of catch-up that brings the client up to `upto_seq`, which must be above [`Self::sent_seq`].
    pub fn send_catch_up(&mut self, states: Bytes, upto_seq: Seq) -> Result<(), SendError> {
        if upto_seq <= self.sent_seq().ok_or(SendError::NotLoggedIn)? {
            return Err(SendError::OutOfOrder);
        }
        self.enqueue_bounded(Message::CatchUp { states, upto_seq }.encode())?;
        self.sent(upto_seq, true);
        Ok(())
    }

    /// Ends a catch-up: no row is left up to `seq`, and pushes follow from there.
    pub fn send_catch_up_done(&mut self, seq: Seq) -> Result<(), SendError> {
        if !self.is_catching_up() || self.sent_seq().is_some_and(|sent| seq < sent) {
            return Err(if self.is_logged_in() { SendError::OutOfOrder } else { SendError::NotLoggedIn });
        }
        self.enqueue(Message::CatchUpDone(seq).encode());
        self.sent(seq, false);
        Ok(())
    }

    /// Sends a push whose first Seq is above [`Self::sent_seq`], once catch-up is done.
    pub fn send_push(&mut self, push: &PushFrame) -> Result<(), SendError> {
        let sent = self.sent_seq().ok_or(SendError::NotLoggedIn)?;
        if self.is_catching_up() || push.first_seq() <= sent {
            return Err(SendError::OutOfOrder);
        }
        self.enqueue_bounded(push.bytes().clone())?;
        self.sent(push.last_seq(), false);
        Ok(())
    }

    /// Ends the session because the server goes away; the client comes back by itself.
    pub fn drain(&mut self) {
        self.close(Code::GoingAway, "the server shuts down or restarts; connect again");
    }

    /// Ends the session: a farewell is sent, then [`ServerEvent::Closed`] is the last event. What was queued is dropped: the
    /// client gets it when it comes back.
    pub fn close(&mut self, code: Code, reason: &str) {
        if !self.is_closed() {
            let farewell = Message::Bye { code, reason: reason.into() };
            self.end(Closed::us(code, reason), Some(&farewell));
        }
    }

    /// Notes that the connection is gone.
    pub fn handle_disconnected(&mut self, reason: &str) {
        if !self.is_closed() {
            self.end(Closed::link(reason), None);
        }
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// The next frame to send as a WebSocket binary message.
    pub fn poll_message(&mut self) -> Option<Bytes> {
        if let State::LoggedIn(session) = &mut self.state
            // The answer to the login is the first message of a session, whatever the client sent meanwhile.
            && session.greeted
        {
            if let Some(token) = session.heartbeat.take_pong() {
                return Some(Message::Pong(token).encode());
            }
            if let Some(token) = session.heartbeat.take_ping() {
                return Some(Message::Ping(token).encode());
            }
        }
        let frame = self.queue.pop_front()?;
        self.queue_bytes -= frame.len();
        if let State::LoggedIn(session) = &mut self.state {
            session.greeted = true;
        }
        Some(frame)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Who is logged in.
    pub fn peer(&self) -> Option<PeerId> {
        match &self.state {
            State::LoggedIn(session) => Some(session.peer),
            _ => None,
        }
    }

    /// Whether a client is logged in.
    pub fn is_logged_in(&self) -> bool {
        matches!(self.state, State::LoggedIn(_))
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the client waits for the end of a catch-up.
    pub fn is_catching_up(&self) -> bool {
        matches!(&self.state, State::LoggedIn(session) if session.catching_up)
    }

    /// Up to where the client was sent everything; `None` without a login.
    pub fn sent_seq(&self) -> Option<Seq> {
        match &self.state {
            State::LoggedIn(session) => Some(session.seq),
            _ => None,
        }
    }

    /// How many bytes wait for the connection to take them.
    pub fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// How many uploaded transactions wait for their verdict.
    pub fn in_flight(&self) -> usize {
        match &self.state {
            State::LoggedIn(session) => session.in_flight.len(),
            _ => 0,
        }
    }

    /// The longest frame that the session takes at this moment, in bytes, for the WebSocket reader to stop at.
    pub fn message_bytes_max(&self) -> usize {
        match self.state {
            State::LoggedIn(_) => self.config.limits.message_bytes_max,
            _ => LOGIN_BYTES_MAX,
        }
    }

    fn handle_message(&mut self, message: Message, now: Duration) {
        match (&mut self.state, message) {
            (State::Closed, _) => {}
            (_, Message::Bye { code, reason }) => self.end(Closed::peer(code, reason), None),
            (State::AwaitLogin, Message::Login(login)) => self.judge(*login),
            (State::LoggedIn(session), message) => {
                session.heartbeat.heard(&mut self.timers, now);
                match session.handle(message, &self.config.limits) {
                    Ok(event) => self.events.extend(event),
                    Err((code, reason)) => self.close(code, &reason),
                }
            }
            (_, message) => self.close(
                Code::KindUnexpected,
                &format!("the client sent {} before it was logged in", message.name()),
            ),
        }
    }

    fn judge(&mut self, login: Login) {
        // From here on the engine is awaited, not the client.
        self.timers.stop(Timer::Login);
        if login.version != PROTOCOL_VERSION {
            self.refuse(
                Code::VersionUnsupported,
                &format!(
                    "the client chose version {} of the protocol, which this server does not speak; update the older side",
                    login.version
                ),
            );
        } else if !verify_login(&login.public_key, &self.nonce, &login.signature) {
            self.refuse(
                Code::SignatureWrong,
                "the login is not signed with its own key for this connection; sign the nonce of this Hello",
            );
        } else {
            let peer = peer_of(&login.public_key);
            self.state = State::Judging(Box::new(Judging { peer, confirmed: login.confirmed }));
            let request = LoginRequest { peer, login, nonce: self.nonce };
            self.events.push_back(ServerEvent::LoginRequested(Box::new(request)));
        }
    }

    fn refuse(&mut self, code: Code, message: &str) {
        let farewell = Message::LoginRefused { code, message: message.into() };
        self.end(Closed::us(code, message), Some(&farewell));
    }

    fn end(&mut self, closed: Closed, farewell: Option<&Message>) {
        self.state = State::Closed;
        self.timers.stop_all();
        self.queue.clear();
        self.queue_bytes = 0;
        if let Some(farewell) = farewell {
            self.enqueue(farewell.encode());
        }
        self.events.push_back(ServerEvent::Closed(closed));
    }

    fn sent(&mut self, seq: Seq, catching_up: bool) {
        if let State::LoggedIn(session) = &mut self.state {
            session.seq = seq;
            session.catching_up = catching_up;
        }
    }

    fn enqueue(&mut self, frame: Bytes) {
        self.queue_bytes += frame.len();
        self.queue.push_back(frame);
    }

    fn enqueue_bounded(&mut self, frame: Bytes) -> Result<(), SendError> {
        let max = self.config.limits.message_bytes_max;
        if frame.len() > max {
            return Err(SendError::TooLong { length: frame.len(), max });
        }
        if self.queue_bytes > 0 && self.queue_bytes + frame.len() > self.config.queue_bytes_max {
            return Err(SendError::QueueFull);
        }
        self.enqueue(frame);
        Ok(())
    }
}

type Violation = (Code, String);

impl LoggedIn {
    fn handle(&mut self, message: Message, limits: &Limits) -> Result<Option<ServerEvent>, Violation> {
        match message {
            Message::Upload(txs) => self.upload(txs, limits).map(|txs| Some(ServerEvent::Uploaded(txs))),
            Message::Confirm(number) => {
                if number > self.decided {
                    return Err((
                        Code::OrderViolated,
                        format!(
                            "the client confirmed verdict {number}, but the last one was {}",
                            self.decided
                        ),
                    ));
                }
                let rises = number > self.confirmed;
                self.confirmed = self.confirmed.max(number);
                Ok(rises.then_some(ServerEvent::Confirmed(number)))
            }
            Message::Ping(token) => {
                self.heartbeat.asked(token);
                Ok(None)
            }
            Message::Pong(_) => Ok(None),
            message => Err((
                Code::KindUnexpected,
                format!("the client sent {}, which has no place in a session", message.name()),
            )),
        }
    }

    fn upload(&mut self, txs: Vec<Bytes>, limits: &Limits) -> Result<Vec<UploadedTx>, Violation> {
        let mut uploaded = Vec::with_capacity(txs.len());
        for bytes in txs {
            let (head, _) = decode_tx(&bytes).map_err(|error| {
                (Code::TxInvalid, format!("the client sent a transaction that cannot be read: {error}"))
            })?;
            if head.origin != self.peer {
                return Err((
                    Code::ContentInvalid,
                    format!(
                        "the client {} sent a transaction of {}; send only your own",
                        self.peer, head.origin
                    ),
                ));
            }
            if head.number > self.uploaded + 1 {
                return Err((
                    Code::TxGap,
                    format!(
                        "the client sent transaction {} where {} was due; send them without gaps",
                        head.number,
                        self.uploaded + 1
                    ),
                ));
            }
            self.uploaded = self.uploaded.max(head.number);
            // The engine gives no verdict on what is confirmed, so it must not wait for one.
            if head.number > self.confirmed {
                self.in_flight.push_back((head.number, bytes.len()));
                self.in_flight_bytes += bytes.len();
            }
            if self.in_flight.len() > limits.upload_window_txs
                || (self.in_flight.len() > 1 && self.in_flight_bytes > limits.upload_window_bytes)
            {
                return Err((
                    Code::WindowExceeded,
                    format!(
                        "the client sent more than the window of {} transactions and {} bytes; wait for verdicts",
                        limits.upload_window_txs, limits.upload_window_bytes
                    ),
                ));
            }
            uploaded.push(UploadedTx { head, bytes });
        }
        Ok(uploaded)
    }

    /// Notes that the client will know the verdict on a number.
    fn settle(&mut self, number: TxNumber) {
        self.decided = self.decided.max(number);
        let bytes = &mut self.in_flight_bytes;
        self.in_flight.retain(|(uploaded, length)| {
            let stays = *uploaded > number;
            if !stays {
                *bytes -= length;
            }
            stays
        });
    }
}

/// At most how long the frame of this verdict alone is, in bytes.
fn verdict_bytes(verdict: &Verdict) -> usize {
    let content = match &verdict.outcome {
        Outcome::Accepted { lost: ops, .. } | Outcome::Superseded { ops } => ops.len() * LOST_OP_BYTES_MAX,
        Outcome::Refused { message, .. } => message.len().min(TEXT_BYTES_MAX),
    };
    content + ENVELOPE_BYTES_MAX
}
