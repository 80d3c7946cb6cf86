//! What the server has decided, read from its directory, and whether that is what it must have decided.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;

use reconvene_model::{PeerId, TxHash};
use reconvene_store::__private::decisions;
use reconvene_store::{Role, Store, Verdict};

use crate::audit::device::{Births, DeviceAudit, birth_of};
use crate::audit::truth::{Fate, Truth, TxRecord};
use crate::finding::{Finding, Outcome, check, found};

/// A server time that nothing is dated ahead of: whatever a server refuses for its date is a finding, since devices date anew what is
/// too far ahead.
const NEVER_AHEAD_MS: u64 = 1 << 60;

/// The history of one server.
pub(super) struct History {
    pub(super) truth: Truth,
    pub(super) births: Births,
    /// By peer, what was read and has no place in the history yet.
    read: BTreeMap<PeerId, VecDeque<Read>>,
    /// By peer, up to where it was read.
    upto: BTreeMap<PeerId, u64>,
}

/// A verdict as the server keeps it.
#[derive(Debug)]
struct Read {
    number: u64,
    hash: TxHash,
    verdict: Verdict,
}

/// What following the server came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// Everything that was read has its place.
    Up,
    /// This transaction was not told yet.
    Lacks(PeerId, u64),
}

impl History {
    pub(super) fn new(code_uid: u64) -> History {
        History {
            truth: Truth::new(code_uid),
            births: Births::new(),
            read: BTreeMap::new(),
            upto: BTreeMap::new(),
        }
    }

    /// Reads what the server has decided since the last time, beside the server if it runs.
    pub(super) fn read(&mut self, directory: &Path, devices: &[DeviceAudit]) -> Outcome<()> {
        let failed = |error| Finding::new("store readable", format!("the server: {error}"));
        let store = match Store::builder(directory).role(Role::Server).read_only().open() {
            Ok(store) => store,
            // It was killed before it had made its files.
            Err(_) if !directory.join(Store::DATA_FILE).exists() => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let after = |peer| self.upto.get(&peer).copied().unwrap_or(0);
        let asked: Vec<_> = devices.iter().map(|device| (device.peer, after(device.peer))).collect();
        // All in one snapshot: no verdict is there that depends on one that is not.
        for (peer, number, hash, verdict) in decisions(&store, &asked).map_err(failed)? {
            let upto = self.upto.entry(peer).or_default();
            check(number == *upto + 1, "verdicts are durable", || {
                format!("the server has decided {peer} up to {upto}, and then {number}")
            })?;
            *upto = number;
            self.read.entry(peer).or_default().push_back(Read { number, hash, verdict });
        }
        Ok(())
    }

    /// Lets everything happen that was read, in the order in which it can have happened.
    ///
    /// Places say in which order transactions were accepted. A refusal changes nothing and has no place: it must be right at one of the
    /// moments between what its author had accepted before and after it.
    pub(super) fn follow(&mut self, devices: &[DeviceAudit]) -> Outcome<Followed> {
        loop {
            let mut goes_on = false;
            let peers: Vec<PeerId> = self.read.keys().copied().collect();
            for peer in &peers {
                while let Some(first) = self.read[peer].front() {
                    if matches!(first.verdict, Verdict::Accepted { .. }) {
                        break;
                    }
                    let Some(tx) = known(devices, *peer, first) else {
                        return Ok(Followed::Lacks(*peer, first.number));
                    };
                    if !is_said(&first.verdict, &self.truth.judge(&tx, NEVER_AHEAD_MS)) {
                        break;
                    }
                    self.decide(*peer, tx);
                    goes_on = true;
                }
            }
            let due = self.truth.head + 1;
            let next = peers.into_iter().find(|peer| {
                let first = self.read[peer].front();
                first.is_some_and(
                    |first| matches!(first.verdict, Verdict::Accepted { seq, .. } if seq.0 == due),
                )
            });
            if let Some(peer) = next {
                let first = &self.read[&peer][0];
                let Some(tx) = known(devices, peer, first) else {
                    return Ok(Followed::Lacks(peer, first.number));
                };
                let fate = self.truth.judge(&tx, NEVER_AHEAD_MS);
                check(is_said(&first.verdict, &fate), "verdicts follow the laws", || {
                    format!(
                        "on {peer} {} it was decided {:?}, not {fate:?}: {tx:?}",
                        first.number, first.verdict
                    )
                })?;
                self.decide(peer, tx);
                goes_on = true;
            }
            if !goes_on {
                break;
            }
        }
        let Some((peer, first)) = self.read.iter().find_map(|(peer, read)| Some((peer, read.front()?)))
        else {
            return Ok(Followed::Up);
        };
        let fate = known(devices, *peer, first).map(|tx| (self.truth.judge(&tx, NEVER_AHEAD_MS), tx));
        found(
            "verdicts follow the laws",
            format!(
                "on {peer} {} it was decided {:?}, which was right at no moment up to {}, where it is {fate:?}",
                first.number, first.verdict, self.truth.head
            ),
        )
    }

    fn decide(&mut self, peer: PeerId, tx: Rc<TxRecord>) {
        if let Fate::Accepted { .. } = self.truth.decide(tx.clone(), NEVER_AHEAD_MS) {
            self.births.extend(tx.ops.iter().filter_map(|op| Some((birth_of(op)?, op.key))));
        }
        if let Some(read) = self.read.get_mut(&peer) {
            read.pop_front();
        }
    }
}

/// The transaction that was decided on, if its author has told it as it is.
fn known(devices: &[DeviceAudit], peer: PeerId, read: &Read) -> Option<Rc<TxRecord>> {
    let device = devices.iter().find(|device| device.peer == peer)?;
    let tx = device.txs.get(usize::try_from(read.number).ok()?.checked_sub(1)?)?;
    (tx.hash == read.hash).then(|| tx.clone())
}

/// Whether a verdict is what must be decided.
fn is_said(verdict: &Verdict, fate: &Fate) -> bool {
    let same = |lost: &[reconvene_store::LostOp], due: &[(u32, u64)]| {
        lost.iter().map(|lost| (lost.op, lost.generation)).eq(due.iter().copied())
    };
    match (verdict, fate) {
        (Verdict::Accepted { seq, lost }, Fate::Accepted { seq: due, lost: lost_due }) => {
            seq.0 == *due && same(lost, lost_due)
        }
        (Verdict::Refused { code, op, .. }, Fate::Refused { code: due, op: op_due }) => {
            *code == due.number() && op == op_due
        }
        (Verdict::Superseded { lost }, Fate::Superseded { lost: due }) => same(lost, due),
        _ => false,
    }
}
