//! What a server asks of its sessions.

use std::time::Duration;

use crate::limits::{ENVELOPE_BYTES_MAX, LOST_OPS_MAX, Limits, MESSAGE_BYTES_MIN, TEXT_BYTES_MAX};
use crate::server::send::LOST_OP_BYTES_MAX;

/// How a server session behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What a client must keep to.
    pub limits: Limits,
    /// After this long without a word from the server a client asks for a sign of life; the server asks after half as long
    /// again. Default 30 s; shorter finds dead connections sooner and costs traffic and battery.
    pub heartbeat: Duration,
    /// How long a client that was asked for a sign of life may take. Default 15 s.
    pub pong_timeout: Duration,
    /// How long a client may take from the opening of the connection to its login. Default 10 s.
    pub login_timeout: Duration,
    /// While this many bytes wait for one client, it is sent no further push or chunk of catch-up. Default 4 MiB; the frame
    /// that reaches the limit is still taken, however long it is.
    pub queue_bytes_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            limits: Limits::default(),
            heartbeat: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(15),
            login_timeout: Duration::from_secs(10),
            queue_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl ServerConfig {
    /// The most operations of a transaction that a server with these limits can take: a verdict must be able to name each.
    pub fn tx_ops_max(&self) -> usize {
        let room = self.limits.message_bytes_max.max(MESSAGE_BYTES_MIN) - TEXT_BYTES_MAX - ENVELOPE_BYTES_MAX;
        LOST_OPS_MAX.min(room / LOST_OP_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_of_a_transaction_has_room_in_a_verdict() {
        let with = |message_bytes_max| {
            let limits = Limits { message_bytes_max, ..Limits::default() };
            ServerConfig { limits, ..ServerConfig::default() }.tx_ops_max()
        };
        let bytes = |ops: usize| ops * LOST_OP_BYTES_MAX + TEXT_BYTES_MAX + ENVELOPE_BYTES_MAX;
        let ops = with(MESSAGE_BYTES_MIN);
        assert!(bytes(ops) <= MESSAGE_BYTES_MIN && MESSAGE_BYTES_MIN < bytes(ops + 1));
        assert_eq!(with(0), ops, "a lower limit is none");
        assert_eq!(with(1 << 30), LOST_OPS_MAX);
    }
}
