//! The stable codes by which sessions end and transactions are refused.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $retry:literal;)+) => {
        /// Why a session ended, a login failed, or a transaction was not taken; numbers and names never change.
        ///
        /// `docs/errors.md` lists them all with cause and remedy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
            /// A code that a newer release sent; its text says what it means.
            Unknown(u32),
        }

        impl Code {
            /// All codes that this release knows, by number.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The number that travels.
            pub fn number(self) -> u32 {
                match self {
                    $(Code::$variant => $number,)+
                    Code::Unknown(number) => number,
                }
            }

            /// The code of a number that arrived.
            pub fn from_number(number: u32) -> Code {
                match number {
                    $($number => Code::$variant,)+
                    other => Code::Unknown(other),
                }
            }

            /// The name for people and for searches, like `auth.secret-wrong`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)+
                    Code::Unknown(_) => "unknown",
                }
            }

            /// Whether the same attempt may succeed later without anyone changing anything.
            ///
            /// While this holds a client connects again by itself, with growing pauses; else it waits until it is told. An
            /// unknown code counts as worth another try.
            pub fn retry_helps(self) -> bool {
                match self {
                    $(Code::$variant => $retry,)+
                    Code::Unknown(_) => true,
                }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Code::$variant => concat!($($doc),+).trim_ascii(),)+
                    Code::Unknown(_) => "A newer release sent this code; its text says what it means.",
                }
            }
        }
    };
}

codes! {
    /// The session ended on purpose.
    Done = 100, "session.done", false;
    /// The server shuts down or restarts.
    GoingAway = 101, "session.going-away", true;
    /// The other side gave no sign of life in time.
    HeartbeatLost = 102, "session.heartbeat-lost", true;
    /// The login was not complete in time.
    LoginLate = 103, "session.login-late", true;
    /// The connection ended without a word.
    LinkLost = 104, "session.link-lost", true;
    /// The same peer has logged in again, and only its newest session stays.
    Replaced = 105, "session.replaced", true;
    /// The receiver took messages too slowly.
    Slow = 106, "session.slow", true;
    /// The device's clock was set or the device slept, and the server is to be asked for the time again.
    ClockChanged = 107, "session.clock-changed", true;
    /// The client and the server were found to have something else at the same Seq, and compare.
    Diverged = 108, "session.diverged", true;

    /// Bytes arrived that are not a message of this protocol.
    FrameInvalid = 200, "protocol.frame-invalid", true;
    /// A message is longer than the limit.
    FrameTooLong = 201, "protocol.frame-too-long", false;
    /// A message has flags that this release does not know.
    FrameUnknown = 202, "protocol.frame-unknown", false;
    /// A message is of a kind that this release does not know.
    KindUnknown = 203, "protocol.kind-unknown", false;
    /// A message of this kind has no place here.
    KindUnexpected = 204, "protocol.kind-unexpected", true;
    /// The two sides speak no common version of the protocol.
    VersionUnsupported = 205, "protocol.version-unsupported", false;
    /// A field of a message is out of its range.
    ContentInvalid = 206, "protocol.content-invalid", false;
    /// Numbers or Seqs did not arrive in their order.
    OrderViolated = 207, "protocol.order-violated", true;
    /// More was uploaded than the window allows.
    WindowExceeded = 208, "protocol.window-exceeded", true;

    /// The server asks for a credential that the client did not give.
    CredentialsMissing = 300, "auth.credentials-missing", false;
    /// The shared secret of the client is not the server's.
    SecretWrong = 301, "auth.secret-wrong", false;
    /// The login was not signed with the key that it names, or not for this connection.
    SignatureWrong = 302, "auth.signature-wrong", false;
    /// The server knows this peer with another key.
    KeyWrong = 303, "auth.key-wrong", false;
    /// This peer or user may not log in.
    NotAllowed = 304, "auth.not-allowed", false;

    /// The server does not know the schema of the client.
    SchemaUnknown = 400, "login.schema-unknown", false;
    /// The client has had verdicts confirmed that the server does not have.
    HistoryLost = 401, "login.history-lost", false;
    /// The server holds a different history for the key of this peer.
    IdentityForked = 402, "login.identity-forked", false;
    /// The client's directory is a copy or was restored; it has taken a new key and logs in with it.
    IdentityRenewed = 403, "login.identity-renewed", true;

    /// The server has reached a limit of sessions, memory or disk.
    Busy = 500, "server.busy", true;
    /// Something broke on the server.
    ServerFailed = 501, "server.failed", true;
    /// Something broke on the client.
    ClientFailed = 502, "client.failed", true;

    /// The transaction, or a value in it, cannot be read.
    TxInvalid = 600, "tx.invalid", false;
    /// Transactions before this one are missing.
    TxGap = 601, "tx.gap", true;
    /// The transaction does not follow the one that the server has before it.
    TxChainBroken = 602, "tx.chain-broken", true;
    /// The transaction is longer, or has more operations or values, than the server takes.
    TxTooLarge = 603, "tx.too-large", false;
    /// The transaction is dated too far in the future.
    ClockAhead = 604, "tx.clock-ahead", false;
    /// An operation is on an entity that the server's schema does not have, or does not sync.
    TxSchemaUnknown = 605, "tx.schema-unknown", false;
    /// A rule of the server does not permit the operation.
    NotPermitted = 606, "tx.not-permitted", false;
    /// A property has another type in the server's schema than in the transaction.
    TxTypeMismatch = 607, "tx.type-mismatch", false;
    /// The server was restored, and has lost what it had accepted.
    LostByServer = 608, "tx.lost-by-server", false;

    /// The operation depends on a change that the server does not have, as a rule because it was refused.
    ObjectMissing = 700, "op.object-missing", false;
    /// The operation names a generation of its object that the server has not reached.
    GenerationAhead = 701, "op.generation-ahead", false;
    /// The object was removed before the operation arrived.
    ObjectRemoved = 702, "op.object-removed", false;
    /// Another object has the same value of a unique property.
    NotUnique = 703, "op.not-unique", false;
    /// The operation inserts an object under a global id that is not its author's to give.
    ForeignId = 704, "op.foreign-id", false;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_lead_back() {
        let numbers: BTreeSet<u32> = Code::ALL.iter().map(|code| code.number()).collect();
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()), "sorted by number");
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), *code);
        }
        assert_eq!(Code::from_number(999), Code::Unknown(999));
        assert_eq!(Code::Unknown(999).number(), 999);
    }
}
