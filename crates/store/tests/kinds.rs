//! Counters and sets in a store of its own: what puts do to them, and what they show.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use reconvene_model::Value;
use reconvene_store::{Counter, Entity, Object, Store, StoreError, ValueSet};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Part {
    id: u64,
    name: String,
    #[index]
    stock: Counter,
    tags: ValueSet<String>,
    shelves: ValueSet<i64>,
}

/// The same, but it travels.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Good {
    id: u64,
    name: String,
    #[index]
    stock: Counter,
    tags: ValueSet<String>,
    shelves: ValueSet<i64>,
}

fn tags<const N: usize>(tags: [&str; N]) -> ValueSet<String> {
    tags.map(str::to_owned).into()
}

macro_rules! for_both {
    ($($(#[doc = $doc:literal])* fn $name:ident($boxed:ident: $entity:ident) $body:block)+) => {
        mod local {
            use super::*;
            type E = Part;
            $($(#[doc = $doc])* #[test] fn $name() {
                type $entity = E;
                let store = Store::builder("memory:").entity::<E>().open().unwrap();
                let $boxed = store.boxed::<E>().unwrap();
                $body
            })+
        }
        mod synced {
            use super::*;
            type E = Good;
            $($(#[doc = $doc])* #[test] fn $name() {
                type $entity = E;
                let store = Store::builder("memory:").entity::<E>().open().unwrap();
                let $boxed = store.boxed::<E>().unwrap();
                $body
                assert_eq!(store.check().unwrap(), []);
            })+
        }
    };
}

for_both! {
    fn a_counter_is_added_to_and_never_set(parts: P) {
        let id = parts.put(&mut P { name: "Bolt".into(), stock: Counter::new(10), ..P::default() }).unwrap();
        assert_eq!(parts.add(id, P::stock(), 5).unwrap(), 15);
        parts.update(id, |part| part.stock.add(-2)).unwrap();
        assert_eq!(parts.get(id).unwrap().unwrap().stock.value(), 13);

        parts.put(&mut P { id, name: "Nut".into(), stock: Counter::new(99), ..P::default() }).unwrap();
        let read = parts.get(id).unwrap().unwrap();
        assert_eq!((read.name.as_str(), read.stock.value()), ("Nut", 13));
    }

    fn a_put_of_what_was_read_writes_how_much_was_added(parts: P) {
        let id = parts.put(&mut P { stock: Counter::new(10), tags: tags(["a"]), ..P::default() }).unwrap();
        let mut read = parts.get(id).unwrap().unwrap();
        parts.add(id, P::stock(), 100).unwrap();
        parts.update(id, |part| part.tags.insert("b".into())).unwrap();
        read.stock.add(3);
        read.tags.insert("c".into());
        read.tags.remove("a");
        parts.put(&mut read).unwrap();
        assert_eq!((read.stock.value(), &read.tags), (113, &tags(["b", "c"])), "it shows what is stored");
        parts.put(&mut read).unwrap();
        assert_eq!(parts.get(id).unwrap().unwrap().stock.value(), 113, "what was written is not added again");
    }

    fn what_an_undone_transaction_added_is_added_by_the_next_one(parts: P) {
        let id = parts.put(&mut P { stock: Counter::new(10), ..P::default() }).unwrap();
        let mut read = parts.get(id).unwrap().unwrap();
        read.stock.add(3);
        let undone: Result<(), StoreError> = parts.store().write(|tx| {
            tx.put(&mut read)?;
            tx.add(id, P::stock(), 50)?;
            Err(StoreError::application("on second thoughts"))
        });
        assert!(undone.is_err());
        assert_eq!(parts.get(id).unwrap().unwrap().stock.value(), 10);
        parts.put(&mut read).unwrap();
        assert_eq!(parts.get(id).unwrap().unwrap().stock.value(), 13);
    }

    fn a_bare_struct_makes_the_set_what_it_has(parts: P) {
        let id = parts.put(&mut P { tags: tags(["a", "b"]), shelves: [3, -1].into(), ..P::default() }).unwrap();
        parts.put(&mut P { id, tags: tags(["c", "b"]), ..P::default() }).unwrap();
        let read = parts.get(id).unwrap().unwrap();
        assert_eq!((&read.tags, read.shelves.is_empty()), (&tags(["b", "c"]), true));
    }

    fn several_changes_of_one_transaction_add_up(parts: P) {
        let id = parts.store().write(|tx| {
            let id = tx.put(&mut P { stock: Counter::new(10), tags: tags(["a"]), ..P::default() })?;
            tx.add(id, P::stock(), 5)?;
            tx.update(id, |part: &mut P| part.tags.remove("a"))?;
            tx.update(id, |part: &mut P| part.tags.insert("z".into()))?;
            tx.add(id, P::stock(), -1)?;
            Ok(id)
        }).unwrap();
        let read = parts.get(id).unwrap().unwrap();
        assert_eq!((read.stock.value(), &read.tags), (14, &tags(["z"])));
    }

    fn conditions_and_order_take_what_a_counter_shows(parts: P) {
        let mut ids = Vec::new();
        for stock in [5, -3, 0] {
            ids.push(parts.put(&mut P { stock: Counter::new(stock), ..P::default() }).unwrap());
        }
        parts.add(ids[1], P::stock(), 10).unwrap();
        let found = parts.query(P::stock().ge(5)).order_by_desc(P::stock()).find_ids().unwrap();
        assert_eq!(found, [ids[1], ids[0]]);
        assert_eq!(parts.query(P::stock().eq(0)).find_ids().unwrap(), [ids[2]]);
    }

    fn counters_wrap_around(parts: P) {
        let id = parts.put(&mut P { stock: Counter::new(i64::MAX), ..P::default() }).unwrap();
        assert_eq!(parts.add(id, P::stock(), 1).unwrap(), i64::MIN);
    }

    fn objects_without_structs_change_them_too(parts: P) {
        let store = parts.store().clone();
        let objects = store.objects(P::NAME).unwrap();
        let unsorted = Value::StringVector(vec!["b".into(), "a".into(), "b".into()]);
        let id = objects.put(&mut Object::new().with("stock", Value::Int(4)).with("tags", unsorted)).unwrap();
        let sorted = Value::StringVector(vec!["a".into(), "b".into()]);
        assert_eq!(objects.get(id).unwrap().unwrap().get("tags"), &sorted);
        assert_eq!(objects.add(id, "stock", 2).unwrap(), 6);
        let back = objects.get(id).unwrap().unwrap();
        objects.add(id, "stock", 1).unwrap();
        objects.put(&mut back.with("tags", Value::StringVector(vec!["c".into(), "b".into()]))).unwrap();
        let read = objects.get(id).unwrap().unwrap();
        assert_eq!(read.get("stock"), &Value::Int(7), "a put leaves counters as they are");
        assert_eq!(read.get("tags"), &Value::StringVector(vec!["b".into(), "c".into()]));
        let error = objects.add(id, "name", 1).unwrap_err();
        assert!(matches!(error, StoreError::NotACounter { .. }), "{error}");
        assert!(matches!(objects.add(id + 1, "stock", 1), Err(StoreError::NotFound { .. })));
    }
}

#[test]
fn a_set_that_grows_too_large_is_refused_and_leaves_the_rest() {
    let store = Store::builder("memory:").entity::<Good>().open().unwrap();
    let goods = store.boxed::<Good>().unwrap();
    let id = goods.put(&mut Good { tags: tags(["a"]), ..Good::default() }).unwrap();
    let error = goods.update(id, |good| good.tags.insert("x".repeat(5 << 20))).unwrap_err();
    assert!(matches!(error, StoreError::SetTooLarge { .. }), "{error}");
    assert_eq!(goods.get(id).unwrap().unwrap().tags, tags(["a"]));
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(name = "Good", sync, crate = "reconvene_store")]
struct PlainGood {
    id: u64,
    name: String,
    #[index]
    stock: i64,
}

#[test]
fn a_plain_property_does_not_become_a_counter_under_its_uid() {
    let directory = tempfile::tempdir().unwrap();
    Store::builder(directory.path()).entity::<PlainGood>().open().unwrap();
    let error = Store::builder(directory.path()).entity::<Good>().open().unwrap_err();
    assert!(error.to_string().contains("give the property a new uid"), "{error}");
}

#[test]
fn both_hashes_of_a_schema_cover_what_merges() {
    let [plain, merging] = [
        Store::builder("memory:").entity::<PlainGood>().open().unwrap(),
        Store::builder("memory:").entity::<Good>().open().unwrap(),
    ];
    assert_ne!(plain.schema().base_hash(), merging.schema().base_hash());
    let stock = &merging.schema().entity_by_name("Good").unwrap().property("stock").unwrap().clone();
    assert_eq!(stock.cell_type(), 64);
}

/// A store that begins to sync an entity uploads its objects with what their counters and sets have.
#[test]
fn a_local_entity_that_becomes_synced_keeps_what_was_counted() {
    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(name = "Good", crate = "reconvene_store")]
    struct LocalGood {
        id: u64,
        name: String,
        #[index]
        stock: Counter,
        tags: ValueSet<String>,
        shelves: ValueSet<i64>,
    }
    let directory = tempfile::tempdir().unwrap();
    let id = {
        let store = Store::builder(directory.path()).entity::<LocalGood>().open().unwrap();
        let goods = store.boxed::<LocalGood>().unwrap();
        let id =
            goods.put(&mut LocalGood { stock: Counter::new(3), tags: tags(["a"]), ..LocalGood::default() });
        let id = id.unwrap();
        goods.add(id, LocalGood::stock(), 4).unwrap();
        id
    };
    let store = Store::builder(directory.path()).entity::<Good>().open().unwrap();
    let read = store.boxed::<Good>().unwrap().get(id).unwrap().unwrap();
    assert_eq!((read.stock.value(), &read.tags), (7, &tags(["a"])));
    assert_eq!(store.sync().undecided().unwrap(), 1);
    assert_eq!(store.check().unwrap(), []);
}
