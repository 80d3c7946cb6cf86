//! What a model says beyond types: dates with a meaning, indexes of every kind, uniqueness that replaces, and the words of errors.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reconvene_model::model_file::ModelFile;
use reconvene_model::{Flex, PropertyFlags, Value};
use reconvene_store::{Date, DateNano, Entity, Object, PropertyValue, Role, Store, StoreBuilder, StoreError};

const NOON_MS: u64 = 1_767_268_800_000;

/// A clock that stands until it is set.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn at_noon() -> Clock {
        Clock(Arc::new(AtomicU64::new(NOON_MS)))
    }

    fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    fn builder(&self, directory: &str) -> StoreBuilder {
        let time = self.0.clone();
        Store::builder(directory).time_source(move || time.load(Ordering::Relaxed))
    }
}

fn noon_and(ms: i64) -> Date {
    Date(NOON_MS.cast_signed() + ms)
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Token {
    id: u64,
    #[unique]
    code: String,
    #[index]
    #[expires]
    until: Option<Date>,
    uses: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", sync)]
struct Offer {
    id: u64,
    #[expires]
    until: DateNano,
}

#[test]
fn expired_objects_are_hidden_and_removed_when_asked() {
    let clock = Clock::at_noon();
    let store = clock.builder("memory:").entity::<Token>().entity::<Offer>().open().unwrap();
    let (tokens, offers) = (store.boxed::<Token>().unwrap(), store.boxed::<Offer>().unwrap());
    let token = |code: &str, until| Token { code: code.into(), until, uses: 1, ..Token::default() };
    let mut all = [
        token("a", Some(noon_and(10))),
        token("b", Some(noon_and(20))),
        token("c", None),
        token("d", Some(Date(0))),
    ];
    tokens.put_many(&mut all).unwrap();
    let nanos = |ms: i64| DateNano(noon_and(ms).0 * 1_000_000);
    offers.put_many(&mut [Offer { until: nanos(10), ..Offer::default() }, Offer::default()]).unwrap();
    let codes = || tokens.all().unwrap().iter().map(|token| token.code.clone()).collect::<String>();
    assert_eq!(codes(), "abcd");

    clock.forward(10);
    assert_eq!((codes().as_str(), tokens.count().unwrap()), ("bcd", 3));
    assert_eq!((tokens.get(1).unwrap(), tokens.contains(1).unwrap()), (None, false));
    assert_eq!(tokens.get_many(&[1, 2]).unwrap().len(), 1);
    assert_eq!(tokens.query(Token::code().eq("a")).unwrap_find(), 0);
    assert_eq!(tokens.query(Token::until().le(noon_and(100))).unwrap_find(), 2);
    assert_eq!(tokens.query(Token::uses().eq(1)).count().unwrap(), 3);
    let by_name = store.objects("Token").unwrap();
    assert_eq!((by_name.get(1).unwrap(), by_name.count().unwrap()), (None, 3));
    assert_eq!((by_name.contains(1).unwrap(), by_name.all().unwrap().len()), (false, 3));
    assert_eq!((offers.count().unwrap(), offers.get(1).unwrap()), (1, None));

    // A value that only a hidden object has is free.
    let mut again = token("a", Some(noon_and(1_000)));
    tokens.put(&mut again).unwrap();
    assert_eq!(codes(), "bcda");
    assert_eq!(store.remove_expired().unwrap(), 0);
    clock.forward(10);
    assert_eq!(store.remove_expired().unwrap(), 1);
    assert_eq!(store.remove_expired().unwrap(), 0);
    assert_eq!(store.check().unwrap(), []);

    // What others may still see stays, hidden.
    let mut later = Offer { id: 1, until: nanos(1_000) };
    offers.put(&mut later).unwrap();
    assert_eq!(offers.get(1).unwrap().as_deref(), Some(&later));
}

#[test]
fn on_a_server_expired_objects_stay_in_sight() {
    let clock = Clock::at_noon();
    let server = clock.builder("memory:").role(Role::Server).entity::<Token>().open().unwrap();
    let tokens = server.boxed::<Token>().unwrap();
    tokens.put(&mut Token { until: Some(Date(1)), ..Token::default() }).unwrap();
    assert_eq!(tokens.count().unwrap(), 1);
}

trait Found {
    fn unwrap_find(&self) -> usize;
}

impl<T: Entity> Found for reconvene_store::Query<T> {
    fn unwrap_find(&self) -> usize {
        let found = self.find().unwrap().len();
        assert_eq!(self.count().unwrap(), found as u64);
        found
    }
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Reading {
    #[id(monotonic)]
    id: u64,
    #[id_companion]
    taken: Date,
    value: f64,
}

#[test]
fn the_companion_of_an_id_is_set_when_it_is_missing() {
    let clock = Clock::at_noon();
    let store = clock.builder("memory:").entity::<Reading>().open().unwrap();
    let readings = store.boxed::<Reading>().unwrap();
    let taken = |id| readings.get(id).unwrap().unwrap().taken;
    let now = readings.put(&mut Reading::default()).unwrap();
    let before = readings.put(&mut Reading { taken: Date(5), ..Reading::default() }).unwrap();
    assert_eq!((taken(now), taken(before)), (noon_and(0), Date(5)));
    clock.forward(1_000);
    readings.put(&mut Reading { id: now, value: 1.5, ..Reading::default() }).unwrap();
    assert_eq!((taken(now), readings.get(now).unwrap().unwrap().value), (noon_and(0), 1.5));
    let by_name = store.objects("Reading").unwrap();
    let unnamed = by_name.put(&mut Object::new().with("value", Value::Double(2.0))).unwrap();
    assert_eq!(taken(unnamed), noon_and(1_000));
}

mod shapes {
    macro_rules! shape {
        ($name:ident, $text:meta, $stars:meta) => {
            pub(super) mod $name {
                #[derive(reconvene_store::Entity, Clone, Debug, Default, PartialEq)]
                #[entity(crate = "reconvene_store")]
                pub(crate) struct Item {
                    pub(crate) id: u64,
                    #[$text]
                    pub(crate) text: Option<String>,
                    #[$stars]
                    pub(crate) stars: Option<i32>,
                }
            }
        };
    }
    shape!(by_value, index, index);
    shape!(by_hash, index(hash), index(skip_null));
    shape!(by_long_hash, index(hash64), index(skip_zero));
    shape!(partial, index(skip_null), index(skip_null, skip_zero));
    shape!(unique, unique, index);
}

/// Opens with this struct and asks the same as always; what the plans were.
macro_rules! asked {
    ($directory:expr, $shape:ident) => {{
        use shapes::$shape::Item;
        let store = Store::builder($directory).entity::<Item>().open().unwrap();
        let items = store.boxed::<Item>().unwrap();
        let queries = [
            (Item::text().eq("b"), vec![2, 5]),
            (Item::text().is_null(), vec![4]),
            (Item::text().not_null(), vec![1, 2, 3, 5]),
            (Item::text().one_of(["a", "x"]), vec![1]),
            (Item::text().starts_with("a"), vec![1, 3]),
            (Item::text().gt("a"), vec![2, 3, 5]),
            (Item::stars().eq(0), vec![2]),
            (Item::stars().is_null(), vec![1]),
            (Item::stars().ge(0), vec![2, 3, 4, 5]),
            (Item::stars().gt(0), vec![3, 4, 5]),
            (Item::stars().lt(0), vec![]),
        ];
        let mut plans = Vec::new();
        for (condition, expected) in queries {
            let query = items.query(condition);
            assert_eq!(query.find_ids().unwrap(), expected, "{query:?}");
            plans.push(query.explain().unwrap().plan);
        }
        for order in [
            items.query(Item::id().gt(0)).order_by(Item::stars()),
            items.query(Item::id().ge(0)).order_by(Item::text()),
        ] {
            assert_eq!(order.find_ids().unwrap().len(), 5);
        }
        assert_eq!(store.check().unwrap(), []);
        plans
    }};
}

#[test]
fn indexes_change_their_form_when_the_model_does() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("data");
    let place = place.to_str().unwrap();
    {
        use shapes::by_value::Item;
        let store = Store::builder(place).entity::<Item>().open().unwrap();
        let item = |text: Option<&str>, stars| Item { id: 0, text: text.map(str::to_owned), stars };
        let mut all = [
            item(Some("a"), None),
            item(Some("b"), Some(0)),
            item(Some("aa"), Some(1)),
            item(None, Some(2)),
            item(Some("b"), Some(3)),
        ];
        store.boxed::<Item>().unwrap().put_many(&mut all).unwrap();
    }
    let by_value = asked!(place, by_value);
    assert!(by_value.iter().all(|plan| plan.contains("by index")), "{by_value:?}");
    let by_hash = asked!(place, by_hash);
    assert_eq!(by_hash[0], "Item by index of text: one value, each checked");
    assert_eq!(by_hash[4], "Item by id: all, each checked");
    assert_eq!(by_hash[7], "Item by id: all, each checked");
    let long = asked!(place, by_long_hash);
    assert!(long[6].starts_with("Item by id") && long[9].starts_with("Item by index"), "{long:?}");
    let partial = asked!(place, partial);
    assert!(partial[1].starts_with("Item by id") && partial[2].starts_with("Item by index"), "{partial:?}");
    let twice = Store::builder(place).entity::<shapes::unique::Item>().open().unwrap_err();
    assert!(matches!(&twice, StoreError::NotUnique { ids, .. } if ids[..] == [2, 5]), "{twice}");
    assert_eq!(asked!(place, by_value), by_value);
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Account {
    id: u64,
    #[unique]
    #[index(hash)]
    name: String,
    #[unique(replace)]
    device: Option<String>,
    #[unique]
    #[index(skip_zero)]
    number: u32,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", sync)]
struct Seat {
    id: u64,
    #[unique(replace)]
    row: String,
}

#[test]
fn unique_values_fail_or_replace() {
    let store = Store::builder("memory:").entity::<Account>().entity::<Seat>().open().unwrap();
    let accounts = store.boxed::<Account>().unwrap();
    let account = |name: &str, device: Option<&str>, number| Account {
        id: 0,
        name: name.into(),
        device: device.map(str::to_owned),
        number,
    };
    let first = accounts.put(&mut account("ann", Some("phone"), 0)).unwrap();
    let taken = accounts.put(&mut account("ann", Some("phone"), 0)).unwrap_err();
    assert_eq!(
        taken.to_string(),
        "Account.name is unique and Account 1 already has \"ann\", which a new object cannot have as well; give it another \
         value, or change Account 1"
    );
    assert!(accounts.contains(first).unwrap(), "a put that fails replaces nothing");
    // Zeros are not in the index, and so not unique.
    let second = accounts.put(&mut account("bob", Some("phone"), 0)).unwrap();
    assert_eq!((accounts.contains(first).unwrap(), accounts.count().unwrap()), (false, 1));
    accounts.put(&mut account("eve", None, 7)).unwrap();
    let mut bob = account("bob", Some("phone"), 7);
    bob.id = second;
    let taken = accounts.put(&mut bob).unwrap_err().to_string();
    assert!(taken.contains("already has 7, which object 3 cannot"), "{taken}");
    assert_eq!(store.check().unwrap(), []);

    let seats = store.boxed::<Seat>().unwrap();
    seats.put(&mut Seat { id: 0, row: "A".into() }).unwrap();
    let kept = seats.put(&mut Seat { id: 0, row: "A".into() }).unwrap();
    assert_eq!(seats.query(Seat::row().eq("A")).find_ids().unwrap(), [kept]);
    let travels = store.sync().outbox(0, 10, usize::MAX).unwrap();
    assert_eq!(travels.len(), 2, "the remove and the insert are one transaction");
}

#[derive(PropertyValue, Clone, Copy, Debug, Default, PartialEq)]
#[property(crate = "reconvene_store")]
enum Mood {
    #[default]
    Calm = 0,
    Merry = 1,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Person {
    id: u64,
    mood: Mood,
    extra: Flex,
}

#[test]
fn values_that_the_struct_does_not_know_stay_as_they_are() {
    let store = Store::builder("memory:").entity::<Person>().open().unwrap();
    let (persons, by_name) = (store.boxed::<Person>().unwrap(), store.objects("Person").unwrap());
    let id = by_name.put(&mut Object::new().with("mood", Value::Int(5))).unwrap();
    for error in [
        persons.get(id).map(|_| ()).unwrap_err(),
        persons.all().map(|_| ()).unwrap_err(),
        persons.update(id, |person| person.mood = Mood::Calm).unwrap_err(),
    ] {
        assert!(
            matches!(&error, StoreError::Unreadable { property, id: 1, .. } if property == "mood"),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("Person 1: mood cannot be read: 5 is the number of no variant of `Mood`;"),
            "{error}"
        );
    }
    assert_eq!(by_name.get(id).unwrap().unwrap().get("mood"), &Value::Int(5));
    assert_eq!(persons.query(Person::mood().eq(Mood::Merry)).count().unwrap(), 0);
}

#[test]
fn flex_values_that_cannot_be_written_say_where() {
    let store = Store::builder("memory:").entity::<Person>().open().unwrap();
    let extra = Flex::from_iter([("a\0", 1)]);
    let error = store.boxed::<Person>().unwrap().put(&mut Person { extra, ..Person::default() }).unwrap_err();
    assert!(matches!(error, StoreError::Unstorable { .. }));
    assert!(
        error.to_string().starts_with("Person.extra of a new object cannot be stored: a key of a map"),
        "{error}"
    );
    let extra = Flex::from_iter([("a", Flex::from([1, 2]))]);
    let id = store
        .boxed::<Person>()
        .unwrap()
        .put(&mut Person { extra: extra.clone(), ..Person::default() })
        .unwrap();
    assert_eq!(store.objects("Person").unwrap().get(id).unwrap().unwrap().get("extra"), &Value::Flex(extra));
}

/// A property that only other languages have as a field is kept by puts of the struct.
#[test]
fn virtual_properties_are_kept() {
    let described = Store::builder("memory:").entity::<Person>().open().unwrap().model().to_json();
    let (before, after) = described.split_once("\"lastPropertyId\": \"3:").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    let (properties, rest) = after.split_once("\"type\": 13").unwrap();
    let property = format!(
        r#"{{ "id": "4:4444", "name": "ownerId", "type": 6, "flags": {} }}"#,
        PropertyFlags::VIRTUAL.0
    );
    let rest = rest.replacen('}', &format!("}}, {property}"), 1);
    let json = format!("{before}\"lastPropertyId\": \"4:4444\"{properties}\"type\": 13{rest}");
    let model = ModelFile::parse(&json).unwrap();
    let store = Store::builder("memory:").model(model).entity::<Person>().open().unwrap();
    let by_name = store.objects("Person").unwrap();
    let id = by_name.put(&mut Object::new().with("ownerId", Value::Int(9))).unwrap();
    store.boxed::<Person>().unwrap().put(&mut Person { id, mood: Mood::Merry, ..Person::default() }).unwrap();
    let kept = by_name.get(id).unwrap().unwrap();
    assert_eq!((kept.get("ownerId"), kept.get("mood")), (&Value::Int(9), &Value::Int(1)));
}
