//! What a server session asks of its engine.

use bytes::Bytes;
use reconvene_model::change::TxHead;
use reconvene_model::compare::{CompareRange, Slice};
use reconvene_model::{Seq, TxNumber};

use crate::close::Closed;
use crate::server::LoginRequest;

/// What a server session asks of its engine, in the order in which it must be done.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// A client wants a session, and owns the key that it names. The engine answers with
    /// [`accept_login`](crate::ServerSession::accept_login) or [`refuse_login`](crate::ServerSession::refuse_login).
    LoginRequested(Box<LoginRequest>),
    /// The client sent transactions. The engine decides on them in this order and answers with
    /// [`send_verdicts`](crate::ServerSession::send_verdicts) once that is durable. The first ones may have
    /// been decided before: they get their original verdicts again, or none if those are confirmed.
    Uploaded(Vec<UploadedTx>),
    /// The client holds the verdicts up to this number durably, and they may be forgotten. The number only rises.
    Confirmed(TxNumber),
    /// The client compares. The engine answers with [`send_compared`](crate::ServerSession::send_compared).
    Compare {
        /// Whether this is the first question, whose answer tells the beginning.
        begins: bool,
        /// What is to be answered: ascending and disjoint.
        ranges: Vec<CompareRange>,
    },
    /// The client wants all objects in these ranges, ascending and disjoint, as they are. The engine answers with
    /// [`send_fetched`](crate::ServerSession::send_fetched), in as many messages as it takes.
    Fetch(Vec<CompareRange>),
    /// The client has completed the compare. The engine goes on with a catch-up from above this Seq.
    CompareDone(Seq),
    /// The client tells a digest of some of what it has. The engine answers with
    /// [`send_probed`](crate::ServerSession::send_probed).
    Probe(Slice),
    /// The session is over.
    Closed(Closed),
}

/// A transaction as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedTx {
    /// Its head; the origin is the peer of this session.
    pub head: TxHead,
    /// All its bytes, head included.
    pub bytes: Bytes,
}
