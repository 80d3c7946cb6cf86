//! The bytes of a transaction: its head, then its ops.

use crate::change::{EncodedTx, OpsWriter, TxHead};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::ids::{PeerId, TxHash};

/// The version of transactions that this release writes and reads.
pub const TX_VERSION: u8 = 1;

/// The most bytes of a transaction before its ops.
pub const TX_HEAD_BYTES_MAX: usize = 1 + 8 + 10 + 16 + 8;

/// The bytes of a transaction: what its author hashes, and what travels unchanged.
///
/// # Panics
///
/// If the origin is nobody or the number is 0: whoever commits has an identity and counts from 1.
pub fn encode_tx(head: &TxHead, ops: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(TX_HEAD_BYTES_MAX + ops.len());
    put_head(head, &mut out);
    out.extend_from_slice(ops);
    out
}

/// As [`encode_tx`], with the ops as their writer has them, which mostly saves a copy of a large transaction.
///
/// # Panics
///
/// As [`encode_tx`].
pub fn encode_tx_of(head: &TxHead, ops: OpsWriter) -> EncodedTx {
    let mut bytes = Vec::new();
    put_head(head, &mut bytes);
    ops.finish_behind(bytes)
}

fn put_head(head: &TxHead, out: &mut Vec<u8>) {
    assert!(
        head.origin != PeerId::SHARED && head.number != 0,
        "a transaction has an author and a number from 1"
    );
    out.push(TX_VERSION);
    out.extend_from_slice(&head.origin.0.to_le_bytes());
    put_varint(out, head.number);
    out.extend_from_slice(&head.previous.0);
    out.extend_from_slice(&head.hlc.to_le_bytes());
}

/// Parts a transaction into its head and its block of ops, which an [`OpsReader`](crate::change::OpsReader) checks.
///
/// # Errors
///
/// [`DecodeError`] if the head is cut short, names no author or no number, or is of a version that this release does not
/// know.
pub fn decode_tx(bytes: &[u8]) -> Result<(TxHead, &[u8]), DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version > TX_VERSION {
        return Err(DecodeError::UnknownVersion { what: "a transaction", version: version.into() });
    }
    if version != TX_VERSION {
        return Err(DecodeError::Invalid { what: "a transaction is of no version" });
    }
    let origin = PeerId(reader.u64()?);
    let number = reader.varint()?;
    let previous = TxHash(reader.array()?);
    let hlc = reader.u64()?;
    if origin == PeerId::SHARED || number == 0 {
        return Err(DecodeError::Invalid { what: "a transaction names no author or no number" });
    }
    Ok((TxHead { origin, number, previous, hlc }, reader.rest()))
}
