//! What each side insists on.

use bytes::Bytes;
use reconvene_model::Seq;
use reconvene_protocol::{
    ClientEvent, Code, Limits, LostOp, Message, Outcome, PushedContent, PushedTx, SendError, ServerConfig,
    ServerEvent, ServerSession, TxsError, Verdict,
};

use crate::{START, assert_closed, connected, decode, logged_in, login_frame, tx};

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
    let chunk = |seq| Message::CatchUp { states: Bytes::new(), upto_seq: Seq(seq), resume: Bytes::new() };
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
    // A chunk that comes again begins another catch-up, which must have its end like any other.
    check_server_fault(&[chunk(2), done(2), chunk(2), Message::Push(vec![own(3, 1)])], Code::KindUnexpected);
    check_server_fault(&[chunk(2), done(3), chunk(2)], Code::OrderViolated);
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
fn verdicts_are_cut_into_messages_that_the_client_takes() {
    let (_, mut server) = logged_in(ServerConfig::default());
    let refused = |number| Verdict {
        number,
        outcome: Outcome::Refused { code: Code::NotPermitted, op: None, message: "x".repeat(5000) },
    };
    server.send_verdicts((1..=1000).map(refused).collect()).unwrap();
    let mut numbers = Vec::new();
    let mut frames = 0;
    while let Some(frame) = server.poll_message() {
        assert!(frame.len() <= 256 * 1024);
        let Message::Verdicts(verdicts) = decode(frame) else { panic!("verdicts") };
        numbers.extend(verdicts.iter().map(|verdict| verdict.number));
        frames += 1;
    }
    assert!(numbers.into_iter().eq(1..=1000));
    assert_eq!(frames, 5, "a thousand texts are cut to a kilobyte each");
}

#[test]
fn a_verdict_that_no_message_can_hold_is_not_sent() {
    let limits = Limits { message_bytes_max: 64 * 1024, ..Limits::default() };
    let config = ServerConfig { limits, ..ServerConfig::default() };
    let ops_max = config.tx_ops_max();
    let (_, mut server) = logged_in(config);
    let superseded = |count: usize| {
        let lost = |op| LostOp { op, code: Code::ObjectRemoved, generation: u64::MAX - 1 };
        vec![Verdict {
            number: 1,
            outcome: Outcome::Superseded { ops: (0..count as u32).map(lost).collect() },
        }]
    };
    let refused = server.send_verdicts(superseded(ops_max * 2));
    assert!(matches!(refused, Err(SendError::TooLong { max: 65_536, .. })), "{refused:?}");
    assert_eq!(server.poll_message(), None);
    // What a transaction may have at most, a verdict can always name.
    server.send_verdicts(superseded(ops_max)).unwrap();
    assert!(server.poll_message().unwrap().len() <= 64 * 1024);
}
