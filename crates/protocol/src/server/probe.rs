//! Digests of what the client has, as the server answers them: one at a time.

use reconvene_model::compare::{Slice, SliceOutcome};

use crate::code::Code;
use crate::compare::CAPABILITY_PROBE;
use crate::message::Message;
use crate::server::{LoggedIn, SendError, ServerEvent, ServerSession, State, Violation};

/// Whether the client may send digests, and whether one waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Probing {
    allowed: bool,
    asked: bool,
}

impl Probing {
    pub(super) fn new(capabilities: &[String]) -> Self {
        Probing { allowed: capabilities.iter().any(|name| name == CAPABILITY_PROBE), asked: false }
    }
}

impl ServerSession {
    /// Answers [`ServerEvent::Probe`]. Never refused for a full queue: only one answer is ever due.
    pub fn send_probed(&mut self, outcome: SliceOutcome) -> Result<(), SendError> {
        let State::LoggedIn(session) = &mut self.state else { return Err(SendError::NotLoggedIn) };
        if !std::mem::take(&mut session.probing.asked) {
            return Err(SendError::OutOfOrder);
        }
        self.enqueue(Message::Probed(outcome).encode());
        Ok(())
    }
}

impl LoggedIn {
    pub(super) fn probe(&mut self, slice: Slice) -> Result<Option<ServerEvent>, Violation> {
        let unexpected = |what: &str| Err((Code::KindUnexpected, format!("the client sent {what}")));
        if !self.probing.allowed || self.comparing.is_some() {
            return unexpected("Probe where it has no place");
        }
        if std::mem::replace(&mut self.probing.asked, true) {
            return unexpected("Probe before the last one was answered");
        }
        Ok(Some(ServerEvent::Probe(slice)))
    }
}
