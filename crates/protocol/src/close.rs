//! How a session ended.

use std::fmt;

use crate::code::Code;

/// How a session ended: who ended it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who ended it.
    pub by: ClosedBy,
    /// Why, in a word that programs understand.
    pub code: Code,
    /// Why, for people.
    pub reason: String,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// This side, on purpose or because the other side broke a rule.
    Us,
    /// The other side, with a refusal of the login or a `Bye`.
    Peer,
    /// Nobody: the connection was lost.
    Link,
}

impl Closed {
    pub(crate) fn us(code: Code, reason: impl Into<String>) -> Self {
        Closed { by: ClosedBy::Us, code, reason: reason.into() }
    }

    pub(crate) fn peer(code: Code, reason: impl Into<String>) -> Self {
        Closed { by: ClosedBy::Peer, code, reason: reason.into() }
    }

    pub(crate) fn link(reason: impl Into<String>) -> Self {
        Closed { by: ClosedBy::Link, code: Code::LinkLost, reason: reason.into() }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.by {
            ClosedBy::Us => "this side",
            ClosedBy::Peer => "the other side",
            ClosedBy::Link => "a lost connection",
        };
        write!(f, "the session was ended by {who}: {}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}
