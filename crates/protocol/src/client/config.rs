//! What a client brings into a session.

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::identity::PeerKey;
use reconvene_model::{TxHash, TxNumber};

use crate::limits::MESSAGE_BYTES_MAX;
use crate::login::Credential;
use crate::message::{Cursor, SchemaHashes};

/// How a client session behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// How long the connection may take from its opening to the accepted login. Default 15 s.
    pub login_timeout: Duration,
    /// How long a server that was asked for a sign of life may take. Default 15 s; shorter finds dead connections sooner and
    /// cuts slow ones.
    pub pong_timeout: Duration,
    /// The longest frame that is taken from the server, in bytes. Default 32 MiB; at least 64 KiB.
    pub message_bytes_max: usize,
    /// How long after one digest of what the client has the next is sent, to a server that takes them. Default 30 s; the first
    /// one follows the login after a tenth of that.
    pub probe_interval: Duration,
    /// How long uploads wait for the end of the catch-up that follows on a login, at most. Default 2 s.
    ///
    /// What is caught up with before it is written over shows as a conflict, see `docs/guide/conflicts.md`; what the server has
    /// merged by then does not.
    pub catch_up_first: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            login_timeout: Duration::from_secs(15),
            pong_timeout: Duration::from_secs(15),
            message_bytes_max: MESSAGE_BYTES_MAX,
            probe_interval: Duration::from_secs(30),
            catch_up_first: Duration::from_secs(2),
        }
    }
}

/// Who logs in, and what the store knows of the server's decisions at this moment.
#[derive(Clone, Debug)]
pub struct ClientLogin {
    /// The key that names the client.
    pub key: PeerKey,
    /// What it shows beside the key.
    pub credentials: Vec<Credential>,
    /// The version of its schema.
    pub schema: SchemaHashes,
    /// Up to where it has everything; the default for a client that never synced.
    pub cursor: Cursor,
    /// The number of its last transaction; 0 for none.
    pub last_number: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub last_hash: TxHash,
    /// The highest number whose verdict it holds durably.
    pub confirmed: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub confirmed_hash: TxHash,
    /// Optional abilities by name.
    pub capabilities: Vec<String>,
    /// The store holds objects that the cursor does not stand for, since a compare was cut off: it asks for another one.
    pub compare: bool,
    /// A catch-up was cut off, so that the store may hold objects from above the cursor.
    pub catching_up: bool,
    /// What the last chunk of that catch-up said which the store holds, if it ended within a Seq.
    pub resume: Bytes,
}
