//! What a server session asks of its engine.

use bytes::Bytes;
use reconvene_model::TxNumber;
use reconvene_model::change::TxHead;

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
