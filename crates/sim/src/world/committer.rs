//! What the server decides, and whether that is what it must decide.

use std::rc::Rc;

use bytes::Bytes;
use reconvene_model::PeerId;
use reconvene_model::change::decode_tx;
use reconvene_server::committing::Reply;
use reconvene_store::{Decision, Verdict};

use super::server::unreadable;
use super::{ConnId, START_MS, World, tell};
use crate::audit::device::birth_of;
use crate::audit::truth::{Fate, TxRecord};
use crate::finding::{Finding, Outcome, check, found};
use crate::scenario::ServerPoint;

impl World {
    /// Decides on everything that waits, in one commit.
    pub(super) fn commit(&mut self, boot: u64) -> Outcome<()> {
        if boot != self.server.boot || !self.server.is_up() {
            return Ok(());
        }
        self.server.commit_planned = false;
        if self.server.uploads.is_empty() {
            return Ok(());
        }
        if let Some(down) = self.server.crashes_at(ServerPoint::BeforeCommit) {
            self.coverage.fault(ServerPoint::BeforeCommit.name());
            self.crash_server(down);
            return Ok(());
        }
        let uploads = std::mem::take(&mut self.server.uploads);
        let asked: Vec<(PeerId, Vec<Bytes>)> =
            uploads.iter().map(|upload| (upload.peer, upload.txs.clone())).collect();
        let mut answers: Vec<(ConnId, Reply)> = Vec::new();
        let Some(committing) = &mut self.server.committing else { return Ok(()) };
        committing.commit(uploads, &mut |conn, reply| answers.push((conn, reply)));
        for ((peer, txs), (_, reply)) in asked.iter().zip(&answers) {
            let decided = match reply {
                Ok(decided) => decided,
                Err(error) => return found("the server decides", format!("it could not: {error}")),
            };
            for (bytes, decided) in txs.iter().zip(decided) {
                self.check_decision(*peer, bytes, &decided.decision)?;
            }
        }
        let head = self.server.store()?.sync().head().map_err(unreadable)?;
        check(head.0 == self.truth.head, "verdicts are durable", || {
            format!("the history ends at {head}, but verdicts were given up to {}", self.truth.head)
        })?;
        if let Some(down) = self.server.crashes_at(ServerPoint::AfterCommit) {
            self.coverage.fault(ServerPoint::AfterCommit.name());
            self.crash_server(down);
            return Ok(());
        }
        let crash = self.server.crashes_at(ServerPoint::AfterSend);
        for (conn, reply) in answers {
            if let Some(session) = self.server.conns.get_mut(&conn) {
                session.talk.handle_decided(reply);
                self.pump_server(conn)?;
            }
            if let Some(down) = crash {
                self.coverage.fault(ServerPoint::AfterSend.name());
                self.crash_server(down);
                return Ok(());
            }
        }
        let all: Vec<ConnId> = self.server.conns.keys().copied().collect();
        for conn in all {
            self.pump_server(conn)?;
        }
        Ok(())
    }

    /// Holds a decision against what must be decided.
    fn check_decision(&mut self, peer: PeerId, bytes: &[u8], decision: &Decision) -> Outcome<()> {
        let known = self.truth.decided(peer);
        let tx = TxRecord::read(bytes);
        // A number that was decided on is not read further: it gets its first verdict, whatever its bytes.
        let number = match (&tx, decode_tx(bytes)) {
            (Ok(tx), _) => Some(tx.number),
            (Err(_), Ok((head, _))) => Some(head.number)
                .filter(|&number| head.origin == peer && (1..=known.len() as u64).contains(&number)),
            (Err(_), Err(_)) => None,
        };
        let Some(number) = number else {
            self.coverage.fault("peer: uploads what cannot be read");
            return match decision {
                Decision::Broken { .. } => Ok(()),
                other => found("only what follows is decided", format!("what cannot be read was {other:?}")),
            };
        };
        if let Ok(tx) = &tx
            && tx.peer != peer
        {
            return match decision {
                Decision::Broken { .. } => Ok(()),
                other => found("only what follows is decided", format!("{peer} for {}: {other:?}", tx.peer)),
            };
        }
        let is_news = number > known.len() as u64;
        let expected = if is_news {
            let tx = tx?;
            let previous = known.last().map_or(reconvene_model::TxHash::NONE, |last| last.tx.hash);
            let follows = number == known.len() as u64 + 1 && tx.previous == previous;
            if !follows || tx.ops.is_empty() {
                return match decision {
                    Decision::Broken { .. } => Ok(()),
                    other => found("only what follows is decided", format!("{peer} {number}: {other:?}")),
                };
            }
            let tx = Rc::new(tx);
            let fate = self.truth.decide(tx.clone(), START_MS + self.now);
            if let Fate::Accepted { .. } = fate {
                // From here on it is called so by everyone, even if its author had another name when he made it.
                let born = tx.ops.iter().filter_map(|op| Some((birth_of(op)?, op.key)));
                self.births.extend(born);
            }
            fate
        } else {
            known[number as usize - 1].fate.clone()
        };
        let matches = match (decision, &expected) {
            (Decision::Known { .. }, _) => !is_news,
            (Decision::Broken { .. }, _) => false,
            (Decision::Verdict { number: named, verdict }, expected) => {
                *named == number
                    && match (verdict, expected) {
                        (Verdict::Accepted { seq, lost }, Fate::Accepted { seq: due, lost: due_lost }) => {
                            seq.0 == *due && same_lost(lost, due_lost)
                        }
                        (Verdict::Refused { code, op, .. }, Fate::Refused { code: due, op: due_op }) => {
                            *code == due.number() && op == due_op
                        }
                        (Verdict::Superseded { lost }, Fate::Superseded { lost: due }) => {
                            same_lost(lost, due)
                        }
                        _ => false,
                    }
            }
        };
        tell!(self, "the server on {peer} {number}: {decision:?}");
        self.coverage.verdict(&expected);
        check(matches, "verdicts follow the laws", || {
            format!("on {peer} {number} it was decided {decision:?}, not {expected:?}")
        })
    }

    /// Holds the server's objects against the history.
    pub(super) fn check_server(&mut self) -> Outcome<()> {
        let store = self.server.store()?;
        let head = store.sync().head().map_err(unreadable)?;
        check(head.0 == self.truth.head, "verdicts are durable", || {
            format!("the history ends at {head}, but verdicts were given up to {}", self.truth.head)
        })?;
        let problems = store.check().map_err(unreadable)?;
        check(problems.is_empty(), "stores are sound", || format!("the server: {problems:?}"))?;
        let mut audit = crate::audit::device::DeviceAudit::new(PeerId(0), self.server.version);
        audit.floor = self.truth.head;
        audit.read_anew(store, &self.births)?;
        let stand = crate::audit::device::Stand::of(store)?;
        let keys: Vec<_> = self.truth.keys().collect();
        for key in keys {
            audit
                .check_object(store, &self.truth, &self.births, &self.uids, key, &stand)
                .map_err(|finding| Finding::new(finding.law, format!("the server: {}", finding.what)))?;
        }
        Ok(())
    }
}

fn same_lost(lost: &[reconvene_store::LostOp], due: &[(u32, u64)]) -> bool {
    lost.len() == due.len() && lost.iter().zip(due).all(|(lost, due)| (lost.op, lost.generation) == *due)
}
