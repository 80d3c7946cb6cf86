//! Messages, framing and the sans-IO session machines of Reconvene sync.
//!
//! Nothing in here knows a socket, a clock, a thread or a store. An engine feeds a session with frames and the time, and
//! carries out what the session asks for: `docs/protocol.md` is the same story for writers of clients in other languages.
//!
//! - [`message`]: what the two sides say, and [`frame`]: how it becomes bytes and back, with every length checked
//! - [`login`]: nonces, proofs and secrets
//! - [`client`] and [`server`]: the session machines; [`push`]: frames for many receivers; [`timer`]: what they wait for
//! - [`close`] and [`code`]: how sessions and transactions fail, in words that stay
//! - [`compare`]: which objects of two sets differ, range by range
//! - [`backoff`]: when a client tries again
//! - [`limits`]: every bound by name

pub mod backoff;
pub mod client;
pub mod close;
pub mod code;
pub mod compare;
pub mod frame;
pub mod limits;
pub mod login;
pub mod message;
pub mod push;
pub mod server;
pub mod timer;

mod convert;
#[allow(clippy::all, missing_docs, unreachable_pub, unused_qualifications)]
#[rustfmt::skip]
mod generated;
mod heartbeat;
mod scan;

pub use backoff::Backoff;
pub use bytes::Bytes;
pub use client::{ClientConfig, ClientEvent, ClientLogin, ClientSession, CompareSendError, TxsError};
pub use close::{Closed, ClosedBy};
pub use code::Code;
pub use compare::{CompareError, CompareMessage, CompareStep, Initiator};
pub use frame::MessageError;
pub use limits::Limits;
pub use login::{Credential, CredentialProof, NONCE_BYTES, Nonce, Secret};
pub use message::{
    CompareBegun, Cursor, Login, LoginAccepted, LostOp, Message, Outcome, PushedContent, PushedTx,
    SchemaHashes, Verdict,
};
pub use push::PushFrame;
pub use server::{
    LoginAnswer, LoginRequest, SendError, ServerConfig, ServerEvent, ServerSession, UploadedTx,
};
pub use timer::Timer;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The WebSocket subprotocol that a client asks for and a server grants.
pub const SUBPROTOCOL: &str = "reconvene.v1";
