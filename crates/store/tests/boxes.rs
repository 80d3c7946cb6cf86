//! Boxes and the same methods of transactions: what is put comes back, and what is refused leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::path::Path;

use proptest::prelude::*;
use reconvene_model::change::OpKind;
use reconvene_model::evolve::EntityDescription;
use reconvene_model::{PropertyFlags, PropertyType};
use reconvene_store::{Date, DateNano, Entity, EntityBox, Flex, Store, StoreError, ToOne};
use support::{builder, on_both, outbox, written};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Everything {
    id: u64,
    a_bool: bool,
    an_i8: i8,
    an_i16: i16,
    an_i32: i32,
    an_i64: i64,
    a_u8: u8,
    a_u16: u16,
    a_u32: u32,
    #[index]
    a_u64: u64,
    #[index]
    an_f32: f32,
    an_f64: f64,
    #[property(ty = "Char")]
    a_char: u16,
    #[index]
    a_date: Date,
    a_date_nano: DateNano,
    #[index]
    a_string: String,
    a_flex: Flex,
    a_link: ToOne<Everything>,
    bools: Vec<bool>,
    bytes: Vec<u8>,
    i16s: Vec<i16>,
    i32s: Vec<i32>,
    i64s: Vec<i64>,
    f32s: Vec<f32>,
    f64s: Vec<f64>,
    strings: Vec<String>,
    dates: Vec<Date>,
    date_nanos: Vec<DateNano>,
    #[index]
    maybe_int: Option<i32>,
    maybe_string: Option<String>,
    maybe_strings: Option<Vec<String>>,
    #[transient]
    scratch: u32,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Shop {
    id: u64,
    name: String,
    stock: i64,
    note: Option<String>,
    town: ToOne<Town>,
}

const SHOP: [&str; 4] = ["name", "stock", "note", "town"];

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, conflict = "object", crate = "reconvene_store")]
struct Town {
    id: u64,
    name: String,
    people: u32,
}

/// The same entity, seen by a part of the program that knows less of it and takes null for zero.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(name = "Shop", sync, crate = "reconvene_store")]
struct ShopNote {
    id: u64,
    note: String,
    stock: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, crate = "reconvene_store")]
struct Setting {
    id: u64,
    value: String,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(self_assigned_ids, crate = "reconvene_store")]
struct Chosen {
    id: u64,
    #[index]
    value: i32,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct User {
    id: u64,
    #[unique]
    email: Option<String>,
    #[unique]
    number: Option<i32>,
    #[unique]
    twin: ToOne<User>,
    friend: ToOne<Chosen>,
}

fn open(directory: &Path) -> Store {
    let with_unique = builder(directory).entity::<Everything>().entity::<User>().entity::<Chosen>();
    with_unique.entity::<Shop>().entity::<Town>().entity::<Setting>().open().unwrap()
}

fn shops(directory: &Path) -> EntityBox<Shop> {
    open(directory).boxed().unwrap()
}

fn full() -> Everything {
    Everything {
        id: 0,
        a_bool: true,
        an_i8: i8::MIN,
        an_i16: i16::MIN,
        an_i32: i32::MIN,
        an_i64: i64::MIN,
        a_u8: u8::MAX,
        a_u16: u16::MAX,
        a_u32: u32::MAX,
        a_u64: u64::MAX,
        an_f32: -0.0,
        an_f64: f64::MIN_POSITIVE,
        a_char: u16::MAX,
        a_date: Date(i64::MIN),
        a_date_nano: DateNano(i64::MAX),
        a_string: "Zürich \0 東京 🏔".repeat(300),
        a_flex: Flex::from([1, 2]),
        a_link: ToOne::none(),
        bools: vec![true, false, true],
        bytes: (0..=255).collect(),
        i16s: vec![i16::MIN, -1, i16::MAX],
        i32s: vec![i32::MIN, -1, i32::MAX],
        i64s: vec![i64::MIN, -1, i64::MAX],
        f32s: vec![f32::MIN, f32::INFINITY],
        f64s: vec![f64::MAX, f64::NEG_INFINITY],
        strings: vec![String::new(), "a\0b".into(), "ü".repeat(1000)],
        dates: vec![Date(-1), Date(0)],
        date_nanos: vec![DateNano(7)],
        maybe_int: Some(0),
        maybe_string: Some(String::new()),
        maybe_strings: Some(Vec::new()),
        scratch: 0,
    }
}

#[test]
fn every_type_of_property_comes_back() {
    on_both(|directory| {
        let everything = open(directory).boxed::<Everything>().unwrap();
        let (mut zero, mut one) = (Everything::default(), full());
        assert_eq!(everything.put(&mut zero).unwrap(), 1);
        assert_eq!(everything.put(&mut one).unwrap(), 2);
        assert_eq!((zero.id, one.id), (1, 2));
        one.a_link.set(1);
        one.scratch = 5;
        everything.put(&mut one).unwrap();
        one.scratch = 0;
        assert_eq!(everything.get(1).unwrap().unwrap(), zero);
        assert_eq!(everything.get(2).unwrap().unwrap(), one);
        // Set to zeros and back, so that each property is overwritten both ways.
        everything.put(&mut Everything { id: 2, ..Everything::default() }).unwrap();
        assert_eq!(everything.get(2).unwrap().unwrap(), Everything { id: 2, ..Everything::default() });
        everything.update(2, |object| *object = Everything { id: 99, ..one.clone() }).unwrap();
        assert_eq!(everything.get(2).unwrap().unwrap(), one, "a closure cannot change the id");
        assert_eq!(everything.count().unwrap(), 2);
    });
}

#[test]
fn all_methods_of_boxes_and_transactions_agree() {
    on_both(|directory| {
        let everything = open(directory).boxed::<Everything>().unwrap();
        assert!(everything.is_empty().unwrap());
        assert_eq!(everything.all().unwrap().len(), 0);
        let mut objects: Vec<Everything> =
            (0..10).map(|an_i32| Everything { an_i32, ..Everything::default() }).collect();
        everything.put_many(&mut objects).unwrap();
        assert_eq!(objects.iter().map(|object| object.id).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        assert_eq!(everything.all().unwrap(), objects);
        let some = everything.get_many(&[7, 99, 3, 7, 0]).unwrap();
        assert_eq!(some.iter().map(|object| object.id).collect::<Vec<_>>(), [7, 3, 7]);
        assert!(everything.contains(10).unwrap() && !everything.contains(11).unwrap());
        assert!(!everything.contains(0).unwrap() && everything.get(0).unwrap().is_none());
        assert!(everything.remove(4).unwrap() && !everything.remove(4).unwrap());
        assert_eq!(everything.remove_many(&[4, 5, 6, 5]).unwrap(), 2);
        let mut read = everything.get_many(&[1, 2]).unwrap();
        read.iter_mut().for_each(|object| object.an_i32 += 100);
        everything.put_many(&mut read).unwrap();
        let store = everything.store().clone();
        let in_transaction = |tx: &mut reconvene_store::WriteTxn<'_>| {
            assert_eq!(tx.count::<Everything>()?, 7);
            assert_eq!(tx.get::<Everything>(1)?.unwrap().an_i32, 100);
            assert_eq!(tx.put(&mut full())?, 11);
            assert!(tx.contains::<Everything>(11)? && !tx.contains::<Everything>(4)?);
            assert_eq!(tx.update(11, |object: &mut Everything| object.an_i32)?, i32::MIN);
            tx.put_many(&mut [full(), full()])?;
            assert_eq!(tx.get_many::<Everything>(&[13, 4, 12])?.len(), 2);
            assert!(tx.remove::<Everything>(13)? && !tx.remove::<Everything>(13)?);
            assert_eq!(tx.all::<Everything>()?.len(), 9);
            assert_eq!(tx.remove_all::<Everything>()?, 9);
            assert_eq!(tx.count::<Everything>()?, 0);
            tx.put(&mut full())
        };
        assert_eq!(store.write(in_transaction).unwrap(), 14);
        store
            .read(|tx| {
                assert_eq!((tx.count::<Everything>()?, tx.all::<Everything>()?.len()), (1, 1));
                assert!(tx.contains::<Everything>(14)? && tx.get::<Everything>(1)?.is_none());
                Ok(())
            })
            .unwrap();
        assert_eq!(everything.remove_all().unwrap(), 1);
        assert!(everything.is_empty().unwrap());
        assert_eq!(everything.remove_all().unwrap(), 0);
    });
}

#[test]
fn an_unknown_id_is_not_found_and_the_struct_keeps_it() {
    on_both(|directory| {
        let shops = shops(directory);
        let mut shop = Shop { id: 7, ..Shop::default() };
        let error = shops.put(&mut shop).unwrap_err();
        assert!(matches!(&error, StoreError::NotFound { entity, id: 7 } if entity == "Shop"), "{error}");
        assert!(matches!(shops.update(7, |_| ()).unwrap_err(), StoreError::NotFound { .. }));
        assert_eq!((shop.id, shops.count().unwrap(), outbox(shops.store()).len()), (7, 0, 0));
        shop.id = 0;
        assert_eq!(shops.put(&mut shop).unwrap(), 1);
    });
}

#[test]
fn a_refused_put_takes_the_ids_back() {
    on_both(|directory| {
        let users = open(directory).boxed::<User>().unwrap();
        let user = |number| User { number: Some(number), ..User::default() };
        let mut several = [user(1), user(2), user(1)];
        let error = users.put_many(&mut several).unwrap_err();
        assert!(matches!(error, StoreError::UniqueViolation { other: 1, .. }), "{error}");
        assert!(several.iter().all(|user| user.id == 0));
        several[2].number = Some(3);
        users.put_many(&mut several).unwrap();
        assert_eq!(users.all().unwrap(), several);
    });
}

#[test]
fn ids_are_chosen_where_the_entity_says_so() {
    on_both(|directory| {
        let chosen = open(directory).boxed::<Chosen>().unwrap();
        assert_eq!(chosen.put(&mut Chosen { id: 50, value: 1 }).unwrap(), 50);
        assert_eq!(chosen.put(&mut Chosen { id: 7, value: 2 }).unwrap(), 7);
        assert_eq!(chosen.put(&mut Chosen { id: 0, value: 3 }).unwrap(), 51, "after the largest ever");
        assert_eq!(chosen.put(&mut Chosen { id: 7, value: 4 }).unwrap(), 7);
        let all = chosen.all().unwrap();
        assert_eq!(
            all.iter().map(|object| (object.id, object.value)).collect::<Vec<_>>(),
            [(7, 4), (50, 1), (51, 3)]
        );
        chosen.put(&mut Chosen { id: u64::MAX, value: 5 }).unwrap();
        assert_eq!(chosen.get(u64::MAX).unwrap().unwrap().value, 5);
        let error = chosen.put(&mut Chosen::default()).unwrap_err();
        assert!(matches!(&error, StoreError::IdsExhausted { entity } if entity == "Chosen"), "{error}");
        chosen.remove(u64::MAX).unwrap();
        assert!(matches!(chosen.put(&mut Chosen::default()).unwrap_err(), StoreError::IdsExhausted { .. }));
        chosen.put(&mut Chosen { id: 8, value: 6 }).unwrap();
    });
}

#[test]
fn shared_ids_are_needed_and_travel_as_they_are() {
    on_both(|directory| {
        let settings = open(directory).boxed::<Setting>().unwrap();
        let error = settings.put(&mut Setting::default()).unwrap_err();
        assert!(matches!(&error, StoreError::IdNeeded { entity } if entity == "Setting"), "{error}");
        settings.put(&mut Setting { id: 4, value: "dark".into() }).unwrap();
        settings.remove(4).unwrap();
        settings.put(&mut Setting { id: 4, value: "light".into() }).unwrap();
        let txs = outbox(settings.store());
        let ops: Vec<_> = txs.iter().flat_map(|(_, ops)| ops).collect();
        let seen: Vec<_> = ops.iter().map(|op| (op.kind, op.generation, op.gid.counter)).collect();
        assert_eq!(seen, [(OpKind::Insert, 0, 4), (OpKind::Remove, 0, 4), (OpKind::Insert, 1, 4)]);
        assert!(ops.iter().all(|op| op.gid.origin == reconvene_model::PeerId::SHARED));
    });
}

#[test]
fn ids_are_never_handed_out_twice() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let shops = shops(directory.path());
        let first = round * 2 + 1;
        assert_eq!(shops.put(&mut Shop::default()).unwrap(), first);
        assert_eq!(shops.put(&mut Shop::default()).unwrap(), first + 1);
        assert!(shops.remove(first + 1).unwrap());
        if round == 1 {
            shops.remove_all().unwrap();
        }
    }
    on_both(|directory| {
        let shops = shops(directory);
        let put_and_removed = shops.store().write(|tx| {
            let id = tx.put(&mut Shop::default())?;
            tx.remove::<Shop>(id)?;
            Ok(id)
        });
        assert_eq!(put_and_removed.unwrap(), 1);
        assert_eq!(shops.put(&mut Shop::default()).unwrap(), 2);
    });
}

#[test]
fn an_update_writes_only_what_the_closure_changed() {
    on_both(|directory| {
        let shops = shops(directory);
        let id = shops.put(&mut Shop { name: "A".into(), stock: 1, ..Shop::default() }).unwrap();
        shops.update(id, |shop| shop.note = Some("".into())).unwrap();
        assert_eq!(shops.update(id, |shop| std::mem::replace(&mut shop.stock, 5)).unwrap(), 1);
        shops.update(id, |shop| shop.note = None).unwrap();
        shops.update(id, |shop| shop.name = "A".into()).unwrap();
        let txs = outbox(shops.store());
        assert_eq!(txs.len(), 4, "an update that changes nothing is no transaction");
        let ops: Vec<_> = txs.iter().map(|(_, ops)| (ops[0].kind, written(&ops[0], "Shop", &SHOP))).collect();
        assert_eq!(ops[0].0, OpKind::Insert);
        let update = |name| (OpKind::Update, vec![name]);
        assert_eq!(ops[1..], [update("note"), update("stock"), update("note")]);
        assert!(
            txs.windows(2).all(|txs| txs[0].0.hlc < txs[1].0.hlc && txs[0].0.number + 1 == txs[1].0.number)
        );
    });
}

#[test]
fn writes_to_one_object_in_one_transaction_are_one_op() {
    on_both(|directory| {
        let shops = shops(directory);
        let id = shops.put(&mut Shop::default()).unwrap();
        let several = shops.store().write(|tx| {
            tx.update(id, |shop: &mut Shop| shop.stock = 1)?;
            tx.update(id, |shop: &mut Shop| shop.name = "B".into())?;
            let mut read = tx.get::<Shop>(id)?.unwrap();
            read.stock = 2;
            tx.put(&mut read)?;
            let other = tx.put(&mut Shop::default())?;
            tx.update(other, |shop: &mut Shop| shop.stock = 9)?;
            let passing = tx.put(&mut Shop::default())?;
            tx.remove::<Shop>(passing)
        });
        assert!(several.unwrap());
        let txs = outbox(shops.store());
        assert_eq!((txs.len(), txs[1].1.len()), (2, 2));
        assert_eq!(written(&txs[1].1[0], "Shop", &SHOP), ["name", "stock"]);
        assert_eq!(txs[1].1[1].kind, OpKind::Insert);
    });
}

#[test]
fn f6_a_put_does_not_revert_what_others_wrote_since_the_read() {
    on_both(|directory| {
        let shops = shops(directory);
        let id = shops.put(&mut Shop { name: "A".into(), stock: 1, ..Shop::default() }).unwrap();
        let both_read = std::sync::Barrier::new(2);
        let change = |change: fn(&mut Shop)| {
            let mut read = shops.get(id).unwrap().unwrap();
            both_read.wait();
            change(&mut read);
            shops.put(&mut read).unwrap();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| change(|shop| shop.name = "B".into()));
            scope.spawn(|| change(|shop| shop.stock = 5));
        });
        let stored = shops.get(id).unwrap().unwrap();
        assert_eq!((stored.name.as_str(), stored.stock), ("B", 5));
        let txs = outbox(shops.store());
        let mut puts: Vec<_> = txs[1..].iter().map(|(_, ops)| written(&ops[0], "Shop", &SHOP)).collect();
        puts.sort();
        assert_eq!(puts, [["name"], ["stock"]], "only the changed property gets a new stamp");
    });
}

#[test]
fn a_tracked_object_shows_what_is_stored_and_goes_on_from_there() {
    on_both(|directory| {
        let shops = shops(directory);
        let id = shops.put(&mut Shop { name: "A".into(), ..Shop::default() }).unwrap();
        let mut read = shops.get(id).unwrap().unwrap();
        shops.update(id, |shop| shop.name = "B".into()).unwrap();
        read.stock = 1;
        shops.put(&mut read).unwrap();
        assert_eq!((read.name.as_str(), read.stock), ("B", 1));
        shops.update(id, |shop| shop.stock = 2).unwrap();
        let before = outbox(shops.store()).len();
        shops.put(&mut read).unwrap();
        assert_eq!(outbox(shops.store()).len(), before, "nothing was changed since the last put");
        assert_eq!(read.stock, 2);
        shops.remove(id).unwrap();
        read.stock = 3;
        assert!(matches!(shops.put(&mut read).unwrap_err(), StoreError::NotFound { .. }));
        let error = shops.put(&mut read.into_inner()).unwrap_err();
        assert!(error.to_string().contains("Shop 1 does not exist"), "{error}");
    });
}

#[test]
fn an_undone_put_of_a_tracked_object_is_not_forgotten() {
    on_both(|directory| {
        let shops = shops(directory);
        let id = shops.put(&mut Shop { name: "A".into(), ..Shop::default() }).unwrap();
        let mut read = shops.get(id).unwrap().unwrap();
        read.stock = 4;
        let undone = shops.store().write(|tx| {
            tx.put(&mut read)?;
            read.note = Some("second".into());
            tx.put(&mut read)?;
            Err::<(), _>(StoreError::application("changed my mind"))
        });
        assert!(undone.is_err());
        shops.update(id, |shop| shop.name = "B".into()).unwrap();
        assert_eq!(shops.get(id).unwrap().unwrap().stock, 0);
        shops.put(&mut read).unwrap();
        let stored = shops.get(id).unwrap().unwrap();
        assert_eq!((stored.name.as_str(), stored.stock, stored.note.as_deref()), ("B", 4, Some("second")));
        assert_eq!(read, *stored);
    });
}

#[test]
fn a_tracked_object_with_another_id_is_a_struct_like_any_other() {
    on_both(|directory| {
        let shops = shops(directory);
        let id = shops.put(&mut Shop { name: "A".into(), stock: 1, ..Shop::default() }).unwrap();
        let mut copy = shops.get(id).unwrap().unwrap();
        copy.id = 0;
        copy.stock = 2;
        assert_eq!(shops.put(&mut copy).unwrap(), 2);
        assert_eq!(
            shops.get(2).unwrap().unwrap(),
            Shop { id: 2, name: "A".into(), stock: 2, ..Shop::default() }
        );
        copy.name = "C".into();
        shops.put(&mut copy).unwrap();
        let txs = outbox(shops.store());
        assert_eq!(written(&txs[2].1[0], "Shop", &SHOP), ["name"], "from here on it is tracked again");
        assert_eq!(shops.get(id).unwrap().unwrap().stock, 1);
        let mut copy = shops.get(id).unwrap().unwrap();
        copy.id = 2;
        shops.put(&mut copy).unwrap();
        assert_eq!(shops.get(2).unwrap().unwrap().stock, 1, "all properties were written");
    });
}

#[test]
fn a_null_read_into_a_field_that_cannot_be_null_stays_null() {
    on_both(|directory| {
        let shops = shops(directory);
        let notes = shops.store().boxed::<ShopNote>().unwrap();
        let id = shops.put(&mut Shop { name: "A".into(), ..Shop::default() }).unwrap();
        let mut read = notes.get(id).unwrap().unwrap();
        assert_eq!(read.note, "");
        read.stock = 3;
        notes.put(&mut read).unwrap();
        notes.update(id, |shop| shop.stock = 4).unwrap();
        let stored = shops.get(id).unwrap().unwrap();
        assert_eq!((stored.stock, &stored.note, stored.name.as_str()), (4, &None, "A"));
        let txs = outbox(shops.store());
        assert!(txs[1..].iter().all(|(_, ops)| written(&ops[0], "Shop", &SHOP) == ["stock"]));
        // A bare struct overwrites what it knows, and leaves alone what it does not.
        notes.put(&mut ShopNote { id, ..ShopNote::default() }).unwrap();
        let stored = shops.get(id).unwrap().unwrap();
        assert_eq!((stored.stock, stored.note.as_deref(), stored.name.as_str()), (0, Some(""), "A"));
    });
}

#[test]
fn under_object_conflict_a_change_writes_every_property() {
    on_both(|directory| {
        let towns = open(directory).boxed::<Town>().unwrap();
        let id = towns.put(&mut Town { name: "Bern".into(), people: 1, ..Town::default() }).unwrap();
        towns.update(id, |town| town.people = 2).unwrap();
        towns.update(id, |_| ()).unwrap();
        let txs = outbox(towns.store());
        assert_eq!(txs.len(), 2);
        assert_eq!(written(&txs[1].1[0], "Town", &["name", "people"]), ["name", "people"]);
    });
}

#[test]
fn a_unique_value_belongs_to_one_object() {
    on_both(|directory| {
        let users = open(directory).boxed::<User>().unwrap();
        let user = |email: &str| User { email: Some(email.into()), ..User::default() };
        let a = users.put(&mut user("a")).unwrap();
        let error = users.put(&mut user("a")).unwrap_err();
        assert!(
            matches!(&error, StoreError::UniqueViolation { entity, property, other: 1, .. } if entity == "User" && property == "email"),
            "{error}"
        );
        let b = users.put(&mut user("b")).unwrap();
        assert!(matches!(
            users.update(b, |user| user.email = Some("a".into())),
            Err(StoreError::UniqueViolation { .. })
        ));
        // Its own value is no violation; a value that was given up is free, and so is that of a removed object.
        users.put(&mut User { id: a, ..user("a") }).unwrap();
        users.update(a, |user| user.email = Some("c".into())).unwrap();
        users.update(b, |user| user.email = Some("a".into())).unwrap();
        users.remove(b).unwrap();
        users.put(&mut user("a")).unwrap();
        // Long values are told apart and recognised though their keys are cut.
        let long = "x".repeat(5000);
        users.put(&mut user(&long)).unwrap();
        users.put(&mut user(&format!("{long}y"))).unwrap();
        assert!(users.put(&mut user(&long)).is_err());
        assert!(
            users.put(&mut user("")).is_ok() && users.put(&mut user("")).is_err(),
            "an empty text is a value"
        );
    });
}

#[test]
fn nulls_are_free() {
    on_both(|directory| {
        let users = open(directory).boxed::<User>().unwrap();
        users.put_many(&mut [User::default(), User::default(), User::default()]).unwrap();
        users.update(1, |user| user.number = Some(0)).unwrap();
        users.update(1, |user| user.number = None).unwrap();
        users.update(2, |user| user.twin.set(1)).unwrap();
        assert!(matches!(
            users.update(3, |user| user.twin.set(1)),
            Err(StoreError::UniqueViolation { other: 2, .. })
        ));
        assert_eq!(users.count().unwrap(), 3);
    });
}

#[test]
fn uniqueness_is_judged_write_by_write_within_a_transaction() {
    on_both(|directory| {
        let users = open(directory).boxed::<User>().unwrap();
        let user = |number| User { number: Some(number), ..User::default() };
        users.put_many(&mut [user(1), user(2)]).unwrap();
        // A swap needs a value in between: after the first step both would have the same.
        let swap = users.store().write(|tx| {
            tx.update(1, |user: &mut User| user.number = Some(2))?;
            tx.update(2, |user: &mut User| user.number = Some(1))
        });
        assert!(matches!(swap, Err(StoreError::UniqueViolation { other: 2, .. })));
        users
            .store()
            .write(|tx| {
                tx.update(1, |user: &mut User| user.number = None)?;
                tx.update(2, |user: &mut User| user.number = Some(1))?;
                tx.update(1, |user: &mut User| user.number = Some(2))
            })
            .unwrap();
        assert_eq!(users.all().unwrap().iter().map(|user| user.number.unwrap()).collect::<Vec<_>>(), [2, 1]);
        // A refused put may be passed over; it leaves nothing behind.
        users
            .store()
            .write(|tx| {
                tx.put(&mut user(3))?;
                assert!(tx.put(&mut user(3)).is_err() && tx.put(&mut user(1)).is_err());
                tx.remove::<User>(1)?;
                tx.put(&mut user(2)).map(|_| ())
            })
            .unwrap();
        let mut numbers: Vec<_> = users.all().unwrap().iter().map(|user| user.number.unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
    });
}

/// The entity with a property whose value goes over to who puts it last.
fn replacing(name: &str) -> EntityDescription {
    let mut description = User::description();
    let property = description.properties.iter_mut().find(|property| property.name == name).unwrap();
    property.flags = property.flags.with(PropertyFlags::UNIQUE_ON_CONFLICT_REPLACE);
    description
}

#[test]
fn a_put_may_replace_who_has_the_value() {
    on_both(|directory| {
        let store = builder(directory).description(replacing("number")).entity::<Chosen>().open().unwrap();
        let users = store.boxed::<User>().unwrap();
        let user =
            |number, email: &str| User { number: Some(number), email: Some(email.into()), ..User::default() };
        users.put_many(&mut [user(1, "a"), user(2, "b"), user(3, "c")]).unwrap();
        assert_eq!(users.put(&mut user(1, "d")).unwrap(), 4);
        assert!(!users.contains(1).unwrap());
        users.update(2, |user| user.number = Some(3)).unwrap();
        assert_eq!(users.all().unwrap().iter().map(|user| user.id).collect::<Vec<_>>(), [2, 4]);
        // One put may replace several objects at once, and those that were put in the same transaction.
        store
            .write(|tx| {
                tx.put(&mut user(7, "x"))?;
                tx.put(&mut user(7, "y")).map(|_| ())
            })
            .unwrap();
        assert_eq!(users.all().unwrap().last().unwrap().email.as_deref(), Some("y"));
        assert_eq!(users.count().unwrap(), 3);
    });
}

#[test]
fn a_put_that_is_refused_replaces_nothing() {
    for name in ["number", "email"] {
        let store = Store::builder("memory:").description(replacing(name)).entity::<Chosen>().open().unwrap();
        let users = store.boxed::<User>().unwrap();
        let user =
            |number, email: &str| User { number: Some(number), email: Some(email.into()), ..User::default() };
        users.put_many(&mut [user(1, "a"), user(2, "b")]).unwrap();
        // One property would replace, the other refuses; the transaction goes on.
        store
            .write(|tx| {
                assert!(matches!(tx.put(&mut user(1, "b")), Err(StoreError::UniqueViolation { .. })));
                assert!(matches!(tx.put(&mut user(2, "a")), Err(StoreError::UniqueViolation { .. })));
                Ok(())
            })
            .unwrap();
        assert_eq!(users.all().unwrap().iter().map(|user| user.id).collect::<Vec<_>>(), [1, 2], "{name}");
    }
}

#[test]
fn links_lead_to_ids_that_were_handed_out() {
    on_both(|directory| {
        let shops = shops(directory);
        let towns = shops.store().boxed::<Town>().unwrap();
        let shop = |town| Shop { town: ToOne::new(town), ..Shop::default() };
        let error = shops.put(&mut shop(1)).unwrap_err();
        assert!(
            matches!(&error, StoreError::LinkToUnassigned { entity, property, target, id: 1 }
                if entity == "Shop" && property == "town" && target == "Town"),
            "{error}"
        );
        let town = towns.put(&mut Town::default()).unwrap();
        let id = shops.put(&mut shop(town)).unwrap();
        assert!(matches!(
            shops.update(id, |shop| shop.town.set(town + 1)),
            Err(StoreError::LinkToUnassigned { .. })
        ));
        towns.remove(town).unwrap();
        shops.put(&mut shop(town)).unwrap();
        shops.update(id, |shop| shop.stock = 1).unwrap();
        shops
            .store()
            .write(|tx| {
                let town = tx.put(&mut Town::default())?;
                tx.put(&mut shop(town)).map(|_| ())
            })
            .unwrap();
        // Where the application chooses ids, it may link ahead.
        let users = shops.store().boxed::<User>().unwrap();
        users.put(&mut User { friend: ToOne::new(77), ..User::default() }).unwrap();
    });
}

#[test]
fn a_struct_that_the_store_does_not_know_is_refused() {
    let store = Store::builder("memory:").entity::<Town>().open().unwrap();
    assert!(matches!(store.boxed::<Setting>(), Err(StoreError::UnknownEntity { .. })));
    let error = store.write(|tx| tx.put(&mut Setting::default())).unwrap_err();
    assert!(error.to_string().contains("register it when opening"), "{error}");
}

#[test]
fn types_of_properties_are_what_the_structs_say() {
    let store = open(Path::new("memory:"));
    let entity = store.schema().entity_by_name("Everything").unwrap();
    assert_eq!(entity.property("a_char").unwrap().ty, PropertyType::Char);
    assert_eq!(entity.property("dates").unwrap().ty, PropertyType::DateVector);
    assert!(entity.property("scratch").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever two writers change, each property ends as the last one who changed it left it.
    #[test]
    fn tracked_puts_merge_like_registers(
        first in any::<(Option<String>, Option<i64>, Option<Option<String>>)>(),
        second in any::<(Option<String>, Option<i64>, Option<Option<String>>)>(),
    ) {
        let store = Store::builder("memory:").entity::<Shop>().entity::<Town>().open().unwrap();
        let shops = store.boxed::<Shop>().unwrap();
        let start = Shop { name: "start".into(), stock: 1, note: Some("note".into()), ..Shop::default() };
        let id = shops.put(&mut start.clone()).unwrap();
        let mut expected = Shop { id, ..start.clone() };
        let mut reads = [shops.get(id).unwrap().unwrap(), shops.get(id).unwrap().unwrap()];
        for (read, (name, stock, note)) in reads.iter_mut().zip([first, second]) {
            read.name = name.unwrap_or_else(|| read.name.clone());
            read.stock = stock.unwrap_or(read.stock);
            read.note = note.unwrap_or_else(|| read.note.clone());
            if read.name != start.name { expected.name = read.name.clone(); }
            if read.stock != start.stock { expected.stock = read.stock; }
            if read.note != start.note { expected.note = read.note.clone(); }
            shops.put(read).unwrap();
            prop_assert_eq!(&**read, &expected);
        }
        prop_assert_eq!(&*shops.get(id).unwrap().unwrap(), &expected);
    }
}
