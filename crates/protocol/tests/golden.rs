//! The messages under `fixtures/messages`: the same bytes for ever, in every language.
//!
//! They are one short conversation that `fixtures/messages/README.md` tells. With `RECONVENE_BLESS` set in the environment
//! the files are written instead of compared.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::change::{Cell, Op, OpKind, OpsWriter, TxHead, encode_tx};
use reconvene_model::compare::{
    CompareKey, CompareRange, Fingerprinter, SALT_BYTES, Slice, SliceHasher, SliceOutcome, SortedItems,
    SortedItemsBuilder,
};
use reconvene_model::identity::PeerKey;
use reconvene_model::state::{ObjectState, Register, StateEntry, StatesWriter};
use reconvene_model::{GlobalId, PeerId, PropertyType, Seq, Stamp, TxHash, Uid};
use reconvene_protocol::compare::{CompareMessage, CompareStep, Initiator, encode_ranges};
use reconvene_protocol::message::{CompareBegun, Hello};
use reconvene_protocol::{
    ClientConfig, ClientEvent, ClientLogin, ClientSession, Code, Credential, Cursor, Limits, LoginAccepted,
    LoginAnswer, LostOp, Message, MessageError, Nonce, Outcome, PushFrame, PushedContent, PushedTx,
    SchemaHashes, Secret, ServerConfig, ServerEvent, ServerSession, Verdict, compare,
};

const START: Duration = Duration::ZERO;
const EPOCH: u64 = 0x0102_0304_0506_0708;
const VIEW: u64 = 0x1112_1314_1516_1718;
const SECRET: &str = "open sesame";
const BEN: PeerId = PeerId(0x2122_2324_2526_2728);
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

/// The frames of the conversation by their first two digits.
fn frame(number: &str) -> Bytes {
    let (_, message) =
        conversation().into_iter().find(|(name, _)| name.starts_with(number)).expect("such a message");
    message.encode()
}

#[test]
fn a_client_that_hears_the_server_says_these_bytes() {
    let mut client = client();
    let mut events = Vec::new();
    let hear = |client: &mut ClientSession, events: &mut Vec<ClientEvent>, number| {
        client.handle_frame(frame(number), START);
        while let Some(event) = client.poll_event() {
            if let ClientEvent::SendTxs { from, .. } = event {
                let txs = (1..).zip(txs()).filter(|(number, _)| *number >= from).collect();
                client.handle_txs(txs).unwrap();
            } else {
                events.push(event);
            }
        }
    };
    hear(&mut client, &mut events, "01");
    assert_eq!(client.poll_message(), Some(frame("02")));
    for number in ["03", "04", "05", "06", "07"] {
        hear(&mut client, &mut events, number);
    }
    assert!(matches!(
        events.as_slice(),
        [
            ClientEvent::LoggedIn(_),
            ClientEvent::CatchUp { upto_seq: Seq(40), .. },
            ClientEvent::CatchUp { upto_seq: Seq(40), .. },
            ClientEvent::CatchUp { upto_seq: Seq(42), .. },
            ClientEvent::CatchUpDone(Seq(42)),
        ]
    ));
    assert_eq!(client.poll_message(), Some(frame("08")));
    hear(&mut client, &mut events, "09");
    client.handle_durable(3);
    assert_eq!(client.poll_message(), Some(frame("10")));
    hear(&mut client, &mut events, "11");
    assert_eq!(events[5..], [ClientEvent::Verdicts(verdicts()), ClientEvent::Pushed(pushed())]);
    hear(&mut client, &mut events, "13");
    assert_eq!(client.poll_message(), Some(frame("14")));
    hear(&mut client, &mut events, "15");
    assert!(matches!(events.last(), Some(ClientEvent::Closed(closed)) if closed.code == Code::GoingAway));
}

#[test]
fn a_server_that_hears_the_client_says_these_bytes() {
    let mut server = ServerSession::new(ServerConfig::default(), nonce(), 1_700_000_000_000, START);
    assert_eq!(server.poll_message(), Some(frame("01")));
    server.handle_frame(frame("02"), START);
    let Some(ServerEvent::LoginRequested(request)) = server.poll_event() else { panic!("a login") };
    assert_eq!(request.peer, ada().peer());
    assert!(request.verify_secret(&Secret::new(SECRET)));
    server.accept_login(answer(), START);
    for (chunk, upto, resume) in CHUNKS {
        server.send_catch_up_within(states(chunk), Seq(upto), resume.into()).unwrap();
    }
    server.send_catch_up_done(Seq(42)).unwrap();
    for number in ["03", "04", "05", "06", "07"] {
        assert_eq!(server.poll_message(), Some(frame(number)), "{number}");
    }
    server.handle_frame(frame("08"), START);
    let Some(ServerEvent::Uploaded(uploaded)) = server.poll_event() else { panic!("an upload") };
    assert!(uploaded.iter().map(|tx| &tx.bytes).eq(&txs()[1..]));
    assert_eq!(uploaded[0].head.previous, answer().decided_hash);
    server.send_verdicts(verdicts()).unwrap();
    assert_eq!(server.poll_message(), Some(frame("09")));
    server.handle_frame(frame("10"), START);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Confirmed(3))));
    for push in PushFrame::encode(pushed(), 1 << 20) {
        server.send_push(&push).unwrap();
    }
    assert_eq!(server.poll_message(), Some(frame("11")));
    server.drain();
    assert_eq!(server.poll_message(), Some(frame("15")));
}

#[test]
fn every_kind_has_a_golden_message() {
    let mut names: Vec<_> = conversation().iter().map(|(_, message)| message.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 20, "{names:?}");
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

/// Under a heading with the name of a file, a block of text spells its bytes in hexadecimal, with a remark after each line.
#[test]
fn the_readme_spells_files_right() {
    let readme = fs::read_to_string(directory().join("README.md")).unwrap();
    let mut spelled = 0;
    for section in readme.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap_or_default();
        let Some(name) = heading.strip_suffix(", read aloud") else { continue };
        let block = section.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let bytes: Vec<u8> = block
            .lines()
            .flat_map(|line| line.split("   ").next().unwrap().split_whitespace())
            .map(|byte| {
                u8::from_str_radix(byte, 16).unwrap_or_else(|error| panic!("{name}: {byte}: {error}"))
            })
            .collect();
        assert_eq!(bytes, fs::read(directory().join(name)).unwrap(), "{name}");
        spelled += 1;
    }
    assert!(spelled >= 3, "{spelled} files are read aloud");
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
    let txs = txs();
    let answer = answer();
    let catch_up = |(chunk, upto, resume): (&[Task], u64, &'static str)| Message::CatchUp {
        states: states(chunk),
        upto_seq: Seq(upto),
        resume: resume.into(),
    };
    let lost = |generation| vec![LostOp { op: 0, code: Code::ObjectRemoved, generation }];
    vec![
        (
            "01-hello",
            Message::Hello(Hello { versions: vec![1], nonce: nonce(), server_time_ms: 1_700_000_000_000 }),
        ),
        ("02-login", login()),
        (
            "03-login-accepted",
            Message::LoginAccepted(Box::new(LoginAccepted {
                session: answer.session,
                server_time_ms: answer.server_time_ms,
                decided_number: answer.decided_number,
                decided_hash: answer.decided_hash,
                decided_seq: answer.decided_seq,
                refusals: answer.refusals,
                epoch: answer.epoch,
                view: answer.view,
                catch_up_from: answer.catch_up_from,
                limits: Limits::default(),
                heartbeat_ms: 30_000,
                capabilities: vec![],
                compare: false,
                continues: 0,
                chain: answer.chain,
                rebased: None,
            })),
        ),
        ("04-catch-up", catch_up(CHUNKS[0])),
        ("05-catch-up-within-a-seq", catch_up(CHUNKS[1])),
        ("06-catch-up-to-the-head", catch_up(CHUNKS[2])),
        ("07-catch-up-done", Message::CatchUpDone(Seq(42))),
        ("08-upload", Message::Upload(txs[1..].to_vec())),
        ("09-verdicts", Message::Verdicts(verdicts())),
        ("10-confirm", Message::Confirm(3)),
        ("11-push", Message::Push(pushed())),
        (
            "12-verdicts-with-losses",
            Message::Verdicts(vec![
                Verdict { number: 4, outcome: Outcome::Accepted { seq: Seq(45), lost: lost(1) } },
                Verdict { number: 5, outcome: Outcome::Superseded { ops: lost(300) } },
            ]),
        ),
        ("13-ping", Message::Ping(1)),
        ("14-pong", Message::Pong(1)),
        (
            "15-bye",
            Message::Bye {
                code: Code::GoingAway,
                reason: "the server shuts down or restarts; connect again".into(),
            },
        ),
        (
            "16-login-refused",
            Message::LoginRefused {
                code: Code::SecretWrong,
                message: "the shared secret is not the server's; check it".into(),
            },
        ),
        ("17-compare-begin", Message::Compare(Bytes::new())),
        ("18-compared-begin", compared(Some(BEGUN), &[CompareRange::ALL])),
        ("19-compare", Message::Compare(encode_ranges(&different()).into())),
        ("20-compared", compared(None, &different())),
        (
            "21-fetch",
            Message::Fetch(encode_ranges(&[6, 20].map(|counter| CompareRange::of(ben(counter)))).into()),
        ),
        (
            "22-fetched",
            Message::Fetched { states: states(&[(20, 20, "mulch"), (50, 6, "prune")]), last: true },
        ),
        ("23-compare-done", Message::CompareDone),
        ("24-login-to-a-restored-server", login_to_a_restored_server()),
        ("25-login-accepted-after-a-restore", accepted_after_a_restore()),
        ("26-probe", Message::Probe(slice())),
        ("27-probed", Message::Probed(SliceOutcome::Differs)),
    ]
}

/// Ada holds the verdict on her first transaction, and was in the middle of a catch-up, within Seq 41.
fn login_to_a_restored_server() -> Message {
    let Message::Login(mut login) = login() else { panic!("a login") };
    (login.confirmed, login.confirmed_hash) = (1, TxHash::of(&txs()[0]));
    login.capabilities = vec!["compare".into()];
    login.catching_up = true;
    login.resume = "41/3".into();
    Message::Login(login)
}

/// The server knows none of Ada's transactions any more, and goes on from her number.
fn accepted_after_a_restore() -> Message {
    let answer = answer();
    Message::LoginAccepted(Box::new(LoginAccepted {
        session: 18,
        server_time_ms: answer.server_time_ms,
        decided_number: 1,
        decided_hash: TxHash::of(&txs()[0]),
        decided_seq: Seq(30),
        refusals: vec![],
        epoch: EPOCH + 1,
        view: answer.view,
        catch_up_from: Seq(0),
        limits: Limits::default(),
        heartbeat_ms: 30_000,
        capabilities: vec!["compare".into()],
        compare: true,
        continues: 0,
        rebased: Some(0),
        chain: vec![],
    }))
}

const BEGUN: CompareBegun = CompareBegun { seq: Seq(60), salt: [0x5a; SALT_BYTES] };

fn ben(counter: u64) -> CompareKey {
    CompareKey::new(TASK, GlobalId::new(BEN, counter))
}

/// Ben's task 4 "water" alone, as Ada got it by the catch-up, in the range from task 4 to the end of the tasks.
fn slice() -> Slice {
    let stamp = Stamp::new((1_700_000_000_000 + 41) << 16, BEN);
    let cell = Some(b"water".as_slice().into());
    let register = Register { uid: TITLE, ty: PropertyType::String as u8, stamp, cell };
    let state = ObjectState { generation: 0, exists: true, registers: vec![register] };
    let mut hasher = SliceHasher::new(true);
    hasher.object(ben(4), &state, |_, _| true);
    let end = CompareKey::new(Uid(TASK.0 + 1), GlobalId::default());
    let range = CompareRange::new(ben(4), Some(end));
    Slice { seq: Seq(42), range, objects: hasher.objects(), hash: hasher.finish(), values: true }
}

/// Ben's tasks as a set, each written at its clock reading.
fn tasks(tasks: impl Iterator<Item = (u64, u64)>) -> SortedItems {
    let mut fingerprints = Fingerprinter::new(&BEGUN.salt);
    let mut builder = SortedItemsBuilder::default();
    for (counter, seq) in tasks {
        let stamp = Stamp::new((1_700_000_000_000 + seq) << 16, BEN);
        builder.push(ben(counter), fingerprints.object(ben(counter), 0, [(TITLE, stamp)]));
    }
    builder.finish().unwrap()
}

/// The server has twenty tasks of Ben, of which he changed the sixth at 50.
fn server_tasks() -> SortedItems {
    tasks((1..=20).map(|counter| (counter, if counter == 6 { 50 } else { counter })))
}

/// Ada has nineteen of them, the sixth as it was, and one that the server has not.
fn ada_tasks() -> SortedItems {
    tasks((1..=19).map(|counter| (counter, counter)).chain([(21, 21)]))
}

fn compared(begun: Option<CompareBegun>, ranges: &[CompareRange]) -> Message {
    let answers = compare::answer(&server_tasks(), ranges, 1 << 20).unwrap();
    Message::Compared { begun, answers: answers.into() }
}

/// The two of the server's five parts in which Ada has something else.
fn different() -> [CompareRange; 2] {
    [CompareRange::new(ben(5), Some(ben(9))), CompareRange::new(ben(17), None)]
}

#[test]
fn a_client_that_compares_says_these_bytes() {
    let mut initiator = Initiator::new();
    let block = |step| match step {
        Some(CompareStep::Send(CompareMessage::Compare(block))) => Message::Compare(block).encode(),
        Some(CompareStep::Send(CompareMessage::Fetch(block))) => Message::Fetch(block).encode(),
        Some(CompareStep::Send(CompareMessage::Done)) => Message::CompareDone.encode(),
        step => panic!("{step:?}"),
    };
    let answers = |number| match Message::decode(frame(number), 1 << 20).unwrap() {
        Message::Compared { answers, .. } => answers,
        message => panic!("{message:?}"),
    };
    assert_eq!(block(initiator.poll()), frame("17"));
    initiator.handle_answers(&answers("18"), &ada_tasks()).unwrap();
    assert_eq!(block(initiator.poll()), frame("19"));
    initiator.handle_answers(&answers("20"), &ada_tasks()).unwrap();
    assert_eq!(initiator.poll(), Some(CompareStep::Extra(CompareRange::new(ben(21), None))));
    assert_eq!(block(initiator.poll()), frame("21"));
    initiator.handle_fetched();
    assert_eq!(block(initiator.poll()), frame("23"));
}

/// Seq, counter and title of one of Ben's tasks.
type Task = (u64, u64, &'static str);

/// What catches Ada up, the Seq that is complete with each chunk, and where within the next one it ended, in words of the server's.
const CHUNKS: [(&[Task], u64, &str); 3] = [
    (&[(40, 1, "rake leaves"), (41, 2, "dig")], 40, "41/2"),
    (&[(41, 3, "sow")], 40, "41/3"),
    (&[(41, 4, "water")], 42, ""),
];

fn nonce() -> Nonce {
    std::array::from_fn(|at| at as u8)
}

fn ada() -> PeerKey {
    PeerKey::from_secret([7; 32])
}

fn client() -> ClientSession {
    let login = ClientLogin {
        key: ada(),
        credentials: vec![Credential::None, Credential::SharedSecret(Secret::new(SECRET))],
        schema: SchemaHashes { base: [0xb0; 32], full: [0xf0; 32] },
        cursor: Cursor { epoch: EPOCH, view: VIEW, seq: Seq(39) },
        last_number: 3,
        last_hash: TxHash::of(&txs()[2]),
        confirmed: 0,
        capabilities: vec!["example".into()],
        compare: false,
        confirmed_hash: TxHash::NONE,
        catching_up: false,
        resume: Bytes::new(),
    };
    ClientSession::new(ClientConfig::default(), login, START)
}

/// What a client with these secrets answers, so that signature and proof are golden too.
fn login() -> Message {
    let mut client = client();
    let hello = Message::Hello(Hello { versions: vec![1], nonce: nonce(), server_time_ms: 0 });
    client.handle_frame(hello.encode(), START);
    Message::decode(client.poll_message().unwrap(), 1 << 20).unwrap()
}

fn answer() -> LoginAnswer {
    LoginAnswer {
        session: 17,
        server_time_ms: 1_700_000_000_250,
        decided_number: 1,
        decided_hash: TxHash::of(&txs()[0]),
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
        capabilities: vec![],
        compare: false,
        continues: 0,
        chain: vec![TxHash::of(&txs()[0])],
        rebased: None,
    }
}

fn verdicts() -> Vec<Verdict> {
    let refused =
        Outcome::Refused { code: Code::NotPermitted, op: Some(0), message: "you may not write Task".into() };
    vec![
        Verdict { number: 2, outcome: Outcome::Accepted { seq: Seq(43), lost: vec![] } },
        Verdict { number: 3, outcome: refused },
    ]
}

fn pushed() -> Vec<PushedTx> {
    let whole = PushedContent::Whole {
        origin: BEN,
        number: 9,
        hlc: 1_700_000_000_000 << 16,
        ops: ops(BEN, 12, "walk dog"),
    };
    vec![
        PushedTx { seq: Seq(43), content: PushedContent::Own { number: 2 } },
        PushedTx { seq: Seq(44), content: whole },
    ]
}

/// Ada's transactions, in a chain; each inserts the task with the same number.
fn txs() -> Vec<Bytes> {
    let origin = ada().peer();
    let mut txs: Vec<Bytes> = Vec::new();
    for (number, title) in (1..).zip(["buy milk", "feed cat", "a title that is not allowed"]) {
        let previous = txs.last().map_or(TxHash::NONE, |tx| TxHash::of(tx));
        let head = TxHead { origin, number, previous, hlc: (1_700_000_000_000 + number) << 16 };
        txs.push(encode_tx(&head, &ops(origin, number, title)).into());
    }
    txs
}

fn ops(origin: PeerId, counter: u64, title: &str) -> Bytes {
    let mut op = Op::new(TASK, GlobalId::new(origin, counter), 0, OpKind::Insert);
    op.cells.push(Cell::new(TITLE, PropertyType::String, Some(title.as_bytes())));
    let mut ops = OpsWriter::new(origin);
    ops.push(&op);
    ops.finish().into()
}

fn states(tasks: &[Task]) -> Bytes {
    let mut states = StatesWriter::new();
    for (seq, counter, title) in tasks {
        let cell = Cell::new(TITLE, PropertyType::String, Some(title.as_bytes()));
        let stamp = Stamp::new((1_700_000_000_000 + seq) << 16, BEN);
        let registers = Register::written(&cell, stamp).into_iter().collect();
        let state = ObjectState { generation: 0, exists: true, registers };
        states.push(&StateEntry { entity: TASK, gid: GlobalId::new(BEN, *counter), seq: Seq(*seq), state });
    }
    states.finish().into()
}
