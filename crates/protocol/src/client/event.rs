//! What a client session asks of its engine.

use bytes::Bytes;
use reconvene_model::compare::SliceOutcome;
use reconvene_model::{Seq, TxNumber};

use crate::close::Closed;
use crate::message::{CompareBegun, LoginAccepted, PushedTx, Verdict};

/// What a client session asks of its engine, in the order in which it must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server took the login. The engine settles the outbox by `decided_number` and `refusals`. It first compares
    /// `decided_number` and `decided_hash` with its own: if it has not written as much, or something else, its store is a copy or
    /// was restored. Then it finds by `chain` up to where both have the same, goes on under another name from there, and closes
    /// the session with [`Code::IdentityRenewed`](crate::Code::IdentityRenewed).
    LoggedIn(Box<LoginAccepted>),
    /// There is room to upload. The engine answers once with [`handle_txs`](crate::ClientSession::handle_txs): transactions
    /// from number `from` upwards without gaps, at most `txs_max` of them, and none after their bytes passed `bytes_max`; an
    /// empty list if there are none. What was handed over counts as sent: it is frozen.
    SendTxs {
        /// The first number.
        from: TxNumber,
        /// The most transactions.
        txs_max: usize,
        /// The bytes after which the engine stops.
        bytes_max: usize,
        /// How many transactions were sent and have no verdict; 0 means that all are decided.
        in_flight: usize,
    },
    /// The server decided; the engine stores it and says so with
    /// [`handle_durable`](crate::ClientSession::handle_durable). Each number comes once in a session, without gaps.
    Verdicts(Vec<Verdict>),
    /// Objects as they are at the server, up to a Seq and perhaps some of the next one. The store is not whole until
    /// `CatchUpDone`.
    CatchUp {
        /// A states block.
        states: Bytes,
        /// The cursor after it: the last Seq that is complete. Chunks that share a large Seq repeat the one before.
        upto_seq: Seq,
        /// What to say at the next login if nothing follows, kept in the same commit; empty at the end of a Seq.
        resume: Bytes,
    },
    /// The store has everything up to this Seq.
    CatchUpDone(Seq),
    /// What happened since, each transaction to be applied whole, with rising Seqs.
    Pushed(Vec<PushedTx>),
    /// What the server has, for the [`Initiator`](crate::Initiator) of the compare with which this session begins. The engine
    /// makes one when the answer to the login says `compare`, voids the cursor, and makes its set when the first of these
    /// brings the salt.
    Compared {
        /// In the first answer only. When the compare is complete, it is worth this Seq.
        begun: Option<CompareBegun>,
        /// A block of answers.
        answers: Bytes,
    },
    /// Objects as they are at the server, which take the place of what was confirmed of them.
    Fetched {
        /// A states block; empty if there is nothing.
        states: Bytes,
        /// Nothing else comes in answer to the last `Fetch`: the initiator is to be told once all of it is stored.
        last: bool,
    },
    /// It is time for a digest of some of what the store has. The engine answers with
    /// [`send_probe`](crate::ClientSession::send_probe) or, if it has undecided writes or nothing to tell, not at all.
    ProbeDue,
    /// What the server says to the last digest. After [`SliceOutcome::Differs`] the engine notes durably that a compare is due,
    /// and closes the session with [`Code::Diverged`](crate::Code::Diverged).
    Probed(SliceOutcome),
    /// The session is over.
    Closed(Closed),
}
