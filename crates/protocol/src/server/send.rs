//! What the engine sends: verdicts, catch-up and pushes, in the order that a client insists on and cut to its limits.

use bytes::Bytes;
use reconvene_model::Seq;

use crate::limits::{ENVELOPE_BYTES_MAX, TEXT_BYTES_MAX, VERDICTS_MAX};
use crate::message::{Message, Outcome, Verdict};
use crate::push::PushFrame;
use crate::server::{ServerSession, State};

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

/// What one lost operation adds to a verdict, at most, in bytes.
pub(super) const LOST_OP_BYTES_MAX: usize = 25;

/// About how long a message with several verdicts is.
const VERDICTS_BYTES: usize = 256 * 1024;

impl ServerSession {
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
            session.uploads.settle(verdict.number);
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

    /// Sends a chunk of catch-up after which the client has everything up to `upto_seq`: the last Seq that is complete.
    ///
    /// A chunk may end within a Seq, so that a large transaction travels in several of them: they name the same `upto_seq`,
    /// which is never below [`Self::sent_seq`], and a client that is cut off between them gets that Seq once more.
    pub fn send_catch_up(&mut self, states: Bytes, upto_seq: Seq) -> Result<(), SendError> {
        self.send_catch_up_within(states, upto_seq, Bytes::new())
    }

    /// As [`Self::send_catch_up`] for a chunk that ends within a Seq: a client that is cut off after it says `resume` at its next
    /// login, at most [`RESUME_BYTES_MAX`](crate::limits::RESUME_BYTES_MAX) bytes, so that the rest of that Seq is enough.
    pub fn send_catch_up_within(
        &mut self,
        states: Bytes,
        upto_seq: Seq,
        resume: Bytes,
    ) -> Result<(), SendError> {
        if upto_seq < self.sent_seq().ok_or(SendError::NotLoggedIn)? || self.is_comparing() {
            return Err(SendError::OutOfOrder);
        }
        self.enqueue_bounded(Message::CatchUp { states, upto_seq, resume }.encode())?;
        self.sent(upto_seq, true);
        Ok(())
    }

    /// Ends a catch-up: no row is left up to `seq`, and pushes follow from there.
    pub fn send_catch_up_done(&mut self, seq: Seq) -> Result<(), SendError> {
        if !self.is_catching_up() || self.is_comparing() || self.sent_seq().is_some_and(|sent| seq < sent) {
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

    fn sent(&mut self, seq: Seq, catching_up: bool) {
        if let State::LoggedIn(session) = &mut self.state {
            session.seq = seq;
            session.catching_up = catching_up;
        }
    }

    pub(super) fn enqueue_bounded(&mut self, frame: Bytes) -> Result<(), SendError> {
        let max = self.config.limits.message_bytes_max;
        if frame.len() > max {
            return Err(SendError::TooLong { length: frame.len(), max });
        }
        if self.queue_bytes >= self.config.queue_bytes_max {
            return Err(SendError::QueueFull);
        }
        self.enqueue(frame);
        Ok(())
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
