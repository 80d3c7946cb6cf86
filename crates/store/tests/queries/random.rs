//! Random items, asked random questions, with different indexes.

use std::cmp::Ordering;
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use reconvene_expr::{Expr, Literal, Nulls, Operand, Parameter, Path, Sort};
use reconvene_store::{Condition, Date, Entity, Flex, ObjectBox, Query, ReadAccess, Store, ToOne};

use crate::tree::{Tree, tree};
use crate::world::{Cell, Item, PROPERTIES, World, cell, open_with, other_indexes, some_indexes};

/// What is asked: a condition, an order, a part.
#[derive(Clone, Debug)]
struct Asked {
    tree: Tree,
    order: Vec<Term>,
    offset: u64,
    limit: Option<u64>,
    /// Whether the values of the condition are given as parameters.
    parameters: bool,
}

/// One part of an order.
#[derive(Clone, Copy, Debug)]
struct Term {
    of_parent: bool,
    property: &'static str,
    descending: bool,
    no_case: bool,
    nulls: Nulls,
}

impl Term {
    fn sort(&self) -> Sort {
        let path = match self.of_parent {
            true => Path::property("parent").then(self.property),
            false => Path::property(self.property),
        };
        Sort { path, descending: self.descending, no_case: self.no_case, nulls: self.nulls }
    }

    fn order(&self, world: &World, one: &Item, other: &Item) -> Ordering {
        let [one, other] = [one, other].map(|item| {
            let item = if self.of_parent { world.parent(item) } else { Some(item) };
            let cell = item.map_or(Cell::Null, |item| cell(item, self.property));
            if self.no_case { cell.folded() } else { cell }
        });
        let order = one.order(&other);
        let order = if self.descending { order.reverse() } else { order };
        let nulls = (one == Cell::Null).cmp(&(other == Cell::Null));
        match self.nulls {
            Nulls::Smallest => order,
            Nulls::Last => nulls.then(order),
            Nulls::First => nulls.reverse().then(order),
        }
    }
}

impl Asked {
    fn expected(&self, world: &World) -> Vec<Item> {
        let items = world.0.values();
        let mut found: Vec<Item> = items.filter(|item| self.tree.holds(world, item)).cloned().collect();
        found.sort_by(|one, other| {
            let by_value = self.order.iter().map(|term| term.order(world, one, other));
            by_value.fold(Ordering::Equal, Ordering::then).then(one.id.cmp(&other.id))
        });
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        found.into_iter().skip(self.offset as usize).take(limit).collect()
    }

    /// The condition, and values for its parameters.
    fn expr(&self) -> (Expr, Vec<Literal>) {
        let (mut expr, mut values) = (self.tree.expr(), Vec::new());
        if self.parameters {
            name_values(&mut expr, &mut values);
        }
        (expr, values)
    }

    /// Asks for objects by name and compares.
    fn check<A: ReadAccess>(&self, world: &World, objects: &ObjectBox<A>) -> Result<(), TestCaseError> {
        let expected = self.expected(world);
        let ids: Vec<u64> = expected.iter().map(|item| item.id).collect();
        let (expr, values) = self.expr();
        let mut query = objects.query(expr).unwrap().offset(self.offset);
        for (at, value) in values.into_iter().enumerate() {
            query.set(&format!("p{at}"), value).unwrap();
        }
        for term in &self.order {
            query = query.sorted(term.sort()).unwrap();
        }
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        let plan = query.explain().unwrap();
        prop_assert_eq!(query.find_ids().unwrap(), ids.clone(), "{}", plan);
        prop_assert_eq!(plan.results, ids.len() as u64, "{}", plan);
        let found: Vec<u64> = query.find().unwrap().iter().map(|object| object.id).collect();
        prop_assert_eq!(found, ids.clone(), "{}", plan);
        prop_assert_eq!(query.count().unwrap(), ids.len() as u64, "{}", plan);
        prop_assert_eq!(query.first().unwrap().map(|item| item.id), ids.first().copied(), "{}", plan);
        match (query.unique(), &ids[..]) {
            (Ok(None), []) => {}
            (Ok(Some(one)), [id]) => prop_assert_eq!(one.id, *id),
            (Err(error), [one, other, ..]) => {
                let ids = format!("{one} and {other}");
                prop_assert!(error.to_string().contains(&ids), "{}", error);
            }
            (unique, _) => prop_assert!(false, "{:?} of {:?}", unique, ids),
        }
        Ok(())
    }

    /// Asks for structs, by ascending id, and compares.
    fn check_typed<A: ReadAccess>(
        &self,
        world: &World,
        mut query: Query<Item, A>,
    ) -> Result<(), TestCaseError> {
        for (at, value) in self.expr().1.into_iter().enumerate() {
            query.set(&format!("p{at}"), value).unwrap();
        }
        let expected = Asked { order: Vec::new(), offset: 0, limit: None, ..self.clone() }.expected(world);
        // NaN differs from itself, so objects are compared as they print.
        prop_assert_eq!(format!("{:?}", query.find().unwrap()), format!("{:?}", expected));
        let mut seen = Vec::new();
        query
            .for_each(|item| {
                seen.push(item.id);
                Ok(())
            })
            .unwrap();
        prop_assert_eq!(seen, expected.iter().map(|item| item.id).collect::<Vec<_>>());
        Ok(())
    }
}

/// Puts parameters in place of all values.
fn name_values(expr: &mut Expr, values: &mut Vec<Literal>) {
    let mut name = |operand: &mut Operand| {
        if let Operand::Literal(literal) = operand {
            let parameter = Parameter { name: format!("p{}", values.len()), default: None };
            values.push(literal.clone());
            *operand = Operand::Parameter(parameter);
        }
    };
    match expr {
        Expr::All => {}
        Expr::Compare { value, .. } => name(value),
        Expr::In { values, .. } => values.iter_mut().for_each(name),
        Expr::Between { low, high, .. } => [low, high].into_iter().for_each(name),
        Expr::Linked { condition, .. } => name_values(condition, values),
        Expr::Not(part) => name_values(part, values),
        Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().for_each(|part| name_values(part, values)),
    }
}

fn texts() -> Vec<String> {
    let long = |times: usize, tail: &str| format!("{}{tail}", "x".repeat(times));
    let mut texts: Vec<String> = ["", "a", "A", "a\0", "a\0b", "ab", "aB", "é", "É", "\u{10ffff}", "\0", "x"]
        .map(str::to_owned)
        .into();
    // Around the length from which text is cut in its key.
    for times in 480..=486 {
        texts.extend(["", "\0", "a", "\0\0z", "b and much more"].map(|tail| long(times, tail)));
    }
    texts.extend([long(600, "a"), long(600, "b"), long(600, "")]);
    texts
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(texts);
    prop_oneof![select(&texts[..12]), select(&texts[..]), select(&texts[..])]
}

pub(crate) fn int() -> impl Strategy<Value = i32> {
    select(vec![0, 1, 2, -1, -2, 255, i32::MIN, i32::MAX])
}

pub(crate) fn big() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 2, i64::MAX as u64, 1 << 63, u64::MAX])
}

fn float() -> impl Strategy<Value = f32> {
    select(vec![0.0, -0.0, 0.1, 1.5, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN])
}

fn tree_value() -> impl Strategy<Value = Flex> {
    let scalar = prop_oneof![
        Just(Flex::Null),
        any::<bool>().prop_map(Flex::from),
        (-1..3_i64).prop_map(Flex::from),
        select(vec![0.5, 1.0, f64::NAN]).prop_map(Flex::from),
        select(vec!["", "a", "ab", "b"]).prop_map(Flex::from),
    ];
    let list = prop_oneof![3 => scalar.clone(), 1 => vec(scalar, 0..3).prop_map(Flex::from_iter)];
    let map = (list.clone(), list.clone()).prop_map(|(a, b)| Flex::from_iter([("a", a), ("b", b)]));
    prop_oneof![1 => list, 3 => map]
}

fn item() -> impl Strategy<Value = Item> {
    let numbers = (int(), option::of(big()), int(), option::of(int()), int(), 0..9_u64);
    let texts = (option::of(text()), option::of(text()));
    let vectors = (vec(text(), 0..3), vec(int(), 0..3), tree_value());
    (numbers, texts, vectors, float(), option::of(float()), option::of(any::<bool>())).prop_map(
        |(numbers, (name, plain), (tags, elements, tree), ratio, weight, flag)| {
            let (tiny, big, int, when, total, parent) = numbers;
            Item {
                tiny: tiny as u8,
                flag,
                big,
                int,
                when: when.map(|when| Date(when.into())),
                total: total.into(),
                parent: ToOne::new(parent.min(7)),
                name,
                plain,
                ratio,
                weight: weight.map(f64::from),
                tags,
                numbers: elements,
                tree,
                ..Item::default()
            }
        },
    )
}

pub(crate) fn cell_of(property: &'static str) -> BoxedStrategy<Cell> {
    let ints = |low: i128, high: i128| {
        (int(), big()).prop_map(move |(int, big)| {
            let number = if int % 2 == 0 { i128::from(int) } else { i128::from(big) };
            Cell::Int(if (low..=high).contains(&number) { number } else { number.rem_euclid(3) })
        })
    };
    match property {
        "id" => {
            prop_oneof![(0..40_i128).prop_map(Cell::Int), big().prop_map(|id| Cell::Int(id.into()))].boxed()
        }
        "serial" => (0..40_i128).prop_map(Cell::Int).boxed(),
        "flag" => any::<bool>().prop_map(Cell::Bool).boxed(),
        "tiny" => ints(0, 255).boxed(),
        "big" => ints(0, u64::MAX.into()).boxed(),
        "int" => ints(i32::MIN.into(), i32::MAX.into()).boxed(),
        "when" | "total" => ints(i64::MIN.into(), i64::MAX.into()).boxed(),
        "ratio" | "weight" => float().prop_map(|number| Cell::Float(number.into())).boxed(),
        // A link is compared with ids other than 0, which is another way to write null.
        "parent" => (1..8_i128).prop_map(Cell::Int).boxed(),
        _ => text().prop_map(Cell::Text).boxed(),
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let sortable: Vec<&'static str> = PROPERTIES.into_iter().filter(|name| *name != "parent").collect();
    let nulls = select(vec![Nulls::Smallest, Nulls::Smallest, Nulls::First, Nulls::Last]);
    let term = (0..6, select(sortable), any::<bool>(), 0..4, nulls).prop_map(
        |(of_parent, property, descending, no_case, nulls)| {
            let is_text = matches!(property, "name" | "plain");
            Term { of_parent: of_parent == 0, property, descending, no_case: is_text && no_case == 0, nulls }
        },
    );
    let part = (0..6_u64).prop_map(|offset| offset.saturating_sub(3));
    (tree(), vec(term, 0..3), part, option::of(0..6_u64), any::<bool>())
        .prop_map(|(tree, order, offset, limit, parameters)| Asked { tree, order, offset, limit, parameters })
}

/// Puts eight items that can be linked to, and then these.
fn fill<T: Entity + From<Item>>(store: &Store, items: &[Item]) -> Vec<Item> {
    let mut all: Vec<Item> = (0..8).map(|_| Item::default()).chain(items.iter().cloned()).collect();
    all.iter_mut().zip(0..).for_each(|(item, serial)| item.serial = (serial * 7 + 3) % 101);
    let mut put: Vec<T> = all.iter().cloned().map(T::from).collect();
    store.write(|tx| tx.put_many::<T, _>(&mut put)).unwrap();
    all.iter_mut().zip(&put).for_each(|(item, put)| item.id = put.id());
    all
}

fn world(items: &[Item]) -> World {
    World(items.iter().map(|item| (item.id, item.clone())).collect())
}

/// Asks in every way, before, in and after a transaction that changes things.
fn check_all<T: Entity + From<Item>>(
    store: &Store,
    items: &[Item],
    more: &[Item],
    asked: &[Asked],
) -> Result<(), TestCaseError> {
    let items = fill::<T>(store, items);
    let before = world(&items);
    let objects = store.objects("Item").unwrap();
    for asked in asked {
        asked.check(&before, &objects)?;
    }
    let mut kept = Vec::new();
    let checked = store.write(|tx| {
        // Of each three one is removed, so that some link to nothing, and one changed; new ones follow.
        for (at, item) in items.into_iter().enumerate() {
            match (at, more.get(at)) {
                (4.., _) if at % 3 == 0 => assert!(tx.remove::<T>(item.id)?),
                (4.., Some(new)) if at % 3 == 1 => {
                    let new = Item { id: item.id, serial: item.serial, ..new.clone() };
                    tx.put::<T, _>(&mut T::from(new.clone()))?;
                    kept.push(new);
                }
                _ => kept.push(item),
            }
        }
        for (new, serial) in more.iter().zip(200..) {
            let mut new = Item { serial, ..new.clone() };
            new.id = tx.put::<T, _>(&mut T::from(new.clone()))?;
            kept.push(new);
        }
        let within = world(&kept);
        for asked in asked {
            if let Err(failed) = asked.check(&within, &tx.objects("Item")?) {
                return Ok(Err(failed));
            }
        }
        Ok(Ok(()))
    });
    checked.unwrap()?;
    let after = world(&kept);
    store
        .read(|tx| Ok(asked.iter().try_for_each(|asked| asked.check(&after, &tx.objects("Item").unwrap()))))
        .unwrap()?;
    let Some(first) = asked.first() else { return Ok(()) };
    let removed = first.expected(&after);
    let mut query = objects.query(first.tree.expr()).unwrap().offset(first.offset);
    for term in &first.order {
        query = query.sorted(term.sort()).unwrap();
    }
    if let Some(limit) = first.limit {
        query = query.limit(limit);
    }
    prop_assert_eq!(query.remove().unwrap(), removed.len() as u64);
    kept.retain(|item| removed.iter().all(|removed| removed.id != item.id));
    let left: Vec<u64> = kept.iter().map(|item| item.id).collect();
    prop_assert_eq!(objects.query(Expr::All).unwrap().find_ids().unwrap(), left);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn all_indexes_in_memory(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        check_all::<Item>(&open_with::<Item>("memory:"), &items, &more, &asked)?;
    }

    #[test]
    fn some_indexes_in_memory(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        type Some = some_indexes::Item;
        check_all::<Some>(&open_with::<Some>("memory:"), &items, &more, &asked)?;
    }

    #[test]
    fn other_indexes_in_memory(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        type Other = other_indexes::Item;
        check_all::<Other>(&open_with::<Other>("memory:"), &items, &more, &asked)?;
    }

    #[test]
    fn structs(items in vec(item(), 0..24), asked in vec(asked(), 1..16)) {
        let store = open_with::<Item>("memory:");
        let items = world(&fill::<Item>(&store, &items));
        let boxed = store.boxed::<Item>().unwrap();
        for asked in &asked {
            asked.check_typed(&items, boxed.query(Condition::new(asked.expr().0)))?;
        }
        store.read(|tx| {
            Ok(asked.iter().try_for_each(|asked| {
                asked.check_typed(&items, tx.query(Condition::new(asked.expr().0)).unwrap())
            }))
        }).unwrap()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn all_indexes_on_disk(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        let directory = tempfile::tempdir().unwrap();
        let store = open_with::<Item>(directory.path().to_str().unwrap());
        check_all::<Item>(&store, &items, &more, &asked)?;
    }

    #[test]
    fn some_indexes_on_disk(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        let directory = tempfile::tempdir().unwrap();
        let store = open_with::<some_indexes::Item>(directory.path().to_str().unwrap());
        check_all::<some_indexes::Item>(&store, &items, &more, &asked)?;
    }
}
