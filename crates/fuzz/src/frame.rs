//! Frames as they come from a socket, and messages as they go onto one.

use bytes::Bytes;
use reconvene_model::compare::CompareRange;
use reconvene_model::{PeerId, Seq, TxHash};
use reconvene_protocol::compare::{decode_ranges, encode_ranges};
use reconvene_protocol::frame::FORMAT_PLAIN;
use reconvene_protocol::limits::{
    CAPABILITIES_MAX, CAPABILITY_BYTES_MAX, COMPARE_RANGES_MAX, CREDENTIALS_MAX, LOST_OPS_MAX, NUMBER_MAX,
    PUSH_TXS_MAX, TEXT_BYTES_MAX, UPLOAD_TXS_MAX, VERDICTS_MAX, VERSIONS_MAX,
};
use reconvene_protocol::message::{CompareBegun, Hello};
use reconvene_protocol::{
    Code, CredentialProof, Cursor, Limits, Login, LoginAccepted, LostOp, Message, MessageError, Outcome,
    PushedContent, PushedTx, SchemaHashes, Verdict,
};

use crate::memory;
use crate::script::Script;

/// How much a message may take in memory for each byte on the wire: an empty part of a list takes two bytes there.
const MEMORY_FACTOR: usize = 128;

/// The longest error text about a frame, in bytes: it travels in a farewell.
const ERROR_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// Kinds of the envelope that this release knows, and one more.
const KINDS_END: usize = 24;

/// Any bytes as one frame.
pub fn frame(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let read = memory::bounded("a message", bytes.len(), MEMORY_FACTOR, || {
        Message::decode(frame.clone(), bytes.len())
    });
    match read {
        Ok(message) => {
            check_bounds(&message);
            check_slices(&message, &frame);
            assert_eq!(
                Message::decode(message.encode(), usize::MAX).as_ref(),
                Ok(&message),
                "a message that was read is written and read as the same"
            );
        }
        Err(error) => check_error(&error),
    }
    if let Some(short) = bytes.len().checked_sub(1) {
        let too_long = MessageError::TooLong { length: bytes.len(), max: short };
        assert_eq!(Message::decode(frame, short), Err(too_long));
    }
}

/// Any bytes as the ranges of a compare.
pub fn ranges(bytes: &[u8]) {
    let read = memory::bounded("ranges", bytes.len(), MEMORY_FACTOR, || decode_ranges(bytes));
    let Ok(ranges) = read else { return };
    assert!((1..=COMPARE_RANGES_MAX).contains(&ranges.len()));
    assert!(ranges.iter().all(|range| !range.is_empty() && range.contains(range.start)));
    let follows = |one: &CompareRange, next: &CompareRange| one.end.is_some_and(|end| end <= next.start);
    assert!(ranges.windows(2).all(|pair| follows(&pair[0], &pair[1])));
    assert_eq!(decode_ranges(&encode_ranges(&ranges)).as_ref(), Ok(&ranges));
}

/// A message made of choices, then the rest of the input as the content of a message of any kind.
pub fn message(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let message = any_message(&mut script);
    let encoded = message.encode();
    assert_eq!(Message::decode(encoded.clone(), encoded.len()).as_ref(), Ok(&message));

    let mut bent = encoded.to_vec();
    let at = usize::try_from(script.number()).unwrap_or(usize::MAX) % bent.len();
    match script.below(3) {
        0 => bent.truncate(at),
        1 => bent[at] ^= script.byte().max(1),
        _ => {
            bent.splice(at..at, script.bytes().iter().copied());
        }
    }
    frame(&bent);

    let kind = script.below(KINDS_END) as u8;
    let content = script.rest();
    let mut raw = vec![FORMAT_PLAIN];
    prost::encoding::encode_varint(u64::from(kind) << 3 | 2, &mut raw);
    prost::encoding::encode_varint(content.len() as u64, &mut raw);
    raw.extend_from_slice(content);
    frame(&raw);
}

/// A message that a peer of this release could send.
pub fn any_message(script: &mut Script<'_>) -> Message {
    match script.below(18) {
        0 => Message::Ping(script.number()),
        1 => Message::Upload((0..=script.below(3)).map(|_| block(script)).collect()),
        2 => Message::Confirm(count(script)),
        3 => Message::Verdicts((0..=script.below(3)).map(|_| verdict(script)).collect()),
        4 => Message::CatchUp { states: block(script), upto_seq: Seq(number(script)), resume: Bytes::new() },
        5 => Message::CatchUpDone(Seq(number(script))),
        6 => Message::Push((0..script.below(4)).map(|_| pushed(script)).collect()),
        7 => Message::Pong(script.number()),
        8 => Message::Bye { code: code(script), reason: text(script) },
        9 => Message::Hello(hello(script)),
        10 => Message::Login(Box::new(login(script))),
        11 => Message::LoginAccepted(Box::new(accepted(script))),
        12 => Message::LoginRefused { code: code(script), message: text(script) },
        13 => Message::Compare(block(script)),
        14 => Message::Compared {
            begun: script.flag().then(|| CompareBegun { seq: Seq(number(script)), salt: script.array() }),
            answers: block(script),
        },
        15 => Message::Fetch(block(script)),
        16 => Message::Fetched { states: block(script), last: script.flag() },
        _ => Message::CompareDone,
    }
}

/// A greeting.
pub fn hello(script: &mut Script<'_>) -> Hello {
    Hello {
        versions: (0..script.below(VERSIONS_MAX + 1)).map(|_| script.number() as u32).collect(),
        nonce: script.array(),
        server_time_ms: number(script),
    }
}

/// A request for a session, with a signature that most likely is none.
pub fn login(script: &mut Script<'_>) -> Login {
    let last_number = number(script);
    Login {
        version: script.number() as u32,
        public_key: script.array(),
        signature: script.array(),
        credentials: (0..script.below(CREDENTIALS_MAX + 1)).map(|_| proof(script)).collect(),
        schema: SchemaHashes { base: script.array(), full: script.array() },
        cursor: Cursor { epoch: script.number(), view: script.number(), seq: Seq(number(script)) },
        last_number,
        last_hash: TxHash(script.array()),
        confirmed: script.number_in(0, last_number),
        capabilities: capabilities(script),
        compare: false,
        confirmed_hash: TxHash::NONE,
        catching_up: false,
        resume: Bytes::new(),
    }
}

/// An answer to a login.
pub fn accepted(script: &mut Script<'_>) -> LoginAccepted {
    let mut accepted = accepted_without_chain(script);
    accepted.chain = vec![accepted.decided_hash; (accepted.session % 3) as usize];
    accepted
}

fn accepted_without_chain(script: &mut Script<'_>) -> LoginAccepted {
    LoginAccepted {
        session: script.number(),
        server_time_ms: number(script),
        decided_number: number(script),
        decided_hash: TxHash(script.array()),
        decided_seq: Seq(number(script)),
        refusals: (0..script.below(4)).map(|_| verdict(script)).collect(),
        epoch: script.number().max(1),
        view: script.number(),
        catch_up_from: Seq(number(script)),
        limits: Limits {
            message_bytes_max: limit(script),
            upload_window_txs: limit(script),
            upload_window_bytes: limit(script),
        },
        heartbeat_ms: count(script),
        capabilities: capabilities(script),
        compare: false,
        continues: 0,
        chain: Vec::new(),
        rebased: None,
    }
}

/// A decision.
pub fn verdict(script: &mut Script<'_>) -> Verdict {
    let outcome = match script.below(3) {
        0 => Outcome::Accepted { seq: Seq(count(script)), lost: lost(script) },
        1 => Outcome::Refused {
            code: code(script),
            op: script.flag().then(|| script.number() as u32),
            message: text(script),
        },
        _ => Outcome::Superseded { ops: lost(script) },
    };
    Verdict { number: count(script), outcome }
}

fn lost(script: &mut Script<'_>) -> Vec<LostOp> {
    let lost = |script: &mut Script<'_>| LostOp {
        op: script.number() as u32,
        code: code(script),
        generation: script.number(),
    };
    (0..script.below(4)).map(|_| lost(script)).collect()
}

fn pushed(script: &mut Script<'_>) -> PushedTx {
    let content = if script.flag() {
        PushedContent::Whole {
            origin: PeerId(script.number().max(1)),
            number: count(script),
            hlc: script.number(),
            ops: block(script),
        }
    } else {
        PushedContent::Own { number: count(script) }
    };
    PushedTx { seq: Seq(count(script)), content }
}

fn proof(script: &mut Script<'_>) -> CredentialProof {
    match script.below(3) {
        0 => CredentialProof::None,
        1 => CredentialProof::SharedSecret(script.array()),
        _ => CredentialProof::Unknown,
    }
}

fn capabilities(script: &mut Script<'_>) -> Vec<String> {
    let name = |script: &mut Script<'_>| {
        let text = script.text();
        let name = &text[..text.floor_char_boundary(CAPABILITY_BYTES_MAX)];
        if name.is_empty() { "x".to_owned() } else { name.to_owned() }
    };
    (0..script.below(4)).map(|_| name(script)).collect()
}

fn code(script: &mut Script<'_>) -> Code {
    match script.byte() {
        0xff => Code::from_number(script.number() as u32),
        at => Code::ALL[usize::from(at) % Code::ALL.len()],
    }
}

fn text(script: &mut Script<'_>) -> String {
    let mut text = script.text();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

fn block(script: &mut Script<'_>) -> Bytes {
    Bytes::copy_from_slice(script.bytes())
}

/// A number that may be 0.
pub fn number(script: &mut Script<'_>) -> u64 {
    script.number_in(0, NUMBER_MAX)
}

/// A number from 1.
pub fn count(script: &mut Script<'_>) -> u64 {
    script.number_in(1, NUMBER_MAX)
}

fn limit(script: &mut Script<'_>) -> usize {
    usize::try_from(script.number().max(1)).unwrap_or(usize::MAX)
}

/// What the documentation of messages promises of every one that a reader hands out.
fn check_bounds(message: &Message) {
    match message {
        Message::Hello(hello) => {
            assert!(hello.versions.len() <= VERSIONS_MAX && hello.server_time_ms <= NUMBER_MAX);
        }
        Message::Login(login) => {
            assert!(login.credentials.len() <= CREDENTIALS_MAX);
            assert!(login.last_number <= NUMBER_MAX && login.confirmed <= login.last_number);
            assert!(login.cursor.seq.0 <= NUMBER_MAX);
            check_capabilities(&login.capabilities);
        }
        Message::LoginAccepted(accepted) => {
            assert!(accepted.refusals.len() <= VERDICTS_MAX && accepted.epoch != 0);
            accepted.refusals.iter().for_each(check_verdict);
            for number in [accepted.decided_number, accepted.decided_seq.0, accepted.catch_up_from.0] {
                assert!(number <= NUMBER_MAX);
            }
            assert!(accepted.server_time_ms <= NUMBER_MAX);
            assert!((1..=NUMBER_MAX).contains(&accepted.heartbeat_ms));
            let limits = &accepted.limits;
            assert!(limits.message_bytes_max >= 1 && limits.upload_window_txs >= 1);
            assert!(limits.upload_window_bytes >= 1);
            check_capabilities(&accepted.capabilities);
        }
        Message::LoginRefused { message: text, .. } | Message::Bye { reason: text, .. } => {
            assert!(text.len() <= TEXT_BYTES_MAX);
        }
        Message::Upload(txs) => assert!((1..=UPLOAD_TXS_MAX).contains(&txs.len())),
        Message::Verdicts(verdicts) => {
            assert!((1..=VERDICTS_MAX).contains(&verdicts.len()));
            verdicts.iter().for_each(check_verdict);
        }
        Message::Confirm(number) => assert!((1..=NUMBER_MAX).contains(number)),
        Message::CatchUp { upto_seq: seq, .. } | Message::CatchUpDone(seq) => assert!(seq.0 <= NUMBER_MAX),
        Message::Compared { begun, .. } => {
            assert!(begun.is_none_or(|begun| begun.seq.0 <= NUMBER_MAX));
        }
        Message::Push(txs) => {
            assert!(txs.len() <= PUSH_TXS_MAX);
            txs.iter().for_each(check_pushed);
        }
        _ => {}
    }
}

fn check_capabilities(names: &[String]) {
    assert!(names.len() <= CAPABILITIES_MAX);
    assert!(names.iter().all(|name| (1..=CAPABILITY_BYTES_MAX).contains(&name.len())));
}

fn check_verdict(verdict: &Verdict) {
    assert!((1..=NUMBER_MAX).contains(&verdict.number));
    match &verdict.outcome {
        Outcome::Accepted { seq, lost } => {
            assert!((1..=NUMBER_MAX).contains(&seq.0) && lost.len() <= LOST_OPS_MAX);
        }
        Outcome::Refused { message, .. } => assert!(message.len() <= TEXT_BYTES_MAX),
        Outcome::Superseded { ops } => assert!(ops.len() <= LOST_OPS_MAX),
    }
}

fn check_pushed(tx: &PushedTx) {
    assert!((1..=NUMBER_MAX).contains(&tx.seq.0));
    match &tx.content {
        PushedContent::Own { number } => assert!((1..=NUMBER_MAX).contains(number)),
        PushedContent::Whole { origin, number, .. } => {
            assert!(*origin != PeerId::SHARED && (1..=NUMBER_MAX).contains(number));
        }
    }
}

/// Blocks are slices of the frame: a message that was read holds no second copy of them.
fn check_slices(message: &Message, frame: &Bytes) {
    let within = |block: &Bytes| {
        let range = frame.as_ptr_range();
        assert!(block.is_empty() || range.contains(&block.as_ptr()), "a block was copied out of its frame");
    };
    match message {
        Message::Upload(txs) => txs.iter().for_each(within),
        Message::CatchUp { states: block, .. }
        | Message::Fetched { states: block, .. }
        | Message::Compare(block)
        | Message::Fetch(block)
        | Message::Compared { answers: block, .. } => within(block),
        Message::Push(txs) => txs.iter().for_each(|tx| {
            if let PushedContent::Whole { ops, .. } = &tx.content {
                within(ops);
            }
        }),
        _ => {}
    }
}

fn check_error(error: &MessageError) {
    let text = error.to_string();
    assert!(text.len() <= ERROR_BYTES_MAX, "an error of {} bytes", text.len());
    let code = error.code();
    assert!(
        [Code::FrameInvalid, Code::FrameUnknown, Code::FrameTooLong, Code::KindUnknown, Code::ContentInvalid]
            .contains(&code),
        "{code} is no code for a frame"
    );
}
