//! The side of a compare that is asked.

use reconvene_model::compare::{CompareRange, CompareSet};

use crate::compare::block::{Part, put_items, put_parts};
use crate::limits::{
    COMPARE_ANSWERS_BYTES, COMPARE_ITEMS_MAX, COMPARE_PARTS_MAX, COMPARE_RANGE_PARTS_MAX, COMPARE_RANGES_MAX,
    ENVELOPE_BYTES_MAX,
};

/// The parts of all ranges together at which an answer aims while only a few ranges are asked for.
const PARTS_TARGET: usize = 512;

/// The fewest parts of a range: few, since most of them will hold nothing that differs.
const RANGE_PARTS_MIN: usize = 4;

/// The fewest items of a part: to name so many of them costs about as much as another round of parts.
const PART_ITEMS_MIN: usize = 4;

const _: () = assert!(COMPARE_ITEMS_MAX >= RANGE_PARTS_MIN * PART_ITEMS_MIN);
const _: () = assert!(COMPARE_RANGES_MAX * RANGE_PARTS_MIN <= COMPARE_PARTS_MAX);
const _: () = assert!(PARTS_TARGET <= COMPARE_PARTS_MAX);

/// The block of answers to these ranges, as many of them as fit: at least one, and none if nothing was asked.
///
/// The set must not change during the call; from one call to the next it may. `message_bytes_max` is the limit of the
/// session. It takes about five sums of the set for each range, and a few more than [`COMPARE_PARTS_MAX`] in all.
///
/// # Errors
///
/// Those of the set.
pub fn answer<S: CompareSet>(
    set: &S,
    asked: &[CompareRange],
    message_bytes_max: usize,
) -> Result<Vec<u8>, S::Error> {
    let bytes_max = COMPARE_ANSWERS_BYTES.min(message_bytes_max.saturating_sub(2 * ENVELOPE_BYTES_MAX));
    let parts_max = (PARTS_TARGET / asked.len().max(1)).clamp(RANGE_PARTS_MIN, COMPARE_RANGE_PARTS_MAX);
    let mut out = Vec::new();
    for range in asked.iter().take(COMPARE_RANGES_MAX) {
        let before = out.len();
        put_answer(&mut out, set, range, parts_max)?;
        if out.len() > bytes_max && before > 0 {
            out.truncate(before);
            break;
        }
    }
    Ok(out)
}

fn put_answer<S: CompareSet>(
    out: &mut Vec<u8>,
    set: &S,
    range: &CompareRange,
    parts_max: usize,
) -> Result<(), S::Error> {
    let items = set.items(range, COMPARE_ITEMS_MAX + 1)?;
    if items.len() <= COMPARE_ITEMS_MAX {
        put_items(out, range, &items);
        return Ok(());
    }
    let count = usize::try_from(set.sum(range)?.count).unwrap_or(usize::MAX);
    let bounds = set.bounds(range, parts_max.min(count / PART_ITEMS_MIN))?;
    let mut parts = Vec::with_capacity(bounds.len() + 1);
    let mut start = range.start;
    for end in bounds.into_iter().map(Some).chain([range.end]) {
        let part = CompareRange::new(start, end);
        let sum = set.sum(&part)?;
        parts.push(Part { range: part, count: sum.count, hash: sum.hash() });
        start = end.unwrap_or(start);
    }
    put_parts(out, range, &parts);
    Ok(())
}
