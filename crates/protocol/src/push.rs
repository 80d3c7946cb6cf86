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

#[cfg(test)]
mod tests {
    use reconvene_model::PeerId;

    use super::*;

    fn tx(seq: u64, ops_bytes: usize) -> PushedTx {
        let ops = vec![0; ops_bytes].into();
        PushedTx {
            seq: Seq(seq),
            content: PushedContent::Whole { origin: PeerId(1), number: seq, hlc: 1, ops },
        }
    }

    fn seqs(frame: &PushFrame) -> Vec<u64> {
        let Ok(Message::Push(txs)) = Message::decode(frame.bytes().clone(), 1 << 20) else {
            panic!("a push")
        };
        txs.iter().map(|tx| tx.seq.0).collect()
    }

    #[test]
    fn a_run_is_cut_where_a_frame_is_full() {
        let txs = [(3, 400), (4, 400), (7, 5000), (9, 10), (10, 10)];
        let frames = PushFrame::encode(txs.map(|(seq, bytes)| tx(seq, bytes)).into(), 1000);
        let cut: Vec<Vec<u64>> = frames.iter().map(seqs).collect();
        assert_eq!(cut, [vec![3, 4], vec![7], vec![9, 10]]);
        let ends: Vec<(u64, u64)> =
            frames.iter().map(|frame| (frame.first_seq().0, frame.last_seq().0)).collect();
        assert_eq!(ends, [(3, 4), (7, 7), (9, 10)]);
        assert!(frames[0].bytes().len() <= 1000 && frames[2].bytes().len() <= 1000);
        assert_eq!(PushFrame::encode(vec![], 1000), []);
    }

    #[test]
    fn no_frame_has_more_transactions_than_a_reader_takes() {
        let own = |seq| PushedTx { seq: Seq(seq), content: PushedContent::Own { number: seq } };
        let frames = PushFrame::encode((1..=PUSH_TXS_MAX as u64 + 1).map(own).collect(), usize::MAX);
        assert_eq!(frames.len(), 2);
        assert!(Message::decode(frames[0].bytes().clone(), usize::MAX).is_ok());
        assert_eq!(seqs(&frames[1]), [PUSH_TXS_MAX as u64 + 1]);
    }

    #[test]
    fn a_copy_of_a_frame_shares_its_bytes() {
        let frames = PushFrame::encode(vec![tx(1, 10)], 1000);
        assert_eq!(frames[0].clone().bytes().as_ptr(), frames[0].bytes().as_ptr());
    }
}
