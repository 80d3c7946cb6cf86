//! The two session machines against each other: what survives cuts, what is found out, and who is let in.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod borders;
mod delivery;
mod engine;
mod liveness;
mod login;
mod probes;
mod rules;
mod support;

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::change::{TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::{Seq, TxHash};
use reconvene_protocol::message::Hello;
use reconvene_protocol::{
    ClientEvent, ClientSession, ClosedBy, Code, LoginAnswer, Message, PROTOCOL_VERSION, ServerConfig,
    ServerEvent, ServerSession,
};
use support::{EPOCH, Pair, VIEW};

const MINUTE: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(1);

fn client() -> ClientSession {
    let pair = Pair::new();
    ClientSession::new(pair.client_config.clone(), pair.device.login(), START)
}

fn hello(nonce: [u8; 32]) -> Bytes {
    Message::Hello(Hello { versions: vec![PROTOCOL_VERSION], nonce, server_time_ms: 0 }).encode()
}

/// The login of the device of [`Pair`], for the connection with this nonce.
fn login_frame(nonce: [u8; 32]) -> Bytes {
    let mut client = client();
    client.handle_frame(hello(nonce), START);
    client.poll_message().expect("Hello is answered by a login")
}

/// The answer of a server of which the client knows nothing.
fn answer() -> LoginAnswer {
    LoginAnswer {
        session: 1,
        server_time_ms: 0,
        decided_number: 0,
        decided_hash: TxHash::NONE,
        decided_seq: Seq(0),
        refusals: vec![],
        epoch: EPOCH,
        view: VIEW,
        catch_up_from: Seq(0),
        capabilities: vec![],
        compare: false,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    }
}

/// Two sessions with one transaction in the outbox of the client, in which the client has just heard of its login.
fn connected(config: ServerConfig) -> (ClientSession, ServerSession) {
    let mut pair = Pair::new();
    pair.server_config = config;
    pair.device.commit(b"one");
    // Not all that use this send a catch-up.
    pair.client_config.catch_up_first = Duration::ZERO;
    let mut client = ClientSession::new(pair.client_config.clone(), pair.device.login(), START);
    let mut server = ServerSession::new(pair.server_config.clone(), [1; 32], 0, START);
    client.handle_frame(server.poll_message().unwrap(), START);
    server.handle_frame(client.poll_message().unwrap(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::LoginRequested(_))));
    server.accept_login(answer(), START);
    client.handle_frame(server.poll_message().unwrap(), START);
    (client, server)
}

/// As [`connected`], with the first question answered: there is nothing to send yet.
fn logged_in(config: ServerConfig) -> (ClientSession, ServerSession) {
    let (mut client, server) = connected(config);
    while let Some(event) = client.poll_event() {
        if matches!(event, ClientEvent::SendTxs { .. }) {
            client.handle_txs(vec![]).unwrap();
        }
    }
    (client, server)
}

/// A transaction of the peer whose secret is this byte 32 times.
fn tx(number: u64, secret: u8) -> Bytes {
    let origin = PeerKey::from_secret([secret; 32]).peer();
    let head = TxHead { origin, number, previous: TxHash([1; 16]), hlc: 1 };
    encode_tx(&head, b"ops").into()
}

fn decode(frame: Bytes) -> Message {
    Message::decode(frame, 1 << 25).unwrap()
}

fn assert_closed(client: &mut ClientSession, expected: Code) {
    let mut last = None;
    while let Some(event) = client.poll_event() {
        last = Some(event);
    }
    match last {
        Some(ClientEvent::Closed(closed)) => {
            assert_eq!((closed.by, closed.code), (ClosedBy::Us, expected), "{closed}");
        }
        event => panic!("the session goes on: {event:?}"),
    }
    assert!(matches!(decode(client.poll_message().unwrap()), Message::Bye { code, .. } if code == expected));
    assert_eq!((client.poll_message(), client.poll_event()), (None, None));
}
