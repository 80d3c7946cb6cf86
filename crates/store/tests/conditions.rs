//! Conditions built from properties mean what the same comparison means in Rust.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use reconvene_expr::check;
use reconvene_model::evolve::evolve;
use reconvene_model::record::{Table, TableLayout, TableWriter};
use reconvene_model::{EntityDef, Schema};
use reconvene_store::__private::{FieldMap, FieldWriter};
use reconvene_store::{Condition, Date, DateNano, Entity, Flex, ToOne};

#[derive(Entity, Clone, Debug, Default)]
#[entity(crate = "reconvene_store")]
struct Item {
    id: u64,
    flag: bool,
    small: i8,
    tiny: u8,
    count: i32,
    total: Option<u64>,
    ratio: f32,
    weight: Option<f64>,
    when: Date,
    exactly: Option<DateNano>,
    #[property(ty = "Date")]
    millis: i64,
    name: String,
    nick: Option<String>,
    parent: ToOne<Item>,
    tags: Vec<String>,
    tree: Flex,
}

/// Numbers that meet each other often, and the ends of their ranges.
fn number() -> impl Strategy<Value = i64> {
    select(vec![0, 1, 2, -1, 127, 128, 255, i64::from(i32::MAX), i64::MIN, i64::MAX])
}

fn text() -> impl Strategy<Value = String> {
    vec(select(vec!['a', 'b', 'B', 'é', '"', '\\', '%', '\n', '𝄞']), 0..4).prop_map(String::from_iter)
}

fn item() -> impl Strategy<Value = Item> {
    let numbers = (number(), number(), option::of(number()), number(), option::of(number()), 0..3_u64);
    let texts = (text(), option::of(text()), vec(text(), 0..2), select(vec![Flex::Null, Flex::from(1)]));
    let floats =
        (select(vec![0.0_f32, -0.0, 0.1, 1.5, f32::INFINITY]), option::of(select(vec![0.0_f64, -1.0, 0.1])));
    (1..5_u64, any::<bool>(), numbers, texts, floats).prop_map(
        |(id, flag, numbers, texts, (ratio, weight))| {
            let (one, two, total, when, exactly, parent) = numbers;
            let (name, nick, tags, tree) = texts;
            Item {
                id,
                flag,
                small: one as i8,
                tiny: two as u8,
                count: two as i32,
                total: total.map(i64::cast_unsigned),
                ratio,
                weight,
                when: Date(when),
                exactly: exactly.map(DateNano),
                millis: one,
                name,
                nick,
                parent: ToOne::new(parent),
                tags,
                tree,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_condition_is_the_comparison_it_looks_like(one in item(), other in item()) {
        let home = Home::new();
        let (a, b) = (&one, &other);
        let cases = [
            (Item::id().eq(b.id), a.id == b.id),
            (Item::id().gt(b.id), a.id > b.id),
            (Item::flag().eq(b.flag), a.flag == b.flag),
            (Item::flag().ne(b.flag), a.flag != b.flag),
            (Item::small().lt(b.small), a.small < b.small),
            (Item::small().le(b.small), a.small <= b.small),
            (Item::tiny().gt(b.tiny), a.tiny > b.tiny),
            (Item::tiny().ge(b.tiny), a.tiny >= b.tiny),
            (Item::tiny().one_of([b.tiny, 128]), [b.tiny, 128].contains(&a.tiny)),
            (Item::count().between(b.count, 200), (b.count..=200).contains(&a.count)),
            (Item::count().one_of([] as [i32; 0]), false),
            (Item::total().is_null(), a.total.is_none()),
            (Item::total().not_null(), a.total.is_some()),
            (Item::total().ge(1_u64 << 63), a.total.is_some_and(|total| total >= 1 << 63)),
            (Item::total().lt(b.total.unwrap_or(7)), a.total.is_some_and(|total| total < b.total.unwrap_or(7))),
            (Item::total().ne(5), a.total != Some(5)),
            (Item::ratio().eq(b.ratio), a.ratio == b.ratio),
            (Item::ratio().lt(b.ratio), a.ratio < b.ratio),
            (Item::ratio().eq(0.1), a.ratio == 0.1),
            (Item::weight().eq(0.1), a.weight == Some(0.1)),
            (Item::weight().between(-1.0, 0.0), a.weight.is_some_and(|weight| (-1.0..=0.0).contains(&weight))),
            (Item::when().gt(b.when), a.when > b.when),
            (Item::when().gt(1), a.when.0 > 1),
            (Item::exactly().le(DateNano(1)), a.exactly.is_some_and(|at| at <= DateNano(1))),
            (Item::millis().eq(b.millis), a.millis == b.millis),
            (Item::name().eq(&b.name), a.name == b.name),
            (Item::name().lt(&b.name), a.name < b.name),
            (Item::name().starts_with(&b.name), a.name.starts_with(&b.name)),
            (Item::name().ends_with(b.name.as_str()), a.name.ends_with(&b.name)),
            (Item::name().contains(b.name.clone()), a.name.contains(&b.name)),
            (Item::name().eq_no_case(&b.name), a.name.to_lowercase() == b.name.to_lowercase()),
            (Item::name().one_of(["a", "b", "é"]), ["a", "b", "é"].contains(&a.name.as_str())),
            (Item::nick().eq("b"), a.nick.as_deref() == Some("b")),
            (Item::nick().ge(&b.name), a.nick.as_ref().is_some_and(|nick| nick >= &b.name)),
            (Item::nick().contains("B"), a.nick.as_ref().is_some_and(|nick| nick.contains('B'))),
            (Item::parent().eq(&b.parent), a.parent == b.parent),
            (Item::parent().ne(&b.parent), a.parent != b.parent),
            (Item::parent().eq(1), a.parent.id() == 1),
            (Item::parent().one_of([0, 2]), [0, 2].contains(&a.parent.id())),
            (Item::parent().is_null(), a.parent.is_none()),
            (Item::tags().is_null(), false),
            (Item::tree().not_null(), !a.tree.is_null()),
            (Condition::all(), true),
            (!Condition::all(), false),
            (Condition::all().and(Item::flag().eq(true)), a.flag),
            (Condition::all().or(Item::flag().eq(true)), true),
            (Item::flag().eq(true) & Item::tiny().gt(9) & Item::name().eq("a"), a.flag && a.tiny > 9 && a.name == "a"),
            (Item::flag().eq(true) | Item::tiny().gt(9) & Item::name().eq("a"), a.flag || a.tiny > 9 && a.name == "a"),
            ((Item::flag().eq(true) | Item::tiny().gt(9)) & Item::name().eq("a"), (a.flag || a.tiny > 9) && a.name == "a"),
            (!(Item::nick().eq("b") | Item::flag().eq(true)), !(a.nick.as_deref() == Some("b") || a.flag)),
            (!!Item::nick().lt("b"), a.nick.as_deref().is_some_and(|nick| nick < "b")),
        ];
        for (condition, expected) in cases {
            prop_assert_eq!(home.matches(a, &condition), expected, "{} on {:?}", condition, a);
            let read_back = reconvene_expr::parse(&condition.to_string()).map(Condition::new);
            prop_assert_eq!(read_back.as_ref(), Ok(&condition));
        }
    }
}

/// The schema of [`Item`], and a place to write one.
struct Home {
    def: EntityDef,
    layout: TableLayout,
    map: FieldMap,
}

impl Home {
    fn new() -> Self {
        let schema =
            evolve(&Schema::default(), &[Item::description()]).expect("the description fits a schema");
        let def = schema.entity_by_name("Item").expect("the schema was evolved with it").clone();
        let layout = TableLayout::new(&def);
        let map = FieldMap::new(&Item::description(), &def).expect("the schema was evolved with it");
        Home { def, layout, map }
    }

    fn matches(&self, item: &Item, condition: &Condition<Item>) -> bool {
        let mut writer = TableWriter::new(&self.layout);
        let mut bytes = Vec::new();
        item.write(&mut FieldWriter::new(&mut writer, &self.map));
        writer.finish(&mut bytes);
        let table = Table::parse(&bytes).expect("a written record is whole");
        let predicate = check(condition.expr(), &self.def).expect("a typed condition fits the schema");
        predicate.matches(item.id, &table).expect("a written record is readable")
    }
}
