//! Who is let in, and which answers are believed.

use reconvene_model::identity::PeerKey;
use reconvene_model::{Seq, TxHash};
use reconvene_protocol::compare::CAPABILITY_COMPARE;
use reconvene_protocol::login::sign_login;
use reconvene_protocol::message::{Hello, LoginAccepted};
use reconvene_protocol::{
    ClientLogin, ClientSession, ClosedBy, Code, Cursor, Limits, LoginAnswer, Message, Outcome,
    PROTOCOL_VERSION, Secret, ServerConfig, ServerEvent, ServerSession, Verdict,
};

use crate::support::{EPOCH, Hub, Pair, SECRET, VIEW};
use crate::{MINUTE, START, assert_closed, client, decode, hello, login_frame};

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
    pair.hub = Hub::new();
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
fn answers_that_would_lose_something_are_not_believed() {
    check_answer(|answer| answer.catch_up_from = Seq(4), Code::OrderViolated);
    check_answer(|answer| answer.epoch = EPOCH + 1, Code::OrderViolated);
    check_answer(|answer| answer.refusals = vec![refusal(2), refusal(2)], Code::OrderViolated);
    check_answer(|answer| answer.refusals = vec![refusal(1)], Code::OrderViolated);
    check_answer(|answer| answer.refusals = vec![refusal(4)], Code::OrderViolated);
    check_answer(|answer| answer.chain = vec![TxHash([2; 16]); 4], Code::OrderViolated);
    check_answer(|answer| (answer.decided_number, answer.refusals) = (0, vec![]), Code::HistoryLost);
    check_answer(|answer| answer.epoch = 0, Code::ContentInvalid);
    check_answer(|answer| answer.limits.upload_window_txs = 0, Code::ContentInvalid);
    // It continues the history in which the client is already, or one that the client does not have.
    check_answer(|answer| answer.continues = EPOCH, Code::OrderViolated);
    check_answer(|answer| (answer.continues, answer.epoch) = (EPOCH + 5, EPOCH + 1), Code::OrderViolated);
    // It begins a compare that was not offered.
    check_answer(|answer| (answer.compare, answer.catch_up_from) = (true, Seq(0)), Code::OrderViolated);
}

#[test]
fn a_server_that_has_lost_decisions_has_another_history_lacks_them_and_compares() {
    let able = |login: &mut ClientLogin| login.capabilities.push(CAPABILITY_COMPARE.into());
    let lost = |answer: &mut LoginAccepted| {
        (answer.epoch, answer.catch_up_from) = (EPOCH + 1, Seq(0));
        (answer.compare, answer.rebased) = (true, Some(0));
    };
    assert!(answered_to(able, lost).is_logged_in());
    let spoils: [fn(&mut LoginAccepted); 4] = [
        |answer| answer.epoch = EPOCH,
        |answer| answer.rebased = Some(1),
        |answer| answer.compare = false,
        |answer| answer.continues = EPOCH,
    ];
    for spoil in spoils {
        let mut client = answered_to(able, |answer| {
            lost(answer);
            spoil(answer);
        });
        assert_closed(&mut client, Code::OrderViolated);
    }
    let new = |login: &mut ClientLogin| {
        able(login);
        login.cursor = Cursor::default();
    };
    assert_closed(&mut answered_to(new, lost), Code::OrderViolated);
}

#[test]
fn a_secret_that_is_proved_twice_is_proved() {
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    server.poll_message();
    let Message::Login(mut login) = decode(login_frame([1; 32])) else { panic!("a login") };
    login.credentials.push(login.credentials[0].clone());
    server.handle_frame(Message::Login(login).encode(), START);
    let Some(ServerEvent::LoginRequested(request)) = server.poll_event() else { panic!("a login is judged") };
    assert_eq!(request.login.credentials.len(), 2);
    assert!(request.verify_secret(&Secret::new(SECRET)));
    assert!(!request.verify_secret(&Secret::new("open barley")));
}

#[test]
fn a_server_that_continues_the_history_of_the_client_goes_on_where_it_is() {
    let client = answered(|answer| (answer.continues, answer.epoch) = (EPOCH, EPOCH + 1));
    assert!(client.is_logged_in());
}

#[test]
fn a_refusal_that_was_decided_while_the_login_was_judged_waits_for_its_upload() {
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    server.poll_message();
    server.handle_frame(login_frame([1; 32]), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::LoginRequested(_))));
    let answer = LoginAnswer {
        session: 1,
        server_time_ms: 0,
        decided_number: 2,
        decided_hash: TxHash([1; 16]),
        decided_seq: Seq(3),
        refusals: vec![refusal(1), refusal(2), refusal(3)],
        epoch: EPOCH,
        view: VIEW,
        catch_up_from: Seq(0),
        capabilities: vec![],
        compare: false,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    };
    server.accept_login(answer, START);
    let Message::LoginAccepted(accepted) = decode(server.poll_message().unwrap()) else {
        panic!("an answer")
    };
    assert_eq!(accepted.refusals, [refusal(1), refusal(2)]);
}

fn refusal(number: u64) -> Verdict {
    Verdict {
        number,
        outcome: Outcome::Refused { code: Code::NotPermitted, op: None, message: String::new() },
    }
}

fn check_answer(spoil: impl Fn(&mut LoginAccepted), expected: Code) {
    assert!(answered(|_| {}).is_logged_in());
    assert_closed(&mut answered(spoil), expected);
}

/// A client whose cursor is at Seq 3 after an answer that is right but for this.
fn answered(spoil: impl Fn(&mut LoginAccepted)) -> ClientSession {
    answered_to(|_| {}, spoil)
}

/// The same with another login.
fn answered_to(vary: impl Fn(&mut ClientLogin), spoil: impl Fn(&mut LoginAccepted)) -> ClientSession {
    let mut answer = LoginAccepted {
        session: 1,
        server_time_ms: 0,
        decided_number: 3,
        decided_hash: TxHash([1; 16]),
        decided_seq: Seq(3),
        refusals: vec![refusal(2), refusal(3)],
        epoch: EPOCH,
        view: VIEW,
        catch_up_from: Seq(3),
        limits: Limits::default(),
        heartbeat_ms: 1000,
        capabilities: vec![],
        compare: false,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    };
    spoil(&mut answer);
    let pair = Pair::new();
    let mut login = pair.device.login();
    login.cursor = Cursor { epoch: EPOCH, view: VIEW, seq: Seq(3) };
    (login.last_number, login.confirmed) = (3, 1);
    login.last_hash = TxHash([1; 16]);
    vary(&mut login);
    let mut client = ClientSession::new(pair.client_config, login, START);
    client.handle_frame(hello([1; 32]), START);
    client.handle_frame(Message::LoginAccepted(Box::new(answer)).encode(), START);
    client
}
