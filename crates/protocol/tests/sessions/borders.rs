//! Limits at their borders: what just fits, and what is one too many.

use bytes::Bytes;
use reconvene_model::{Seq, TxHash};
use reconvene_protocol::{
    Code, Limits, LoginAnswer, Message, Outcome, PushFrame, PushedContent, PushedTx, SendError, ServerConfig,
    ServerEvent, ServerSession, Verdict,
};

use crate::{START, answer, connected, decode, logged_in, login_frame, tx};

fn limited(limits: Limits) -> ServerConfig {
    ServerConfig { limits, ..ServerConfig::default() }
}

#[test]
fn a_frame_may_be_as_long_as_a_message_and_no_longer() {
    let max = 64 * 1024;
    let chunk = |bytes: usize| Bytes::from(vec![7; bytes]);
    let (_, mut server) = logged_in(limited(Limits { message_bytes_max: max, ..Limits::default() }));
    server.send_catch_up(chunk(max - 100), Seq(1)).unwrap();
    let envelope = server.poll_message().unwrap().len() - (max - 100);
    server.send_catch_up(chunk(max - envelope), Seq(1)).unwrap();
    assert_eq!(server.poll_message().unwrap().len(), max);
    let too_long = server.send_catch_up(chunk(max - envelope + 1), Seq(1));
    assert_eq!(too_long, Err(SendError::TooLong { length: max + 1, max }));
    assert_eq!(server.poll_message(), None);
}

#[test]
fn pushes_follow_a_catch_up_that_is_done_by_rising_seqs() {
    let (_, mut server) = logged_in(ServerConfig::default());
    let push = |seq| {
        let tx = PushedTx { seq: Seq(seq), content: PushedContent::Own { number: 1 } };
        PushFrame::encode(vec![tx], 1000).pop().unwrap()
    };
    assert_eq!(server.send_push(&push(9)), Err(SendError::OutOfOrder), "the catch-up is not done");
    server.send_catch_up_done(Seq(5)).unwrap();
    assert_eq!(server.send_push(&push(5)), Err(SendError::OutOfOrder), "this was sent");
    assert_eq!(server.send_push(&push(6)), Ok(()));
    assert_eq!(server.sent_seq(), Some(Seq(6)));
}

/// A server of which two transactions of the client fill the window.
fn with_full_window() -> ServerSession {
    let bytes = tx(1, 7).len() + tx(2, 7).len();
    let (_, mut server) = logged_in(limited(Limits { upload_window_bytes: bytes, ..Limits::default() }));
    server.handle_frame(Message::Upload(vec![tx(1, 7), tx(2, 7)]).encode(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Uploaded(txs)) if txs.len() == 2));
    server
}

#[test]
fn a_window_holds_its_bytes_and_is_given_back_by_verdicts() {
    let mut server = with_full_window();
    server.handle_frame(Message::Upload(vec![tx(3, 7)]).encode(), START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::WindowExceeded)
    );

    let settled = || {
        let mut server = with_full_window();
        let outcome = Outcome::Accepted { seq: Seq(1), lost: vec![] };
        server.send_verdicts(vec![Verdict { number: 1, outcome }]).unwrap();
        server
    };
    let mut server = settled();
    server.handle_frame(Message::Upload(vec![tx(3, 7)]).encode(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Uploaded(_))));
    // One verdict gives back what its own transaction took.
    let mut server = settled();
    server.handle_frame(Message::Upload(vec![tx(3, 7), tx(4, 7)]).encode(), START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::WindowExceeded)
    );
}

#[test]
fn an_answer_names_no_more_hashes_than_fit() {
    let mut server = ServerSession::new(
        limited(Limits { message_bytes_max: 64 * 1024, ..Limits::default() }),
        [1; 32],
        0,
        START,
    );
    server.poll_message();
    server.handle_frame(login_frame([1; 32]), START);
    server.accept_login(LoginAnswer { chain: vec![TxHash([3; 16]); 100_000], ..answer() }, START);
    let frame = server.poll_message().unwrap();
    assert!(frame.len() <= 64 * 1024);
    let Message::LoginAccepted(accepted) = decode(frame) else { panic!("an answer") };
    assert!(!accepted.chain.is_empty());
}

#[test]
fn a_server_asks_after_half_as_long_again_as_a_client() {
    let config = ServerConfig::default();
    let heartbeat = config.heartbeat;
    let (client, server) = connected(config);
    assert_eq!(client.poll_timeout(), Some(START + heartbeat));
    assert_eq!(server.poll_timeout(), Some(START + heartbeat * 3 / 2));
}
