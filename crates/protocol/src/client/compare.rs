//! The compare at the beginning of a session, as the client sees it: one question and one wish under way at a time.

use std::collections::VecDeque;

use bytes::Bytes;
use reconvene_model::Seq;

use crate::client::{ClientEvent, ClientSession, LoggedIn, State, Violation};
use crate::code::Code;
use crate::compare::CompareMessage;
use crate::message::{CompareBegun, Message};

/// What can be wrong with [`ClientSession::send_compare`]; the session stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareSendError {
    /// The session does not compare, or not any more.
    #[error("this session does not compare; only one whose login was answered with `compare` does")]
    NotComparing,
    /// A message of this kind is under way already.
    #[error("the server has not answered the last one; send the next step when the initiator gives it")]
    NotAnswered,
}

/// A compare that the login began.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// Where catch-up will start, once the server has said so.
    begun: Option<Seq>,
    asked: bool,
    fetching: bool,
    /// At most one message of each kind.
    out: VecDeque<Message>,
}

impl Comparing {
    pub(super) fn next_message(&mut self) -> Option<Message> {
        self.out.pop_front()
    }
}

impl ClientSession {
    /// Sends what the [`Initiator`](crate::Initiator) of this session's compare asks for.
    ///
    /// After [`CompareMessage::Done`], which says that everything is stored durably, the session goes on with catch-up and
    /// uploads. When the session is over, nothing is sent.
    ///
    /// # Errors
    ///
    /// [`CompareSendError`] for steps that did not come from a machine fed with this session's events.
    pub fn send_compare(&mut self, message: CompareMessage) -> Result<(), CompareSendError> {
        let session = match &mut self.state {
            State::LoggedIn(session) => session,
            State::Closed => return Ok(()),
            State::AwaitHello | State::AwaitAnswer => return Err(CompareSendError::NotComparing),
        };
        let comparing = session.comparing.as_mut().ok_or(CompareSendError::NotComparing)?;
        match message {
            CompareMessage::Compare(ranges) => {
                if std::mem::replace(&mut comparing.asked, true) {
                    return Err(CompareSendError::NotAnswered);
                }
                comparing.out.push_back(Message::Compare(ranges));
            }
            CompareMessage::Fetch(ranges) => {
                if std::mem::replace(&mut comparing.fetching, true) {
                    return Err(CompareSendError::NotAnswered);
                }
                comparing.out.push_back(Message::Fetch(ranges));
            }
            CompareMessage::Done => {
                let Some(seq) = comparing.begun.filter(|_| !comparing.asked && !comparing.fetching) else {
                    return Err(CompareSendError::NotAnswered);
                };
                session.seq = seq;
                session.comparing = None;
                session.compare_done = true;
            }
        }
        Ok(())
    }

    /// Whether the session compares, and so neither uploads nor catches up.
    pub fn is_comparing(&self) -> bool {
        matches!(&self.state, State::LoggedIn(session) if session.comparing.is_some())
    }
}

impl LoggedIn {
    pub(super) fn compared(
        &mut self,
        begun: Option<CompareBegun>,
        answers: Bytes,
    ) -> Result<Option<ClientEvent>, Violation> {
        let Some(comparing) = self.comparing.as_mut().filter(|comparing| comparing.asked) else {
            return Err(unexpected("an answer to a compare, which was not asked for"));
        };
        if begun.is_some() == comparing.begun.is_some() {
            return Err(unexpected("the beginning of a compare in another than its first answer"));
        }
        comparing.begun = comparing.begun.or(begun.map(|begun| begun.seq));
        comparing.asked = false;
        Ok(Some(ClientEvent::Compared { begun, answers }))
    }

    pub(super) fn fetched(&mut self, states: Bytes, last: bool) -> Result<Option<ClientEvent>, Violation> {
        let Some(comparing) = self.comparing.as_mut().filter(|comparing| comparing.fetching) else {
            return Err(unexpected("objects that were not asked for"));
        };
        comparing.fetching = !last;
        Ok(Some(ClientEvent::Fetched { states, last }))
    }
}

fn unexpected(what: &str) -> Violation {
    (Code::KindUnexpected, format!("the server sent {what}"))
}
