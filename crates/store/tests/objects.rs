//! Objects without structs are the same objects as those of structs, under the names of their properties.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use proptest::prelude::*;
use reconvene_model::change::OpKind;
use reconvene_model::evolve::name_uid;
use reconvene_model::{PropertyType, Value};
use reconvene_store::{Date, Entity, Flex, Object, Store, StoreError, ToOne};
use support::{builder, on_both, outbox};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", self_assigned_ids)]
struct Kind {
    id: u64,
    bit: bool,
    byte: i8,
    tiny: u8,
    short: Option<u16>,
    int: i32,
    big: u64,
    float: f32,
    double: Option<f64>,
    when: Date,
    text: Option<String>,
    link: ToOne<Kind>,
    flex: Flex,
    bits: Vec<bool>,
    bytes: Vec<u8>,
    shorts: Vec<i16>,
    longs: Option<Vec<i64>>,
    doubles: Vec<f64>,
    strings: Vec<String>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", sync)]
struct Task {
    id: u64,
    #[unique]
    title: String,
    #[index]
    done: bool,
    effort: i32,
}

fn kinds() -> Store {
    Store::builder("memory:").entity::<Kind>().open().unwrap()
}

fn task(title: &str) -> Object {
    Object::new().with("title", Value::String(title.to_owned()))
}

proptest! {
    #[test]
    fn structs_and_objects_are_the_same(
        numbers: (i8, u8, Option<u16>, i32, u64, i64),
        floats: (f32, Option<f64>, Vec<f64>),
        texts: (Option<String>, Vec<String>),
        vectors: (Vec<bool>, Vec<u8>, Vec<i16>, Option<Vec<i64>>),
        bit: bool,
    ) {
        let (byte, tiny, short, int, big, when) = numbers;
        let (float, double, doubles) = floats;
        let (text, strings) = texts;
        let (bits, bytes, shorts, longs) = vectors;
        let mut kind = Kind {
            id: 0, bit, byte, tiny, short, int, big, float, double, when: Date(when), text: text.clone(), link: ToOne::new(1),
            flex: Flex::bytes(bytes.clone()), bits, bytes: bytes.clone(), shorts, longs, doubles, strings: strings.clone(),
        };
        let store = kinds();
        let (boxed, objects) = (store.boxed::<Kind>().unwrap(), store.objects("Kind").unwrap());
        boxed.put(&mut kind).unwrap();
        let object = objects.get(kind.id).unwrap().unwrap();

        // Numbers are what they mean: unsigned ones are not negative, unless they fill all 64 bits.
        prop_assert_eq!(object.get("tiny"), &Value::Int(tiny.into()));
        prop_assert_eq!(object.get("byte"), &Value::Int(byte.into()));
        prop_assert_eq!(object.get("short"), &short.map_or(Value::Null, |short| Value::Int(short.into())));
        prop_assert_eq!(object.get("big"), &Value::Int(big.cast_signed()));
        prop_assert_eq!(object.get("when"), &Value::Int(when));
        prop_assert_eq!(object.get("text"), &text.map_or(Value::Null, Value::String));
        prop_assert_eq!(object.get("link"), &Value::Relation(1));
        prop_assert_eq!(object.get("flex"), &Value::Flex(Flex::Bytes(bytes)));
        prop_assert_eq!(object.get("strings"), &Value::StringVector(strings));
        prop_assert_eq!(object.values.len(), 18);

        // Another object with the same values is the same struct.
        let mut copy = Object { id: 0, ..object };
        let id = objects.put(&mut copy).unwrap();
        prop_assert_eq!(copy.id, id);
        prop_assert_eq!(boxed.get(id).unwrap().unwrap().into_inner(), Kind { id, ..kind });
    }
}

#[test]
fn a_put_overwrites_what_it_names() {
    on_both(|directory| {
        let store = builder(directory).entity::<Task>().open().unwrap();
        let tasks = store.objects("Task").unwrap();
        let id = tasks.put(&mut task("dig").with("effort", Value::Int(3))).unwrap();
        tasks.put(&mut Object::with_id(id).with("done", Value::Bool(true))).unwrap();
        tasks.put(&mut Object::with_id(id).with("effort", Value::Null)).unwrap();
        let stored = store.boxed::<Task>().unwrap().get(id).unwrap().unwrap().into_inner();
        assert_eq!(stored, Task { id, title: "dig".to_owned(), done: true, effort: 0 });

        // Only what was named travels.
        let txs = outbox(&store);
        let written: Vec<(OpKind, usize)> =
            txs.iter().map(|(_, ops)| (ops[0].kind, ops[0].cells.len())).collect();
        assert_eq!(written, [(OpKind::Insert, 3), (OpKind::Update, 1), (OpKind::Update, 1)]);
        assert_eq!(txs[1].1[0].cells[0].uid, name_uid("Task.done"));

        // Naming nothing writes nothing.
        tasks.put(&mut Object::with_id(id)).unwrap();
        assert_eq!(outbox(&store).len(), 3);
    });
}

#[test]
fn objects_come_and_go() {
    on_both(|directory| {
        let store = builder(directory).entity::<Task>().open().unwrap();
        let tasks = store.objects("Task").unwrap();
        let mut many: Vec<Object> = ["dig", "sow", "weed"].map(task).into();
        tasks.put_many(&mut many).unwrap();
        assert_eq!(many.iter().map(|task| task.id).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(
            (tasks.count().unwrap(), tasks.contains(2).unwrap(), tasks.contains(9).unwrap()),
            (3, true, false)
        );
        assert!(tasks.remove(2).unwrap() && !tasks.remove(2).unwrap());
        assert_eq!(tasks.get(2).unwrap(), None);
        assert_eq!(tasks.all().unwrap().iter().map(|task| task.id).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(tasks.remove_all().unwrap(), 2);
        assert_eq!(tasks.count().unwrap(), 0);
    });
}

#[test]
fn they_are_part_of_transactions() {
    let store = Store::builder("memory:").entity::<Task>().open().unwrap();
    store
        .write(|tx| {
            let tasks = tx.objects("Task")?;
            let id = tasks.put(&mut task("dig").with("done", Value::Bool(true)))?;
            assert_eq!(tasks.query_text("done == true")?.find_ids()?, [id]);
            assert_eq!(
                tasks.query_text("title == \"dig\"")?.explain()?.plan,
                "Task by index of title: one value"
            );
            tasks.put(&mut Object::with_id(id).with("done", Value::Bool(false)))?;
            assert_eq!(tasks.query_text("done == true")?.count()?, 0);
            Ok(())
        })
        .unwrap();
    let aborted = store.write(|tx| {
        assert_eq!(tx.objects("Task")?.query_text("done == false")?.remove()?, 1);
        Err::<(), _>(StoreError::application("no"))
    });
    assert!(aborted.is_err());
    let found =
        store.read(|tx| tx.objects("Task")?.query_text("true")?.order_by_desc("title")?.first()).unwrap();
    assert_eq!(found.unwrap().get("title"), &Value::String("dig".to_owned()));
    assert_eq!(outbox(&store).len(), 1);
}

#[test]
fn mistakes_are_named() {
    let store = Store::builder("memory:").entity::<Task>().entity::<Kind>().open().unwrap();
    let tasks = store.objects("Task").unwrap();
    let text = |error: StoreError| error.to_string();
    let put = |object: Object| text(tasks.put(&mut object.clone()).unwrap_err());
    assert_eq!(
        put(Object::new().with("efort", Value::Int(1))),
        r#"Task has no property "efort" (did you mean "effort"?)"#
    );
    assert_eq!(put(Object::new().with("owner", Value::Int(1))), r#"Task has no property "owner""#);
    assert_eq!(
        put(Object::new().with("done", Value::Int(1))),
        "Task.done: an integer is not a value for a Bool property"
    );
    assert_eq!(
        put(Object::new().with("effort", Value::Int(1 << 32))),
        "Task.effort: 4294967296 does not fit a Int property"
    );
    assert_eq!(
        put(Object::new().with("id", Value::Int(7))),
        "Task.id is the id of the object, not one of its values; set the object's id instead"
    );
    assert!(matches!(tasks.put(&mut Object::with_id(7)), Err(StoreError::NotFound { id: 7, .. })));
    tasks.put(&mut task("dig")).unwrap();
    let mut again = task("dig");
    assert!(matches!(tasks.put(&mut again), Err(StoreError::UniqueViolation { other: 1, .. })));
    assert_eq!(again, task("dig"));
    assert_eq!(tasks.count().unwrap(), 1);

    let order = |name| tasks.query_text("true").unwrap().order_by(name).map(|_| ()).map_err(text);
    assert_eq!(order("titel").unwrap_err(), r#"Task has no property "titel" (did you mean "title"?)"#);
    let kinds = store.objects("Kind").unwrap();
    let unordered = kinds.query_text("true").unwrap().order_by("strings").unwrap_err();
    assert!(matches!(unordered, StoreError::NotOrdered { ty: PropertyType::StringVector, .. }));
    assert!(matches!(tasks.query_text("title >"), Err(StoreError::ConditionText(_))));
    assert!(matches!(tasks.query_text("titel == \"x\""), Err(StoreError::Condition(_))));
    assert!(
        matches!(store.objects("task"), Err(StoreError::UnknownEntity { near: Some(near), .. }) if near == "Task")
    );
}
