//! Bytes that no honest encoder writes: they are errors, and cost no more than their length allows.

use proptest::prelude::*;
use reconvene_model::Flex;
use reconvene_model::flex::{FlexError, FlexRef, FlexView, check_flex};

use crate::arbitrary::flex;

fn is_refused(bytes: &[u8], reason: &str) {
    let error = Flex::decode(bytes).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(check_flex(bytes), Err(error));
}

/// Reads all that can be read without decoding.
fn look(value: FlexRef<'_>, depth: usize) {
    let _ = (value.get("a"), value.at(0));
    let (Some(depth), Ok(view)) = (depth.checked_sub(1), value.view()) else { return };
    match view {
        FlexView::List(list) => list.iter().take(20).flatten().for_each(|value| look(value, depth)),
        FlexView::Map(map) => {
            for place in 0..map.len().min(20) {
                if let Ok(Some((key, value))) = map.entry(place) {
                    let _ = map.get(key);
                    look(value, depth);
                }
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(check_flex(&bytes), Flex::decode(&bytes).map(|_| ()));
        if let Ok(root) = FlexRef::root(&bytes) {
            look(root, 4);
        }
    }

    #[test]
    fn changed_bytes_are_read_or_refused(tree in flex(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let mut bytes = tree.encode().unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let decoded = Flex::decode(&bytes);
        prop_assert_eq!(check_flex(&bytes), decoded.as_ref().map(|_| ()).map_err(|error| *error));
        if let Ok(root) = FlexRef::root(&bytes) {
            look(root, 4);
        }
        // What is taken is a proper value, which can be written again.
        if let Ok(tree) = decoded {
            prop_assert_eq!(Flex::decode(&tree.encode().unwrap()).unwrap(), tree);
        }
    }

    #[test]
    fn cut_bytes_are_read_or_refused(tree in flex(), from in any::<prop::sample::Index>()) {
        let bytes = tree.encode().unwrap();
        let from = from.index(bytes.len());
        for part in [&bytes[from..], &bytes[..from]] {
            prop_assert_eq!(check_flex(part), Flex::decode(part).map(|_| ()));
        }
    }
}

#[test]
fn damage_is_told() {
    is_refused(&[], "outside its bytes");
    is_refused(&[4, 1], "outside its bytes");
    is_refused(&[0, 0, 3], "width of a Flex value");
    // A string one byte before the beginning, and one that is longer than what is left.
    is_refused(&[1, 5 << 2, 1], "outside its bytes");
    is_refused(&[9, b'a', 0, 2, 5 << 2, 1], "outside its bytes");
    is_refused(&[1, 0xff, 0, 2, 5 << 2, 1], "not UTF-8");
    is_refused(&[0, 3 << 2, 1], "neither 4 nor 8 bytes");
    is_refused(&[0, 40 << 2, 1], "unknown type");
}

#[test]
fn maps_have_ascending_keys() {
    let good = [b'a', 0, b'b', 0, 2, 5, 4, 2, 1, 2, 7, 8, 4, 4, 4, 9 << 2, 1];
    assert_eq!(Flex::decode(&good).unwrap(), Flex::from_iter([("a", 7), ("b", 8)]));
    let mut swapped = good;
    (swapped[5], swapped[6]) = (3, 6);
    is_refused(&swapped, "do not ascend");
    let mut twice = good;
    twice[6] = 6;
    is_refused(&twice, "do not ascend");
    let mut fewer = good;
    fewer[4] = 1;
    is_refused(&fewer, "as many keys as values");
}

/// A list whose element is the list itself.
#[test]
fn cycles_end() {
    // Its length, the distance from the element to the element, its type; then the root.
    let cycle = [1, 0, 10 << 2, 2, 10 << 2, 1];
    is_refused(&cycle, "more values than bytes");
    is_refused(&[&[0; 100], &cycle[..]].concat(), "deeper than 64 levels");
}

/// Lists of which each names the one before it several times: few bytes, and billions of values.
#[test]
fn values_that_stand_in_many_places_are_counted() {
    let mut bytes = vec![0];
    let mut target = None;
    for _ in 0..20 {
        bytes.push(8);
        let start = bytes.len();
        for _ in 0..8 {
            let distance = target.map_or(0, |target: usize| bytes.len() - target);
            bytes.push(u8::try_from(distance).unwrap());
        }
        bytes.extend([if target.is_some() { 10 << 2 } else { 1 << 2 }; 8]);
        target = Some(start);
    }
    let distance = u8::try_from(bytes.len() - target.unwrap()).unwrap();
    bytes.extend([distance, 10 << 2, 1]);
    is_refused(&bytes, "more values than bytes");
}

/// A text of a megabyte that a list names a thousand times.
#[test]
fn text_that_stands_in_many_places_is_counted() {
    let mut bytes = 1_000_000_u32.to_le_bytes().to_vec();
    bytes.extend([b'x'; 1_000_001]);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(1_000_u32.to_le_bytes());
    let start = bytes.len();
    for _ in 0..1_000 {
        let distance = u32::try_from(bytes.len() - 4).unwrap();
        bytes.extend(distance.to_le_bytes());
    }
    bytes.extend([5 << 2 | 2; 1_000]);
    let distance = u32::try_from(bytes.len() - start).unwrap();
    bytes.extend(distance.to_le_bytes());
    bytes.extend([10 << 2 | 2, 4]);
    is_refused(&bytes, "shares too many of its bytes");
    assert!(matches!(Flex::decode(&bytes), Err(FlexError::Damaged { .. })));
}
