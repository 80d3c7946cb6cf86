//! Flex values: canonical bytes, what the official library makes of them and what we make of its, and hostile bytes.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod arbitrary;
mod golden;
mod hostile;

use arbitrary::flex;
use proptest::prelude::*;
use reconvene_model::Flex;
use reconvene_model::flex::{FLEX_DEPTH_MAX, FlexError, FlexRef, check_flex};

proptest! {
    #[test]
    fn trees_come_back(tree in flex()) {
        let bytes = tree.encode().unwrap();
        prop_assert_eq!(check_flex(&bytes), Ok(()));
        prop_assert_eq!(&Flex::decode(&bytes).unwrap(), &tree);
        prop_assert_eq!(Flex::decode(&bytes).unwrap().encode().unwrap(), bytes);
    }

    #[test]
    fn trees_are_equal_if_and_only_if_their_bytes_are(a in flex(), b in flex()) {
        prop_assert_eq!(a == b, a.encode().unwrap() == b.encode().unwrap());
    }

    /// One value is found in place as it is found in the tree.
    #[test]
    fn paths_lead_to_the_same_values(tree in flex(), missing in "[a-f]{0,3}") {
        let bytes = tree.encode().unwrap();
        same_below(&tree, FlexRef::root(&bytes).unwrap(), &missing);
    }
}

fn same_below(tree: &Flex, found: FlexRef<'_>, missing: &str) {
    assert_eq!(&found.to_flex().unwrap(), tree);
    assert_eq!(found.is_null(), tree.is_null());
    for (key, value) in tree.as_map().into_iter().flatten() {
        same_below(value, found.get(key).unwrap().unwrap(), missing);
    }
    for (place, value) in tree.as_list().into_iter().flatten().enumerate() {
        same_below(value, found.at(place).unwrap().unwrap(), missing);
    }
    assert_eq!(found.get(missing).unwrap().is_some(), tree.get(missing).is_some());
    assert_eq!(found.at(tree.as_list().map_or(0, <[Flex]>::len)).unwrap(), None);
}

#[test]
fn numbers_are_equal_by_what_they_say() {
    assert_eq!(Flex::UInt(5), Flex::Int(5));
    assert_eq!(Flex::UInt(5).encode(), Flex::Int(5).encode());
    assert_ne!(Flex::Int(5), Flex::Float(5.0));
    assert_ne!(Flex::Float(0.0), Flex::Float(-0.0));
    let others = [f64::from_bits(0x7ff0_0000_0000_0001), -f64::NAN];
    for nan in others.map(Flex::Float) {
        assert_eq!(nan, Flex::Float(f64::NAN));
        assert_eq!(nan.encode(), Flex::Float(f64::NAN).encode());
    }
    assert_eq!(Flex::from(u64::MAX).as_u64(), Some(u64::MAX));
    assert_eq!(Flex::from(7_u64), Flex::Int(7));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let nested = |levels: usize| (1..levels).fold(Flex::Null, |inner, _| Flex::from([inner]));
    let deepest = nested(FLEX_DEPTH_MAX).encode().unwrap();
    assert_eq!(Flex::decode(&deepest).unwrap(), nested(FLEX_DEPTH_MAX));
    assert_eq!(nested(FLEX_DEPTH_MAX + 1).encode(), Err(FlexError::TooDeep));
    let zero = Flex::from_iter([("a\0b", 1)]);
    assert_eq!(zero.encode(), Err(FlexError::ZeroInKey));
    assert!(Flex::from("a\0b").encode().is_ok());
}

#[test]
fn equal_keys_are_written_once() {
    let point = |x: i64| Flex::from_iter([("horizontal", x), ("vertical", -x)]);
    let one = Flex::from([point(1)]).encode().unwrap();
    let many = Flex::from_iter((0..20).map(point)).encode().unwrap();
    assert!(many.len() < one.len() + 20 * 12, "{} bytes, and {} for one", many.len(), one.len());
}

#[test]
fn trees_are_shown_as_json() {
    let tree = Flex::from_iter([
        ("bytes", Flex::bytes([0xca, 0xfe])),
        ("floats", Flex::from([1.0, -0.5, 1e300, f64::INFINITY])),
        ("nothing", Flex::Null),
        ("text", "a \"b\"\n".into()),
        ("yes", true.into()),
    ]);
    let shown = r#"{"bytes":{"$bytes":"cafe"},"floats":[1.0,-0.5,1e300,{"$float":"inf"}],"nothing":null,"text":"a \"b\"\n","yes":true}"#;
    assert_eq!(tree.to_string(), shown);
    assert_eq!(Flex::from_iter([("$bytes", "cafe")]).to_string(), r#"{"$map":{"$bytes":"cafe"}}"#);
}
