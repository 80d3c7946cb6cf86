//! Plans use the index that narrows most, and say so.

use reconvene_expr::{CompareOp, Expr, Literal, Path};
use reconvene_store::{Condition, Date, Store, StoreError};

use crate::world::{Item, open};

/// 300 items: `int` counts to 100 thrice, `flag` is true for every tenth.
fn counted() -> Store {
    let store = open("memory:");
    let item = |at: i32| Item {
        serial: at.cast_unsigned(),
        int: at % 100,
        flag: Some(at % 10 == 0),
        tiny: (at % 3) as u8,
        name: Some(format!("name {}", at % 50)),
        when: (at % 2 == 0).then_some(Date(at.into())),
        total: at.into(),
        ..Item::default()
    };
    store.write(|tx| tx.put_many::<Item, _>(&mut (0..300).map(item).collect::<Vec<_>>())).unwrap();
    store
}

#[test]
fn plans_use_what_narrows_most() {
    let store = counted();
    let items = store.boxed::<Item>().unwrap();
    for (condition, plan) in [
        ("true", "by id: all"),
        ("total == 7", "by id: all, each checked"),
        ("id == 7", "by id: one value"),
        ("id IN (3, 1, 2)", "by id: 3 values"),
        ("id > 5 AND id <= 9", "by id: a range"),
        ("serial == 7", "by index of serial: one value"),
        ("serial == 7 AND flag == true AND int < 3", "by index of serial: one value, each checked"),
        ("flag == false AND int == 5", "by index of int: one value, each checked"),
        ("flag == true AND int > 90 AND int < 93", "by index of int: a range, ids sorted, each checked"),
        ("flag == true AND int < 90", "by index of flag: one value, each checked"),
        ("int IN (5, 7, 5)", "by index of int: 2 values, ids sorted"),
        ("int > 5 AND int < 5", "nothing can match"),
        ("int > 5 AND int IN (1, 2)", "nothing can match"),
        ("int IN () AND total > 4", "nothing can match"),
        ("id == null", "nothing can match"),
        ("int == 5 OR total == 5", "by id: all, each checked"),
        ("int == 5 OR int == 7", "by index of int: 2 values, ids sorted"),
        (
            "int == 5 OR serial == 7",
            "by index of int: one value and by index of serial: one value, ids sorted",
        ),
        (
            "int == 5 AND total > 3 OR serial == 7",
            "by index of int: one value and by index of serial: one value, ids sorted, each checked",
        ),
        (
            "(int == 5 OR serial == 7) AND flag == false AND total > 0",
            "by index of int: one value and by index of serial: one value, ids sorted, each checked",
        ),
        ("NOT (int != 5 OR flag == true)", "by index of int: a range, ids sorted, each checked"),
        ("int BETWEEN 5 AND 7", "by index of int: a range, ids sorted"),
        ("tiny != 0 AND tiny != 1 AND tiny != 2", "by index of tiny: 2 ranges, ids sorted"),
        ("NOT tiny IN (0, 1, 2)", "by index of tiny: 2 ranges, ids sorted"),
        ("parent.serial == 7", "by index of parent: one value"),
        ("parent.serial == 777", "nothing can match"),
        ("parent.serial != 7", "by id: all, each checked"),
        ("ANY Item.parent (serial == 7)", "nothing can match"),
        ("COUNT tags > 1", "by id: all, each checked"),
        ("NOT int == 5", "by id: all, each checked"),
        ("int != 5", "by id: all, each checked"),
        ("when == null", "by index of when: one value"),
        ("when != null", "by index of when: a range, ids sorted"),
        ("parent == 3", "by index of parent: one value"),
        ("parent == 0", "by index of parent: one value"),
        ("name == \"name 7\"", "by index of name: one value"),
        ("name ^= \"name 4\"", "by index of name: a range, ids sorted"),
        ("name ^=~ \"name 4\"", "by id: all, each checked"),
        ("name == \"name 7\" AND name *= \"7\"", "by index of name: one value, each checked"),
    ] {
        assert_eq!(
            items.query_text(condition).unwrap().explain().unwrap().plan,
            format!("Item {plan}"),
            "{condition}"
        );
    }
    let long = "x".repeat(500);
    let cut = items.query(Item::name().eq(&long));
    assert_eq!(cut.explain().unwrap().plan, "Item by index of name: one value, each checked");
}

#[test]
fn indexes_serve_orders() {
    let store = counted();
    let items = store.boxed::<Item>().unwrap();
    let all = || items.query(Condition::all());
    let int = || items.query(Item::int().lt(50));
    for (query, plan) in [
        (all().order_by(Item::int()), "by index of int: all"),
        (all().order_by_desc(Item::int()), "by index of int: all, backward"),
        (all().order_by(Item::int()).order_by(Item::id()).order_by(Item::flag()), "by index of int: all"),
        (all().order_by(Item::int()).order_by_desc(Item::id()), "by id: all, values sorted"),
        (all().order_by(Item::int()).order_by(Item::flag()), "by id: all, values sorted"),
        (all().order_by(Item::name()), "by index of name: all"),
        (all().order_by_desc(Item::name()), "by index of name: all, backward"),
        (all().order_by(Item::name().asc().no_case()), "by id: all, values sorted"),
        (all().order_by(Item::when().asc().nulls_last()), "by index of when: all, nulls last"),
        (all().order_by(Item::when().desc().nulls_last()), "by index of when: all, backward"),
        (all().order_by(Item::when().desc().nulls_first()), "by index of when: all, backward, nulls first"),
        (all().order_by(Item::parent().then(Item::int())), "by id: all, values sorted"),
        (all().order_by_desc(Item::id()).order_by(Item::name()), "by id: all, backward"),
        (int().order_by(Item::int()), "by index of int: a range"),
        (int().order_by_desc(Item::int()), "by index of int: a range, backward"),
        (int().order_by(Item::flag()), "by index of int: a range, values sorted"),
        (items.query(Item::int().eq(5)).order_by(Item::int()), "by index of int: one value"),
        (items.query(Item::int().eq(5)).order_by_desc(Item::id()), "by index of int: one value, backward"),
        (items.query(Item::total().eq(5)).order_by(Item::when()), "by index of when: all, each checked"),
    ] {
        assert_eq!(query.explain().unwrap().plan, format!("Item {plan}"), "{query:?}");
    }
}

#[test]
fn the_smaller_index_is_taken_whichever_comes_first() {
    let store = open("memory:");
    // Six objects in the range of one index, hundreds with the one value of the other.
    let item = |at: i32| Item { serial: at.cast_unsigned(), int: at, tiny: 7, ..Item::default() };
    store.write(|tx| tx.put_many::<Item, _>(&mut (0..300).map(item).collect::<Vec<_>>())).unwrap();
    let query = store.boxed::<Item>().unwrap().query(Item::int().lt(6) & Item::tiny().eq(7));
    assert_eq!(query.explain().unwrap().plan, "Item by index of int: a range, ids sorted, each checked");
    let query = store.boxed::<Item>().unwrap().query(Item::tiny().eq(7) & Item::id().lt(6));
    assert_eq!(query.explain().unwrap().plan, "Item by id: a range, each checked");
}

#[test]
fn many_are_sorted_without_being_kept() {
    let store = open("memory:");
    let item = |at: u32| Item {
        serial: at,
        total: i64::from(at.wrapping_mul(2_654_435_761) >> 8),
        ..Item::default()
    };
    let mut all: Vec<Item> = (0..5000).map(item).collect();
    store.write(|tx| tx.put_many::<Item, _>(&mut all)).unwrap();
    all.sort_by_key(|item| (std::cmp::Reverse(item.total), item.id));
    let items = store.boxed::<Item>().unwrap();
    for (offset, limit) in [(0, 1), (3, 10), (1000, 700), (4990, 100), (6000, 5), (0, 5000), (2, u64::MAX)] {
        let found = items.query(Condition::all()).order_by_desc(Item::total()).offset(offset).limit(limit);
        let expected = all.iter().skip(offset as usize).take(limit.try_into().unwrap()).map(|item| item.id);
        assert_eq!(found.find_ids().unwrap(), expected.collect::<Vec<_>>(), "{offset} {limit}");
    }
}

#[test]
fn a_query_looks_anew_each_time() {
    let store = counted();
    let items = store.boxed::<Item>().unwrap();
    let query = items.query(Item::int().eq(5));
    assert_eq!(query.count().unwrap(), 3);
    items.remove(query.first().unwrap().unwrap().id).unwrap();
    assert_eq!((query.count().unwrap(), query.clone().limit(1).count().unwrap()), (2, 1));
    assert_eq!(format!("{query:?}"), "Query(Item: int == 5)");
}

#[test]
fn an_aborted_transaction_leaves_indexes_as_they_were() {
    let store = counted();
    let query = store.boxed::<Item>().unwrap().query(Item::int().eq(5));
    let before = query.find_ids().unwrap();
    let aborted = store.write(|tx| {
        assert_eq!(tx.query(Item::int().eq(5))?.remove()?, 3);
        assert_eq!(tx.query(Item::int().eq(5))?.count()?, 0);
        Err::<(), _>(StoreError::application("no"))
    });
    assert!(aborted.is_err());
    assert_eq!(query.find_ids().unwrap(), before);
}

#[test]
fn conditions_that_do_not_fit_say_so() {
    let store = open("memory:");
    let items = store.boxed::<Item>().unwrap();
    assert!(matches!(items.query_text("int ="), Err(StoreError::ConditionText(_))));
    let unknown = items.query_text("it == 5").unwrap_err();
    assert!(matches!(unknown, StoreError::Condition(_)), "{unknown}");
    let built = items.query(Condition::new(Expr::Compare {
        path: Path::property("nmae"),
        op: CompareOp::Eq,
        value: Literal::Null.into(),
    }));
    for error in [built.find().unwrap_err(), built.count().unwrap_err(), built.remove().unwrap_err()] {
        assert_eq!(error.to_string(), "`Item` has no property `nmae`; did you mean `name`?");
    }
}
