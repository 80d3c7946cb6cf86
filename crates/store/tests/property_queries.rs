//! Property queries: the same with and without indexes, and what a plain loop over the objects finds.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::path::Path;

use proptest::prelude::*;
use reconvene_model::Value;
use reconvene_store::{Condition, Date, Entity, EntityBox, Store, StoreError, ToOne};
use support::{builder, on_both};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Plain {
    id: u64,
    signed: i32,
    unsigned: u16,
    double: f64,
    float: Option<f32>,
    text: Option<String>,
    date: Option<Date>,
    group: i8,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Indexed {
    id: u64,
    #[index]
    signed: i32,
    #[index]
    unsigned: u16,
    #[index]
    double: f64,
    #[index]
    float: Option<f32>,
    #[index]
    text: Option<String>,
    #[index]
    date: Option<Date>,
    #[index]
    group: i8,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Large {
    id: u64,
    long: i64,
    unsigned: u64,
    #[index]
    parent: ToOne<Large>,
    flag: bool,
}

fn boxed<T: Entity>(directory: &Path) -> EntityBox<T> {
    let store: Store =
        builder(directory).entity::<Plain>().entity::<Indexed>().entity::<Large>().open().unwrap();
    store.boxed().unwrap()
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-4..4_i32).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(-0.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        2 => any::<f64>(),
    ]
}

fn text() -> impl Strategy<Value = Option<String>> {
    let long = "x".repeat(600);
    prop_oneof![
        1 => Just(None),
        4 => "[a-c\u{0}]{0,3}".prop_map(Some),
        // Alike up to where an index cuts them.
        2 => (0..4_u8).prop_map(move |end| Some(format!("{long}{end}"))),
    ]
}

prop_compose! {
    fn object()(
        signed in -5..5_i32,
        unsigned in prop_oneof![0..3_u16, u16::MAX - 2..=u16::MAX],
        double in number(),
        float in proptest::option::of(number()),
        text in text(),
        date in proptest::option::of(-3..3_i64),
        group in 0..3_i8,
    ) -> Plain {
        #[expect(clippy::cast_possible_truncation, reason = "any float does")]
        let float = float.map(|float| float as f32);
        Plain { id: 0, signed, unsigned, double, float, text, date: date.map(Date), group }
    }
}

fn indexed(of: &Plain) -> Indexed {
    let Plain { id, signed, unsigned, double, float, text, date, group } = of.clone();
    Indexed { id, signed, unsigned, double, float, text, date, group }
}

/// NaN is the largest, and -0 equals 0.
fn order(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap(),
        (a, b) => a.cmp(&b),
    }
}

/// Whether two sums are the same; which NaN it is says nothing.
fn same(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits()
}

/// Bits, so that NaN equals itself and -0 does not equal 0.
fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// Compares every property query of one kind of objects with loops over `objects`, which are the selected ones in order.
macro_rules! check {
    ($query:expr, $objects:expr, $entity:ident) => {{
        let (query, objects): (_, &[Plain]) = (&$query, $objects);
        let whole: Vec<i64> = objects.iter().map(|object| object.signed.into()).collect();
        let signed = query.property($entity::signed());
        prop_assert_eq!(signed.count().unwrap(), whole.len() as u64);
        prop_assert_eq!(signed.sum().unwrap(), whole.iter().sum::<i64>());
        prop_assert_eq!(signed.min().unwrap().map(i64::from), whole.iter().copied().min());
        prop_assert_eq!(signed.max().unwrap().map(i64::from), whole.iter().copied().max());
        let mean = (!whole.is_empty()).then(|| whole.iter().sum::<i64>() as f64 / whole.len() as f64);
        prop_assert_eq!(signed.avg().unwrap(), mean);
        let mut unsigned: Vec<u16> = objects.iter().map(|object| object.unsigned).collect();
        let property = query.property($entity::unsigned());
        prop_assert_eq!(property.sum().unwrap(), unsigned.iter().copied().map(u64::from).sum::<u64>());
        prop_assert_eq!(property.max().unwrap(), unsigned.iter().copied().max());
        unsigned.sort_unstable();
        unsigned.dedup();
        prop_assert_eq!(property.distinct().unwrap(), unsigned);

        let doubles: Vec<f64> = objects.iter().map(|object| object.double).collect();
        let property = query.property($entity::double());
        let sum = doubles.iter().fold(0.0, |sum, double| sum + double);
        prop_assert!(same(property.sum().unwrap(), sum), "{:?} is not {sum:?}", property.sum());
        let by_id: Vec<f64> = {
            let mut objects = objects.to_vec();
            objects.sort_by_key(|object| object.id);
            objects.iter().map(|object| object.double).collect()
        };
        let mut sorted = by_id.clone();
        sorted.sort_by(|a, b| order(*a, *b));
        let least = sorted.first().copied();
        prop_assert_eq!(property.min().unwrap().map(f64::to_bits), least.map(f64::to_bits));
        let most = by_id.iter().copied().reduce(|a, b| if order(b, a).is_gt() { b } else { a });
        prop_assert_eq!(property.max().unwrap().map(f64::to_bits), most.map(f64::to_bits));
        sorted.dedup_by(|a, b| order(*a, *b).is_eq());
        prop_assert_eq!(bits(&property.distinct().unwrap()), bits(&sorted));

        let floats: Vec<f32> = objects.iter().filter_map(|object| object.float).collect();
        let property = query.property($entity::float());
        prop_assert_eq!(property.count().unwrap(), floats.len() as u64);
        let sum = floats.iter().fold(0.0, |sum, float| sum + f64::from(*float));
        prop_assert!(same(property.sum().unwrap(), sum), "{:?} is not {sum:?}", property.sum());

        let mut texts: Vec<String> = objects.iter().filter_map(|object| object.text.clone()).collect();
        let property = query.property($entity::text());
        prop_assert_eq!(property.count().unwrap(), texts.len() as u64);
        prop_assert_eq!(property.min().unwrap(), texts.iter().min().cloned());
        prop_assert_eq!(property.max().unwrap(), texts.iter().max().cloned());
        prop_assert_eq!(&property.values().unwrap(), &texts);
        texts.sort();
        texts.dedup();
        prop_assert_eq!(property.distinct().unwrap(), texts);

        let dates: Vec<Date> = objects.iter().filter_map(|object| object.date).collect();
        let property = query.property($entity::date());
        prop_assert_eq!(property.min().unwrap(), dates.iter().copied().min());
        prop_assert_eq!(property.max().unwrap(), dates.iter().copied().max());
        let ids: Vec<u64> = objects.iter().map(|object| object.id).collect();
        prop_assert_eq!(query.property($entity::id()).max().unwrap(), ids.iter().copied().max());
        prop_assert_eq!(query.property($entity::id()).count().unwrap(), ids.len() as u64);
    }};
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn they_find_what_a_loop_finds(
        objects in proptest::collection::vec(object(), 0..60),
        group in 0..3_i8,
        offset in 0..4_u64,
        limit in 0..9_u64,
    ) {
        let (plain, with_index) = (boxed::<Plain>(Path::new("memory:")), boxed::<Indexed>(Path::new("memory:")));
        let mut objects = objects;
        for (at, object) in objects.iter_mut().enumerate() {
            object.id = at as u64 + 1;
            plain.put(&mut Plain { id: 0, ..object.clone() }).unwrap();
            with_index.put(&mut Indexed { id: 0, ..indexed(object) }).unwrap();
        }
        check!(plain.query(Condition::all()), &objects, Plain);
        check!(with_index.query(Condition::all()).order_by_desc(Indexed::text()), &objects, Indexed);
        let of_group: Vec<Plain> = objects.iter().filter(|object| object.group == group).cloned().collect();
        check!(plain.query(Plain::group().eq(group)), &of_group, Plain);
        check!(with_index.query(Indexed::group().eq(group)), &of_group, Indexed);
        let mut part = of_group;
        part.sort_by_key(|object| (std::cmp::Reverse(object.signed), object.id));
        let part: Vec<Plain> = part.into_iter().skip(offset as usize).take(limit as usize).collect();
        let query = plain.query(Plain::group().eq(group)).order_by_desc(Plain::signed());
        check!(query.offset(offset).limit(limit), &part, Plain);
        let query = with_index.query(Indexed::group().eq(group)).order_by_desc(Indexed::signed());
        check!(query.offset(offset).limit(limit), &part, Indexed);
    }
}

#[test]
fn a_sum_that_does_not_fit_is_an_error() {
    on_both(|directory| {
        let of = boxed::<Large>(directory);
        let large = |long, unsigned| Large { long, unsigned, ..Large::default() };
        of.put_many(&mut [large(i64::MAX, u64::MAX), large(i64::MAX, 1), large(-1, 0)]).unwrap();
        let all = of.query(Condition::all());
        let error = all.property(Large::long()).sum().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the values of Large.long add up to 18446744073709551613, which does not fit into 64 bits; add up fewer of them \
             at a time, or ask for their mean"
        );
        assert!(matches!(all.property(Large::unsigned()).sum(), Err(StoreError::SumTooLarge { .. })));
        assert_eq!(all.property(Large::unsigned()).max().unwrap(), Some(u64::MAX));
        assert_eq!(all.property(Large::long()).avg().unwrap(), Some(6_148_914_691_236_517_204.0));
        // What fits in the end may be larger on the way.
        of.put(&mut large(i64::MIN, 0)).unwrap();
        assert_eq!(all.property(Large::long()).sum().unwrap(), i64::MAX - 2);
        let by_name = of.store().objects("Large").unwrap();
        let query = by_name.query_text("unsigned > 1").unwrap();
        assert_eq!(
            query.property("unsigned").unwrap().sum().unwrap(),
            Value::Int(-1),
            "the bits of an unsigned number"
        );
        let no_number = query.property("flag").unwrap().sum().unwrap_err();
        assert_eq!(
            no_number.to_string(),
            "Large.flag is of type Bool, whose values cannot be added up; choose a property with numbers"
        );
        assert!(matches!(query.property("flg"), Err(StoreError::UnknownProperty { .. })));
    });
}

#[test]
fn links_and_booleans_have_distinct_values_and_transactions_see_their_own_writes() {
    on_both(|directory| {
        let of = boxed::<Large>(directory);
        of.put_many(&mut [Large::default(), Large::default()]).unwrap();
        for parent in [2, 1, 2, 2] {
            of.put(&mut Large { parent: ToOne::new(parent), flag: parent == 1, ..Large::default() }).unwrap();
        }
        let all = of.query(Condition::all());
        let ids = |links: Vec<ToOne<Large>>| links.iter().map(ToOne::id).collect::<Vec<_>>();
        assert_eq!(ids(all.property(Large::parent()).distinct().unwrap()), [1, 2]);
        assert_eq!(all.property(Large::parent()).count().unwrap(), 4);
        assert_eq!(all.property(Large::flag()).distinct().unwrap(), [false, true]);
        of.store()
            .write(|tx| {
                tx.put(&mut Large { long: 7, parent: ToOne::new(6), ..Large::default() })?;
                let query = tx.query::<Large>(Condition::all())?;
                assert_eq!(query.property(Large::long()).max()?, Some(7));
                assert_eq!(ids(query.property(Large::parent()).distinct()?), [1, 2, 6]);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn distinct_skips_through_an_index_with_many_equal_values() {
    let of = boxed::<Indexed>(Path::new("memory:"));
    let mut objects: Vec<Indexed> =
        (0..900).map(|at| Indexed { signed: at % 3, group: 1, ..Indexed::default() }).collect();
    of.put_many(&mut objects).unwrap();
    let all = of.query(Condition::all());
    assert_eq!(all.property(Indexed::signed()).distinct().unwrap(), [0, 1, 2]);
    assert_eq!(all.property(Indexed::group()).distinct().unwrap(), [1]);
    assert_eq!(all.property(Indexed::text()).distinct().unwrap(), Vec::<String>::new());
    assert_eq!(
        (all.property(Indexed::text()).min().unwrap(), all.property(Indexed::text()).count().unwrap()),
        (None, 0)
    );
}
