//! Structs with the derive: what they describe, and their way into records and back.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::evolve::{EntityDescription, evolve};
use reconvene_model::record::{Table, TableLayout, TableWriter};
use reconvene_model::{ConflictPolicy, EntityDef, EntityFlags, PropertyFlags, PropertyType, Schema, Uid};
use reconvene_store::__private::{FieldMap, FieldReader, FieldWriter};
use reconvene_store::{Conversion, Date, DateNano, Entity, Flex, PropertyValue, ToOne};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Scalars {
    id: u64,
    a_bool: bool,
    an_i8: i8,
    an_i16: i16,
    an_i32: i32,
    an_i64: i64,
    a_u8: u8,
    a_u16: u16,
    a_u32: u32,
    a_u64: u64,
    an_f32: f32,
    an_f64: f64,
    a_date: Date,
    a_date_nano: DateNano,
    a_string: String,
    a_flex: Flex,
    a_link: ToOne<Scalars>,
    #[property(ty = "Date")]
    millis: i64,
    #[property(ty = "DateNano")]
    nanos: i64,
    #[property(ty = "Char")]
    unit: u16,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Options {
    id: u64,
    a_bool: Option<bool>,
    an_i8: Option<i8>,
    an_i16: Option<i16>,
    an_i32: Option<i32>,
    an_i64: Option<i64>,
    a_u8: Option<u8>,
    a_u16: Option<u16>,
    a_u32: Option<u32>,
    a_u64: Option<u64>,
    an_f32: Option<f32>,
    an_f64: Option<f64>,
    a_date: Option<Date>,
    a_date_nano: Option<DateNano>,
    a_string: Option<String>,
    #[property(ty = "Char")]
    unit: Option<u16>,
    strings: Option<Vec<String>>,
    bytes: Option<Vec<u8>>,
    #[property(ty = "DateVector")]
    millis: Option<Vec<i64>>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Vectors {
    id: u64,
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
    #[property(ty = "DateVector")]
    millis: Vec<i64>,
    #[property(ty = "CharVector")]
    units: Vec<i16>,
    i8s: Vec<i8>,
    u16s: Vec<u16>,
    u32s: Vec<u32>,
    u64s: Vec<u64>,
}

/// A strategy for a struct with more fields than proptest's tuples have: pairs of pairs.
macro_rules! strategy {
    ($name:ident: $of:ident { $($field:ident: $ty:ty $(=> $made:expr)?,)+ }) => {
        fn $name() -> impl Strategy<Value = $of> {
            any::<pairs!($($ty,)+)>().prop_map(|pairs!($($field,)+)| $of { $($field $(: $made)?),+ })
        }
    };
}

macro_rules! pairs {
    () => { () };
    ($first:tt, $($rest:tt,)*) => { ($first, pairs!($($rest,)*)) };
}

strategy!(scalars: Scalars {
    id: u64,
    a_bool: bool,
    an_i8: i8,
    an_i16: i16,
    an_i32: i32,
    an_i64: i64,
    a_u8: u8,
    a_u16: u16,
    a_u32: u32,
    a_u64: u64,
    an_f32: f32,
    an_f64: f64,
    a_date: i64 => Date(a_date),
    a_date_nano: i64 => DateNano(a_date_nano),
    a_string: String,
    a_flex: Vec<u8> => Flex::Bytes(a_flex),
    a_link: u64 => ToOne::new(a_link),
    millis: i64,
    nanos: i64,
    unit: u16,
});

strategy!(options: Options {
    id: u64,
    a_bool: Option<bool>,
    an_i8: Option<i8>,
    an_i16: Option<i16>,
    an_i32: Option<i32>,
    an_i64: Option<i64>,
    a_u8: Option<u8>,
    a_u16: Option<u16>,
    a_u32: Option<u32>,
    a_u64: Option<u64>,
    an_f32: Option<f32>,
    an_f64: Option<f64>,
    a_date: Option<i64> => a_date.map(Date),
    a_date_nano: Option<i64> => a_date_nano.map(DateNano),
    a_string: Option<String>,
    unit: Option<u16>,
    strings: Option<Vec<String>>,
    bytes: Option<Vec<u8>>,
    millis: Option<Vec<i64>>,
});

strategy!(vectors: Vectors {
    id: u64,
    bools: Vec<bool>,
    bytes: Vec<u8>,
    i16s: Vec<i16>,
    i32s: Vec<i32>,
    i64s: Vec<i64>,
    f32s: Vec<f32>,
    f64s: Vec<f64>,
    strings: Vec<String>,
    dates: Vec<i64> => dates.into_iter().map(Date).collect(),
    date_nanos: Vec<i64> => date_nanos.into_iter().map(DateNano).collect(),
    millis: Vec<i64>,
    units: Vec<i16>,
    i8s: Vec<i8>,
    u16s: Vec<u16>,
    u32s: Vec<u32>,
    u64s: Vec<u64>,
});

proptest! {
    #[test]
    fn scalars_come_back_as_they_went(object in scalars()) {
        prop_assert_eq!(round_trip(&object), object);
    }

    #[test]
    fn options_come_back_as_they_went(object in options()) {
        prop_assert_eq!(round_trip(&object), object);
    }

    #[test]
    fn vectors_come_back_as_they_went(object in vectors()) {
        prop_assert_eq!(round_trip(&object), object);
    }

    #[test]
    fn a_writer_leaves_nothing_of_the_object_before(first in options(), second in options()) {
        let home = Home::of::<Options>();
        let mut writer = TableWriter::new(&home.layout);
        let (mut reused, mut fresh) = (Vec::new(), Vec::new());
        first.write(&mut FieldWriter::new(&mut writer, &home.map));
        writer.finish(&mut Vec::new());
        second.write(&mut FieldWriter::new(&mut writer, &home.map));
        writer.finish(&mut reused);
        let mut writer = TableWriter::new(&home.layout);
        second.write(&mut FieldWriter::new(&mut writer, &home.map));
        writer.finish(&mut fresh);
        prop_assert_eq!(reused, fresh);
    }

    #[test]
    fn damaged_records_are_errors_at_worst(
        object in vectors(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let home = Home::of::<Vectors>();
        let mut bytes = home.write(&object);
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(table) = Table::parse(bytes) {
                let _ = Vectors::read(1, &FieldReader::new(table, &home.map));
            }
        }
    }
}

#[test]
fn floats_come_back_bit_by_bit() {
    let home = Home::of::<Scalars>();
    for (small, large) in [
        (f32::NAN, f64::NAN),
        (f32::from_bits(0xffc0_0001), f64::from_bits(0xfff8_0000_0000_0001)),
        (-0.0, -0.0),
        (f32::INFINITY, f64::NEG_INFINITY),
        (f32::MIN_POSITIVE / 2.0, f64::MIN_POSITIVE / 2.0),
    ] {
        let object = Scalars { an_f32: small, an_f64: large, ..Scalars::default() };
        let back: Scalars = home.read(0, &home.write(&object));
        assert_eq!((back.an_f32.to_bits(), back.an_f64.to_bits()), (small.to_bits(), large.to_bits()));
    }
}

#[test]
fn a_null_in_a_plain_field_is_its_zero() {
    let home = Home::of::<Scalars>();
    let mut writer = TableWriter::new(&home.layout);
    let mut bytes = Vec::new();
    writer.clear();
    writer.finish(&mut bytes);
    assert_eq!(home.read::<Scalars>(0, &bytes), Scalars::default());
    let home = Home::of::<Vectors>();
    let mut writer = TableWriter::new(&home.layout);
    let mut bytes = Vec::new();
    writer.clear();
    writer.finish(&mut bytes);
    assert_eq!(home.read::<Vectors>(0, &bytes), Vectors::default());
}

#[test]
fn an_empty_link_is_stored_as_null() {
    let home = Home::of::<Scalars>();
    let bytes = home.write(&Scalars { a_link: ToOne::none(), ..Scalars::default() });
    let slot = home.def.property("a_link").unwrap().slot();
    assert!(Table::parse(&bytes).unwrap().is_null(slot));
}

mod first {
    #[derive(reconvene_store::Entity, Debug, PartialEq)]
    #[entity(crate = "reconvene_store")]
    pub(super) struct Task {
        pub(super) id: u64,
        pub(super) text: String,
        pub(super) dropped: i32,
        pub(super) done: bool,
    }
}

mod second {
    use super::*;

    #[derive(Entity, Debug, PartialEq)]
    #[entity(crate = "reconvene_store")]
    pub(super) struct Task {
        pub(super) priority: Option<u8>,
        pub(super) done: bool,
        pub(super) id: u64,
        #[property(was = "text")]
        pub(super) title: String,
        #[transient]
        pub(super) selected: bool,
        pub(super) tags: Vec<String>,
    }
}

#[test]
fn a_changed_struct_reads_the_records_of_the_former_one() {
    let before = evolve(&Schema::default(), &[first::Task::description()]).unwrap();
    let old = Home::in_schema::<first::Task>(&before);
    let bytes = old.write(&first::Task { id: 3, text: "pay tax".into(), dropped: 5, done: true });

    let after = evolve(&before, &[second::Task::description()]).unwrap();
    let new = Home::in_schema::<second::Task>(&after);
    let mut expected = second::Task {
        priority: None,
        done: true,
        id: 3,
        title: "pay tax".into(),
        selected: false,
        tags: vec![],
    };
    assert_eq!(new.read::<second::Task>(3, &bytes), expected);

    expected.priority = Some(200);
    expected.tags = vec!["home".into(), String::new()];
    assert_eq!(new.read::<second::Task>(3, &new.write(&expected)), expected);
}

#[test]
fn a_struct_that_the_schema_does_not_know_is_refused_with_the_remedy() {
    let schema = evolve(&Schema::default(), &[first::Task::description()]).unwrap();
    let error =
        FieldMap::new(&second::Task::description(), schema.entity_by_name("Task").unwrap()).unwrap_err();
    assert!(error.to_string().contains("no property `Task.priority`"), "{error}");
    let mut wanted = first::Task::description();
    wanted.properties[1].ty = PropertyType::Flex;
    let error = FieldMap::new(&wanted, schema.entity_by_name("Task").unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("`Task.text` is stored as String, but the struct says Flex"),
        "{error}"
    );
}

/// The names that the derive must keep apart from its own.
#[derive(Entity, Debug, Default)]
#[entity(
    crate = "reconvene_store",
    name = "Entry",
    was = "Line",
    sync,
    shared_ids,
    self_assigned_ids,
    conflict = "object"
)]
struct Peculiar {
    #[index]
    fields: u32,
    #[property(uid = 77, name = "kind")]
    r#type: String,
    #[id]
    #[property(name = "key")]
    number: u64,
    #[unique]
    id: Option<i64>,
    #[property(was = "former", handle = "ordinal_property")]
    #[index]
    #[unique]
    ordinal: ToOne<Peculiar>,
    #[transient]
    cache: std::collections::BTreeMap<u8, u8>,
}

impl Peculiar {
    fn ordinal(&self) -> u64 {
        self.ordinal.id()
    }
}

#[test]
fn attributes_arrive_in_the_description() {
    let EntityDescription { name, uid, was, flags, conflict, properties, .. } = Peculiar::description();
    assert_eq!((Peculiar::NAME, name.as_str(), uid, was.as_deref()), ("Entry", "Entry", None, Some("Line")));
    assert_eq!(flags, EntityFlags::SYNC_ENABLED.with(EntityFlags::SHARED_GLOBAL_IDS));
    assert_eq!(conflict, ConflictPolicy::Object);
    let shown: Vec<_> = properties
        .iter()
        .map(|p| (p.name.as_str(), p.uid, p.was.as_deref(), p.ty, p.flags, p.relation_target.as_deref()))
        .collect();
    let (unique, indexed) = (PropertyFlags::UNIQUE, PropertyFlags::INDEXED);
    let id_flags = PropertyFlags::ID.with(PropertyFlags::ID_SELF_ASSIGNABLE);
    assert_eq!(
        shown,
        [
            ("fields", None, None, PropertyType::Int, indexed.with(PropertyFlags::UNSIGNED), None),
            ("kind", Some(Uid(77)), None, PropertyType::String, PropertyFlags::NONE, None),
            ("key", None, None, PropertyType::Long, id_flags, None),
            ("id", None, None, PropertyType::Long, unique, None),
            ("ordinal", None, Some("former"), PropertyType::Relation, unique.with(indexed), Some("Entry")),
        ]
    );
}

#[test]
fn ids_and_handles_follow_the_fields() {
    let mut object = Peculiar { number: 5, ..Peculiar::default() };
    assert_eq!(Entity::id(&object), 5);
    object.set_id(6);
    object.cache.insert(1, 2);
    assert_eq!((object.number, object.ordinal(), object.cache.len()), (6, 0, 1));
    assert_eq!(Peculiar::r#type().name(), "kind");
    assert_eq!(Peculiar::number().name(), "key");
    assert_eq!(format!("{:?}", Peculiar::ordinal_property()), "Entry.ordinal");
}

#[test]
fn an_assignable_id_is_flagged() {
    #[derive(Entity)]
    #[entity(crate = "reconvene_store", uid = 9)]
    struct Local {
        #[id(assignable)]
        id: u64,
    }
    let description = Local::description();
    assert_eq!(description.uid, Some(Uid(9)));
    assert_eq!(description.flags, EntityFlags::NONE);
    assert!(description.properties[0].flags.has(PropertyFlags::ID_SELF_ASSIGNABLE));
    assert_eq!(Local { id: 0 }.id(), 0);
}

/// A schema with one struct in it, and where that struct's properties stand.
struct Home {
    def: EntityDef,
    layout: TableLayout,
    map: FieldMap,
}

impl Home {
    fn of<E: Entity>() -> Self {
        Self::in_schema::<E>(
            &evolve(&Schema::default(), &[E::description()]).expect("a derived description fits a schema"),
        )
    }

    fn in_schema<E: Entity>(schema: &Schema) -> Self {
        let def = schema.entity_by_name(E::NAME).expect("the schema was evolved with it").clone();
        let layout = TableLayout::new(&def);
        let map = FieldMap::new(&E::description(), &def).expect("the schema was evolved with it");
        Home { def, layout, map }
    }

    fn write<E: Entity>(&self, object: &E) -> Vec<u8> {
        let mut writer = TableWriter::new(&self.layout);
        let mut bytes = Vec::new();
        object.write(&mut FieldWriter::new(&mut writer, &self.map));
        writer.finish(&mut bytes);
        bytes
    }

    fn read<E: Entity>(&self, id: u64, bytes: &[u8]) -> E {
        let table = Table::parse(bytes).expect("a written record is whole");
        table.check(&self.layout).expect("a written record is sound");
        E::read(id, &FieldReader::new(table, &self.map)).expect("a written record is readable")
    }
}

fn round_trip<E: Entity>(object: &E) -> E {
    let home = Home::of::<E>();
    home.read(object.id(), &home.write(object))
}

#[derive(PropertyValue, Clone, Copy, Debug, Default, PartialEq)]
#[property(crate = "reconvene_store")]
#[repr(u8)]
enum Priority {
    #[default]
    Low = 0,
    High = 7,
    #[property(other)]
    Other(u8),
}

#[derive(PropertyValue, Clone, Copy, Debug, PartialEq)]
#[property(crate = "reconvene_store")]
enum Strict {
    Minus = -1,
    One = 1,
}

#[derive(PropertyValue, Clone, Debug, Default, PartialEq)]
#[property(crate = "reconvene_store")]
struct Email(String);

#[derive(PropertyValue, Clone, Debug, Default, PartialEq)]
#[property(crate = "reconvene_store")]
struct Tags(Vec<String>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Percent(u8);

impl From<Percent> for i32 {
    fn from(percent: Percent) -> i32 {
        percent.0.into()
    }
}

impl TryFrom<i32> for Percent {
    type Error = String;

    fn try_from(number: i32) -> Result<Percent, String> {
        u8::try_from(number)
            .ok()
            .filter(|percent| *percent <= 100)
            .map(Percent)
            .ok_or_else(|| format!("{number} is no percentage"))
    }
}

struct Millis;

impl Conversion<Duration> for Millis {
    type Stored = u64;

    fn store(value: &Duration) -> u64 {
        value.as_millis().try_into().unwrap_or(u64::MAX)
    }

    fn load(stored: u64) -> Result<Duration, String> {
        Ok(Duration::from_millis(stored))
    }
}

#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Converted {
    id: u64,
    priority: Priority,
    strict: Option<Strict>,
    email: Email,
    second_email: Option<Email>,
    tags: Tags,
    #[property(convert = "i32")]
    percent: Percent,
    #[property(convert = "i32")]
    part: Option<Percent>,
    #[property(with = "Millis")]
    takes: Duration,
    #[property(with = "Millis", name = "waits_for")]
    waits: Option<Duration>,
    #[property(default = 3)]
    stars: u8,
    #[property(default = "new")]
    state: String,
    #[property(default)]
    level: Priority,
    #[property(default = Strict::One)]
    mode: Strict,
}

fn converted() -> Converted {
    Converted {
        id: 9,
        priority: Priority::High,
        strict: Some(Strict::Minus),
        email: Email("ann@example.org".into()),
        second_email: None,
        tags: Tags(vec!["a".into(), String::new()]),
        percent: Percent(40),
        part: Some(Percent(100)),
        takes: Duration::from_millis(1_500),
        waits: None,
        stars: 0,
        state: String::new(),
        level: Priority::Other(250),
        mode: Strict::Minus,
    }
}

#[test]
fn conversions_come_back_as_they_went() {
    assert_eq!(round_trip(&converted()), converted());
    let home = Home::of::<Converted>();
    let types: Vec<_> = home.def.stored_properties().map(|property| property.ty).collect();
    use PropertyType as T;
    assert_eq!(types[..6], [T::Byte, T::Int, T::String, T::String, T::StringVector, T::Int]);
    assert_eq!(types[6..], [T::Int, T::Long, T::Long, T::Byte, T::String, T::Byte, T::Int]);
    assert!(home.def.property("priority").unwrap().is_unsigned());
    assert!(home.def.property("waits_for").is_some());
    let condition = Converted::priority()
        .ge(Priority::High)
        .and(Converted::strict().one_of([Strict::Minus]))
        .and(Converted::second_email().eq(Email("x".into())))
        .and(Converted::takes().lt(5_u64));
    assert_eq!(
        condition.to_string(),
        r#"priority >= 7 AND strict IN (-1) AND second_email == "x" AND takes < 5"#
    );
}

#[test]
fn nulls_are_read_as_the_struct_says() {
    let home = Home::of::<Converted>();
    let mut bytes = Vec::new();
    TableWriter::new(&home.layout).finish(&mut bytes);
    let nulls: Converted = home.read(9, &bytes);
    assert_eq!((nulls.stars, nulls.state.as_str()), (3, "new"));
    assert_eq!((nulls.level, nulls.mode), (Priority::Low, Strict::One));
    assert_eq!((nulls.strict, nulls.part, nulls.waits), (None, None, None));
}

#[test]
fn values_that_a_type_does_not_have_are_errors_and_not_lost() {
    let home = Home::of::<Converted>();
    let slot = |name: &str| home.def.property(name).unwrap().slot();
    let with = |name: &str, number: i64| {
        let mut writer = TableWriter::new(&home.layout);
        let mut fields = FieldWriter::new(&mut writer, &home.map);
        converted().write(&mut fields);
        writer.set_int(slot(name), number);
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        let table = Table::parse(&bytes).unwrap();
        Converted::read(9, &FieldReader::new(table, &home.map)).map_err(|error| error.to_string())
    };
    assert_eq!(with("priority", 8).unwrap().priority, Priority::Other(8));
    assert_eq!(with("strict", 5).unwrap_err(), "5 is the number of no variant of `Strict`");
    assert_eq!(with("percent", 101).unwrap_err(), "101 is no percentage");
    assert_eq!(with("part", -1).unwrap_err(), "-1 is no percentage");
}
