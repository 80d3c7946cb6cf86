//! Bytes that nobody should send: nothing panics, nothing grows, and what is read is what was written.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use reconvene_model::compare::{CompareKey, CompareRange, Slice, SliceOutcome};
use reconvene_model::identity::PeerKey;
use reconvene_model::{GlobalId, PeerId, Seq, TxHash, Uid};
use reconvene_protocol::limits::{NUMBER_MAX, TEXT_BYTES_MAX};
use reconvene_protocol::message::Hello;
use reconvene_protocol::{
    ClientConfig, ClientLogin, ClientSession, Code, CompareBegun, CredentialProof, Cursor, Limits, Login,
    LoginAccepted, LoginAnswer, LostOp, Message, MessageError, Outcome, PushedContent, PushedTx,
    SchemaHashes, ServerConfig, ServerEvent, ServerSession, Verdict,
};

const BYTES_MAX: usize = 1 << 20;
const START: Duration = Duration::ZERO;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive_the_journey(message in message()) {
        prop_assert_eq!(Message::decode(message.encode(), BYTES_MAX), Ok(message));
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..200)) {
        read(bytes.clone());
        // The same with a good first byte, and inside every kind.
        read([&[0], bytes.as_slice()].concat());
        for kind in 1..=21u8 {
            let mut frame = vec![0];
            prost::encoding::encode_varint(u64::from(kind) << 3 | 2, &mut frame);
            prost::encoding::encode_varint(bytes.len() as u64, &mut frame);
            frame.extend(&bytes);
            read(frame);
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_read(
        message in message(),
        flips in vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let whole = message.encode().to_vec();
        read(whole[..end.index(whole.len())].to_vec());
        let mut bent = whole;
        for (at, flip) in flips {
            let at = at.index(bent.len());
            bent[at] ^= flip;
        }
        read(bent);
    }

    #[test]
    fn sessions_bear_any_sequence_of_messages(
        state in 0..3usize,
        messages in vec(prop_oneof![3 => message().prop_map(|message| message.encode()), 1 => vec(any::<u8>(), 0..50).prop_map(Bytes::from)], 1..8),
        pauses in vec(0u64..40_000, 8),
    ) {
        let (mut client, mut server) = sessions(state);
        let mut now = START;
        for (frame, pause) in messages.into_iter().zip(pauses) {
            now += Duration::from_millis(pause);
            client.handle_timeout(now);
            server.handle_timeout(now);
            client.handle_frame(frame.clone(), now);
            server.handle_frame(frame, now);
            while client.poll_event().is_some() {}
            let mut sent = 0;
            while client.poll_message().is_some() {
                sent += 1;
            }
            prop_assert!(sent < 10);
            while server.poll_event().is_some() {}
            while server.poll_message().is_some() {}
            prop_assert!(client.poll_timeout().is_none_or(|at| at > now));
            prop_assert!(client.is_closed() == client.poll_timeout().is_none());
        }
    }
}

/// Reads a frame; what can be read says the same after another journey.
fn read(frame: Vec<u8>) {
    if let Ok(message) = Message::decode(frame.into(), BYTES_MAX) {
        assert_eq!(Message::decode(message.encode(), BYTES_MAX), Ok(message));
    }
}

#[test]
fn frames_are_refused_with_the_reason() {
    let refusal = |frame: &'static [u8]| Message::decode(Bytes::from_static(frame), 100).unwrap_err();
    assert_eq!(refusal(&[]), MessageError::Empty);
    assert_eq!(refusal(&[1, 0x5a, 0]), MessageError::UnknownFormat { format: 1 });
    assert_eq!(refusal(&[0, 0xfa, 0x01, 0]), MessageError::UnknownKind { kind: 31 });
    assert_eq!(refusal(&[0; 101]), MessageError::TooLong { length: 101, max: 100 });
    assert!(matches!(refusal(&[0]), MessageError::Malformed { .. }));
    assert_eq!(refusal(&[0, 0x2a, 0]), MessageError::Invalid { what: "txs of Upload" });
    assert_eq!(refusal(&[0, 0x3a, 0]), MessageError::Invalid { what: "number of Confirm" });
    let codes = [
        (MessageError::Empty, Code::FrameInvalid),
        (MessageError::UnknownFormat { format: 1 }, Code::FrameUnknown),
        (MessageError::UnknownKind { kind: 14 }, Code::KindUnknown),
        (MessageError::TooLong { length: 2, max: 1 }, Code::FrameTooLong),
        (MessageError::TooMany { what: "verdicts", max: 1 }, Code::ContentInvalid),
    ];
    for (error, code) in codes {
        assert_eq!(error.code(), code);
    }
}

#[test]
fn blocks_are_slices_of_their_frame() {
    let frame = Message::Upload(vec![Bytes::from_static(b"transaction")]).encode();
    let range = frame.as_ptr_range();
    let Ok(Message::Upload(txs)) = Message::decode(frame, 100) else { panic!("an upload") };
    assert!(range.contains(&txs[0].as_ptr()));
}

#[test]
fn long_texts_are_cut_between_characters() {
    let reason = "ä".repeat(TEXT_BYTES_MAX);
    let frame = Message::Bye { code: Code::Done, reason }.encode();
    let Ok(Message::Bye { reason, .. }) = Message::decode(frame, BYTES_MAX) else { panic!("a farewell") };
    assert_eq!(reason.len(), TEXT_BYTES_MAX);
    let odd = format!("x{}", "ä".repeat(TEXT_BYTES_MAX));
    let frame = Message::Bye { code: Code::Done, reason: odd }.encode();
    let Ok(Message::Bye { reason, .. }) = Message::decode(frame, BYTES_MAX) else { panic!("a farewell") };
    assert_eq!(reason.len(), TEXT_BYTES_MAX - 1);
}

/// Two sessions before `Hello`, while the login is judged, or logged in.
fn sessions(state: usize) -> (ClientSession, ServerSession) {
    let login = ClientLogin {
        key: PeerKey::from_secret([7; 32]),
        credentials: vec![],
        schema: SchemaHashes::default(),
        cursor: Cursor::default(),
        last_number: 3,
        last_hash: TxHash([1; 16]),
        confirmed: 0,
        capabilities: vec![],
        compare: false,
        confirmed_hash: TxHash::NONE,
        catching_up: false,
        resume: Bytes::new(),
    };
    let mut client = ClientSession::new(ClientConfig::default(), login, START);
    let mut server = ServerSession::new(ServerConfig::default(), [1; 32], 0, START);
    let hello = server.poll_message().expect("a server speaks first");
    if state >= 1 {
        client.handle_frame(hello, START);
        server.handle_frame(client.poll_message().expect("Hello is answered"), START);
    }
    if state == 2 {
        assert!(matches!(server.poll_event(), Some(ServerEvent::LoginRequested(_))));
        let answer = LoginAnswer {
            session: 1,
            server_time_ms: 0,
            decided_number: 0,
            decided_hash: TxHash::NONE,
            decided_seq: Seq(0),
            refusals: vec![],
            epoch: 1,
            view: 1,
            catch_up_from: Seq(0),
            capabilities: vec![],
            compare: false,
            continues: 0,
            chain: Vec::new(),
            rebased: None,
        };
        server.accept_login(answer, START);
        client.handle_frame(server.poll_message().expect("the login is answered"), START);
        assert!(client.is_logged_in() && server.is_logged_in());
    }
    (client, server)
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (vec(any::<u32>(), 0..4), any::<[u8; 32]>(), number()).prop_map(
            |(versions, nonce, server_time_ms)| Message::Hello(Hello { versions, nonce, server_time_ms })
        ),
        login().prop_map(|login| Message::Login(Box::new(login))),
        accepted().prop_map(|accepted| Message::LoginAccepted(Box::new(accepted))),
        (code(), text()).prop_map(|(code, message)| Message::LoginRefused { code, message }),
        vec(block(), 1..5).prop_map(Message::Upload),
        vec(verdict(), 1..5).prop_map(Message::Verdicts),
        count().prop_map(Message::Confirm),
        (block(), number()).prop_map(|(states, seq)| Message::CatchUp {
            states,
            upto_seq: Seq(seq),
            resume: Bytes::new()
        }),
        number().prop_map(|seq| Message::CatchUpDone(Seq(seq))),
        vec(pushed(), 0..5).prop_map(Message::Push),
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
        (code(), text()).prop_map(|(code, reason)| Message::Bye { code, reason }),
        block().prop_map(Message::Compare),
        (option::of((number(), any::<[u8; 32]>())), block()).prop_map(|(begun, answers)| Message::Compared {
            begun: begun.map(|(seq, salt)| CompareBegun { seq: Seq(seq), salt }),
            answers
        }),
        block().prop_map(Message::Fetch),
        (block(), any::<bool>()).prop_map(|(states, last)| Message::Fetched { states, last }),
        Just(Message::CompareDone),
        (number(), any::<(u64, u64, u64)>(), any::<u64>(), any::<[u8; 16]>(), any::<bool>()).prop_map(
            |(seq, (entity, origin, counter), objects, hash, values)| {
                let start = CompareKey::new(Uid(entity), GlobalId::new(PeerId(origin), counter));
                let range = CompareRange::new(start, start.next());
                Message::Probe(Slice { seq: Seq(seq), range, objects, hash, values })
            }
        ),
        Just(Message::Probed(SliceOutcome::Unknown)),
    ]
}

fn login() -> impl Strategy<Value = Login> {
    let proof = prop_oneof![
        Just(CredentialProof::None),
        Just(CredentialProof::Unknown),
        any::<[u8; 32]>().prop_map(CredentialProof::SharedSecret),
    ];
    let signature = (any::<[u8; 32]>(), any::<[u8; 32]>())
        .prop_map(|(one, two)| <[u8; 64]>::try_from([one, two].concat()).expect("twice 32 is 64"));
    (
        (any::<u32>(), any::<[u8; 32]>(), signature, vec(proof, 0..3)),
        (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u64>(), any::<u64>(), number()),
        (number(), any::<[u8; 16]>(), any::<prop::sample::Index>(), vec("[a-z]{1,12}", 0..3), any::<bool>()),
    )
        .prop_map(|(who, schema, (last_number, hash, confirmed, capabilities, compare))| Login {
            version: who.0,
            public_key: who.1,
            signature: who.2,
            credentials: who.3,
            schema: SchemaHashes { base: schema.0, full: schema.1 },
            cursor: Cursor { epoch: schema.2, view: schema.3, seq: Seq(schema.4) },
            last_number,
            last_hash: TxHash(hash),
            confirmed: confirmed.index(usize::try_from(last_number).unwrap_or(usize::MAX).max(1)) as u64,
            capabilities,
            compare,
            confirmed_hash: TxHash::NONE,
            catching_up: false,
            resume: Bytes::new(),
        })
}

fn accepted() -> impl Strategy<Value = LoginAccepted> {
    (
        (any::<u64>(), number(), number(), any::<[u8; 16]>(), number(), vec(verdict(), 0..4)),
        (1u64.., any::<u64>(), number(), 1..1usize << 40, 1..1usize << 40, 1..1usize << 40),
        (count(), vec("[a-z]{1,12}", 0..3), any::<bool>()),
    )
        .prop_map(|(decided, history, (heartbeat_ms, capabilities, compare))| LoginAccepted {
            session: decided.0,
            server_time_ms: decided.1,
            decided_number: decided.2,
            decided_hash: TxHash(decided.3),
            decided_seq: Seq(decided.4),
            refusals: decided.5,
            epoch: history.0,
            view: history.1,
            catch_up_from: Seq(history.2),
            limits: Limits {
                message_bytes_max: history.3,
                upload_window_txs: history.4,
                upload_window_bytes: history.5,
            },
            heartbeat_ms,
            capabilities,
            compare,
            continues: 0,
            chain: Vec::new(),
            rebased: None,
        })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let lost = || {
        vec((any::<u32>(), code(), any::<u64>()), 0..4).prop_map(|lost| {
            lost.into_iter().map(|(op, code, generation)| LostOp { op, code, generation }).collect::<Vec<_>>()
        })
    };
    let outcome = prop_oneof![
        (count(), lost()).prop_map(|(seq, lost)| Outcome::Accepted { seq: Seq(seq), lost }),
        (code(), any::<Option<u32>>(), text()).prop_map(|(code, op, message)| Outcome::Refused {
            code,
            op,
            message
        }),
        lost().prop_map(|ops| Outcome::Superseded { ops }),
    ];
    (count(), outcome).prop_map(|(number, outcome)| Verdict { number, outcome })
}

fn pushed() -> impl Strategy<Value = PushedTx> {
    let content = prop_oneof![
        count().prop_map(|number| PushedContent::Own { number }),
        (1u64.., count(), any::<u64>(), block()).prop_map(|(origin, number, hlc, ops)| {
            PushedContent::Whole { origin: PeerId(origin), number, hlc, ops }
        }),
    ];
    (count(), content).prop_map(|(seq, content)| PushedTx { seq: Seq(seq), content })
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..5u64, 0..=NUMBER_MAX]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![1..5u64, 1..=NUMBER_MAX]
}

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![prop::sample::select(Code::ALL.to_vec()), any::<u32>().prop_map(Code::from_number)]
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

fn block() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}
