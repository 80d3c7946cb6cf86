//! On a server: deciding on the transactions of devices, each at its place in the history.
//!
//! A transaction is judged whole before any of it is written, so a refused one leaves no trace but its verdict.

use std::sync::Arc;

use reconvene_model::change::{Op, OpsReader, OpsWriter, decode_tx};
use reconvene_model::clock::DRIFT_MAX;
use reconvene_model::codec::DecodeError;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{PeerId, Seq, Stamp, TxHash, TxNumber};

use crate::error::{Result, StoreError};
use crate::sync::apply::{LostOp, Verdict};
use crate::sync::origins::{self, Origin};
use crate::sync::{TX_OPS_MAX, TX_VALUES_MAX, meta};
use crate::txn::WriteTxn;

mod plan;
mod reason;

pub use reason::RefusalReason;

use plan::{Fault, Plan};

/// A transaction that a peer uploaded.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The peer whose session it came in by; it must be the transaction's origin.
    pub peer: PeerId,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What was decided on an incoming transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The peer that uploaded it.
    pub peer: PeerId,
    /// The decision.
    pub decision: Decision,
    /// Whether a transaction of this number had been decided on before. Only its number was compared: within one session it
    /// was sent by another one, and may be of a copy of the peer's directory.
    pub repeated: bool,
    /// What receivers are to be sent, if it was accepted now.
    pub push: Option<PushedTx>,
}

/// The decision on an incoming transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A verdict: the new one, or for a duplicate the one that it got at first.
    Verdict {
        /// The transaction's number.
        number: TxNumber,
        /// The verdict.
        verdict: Verdict,
    },
    /// A duplicate whose verdict the peer has confirmed to hold.
    Known {
        /// The transaction's number.
        number: TxNumber,
    },
    /// The bytes are not a transaction of this peer at this place; its session must end.
    Broken {
        /// What kind of mistake it is.
        what: Break,
        /// What is wrong.
        reason: String,
    },
}

/// Why uploaded bytes are not the transaction that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// They do not decode, or name another origin.
    Content,
    /// A transaction before it is missing.
    Gap,
    /// It does not follow the one before it.
    Chain,
}

/// An accepted transaction as receivers are sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedTx {
    /// Its position.
    pub seq: Seq,
    /// Its author.
    pub origin: PeerId,
    /// Its number.
    pub number: TxNumber,
    /// Its clock reading.
    pub hlc: u64,
    /// The ops that took effect.
    pub ops: Arc<[u8]>,
}

/// Decides on one transaction and writes what was decided.
pub(crate) fn decide(tx: &mut WriteTxn<'_>, incoming: Incoming<'_>) -> Result<Decided> {
    let peer = incoming.peer;
    let broken = |what: Break, reason: String| {
        Ok(Decided { peer, decision: Decision::Broken { what, reason }, repeated: false, push: None })
    };
    let (head, block) = match decode_tx(incoming.bytes) {
        Ok(decoded) => decoded,
        Err(error) => return broken(Break::Content, format!("the transaction does not decode: {error}")),
    };
    if head.origin != peer {
        return broken(Break::Content, format!("the transaction names {} as its origin", head.origin));
    }
    let Some(mut origin) = origins::get(tx.engine_tx(), &tx.inner().sync.tables, peer)? else {
        return Err(StoreError::UnknownPeer { peer });
    };
    if head.number <= origin.decided {
        let decision = duplicate(tx, peer, &origin, head.number)?;
        return Ok(Decided { peer, decision, repeated: true, push: None });
    }
    if head.number != origin.decided + 1 {
        let reason = format!("transaction {} came where {} was due", head.number, origin.decided + 1);
        return broken(Break::Gap, reason);
    }
    if head.previous != origin.hash && !planted(Planted::ChainUnchecked) {
        return broken(
            Break::Chain,
            format!("transaction {} does not follow the one before it", head.number),
        );
    }

    let now_ms = tx.inner().now_ms();
    let max_ms = u64::try_from(DRIFT_MAX.as_millis()).expect("the drift is a minute");
    let stamp = Stamp::new(head.hlc, peer);
    let seq = Seq(meta::head(tx)?.0 + 1);
    let mut plan = Plan::new(peer, stamp, seq, block);
    let judged = match stamp.millis().checked_sub(now_ms) {
        Some(ahead_ms) if ahead_ms > max_ms => {
            Err(Fault::Refused(None, RefusalReason::ClockAhead { ahead_ms, max_ms }))
        }
        _ => plan.judge(tx),
    };
    let (verdict, push) = match judged {
        Ok(()) if plan.live == 0 && !plan.lost.is_empty() => {
            (Verdict::Superseded { lost: std::mem::take(&mut plan.lost) }, None)
        }
        Ok(()) => {
            let ops: Arc<[u8]> = if plan.lost.is_empty() || planted(Planted::LostOpsPushed) {
                block.into()
            } else {
                live_ops(peer, block, &plan.lost)?.into()
            };
            let lost = std::mem::take(&mut plan.lost);
            let lost = if planted(Planted::LostOpsUntold) { Vec::new() } else { lost };
            plan.write(tx)?;
            meta::put_head(tx, seq)?;
            let push = PushedTx { seq, origin: peer, number: head.number, hlc: head.hlc, ops };
            (Verdict::Accepted { seq, lost }, Some(push))
        }
        Err(Fault::Refused(op, reason)) => {
            // What it is refused for may stand before bytes that cannot be read; no verdict depends on how far a server had read.
            if let Some(reason) = unreadable(peer, block) {
                return broken(Break::Content, reason);
            }
            (Verdict::Refused { code: reason.code(), op, message: reason.to_string() }, None)
        }
        Err(Fault::NamedTwice) => {
            return Err(StoreError::internal("a plan is made anew for objects that are named twice"));
        }
        Err(Fault::Malformed(reason)) => return broken(Break::Content, reason),
        Err(Fault::Store(error)) => return Err(error),
    };
    origins::decided(tx, peer, &mut origin, TxHash::of(incoming.bytes), &verdict)?;
    let decision = Decision::Verdict { number: head.number, verdict };
    Ok(Decided { peer, decision, repeated: false, push })
}

fn duplicate(tx: &WriteTxn<'_>, peer: PeerId, origin: &Origin, number: TxNumber) -> Result<Decision> {
    if number <= origin.confirmed {
        return Ok(Decision::Known { number });
    }
    let verdict =
        origins::verdict(tx.engine_tx(), &tx.inner().sync.tables, peer, number)?.ok_or_else(|| {
            StoreError::damaged("decisions", format!("the verdict on {peer} {number} is missing"))
        })?;
    let verdict = match verdict {
        Verdict::Refused { .. } if planted(Planted::DuplicateAccepted) => {
            Verdict::Accepted { seq: meta::head(tx)?, lost: Vec::new() }
        }
        verdict => verdict,
    };
    Ok(Decision::Verdict { number, verdict })
}

/// What keeps a block of ops from being read to its end. One that is beyond the limits is not read further than these.
fn unreadable(peer: PeerId, block: &[u8]) -> Option<String> {
    let read = || -> std::result::Result<bool, DecodeError> {
        let mut ops = OpsReader::new(peer, block)?;
        let (mut op, mut values) = (Op::default(), 0);
        let is_empty = ops.is_empty();
        while ops.len() <= TX_OPS_MAX && values <= TX_VALUES_MAX && ops.read_into(&mut op)? {
            values += op.cells.len();
        }
        Ok(is_empty)
    };
    match read() {
        Ok(false) => None,
        Ok(true) => Some(plan::NO_OPS.to_owned()),
        Err(error) => Some(plan::undecodable(error)),
    }
}

/// The ops block without the ops that took no effect.
fn live_ops(peer: PeerId, block: &[u8], lost: &[LostOp]) -> Result<Vec<u8>> {
    let undecodable = |e| StoreError::damaged("transaction", e);
    let mut writer = OpsWriter::new(peer);
    let mut ops = OpsReader::new(peer, block).map_err(undecodable)?;
    let mut op = Op::default();
    // Lost ops were noted in the order of the block, so that one walk over both is enough however many there are.
    let mut lost = lost.iter().map(|lost| lost.op).peekable();
    let mut at = 0;
    while ops.read_into(&mut op).map_err(undecodable)? {
        if lost.next_if_eq(&at).is_none() {
            writer.push(&op);
        }
        at += 1;
    }
    Ok(writer.finish())
}
