//! The session machines, driven by a script: frames good and bad, time, and an engine that answers or does not.

mod client;
mod server;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::identity::PeerKey;
use reconvene_protocol::frame::FORMAT_PLAIN;
use reconvene_protocol::login::sign_login;
use reconvene_protocol::{Closed, ClosedBy, Code, Message, NONCE_BYTES, Nonce};

use crate::frame::any_message;
use crate::script::Script;

pub use client::client;
pub use server::server;

/// The steps after which a script ends.
const STEPS_MAX: usize = 200;

/// The nonce of every connection here, so that its signature is computed once.
const NONCE: Nonce = [9; NONCE_BYTES];

/// The key of the client.
static KEY: LazyLock<PeerKey> = LazyLock::new(|| PeerKey::from_secret([7; 32]));

/// The client's signature over [`NONCE`].
static SIGNATURE: LazyLock<[u8; PeerKey::SIGNATURE_BYTES]> = LazyLock::new(|| sign_login(&KEY, &NONCE));

/// A frame from a stranger: a proper message of any kind, one that is bent or cut, or any bytes.
fn any_frame(script: &mut Script<'_>) -> Bytes {
    match script.below(8) {
        0 => Bytes::copy_from_slice(script.bytes()),
        1 => [&[FORMAT_PLAIN], script.bytes()].concat().into(),
        2 => {
            let mut frame = any_message(script).encode().to_vec();
            let at = usize::try_from(script.number()).unwrap_or(usize::MAX) % frame.len();
            frame[at] ^= script.byte();
            frame.into()
        }
        3 => {
            let frame = any_message(script).encode();
            let end = usize::try_from(script.number()).unwrap_or(usize::MAX) % frame.len();
            frame.slice(..end)
        }
        _ => any_message(script).encode(),
    }
}

/// How far a step moves the clock.
fn pause(script: &mut Script<'_>) -> Duration {
    Duration::from_millis(script.number_in(0, 7_200_000))
}

/// A session that ended says so in words that both sides and people understand.
fn check_closed(closed: &Closed) {
    assert!(!closed.reason.is_empty() || closed.by == ClosedBy::Peer, "{closed:?}");
    assert!(closed.by != ClosedBy::Us || !matches!(closed.code, Code::Unknown(_)), "{closed:?}");
    assert!(closed.by != ClosedBy::Link || closed.code == Code::LinkLost, "{closed:?}");
    assert!(closed.to_string().contains(closed.code.name()));
}

/// The farewell of a session that this side ended tells the other one the same code.
fn check_farewell(closed: &Closed, frames: &[Bytes]) {
    match (closed.by, frames) {
        (ClosedBy::Us, [frame]) => match Message::decode(frame.clone(), frame.len()) {
            Ok(Message::Bye { code, .. } | Message::LoginRefused { code, .. }) => {
                assert_eq!(code, closed.code);
            }
            other => panic!("{closed} is followed by {other:?}"),
        },
        (ClosedBy::Us, frames) => panic!("{closed} is followed by {} frames", frames.len()),
        (ClosedBy::Peer | ClosedBy::Link, frames) => assert!(frames.is_empty(), "{closed}: nobody listens"),
    }
}
