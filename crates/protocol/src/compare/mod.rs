//! Comparing two sets of objects by ranges, so that only what differs travels.
//!
//! The client asks what the server has in a range; the server names the items if they are few, and else parts the range and
//! tells a hash of the items in each part. The client compares with its own set, asks for the parts that differ, and so on.
//! What comes out is which objects to fetch and which ranges hold objects that the server lacks. `docs/compare.md` has the
//! bytes, and the argument why the outcome is right although the server's set moves on meanwhile.
//!
//! - [`Initiator`] is the client's side: an engine feeds it with answers and carries out its [`CompareStep`]s
//! - [`answer`] is the server's side, which keeps nothing between two questions
//! - both read a [`CompareSet`](reconvene_model::compare::CompareSet)
//!
//! A session carries the blocks; see [`ClientSession::send_compare`](crate::ClientSession::send_compare) and
//! [`ServerSession::send_compared`](crate::ServerSession::send_compared).

mod block;
mod initiator;
mod responder;

pub use block::{decode_ranges, encode_ranges};
pub use initiator::{CompareError, CompareMessage, CompareProgress, CompareStep, Initiator};
pub use responder::answer;

/// The capability that a client names if it can compare.
pub const CAPABILITY_COMPARE: &str = "compare";

/// The capability that a client names if it can send digests of what it has.
pub const CAPABILITY_PROBE: &str = "probe";

/// The capability of digests that cover values; in force where both sides have the same schema.
pub const CAPABILITY_PROBE_VALUES: &str = "probe-values";
