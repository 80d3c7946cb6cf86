//! Bytes that a stranger may send and no writer makes, each refused for its reason.

use reconvene_model::change::{OPS_MAX, OpsReader, PEERS_MAX, SHAPES_MAX, check_cell, decode_tx};
use reconvene_model::codec::DecodeError;
use reconvene_model::schema::PROPERTIES_MAX;
use reconvene_model::state::{STATES_MAX, StatesReader};
use reconvene_model::{PeerId, PropertyType};

use crate::histories::A;

const STRING: u8 = PropertyType::String as u8;
const BOOL: u8 = PropertyType::Bool as u8;
const RELATION: u8 = PropertyType::Relation as u8;

/// Bytes put together by hand, so that they do not depend on the writer.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// The tables of a block with one shape of entity 1 and with these peers.
    fn tables(properties: &[(u64, u8)], peers: &[u64]) -> Self {
        let mut bytes = Bytes(vec![1]).u64(1).raw(&[properties.len() as u8]);
        for &(uid, ty) in properties {
            bytes = bytes.u64(uid).raw(&[ty]);
        }
        bytes = bytes.raw(&[peers.len() as u8]);
        peers.iter().fold(bytes, |bytes, &peer| bytes.u64(peer))
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    #[track_caller]
    fn are_good_ops(&self, len: usize) {
        assert_eq!(OpsReader::check(A, &self.0), Ok(len));
    }

    #[track_caller]
    fn are_bad_ops(&self, reason: &str) {
        is_refused(OpsReader::check(A, &self.0), reason);
    }

    #[track_caller]
    fn are_good_states(&self, len: usize) {
        assert_eq!(StatesReader::check(&self.0), Ok(len));
    }

    #[track_caller]
    fn are_bad_states(&self, reason: &str) {
        is_refused(StatesReader::check(&self.0), reason);
    }
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(result: Result<T, DecodeError>, reason: &str) {
    match result {
        Err(DecodeError::Invalid { what }) => {
            assert!(what.contains(reason), "refused for another reason: {what}")
        }
        other => panic!("not refused as invalid: {other:?}"),
    }
}

#[track_caller]
fn is_too_long<T: std::fmt::Debug>(result: Result<T, DecodeError>, expected: usize) {
    assert!(
        matches!(result, Err(DecodeError::TooLong { max, .. }) if max == expected as u64),
        "not refused as too long: {result:?}"
    );
}

#[test]
fn ops_with_tags_of_no_meaning() {
    let one = || Bytes::tables(&[], &[9]).raw(&[1]);
    one().raw(&[0b0000_0000, 0, 2]).are_good_ops(1);
    one().raw(&[0b0000_1010, 0, 2]).are_good_ops(1);
    one().raw(&[0b0001_0001, 0, 0, 2]).are_good_ops(1);
    one().raw(&[0b0000_0011, 0, 2]).are_bad_ops("no kind");
    one().raw(&[0b0001_1000, 0, 2]).are_bad_ops("origin of no kind");
    for bit in 5..8 {
        one().raw(&[1 << bit, 0, 2]).are_bad_ops("bits that mean nothing");
    }
}

#[test]
fn ops_that_point_nowhere() {
    let one = || Bytes::tables(&[(1, RELATION)], &[9]).raw(&[1]);
    one().raw(&[0, 0, 2, 0, 2, 7]).are_good_ops(1);
    one().raw(&[0, 1, 2, 0, 2, 7]).are_bad_ops("index of a shape");
    one().raw(&[0b1_0000, 0, 1, 2, 0, 2, 7]).are_bad_ops("reference to a peer");
    one().raw(&[0, 0, 2, 0, 3, 7]).are_bad_ops("reference to a peer");
    one().raw(&[0, 0, 2, 0]).varint(u64::MAX).raw(&[7]).are_bad_ops("reference to a peer");
}

#[test]
fn ops_with_numbers_out_of_range() {
    let one = || Bytes::tables(&[], &[]).raw(&[1]);
    one().raw(&[0b100, 0, 2, 1]).are_good_ops(1);
    one().raw(&[0b100, 0, 2]).varint(u64::MAX - 1).are_good_ops(1);
    one().raw(&[0b100, 0, 2, 0]).are_bad_ops("generation 0 is written out");
    one().raw(&[0b100, 0, 2]).varint(u64::MAX).are_bad_ops("leaves no room for a remove");
    one().raw(&[0, 0, 0]).are_bad_ops("number 0");
}

#[test]
fn shapes_that_name_nothing_or_twice() {
    Bytes::tables(&[(2, BOOL), (1, STRING)], &[9]).raw(&[0]).are_good_ops(0);
    Bytes::tables(&[(2, BOOL), (1, STRING)], &[9]).raw(&[0]).are_bad_states("does not ascend");
    Bytes::tables(&[(2, BOOL), (1, STRING), (2, BOOL)], &[]).raw(&[0]).are_bad_ops("a property twice");
    Bytes::tables(&[(0, BOOL)], &[]).raw(&[0]).are_bad_ops("uid 0");
    Bytes(vec![1]).u64(0).raw(&[0, 0, 0]).are_bad_ops("uid 0");
    Bytes::tables(&[], &[0]).raw(&[0]).are_bad_ops("names nobody");
}

#[test]
fn bytes_after_the_end() {
    Bytes::tables(&[], &[]).raw(&[0, 0]).are_bad_ops("follow the last op");
    Bytes::tables(&[], &[]).raw(&[1, 0, 0, 2, 0]).are_bad_ops("follow the last op");
    Bytes::tables(&[], &[]).raw(&[0, 0]).are_bad_states("follow the last state");
    Bytes::tables(&[], &[]).raw(&[1, 0b1000, 0, 0, 2, 0]).are_bad_states("follow the last state");
}

#[test]
fn bitmaps_with_bits_to_spare() {
    let one = || Bytes::tables(&[(1, BOOL)], &[]).raw(&[1, 0, 0, 2]);
    one().raw(&[0, 1]).are_good_ops(1);
    one().raw(&[1]).are_good_ops(1);
    one().raw(&[0b11]).are_bad_ops("bits without a cell");
}

#[test]
fn cells_that_are_not_canonical() {
    use PropertyType::*;
    let refused: &[(PropertyType, &[u8], &str)] = &[
        (Bool, &[2], "neither 0 nor 1"),
        (Bool, &[], "not as wide"),
        (Byte, &[1, 2], "not as wide"),
        (Int, &[1, 2, 3], "not as wide"),
        (Relation, &[0; 8], "not as wide"),
        (String, &[0xff], "not UTF-8"),
        (BoolVector, &[0, 1, 2], "neither 0 nor 1"),
        (IntVector, &[0; 6], "within an element"),
        (DateNanoVector, &[0; 15], "within an element"),
        (StringVector, &[1, 0, 0, 0, 0xc0], "not UTF-8"),
        (Flex, &[], "outside its bytes"),
        (Flex, &[2, 0xff, 0, 2, 5 << 2, 1], "not UTF-8"),
        (Flex, &[1, 0, 10 << 2, 2, 10 << 2, 1], "more values than bytes"),
    ];
    for (ty, bytes, reason) in refused {
        is_refused(check_cell(*ty as u8, bytes), reason);
    }
    for bytes in [&[1, 0, 0][..], &[2, 0, 0, 0, b'a'], &[0xff; 8]] {
        assert!(matches!(check_cell(StringVector as u8, bytes), Err(DecodeError::Truncated)), "{bytes:?}");
    }
    for ty in [14, 255] {
        assert_eq!(check_cell(ty, &[0xff, 0, 0xff]), Ok(()), "any bytes are a value of type {ty}");
    }
    let text = || Bytes::tables(&[(1, STRING)], &[]).raw(&[1, 0, 0, 2, 0]);
    text().raw(&[2, 0xc3, 0xa9]).are_good_ops(1);
    text().raw(&[1, 0xc3]).are_bad_ops("not UTF-8");
}

/// A length or count is refused, or found to be cut short, before any memory is taken for it.
#[test]
fn announcements_without_bytes() {
    is_too_long(OpsReader::check(A, &Bytes::default().varint(SHAPES_MAX as u64 + 1).0), SHAPES_MAX);
    is_too_long(OpsReader::check(A, &Bytes(vec![0]).varint(PEERS_MAX as u64 + 1).0), PEERS_MAX);
    is_too_long(OpsReader::check(A, &Bytes(vec![0, 0]).varint(OPS_MAX as u64 + 1).0), OPS_MAX);
    is_too_long(StatesReader::check(&Bytes(vec![0, 0]).varint(STATES_MAX as u64 + 1).0), STATES_MAX);
    let shape = Bytes(vec![1]).u64(1).varint(PROPERTIES_MAX as u64 + 1);
    is_too_long(OpsReader::check(A, &shape.0), PROPERTIES_MAX);
    let cut_short = [
        Bytes::default().varint(SHAPES_MAX as u64),
        Bytes(vec![0]).varint(PEERS_MAX as u64),
        Bytes(vec![0, 0]).varint(OPS_MAX as u64),
        Bytes(vec![1]).u64(1).varint(PROPERTIES_MAX as u64),
        Bytes::tables(&[(1, STRING)], &[]).raw(&[1, 0, 0, 2, 0]).varint(u64::MAX),
    ];
    for bytes in cut_short {
        assert_eq!(OpsReader::check(A, &bytes.0), Err(DecodeError::Truncated));
    }
}

#[test]
fn after_an_error_nothing_more_comes() {
    let bytes = Bytes::tables(&[], &[]).raw(&[3, 0, 0, 2, 0b11, 0, 2, 0, 0, 2]);
    let mut ops = OpsReader::new(A, &bytes.0).unwrap();
    assert!(ops.next().unwrap().is_ok());
    assert!(ops.next().unwrap().is_err());
    assert!(ops.next().is_none());
    let bytes = Bytes::tables(&[], &[]).raw(&[2, 0, 0, 0, 2]);
    let mut states = StatesReader::new(&bytes.0).unwrap();
    assert!(states.next().unwrap().is_err());
    assert!(states.next().is_none());
}

#[test]
fn states_that_say_nothing() {
    let one = || Bytes::tables(&[], &[9]).raw(&[1]);
    one().raw(&[0b0000_1001, 0, 5, 2]).are_good_states(1);
    one().raw(&[0b0001_0001, 0, 0, 5, 2]).are_good_states(1);
    one().raw(&[0b0000_0001, 0, 5, 2]).are_bad_states("origin of no kind");
    one().raw(&[0b0001_1001, 0, 5, 2]).are_bad_states("origin of no kind");
    one().raw(&[0b0000_1011, 0, 5, 2]).are_bad_states("without registers");
    one().raw(&[0b0000_1001, 0, 5, 0]).are_bad_states("number 0");
    one().raw(&[0b0000_1101, 0, 5, 2, 0]).are_bad_states("generation 0");
    one().raw(&[0b0000_1100, 0, 5, 2]).varint(u64::MAX).are_good_states(1);
    one().raw(&[0b0000_1101, 0, 5, 2]).varint(u64::MAX).are_bad_states("leaves no room");
    one().raw(&[0b0010_1001, 0, 5, 2]).are_bad_states("without registers has overrides or ranks");
    for bit in 6..8 {
        one().raw(&[1 << bit, 0, 5, 2]).are_bad_states("bits that mean nothing");
    }
}

#[test]
fn states_with_stamps_out_of_place() {
    let one = |tag: u8| Bytes::tables(&[(1, BOOL), (2, BOOL)], &[9]).raw(&[1, tag, 0, 5, 2]).u64(7).raw(&[1]);
    let at = |bytes: Bytes, position: u8| bytes.raw(&[position]).u64(6).raw(&[1]);
    let nulls = [0b11];
    one(0b1001).raw(&nulls).are_good_states(1);
    at(at(one(0b1011).raw(&[2]), 0), 1).raw(&nulls).are_good_states(1);
    at(at(one(0b1011).raw(&[2]), 1), 1).raw(&nulls).are_bad_states("do not ascend");
    at(at(one(0b1011).raw(&[2]), 1), 0).raw(&nulls).are_bad_states("do not ascend");
    is_too_long(StatesReader::check(&at(one(0b1011).raw(&[1]), 2).raw(&nulls).0), 1);
    is_too_long(StatesReader::check(&one(0b1011).raw(&[3]).0), 2);
    one(0b1011).raw(&[1, 0]).u64(0).raw(&[0]).raw(&nulls).are_bad_states("never written");
    let base_never = Bytes::tables(&[(1, BOOL)], &[]).raw(&[1, 0b1001, 0, 5, 2]).u64(0).raw(&[0, 1]);
    base_never.are_bad_states("never written");
    let ranked_never = Bytes::tables(&[(1, BOOL)], &[]).raw(&[1, 0b10_1001, 0, 5, 2]).u64(0).raw(&[0, 9, 1]);
    ranked_never.are_bad_states("never written");
    Bytes::tables(&[(1, BOOL)], &[9]).raw(&[1, 0b10_1001, 0, 5, 2]).u64(7).raw(&[1, 9, 1]).are_good_states(1);
}

#[test]
fn transactions_of_nobody_or_of_a_newer_release() {
    let tx = |version, origin, number| Bytes(vec![version]).u64(origin).varint(number).raw(&[0; 16]).u64(5);
    assert_eq!(decode_tx(&tx(1, 7, 1).0).unwrap().0.origin, PeerId(7));
    is_refused(decode_tx(&tx(1, 0, 1).0), "no author");
    is_refused(decode_tx(&tx(1, 7, 0).0), "no number");
    is_refused(decode_tx(&tx(0, 7, 1).0), "no version");
    for version in [2, 255] {
        assert!(matches!(decode_tx(&tx(version, 7, 1).0), Err(DecodeError::UnknownVersion { .. })));
    }
}
