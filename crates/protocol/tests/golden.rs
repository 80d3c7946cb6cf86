//! The messages under `fixtures/messages`: the same bytes for ever, in every language.
//!
//! They are one short conversation that `fixtures/messages/README.md` tells. With `RECONVENE_BLESS` set in the environment
//! the files are written instead of compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::change::{Cell, Op, OpKind, OpsWriter, TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::{GlobalId, PeerId, PropertyType, Seq, TxHash, Uid};
use reconvene_protocol::message::Hello;
use reconvene_protocol::{
    ClientConfig, ClientLogin, ClientSession, Code, Credential, Cursor, Limits, LoginAccepted, LostOp,
    Message, MessageError, Nonce, Outcome, PushedContent, PushedTx, SchemaHashes, Secret, Verdict,
};

const EPOCH: u64 = 0x0102_0304_0506_0708;
const VIEW: u64 = 0x1112_1314_1516_1718;
const TASK: Uid = Uid(1001);
const TITLE: Uid = Uid(2001);

#[test]
fn the_conversation_is_the_same_for_ever() {
    for (name, message) in conversation() {
        let frame = message.encode();
        let path = directory().join(format!("{name}.bin"));
        if std::env::var_os("RECONVENE_BLESS").is_some() {
            fs::create_dir_all(directory()).unwrap();
            fs::write(&path, &frame).unwrap();
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(golden, frame, "{name} is written as it always was");
        assert_eq!(Message::decode(golden.into(), 1 << 20), Ok(message), "{name} is read as it always was");
    }
}

#[test]
fn every_kind_has_a_golden_message() {
    let mut names: Vec<_> = conversation().iter().map(|(_, message)| message.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 13, "{names:?}");
}

#[test]
fn the_readme_tells_of_every_file() {
    let readme = fs::read_to_string(directory().join("README.md")).unwrap();
    let mut files = 0;
    for file in fs::read_dir(directory()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".bin") {
            assert!(readme.contains(&format!("`{name}`")), "README.md does not tell of {name}");
            files += 1;
        }
    }
    assert_eq!(files, conversation().len() + 2, "no file is without a test");
}

#[test]
fn messages_of_newer_releases_are_read_or_refused_as_promised() {
    let from_future = golden("future-ping.bin", &[0, 0x5a, 5, 8, 42, 0x7a, 1, 0xff, 0xc2, 0x3e, 1, 0xee]);
    assert_eq!(Message::decode(from_future, 100), Ok(Message::Ping(42)));
    let unknown = golden("future-kind.bin", &[0, 0xfa, 0x06, 2, 8, 1]);
    assert_eq!(Message::decode(unknown, 100), Err(MessageError::UnknownKind { kind: 111 }));
}

fn golden(name: &str, bytes: &[u8]) -> Bytes {
    let path = directory().join(name);
    if std::env::var_os("RECONVENE_BLESS").is_some() {
        fs::create_dir_all(directory()).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let golden = fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(golden, bytes);
    golden.into()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/messages")
}

fn conversation() -> Vec<(&'static str, Message)> {
    let (nonce, key) = (nonce(), key());
    let txs = [tx(1, "buy milk"), tx(2, "feed cat"), tx(3, "a title that is not allowed")];
    let refused = Verdict {
        number: 3,
        outcome: Outcome::Refused {
            code: Code::NotPermitted,
            op: Some(0),
            message: "you may not write Task".into(),
        },
    };
    let lost = |generation| vec![LostOp { op: 0, code: Code::ObjectRemoved, generation }];
    vec![
        ("01-hello", Message::Hello(Hello { versions: vec![1], nonce, server_time_ms: 1_700_000_000_000 })),
        ("02-login", login(&key, &nonce)),
        ("03-login-accepted", Message::LoginAccepted(Box::new(accepted(&txs[0])))),
        (
            "04-catch-up",
            Message::CatchUp { states: Bytes::from_static(b"a states block"), upto_seq: Seq(40) },
        ),
        ("05-catch-up-done", Message::CatchUpDone(Seq(42))),
        ("06-upload", Message::Upload(txs[1..].to_vec())),
        (
            "07-verdicts",
            Message::Verdicts(vec![
                Verdict { number: 2, outcome: Outcome::Accepted { seq: Seq(43), lost: vec![] } },
                refused.clone(),
            ]),
        ),
        ("08-confirm", Message::Confirm(3)),
        (
            "09-push",
            Message::Push(vec![
                PushedTx { seq: Seq(43), content: PushedContent::Own { number: 2 } },
                PushedTx {
                    seq: Seq(44),
                    content: PushedContent::Whole {
                        origin: PeerId(0x2122_2324_2526_2728),
                        number: 9,
                        hlc: 1_700_000_000_000 << 16,
                        ops: ops(PeerId(0x2122_2324_2526_2728), 12, "walk dog"),
                    },
                },
            ]),
        ),
        (
            "10-verdicts-with-losses",
            Message::Verdicts(vec![
                Verdict { number: 4, outcome: Outcome::Accepted { seq: Seq(45), lost: lost(1) } },
                Verdict { number: 5, outcome: Outcome::Superseded { ops: lost(300) } },
            ]),
        ),
        ("11-ping", Message::Ping(1)),
        ("12-pong", Message::Pong(1)),
        (
            "13-bye",
            Message::Bye {
                code: Code::GoingAway,
                reason: "the server shuts down or restarts; connect again".into(),
            },
        ),
        (
            "14-login-refused",
            Message::LoginRefused {
                code: Code::SecretWrong,
                message: "the shared secret is not the server's; check it".into(),
            },
        ),
    ]
}

fn nonce() -> Nonce {
    std::array::from_fn(|at| at as u8)
}

fn key() -> PeerKey {
    PeerKey::from_secret([7; 32])
}

/// What a client with these secrets answers, so that signature and proof are golden too.
fn login(key: &PeerKey, nonce: &Nonce) -> Message {
    let login = ClientLogin {
        key: key.clone(),
        credentials: vec![Credential::None, Credential::SharedSecret(Secret::new("open sesame"))],
        schema: SchemaHashes { base: [0xb0; 32], full: [0xf0; 32] },
        cursor: Cursor { epoch: EPOCH, view: VIEW, seq: Seq(39) },
        last_number: 3,
        last_hash: TxHash::of(b"the third transaction"),
        confirmed: 0,
        capabilities: vec!["example".into()],
    };
    let mut client = ClientSession::new(ClientConfig::default(), login, Duration::ZERO);
    let hello = Message::Hello(Hello { versions: vec![1], nonce: *nonce, server_time_ms: 0 });
    client.handle_frame(hello.encode(), Duration::ZERO);
    Message::decode(client.poll_message().unwrap(), 1 << 20).unwrap()
}

fn accepted(first: &Bytes) -> LoginAccepted {
    LoginAccepted {
        session: 17,
        server_time_ms: 1_700_000_000_250,
        decided_number: 1,
        decided_hash: TxHash::of(first),
        decided_seq: Seq(42),
        refusals: vec![Verdict {
            number: 1,
            outcome: Outcome::Refused {
                code: Code::NotUnique,
                op: None,
                message: "another Task has this title; choose another one".into(),
            },
        }],
        epoch: EPOCH,
        view: VIEW,
        catch_up_from: Seq(39),
        limits: Limits::default(),
        heartbeat_ms: 30_000,
        capabilities: vec![],
    }
}

/// Transaction `number` of the client: it inserts the task with the same number.
fn tx(number: u64, title: &str) -> Bytes {
    let origin = key().peer();
    let previous = if number == 1 { TxHash::NONE } else { TxHash([number as u8; 16]) };
    let head = TxHead { origin, number, previous, hlc: (1_700_000_000_000 + number) << 16 };
    encode_tx(&head, &ops(origin, number, title)).into()
}

fn ops(origin: PeerId, counter: u64, title: &str) -> Bytes {
    let mut op = Op::new(TASK, GlobalId::new(origin, counter), 0, OpKind::Insert);
    op.cells.push(Cell::new(TITLE, PropertyType::String, Some(title.as_bytes())));
    let mut ops = OpsWriter::new(origin);
    ops.push(&op);
    ops.finish().into()
}
