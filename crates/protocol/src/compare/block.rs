//! The blocks of a compare as bytes: ranges that are asked for, and answers.

use reconvene_model::codec::{DecodeError, Reader, put_varint};
use reconvene_model::compare::{CompareKey, CompareRange, FINGERPRINT_SHORT_BYTES, Item};

use crate::limits::{COMPARE_ITEMS_MAX, COMPARE_RANGE_PARTS_MAX, COMPARE_RANGES_MAX};

/// Stands where a range has no end.
const NO_END: u8 = 0xff;

const ITEMS: u8 = 0;
const PARTS: u8 = 1;

type Short = [u8; FINGERPRINT_SHORT_BYTES];

/// A block of ranges for a `Compare` or a `Fetch`: not empty, ascending and disjoint, at most [`COMPARE_RANGES_MAX`].
pub fn encode_ranges(ranges: &[CompareRange]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + 8 * ranges.len());
    put_varint(&mut out, ranges.len() as u64);
    let mut last = CompareKey::FIRST;
    for range in ranges {
        put_key(&mut out, &mut last, range.start);
        put_end(&mut out, &mut last, range.end);
    }
    out
}

/// The ranges of a block: at least one, none of them empty, ascending and disjoint.
///
/// # Errors
///
/// If the bytes are no such block, or there are more than [`COMPARE_RANGES_MAX`].
pub fn decode_ranges(block: &[u8]) -> Result<Vec<CompareRange>, DecodeError> {
    let mut reader = Reader::new(block);
    let count = reader.varint()?;
    if count == 0 {
        return Err(invalid("a block of ranges is empty"));
    }
    if count > COMPARE_RANGES_MAX as u64 {
        return Err(DecodeError::TooLong { what: "ranges", len: count, max: COMPARE_RANGES_MAX as u64 });
    }
    let mut ranges: Vec<CompareRange> = Vec::with_capacity(count as usize);
    let mut last = CompareKey::FIRST;
    for _ in 0..count {
        let start = read_key(&mut reader, &mut last)?;
        let end = read_end(&mut reader, &mut last)?;
        let range = CompareRange::new(start, end);
        let follows = ranges.last().is_none_or(|before| before.end.is_some_and(|end| end <= start));
        if range.is_empty() || !follows {
            return Err(invalid("ranges are empty, overlap or do not ascend"));
        }
        ranges.push(range);
    }
    if reader.is_empty() { Ok(ranges) } else { Err(invalid("bytes follow the last range")) }
}

/// What a server has in one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These, and nothing else.
    Items(Vec<(CompareKey, Short)>),
    /// So many that the range was parted.
    Parts(Vec<Part>),
}

/// A part of a range that was asked for; it starts where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) range: CompareRange,
    /// How many items the server has in it; not 0.
    pub(super) count: u64,
    /// The hash of their sum.
    pub(super) hash: Short,
}

/// Appends the answer that a range holds these items, at most [`COMPARE_ITEMS_MAX`].
pub(super) fn put_items(out: &mut Vec<u8>, range: &CompareRange, items: &[Item]) {
    out.push(ITEMS);
    put_varint(out, items.len() as u64);
    let mut last = range.start;
    for item in items {
        put_key(out, &mut last, item.key);
        out.extend_from_slice(&item.fingerprint.short());
    }
}

/// Appends the answer that a range consists of these parts, from 2 to [`COMPARE_RANGE_PARTS_MAX`].
pub(super) fn put_parts(out: &mut Vec<u8>, range: &CompareRange, parts: &[Part]) {
    out.push(PARTS);
    put_varint(out, parts.len() as u64);
    let mut last = range.start;
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            put_key(out, &mut last, part.range.start);
        }
        put_varint(out, part.count);
        out.extend_from_slice(&part.hash);
    }
}

/// Reads the answer to a range and checks that it is one.
pub(super) fn read_answer(reader: &mut Reader<'_>, range: &CompareRange) -> Result<Answer, DecodeError> {
    match reader.u8()? {
        ITEMS => read_items(reader, range).map(Answer::Items),
        PARTS => read_parts(reader, range).map(Answer::Parts),
        _ => Err(invalid("an answer is of an unknown kind")),
    }
}

fn read_items(
    reader: &mut Reader<'_>,
    range: &CompareRange,
) -> Result<Vec<(CompareKey, Short)>, DecodeError> {
    let count = read_count(reader, "items of a range", 0, COMPARE_ITEMS_MAX)?;
    let mut items: Vec<(CompareKey, Short)> = Vec::with_capacity(count);
    let mut last = range.start;
    for _ in 0..count {
        let key = read_key(reader, &mut last)?;
        let follows = items.last().is_none_or(|(before, _)| *before < key);
        if !follows || !range.contains(key) {
            return Err(invalid("items do not ascend, or lie outside of their range"));
        }
        items.push((key, reader.array()?));
    }
    Ok(items)
}

fn read_parts(reader: &mut Reader<'_>, range: &CompareRange) -> Result<Vec<Part>, DecodeError> {
    let count = read_count(reader, "parts of a range", 2, COMPARE_RANGE_PARTS_MAX)?;
    let mut parts: Vec<Part> = Vec::with_capacity(count);
    let mut start = range.start;
    for at in 0..count {
        if at > 0 {
            let before = start;
            let mut last = start;
            start = read_key(reader, &mut last)?;
            if start <= before || !range.contains(start) {
                return Err(invalid("parts do not ascend, or lie outside of their range"));
            }
            parts[at - 1].range.end = Some(start);
        }
        let items = reader.varint()?;
        if items == 0 {
            return Err(invalid("a part of a range is empty"));
        }
        parts.push(Part { range: CompareRange::new(start, range.end), count: items, hash: reader.array()? });
    }
    Ok(parts)
}

fn read_count(
    reader: &mut Reader<'_>,
    what: &'static str,
    min: usize,
    max: usize,
) -> Result<usize, DecodeError> {
    let count = reader.varint()?;
    match usize::try_from(count) {
        Ok(count) if count < min => Err(invalid("an answer has too few parts")),
        Ok(count) if count <= max => Ok(count),
        _ => Err(DecodeError::TooLong { what, len: count, max: max as u64 }),
    }
}

/// Writes a key as its difference to the one before: how many bytes are the same, and which follow up to the last that is
/// not zero.
fn put_key(out: &mut Vec<u8>, last: &mut CompareKey, key: CompareKey) {
    let (before, bytes) = (last.to_bytes(), key.to_bytes());
    let same = before.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1).max(same);
    out.push(same as u8);
    out.push((end - same) as u8);
    out.extend_from_slice(&bytes[same..end]);
    *last = key;
}

fn read_key(reader: &mut Reader<'_>, last: &mut CompareKey) -> Result<CompareKey, DecodeError> {
    let same = reader.u8()?;
    read_key_from(reader, last, same)
}

fn read_key_from(
    reader: &mut Reader<'_>,
    last: &mut CompareKey,
    same: u8,
) -> Result<CompareKey, DecodeError> {
    let (same, more) = (usize::from(same), usize::from(reader.u8()?));
    if same + more > CompareKey::BYTES {
        return Err(invalid("a key is too long"));
    }
    let mut bytes = [0; CompareKey::BYTES];
    bytes[..same].copy_from_slice(&last.to_bytes()[..same]);
    bytes[same..same + more].copy_from_slice(reader.bytes(more)?);
    *last = CompareKey::from_bytes(bytes);
    Ok(*last)
}

fn put_end(out: &mut Vec<u8>, last: &mut CompareKey, end: Option<CompareKey>) {
    match end {
        Some(end) => put_key(out, last, end),
        None => out.push(NO_END),
    }
}

fn read_end(reader: &mut Reader<'_>, last: &mut CompareKey) -> Result<Option<CompareKey>, DecodeError> {
    match reader.u8()? {
        NO_END => Ok(None),
        same => read_key_from(reader, last, same).map(Some),
    }
}

fn invalid(what: &'static str) -> DecodeError {
    DecodeError::Invalid { what }
}

#[cfg(test)]
mod tests {
    use reconvene_model::{GlobalId, PeerId, Uid};

    use super::*;

    fn key(entity: u64, origin: u64, counter: u64) -> CompareKey {
        CompareKey::new(Uid(entity), GlobalId::new(PeerId(origin), counter))
    }

    #[test]
    fn neighbours_are_short() {
        let ranges = [
            CompareRange::of(key(1, 2, 3)),
            CompareRange::new(key(1, 2, 4), Some(key(1, 2, 0x500))),
            CompareRange::new(key(1, 3, 0), None),
        ];
        let block = encode_ranges(&ranges);
        assert_eq!(decode_ranges(&block).unwrap(), ranges);
        // The count; a key without its leading zeros, and one that differs in its last byte; the same once more, and one that
        // ends in a zero; one that ends in many, and no end.
        assert_eq!(block.len(), 1 + (19 + 3) + (2 + 3) + (3 + 1));
    }

    #[test]
    fn ranges_that_overlap_or_are_empty_are_refused() {
        let (one, two, three) = (key(0, 0, 1), key(0, 0, 2), key(0, 0, 3));
        let refused: [&[CompareRange]; 5] = [
            &[],
            &[CompareRange::new(two, Some(two))],
            &[CompareRange::new(two, Some(one))],
            &[CompareRange::new(one, Some(three)), CompareRange::new(two, None)],
            &[CompareRange::new(one, None), CompareRange::new(two, None)],
        ];
        for ranges in refused {
            assert!(decode_ranges(&encode_ranges(ranges)).is_err(), "{ranges:?}");
        }
        let many: Vec<_> =
            (0..=COMPARE_RANGES_MAX as u64).map(|at| CompareRange::of(key(0, 0, at))).collect();
        assert!(matches!(decode_ranges(&encode_ranges(&many)), Err(DecodeError::TooLong { .. })));
        assert!(decode_ranges(&encode_ranges(&many[1..])).is_ok());
        let mut trailing = encode_ranges(&many[..1]);
        trailing.push(0);
        assert!(decode_ranges(&trailing).is_err());
    }

    #[test]
    fn answers_read_back_within_their_range_only() {
        let range = CompareRange::new(key(1, 0, 0), Some(key(2, 0, 0)));
        let part =
            |start, end, count| Part { range: CompareRange::new(start, Some(end)), count, hash: [9; 16] };
        let end = key(2, 0, 0);
        let parts = vec![part(range.start, key(1, 5, 0), 7), part(key(1, 5, 0), end, 8)];
        let mut block = Vec::new();
        put_parts(&mut block, &range, &parts);
        assert_eq!(read_answer(&mut Reader::new(&block), &range), Ok(Answer::Parts(parts)));
        let elsewhere = CompareRange::new(key(1, 5, 0), Some(end));
        assert!(read_answer(&mut Reader::new(&block), &elsewhere).is_err());
        block[2] = 0;
        assert!(read_answer(&mut Reader::new(&block), &range).is_err(), "an empty part");
        for (count, bytes) in [(1, 100), (COMPARE_RANGE_PARTS_MAX + 1, 10_000)] {
            let mut block = vec![PARTS];
            put_varint(&mut block, count as u64);
            block.resize(bytes, 1);
            assert!(read_answer(&mut Reader::new(&block), &range).is_err(), "{count} parts");
        }
        assert!(read_answer(&mut Reader::new(&[ITEMS, COMPARE_ITEMS_MAX as u8 + 1]), &range).is_err());
        assert!(read_answer(&mut Reader::new(&[2]), &range).is_err());
        assert_eq!(read_answer(&mut Reader::new(&[ITEMS, 0]), &range), Ok(Answer::Items(vec![])));
    }
}
