//! The session of a client.

mod compare;
mod config;
mod event;
mod login;
mod probe;
mod receive;
mod uploads;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::{Seq, TxNumber};

use crate::close::Closed;
use crate::code::Code;
use crate::heartbeat::Heartbeat;
use crate::limits::{LOGIN_BYTES_MAX, MESSAGE_BYTES_MIN};
use crate::message::Message;
use crate::timer::{Timer, TimerTable};

pub use compare::CompareSendError;
pub use config::{ClientConfig, ClientLogin};
pub use event::ClientEvent;
pub use login::{HEARTBEAT_MAX, HEARTBEAT_MIN};
pub use probe::ProbeError;
pub use uploads::TxsError;

use compare::Comparing;
use probe::Probing;
use uploads::UploadWindow;

/// One connection of a client to a server, as a machine without sockets, clock or store.
///
/// The engine makes one per connection and throws it away with it. What goes in:
///
/// - [`handle_frame`](Self::handle_frame) for every WebSocket binary message, and [`handle_progress`](Self::handle_progress)
///   while a long one is under way
/// - [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is past
/// - [`handle_local_commit`](Self::handle_local_commit) when the outbox grew, [`handle_txs`](Self::handle_txs) in answer to
///   [`ClientEvent::SendTxs`], [`handle_durable`](Self::handle_durable) when verdicts are stored
/// - [`send_compare`](Self::send_compare) for the steps of a compare, if the session begins with one;
///   [`send_probe`](Self::send_probe) in answer to [`ClientEvent::ProbeDue`]
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
    /// Until the compare is complete that the login began.
    comparing: Option<Comparing>,
    /// Whether the server is to be told that the compare is complete.
    compare_done: bool,
    /// The highest number that the engine holds durably, and whether the server should be told (again).
    confirmed: TxNumber,
    confirm: bool,
    probing: Probing,
}

/// How a server broke a rule: the code by which its session ends, and the reason.
type Violation = (Code, String);

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
                (Timer::Probe, State::LoggedIn(session)) => {
                    self.timers.set(Timer::Probe, now + self.config.probe_interval);
                    self.events.extend(session.probe_due());
                }
                (Timer::Idle | Timer::Probe | Timer::CatchUp, _) => {}
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
        // What a compare removes must be gone before undecided writes on it are judged.
        let ready = session.told && session.comparing.is_none() && !self.timers.is_set(Timer::CatchUp);
        let ask = if ready { session.uploads.ask()? } else { return None };
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
        } else if let Some(message) = session.comparing.as_mut().and_then(Comparing::next_message) {
            message
        } else if std::mem::take(&mut session.compare_done) {
            Message::CompareDone
        } else if let Some(slice) = session.probing.take() {
            Message::Probe(slice)
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
                    Ok(event) => {
                        self.events.extend(event);
                        if !session.catching_up {
                            self.timers.stop(Timer::CatchUp);
                        }
                    }
                    Err((code, reason)) => self.fail(code, reason),
                }
            }
            (_, message) => self.fail(
                Code::KindUnexpected,
                format!("the server sent {} before the login was complete", message.name()),
            ),
        }
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
