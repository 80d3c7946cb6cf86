//! What the two sides say: the messages as values.
//!
//! [`Message::encode`] and [`Message::decode`] in [`crate::frame`] turn them into frames and back. Blocks of operations and
//! states stay encoded: they are slices of the frame that they came in, and the engine reads them with `reconvene-model`.

use bytes::Bytes;
use reconvene_model::compare::{Salt, Slice, SliceOutcome};
use reconvene_model::{Generation, PeerId, Seq, TxHash, TxNumber};

use crate::code::Code;
use crate::limits::Limits;
use crate::login::{CredentialProof, Nonce, PUBLIC_KEY_BYTES, SIGNATURE_BYTES};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Server, first of all.
    Hello(Hello),
    /// Client, in answer to `Hello`.
    Login(Box<Login>),
    /// Server: the client is logged in.
    LoginAccepted(Box<LoginAccepted>),
    /// Server: no session; the connection ends after it.
    LoginRefused {
        /// Why.
        code: Code,
        /// What happened and what to do, for people.
        message: String,
    },
    /// Client: transactions in the order of their numbers.
    Upload(Vec<Bytes>),
    /// Server: durable decisions on transactions of this client.
    Verdicts(Vec<Verdict>),
    /// Client: the verdicts up to this number are held durably.
    Confirm(TxNumber),
    /// Server: objects as they are, for a client that was away.
    CatchUp {
        /// A states block.
        states: Bytes,
        /// With this chunk the client has everything up to here; a chunk that ends within a Seq names the one before.
        upto_seq: Seq,
        /// Where within the next Seq it ended, for the server alone to read; empty at the end of a Seq.
        resume: Bytes,
    },
    /// Server: nothing is left to catch up with; pushes follow from this Seq.
    CatchUpDone(Seq),
    /// Server: what happened since, by rising Seq.
    Push(Vec<PushedTx>),
    /// Either side, once logged in: are you there?
    Ping(u64),
    /// Either side: I am.
    Pong(u64),
    /// Either side: the session ends; the connection ends after it.
    Bye {
        /// Why.
        code: Code,
        /// What happened and what to do, for people.
        reason: String,
    },
    /// Client: compares what it has in these ranges, a block of `docs/compare.md`; empty to begin.
    Compare(Bytes),
    /// Server: what it has in the first of these ranges.
    Compared {
        /// In the first answer only.
        begun: Option<CompareBegun>,
        /// A block of answers.
        answers: Bytes,
    },
    /// Client: asks for the objects in these ranges, a block of `docs/compare.md`.
    Fetch(Bytes),
    /// Server: objects as they are, in answer to a `Fetch`.
    Fetched {
        /// A states block; empty if there is nothing to send.
        states: Bytes,
        /// Nothing else comes in answer to this `Fetch`.
        last: bool,
    },
    /// Client: what the compare brought is held durably; catch-up follows.
    CompareDone,
    /// Client: a digest of some of what it has.
    Probe(Slice),
    /// Server: whether it has the same.
    Probed(SliceOutcome),
}

impl Message {
    /// The name of the kind, as in `docs/protocol.md`.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Hello(_) => "Hello",
            Message::Login(_) => "Login",
            Message::LoginAccepted(_) => "LoginAccepted",
            Message::LoginRefused { .. } => "LoginRefused",
            Message::Upload(_) => "Upload",
            Message::Verdicts(_) => "Verdicts",
            Message::Confirm(_) => "Confirm",
            Message::CatchUp { .. } => "CatchUp",
            Message::CatchUpDone(_) => "CatchUpDone",
            Message::Push(_) => "Push",
            Message::Ping(_) => "Ping",
            Message::Pong(_) => "Pong",
            Message::Bye { .. } => "Bye",
            Message::Compare(_) => "Compare",
            Message::Compared { .. } => "Compared",
            Message::Fetch(_) => "Fetch",
            Message::Fetched { .. } => "Fetched",
            Message::CompareDone => "CompareDone",
            Message::Probe(_) => "Probe",
            Message::Probed(_) => "Probed",
        }
    }
}

/// The first message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol versions that it speaks.
    pub versions: Vec<u32>,
    /// What the client is to sign.
    pub nonce: Nonce,
    /// Its clock in milliseconds since 1970.
    pub server_time_ms: u64,
}

/// A client's request for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The protocol version that the client chose.
    pub version: u32,
    /// The client's public key: its hash is its name.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// The signature over nonce and key.
    pub signature: [u8; SIGNATURE_BYTES],
    /// What the client proves beside its key.
    pub credentials: Vec<CredentialProof>,
    /// The client's schema.
    pub schema: SchemaHashes,
    /// Up to where the client has everything.
    pub cursor: Cursor,
    /// The number of the client's last transaction; 0 for none.
    pub last_number: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub last_hash: TxHash,
    /// The highest number whose verdict the client holds durably; at most `last_number`.
    pub confirmed: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub confirmed_hash: TxHash,
    /// Optional abilities by name.
    pub capabilities: Vec<String>,
    /// The client holds objects that its cursor does not stand for, and asks for a compare.
    pub compare: bool,
    /// A catch-up was cut off: the client may hold objects from above its cursor.
    pub catching_up: bool,
    /// What the last chunk of a catch-up said that the client holds durably, if it was cut off within a Seq.
    pub resume: Bytes,
}

/// The two hashes that name a version of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaHashes {
    /// Entities, properties and types.
    pub base: [u8; 32],
    /// The same with indexes and constraints.
    pub full: [u8; 32],
}

/// A position in the history of one server as seen through one view.
///
/// Epoch and view 0 stand for none: a client that never synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The server's history; another number after a restore.
    pub epoch: u64,
    /// The key of the view.
    pub view: u64,
    /// The client has everything of its view up to here.
    pub seq: Seq,
}

/// A server's answer to a login that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginAccepted {
    /// The number of this session in the server's logs.
    pub session: u64,
    /// The server's clock in milliseconds since 1970.
    pub server_time_ms: u64,
    /// The highest number of this client that the server has decided; 0 for none.
    pub decided_number: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub decided_hash: TxHash,
    /// The head of the history: every accepted transaction up to `decided_number` has its Seq at or below it.
    pub decided_seq: Seq,
    /// The verdicts above the confirmed number that took something back: refused, superseded, or accepted with lost
    /// operations. All other numbers up to `decided_number` are accepted whole.
    pub refusals: Vec<Verdict>,
    /// The epoch of the server's history; not 0.
    pub epoch: u64,
    /// The key of the client's view.
    pub view: u64,
    /// Catch-up starts above this Seq.
    pub catch_up_from: Seq,
    /// What the client must keep to in this session.
    pub limits: Limits,
    /// After this long without a word from the server the client asks for a sign of life.
    pub heartbeat_ms: u64,
    /// Those of the client's capabilities that are in force.
    pub capabilities: Vec<String>,
    /// The session begins with a compare, and catch-up starts where that began.
    pub compare: bool,
    /// The epoch of the client's cursor, if that history, up to the cursor's Seq, is also the beginning of this one; else 0.
    pub continues: u64,
    /// The hashes of the client's transactions after the confirmed number of its login, as far as the server has decided on such
    /// numbers and remembers, and at most up to the client's last number. By them a client whose directory is a copy finds
    /// out up to where they are its own.
    pub chain: Vec<TxHash>,
    /// The highest number of this client that the server knew before it took over the client's own, if it was restored or
    /// replaced and so lost decisions that the client holds: those above, up to `decided_number`, are lost.
    pub rebased: Option<TxNumber>,
}

/// What holds for a whole compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompareBegun {
    /// What the compare is worth when complete: catch-up starts above this Seq.
    pub seq: Seq,
    /// What fingerprints are keyed with.
    pub salt: Salt,
}

/// The server's durable decision on one transaction; it consumes the number, whatever the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The number of the transaction.
    pub number: TxNumber,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a place in the history.
    Accepted {
        /// The place.
        seq: Seq,
        /// Operations that did not live.
        lost: Vec<LostOp>,
    },
    /// It was not taken.
    Refused {
        /// Why.
        code: Code,
        /// The first operation that was at fault, counted from 0; `None` if the whole transaction was.
        op: Option<u32>,
        /// What happened and what to do, for people.
        message: String,
    },
    /// Every operation was written against an object that was removed since.
    Superseded {
        /// The operations, with the current generations of their objects.
        ops: Vec<LostOp>,
    },
}

/// An operation that did not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostOp {
    /// Which one, counted from 0.
    pub op: u32,
    /// Why.
    pub code: Code,
    /// The current generation of its object.
    pub generation: Generation,
}

/// One transaction in its place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedTx {
    /// The place.
    pub seq: Seq,
    /// What happened there.
    pub content: PushedContent,
}

/// What a pushed transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushedContent {
    /// The receiver wrote it and has it: the number is enough.
    Own {
        /// Its number.
        number: TxNumber,
    },
    /// It comes with its operations.
    Whole {
        /// Who wrote it.
        origin: PeerId,
        /// Its number there.
        number: TxNumber,
        /// The clock reading of all its writes.
        hlc: u64,
        /// An ops block.
        ops: Bytes,
    },
}
