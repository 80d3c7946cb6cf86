//! From the protocol's words to the store's.

use reconvene_model::TxNumber;
use reconvene_model::compare::CompareRange;
use reconvene_protocol as wire;
use reconvene_protocol::{LoginAccepted, PushedContent};
use reconvene_store::{Delivery, LostOp, Verdict};

/// What the server sent since the last commit, kept until it is applied.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    items: Vec<Item>,
    bytes: usize,
}

#[derive(Debug)]
enum Item {
    Login(Box<LoginAccepted>),
    Verdicts(Vec<wire::Verdict>),
    States(wire::Bytes, reconvene_model::Seq),
    /// Where within a position the states before it ended.
    Within(wire::Bytes),
    CatchUpDone(reconvene_model::Seq),
    Pushed(Vec<wire::PushedTx>),
    Fetched(wire::Bytes),
    Extra(CompareRange),
    Compared(reconvene_model::Seq),
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Roughly the memory that the messages hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }

    pub(crate) fn login(&mut self, accepted: Box<LoginAccepted>) {
        self.items.push(Item::Login(accepted));
    }

    pub(crate) fn verdicts(&mut self, verdicts: Vec<wire::Verdict>) {
        self.bytes += verdicts.len() * size_of::<wire::Verdict>();
        self.items.push(Item::Verdicts(verdicts));
    }

    pub(crate) fn states(&mut self, states: wire::Bytes, upto: reconvene_model::Seq, resume: wire::Bytes) {
        self.bytes += states.len();
        self.items.push(Item::States(states, upto));
        if !resume.is_empty() {
            self.items.push(Item::Within(resume));
        }
    }

    pub(crate) fn fetched(&mut self, states: wire::Bytes) {
        self.bytes += states.len();
        self.items.push(Item::Fetched(states));
    }

    pub(crate) fn extra(&mut self, range: CompareRange) {
        self.items.push(Item::Extra(range));
    }

    pub(crate) fn compared(&mut self, seq: reconvene_model::Seq) {
        self.items.push(Item::Compared(seq));
    }

    pub(crate) fn catch_up_done(&mut self, seq: reconvene_model::Seq) {
        self.items.push(Item::CatchUpDone(seq));
    }

    pub(crate) fn pushed(&mut self, txs: Vec<wire::PushedTx>) {
        self.bytes += txs
            .iter()
            .map(|tx| match &tx.content {
                PushedContent::Whole { ops, .. } => ops.len(),
                PushedContent::Own { .. } => size_of::<wire::PushedTx>(),
            })
            .sum::<usize>();
        self.items.push(Item::Pushed(txs));
    }

    /// Everything in order, as the store takes it.
    pub(crate) fn deliveries(&self) -> Vec<Delivery<'_>> {
        let mut deliveries = Vec::new();
        for item in &self.items {
            match item {
                Item::Login(accepted) => {
                    if accepted.continues != 0 {
                        let (former, epoch) = (accepted.continues, accepted.epoch);
                        deliveries.push(Delivery::Continued { former, epoch });
                    }
                    // The refusals come first: what remains undecided up to the number is accepted.
                    deliveries.extend(accepted.refusals.iter().map(verdict_delivery));
                    deliveries.push(Delivery::Login {
                        epoch: accepted.epoch,
                        view: accepted.view,
                        decided: accepted.decided_number,
                        decided_seq: accepted.decided_seq,
                        rebased: accepted.rebased,
                        compare: accepted.compare,
                    });
                }
                Item::Verdicts(verdicts) => deliveries.extend(verdicts.iter().map(verdict_delivery)),
                Item::States(block, upto) => deliveries.push(Delivery::States { block, upto: *upto }),
                Item::Within(resume) => deliveries.push(Delivery::Within { resume }),
                Item::Fetched(block) => deliveries.push(Delivery::Fetched { block }),
                Item::Extra(range) => deliveries.push(Delivery::Extra { range: *range }),
                Item::Compared(seq) => deliveries.push(Delivery::Compared { seq: *seq }),
                Item::CatchUpDone(seq) => deliveries.push(Delivery::CatchUpDone { seq: *seq }),
                Item::Pushed(txs) => deliveries.extend(txs.iter().map(pushed)),
            }
        }
        deliveries
    }
}

fn pushed(tx: &wire::PushedTx) -> Delivery<'_> {
    match &tx.content {
        PushedContent::Own { number } => Delivery::Own { seq: tx.seq, number: *number },
        PushedContent::Whole { origin, hlc, ops, .. } => {
            Delivery::Push { seq: tx.seq, origin: *origin, hlc: *hlc, ops }
        }
    }
}

fn verdict_delivery(wire: &wire::Verdict) -> Delivery<'_> {
    let (number, verdict) = verdict(wire);
    Delivery::Verdict { number, verdict }
}

/// A verdict as the store takes it, with its number.
pub(crate) fn verdict(verdict: &wire::Verdict) -> (TxNumber, Verdict) {
    let lost = |ops: &[wire::LostOp]| -> Vec<LostOp> {
        ops.iter().map(|lost| LostOp { op: lost.op, generation: lost.generation }).collect()
    };
    let stored = match &verdict.outcome {
        wire::Outcome::Accepted { seq, lost: ops } => Verdict::Accepted { seq: *seq, lost: lost(ops) },
        wire::Outcome::Refused { code, op, message } => {
            Verdict::Refused { code: code.number(), op: *op, message: message.clone() }
        }
        wire::Outcome::Superseded { ops } => Verdict::Superseded { lost: lost(ops) },
    };
    (verdict.number, stored)
}
