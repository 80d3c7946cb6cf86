//! The session of a server with one client.

mod compare;
mod config;
mod event;
mod login;
mod probe;
mod send;
mod uploads;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::{PeerId, Seq, TxNumber};

use crate::PROTOCOL_VERSION;
use crate::close::Closed;
use crate::code::Code;
use crate::heartbeat::Heartbeat;
use crate::limits::{LOGIN_BYTES_MAX, Limits, MESSAGE_BYTES_MIN, UPLOAD_TXS_MAX};
use crate::login::Nonce;
use crate::message::{Hello, Message};
use crate::timer::{Timer, TimerTable};

pub use config::ServerConfig;
pub use event::{ServerEvent, UploadedTx};
pub use login::{LoginAnswer, LoginRequest};
pub use send::SendError;

use compare::Comparing;
use probe::Probing;
use uploads::Uploads;

/// One connection of a server to a client, as a machine without sockets, clock or store.
///
/// The engine makes one per connection and throws it away with it. What goes in:
///
/// - [`handle_frame`](Self::handle_frame) for every WebSocket binary message, and [`handle_progress`](Self::handle_progress)
///   while a long one is under way
/// - [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is past
/// - [`accept_login`](Self::accept_login) or [`refuse_login`](Self::refuse_login) in answer to
///   [`ServerEvent::LoginRequested`]
/// - if the answer said `compare`: [`send_compared`](Self::send_compared) and [`send_fetched`](Self::send_fetched), until
///   [`ServerEvent::CompareDone`]
/// - after that [`send_verdicts`](Self::send_verdicts), [`send_catch_up`](Self::send_catch_up),
///   [`send_catch_up_done`](Self::send_catch_up_done) and then [`send_push`](Self::send_push), as the history goes on;
///   [`send_probed`](Self::send_probed) in answer to [`ServerEvent::Probe`]
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
    /// Whether the client can compare.
    compares: bool,
}

#[derive(Debug)]
struct LoggedIn {
    /// Whether the answer to the login is on its way.
    greeted: bool,
    heartbeat: Heartbeat,
    uploads: Uploads,
    /// The client was sent everything up to here.
    seq: Seq,
    catching_up: bool,
    /// Until the client has completed the compare that the login began.
    comparing: Option<Comparing>,
    probing: Probing,
}

/// How a client broke a rule: the code by which its session ends, and the reason.
type Violation = (Code, String);

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
            config: ServerConfig { limits, queue_bytes_max: config.queue_bytes_max.max(1), ..config },
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
                (Timer::Idle | Timer::Probe | Timer::CatchUp, _) => {}
            }
        }
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
            State::LoggedIn(session) => Some(session.uploads.peer()),
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
            State::LoggedIn(session) => session.uploads.in_flight(),
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
                match session.handle(message) {
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

    fn enqueue(&mut self, frame: Bytes) {
        self.queue_bytes += frame.len();
        self.queue.push_back(frame);
    }
}

impl LoggedIn {
    /// What a message asks of the engine.
    fn handle(&mut self, message: Message) -> Result<Option<ServerEvent>, Violation> {
        match message {
            Message::Upload(_) if self.comparing.is_some() => {
                Err((Code::KindUnexpected, "the client sent Upload before the compare was complete".into()))
            }
            Message::Upload(txs) => self.uploads.take(txs).map(|txs| Some(ServerEvent::Uploaded(txs))),
            Message::Confirm(number) => {
                let news = self.uploads.confirm(number)?;
                Ok(news.then_some(ServerEvent::Confirmed(number)))
            }
            Message::Ping(token) => {
                self.heartbeat.asked(token);
                Ok(None)
            }
            Message::Pong(_) => Ok(None),
            Message::Compare(ranges) => self.compare(&ranges),
            Message::Fetch(ranges) => self.fetch(&ranges),
            Message::CompareDone => self.compare_done(),
            Message::Probe(slice) => self.probe(slice),
            message => Err((
                Code::KindUnexpected,
                format!("the client sent {}, which has no place in a session", message.name()),
            )),
        }
    }
}
