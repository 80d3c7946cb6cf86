//! The fan-out: recent push runs, encoded once, from which every session sends at its own pace.
//!
//! The committer appends; sessions read from where they stand. Nothing is queued per session: one that falls behind what the
//! ring still holds catches up from the store and comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use reconvene_model::{PeerId, Seq, TxNumber};
use reconvene_protocol::{PushFrame, PushedContent, PushedTx};
use reconvene_store::PushedTx as StoredTx;
use tokio::sync::watch;

/// Accepted transactions that share a frame.
#[derive(Debug)]
pub struct Run {
    txs: Vec<StoredTx>,
    /// For everyone who wrote none of it.
    frame: PushFrame,
    bytes: usize,
}

impl Run {
    /// Encodes the transactions of a commit, as many runs as frames are needed.
    pub fn encode(txs: Vec<StoredTx>, frame_bytes_max: usize) -> Vec<Run> {
        let frames = PushFrame::encode(txs.iter().map(whole).collect(), frame_bytes_max);
        let mut txs = txs.into_iter().peekable();
        let run = |frame: PushFrame| {
            let txs: Vec<StoredTx> =
                std::iter::from_fn(|| txs.next_if(|tx| tx.seq <= frame.last_seq())).collect();
            // The ops stay beside the frame for their authors and for sessions that stand in the middle of the run.
            let beside: usize = txs.iter().map(|tx| tx.ops.len() + size_of::<StoredTx>()).sum();
            Run { bytes: frame.bytes().len() + beside, txs, frame }
        };
        frames.into_iter().map(run).collect()
    }

    /// The position of its first transaction.
    pub fn first(&self) -> Seq {
        self.frame.first_seq()
    }

    /// The position of its last transaction.
    pub fn last(&self) -> Seq {
        self.frame.last_seq()
    }

    /// The highest number of a transaction that `peer` wrote.
    pub fn last_number_of(&self, peer: PeerId) -> Option<TxNumber> {
        self.txs.iter().filter(|tx| tx.origin == peer).map(|tx| tx.number).max()
    }

    /// The frames for a session of `peer` that has everything up to `after`.
    pub fn frames_for(&self, peer: PeerId, after: Seq) -> Vec<PushFrame> {
        if after < self.first() && self.txs.iter().all(|tx| tx.origin != peer) {
            return vec![self.frame.clone()];
        }
        let txs = self
            .txs
            .iter()
            .filter(|tx| tx.seq > after)
            .map(|tx| match tx.origin == peer {
                true => PushedTx { seq: tx.seq, content: PushedContent::Own { number: tx.number } },
                false => whole(tx),
            })
            .collect();
        // It was one frame for everyone else, and is no longer for its authors.
        PushFrame::encode(txs, usize::MAX)
    }
}

fn whole(tx: &StoredTx) -> PushedTx {
    let ops = bytes::Bytes::from_owner(tx.ops.clone());
    let content = PushedContent::Whole { origin: tx.origin, number: tx.number, hlc: tx.hlc, ops };
    PushedTx { seq: tx.seq, content }
}

/// Where a session that has everything up to some position goes on.
#[derive(Debug)]
pub enum Next {
    /// This run follows.
    Run(Arc<Run>),
    /// There is nothing newer.
    UpToDate,
    /// What follows has left the ring: the store has it.
    FallenBehind,
}

/// Recent runs, up to a number of bytes.
#[derive(Debug)]
pub struct Ring {
    runs: Mutex<Runs>,
    head: watch::Sender<Seq>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Runs {
    runs: VecDeque<Arc<Run>>,
    bytes: usize,
    /// Everything after this position is in the ring.
    floor: Seq,
}

impl Ring {
    /// An empty ring of a history that stands at `head`.
    pub fn new(head: Seq, bytes_max: usize) -> Self {
        let runs = Runs { floor: head, ..Runs::default() };
        Ring { runs: Mutex::new(runs), head: watch::Sender::new(head), bytes_max }
    }

    /// Adds the run of a commit and wakes the sessions; the oldest runs make room.
    pub fn push(&self, run: Run) {
        let last = run.last();
        {
            let mut ring = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            ring.bytes += run.bytes;
            ring.runs.push_back(Arc::new(run));
            // The newest run stays however large it is: live sessions are about to ask for it.
            while ring.bytes > self.bytes_max && ring.runs.len() > 1 {
                if let Some(oldest) = ring.runs.pop_front() {
                    ring.bytes -= oldest.bytes;
                    ring.floor = oldest.last();
                }
            }
        }
        self.head.send_replace(last);
    }

    /// A watch on the newest position.
    pub(crate) fn head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// What follows for a session that has everything up to `after`.
    pub fn next(&self, after: Seq) -> Next {
        let ring = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if after < ring.floor {
            return Next::FallenBehind;
        }
        let at = ring.runs.partition_point(|run| run.last() <= after);
        ring.runs.get(at).map_or(Next::UpToDate, |run| Next::Run(run.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seqs: std::ops::RangeInclusive<u64>) -> Run {
        let txs = seqs.map(|seq| StoredTx {
            seq: Seq(seq),
            origin: PeerId(seq % 2 + 1),
            number: seq,
            hlc: seq,
            ops: vec![0; 100].into(),
        });
        let mut runs = Run::encode(txs.collect(), usize::MAX);
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }

    fn bytes(frames: &[PushFrame]) -> usize {
        frames.iter().map(|frame| frame.bytes().len()).sum()
    }

    #[test]
    fn sessions_read_on_from_where_they_stand() {
        let ring = Ring::new(Seq(10), 1 << 20);
        assert!(matches!(ring.next(Seq(10)), Next::UpToDate));
        ring.push(run(11..=13));
        ring.push(run(14..=14));
        for (after, first) in [(10, 11), (11, 11), (12, 11), (13, 14)] {
            let Next::Run(run) = ring.next(Seq(after)) else { panic!("a run follows {after}") };
            assert_eq!(run.first(), Seq(first));
        }
        assert!(matches!(ring.next(Seq(14)), Next::UpToDate));
        assert!(matches!(ring.next(Seq(9)), Next::FallenBehind));
        assert_eq!(*ring.head().borrow(), Seq(14));
    }

    #[test]
    fn a_full_ring_forgets_its_oldest_runs() {
        let ring = Ring::new(Seq(0), 2_000);
        for seq in 1..=50 {
            ring.push(run(seq..=seq));
        }
        assert!(matches!(ring.next(Seq(0)), Next::FallenBehind));
        assert!(matches!(ring.next(Seq(49)), Next::Run(_)));
    }

    #[test]
    fn one_frame_serves_all_who_wrote_nothing_of_it() {
        let run = run(1..=4);
        let stranger = run.frames_for(PeerId(9), Seq(0));
        let other = run.frames_for(PeerId(8), Seq(0));
        assert_eq!(stranger[0].bytes().as_ptr(), other[0].bytes().as_ptr());
        let author = run.frames_for(PeerId(1), Seq(0));
        assert!(bytes(&author) < bytes(&stranger), "an author gets numbers for its own");
        let late = run.frames_for(PeerId(9), Seq(3));
        assert!(bytes(&late) < bytes(&author), "what a session has is not sent again");
        assert_eq!(late[0].first_seq(), Seq(4));
        assert_eq!([1, 2, 9].map(|peer| run.last_number_of(PeerId(peer))), [Some(4), Some(3), None]);
    }

    #[test]
    fn a_large_commit_becomes_several_runs() {
        let txs = (1..=9)
            .map(|seq| StoredTx {
                seq: Seq(seq),
                origin: PeerId(1),
                number: seq,
                hlc: seq,
                ops: vec![0; 400].into(),
            })
            .collect();
        let runs = Run::encode(txs, 1_000);
        assert!(runs.len() > 2);
        assert_eq!(runs.iter().map(|run| run.txs.len()).sum::<usize>(), 9);
        assert!(runs.iter().all(|run| run.txs.first().map(|tx| tx.seq) == Some(run.first())));
    }
}
