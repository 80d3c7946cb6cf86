//! What is done with results: unique ones, one after the other, changed, and parameters set anew.

use std::ops::ControlFlow;

use reconvene_store::{Condition, Flex, StoreError, param};

use crate::world::{Item, open};

fn filled() -> reconvene_store::Store {
    let store = open("memory:");
    let item = |at: u32| Item { serial: at, int: at as i32 % 10, total: at.into(), ..Item::default() };
    store.write(|tx| tx.put_many::<Item, _>(&mut (0..100).map(item).collect::<Vec<_>>())).unwrap();
    store
}

#[test]
fn a_unique_result_is_the_only_one() {
    let store = filled();
    let items = store.boxed::<Item>().unwrap();
    assert_eq!(items.query(Item::serial().eq(5)).unique().unwrap().unwrap().id, 6);
    assert!(items.query(Item::serial().eq(500)).unique().unwrap().is_none());
    let error = items.query(Item::int().eq(5)).unique().unwrap_err();
    assert_eq!(
        error.to_string(),
        "several objects of Item meet the condition, at least 6 and 16; narrow it, or ask for the first"
    );
}

#[test]
fn results_come_one_after_the_other_until_told_to_stop() {
    let store = filled();
    let items = store.boxed::<Item>().unwrap();
    let mut sum = 0;
    items
        .query(Item::int().eq(5))
        .order_by_desc(Item::id())
        .limit(3)
        .for_each(|item| {
            sum += item.total;
            Ok(())
        })
        .unwrap();
    assert_eq!(sum, 95 + 85 + 75);
    let mut seen = 0;
    let stopped = items.query(Condition::all()).visit(|item| {
        seen += 1;
        Ok(if item.total == 7 { ControlFlow::Break(item.id) } else { ControlFlow::Continue(()) })
    });
    assert_eq!((stopped.unwrap(), seen), (Some(8), 8));
    let failed = items.query(Condition::all()).for_each(|_| Err(StoreError::application("enough")));
    assert!(failed.is_err());
}

#[test]
fn results_are_changed_as_they_were_before_the_first_change() {
    let store = filled();
    let items = store.boxed::<Item>().unwrap();
    // Each change moves the object on within the index that the query walks along.
    assert_eq!(items.query(Item::int().ge(0)).update(|item| item.int += 100).unwrap(), 100);
    assert_eq!(items.query(Item::int().between(100, 109)).count().unwrap(), 100);
    store
        .write(|tx| {
            assert_eq!(tx.query(Item::int().eq(105))?.update(|item: &mut Item| item.int = 0)?, 10);
            assert_eq!(tx.query(Item::int().eq(0))?.count()?, 10);
            let objects = tx.objects("Item")?;
            let changed = objects.query_text("int == 0")?.update(|object| {
                object.values.insert("int".into(), reconvene_model::Value::Int(1));
            })?;
            assert_eq!(changed, 10);
            assert_eq!(tx.query(Item::int().eq(1))?.count()?, 10);
            Err::<(), _>(StoreError::application("no"))
        })
        .unwrap_err();
    assert_eq!(items.query(Item::int().eq(105)).count().unwrap(), 10);
    let error = items.query(Item::int().ge(0)).update(|item| item.serial = 1).unwrap_err();
    assert!(matches!(error, StoreError::UniqueViolation { .. }));
    assert_eq!(items.query(Item::serial().eq(1)).count().unwrap(), 1);
}

#[test]
fn parameters_are_set_as_often_as_needed() {
    let store = filled();
    let items = store.boxed::<Item>().unwrap();
    let mut query = items.query(Item::int().eq(param("int")) & Item::total().lt(param("below").or(50)));
    let missing = query.count().unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the parameter `$int`, compared with `Item.int`, has no value; set one before the query runs"
    );
    for (int, found) in [(3, 5), (4, 5), (40, 0)] {
        assert_eq!(query.set("int", int).unwrap().count().unwrap(), found);
    }
    assert_eq!(query.set("int", 3).unwrap().set("below", 100).unwrap().count().unwrap(), 10);
    let unfit = query.set("int", "three").unwrap_err();
    assert_eq!(
        unfit.to_string(),
        "the parameter `$int`: `Item.int` is of type Int and cannot be compared with text; compare it with a whole number"
    );
    assert!(query.set("int", 1_i64 << 40).is_err() && query.set("int", vec![1, 2]).is_err());
    assert_eq!(query.count().unwrap(), 10, "the former values stay");

    let mut listed = items.query_text("int IN $ints AND NOT serial IN (1, $more)").unwrap();
    listed.set("ints", [1, 2]).unwrap().set("more", vec![2, 11]).unwrap();
    assert_eq!(listed.count().unwrap(), 17);
    assert_eq!(listed.set("ints", Vec::<i32>::new()).unwrap().count().unwrap(), 0);
    let unknown = listed.set("int", 1).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no parameter `$int`; did you mean `$ints`?");

    let mut aliased = items.query(Item::int().eq(3).alias("int"));
    assert_eq!(aliased.count().unwrap(), 10);
    assert_eq!(aliased.set("int", 300).unwrap().count().unwrap(), 0);
}

#[test]
fn places_in_flex_values_are_compared() {
    let store = filled();
    let items = store.boxed::<Item>().unwrap();
    for (id, tree) in [
        (1, Flex::from_iter([("theme", Flex::from("dark")), ("sizes", Flex::from([1, 2]))])),
        (2, Flex::from_iter([("theme", "light")])),
        (3, Flex::from(7)),
    ] {
        items.update(id, |item| item.tree = tree).unwrap();
    }
    let found = |condition| items.query(condition).find_ids().unwrap();
    assert_eq!(found(Item::tree().key("theme").eq("dark")), [1]);
    assert_eq!(found(Item::tree().key("theme").starts_with("l") | Item::tree().between(6.5, 7_u64)), [2, 3]);
    assert_eq!(found(Item::tree().key("sizes").at(1).ge(1.5)), [1]);
    assert_eq!(found(Item::tree().key("sizes").any().one_of([param("size").or(2)])), [1]);
    assert_eq!(found(Item::tree().not_null() & Item::tree().key("sizes").count().eq(0_u64)), [2, 3]);
    let error = items.query_text("tree.theme ^= 5").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`^=` compares `Item.tree.theme` with text, not with a whole number; put it in quotes, or use another operator"
    );
}
