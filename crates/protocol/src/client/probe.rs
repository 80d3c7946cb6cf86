//! Digests of what the client has, one after the other, while nothing else is under way.

use reconvene_model::compare::{Slice, SliceOutcome};

use crate::client::{ClientEvent, ClientSession, LoggedIn, State, Violation};
use crate::code::Code;
use crate::compare::{CAPABILITY_PROBE, CAPABILITY_PROBE_VALUES};

/// What can be wrong with [`ClientSession::send_probe`]; the session stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The session did not ask for one.
    #[error("no digest was asked for; send one in answer to `ProbeDue`")]
    NotAsked,
}

/// Which digests are under way.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// Whether digests cover values.
    values: bool,
    /// The engine was asked.
    asked: bool,
    out: Option<Slice>,
    /// The server was asked.
    sent: bool,
}

impl Probing {
    pub(super) fn new(capabilities: &[String]) -> Self {
        Probing { values: has(capabilities, CAPABILITY_PROBE_VALUES), ..Probing::default() }
    }

    pub(super) fn take(&mut self) -> Option<Slice> {
        let slice = self.out.take()?;
        self.sent = true;
        Some(slice)
    }
}

/// Whether these capabilities are those of a side that knows digests.
pub(super) fn offers_probes(capabilities: &[String]) -> bool {
    has(capabilities, CAPABILITY_PROBE)
}

fn has(capabilities: &[String], name: &str) -> bool {
    capabilities.iter().any(|offered| offered == name)
}

impl ClientSession {
    /// Sends the digest that [`ClientEvent::ProbeDue`] asked for. When the session is over, or does something else by now,
    /// nothing is sent.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if none was asked for.
    pub fn send_probe(&mut self, slice: Slice) -> Result<(), ProbeError> {
        let session = match &mut self.state {
            State::LoggedIn(session) => session,
            State::Closed => return Ok(()),
            State::AwaitHello | State::AwaitAnswer => return Err(ProbeError::NotAsked),
        };
        if !std::mem::take(&mut session.probing.asked) {
            return Err(ProbeError::NotAsked);
        }
        if !session.catching_up {
            session.probing.out = Some(slice);
        }
        Ok(())
    }

    /// Whether digests cover values: the server has the same schema.
    pub fn probes_values(&self) -> bool {
        matches!(&self.state, State::LoggedIn(session) if session.probing.values)
    }
}

impl LoggedIn {
    /// Asks the engine for a digest, unless the last one was not answered or the store is not up to date.
    pub(super) fn probe_due(&mut self) -> Option<ClientEvent> {
        let busy = self.catching_up || self.comparing.is_some() || self.probing.sent;
        if busy || self.probing.out.is_some() {
            return None;
        }
        self.probing.asked = true;
        Some(ClientEvent::ProbeDue)
    }

    pub(super) fn probed(&mut self, outcome: SliceOutcome) -> Result<Option<ClientEvent>, Violation> {
        if !std::mem::take(&mut self.probing.sent) {
            return Err((
                Code::KindUnexpected,
                "the server answered a digest that it was not sent".to_owned(),
            ));
        }
        Ok(Some(ClientEvent::Probed(outcome)))
    }
}
