//! Digests within sessions: when one is due, and what may not be said.

use std::time::Duration;

use reconvene_model::compare::{CompareKey, CompareRange, Slice, SliceOutcome};
use reconvene_model::{GlobalId, PeerId, Seq, TxHash, Uid};
use reconvene_protocol::compare::{CAPABILITY_PROBE, CAPABILITY_PROBE_VALUES};
use reconvene_protocol::{
    ClientConfig, ClientEvent, ClientLogin, ClientSession, Code, LoginAnswer, Message, ServerConfig,
    ServerEvent, ServerSession,
};

use crate::support::{EPOCH, Pair, VIEW};
use crate::{START, assert_closed, decode};

fn slice() -> Slice {
    let start = CompareKey::new(Uid(1), GlobalId::new(PeerId(2), 3));
    let range = CompareRange::new(start, start.next());
    Slice { seq: Seq(0), range, objects: 1, hash: [4; 16], values: true }
}

/// A client and a server that are logged in, with these capabilities in force, at the end of the catch-up.
fn live(capabilities: &[&str]) -> (ClientSession, ServerSession) {
    let pair = Pair::new();
    let login = ClientLogin {
        capabilities: vec![CAPABILITY_PROBE.into(), CAPABILITY_PROBE_VALUES.into()],
        ..pair.device.login()
    };
    let mut client = ClientSession::new(pair.client_config.clone(), login, START);
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    client.handle_frame(server.poll_message().unwrap(), START);
    server.handle_frame(client.poll_message().unwrap(), START);
    while server.poll_event().is_some() {}
    let answer = LoginAnswer {
        session: 1,
        server_time_ms: 0,
        decided_number: 0,
        decided_hash: TxHash::NONE,
        decided_seq: Seq(0),
        refusals: vec![],
        epoch: EPOCH,
        view: VIEW,
        catch_up_from: Seq(0),
        capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        compare: false,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    };
    server.accept_login(answer, START);
    server.send_catch_up_done(Seq(0)).unwrap();
    while let Some(frame) = server.poll_message() {
        client.handle_frame(frame, START);
    }
    settle(&mut client);
    (client, server)
}

/// The events that are left, without those that the outbox causes.
fn settle(client: &mut ClientSession) -> Vec<ClientEvent> {
    let mut events = Vec::new();
    while let Some(event) = client.poll_event() {
        match event {
            ClientEvent::SendTxs { .. } => client.handle_txs(vec![]).unwrap(),
            event => events.push(event),
        }
    }
    events
}

fn interval() -> Duration {
    ClientConfig::default().probe_interval
}

#[test]
fn a_digest_is_due_after_the_login_and_then_at_intervals_one_at_a_time() {
    let (mut client, mut server) = live(&[CAPABILITY_PROBE, CAPABILITY_PROBE_VALUES]);
    assert!(client.probes_values());
    client.handle_timeout(START + interval() / 10);
    assert_eq!(settle(&mut client), [ClientEvent::ProbeDue]);
    client.send_probe(slice()).unwrap();
    let frame = client.poll_message().unwrap();
    assert_eq!(decode(frame.clone()), Message::Probe(slice()));
    // While it is not answered no other one is due.
    client.handle_timeout(START + interval() * 11 / 10);
    assert_eq!(settle(&mut client), []);
    server.handle_frame(frame, START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Probe(asked)) if asked == slice()));
    server.send_probed(SliceOutcome::Differs).unwrap();
    assert!(server.send_probed(SliceOutcome::Same).is_err());
    let now = START + interval() * 11 / 10;
    client.handle_frame(server.poll_message().unwrap(), now);
    assert_eq!(settle(&mut client), [ClientEvent::Probed(SliceOutcome::Differs)]);
    client.handle_timeout(START + interval() * 21 / 10);
    assert_eq!(settle(&mut client), [ClientEvent::ProbeDue]);
}

#[test]
fn without_the_capability_no_digest_is_due_or_taken() {
    let (mut client, mut server) = live(&[]);
    client.handle_timeout(START + interval() / 2);
    assert_eq!(settle(&mut client), []);
    assert!(client.send_probe(slice()).is_err());
    server.handle_frame(Message::Probe(slice()).encode(), START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::KindUnexpected)
    );
}

#[test]
fn a_second_digest_before_the_answer_ends_the_session() {
    let (_, mut server) = live(&[CAPABILITY_PROBE]);
    server.handle_frame(Message::Probe(slice()).encode(), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Probe(_))));
    server.handle_frame(Message::Probe(slice()).encode(), START);
    assert!(
        matches!(server.poll_event(), Some(ServerEvent::Closed(closed)) if closed.code == Code::KindUnexpected)
    );
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_session() {
    let (mut client, _) = live(&[CAPABILITY_PROBE]);
    assert!(!client.probes_values());
    client.handle_frame(Message::Probed(SliceOutcome::Same).encode(), START);
    assert_closed(&mut client, Code::KindUnexpected);
}

#[test]
fn none_is_due_within_a_catch_up() {
    let (mut client, mut server) = live(&[CAPABILITY_PROBE]);
    server.send_catch_up(b"states".as_slice().into(), Seq(0)).unwrap();
    client.handle_frame(server.poll_message().unwrap(), START);
    settle(&mut client);
    client.handle_timeout(START + interval() / 2);
    assert_eq!(settle(&mut client), []);
}
