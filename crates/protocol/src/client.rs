//! The session of a client.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::identity::PeerKey;
use reconvene_model::{Seq, TxHash, TxNumber};

use crate::PROTOCOL_VERSION;
use crate::close::Closed;
use crate::code::Code;
use crate::heartbeat::Heartbeat;
use crate::limits::{LOGIN_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN};
use crate::login::{Credential, sign_login};
use crate::message::{
    Cursor, Hello, Login, LoginAccepted, Message, PushedContent, PushedTx, SchemaHashes, Verdict,
};
use crate::timer::{Timer, TimerTable};
use crate::upload::UploadWindow;

/// One connection of a client to a server, as a machine without sockets, clock or store.
///
/// The engine makes one per connection and throws it away with it. What goes in:
///
/// - [`handle_frame`](Self::handle_frame) for every WebSocket binary message, and [`handle_progress`](Self::handle_progress)
///   while a long one is under way
/// - [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is past
/// - [`handle_local_commit`](Self::handle_local_commit) when the outbox grew, [`handle_txs`](Self::handle_txs) in answer to
///   [`ClientEvent::SendTxs`], [`handle_durable`](Self::handle_durable) when verdicts are stored
/// - [`handle_disconnected`](Self::handle_disconnected) when the connection is gone, [`close`](Self::close) to end it
///
/// After each of these the engine takes what came out: [`poll_event`](Self::poll_event) until `None`, carrying out each event
/// before it takes the next, then [`poll_message`](Self::poll_message) until `None`, then it waits until `poll_timeout`.
/// Time is a `Duration` since any start that stays the same for the session.
///
/// After [`ClientEvent::Closed`] no event follows; the engine sends what `poll_message` still gives, the farewell, and drops
/// the connection. Nothing that a server sends makes the session panic.
#[derive(Debug)]
pub struct ClientSession {
    config: ClientConfig,
    login: ClientLogin,
    state: State,
    timers: TimerTable,
    events: VecDeque<ClientEvent>,
    /// The login or the farewell; everything else is made when it is polled.
    first_out: Option<Bytes>,
}

/// How a client session behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// How long the connection may take from its opening to the accepted login. Default 15 s.
    pub login_timeout: Duration,
    /// How long a server that was asked for a sign of life may take. Default 15 s; shorter finds dead connections sooner and
    /// cuts slow ones.
    pub pong_timeout: Duration,
    /// The longest frame that is taken from the server, in bytes. Default 32 MiB; at least 64 KiB.
    pub message_bytes_max: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            login_timeout: Duration::from_secs(15),
            pong_timeout: Duration::from_secs(15),
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// Who logs in, and what the store knows of the server's decisions at this moment.
#[derive(Clone, Debug)]
pub struct ClientLogin {
    /// The key that names the client.
    pub key: PeerKey,
    /// What it shows beside the key.
    pub credentials: Vec<Credential>,
    /// The version of its schema.
    pub schema: SchemaHashes,
    /// Up to where it has everything; the default for a client that never synced.
    pub cursor: Cursor,
    /// The number of its last transaction; 0 for none.
    pub last_number: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub last_hash: TxHash,
    /// The highest number whose verdict it holds durably.
    pub confirmed: TxNumber,
    /// Optional abilities by name.
    pub capabilities: Vec<String>,
}

/// What a client session asks of its engine, in the order in which it must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server took the login. The engine settles the outbox by `decided_number` and `refusals`, and ends the session if
    /// `decided_hash` is not its own hash of that number: the store is a copy, or was restored, and needs a new key.
    LoggedIn(Box<LoginAccepted>),
    /// There is room to upload. The engine answers once with [`ClientSession::handle_txs`]: transactions from number `from`
    /// upwards without gaps, at most `txs_max` of them, and none after their bytes passed `bytes_max`; an empty list if there
    /// are none. What was handed over counts as sent: it is frozen.
    SendTxs {
        /// The first number.
        from: TxNumber,
        /// The most transactions.
        txs_max: usize,
        /// The bytes after which the engine stops.
        bytes_max: usize,
        /// How many transactions were sent and have no verdict; 0 means that all are decided.
        in_flight: usize,
    },
    /// The server decided; the engine stores it and says so with [`ClientSession::handle_durable`]. Each number comes once
    /// in a session, without gaps.
    Verdicts(Vec<Verdict>),
    /// Objects as they are at the server, up to a Seq. The store is not whole until `CatchUpDone`.
    CatchUp {
        /// A states block.
        states: Bytes,
        /// The cursor after it.
        upto_seq: Seq,
    },
    /// The store has everything up to this Seq.
    CatchUpDone(Seq),
    /// What happened since, each transaction to be applied whole, with rising Seqs.
    Pushed(Vec<PushedTx>),
    /// The session is over.
    Closed(Closed),
}

/// What can be wrong with an answer to [`ClientEvent::SendTxs`]; the session stays as it was, without the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxsError {
    /// There was no question.
    #[error("no transactions were asked for; answer each SendTxs once")]
    NotAsked,
    /// The answer holds more than was asked for.
    #[error("{count} transactions were given where at most {max} were asked for")]
    TooMany {
        /// How many there were.
        count: usize,
        /// How many were asked for.
        max: usize,
    },
    /// The numbers do not follow each other.
    #[error(
        "transaction {number} was given where {expected} was due; give them from the asked number without gaps"
    )]
    NotInOrder {
        /// The number that was due.
        expected: TxNumber,
        /// The number that was given.
        number: TxNumber,
    },
    /// A transaction does not fit a message of the server.
    #[error(
        "transaction {number} has {length} bytes and the server takes at most {max}; raise the message limit of the server"
    )]
    TooLong {
        /// Its number.
        number: TxNumber,
        /// Its length in bytes.
        length: usize,
        /// The most bytes that the server takes.
        max: usize,
    },
}

#[derive(Debug)]
enum State {
    /// The server speaks first.
    AwaitHello,
    /// The login is under way.
    AwaitAnswer,
    LoggedIn(Box<LoggedIn>),
    Closed,
}

#[derive(Debug)]
struct LoggedIn {
    heartbeat: Heartbeat,
    uploads: UploadWindow,
    /// Whether the engine has taken the event of the login, so that it can be asked for transactions.
    told: bool,
    /// Everything up to here has arrived.
    seq: Seq,
    catching_up: bool,
    /// The highest number that the engine holds durably, and whether the server should be told (again).
    confirmed: TxNumber,
    confirm: bool,
}

impl ClientSession {
    /// The session of a connection that has just been opened.
    pub fn new(config: ClientConfig, login: ClientLogin, now: Duration) -> Self {
        let mut timers = TimerTable::default();
        timers.set(Timer::Login, now + config.login_timeout);
        let config =
            ClientConfig { message_bytes_max: config.message_bytes_max.max(MESSAGE_BYTES_MIN), ..config };
        ClientSession {
            config,
            login,
            state: State::AwaitHello,
            timers,
            events: VecDeque::new(),
            first_out: None,
        }
    }

    /// Takes one WebSocket binary message.
    pub fn handle_frame(&mut self, frame: Bytes, now: Duration) {
        if self.is_closed() {
            return;
        }
        match Message::decode(frame, self.message_bytes_max()) {
            Ok(message) => self.handle_message(message, now),
            Err(error) => self.fail(error.code(), error.to_string()),
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
                    self.fail(Code::HeartbeatLost, "the server gave no sign of life; the connection is dead");
                }
                (Timer::Login, _) => {
                    self.fail(
                        Code::LoginLate,
                        "the server did not complete the login in time; it may be overloaded",
                    );
                }
                (Timer::Idle, _) => {}
            }
        }
    }

    /// Notes that the outbox grew.
    pub fn handle_local_commit(&mut self) {
        if let State::LoggedIn(session) = &mut self.state {
            session.uploads.outbox_grew();
        }
    }

    /// Takes the answer to [`ClientEvent::SendTxs`]; an answer that comes after the end of the session is ignored.
    pub fn handle_txs(&mut self, txs: Vec<(TxNumber, Bytes)>) -> Result<(), TxsError> {
        match &mut self.state {
            State::LoggedIn(session) => session.uploads.answer(txs),
            State::Closed => Ok(()),
            State::AwaitHello | State::AwaitAnswer => Err(TxsError::NotAsked),
        }
    }

    /// Notes that the verdicts up to this number are held durably, so that the server may forget them.
    ///
    /// Only the highest number travels, once per round of polling.
    pub fn handle_durable(&mut self, number: TxNumber) {
        if let State::LoggedIn(session) = &mut self.state {
            let number = number.min(session.uploads.decided());
            if number > session.confirmed {
                session.confirmed = number;
                session.confirm = true;
            }
        }
    }

    /// Ends the session from this side: a farewell is sent, then [`ClientEvent::Closed`] is the last event.
    pub fn close(&mut self, code: Code, reason: &str) {
        if !self.is_closed() {
            self.fail(code, reason);
        }
    }

    /// Notes that the connection is gone.
    pub fn handle_disconnected(&mut self, reason: &str) {
        if !self.is_closed() {
            self.end(Closed::link(reason));
        }
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        if let Some(event) = self.events.pop_front() {
            if let (ClientEvent::LoggedIn(_), State::LoggedIn(session)) = (&event, &mut self.state) {
                session.told = true;
            }
            return Some(event);
        }
        let State::LoggedIn(session) = &mut self.state else { return None };
        let ask = if session.told { session.uploads.ask()? } else { return None };
        Some(ClientEvent::SendTxs {
            from: ask.from,
            txs_max: ask.txs_max,
            bytes_max: ask.bytes_max,
            in_flight: session.uploads.in_flight(),
        })
    }

    /// The next frame to send as a WebSocket binary message.
    pub fn poll_message(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.first_out.take() {
            return Some(frame);
        }
        let State::LoggedIn(session) = &mut self.state else { return None };
        let message = if let Some(token) = session.heartbeat.take_pong() {
            Message::Pong(token)
        } else if let Some(token) = session.heartbeat.take_ping() {
            Message::Ping(token)
        } else if std::mem::take(&mut session.confirm) {
            Message::Confirm(session.confirmed)
        } else {
            Message::Upload(session.uploads.next_upload()?)
        };
        Some(message.encode())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Whether the server took the login and the session goes on.
    pub fn is_logged_in(&self) -> bool {
        matches!(self.state, State::LoggedIn(_))
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the server still sends what happened while the client was away.
    pub fn is_catching_up(&self) -> bool {
        matches!(&self.state, State::LoggedIn(session) if session.catching_up)
    }

    /// The longest frame that the session takes at this moment, in bytes, for the WebSocket reader to stop at.
    pub fn message_bytes_max(&self) -> usize {
        match self.state {
            State::AwaitHello => LOGIN_BYTES_MAX,
            _ => self.config.message_bytes_max,
        }
    }

    fn handle_message(&mut self, message: Message, now: Duration) {
        match (&mut self.state, message) {
            (State::Closed, _) => {}
            (_, Message::Bye { code, reason }) => self.end(Closed::peer(code, reason)),
            (State::AwaitHello, Message::Hello(hello)) => self.answer_hello(&hello),
            (State::AwaitHello | State::AwaitAnswer, Message::LoginRefused { code, message }) => {
                self.end(Closed::peer(code, message));
            }
            (State::AwaitAnswer, Message::LoginAccepted(accepted)) => self.log_in(accepted, now),
            (State::LoggedIn(session), message) => {
                session.heartbeat.heard(&mut self.timers, now);
                match session.handle(message, self.login.last_number) {
                    Ok(event) => self.events.extend(event),
                    Err((code, reason)) => self.fail(code, reason),
                }
            }
            (_, message) => self.fail(
                Code::KindUnexpected,
                format!("the server sent {} before the login was complete", message.name()),
            ),
        }
    }

    fn answer_hello(&mut self, hello: &Hello) {
        if !hello.versions.contains(&PROTOCOL_VERSION) {
            self.fail(
                Code::VersionUnsupported,
                format!(
                    "the server speaks versions {:?} of the protocol and this client {PROTOCOL_VERSION}; update the \
                     older side",
                    hello.versions
                ),
            );
            return;
        }
        let login = &self.login;
        let public_key = login.key.public();
        let message = Message::Login(Box::new(Login {
            version: PROTOCOL_VERSION,
            public_key,
            signature: sign_login(&login.key, &hello.nonce),
            credentials: login
                .credentials
                .iter()
                .map(|credential| credential.prove(&hello.nonce, &public_key))
                .collect(),
            schema: login.schema,
            cursor: login.cursor,
            last_number: login.last_number,
            last_hash: login.last_hash,
            confirmed: login.confirmed.min(login.last_number),
            capabilities: login.capabilities.clone(),
        }));
        self.first_out = Some(message.encode());
        self.state = State::AwaitAnswer;
    }

    fn log_in(&mut self, accepted: Box<LoginAccepted>, now: Duration) {
        if let Err(reason) = check_answer(&accepted, &self.login) {
            self.fail(Code::OrderViolated, reason);
            return;
        }
        self.timers.stop(Timer::Login);
        let idle = Duration::from_millis(accepted.heartbeat_ms).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        self.state = State::LoggedIn(Box::new(LoggedIn {
            heartbeat: Heartbeat::start(idle, self.config.pong_timeout, &mut self.timers, now),
            uploads: UploadWindow::new(accepted.limits, accepted.decided_number),
            told: false,
            seq: accepted.catch_up_from,
            catching_up: true,
            confirmed: self.login.confirmed,
            confirm: false,
        }));
        self.events.push_back(ClientEvent::LoggedIn(accepted));
    }

    /// Ends the session from this side, with a farewell.
    fn fail(&mut self, code: Code, reason: impl Into<String>) {
        let reason = reason.into();
        self.first_out = Some(Message::Bye { code, reason: reason.clone() }.encode());
        self.end_with(Closed::us(code, reason));
    }

    /// Ends the session without a farewell: there is no one to hear it.
    fn end(&mut self, closed: Closed) {
        self.first_out = None;
        self.end_with(closed);
    }

    fn end_with(&mut self, closed: Closed) {
        self.state = State::Closed;
        self.timers.stop_all();
        self.events.push_back(ClientEvent::Closed(closed));
    }
}

/// The shortest heartbeat that a client follows, whatever the server asks for.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(50);

/// The longest heartbeat that a client follows, whatever the server asks for.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(3600);

type Violation = (Code, String);

impl LoggedIn {
    /// What a message asks of the engine; `last_number` is the client's last number when it logged in.
    fn handle(&mut self, message: Message, last_number: TxNumber) -> Result<Option<ClientEvent>, Violation> {
        match message {
            Message::Verdicts(verdicts) => self.verdicts(verdicts, last_number),
            Message::CatchUp { states, upto_seq } => {
                self.advance(upto_seq)?;
                // A server that fell back to catch-up, since this client was slow, is not violating anything.
                self.catching_up = true;
                Ok(Some(ClientEvent::CatchUp { states, upto_seq }))
            }
            Message::CatchUpDone(seq) => {
                if !self.catching_up {
                    return Err(unexpected("CatchUpDone without a catch-up"));
                }
                if seq < self.seq {
                    return Err(disorder(format!("CatchUpDone names Seq {seq} after {}", self.seq)));
                }
                self.seq = seq;
                self.catching_up = false;
                Ok(Some(ClientEvent::CatchUpDone(seq)))
            }
            Message::Push(txs) => {
                if self.catching_up {
                    return Err(unexpected("Push before CatchUpDone"));
                }
                let written = self.uploads.sent().max(last_number);
                for tx in &txs {
                    self.advance(tx.seq)?;
                    if let PushedContent::Own { number } = tx.content
                        && number > written
                    {
                        return Err(disorder(format!(
                            "Push says that this client wrote transaction {number}, which it did not"
                        )));
                    }
                }
                Ok((!txs.is_empty()).then_some(ClientEvent::Pushed(txs)))
            }
            Message::Ping(token) => {
                self.heartbeat.asked(token);
                Ok(None)
            }
            Message::Pong(_) => Ok(None),
            message => Err(unexpected(format!("{} in a session that is logged in", message.name()))),
        }
    }

    fn verdicts(
        &mut self,
        verdicts: Vec<Verdict>,
        last_number: TxNumber,
    ) -> Result<Option<ClientEvent>, Violation> {
        let mut fresh = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            if !self.uploads.expected(last_number).contains(&verdict.number) {
                return Err(disorder(format!(
                    "a verdict on transaction {} came after the one on {}",
                    verdict.number,
                    self.uploads.decided()
                )));
            }
            if self.uploads.verdict(verdict.number) {
                fresh.push(verdict);
            } else {
                // It was decided before, in this session or at its login; the server may not know that it was heard.
                self.confirm |= verdict.number <= self.confirmed;
            }
        }
        Ok((!fresh.is_empty()).then_some(ClientEvent::Verdicts(fresh)))
    }

    fn advance(&mut self, seq: Seq) -> Result<(), Violation> {
        if seq <= self.seq {
            return Err(disorder(format!("Seq {seq} arrived after {}", self.seq)));
        }
        self.seq = seq;
        Ok(())
    }
}

fn check_answer(accepted: &LoginAccepted, login: &ClientLogin) -> Result<(), String> {
    let cursor = login.cursor;
    let from = accepted.catch_up_from;
    let same_history = (accepted.epoch, accepted.view) == (cursor.epoch, cursor.view);
    if same_history && from > cursor.seq {
        return Err(format!(
            "the server would catch up from Seq {from}, but this client is at {}",
            cursor.seq
        ));
    }
    if !same_history && from != Seq(0) {
        return Err(format!(
            "the server would catch up from Seq {from} of a history that this client does not have"
        ));
    }
    let numbers = || accepted.refusals.iter().map(|verdict| verdict.number);
    let known = login.confirmed..=accepted.decided_number;
    if !numbers().is_sorted_by(|one, next| one < next)
        || numbers().any(|number| !known.contains(&number) || number == login.confirmed)
    {
        return Err(
            "the refusals of LoginAccepted are not in the order of their numbers, or confirmed already"
                .into(),
        );
    }
    if accepted.decided_number == 0 && accepted.decided_hash != TxHash::NONE {
        return Err("LoginAccepted names the hash of a transaction, but none is decided".into());
    }
    Ok(())
}

fn unexpected(what: impl Into<String>) -> Violation {
    (Code::KindUnexpected, format!("the server sent {}", what.into()))
}

fn disorder(what: String) -> Violation {
    (Code::OrderViolated, format!("the server sent things out of order: {what}"))
}
