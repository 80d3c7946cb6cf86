//! What a session tells its engine of itself, and what it does at the engine's word.

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::Seq;
use reconvene_protocol::limits::LOGIN_BYTES_MAX;
use reconvene_protocol::{
    ClientEvent, ClientSession, ClosedBy, Code, Message, ServerConfig, ServerEvent, ServerSession,
};

use crate::support::Pair;
use crate::{START, answer, client, decode, hello, logged_in, login_frame};

#[test]
fn only_short_frames_are_read_before_the_other_side_is_known() {
    let mut client = client();
    assert_eq!(client.message_bytes_max(), LOGIN_BYTES_MAX);
    client.handle_frame(hello([1; 32]), START);
    let max = Pair::new().client_config.message_bytes_max;
    assert!(max > LOGIN_BYTES_MAX);
    assert_eq!(client.message_bytes_max(), max);
    let server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    assert_eq!(server.message_bytes_max(), LOGIN_BYTES_MAX);
    let (_, server) = logged_in(ServerConfig::default());
    assert_eq!(server.message_bytes_max(), ServerConfig::default().limits.message_bytes_max);
}

#[test]
fn a_server_is_logged_in_from_its_answer_to_the_end() {
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    assert!(!server.is_logged_in());
    server.handle_frame(login_frame([1; 32]), START);
    assert!(!server.is_logged_in(), "the engine has not judged the login");
    let (_, mut server) = logged_in(ServerConfig::default());
    assert!(server.is_logged_in() && server.peer().is_some());
    server.drain();
    assert!(!server.is_logged_in() && server.is_closed() && server.peer().is_none());
}

#[test]
fn a_long_message_under_way_is_a_sign_of_life_to_a_server_as_well() {
    let (_, mut server) = logged_in(ServerConfig::default());
    let mut now = START;
    for _ in 0..20 {
        now += Duration::from_secs(20);
        server.handle_timeout(now);
        server.handle_progress(now);
    }
    assert!(server.is_logged_in() && server.poll_message().is_none());
}

#[test]
fn a_link_that_is_gone_is_told_once_and_gets_no_farewell() {
    let (mut client, mut server) = logged_in(ServerConfig::default());
    while client.poll_event().is_some() {}
    while server.poll_event().is_some() {}
    client.handle_disconnected("reset");
    server.handle_disconnected("reset");
    let (Some(ClientEvent::Closed(one)), Some(ServerEvent::Closed(other))) =
        (client.poll_event(), server.poll_event())
    else {
        panic!("both sessions end")
    };
    assert_eq!((one.by, one.code), (ClosedBy::Link, Code::LinkLost));
    assert_eq!((other.by, other.code), (ClosedBy::Link, Code::LinkLost));
    client.handle_disconnected("again");
    server.handle_disconnected("again");
    assert!(client.poll_event().is_none() && server.poll_event().is_none());
    assert_eq!((client.poll_message(), server.poll_message()), (None, None));
}

#[test]
fn what_waits_for_the_connection_is_counted_to_the_byte() {
    let (_, mut server) = logged_in(ServerConfig::default());
    assert_eq!(server.queue_bytes(), 0);
    server.send_catch_up(Bytes::from_static(&[7; 1000]), Seq(1)).unwrap();
    server.send_catch_up(Bytes::from_static(&[7; 500]), Seq(2)).unwrap();
    let both = server.queue_bytes();
    assert!((1500..1600).contains(&both), "{both}");
    let first = server.poll_message().unwrap().len();
    assert_eq!(server.queue_bytes(), both - first);
    let second = server.poll_message().unwrap().len();
    assert_eq!((server.queue_bytes(), both), (0, first + second));
}

/// A client with something to upload that is told of its login, and its server; as long as the client catches up it waits.
fn catching_up() -> (ClientSession, ServerSession, Duration) {
    let mut pair = Pair::new();
    pair.device.commit(b"one");
    let wait = pair.client_config.catch_up_first;
    assert!(!wait.is_zero());
    let mut client = ClientSession::new(pair.client_config.clone(), pair.device.login(), START);
    let mut server = ServerSession::new(pair.server_config.clone(), [1; 32], 0, START);
    client.handle_frame(server.poll_message().unwrap(), START);
    server.handle_frame(client.poll_message().unwrap(), START);
    let Some(ServerEvent::LoginRequested(_)) = server.poll_event() else { panic!("a login is judged") };
    server.accept_login(answer(), START);
    client.handle_frame(server.poll_message().unwrap(), START);
    (client, server, wait)
}

fn asks_for_txs(client: &mut ClientSession) -> bool {
    std::iter::from_fn(|| client.poll_event()).any(|event| matches!(event, ClientEvent::SendTxs { .. }))
}

#[test]
fn a_part_of_the_catch_up_does_not_end_the_wait_for_it() {
    let (mut client, mut server, wait) = catching_up();
    server.send_catch_up(Bytes::from_static(b"objects"), Seq(1)).unwrap();
    let frame = server.poll_message().unwrap();
    assert!(matches!(decode(frame.clone()), Message::CatchUp { .. }));
    client.handle_frame(frame, START);
    assert!(!asks_for_txs(&mut client) && client.is_catching_up());
    client.handle_timeout(START + wait);
    assert!(asks_for_txs(&mut client), "a catch-up must not hold writes back for long");

    let (mut client, mut server, _) = catching_up();
    server.send_catch_up_done(Seq(1)).unwrap();
    client.handle_frame(server.poll_message().unwrap(), START);
    assert!(asks_for_txs(&mut client) && !client.is_catching_up());
}
