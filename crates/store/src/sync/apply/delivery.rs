//! What a server says, as the store takes it, and what came of it.

use reconvene_model::compare::CompareRange;
use reconvene_model::{Generation, PeerId, Seq, TxNumber};

/// One thing that a server said, in the order in which it said it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Delivery<'a> {
    /// The answer to a login: which history this is, and what it has decided of this store's transactions.
    Login {
        /// The random identity of the server's history.
        epoch: u64,
        /// The hash of this store's view.
        view: u64,
        /// The highest number of this store that the server has decided on.
        decided: TxNumber,
        /// The position up to which those decisions lie.
        decided_seq: Seq,
        /// The highest number that a restored server knew before it took over this store's own: it has nothing of the
        /// transactions above, up to `decided`.
        rebased: Option<TxNumber>,
        /// A compare follows: the cursor is void until [`Delivery::Compared`].
        compare: bool,
    },
    /// The server was restored since, and what this store has of its former history is the beginning of the present one.
    /// Comes before the login.
    Continued {
        /// The epoch of the former history.
        former: u64,
        /// That of the present one.
        epoch: u64,
    },
    /// Another store's transaction.
    Push {
        /// Its position.
        seq: Seq,
        /// Its author.
        origin: PeerId,
        /// Its clock reading.
        hlc: u64,
        /// Its ops block.
        ops: &'a [u8],
    },
    /// The position of a transaction of this store.
    Own {
        /// Its position.
        seq: Seq,
        /// Its number.
        number: TxNumber,
    },
    /// Whole objects of a catch-up.
    States {
        /// The states block.
        block: &'a [u8],
        /// Up to where every object has been delivered now.
        upto: Seq,
    },
    /// Where within the next position the states before it ended: what to say to the server if nothing follows.
    Within {
        /// In the server's own words, kept as they are.
        resume: &'a [u8],
    },
    /// The end of a catch-up.
    CatchUpDone {
        /// The position at which pushes go on.
        seq: Seq,
    },
    /// Whole objects that a compare fetched: each takes the place of what was confirmed of it.
    Fetched {
        /// The states block.
        block: &'a [u8],
    },
    /// A compare found that the server has nothing in this range: what is confirmed there leaves.
    Extra {
        /// The range.
        range: CompareRange,
    },
    /// The end of a compare.
    Compared {
        /// The position that it is worth: where it began.
        seq: Seq,
    },
    /// The decision on one of this store's transactions.
    Verdict {
        /// Its number.
        number: TxNumber,
        /// The decision.
        verdict: Verdict,
    },
}

/// A server's durable decision on a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has a position; some of its ops may have been lost.
    Accepted {
        /// The position.
        seq: Seq,
        /// The ops that a later generation of their object swallowed.
        lost: Vec<LostOp>,
    },
    /// Nothing of it took effect.
    Refused {
        /// The stable code of the reason.
        code: u32,
        /// The op that is to blame, counted from 0.
        op: Option<u32>,
        /// The reason in words.
        message: String,
    },
    /// Every op came too late for its object.
    Superseded {
        /// The ops with the generations that their objects have by now.
        lost: Vec<LostOp>,
    },
}

/// An op that a later generation of its object swallowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostOp {
    /// The op, counted from 0 within its transaction.
    pub op: u32,
    /// The object's generation on the server.
    pub generation: Generation,
}

/// What applying deliveries did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Ops and states that were merged.
    pub objects: u64,
    /// Ops and states of entities that this store's schema does not know: they come when it does.
    pub skipped: u64,
    /// The store's transactions that were refused or superseded, or lost ops: see [`crate::SyncHandle::rejected`].
    pub rejected: Vec<TxNumber>,
    /// The conflicts that were found, in order: see [`crate::SyncHandle::conflicts`].
    pub conflicts: Vec<u64>,
    /// How many of the store's transactions left the outbox.
    pub settled: u64,
    /// The highest number whose verdict, and that of all before it, is durable here.
    pub decided: TxNumber,
}
