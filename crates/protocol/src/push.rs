//! Pushes, encoded once for all who see the same.

use bytes::Bytes;
use reconvene_model::Seq;

use crate::limits::{ENVELOPE_BYTES_MAX, PUSH_TXS_MAX};
use crate::message::{Message, PushedContent, PushedTx};

/// A push, encoded once for all clients that see the same: cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushFrame {
    first: Seq,
    last: Seq,
    frame: Bytes,
}

impl PushFrame {
    /// Encodes a run of transactions into frames of about `bytes_max` bytes; one transaction alone may be longer.
    ///
    /// # Panics
    ///
    /// If the Seqs do not rise: a history has no other order.
    pub fn encode(txs: Vec<PushedTx>, bytes_max: usize) -> Vec<PushFrame> {
        assert!(txs.is_sorted_by(|one, next| one.seq < next.seq), "a history is read by rising Seq");
        let mut frames = Vec::new();
        let mut run: Vec<PushedTx> = Vec::new();
        let mut bytes = 0;
        for tx in txs {
            let length = ENVELOPE_BYTES_MAX
                + match &tx.content {
                    PushedContent::Whole { ops, .. } => ops.len(),
                    PushedContent::Own { .. } => 0,
                };
            if !run.is_empty() && (bytes + length > bytes_max || run.len() == PUSH_TXS_MAX) {
                frames.push(PushFrame::of_run(std::mem::take(&mut run)));
                bytes = 0;
            }
            bytes += length;
            run.push(tx);
        }
        if !run.is_empty() {
            frames.push(PushFrame::of_run(run));
        }
        frames
    }

    fn of_run(run: Vec<PushedTx>) -> PushFrame {
        let (first, last) = match run.as_slice() {
            [first, .., last] => (first.seq, last.seq),
            [only] => (only.seq, only.seq),
            [] => unreachable!("only runs with transactions are framed"),
        };
        PushFrame { first, last, frame: Message::Push(run).encode() }
    }

    /// The first Seq in it.
    pub fn first_seq(&self) -> Seq {
        self.first
    }

    /// The last Seq in it.
    pub fn last_seq(&self) -> Seq {
        self.last
    }

    /// The frame as it travels.
    pub fn bytes(&self) -> &Bytes {
        &self.frame
    }
}
