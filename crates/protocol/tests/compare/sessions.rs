//! Compares within sessions: when they are begun, in which order things are said, and what follows.

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::compare::CompareRange;
use reconvene_model::identity::PeerKey;
use reconvene_model::{Seq, TxHash};
use reconvene_protocol::compare::{CAPABILITY_COMPARE, answer, encode_ranges};
use reconvene_protocol::limits::MESSAGE_BYTES_MAX;
use reconvene_protocol::message::CompareBegun;
use reconvene_protocol::{
    ClientConfig, ClientEvent, ClientLogin, ClientSession, ClosedBy, Code, CompareMessage, CompareSendError,
    CompareStep, Cursor, Initiator, LoginAnswer, Message, SchemaHashes, SendError, ServerConfig, ServerEvent,
    ServerSession,
};

use crate::support::{Objects, SALT, key, set, within};

const START: Duration = Duration::ZERO;
const SEQ: Seq = Seq(70);

fn login(capable: bool, compare: bool) -> ClientLogin {
    ClientLogin {
        key: PeerKey::from_secret([7; 32]),
        credentials: vec![],
        schema: SchemaHashes::default(),
        cursor: Cursor { epoch: 1, view: 1, seq: Seq(50) },
        last_number: 3,
        last_hash: TxHash([1; 16]),
        confirmed: 0,
        capabilities: if capable { vec![CAPABILITY_COMPARE.into()] } else { vec![] },
        compare,
        confirmed_hash: TxHash::NONE,
        catching_up: false,
        resume: Bytes::new(),
    }
}

/// Two sessions of which the client has just heard that it is to compare, or not.
fn sessions(login: ClientLogin, compare: bool) -> (ClientSession, ServerSession) {
    sessions_with(login, compare, vec![])
}

/// The same with what the engine of the server says that it can do.
fn sessions_with(
    login: ClientLogin,
    compare: bool,
    capabilities: Vec<String>,
) -> (ClientSession, ServerSession) {
    let mut client = ClientSession::new(ClientConfig::default(), login, START);
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    client.handle_frame(server.poll_message().unwrap(), START);
    server.handle_frame(client.poll_message().unwrap(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::LoginRequested(_))));
    let answer = LoginAnswer {
        session: 1,
        server_time_ms: 0,
        decided_number: 0,
        decided_hash: TxHash::NONE,
        decided_seq: Seq(60),
        refusals: vec![],
        epoch: 1,
        view: 2,
        catch_up_from: Seq(0),
        capabilities,
        compare,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    };
    server.accept_login(answer, START);
    client.handle_frame(server.poll_message().unwrap(), START);
    (client, server)
}

/// Two sessions in a compare that has not begun.
fn comparing() -> (ClientSession, ServerSession) {
    let (mut client, server) = sessions(login(true, false), true);
    let Some(ClientEvent::LoggedIn(accepted)) = client.poll_event() else { panic!("a login") };
    assert!(accepted.compare && accepted.capabilities == [CAPABILITY_COMPARE]);
    assert!(client.is_comparing() && server.is_comparing());
    (client, server)
}

/// Two sessions in a compare of which the server has sent the beginning.
fn begun() -> (ClientSession, ServerSession) {
    let (mut client, mut server) = comparing();
    client.send_compare(CompareMessage::Compare(Bytes::new())).unwrap();
    server.handle_frame(client.poll_message().unwrap(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Compare { begins: true, .. })));
    server.send_compared(Some(BEGUN), Bytes::from_static(&[0, 0])).unwrap();
    client.handle_frame(server.poll_message().unwrap(), START);
    assert!(matches!(client.poll_event(), Some(ClientEvent::Compared { begun: Some(BEGUN), .. })));
    (client, server)
}

const BEGUN: CompareBegun = CompareBegun { seq: SEQ, salt: SALT };

fn range() -> Bytes {
    encode_ranges(&[CompareRange::of(key(1, 2, 3))]).into()
}

fn assert_client_closed(client: &mut ClientSession) {
    let closed = std::iter::from_fn(|| client.poll_event()).last();
    assert!(
        matches!(&closed, Some(ClientEvent::Closed(closed)) if closed.by == ClosedBy::Us && closed.code == Code::KindUnexpected),
        "{closed:?}"
    );
}

fn assert_server_closed(server: &mut ServerSession, expected: Code) {
    let closed = std::iter::from_fn(|| server.poll_event()).last();
    assert!(
        matches!(&closed, Some(ServerEvent::Closed(closed)) if closed.by == ClosedBy::Us && closed.code == expected),
        "{closed:?}"
    );
}

#[test]
fn a_session_compares_then_catches_up_from_there_and_only_then_uploads() {
    let theirs: Objects = (1..=3000).map(|at| (key(1, 7, at), (0, at))).collect();
    let mut mine = theirs.clone();
    mine.retain(|key, _| key.gid.counter % 100 != 0);
    mine.insert(key(1, 8, 1), (0, 1));
    let (own, set_of_server) = (set(&mine), set(&theirs));

    let (mut client, mut server) = comparing();
    let mut initiator = Initiator::new();
    let mut fetched = 0;
    while !initiator.is_done() {
        while let Some(step) = initiator.poll() {
            match step {
                CompareStep::Send(message) => client.send_compare(message).unwrap(),
                CompareStep::Extra(range) => assert_eq!(within(&mine, &range), [(key(1, 8, 1), (0, 1))]),
            }
        }
        while let Some(frame) = client.poll_message() {
            server.handle_frame(frame, START);
        }
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::Compare { begins, ranges } => {
                    let answers = answer(&set_of_server, &ranges, MESSAGE_BYTES_MAX).unwrap();
                    server.send_compared(begins.then_some(BEGUN), answers.into()).unwrap();
                }
                ServerEvent::Fetch(ranges) => {
                    fetched += ranges.iter().map(|range| within(&theirs, range).len()).sum::<usize>();
                    server.send_fetched(Bytes::from_static(b"states"), false).unwrap();
                    server.send_fetched(Bytes::new(), true).unwrap();
                }
                ServerEvent::CompareDone(seq) => assert_eq!(seq, SEQ),
                event => panic!("{event:?}"),
            }
        }
        while let Some(frame) = server.poll_message() {
            client.handle_frame(frame, START);
        }
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Compared { answers, .. } => initiator.handle_answers(&answers, &own).unwrap(),
                ClientEvent::Fetched { last, .. } if last => initiator.handle_fetched(),
                ClientEvent::Fetched { states, .. } => assert_eq!(states, "states"),
                // Only the end of the compare lets the client upload.
                ClientEvent::SendTxs { .. } => assert!(initiator.is_done()),
                event => panic!("{event:?}"),
            }
        }
    }
    assert_eq!(fetched, 30);
    assert!(!client.is_comparing() && !server.is_comparing() && client.is_catching_up());
    assert_eq!(server.sent_seq(), Some(SEQ));
    assert_eq!(server.send_catch_up(Bytes::new(), Seq(69)), Err(SendError::OutOfOrder));
    server.send_catch_up(Bytes::new(), Seq(72)).unwrap();
    server.send_catch_up_done(Seq(75)).unwrap();
    while let Some(frame) = server.poll_message() {
        client.handle_frame(frame, START);
    }
    let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
    assert!(
        matches!(events[..], [ClientEvent::CatchUp { .. }, ClientEvent::CatchUpDone(Seq(75)), ..]),
        "{events:?}"
    );
}

#[test]
fn catch_up_from_before_the_compare_is_refused() {
    let (mut client, _) = begun();
    client.send_compare(CompareMessage::Done).unwrap();
    client.handle_frame(
        Message::CatchUp { states: Bytes::new(), upto_seq: Seq(69), resume: Bytes::new() }.encode(),
        START,
    );
    let closed = std::iter::from_fn(|| client.poll_event()).last();
    assert!(matches!(closed, Some(ClientEvent::Closed(closed)) if closed.code == Code::OrderViolated));
}

#[test]
fn only_a_client_that_can_compare_is_asked_to() {
    let (client, server) = sessions(login(false, false), true);
    assert!(client.is_logged_in() && !client.is_comparing() && !server.is_comparing());
    let (mut client, mut server) = sessions(login(true, false), false);
    assert!(!client.is_comparing() && !server.is_comparing());
    let ask = CompareMessage::Compare(Bytes::new());
    assert_eq!(client.send_compare(ask), Err(CompareSendError::NotComparing));
    assert_eq!(server.send_compared(Some(BEGUN), Bytes::new()), Err(SendError::OutOfOrder));
    server.handle_frame(Message::Compare(Bytes::new()).encode(), START);
    assert_server_closed(&mut server, Code::KindUnexpected);
}

#[test]
fn a_client_whose_objects_no_cursor_vouches_for_insists_on_a_compare() {
    let (client, _) = sessions(login(true, true), true);
    assert!(client.is_comparing());
    let (mut client, _) = sessions(login(true, true), false);
    assert!(
        matches!(client.poll_event(), Some(ClientEvent::Closed(closed)) if closed.code == Code::OrderViolated)
    );
}

#[test]
fn neither_catch_up_nor_pushes_nor_uploads_come_before_the_end() {
    for message in [
        Message::CatchUp { states: Bytes::new(), upto_seq: Seq(99), resume: Bytes::new() },
        Message::CatchUpDone(Seq(99)),
        Message::Push(vec![]),
    ] {
        let (mut client, _) = begun();
        client.handle_frame(message.encode(), START);
        assert_client_closed(&mut client);
    }
    let (client, mut server) = begun();
    assert!(client.is_comparing());
    assert_eq!(server.send_catch_up(Bytes::new(), Seq(99)), Err(SendError::OutOfOrder));
    assert_eq!(server.send_catch_up_done(Seq(99)), Err(SendError::OutOfOrder));
    server.handle_frame(Message::Upload(vec![Bytes::from_static(b"tx")]).encode(), START);
    assert_server_closed(&mut server, Code::KindUnexpected);
}

#[test]
fn answers_that_nobody_asked_for_end_the_session() {
    let compared = |begun| Message::Compared { begun, answers: Bytes::from_static(&[0, 0]) };
    let fetched = Message::Fetched { states: Bytes::new(), last: true };
    for message in [compared(None), compared(Some(BEGUN)), fetched] {
        let (mut client, _) = begun();
        client.handle_frame(message.encode(), START);
        assert_client_closed(&mut client);
    }
    // The beginning is told in the first answer, and in no other.
    let (mut client, _) = comparing();
    client.send_compare(CompareMessage::Compare(Bytes::new())).unwrap();
    client.handle_frame(compared(None).encode(), START);
    assert_client_closed(&mut client);
    let (mut client, _) = begun();
    client.send_compare(CompareMessage::Compare(range())).unwrap();
    client.handle_frame(compared(Some(BEGUN)).encode(), START);
    assert_client_closed(&mut client);
}

#[test]
fn questions_out_of_place_end_the_session() {
    let ends = |server: &mut ServerSession, messages: &[Message], expected| {
        for message in messages {
            server.handle_frame(message.encode(), START);
        }
        assert_server_closed(server, expected);
    };
    let unexpected = Code::KindUnexpected;
    let compare = || Message::Compare(range());
    // Before the beginning.
    ends(&mut comparing().1, &[compare()], unexpected);
    ends(&mut comparing().1, &[Message::Fetch(range())], unexpected);
    ends(&mut comparing().1, &[Message::CompareDone], unexpected);
    // The beginning again, and two at once.
    ends(&mut begun().1, &[Message::Compare(Bytes::new())], unexpected);
    ends(&mut begun().1, &[compare(), compare()], unexpected);
    ends(&mut begun().1, &[Message::Fetch(range()), Message::Fetch(range())], unexpected);
    ends(&mut begun().1, &[compare(), Message::CompareDone], unexpected);
    ends(&mut begun().1, &[Message::Fetch(range()), Message::CompareDone], unexpected);
    ends(&mut begun().1, &[Message::CompareDone, Message::CompareDone], unexpected);
    // What cannot be read.
    ends(&mut begun().1, &[Message::Compare(Bytes::from_static(&[1, 0]))], Code::ContentInvalid);
    ends(&mut begun().1, &[Message::Fetch(Bytes::new())], Code::ContentInvalid);
}

#[test]
fn an_engine_out_of_step_is_told() {
    let (mut client, mut server) = begun();
    let ask = || CompareMessage::Compare(range());
    client.send_compare(ask()).unwrap();
    assert_eq!(client.send_compare(ask()), Err(CompareSendError::NotAnswered));
    assert_eq!(client.send_compare(CompareMessage::Done), Err(CompareSendError::NotAnswered));
    assert_eq!(server.send_compared(None, Bytes::new()), Err(SendError::OutOfOrder), "nothing was asked");
    assert_eq!(server.send_fetched(Bytes::new(), true), Err(SendError::OutOfOrder));
    server.handle_frame(client.poll_message().unwrap(), START);
    assert_eq!(server.send_compared(Some(BEGUN), Bytes::new()), Err(SendError::OutOfOrder), "it has begun");
    server.send_compared(None, Bytes::from_static(&[0, 0])).unwrap();
    client.handle_frame(server.poll_message().unwrap(), START);
    client.send_compare(CompareMessage::Fetch(range())).unwrap();
    assert_eq!(client.send_compare(CompareMessage::Fetch(range())), Err(CompareSendError::NotAnswered));
    client.handle_disconnected("gone");
    assert_eq!(client.send_compare(ask()), Ok(()), "a session that is over takes anything");
}

#[test]
fn an_answer_may_fill_a_message_and_no_more() {
    let asked = || {
        let (mut client, mut server) = begun();
        client.send_compare(CompareMessage::Compare(range())).unwrap();
        server.handle_frame(client.poll_message().unwrap(), START);
        server
    };
    let max = MESSAGE_BYTES_MAX;
    let length =
        |answers: usize| Message::Compared { begun: None, answers: vec![0; answers].into() }.encode().len();
    let answers = max - (length(max) - max);
    assert_eq!(length(answers), max);
    let mut server = asked();
    let too_long = server.send_compared(None, vec![0; answers + 1].into());
    assert_eq!(too_long, Err(SendError::TooLong { length: max + 1, max }));
    server.send_compared(None, vec![0; answers].into()).unwrap();
    assert_eq!(server.poll_message().unwrap().len(), max);
}

#[test]
fn a_capability_is_named_once() {
    let (mut client, _) = sessions_with(login(true, false), true, vec![CAPABILITY_COMPARE.into()]);
    let Some(ClientEvent::LoggedIn(accepted)) = client.poll_event() else { panic!("a login") };
    assert_eq!(accepted.capabilities, [CAPABILITY_COMPARE]);
}
