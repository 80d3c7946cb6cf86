//! Random trees.

use proptest::prelude::*;
use reconvene_model::Flex;

/// A tree whose lists and maps, texts and numbers are mostly small, and now and then too large for the narrowest layout.
pub(crate) fn flex() -> impl Strategy<Value = Flex> {
    let number = prop_oneof![any::<i64>(), -300_i64..300];
    let float = prop_oneof![any::<f64>(), any::<f32>().prop_map(f64::from), Just(f64::NAN), Just(-0.0)];
    let text = prop_oneof![4 => "[a-c\0é]{0,4}", 1 => "x{250,260}"];
    let leaf = prop_oneof![
        Just(Flex::Null),
        any::<bool>().prop_map(Flex::from),
        number.prop_map(Flex::from),
        any::<u64>().prop_map(Flex::UInt),
        float.prop_map(Flex::from),
        text.prop_map(Flex::from),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Flex::bytes),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![6 => "[a-f]{0,3}", 1 => "[k-m]{90,130}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..7).prop_map(Flex::List),
            prop::collection::btree_map(key, inner.clone(), 0..7).prop_map(Flex::Map),
            (inner, 250_usize..270).prop_map(|(value, times)| match value {
                Flex::List(_) | Flex::Map(_) => value,
                scalar => Flex::List(vec![scalar; times]),
            }),
        ]
    })
}
