//! Links that died without telling, and those that only seem so.

use std::time::Duration;

use reconvene_protocol::{ClientEvent, ClosedBy, Code, Message, ServerConfig, ServerEvent, ServerSession};

use crate::support::Pair;
use crate::{MINUTE, START, client, decode, logged_in};

#[test]
fn a_client_finds_a_half_open_link() {
    let mut pair = Pair::new();
    pair.settle();
    pair.down.swallow = true;
    assert!(pair.drive(2 * MINUTE, |pair| !pair.client_closed.is_empty()));
    let closed = &pair.client_closed[0];
    assert_eq!((closed.by, closed.code), (ClosedBy::Us, Code::HeartbeatLost));
    let (config, client) = (&pair.server_config, &pair.client_config);
    let (silence, due) = (pair.now - pair.down.arrival, config.heartbeat + client.pong_timeout);
    assert!(due <= silence && silence <= due + pair.latency, "{silence:?} instead of {due:?}");
    pair.commit(b"after");
    pair.settle();
    pair.check();
}

#[test]
fn a_server_finds_a_half_open_link() {
    let mut pair = Pair::new();
    pair.settle();
    pair.up.swallow = true;
    pair.commit(b"into the void");
    assert!(pair.drive(3 * MINUTE, |pair| !pair.server_closed.is_empty()));
    let closed = &pair.server_closed[0];
    assert_eq!((closed.by, closed.code), (ClosedBy::Us, Code::HeartbeatLost));
    pair.settle();
    pair.check();
}

#[test]
fn a_quiet_link_stays() {
    let mut pair = Pair::new();
    pair.settle();
    assert!(!pair.drive(600 * MINUTE, |pair| pair.connects > 1));
    assert!(pair.client_closed.is_empty() && pair.server_closed.is_empty());
    assert!(pair.up.frames > 100, "the signs of life were {}", pair.up.frames);
    assert!(pair.up.frames + pair.down.frames < 3000, "one question per half minute is enough");
}

#[test]
fn a_long_message_under_way_is_a_sign_of_life() {
    let (mut client, _) = logged_in(ServerConfig::default());
    let mut now = START;
    for _ in 0..20 {
        now += Duration::from_secs(20);
        client.handle_timeout(now);
        client.handle_progress(now);
    }
    assert!(client.is_logged_in() && client.poll_message().is_none());
    now = client.poll_timeout().unwrap();
    client.handle_timeout(now);
    assert_eq!(decode(client.poll_message().unwrap()), Message::Ping(1));
}

#[test]
fn a_login_that_does_not_come_is_not_awaited() {
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    assert!(matches!(decode(server.poll_message().unwrap()), Message::Hello(_)));
    let due = server.poll_timeout().unwrap();
    assert_eq!(due, START + ServerConfig::default().login_timeout);
    server.handle_timeout(due - Duration::from_millis(1));
    assert!(server.poll_event().is_none());
    server.handle_timeout(due);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::LoginLate)
    );
    assert!(matches!(decode(server.poll_message().unwrap()), Message::Bye { code: Code::LoginLate, .. }));

    let mut client = client();
    client.handle_timeout(client.poll_timeout().unwrap());
    assert!(
        matches!(client.poll_event(), Some(ClientEvent::Closed(closed)) if closed.code == Code::LoginLate)
    );
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_flood_of_questions_fills_no_queue() {
    let (mut client, mut server) = logged_in(ServerConfig::default());
    for token in 0..1000 {
        client.handle_frame(Message::Ping(token).encode(), START);
        server.handle_frame(Message::Ping(token).encode(), START);
    }
    assert_eq!(decode(client.poll_message().unwrap()), Message::Pong(999));
    assert_eq!(decode(server.poll_message().unwrap()), Message::Pong(999));
    assert_eq!((client.poll_message(), server.poll_message()), (None, None));
}
