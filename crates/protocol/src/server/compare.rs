//! The compare at the beginning of a session, as the server sees it: it answers one question and one wish at a time.

use bytes::Bytes;
use reconvene_model::Seq;
use reconvene_model::compare::CompareRange;

use crate::code::Code;
use crate::compare::decode_ranges;
use crate::message::{CompareBegun, Message};
use crate::server::{LoggedIn, SendError, ServerEvent, ServerSession, State, Violation};

/// A compare that the login began.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// Where catch-up will start, once the client was told.
    begun: Option<Seq>,
    asked: bool,
    fetching: bool,
}

impl ServerSession {
    /// Answers [`ServerEvent::Compare`] with a block made by [`compare::answer`](crate::compare::answer); the first time, and
    /// only then, with the beginning: the Seq of the set that is compared, and the salt of its fingerprints.
    ///
    /// Never refused for a full queue: only one answer is ever due.
    pub fn send_compared(&mut self, begun: Option<CompareBegun>, answers: Bytes) -> Result<(), SendError> {
        let max = self.config.limits.message_bytes_max;
        let comparing = self.comparing()?;
        if !comparing.asked || begun.is_some() == comparing.begun.is_some() {
            return Err(SendError::OutOfOrder);
        }
        let frame = Message::Compared { begun, answers }.encode();
        if frame.len() > max {
            return Err(SendError::TooLong { length: frame.len(), max });
        }
        comparing.asked = false;
        comparing.begun = comparing.begun.or(begun.map(|begun| begun.seq));
        self.enqueue(frame);
        Ok(())
    }

    /// Sends objects in answer to [`ServerEvent::Fetch`]; the one that is marked as the last may be empty.
    pub fn send_fetched(&mut self, states: Bytes, last: bool) -> Result<(), SendError> {
        if !self.comparing()?.fetching {
            return Err(SendError::OutOfOrder);
        }
        self.enqueue_bounded(Message::Fetched { states, last }.encode())?;
        self.comparing()?.fetching = !last;
        Ok(())
    }

    /// Whether the session compares: neither catch-up nor pushes may be sent.
    pub fn is_comparing(&self) -> bool {
        matches!(&self.state, State::LoggedIn(session) if session.comparing.is_some())
    }

    fn comparing(&mut self) -> Result<&mut Comparing, SendError> {
        match &mut self.state {
            State::LoggedIn(session) => session.comparing.as_mut().ok_or(SendError::OutOfOrder),
            _ => Err(SendError::NotLoggedIn),
        }
    }
}

impl LoggedIn {
    pub(super) fn compare(&mut self, block: &[u8]) -> Result<Option<ServerEvent>, Violation> {
        let comparing = self.comparing.as_mut().ok_or_else(not_comparing)?;
        if std::mem::replace(&mut comparing.asked, true) {
            return Err(unexpected("Compare before the last one was answered"));
        }
        let ranges = match (comparing.begun, block.is_empty()) {
            (None, true) => vec![CompareRange::ALL],
            (Some(_), false) => ranges(block)?,
            (None, false) => return Err(unexpected("a range to compare before the compare began")),
            (Some(_), true) => return Err(unexpected("the beginning of a compare that has begun")),
        };
        Ok(Some(ServerEvent::Compare { begins: comparing.begun.is_none(), ranges }))
    }

    pub(super) fn fetch(&mut self, block: &[u8]) -> Result<Option<ServerEvent>, Violation> {
        let comparing = self.comparing.as_mut().filter(|comparing| comparing.begun.is_some());
        let comparing = comparing.ok_or_else(not_comparing)?;
        if std::mem::replace(&mut comparing.fetching, true) {
            return Err(unexpected("Fetch before the last one was answered"));
        }
        Ok(Some(ServerEvent::Fetch(ranges(block)?)))
    }

    pub(super) fn compare_done(&mut self) -> Result<Option<ServerEvent>, Violation> {
        let comparing = self.comparing.take_if(|comparing| !comparing.asked && !comparing.fetching);
        let seq = comparing.and_then(|comparing| comparing.begun).ok_or_else(not_comparing)?;
        self.seq = seq;
        Ok(Some(ServerEvent::CompareDone(seq)))
    }
}

fn ranges(block: &[u8]) -> Result<Vec<CompareRange>, Violation> {
    decode_ranges(block).map_err(|error| {
        (Code::ContentInvalid, format!("the client sent ranges that cannot be read: {error}"))
    })
}

fn not_comparing() -> Violation {
    unexpected("a part of a compare where none is under way")
}

fn unexpected(what: &str) -> Violation {
    (Code::KindUnexpected, format!("the client sent {what}"))
}
