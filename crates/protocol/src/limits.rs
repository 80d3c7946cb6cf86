//! Every bound of the protocol by name.

use reconvene_model::TxNumber;

/// What a client must keep to in one session: the server names it when it accepts the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame that either side sends, in bytes.
    pub message_bytes_max: usize,
    /// The most transactions that may wait for their verdict at once.
    pub upload_window_txs: usize,
    /// The most bytes of transactions that may wait for their verdict at once; a single one may be longer.
    pub upload_window_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            upload_window_txs: 256,
            upload_window_bytes: 4 * 1024 * 1024,
        }
    }
}

/// The default of the longest frame, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The lowest limit that may be set for the longest frame, in bytes: a login and its answer fit in any case.
pub const MESSAGE_BYTES_MIN: usize = 64 * 1024;

/// The longest frame that a server takes from a client that is not logged in, in bytes.
pub const LOGIN_BYTES_MAX: usize = 64 * 1024;

/// An upload is cut into messages of about this many bytes, so that other messages get their turn.
pub const UPLOAD_MESSAGE_BYTES: usize = 256 * 1024;

/// The most transactions in one `Upload`, and the largest window.
pub const UPLOAD_TXS_MAX: usize = 4096;

/// The most transactions in one `Push`.
pub const PUSH_TXS_MAX: usize = 1 << 16;

/// The most verdicts in one message.
pub const VERDICTS_MAX: usize = 1 << 16;

/// The most operations that one verdict can name.
///
/// A server refuses a transaction of more operations, because it could not say which of them were lost.
pub const LOST_OPS_MAX: usize = 1 << 20;

/// The most parts that a reader takes from one message, all lists of it together: bounds the memory that a message can
/// make of its bytes.
pub const PARTS_MAX: usize = LOST_OPS_MAX + VERDICTS_MAX;

/// The most protocol versions in a `Hello`.
pub const VERSIONS_MAX: usize = 64;

/// The most bytes that say where within a Seq a catch-up goes on.
pub const RESUME_BYTES_MAX: usize = 32;

/// The most credentials in a login.
pub const CREDENTIALS_MAX: usize = 8;

/// The most capabilities in a login.
pub const CAPABILITIES_MAX: usize = 64;

/// The longest name of a capability, in bytes.
pub const CAPABILITY_BYTES_MAX: usize = 64;

/// The longest text for people in a message, in bytes; longer ones are cut when sent and when read.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The most hashes of transactions in the answer to a login; the client logs in again to hear more.
pub const CHAIN_HASHES_MAX: usize = 1 << 16;

/// For each of so many bytes that a message may have, the answer to a login names one hash of 16: a quarter of it.
pub(crate) const CHAIN_SHARE_BYTES: usize = 64;

/// The highest number of a transaction, and the highest Seq: what a signed 64-bit integer holds, so that every language can.
pub const NUMBER_MAX: TxNumber = i64::MAX as u64;

/// The most ranges in one `Compare` or `Fetch`.
pub const COMPARE_RANGES_MAX: usize = 1024;

/// The most items that a server names one by one in its answer to a range; a range with more is parted.
pub const COMPARE_ITEMS_MAX: usize = 16;

/// The most parts of one range in an answer.
pub const COMPARE_RANGE_PARTS_MAX: usize = 256;

/// The most parts of all ranges of one answer together.
pub const COMPARE_PARTS_MAX: usize = 4096;

/// The bytes at which a server ends an answer to a compare; the ranges that are left are asked for again.
pub const COMPARE_ANSWERS_BYTES: usize = 256 * 1024;

/// How often a range may be parted.
pub const COMPARE_DEPTH_MAX: u8 = 32;

/// How many more ranges than the server named items at the beginning a client asks for before it gives a compare up.
pub const COMPARE_RANGES_SLACK: u64 = 65_536;

/// What a message adds to the blocks that it carries, at most and per block, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 64;

// A verdict that names every operation of a transaction fits one message of the default size: an operation takes at most
// 2 bytes of framing, 6 for its place, 6 for its code and 11 for its generation.
const _: () = assert!(LOST_OPS_MAX * 25 + TEXT_BYTES_MAX + ENVELOPE_BYTES_MAX <= MESSAGE_BYTES_MAX);
// A block of ranges, and an answer to one range, fit a message of any size that can be set: a key takes at most 26 bytes.
const _: () = assert!(COMPARE_RANGES_MAX * 2 * 26 + 2 * ENVELOPE_BYTES_MAX <= MESSAGE_BYTES_MIN);
const _: () = assert!(COMPARE_RANGE_PARTS_MAX * (26 + 10 + 16) + 2 * ENVELOPE_BYTES_MAX <= MESSAGE_BYTES_MIN);
const _: () = assert!(LOGIN_BYTES_MAX <= MESSAGE_BYTES_MIN);
