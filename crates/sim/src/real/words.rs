//! What the one who directs and the processes tell each other: lines of JSON on standard input and standard output.
//!
//! A pipe rather than a file: what a process has written stays readable after it was killed, and no full disk concerns it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Orders {
    Server(ServerOrders),
    Device(DeviceOrders),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ServerOrders {
    pub(super) directory: PathBuf,
    /// Of its schema.
    pub(super) version: u8,
    /// About how long a chunk of a catch-up is, in bytes.
    pub(super) chunk_bytes: usize,
    /// The bytes of pushes that it remembers for those who are slow.
    pub(super) ring_bytes: usize,
    /// The mistake that it makes on purpose.
    pub(super) planted: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeviceOrders {
    pub(super) index: usize,
    pub(super) directory: PathBuf,
    pub(super) url: String,
    /// Of its application.
    pub(super) version: u8,
    /// How far its clock is from the machine's, in milliseconds.
    pub(super) skew_ms: i64,
    /// Decides what its user does.
    pub(super) seed: u64,
    /// The mistake that it makes on purpose.
    pub(super) planted: Option<String>,
}

/// What a process is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// The clock of the device is so far from the machine's from here on, in milliseconds.
    Clock(i64),
    /// The user does nothing more.
    Rest,
    /// The user goes on.
    Work,
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// A server listens.
    Listening(SocketAddr),
    /// A device goes by this name.
    Peer(u64),
    /// A device has committed this transaction, perhaps in the place of another, or dated it anew; its bytes in hexadecimal.
    Tx(u64, String),
    /// The application was told that these transactions came back.
    Back(Vec<u64>),
    /// A write found no room.
    Full,
    /// The store writes nothing more until it is opened anew; the process ends.
    Spent,
    /// A device whose user rests has come so far: the history, the place in it, and how much is undecided.
    Resting { epoch: u64, seq: u64, undecided: u64 },
    /// Something happened that must not; the device goes on as well as it can.
    Wrong(String),
}

/// A line for one of these.
pub(super) fn line(words: &impl Serialize) -> String {
    serde_json::to_string(words).expect("these are plain data") + "\n"
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that [`hex`] showed; `None` for anything else.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    if !digits.remainder().is_empty() {
        return None;
    }
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!((unhex("0"), unhex("0g"), unhex("é")), (None, None, None));
    }
}
