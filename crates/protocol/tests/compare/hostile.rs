//! Answers and questions that nobody should send: nothing panics, nothing grows, everything ends.

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::codec::put_varint;
use reconvene_model::compare::{CompareKey, CompareRange};
use reconvene_protocol::compare::{
    CompareError, CompareMessage, CompareStep, Initiator, answer, decode_ranges, encode_ranges,
};
use reconvene_protocol::limits::{
    COMPARE_DEPTH_MAX, COMPARE_ITEMS_MAX, COMPARE_RANGE_PARTS_MAX, COMPARE_RANGES_MAX, COMPARE_RANGES_SLACK,
    MESSAGE_BYTES_MIN,
};
use reconvene_protocol::{Code, MessageError};

use crate::support::{Objects, key, set};

fn hundred() -> Objects {
    (1..=100).map(|at| (key(1, 7, at), (0, 1))).collect()
}

/// Takes steps until the machine waits for an answer; the ranges that it asks for.
fn next_question(initiator: &mut Initiator) -> Option<Vec<CompareRange>> {
    while let Some(step) = initiator.poll() {
        match step {
            CompareStep::Extra(_) => {}
            CompareStep::Send(CompareMessage::Compare(block)) if block.is_empty() => {
                return Some(vec![CompareRange::ALL]);
            }
            CompareStep::Send(CompareMessage::Compare(block)) => return Some(decode_ranges(&block).unwrap()),
            CompareStep::Send(CompareMessage::Fetch(block)) => {
                assert!(decode_ranges(&block).unwrap().len() <= COMPARE_RANGES_MAX);
                initiator.handle_fetched();
            }
            CompareStep::Send(CompareMessage::Done) => return None,
        }
    }
    panic!("the machine neither asks nor ends");
}

fn assert_violation(result: Result<(), CompareError<std::convert::Infallible>>, expected: Code) {
    match result {
        Err(CompareError::Violation { code, reason }) => assert_eq!(code, expected, "{reason}"),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_answers_are_refused_or_used(answers in vec(vec(0..20u8, 0..200), 1..20)) {
        let own = set(&hundred());
        let mut initiator = Initiator::new();
        for answer in answers {
            if next_question(&mut initiator).is_none() || initiator.handle_answers(&answer, &own).is_err() {
                break;
            }
        }
    }

    #[test]
    fn damaged_answers_are_refused_or_used(
        flips in vec((any::<prop::sample::Index>(), 1u8..), 0..3),
        end in proptest::option::of(any::<prop::sample::Index>()),
        at in 0..3usize,
    ) {
        let mut theirs = hundred();
        theirs.extend((200..700).map(|at| (key(1, 7, at), (0, 2))));
        let mut mine = theirs.clone();
        mine.retain(|key, _| key.gid.counter % 5 != 0);
        let (own, server) = (set(&mine), set(&theirs));
        let mut initiator = Initiator::new();
        let mut round = 0;
        while let Some(asked) = next_question(&mut initiator) {
            let mut block = answer(&server, &asked, MESSAGE_BYTES_MIN).unwrap();
            if round == at {
                for (at, flip) in &flips {
                    let at = at.index(block.len());
                    block[at] ^= flip;
                }
                if let Some(end) = &end {
                    block.truncate(end.index(block.len()));
                }
            }
            round += 1;
            prop_assert!(round < 1000);
            if initiator.handle_answers(&block, &own).is_err() {
                break;
            }
        }
    }

    #[test]
    fn random_questions_are_refused_or_answered(block in vec(any::<u8>(), 0..100)) {
        if let Ok(ranges) = decode_ranges(&block) {
            let answers = answer(&set(&hundred()), &ranges, MESSAGE_BYTES_MIN).unwrap();
            prop_assert!(answers.len() < MESSAGE_BYTES_MIN);
            prop_assert_eq!(decode_ranges(&encode_ranges(&ranges)), Ok(ranges));
        }
    }
}

/// The answer that parts a range in as many parts as it can, of which none is what the client has.
fn parted(range: &CompareRange, parts: u64) -> Vec<u8> {
    let mut out = vec![1];
    put_varint(&mut out, parts);
    let start = range.start.to_bytes();
    for part in 0..parts {
        if part > 0 {
            // Whole keys, that lie close above the start.
            let low = u64::from_be_bytes(start[16..].try_into().unwrap()) + part;
            out.extend([0, 24]);
            out.extend(&start[..16]);
            out.extend(low.to_be_bytes());
        }
        put_varint(&mut out, 1);
        out.extend([0xee; 16]);
    }
    out
}

#[test]
fn a_server_that_parts_ranges_for_ever_is_given_up() {
    let objects: Objects = (0..5000).map(|at| (key(u64::MAX, at, 5), (0, 1))).collect();
    let own = set(&objects);
    let mut initiator = Initiator::new();
    let mut depth = 0;
    // The last part of a range without an end can be parted again and again.
    let refused = loop {
        let asked = next_question(&mut initiator).unwrap();
        let last = asked.last().unwrap();
        let mut block = Vec::new();
        for range in &asked[..asked.len() - 1] {
            block.extend([0, 0]);
            assert!(range.end.is_some());
        }
        block.extend(parted(last, 2));
        depth += 1;
        assert!(depth <= usize::from(COMPARE_DEPTH_MAX) + 1);
        if let Err(refused) = initiator.handle_answers(&block, &own) {
            break refused;
        }
    };
    assert_eq!(depth, usize::from(COMPARE_DEPTH_MAX) + 1);
    assert_violation(Err(refused), Code::ContentInvalid);
}

/// The answer that parts a range of counters in two halves, of which neither is what the client has; of one counter, that
/// nothing is there.
fn halved(range: &CompareRange, counters: u64) -> Vec<u8> {
    let low = if range.start == CompareKey::FIRST { 0 } else { range.start.gid.counter };
    let high = range.end.map_or(counters, |end| end.gid.counter);
    if high - low < 2 {
        return vec![0, 0];
    }
    let mut out = vec![1, 2, 1];
    out.extend([0xee; 16]);
    out.extend([0, 24]);
    out.extend(key(1, 0, low + (high - low) / 2).to_bytes());
    out.push(1);
    out.extend([0xee; 16]);
    out
}

#[test]
fn a_server_with_more_ranges_than_objects_is_given_up() {
    const COUNTERS: u64 = 100_000;
    let objects: Objects = (0..COUNTERS).map(|at| (key(1, 0, at), (0, 1))).collect();
    let own = set(&objects);
    let mut initiator = Initiator::new();
    let mut ranges = 0;
    loop {
        let asked = next_question(&mut initiator).unwrap();
        ranges += asked.len() as u64;
        let block: Vec<u8> = asked.iter().flat_map(|range| halved(range, COUNTERS)).collect();
        let result = initiator.handle_answers(&block, &own);
        // It claimed two objects at the beginning.
        if ranges > 1 + 2 + COMPARE_RANGES_SLACK {
            assert_violation(result, Code::OrderViolated);
            break;
        }
        result.unwrap();
    }
}

#[test]
fn answers_out_of_place_are_refused() {
    let own = set(&hundred());
    let mut initiator = Initiator::new();
    assert_violation(initiator.handle_answers(&[0, 0], &own), Code::KindUnexpected);
    let asked = || {
        let mut initiator = Initiator::new();
        next_question(&mut initiator).unwrap();
        initiator
    };
    assert_violation(asked().handle_answers(&[], &own), Code::ContentInvalid);
    assert_violation(asked().handle_answers(&[0, 0, 0, 0], &own), Code::ContentInvalid);
    assert_violation(asked().handle_answers(&[0, COMPARE_ITEMS_MAX as u8 + 1], &own), Code::ContentInvalid);
    let too_many = parted(&CompareRange::ALL, COMPARE_RANGE_PARTS_MAX as u64 + 1);
    assert_violation(asked().handle_answers(&too_many, &own), Code::ContentInvalid);
}

#[test]
fn a_question_is_answered_within_a_message_of_any_size() {
    let objects: Objects =
        (0..200_000u64).map(|at| (key(at << 40, at << 50 | at, at << 33), (0, 1))).collect();
    let server = set(&objects);
    let keys: Vec<CompareKey> = objects.keys().copied().step_by(100).collect();
    let ranges: Vec<CompareRange> = keys
        .windows(2)
        .take(COMPARE_RANGES_MAX)
        .map(|pair| CompareRange::new(pair[0], Some(pair[1])))
        .collect();
    assert!(encode_ranges(&ranges).len() + 128 <= MESSAGE_BYTES_MIN);
    for asked in [&[CompareRange::ALL][..], &ranges[..], &ranges[..100]] {
        let block = answer(&server, asked, MESSAGE_BYTES_MIN).unwrap();
        assert!(!block.is_empty() && block.len() + 128 <= MESSAGE_BYTES_MIN, "{}", block.len());
    }
    assert!(answer(&server, &[], MESSAGE_BYTES_MIN).unwrap().is_empty());
}

#[test]
fn a_compare_of_a_newer_kind_is_an_unknown_kind() {
    let frame = bytes::Bytes::from_static(&[0, 0xfa, 0x01, 0]);
    assert_eq!(reconvene_protocol::Message::decode(frame, 100), Err(MessageError::UnknownKind { kind: 31 }));
}
