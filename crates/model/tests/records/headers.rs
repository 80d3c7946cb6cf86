//! Sync headers: round trips, the stamps of properties, and what is refused.

use proptest::prelude::*;
use reconvene_model::codec::DecodeError;
use reconvene_model::kinds::{Kind, counter_change};
use reconvene_model::record::{EMPTY_TABLE, KindState, Record, RecordError, SyncHeader, UnknownRegister};
use reconvene_model::{GlobalId, PeerId, Seq, Stamp, Uid};

/// Few peers, so that the base stamp is often by the object's origin.
fn peer() -> impl Strategy<Value = PeerId> {
    prop_oneof![(0_u64..4).prop_map(PeerId), any::<u64>().prop_map(PeerId)]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![1 => Just(Stamp::NEVER), 5 => (any::<u64>(), peer()).prop_map(|(hlc, peer)| Stamp::new(hlc, peer))]
}

/// Half of all headers belong to an entity whose policy ranks nothing above time.
fn ranked(header: SyncHeader, ranks: Option<Vec<u64>>) -> SyncHeader {
    let Some(ranks) = ranks else { return header };
    let mut header = header;
    let overrides = header.overrides.iter_mut().map(|(_, stamp)| stamp);
    let unknown = header.unknown.iter_mut().map(|register| &mut register.stamp);
    for (stamp, rank) in std::iter::once(&mut header.base).chain(overrides).chain(unknown).zip(ranks) {
        *stamp = stamp.ranked(rank);
    }
    header
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1_u64..300, any::<u64>()]
}

pub(crate) fn header() -> impl Strategy<Value = SyncHeader> {
    let gid =
        prop::option::of((peer(), number()).prop_map(|(origin, counter)| GlobalId::new(origin, counter)));
    let cell = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
    let unknown = prop::collection::btree_map(any::<u64>(), (any::<u8>(), stamp(), cell), 0..6);
    let overrides = prop::collection::btree_map(0_u16..2_000, stamp(), 0..12);
    let kinds = prop::collection::btree_map(0_u16..2_000, (any::<i64>(), 1..u64::MAX, 1..u64::MAX), 0..3);
    let header =
        (any::<bool>(), gid, number(), prop::option::of(number()), stamp(), overrides, unknown, kinds)
            .prop_map(|(exists, gid, generation, seq, base, overrides, unknown, kinds)| SyncHeader {
                kinds: kinds
                    .into_iter()
                    .map(|(slot, (by, hlc, peer))| KindState {
                        slot,
                        kind: Kind::Counter,
                        state: Kind::Counter
                            .apply(None, &counter_change(by), Stamp::new(hlc, PeerId(peer)))
                            .unwrap(),
                    })
                    .collect(),
                exists,
                gid,
                generation,
                seq: seq.map(Seq),
                base,
                overrides: overrides.into_iter().collect(),
                unknown: unknown
                    .into_iter()
                    .map(|(uid, (ty, stamp, cell))| UnknownRegister { uid: Uid(uid), ty, stamp, cell })
                    .collect(),
            });
    let ranks = prop::option::of(prop::collection::vec(number(), 20));
    (header, ranks).prop_map(|(header, ranks)| ranked(header, ranks))
}

fn record(header: &SyncHeader) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write_record(EMPTY_TABLE, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn headers_are_read_as_they_were_written(header in header(), before: Vec<u8>) {
        let mut bytes = before.clone();
        header.write_record(EMPTY_TABLE, &mut bytes);
        prop_assert!(bytes.starts_with(&before), "records are appended");
        let record = Record::parse(&bytes[before.len()..]).unwrap();
        let read = record.header.unwrap();
        prop_assert_eq!(read.exists(), header.exists);
        prop_assert_eq!(read.parse().unwrap(), header);
        prop_assert_eq!(record.table.as_bytes(), EMPTY_TABLE);
    }

    #[test]
    fn stamps_come_from_overrides_base_or_nowhere(header in header(), slots in 0_usize..2_100) {
        for slot in 0..2_100 {
            let expected = match header.overrides.iter().find(|(of, _)| usize::from(*of) == slot) {
                _ if slot >= slots => Stamp::NEVER,
                Some((_, stamp)) => *stamp,
                None => header.base,
            };
            prop_assert_eq!(header.stamp_of(slot, slots), expected);
        }
    }
}

#[test]
fn a_local_record_pays_one_byte() {
    let mut bytes = Vec::new();
    Record::local(EMPTY_TABLE, &mut bytes);
    assert_eq!(bytes.len(), 1 + EMPTY_TABLE.len());
    assert!(Record::parse(&bytes).unwrap().header.is_none());
}

#[test]
fn the_own_object_of_a_device_pays_the_stamp_and_three_bytes() {
    let header = SyncHeader { exists: true, base: Stamp::new(5, PeerId(6)), ..SyncHeader::default() };
    assert_eq!(record(&header).len(), 1 + 1 + 1 + 16 + EMPTY_TABLE.len());
}

/// Ops of newer releases add up: no count of theirs makes a record that cannot be read again.
#[test]
fn many_unknown_properties_are_kept() {
    let unknown = (1..=5_000)
        .map(|uid| UnknownRegister { uid: Uid(uid), ty: 200, stamp: Stamp::new(uid, PeerId(1)), cell: None })
        .collect();
    let header = SyncHeader { unknown, ..SyncHeader::default() };
    assert_eq!(Record::parse(&record(&header)).unwrap().header.unwrap().parse(), Ok(header));
}

#[test]
fn records_of_newer_releases_say_so() {
    let bytes = record(&SyncHeader::default());
    for flag in [2, 4, 8, 16, 32, 64, 128] {
        let mut newer = bytes.clone();
        newer[0] |= flag;
        let error = Record::parse(&newer).unwrap_err();
        assert_eq!(error, RecordError::Newer { flags: 1 | flag });
        assert!(error.to_string().contains("newer release"), "{error}");
    }
    for more in (0..=255).filter(|&more| !(1..=3).contains(&more)) {
        let mut newer = bytes.clone();
        newer[1] += 1;
        newer[2] |= 128;
        newer.insert(3, more);
        let error = Record::parse(&newer).unwrap().header.unwrap().parse().unwrap_err();
        assert!(error.to_string().contains("newer than this release knows"), "{error}");
    }
}

#[test]
fn a_rank_costs_a_byte_for_the_flag_and_mostly_one_for_itself() {
    let plain = SyncHeader { exists: true, base: Stamp::new(5, PeerId(6)), ..SyncHeader::default() };
    let length = |rank| record(&SyncHeader { base: plain.base.ranked(rank), ..plain.clone() }).len();
    assert_eq!(length(0), record(&plain).len());
    assert_eq!([1, 60, (1 << 63) | 60].map(length), [length(0) + 2; 3]);
}

/// A header's bytes behind its flags; the base stamp is 16 zeros.
fn parse(flags: u8, rest: &[&[u8]]) -> Result<SyncHeader, RecordError> {
    let header: Vec<u8> = [&[flags], &[0; 16][..], &rest.concat()].concat();
    let length = u8::try_from(header.len()).unwrap();
    assert!(length < 0x80, "one byte of length");
    let bytes = [&[1, length], &header[..], EMPTY_TABLE].concat();
    Record::parse(&bytes).unwrap().header.unwrap().parse()
}

#[test]
fn damaged_headers_are_refused() {
    let invalid = |what| Err(RecordError::Header(DecodeError::Invalid { what }));
    let too_long = |what, len, max| Err(RecordError::Header(DecodeError::TooLong { what, len, max }));
    let entry =
        |slot: u8| [[slot, 0], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2], [0; 2]].concat();
    let register = |uid: u8| [&[uid, 0, 0, 0, 0, 0, 0, 0, 9], &[0; 16][..], &[0]].concat();
    assert_eq!(parse(0, &[&[0]]), invalid("bytes follow the header"));
    assert_eq!(parse(8, &[]), invalid("the base stamp is by an origin that is not named"));
    assert_eq!(parse(16, &[&[0]]), too_long("overrides", 0, 0));
    assert_eq!(parse(16, &[&[2], &entry(1)]), too_long("overrides", 2, 1));
    assert_eq!(parse(16, &[&[2], &entry(1), &entry(1)]), invalid("overrides do not ascend"));
    assert_eq!(parse(16, &[&[2], &entry(2), &entry(1)]), invalid("overrides do not ascend"));
    assert!(parse(16, &[&[2], &entry(1), &entry(2)]).is_ok());
    assert_eq!(parse(32, &[&[0]]), too_long("unknown properties", 0, 0));
    assert_eq!(parse(32, &[&[3], &register(1), &register(2)]), too_long("unknown properties", 3, 2));
    assert_eq!(parse(32, &[&[2], &register(2), &register(2)]), invalid("unknown properties do not ascend"));
    assert!(parse(32, &[&[2], &register(1), &register(2)]).is_ok());
    let mut cell = register(1);
    *cell.last_mut().unwrap() = 3;
    assert_eq!(parse(32, &[&[1], &cell, &[7]]), Err(RecordError::Header(DecodeError::Truncated)));
}
