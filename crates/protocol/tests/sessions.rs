//! The two session machines against each other: what survives cuts, what is found out, and who is let in.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use reconvene_model::identity::PeerKey;
use reconvene_model::{PeerId, Seq};
use reconvene_protocol::login::sign_login;
use reconvene_protocol::message::{Hello, LoginAccepted};
use reconvene_protocol::{
    ClientEvent, ClientSession, ClosedBy, Code, Limits, Message, Outcome, PROTOCOL_VERSION, PushedContent,
    PushedTx, Secret, SendError, ServerConfig, ServerEvent, ServerSession, TxsError, Verdict,
};
use support::{EPOCH, Pair, VIEW};

const MINUTE: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(1);

#[test]
fn transactions_of_both_sides_arrive() {
    let mut pair = Pair::new();
    for ops in [&b"one"[..], b"refuse this", b"two", b"gone with its object", b"half of it"] {
        pair.commit(ops);
    }
    pair.hub.write_elsewhere(b"before");
    pair.settle();
    pair.check();
    let codes: Vec<_> = pair.device.rejected.iter().map(|(number, code)| (*number, *code)).collect();
    assert_eq!(codes, [(2, Code::NotPermitted), (4, Code::ObjectRemoved), (5, Code::ObjectRemoved)]);

    // What comes while both are there is pushed whole, the own ones by number.
    pair.hub.write_elsewhere(b"live");
    pair.commit(b"mine");
    pair.settle();
    pair.check();
    assert_eq!(pair.device.wholes, [(PeerId(1), 2, Bytes::from_static(b"live"))]);
    assert_eq!(pair.connects, 1);
}

#[test]
fn verdicts_survive_a_lost_answer() {
    let mut pair = Pair::new();
    pair.commit(b"one");
    pair.commit(b"refuse this");
    // The hub decides, and the link is cut before the device hears of it.
    assert!(pair.drive(MINUTE, |pair| pair.hub.decided == 2));
    assert!(pair.device.rejected.is_empty());
    pair.cut();
    pair.settle();
    pair.check();
    assert_eq!(pair.device.rejected, [(2, Code::NotPermitted)]);
    assert_eq!(pair.hub.duplicates, 0, "the answer to the login told the verdicts; nothing was sent twice");
    assert_eq!(pair.connects, 2);
}

#[test]
fn duplicates_get_their_original_verdicts() {
    let mut pair = Pair::new();
    pair.hub.stalled = true;
    for ops in [&b"one"[..], b"refuse this", b"three"] {
        pair.commit(ops);
    }
    assert!(pair.drive(MINUTE, |pair| pair.hub.queue.len() == 3));
    // The queue outlives the session that filled it, and the next session brings the same transactions again.
    pair.cut();
    assert!(pair.drive(MINUTE, |pair| pair.hub.queue.len() == 6));
    pair.hub.stalled = false;
    pair.settle();
    pair.check();
    assert_eq!(pair.hub.duplicates, 3);
    assert_eq!(pair.device.rejected, [(2, Code::NotPermitted)]);
}

#[test]
fn the_window_holds() {
    let mut pair = Pair::new();
    pair.server_config.limits =
        Limits { upload_window_txs: 4, upload_window_bytes: 1000, ..Limits::default() };
    pair.hub.stalled = true;
    for _ in 0..50 {
        pair.commit(b"small");
    }
    assert!(!pair.drive(MINUTE, |pair| pair.hub.queue.len() > 4));
    assert_eq!(pair.hub.queue.len(), 4, "the count of the window is used up");
    pair.hub.stalled = false;
    pair.settle();
    assert_eq!(pair.most_in_flight, 4);

    pair.hub.stalled = true;
    for _ in 0..3 {
        pair.commit(&[b'x'; 400]);
    }
    pair.commit(&[b'y'; 5000]);
    assert!(!pair.drive(MINUTE, |pair| pair.hub.queue.len() > 2));
    assert_eq!(pair.hub.queue.len(), 2, "the bytes of the window are used up");
    pair.hub.stalled = false;
    pair.settle();
    pair.check();
    assert_eq!(pair.connects, 1, "a transaction longer than the window travelled alone, within the rules");
}

#[test]
fn an_upload_is_cut_into_messages() {
    let mut pair = Pair::new();
    for _ in 0..10 {
        pair.commit(&[b'x'; 100_000]);
    }
    pair.settle();
    pair.check();
    let uploads: Vec<_> =
        pair.recorded.iter().filter(|frame| frame.len() > 10_000).map(|frame| frame.len()).collect();
    assert_eq!(uploads.len(), 5, "two of them fit a message of 256 KiB: {uploads:?}");
}

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
fn a_wrong_secret_is_refused() {
    let mut pair = Pair::new();
    pair.device.secret = Some(Secret::new("open barley"));
    refused(&mut pair, Code::SecretWrong);
}

#[test]
fn a_missing_secret_is_refused() {
    let mut pair = Pair::new();
    pair.device.secret = None;
    refused(&mut pair, Code::CredentialsMissing);
}

#[test]
fn a_server_that_lost_its_history_is_noticed() {
    let mut pair = Pair::new();
    pair.commit(b"one");
    pair.settle();
    pair.hub = support::Hub::new();
    pair.cut();
    refused(&mut pair, Code::HistoryLost);
}

fn refused(pair: &mut Pair, expected: Code) {
    let before = pair.client_closed.len();
    assert!(pair.drive(MINUTE, |pair| pair.client_closed.len() > before));
    let closed = pair.client_closed.last().unwrap();
    assert_eq!((closed.by, closed.code, closed.reason.as_str()), (ClosedBy::Peer, expected, "no"));
    assert!(!expected.retry_helps());
    let closed = pair.server_closed.last().unwrap();
    assert_eq!((closed.by, closed.code), (ClosedBy::Us, expected));
}

#[test]
fn a_login_signed_with_another_key_is_refused() {
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    server.poll_message();
    let Message::Login(mut login) = decode(login_frame([1; 32])) else { panic!("a login") };
    login.signature = sign_login(&PeerKey::from_secret([9; 32]), &[1; 32]);
    server.handle_frame(Message::Login(login).encode(), START);
    assert_signature_wrong(&mut server);
}

#[test]
fn a_replayed_login_is_refused() {
    let mut server = ServerSession::new(ServerConfig::default(), [2; 32], 0, START);
    server.poll_message();
    server.handle_frame(login_frame([1; 32]), START);
    assert_signature_wrong(&mut server);
}

fn assert_signature_wrong(server: &mut ServerSession) {
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::SignatureWrong)
    );
    let farewell = decode(server.poll_message().unwrap());
    assert!(matches!(farewell, Message::LoginRefused { code: Code::SignatureWrong, .. }));
    assert!(server.is_closed() && server.poll_message().is_none());
}

#[test]
fn versions_that_do_not_meet_part_with_a_word() {
    let mut client = client();
    let hello = Hello { versions: vec![PROTOCOL_VERSION + 1], nonce: [1; 32], server_time_ms: 0 };
    client.handle_frame(Message::Hello(hello).encode(), START);
    assert_closed(&mut client, Code::VersionUnsupported);

    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    server.poll_message();
    let Message::Login(mut login) = decode(login_frame([1; 32])) else { panic!("a login") };
    login.version = PROTOCOL_VERSION + 1;
    server.handle_frame(Message::Login(login).encode(), START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::VersionUnsupported)
    );
}

#[test]
fn unknown_kinds_end_the_session_and_unknown_fields_do_not() {
    let (mut client, mut server) = logged_in(ServerConfig::default());
    // A Ping with a field 15 that no release knows.
    client.handle_frame(Bytes::from_static(&[0, 0x5a, 4, 8, 9, 0x78, 1]), START);
    assert_eq!(decode(client.poll_message().unwrap()), Message::Pong(9));
    // Kind 111.
    let unknown = Bytes::from_static(&[0, 0xfa, 0x06, 0]);
    client.handle_frame(unknown.clone(), START);
    assert_closed(&mut client, Code::KindUnknown);
    server.handle_frame(unknown, START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::KindUnknown)
    );
    assert!(matches!(decode(server.poll_message().unwrap()), Message::Bye { code: Code::KindUnknown, .. }));
}

#[test]
fn messages_beyond_the_limit_end_the_session() {
    let limits = Limits { message_bytes_max: 100_000, ..Limits::default() };
    let (_, mut server) = logged_in(ServerConfig { limits, ..ServerConfig::default() });
    server.handle_frame(vec![0; 100_001].into(), START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::FrameTooLong)
    );

    let mut stranger = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    assert_eq!(stranger.message_bytes_max(), 64 * 1024);
    stranger.handle_frame(vec![0; 64 * 1024 + 1].into(), START);
    assert!(
        matches!(stranger.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::FrameTooLong)
    );

    let (mut client, _) = logged_in(ServerConfig { limits, ..ServerConfig::default() });
    client.handle_local_commit();
    let Some(ClientEvent::SendTxs { from: 1, .. }) = client.poll_event() else { panic!("a question") };
    let answer = client.handle_txs(vec![(1, vec![0; 100_000].into())]);
    assert!(matches!(answer, Err(TxsError::TooLong { number: 1, .. })));
    assert!(client.is_logged_in());
}

#[test]
fn a_client_is_held_to_window_order_and_name() {
    let push = |txs: Vec<PushedTx>| Message::Push(txs).encode();
    check_upload_ends(Message::Upload(vec![tx(1, 7), tx(3, 7)]), Code::TxGap);
    check_upload_ends(Message::Upload(vec![tx(1, 8)]), Code::ContentInvalid);
    check_upload_ends(Message::Upload(vec![Bytes::from_static(b"nonsense")]), Code::TxInvalid);
    check_upload_ends(Message::Upload((1..=5).map(|number| tx(number, 7)).collect()), Code::WindowExceeded);
    check_upload_ends(Message::Confirm(1), Code::OrderViolated);
    check_upload_ends(Message::CatchUpDone(Seq(1)), Code::KindUnexpected);
    check_upload_ends(decode(push(vec![])), Code::KindUnexpected);
    check_upload_ends(decode(login_frame([1; 32])), Code::KindUnexpected);
}

#[test]
fn duplicates_of_confirmed_transactions_use_up_no_window() {
    let limits = Limits { upload_window_txs: 4, ..Limits::default() };
    let (_, mut server) = logged_in(ServerConfig { limits, ..ServerConfig::default() });
    let upload = Message::Upload(vec![tx(1, 7)]).encode();
    server.handle_frame(upload.clone(), START);
    assert_eq!(server.in_flight(), 1);
    let outcome = Outcome::Accepted { seq: Seq(1), lost: vec![] };
    server.send_verdicts(vec![Verdict { number: 1, outcome }]).unwrap();
    assert_eq!(server.in_flight(), 0);
    server.handle_frame(Message::Confirm(1).encode(), START);
    for _ in 0..10 {
        server.handle_frame(upload.clone(), START);
    }
    assert!(server.is_logged_in());
    assert_eq!(server.in_flight(), 0);
}

fn check_upload_ends(message: Message, expected: Code) {
    let limits = Limits { upload_window_txs: 4, ..Limits::default() };
    let (_, mut server) = logged_in(ServerConfig { limits, ..ServerConfig::default() });
    server.handle_frame(message.encode(), START);
    match server.poll_event() {
        Some(ServerEvent::Closed(closed)) => assert_eq!(closed.code, expected, "{closed}"),
        event => panic!("{} led to {event:?}", message.name()),
    }
}

#[test]
fn a_server_is_held_to_its_order() {
    let own = |seq, number| PushedTx { seq: Seq(seq), content: PushedContent::Own { number } };
    let chunk = |seq| Message::CatchUp { states: Bytes::new(), upto_seq: Seq(seq) };
    let done = |seq| Message::CatchUpDone(Seq(seq));
    let accepted = |number| {
        Message::Verdicts(vec![Verdict { number, outcome: Outcome::Accepted { seq: Seq(9), lost: vec![] } }])
    };
    check_server_fault(&[Message::Push(vec![own(1, 1)])], Code::KindUnexpected);
    check_server_fault(&[chunk(2), chunk(1)], Code::OrderViolated);
    check_server_fault(&[chunk(2), done(1)], Code::OrderViolated);
    check_server_fault(&[done(2), done(2)], Code::KindUnexpected);
    check_server_fault(&[done(2), Message::Push(vec![own(2, 1)])], Code::OrderViolated);
    check_server_fault(&[done(2), Message::Push(vec![own(4, 1), own(3, 1)])], Code::OrderViolated);
    check_server_fault(&[done(2), Message::Push(vec![own(3, 2)])], Code::OrderViolated);
    check_server_fault(&[accepted(2)], Code::OrderViolated);
    check_server_fault(&[accepted(1), accepted(2)], Code::OrderViolated);
    check_server_fault(&[Message::Upload(vec![tx(1, 7)])], Code::KindUnexpected);

    // A client that is caught up may be sent states again: its server fell back.
    let (mut client, _) = logged_in(ServerConfig::default());
    for message in [
        done(2),
        Message::Push(vec![own(3, 1)]),
        chunk(3),
        chunk(7),
        chunk(7),
        done(7),
        Message::Push(vec![own(8, 1)]),
    ] {
        client.handle_frame(message.encode(), START);
    }
    assert!(client.is_logged_in() && !client.is_catching_up());
}

fn check_server_fault(messages: &[Message], expected: Code) {
    let (mut client, _) = logged_in(ServerConfig::default());
    for message in messages {
        assert!(client.is_logged_in(), "only the last message breaks a rule");
        client.handle_frame(message.encode(), START);
    }
    assert_closed(&mut client, expected);
}

#[test]
fn nothing_is_asked_for_before_the_login_was_taken_in() {
    let (mut client, _) = connected(ServerConfig::default());
    assert!(matches!(client.poll_event(), Some(ClientEvent::LoggedIn(_))));
    assert!(matches!(client.poll_event(), Some(ClientEvent::SendTxs { from: 1, in_flight: 0, .. })));
    assert_eq!(client.poll_event(), None, "a question is asked once");
    assert_eq!(client.handle_txs(vec![(2, tx(2, 7))]), Err(TxsError::NotInOrder { expected: 1, number: 2 }));
    assert_eq!(client.handle_txs(vec![]), Err(TxsError::NotAsked));
}

#[test]
fn a_commit_between_question_and_answer_is_not_forgotten() {
    let (mut client, _) = connected(ServerConfig::default());
    while !matches!(client.poll_event(), Some(ClientEvent::SendTxs { .. })) {}
    // The engine has looked into the empty outbox, and then it grows.
    client.handle_local_commit();
    client.handle_txs(vec![]).unwrap();
    assert!(matches!(client.poll_event(), Some(ClientEvent::SendTxs { from: 1, .. })));
    client.handle_txs(vec![]).unwrap();
    assert_eq!(client.poll_event(), None);
}

#[test]
fn confirmations_are_joined() {
    let (mut client, mut server) = logged_in(ServerConfig::default());
    client.handle_local_commit();
    client.poll_event();
    client.handle_txs((1..=3).map(|number| (number, tx(number, 7))).collect()).unwrap();
    server.handle_frame(client.poll_message().unwrap(), START);
    let verdict = |number| Verdict { number, outcome: Outcome::Accepted { seq: Seq(number), lost: vec![] } };
    server.send_verdicts((1..=3).map(verdict).collect()).unwrap();
    client.handle_frame(server.poll_message().unwrap(), START);
    assert!(matches!(client.poll_event(), Some(ClientEvent::Verdicts(verdicts)) if verdicts.len() == 3));
    client.handle_durable(1);
    client.handle_durable(3);
    client.handle_durable(2);
    client.handle_durable(1000);
    assert_eq!(decode(client.poll_message().unwrap()), Message::Confirm(3));
    assert_eq!(client.poll_message(), None);
    // A verdict that comes again is not shown again, but confirmed again: its sender may not have heard.
    server.send_verdicts(vec![verdict(2)]).unwrap();
    client.handle_frame(server.poll_message().unwrap(), START);
    assert!(!matches!(client.poll_event(), Some(ClientEvent::Verdicts(_))));
    assert_eq!(decode(client.poll_message().unwrap()), Message::Confirm(3));
}

#[test]
fn a_slow_client_falls_back_to_catch_up() {
    let mut pair = Pair::new();
    pair.settle();
    pair.server_config.queue_bytes_max = 2000;
    pair.cut();
    pair.settle();
    let caught_up = pair.device.caught_up;
    // All of it is written at once, and the queue takes the first part only.
    for _ in 0..20 {
        pair.hub.write_elsewhere(&[b'x'; 600]);
    }
    pair.settle();
    pair.check();
    assert_eq!((pair.device.wholes.len(), pair.device.caught_up - caught_up), (4, 16));
    // From there on it goes on as before.
    pair.hub.write_elsewhere(b"small");
    pair.settle();
    assert_eq!((pair.device.wholes.len(), pair.device.caught_up - caught_up), (5, 16));
}

#[test]
fn a_large_transaction_travels_in_several_chunks() {
    let mut pair = Pair::new();
    pair.hub.write_elsewhere(b"big, and the very first");
    pair.hub.write_elsewhere(b"small");
    pair.hub.write_elsewhere(b"big again");
    pair.settle();
    pair.check();
    assert_eq!(pair.device.caught_up, 3);
    assert!(pair.device.split_chunks >= 4, "{} chunks ended within a Seq", pair.device.split_chunks);
    // Live, the same is one push.
    pair.hub.write_elsewhere(b"big as well");
    pair.settle();
    assert_eq!((pair.device.wholes.len(), pair.device.caught_up), (1, 3));
}

#[test]
fn a_cut_within_a_large_transaction_costs_only_its_repetition() {
    let mut pair = Pair::new();
    pair.hub.write_elsewhere(b"small");
    pair.hub.write_elsewhere(b"big");
    // Hello, LoginAccepted and two chunks: the second one ends within Seq 2.
    assert!(pair.drive(MINUTE, |pair| pair.device.split_chunks == 1));
    assert_eq!((pair.device.cursor.seq, pair.device.live), (Seq(1), false));
    pair.cut();
    pair.settle();
    pair.check();
    assert_eq!((pair.device.cursor.seq, pair.connects), (Seq(2), 2));
}

#[test]
fn a_server_sends_chunks_by_seqs_that_do_not_fall() {
    let (_, mut server) = logged_in(ServerConfig::default());
    let states = || Bytes::from_static(b"states");
    assert_eq!(server.send_catch_up(states(), Seq(0)), Ok(()), "the first Seq is not complete yet");
    assert_eq!(server.send_catch_up(states(), Seq(5)), Ok(()));
    assert_eq!(server.send_catch_up(states(), Seq(5)), Ok(()));
    assert_eq!(server.send_catch_up(states(), Seq(4)), Err(SendError::OutOfOrder));
    assert_eq!(server.send_catch_up_done(Seq(4)), Err(SendError::OutOfOrder));
    assert_eq!(server.send_catch_up_done(Seq(6)), Ok(()));
    assert_eq!((server.sent_seq(), server.is_catching_up()), (Some(Seq(6)), false));
    assert_eq!(server.send_catch_up_done(Seq(6)), Err(SendError::OutOfOrder));
    // It fell back before the next Seq was complete.
    assert_eq!(server.send_catch_up(states(), Seq(6)), Ok(()));
    assert!(server.is_catching_up());
}

#[test]
fn a_copied_store_is_told_to_take_a_new_identity() {
    let mut pair = Pair::new();
    pair.commit(b"one");
    pair.settle();
    let backup = pair.device.clone();
    pair.commit(b"two");
    pair.settle();

    // The store is restored, and has written nothing since: the server knows more of it than it does itself.
    pair.cut();
    pair.device = backup.clone();
    forked(&mut pair);

    // It writes: as much as before, and then more.
    pair.cut();
    pair.device = backup;
    pair.commit(b"another two");
    forked(&mut pair);
    pair.cut();
    pair.commit(b"three");
    forked(&mut pair);
    assert_eq!(pair.device.outbox.len(), 2, "nothing was taken from the outbox");
    assert_eq!(pair.hub.decisions, 2);
}

fn forked(pair: &mut Pair) {
    let before = pair.client_closed.len();
    assert!(pair.drive(3 * MINUTE, |pair| pair.client_closed.len() > before));
    let closed = pair.client_closed.last().unwrap();
    assert_eq!((closed.by, closed.code), (ClosedBy::Us, Code::IdentityForked), "{closed}");
    assert!(!closed.code.retry_helps());
    // The server hears why.
    assert!(pair.drive(MINUTE, |pair| {
        pair.server_closed.last().is_some_and(|closed| closed.code == Code::IdentityForked)
    }));
}

#[test]
fn a_server_that_drains_says_so() {
    let mut pair = Pair::new();
    pair.commit(b"one");
    pair.settle();
    pair.server.as_mut().unwrap().drain();
    assert!(pair.drive(MINUTE, |pair| !pair.client_closed.is_empty()));
    let closed = &pair.client_closed[0];
    assert_eq!((closed.by, closed.code), (ClosedBy::Peer, Code::GoingAway));
    assert!(closed.code.retry_helps());
    pair.commit(b"two");
    pair.settle();
    pair.check();
    assert_eq!(pair.connects, 2);
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

#[test]
fn answers_that_would_lose_something_are_not_believed() {
    check_answer(|answer| answer.catch_up_from = Seq(4), Code::OrderViolated);
    check_answer(|answer| answer.epoch = EPOCH + 1, Code::OrderViolated);
    check_answer(|answer| answer.refusals = vec![refusal(2), refusal(2)], Code::OrderViolated);
    check_answer(|answer| answer.refusals = vec![refusal(1)], Code::OrderViolated);
    check_answer(|answer| answer.refusals = vec![refusal(4)], Code::OrderViolated);
    check_answer(|answer| answer.decided_number = 4, Code::IdentityForked);
    check_answer(|answer| answer.decided_hash = reconvene_model::TxHash([2; 16]), Code::IdentityForked);
    check_answer(|answer| (answer.decided_number, answer.refusals) = (0, vec![]), Code::HistoryLost);
    check_answer(|answer| answer.epoch = 0, Code::ContentInvalid);
    check_answer(|answer| answer.limits.upload_window_txs = 0, Code::ContentInvalid);
}

fn refusal(number: u64) -> Verdict {
    Verdict {
        number,
        outcome: Outcome::Refused { code: Code::NotPermitted, op: None, message: String::new() },
    }
}

fn check_answer(spoil: impl Fn(&mut LoginAccepted), expected: Code) {
    let answer = |spoiled: bool| {
        let mut answer = LoginAccepted {
            session: 1,
            server_time_ms: 0,
            decided_number: 3,
            decided_hash: reconvene_model::TxHash([1; 16]),
            decided_seq: Seq(3),
            refusals: vec![refusal(2), refusal(3)],
            epoch: EPOCH,
            view: VIEW,
            catch_up_from: Seq(3),
            limits: Limits::default(),
            heartbeat_ms: 1000,
            capabilities: vec![],
        };
        if spoiled {
            spoil(&mut answer);
        }
        Message::LoginAccepted(Box::new(answer)).encode()
    };
    for spoiled in [false, true] {
        let pair = Pair::new();
        let mut login = pair.device.login();
        login.cursor = reconvene_protocol::Cursor { epoch: EPOCH, view: VIEW, seq: Seq(3) };
        (login.last_number, login.confirmed) = (3, 1);
        login.last_hash = reconvene_model::TxHash([1; 16]);
        let mut client = ClientSession::new(pair.client_config, login, START);
        client.handle_frame(hello([1; 32]), START);
        client.handle_frame(answer(spoiled), START);
        if spoiled {
            assert_closed(&mut client, expected);
        } else {
            assert!(client.is_logged_in());
        }
    }
}

/// Something that happens to a pair.
#[derive(Clone, Debug)]
enum Happening {
    Commit(&'static [u8]),
    Elsewhere(&'static [u8]),
    Run(u64),
    Cut,
    CutAfter(usize),
    Stall(bool),
    SwallowUp,
    SwallowDown,
    NetworkIsBack,
}

fn happening() -> impl Strategy<Value = Happening> {
    let ops = prop::sample::select(vec![&b"fine"[..], b"big", b"refuse", b"gone", b"half", &[b'x'; 700]]);
    prop_oneof![
        6 => ops.prop_map(Happening::Commit),
        3 => prop::sample::select(vec![&[b'e'; 300][..], b"big"]).prop_map(Happening::Elsewhere),
        6 => (0u64..300).prop_map(Happening::Run),
        2 => Just(Happening::Cut),
        3 => (1usize..12).prop_map(Happening::CutAfter),
        1 => any::<bool>().prop_map(Happening::Stall),
        1 => Just(Happening::SwallowUp),
        1 => Just(Happening::SwallowDown),
        1 => Just(Happening::NetworkIsBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens on the way: nothing is decided twice, every refusal comes back once, and nothing is missing.
    #[test]
    fn every_history_settles(happenings in prop::collection::vec(happening(), 0..60), window in 1usize..5) {
        let mut pair = Pair::new();
        pair.server_config.limits = Limits { upload_window_txs: window, upload_window_bytes: 1500, ..Limits::default() };
        pair.server_config.queue_bytes_max = 1500;
        for happening in happenings {
            match happening {
                Happening::Commit(ops) => pair.commit(ops),
                Happening::Elsewhere(ops) => pair.hub.write_elsewhere(ops),
                Happening::Run(millis) => {
                    pair.drive(Duration::from_millis(millis), |_| false);
                }
                Happening::Cut => pair.cut(),
                Happening::CutAfter(frames) => pair.cut_after = Some(frames),
                Happening::Stall(stalled) => pair.hub.stalled = stalled,
                Happening::SwallowUp => pair.up.swallow = true,
                Happening::SwallowDown => pair.down.swallow = true,
                Happening::NetworkIsBack => pair.backoff.network_is_back(pair.now),
            }
            prop_assert!(pair.most_in_flight <= window);
        }
        pair.hub.stalled = false;
        pair.settle();
        pair.check();
    }
}

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

/// Two sessions with one transaction in the outbox of the client, in which the client has just heard of its login.
fn connected(config: ServerConfig) -> (ClientSession, ServerSession) {
    let mut pair = Pair::new();
    pair.server_config = config;
    pair.device.commit(b"one");
    let mut client = ClientSession::new(pair.client_config.clone(), pair.device.login(), START);
    let mut server = ServerSession::new(pair.server_config.clone(), [1; 32], 0, START);
    client.handle_frame(server.poll_message().unwrap(), START);
    server.handle_frame(client.poll_message().unwrap(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::LoginRequested(_))));
    let answer = reconvene_protocol::LoginAnswer {
        session: 1,
        server_time_ms: 0,
        decided_number: 0,
        decided_hash: reconvene_model::TxHash::NONE,
        decided_seq: Seq(0),
        refusals: vec![],
        epoch: EPOCH,
        view: VIEW,
        catch_up_from: Seq(0),
        capabilities: vec![],
    };
    server.accept_login(answer, START);
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
    let head = reconvene_model::change::TxHead {
        origin,
        number,
        previous: reconvene_model::TxHash([1; 16]),
        hlc: 1,
    };
    reconvene_model::change::encode_tx(&head, b"ops").into()
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
