//! The smallest store of a server that keeps the laws, and its committer's queue.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use reconvene_model::change::decode_tx;
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};
use reconvene_protocol::server::UploadedTx;
use reconvene_protocol::{
    Code, LoginAnswer, LoginRequest, LostOp, Outcome, PushedContent, PushedTx, Secret, Verdict,
};

use crate::support::{BIG_ROWS, EPOCH, SECRET, VIEW};

/// What a server's store keeps, and its committer's queue.
pub(crate) struct Hub {
    pub(crate) history: BTreeMap<Seq, (PeerId, TxNumber, Bytes)>,
    pub(crate) outcomes: BTreeMap<TxNumber, Outcome>,
    pub(crate) decided: TxNumber,
    pub(crate) decided_hash: TxHash,
    pub(crate) confirmed: TxNumber,
    /// Uploaded and not decided; survives the session that brought it.
    pub(crate) queue: VecDeque<UploadedTx>,
    /// How many decisions were made, duplicates not counted.
    pub(crate) decisions: usize,
    pub(crate) duplicates: usize,
    /// The committer does not get its turn.
    pub(crate) stalled: bool,
    pub(crate) secret: Option<Secret>,
    elsewhere: TxNumber,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Hub {
            history: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            decided: 0,
            decided_hash: TxHash::NONE,
            confirmed: 0,
            queue: VecDeque::new(),
            decisions: 0,
            duplicates: 0,
            stalled: false,
            secret: Some(Secret::new(SECRET)),
            elsewhere: 0,
        }
    }

    pub(crate) fn head(&self) -> Seq {
        self.history.keys().next_back().copied().unwrap_or_default()
    }

    /// A transaction of another device arrives in the history.
    pub(crate) fn write_elsewhere(&mut self, ops: &[u8]) {
        self.elsewhere += 1;
        self.history.insert(Seq(self.head().0 + 1), (PeerId(1), self.elsewhere, Bytes::copy_from_slice(ops)));
    }

    /// Decides on everything in the queue and returns the verdicts to be sent.
    pub(crate) fn commit(&mut self) -> Vec<Verdict> {
        if self.stalled {
            return Vec::new();
        }
        let mut verdicts = Vec::new();
        while let Some(tx) = self.queue.pop_front() {
            let number = tx.head.number;
            if number > self.decided {
                self.decide(&tx);
            } else {
                self.duplicates += 1;
            }
            if number > self.confirmed {
                verdicts.push(Verdict { number, outcome: self.outcomes[&number].clone() });
            }
        }
        verdicts
    }

    fn decide(&mut self, tx: &UploadedTx) {
        let number = tx.head.number;
        assert_eq!(number, self.decided + 1, "numbers reach the committer in order");
        assert_eq!(tx.head.previous, self.decided_hash, "the chain holds");
        let ops = tx.bytes.slice(tx.bytes.len() - ops_of(tx).len()..);
        let lost = vec![LostOp { op: 0, code: Code::ObjectRemoved, generation: 1 }];
        let refused = ops.starts_with(b"refuse");
        let outcome = if refused {
            Outcome::Refused { code: Code::NotPermitted, op: Some(0), message: "the rule says no".into() }
        } else if ops.starts_with(b"gone") {
            Outcome::Superseded { ops: lost }
        } else {
            let seq = Seq(self.head().0 + 1);
            self.history.insert(seq, (tx.head.origin, number, ops.clone()));
            Outcome::Accepted { seq, lost: if ops.starts_with(b"half") { lost } else { vec![] } }
        };
        self.outcomes.insert(number, outcome);
        self.decided = number;
        self.decided_hash = TxHash::of(&tx.bytes);
        self.decisions += 1;
    }

    pub(crate) fn confirm(&mut self, number: TxNumber) {
        assert!(number <= self.decided);
        self.confirmed = self.confirmed.max(number);
    }

    pub(crate) fn judge(&mut self, request: &LoginRequest) -> Result<LoginAnswer, Code> {
        if let Some(secret) = &self.secret
            && !request.verify_secret(secret)
        {
            return Err(if request.offers_secret() { Code::SecretWrong } else { Code::CredentialsMissing });
        }
        let login = &request.login;
        if login.confirmed > self.decided {
            return Err(Code::HistoryLost);
        }
        self.confirm(login.confirmed);
        let took_back =
            |outcome: &Outcome| !matches!(outcome, Outcome::Accepted { lost, .. } if lost.is_empty());
        let refusals = self
            .outcomes
            .range(self.confirmed + 1..)
            .filter(|(_, outcome)| took_back(outcome))
            .map(|(number, outcome)| Verdict { number: *number, outcome: outcome.clone() })
            .collect();
        let known = (login.cursor.epoch, login.cursor.view) == (EPOCH, VIEW);
        Ok(LoginAnswer {
            session: 1,
            server_time_ms: 0,
            decided_number: self.decided,
            decided_hash: self.decided_hash,
            decided_seq: self.head(),
            refusals,
            epoch: EPOCH,
            view: VIEW,
            catch_up_from: if known { login.cursor.seq } else { Seq(0) },
            capabilities: vec![],
            compare: false,
            continues: 0,
            chain: Vec::new(),
            rebased: None,
        })
    }

    /// The objects after this one, by Seq.
    pub(crate) fn rows(&self, (after, object): (Seq, u64)) -> impl Iterator<Item = (Seq, u64)> {
        self.history
            .range(after..)
            .flat_map(|(seq, (_, _, ops))| {
                let rows = if ops.starts_with(b"big") { BIG_ROWS } else { 1 };
                (0..rows).map(|row| (*seq, row))
            })
            .filter(move |row| *row > (after, object))
    }

    pub(crate) fn pushes(&self, after: Seq, to: PeerId) -> Vec<PushedTx> {
        self.history
            .range(Seq(after.0 + 1)..)
            .map(|(seq, (origin, number, ops))| PushedTx {
                seq: *seq,
                content: if *origin == to {
                    PushedContent::Own { number: *number }
                } else {
                    PushedContent::Whole {
                        origin: *origin,
                        number: *number,
                        hlc: seq.0 << 16,
                        ops: ops.clone(),
                    }
                },
            })
            .collect()
    }
}

fn ops_of(tx: &UploadedTx) -> &[u8] {
    decode_tx(&tx.bytes).expect("the session has read it").1
}
