//! Queries find what a plain look at every object finds, whatever the plan, on disk and in memory, inside and outside of
//! transactions.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::cmp::Ordering;
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use reconvene_expr::{CompareOp, Expr, Literal, Path};
use reconvene_store::{
    Condition, Date, Durability, Entity, ObjectBox, Query, ReadAccess, Store, StoreError, ToOne,
};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Item {
    id: u64,
    #[unique]
    serial: u32,
    #[index]
    flag: Option<bool>,
    #[index]
    tiny: u8,
    #[index]
    big: Option<u64>,
    #[index]
    int: i32,
    #[index]
    ratio: f32,
    #[index]
    weight: Option<f64>,
    #[index]
    when: Option<Date>,
    #[index]
    name: Option<String>,
    #[index]
    parent: ToOne<Item>,
    plain: Option<String>,
    total: i64,
}

/// A value as the test sees it; the order of the variants is that of nulls and values.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
}

impl Cell {
    fn order(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Null, Cell::Null) => Ordering::Equal,
            (Cell::Null, _) => Ordering::Less,
            (_, Cell::Null) => Ordering::Greater,
            (Cell::Bool(one), Cell::Bool(other)) => one.cmp(other),
            (Cell::Int(one), Cell::Int(other)) => one.cmp(other),
            (Cell::Float(one), Cell::Float(other)) => {
                one.partial_cmp(other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
            }
            (Cell::Text(one), Cell::Text(other)) => one.chars().cmp(other.chars()),
            _ => panic!("{self:?} and {other:?} are of different types"),
        }
    }

    fn literal(&self) -> Literal {
        match self {
            Cell::Null => Literal::Null,
            Cell::Bool(bit) => Literal::Bool(*bit),
            Cell::Int(number) => match i64::try_from(*number) {
                Ok(number) => Literal::Int(number),
                Err(_) => Literal::UInt(u64::try_from(*number).unwrap()),
            },
            Cell::Float(number) => Literal::Double(*number),
            Cell::Text(text) => Literal::String(text.clone()),
        }
    }
}

const PROPERTIES: [&str; 13] = [
    "id", "serial", "flag", "tiny", "big", "int", "ratio", "weight", "when", "name", "parent", "plain",
    "total",
];

fn cell(item: &Item, property: &str) -> Cell {
    let int = |number: i128| Cell::Int(number);
    let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
    match property {
        "id" => int(item.id.into()),
        "serial" => int(item.serial.into()),
        "flag" => item.flag.map_or(Cell::Null, Cell::Bool),
        "tiny" => int(item.tiny.into()),
        "big" => item.big.map_or(Cell::Null, |big| int(big.into())),
        "int" => int(item.int.into()),
        "ratio" => Cell::Float(item.ratio.into()),
        "weight" => item.weight.map_or(Cell::Null, Cell::Float),
        "when" => item.when.map_or(Cell::Null, |when| int(when.0.into())),
        "name" => text(&item.name),
        "parent" => Some(item.parent.id()).filter(|&id| id != 0).map_or(Cell::Null, |id| int(id.into())),
        "plain" => text(&item.plain),
        "total" => int(item.total.into()),
        other => panic!("{other}"),
    }
}

/// A condition as the test sees it.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(&'static str, CompareOp, Cell),
    In(&'static str, Vec<Cell>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

impl Tree {
    fn expr(&self) -> Expr {
        let many = |trees: &[Tree]| trees.iter().map(Tree::expr).collect();
        match self {
            Tree::Leaf(name, op, cell) => {
                Expr::Compare { path: Path::property(*name), op: *op, value: cell.literal() }
            }
            Tree::In(name, cells) => {
                let values = cells.iter().map(Cell::literal).collect();
                Expr::In { path: Path::property(*name), values, no_case: false }
            }
            Tree::And(trees) => Expr::And(many(trees)),
            Tree::Or(trees) => Expr::Or(many(trees)),
            Tree::Not(tree) => Expr::Not(Box::new(tree.expr())),
        }
    }

    fn holds(&self, item: &Item) -> bool {
        match self {
            Tree::Leaf(name, op, wanted) => {
                let stored = cell(item, name);
                if stored == Cell::Null || *wanted == Cell::Null {
                    return (stored.order(wanted).is_eq()) == (*op == CompareOp::Eq)
                        && matches!(op, CompareOp::Eq | CompareOp::Ne);
                }
                if let (Cell::Text(stored), Cell::Text(wanted)) = (&stored, wanted) {
                    match op {
                        CompareOp::StartsWith => return stored.starts_with(wanted),
                        CompareOp::Contains => return stored.contains(wanted),
                        _ => {}
                    }
                }
                let order = stored.order(wanted);
                match op {
                    CompareOp::Eq => order.is_eq(),
                    CompareOp::Ne => order.is_ne(),
                    CompareOp::Lt => order.is_lt(),
                    CompareOp::Le => order.is_le(),
                    CompareOp::Gt => order.is_gt(),
                    CompareOp::Ge => order.is_ge(),
                    op => panic!("{op}"),
                }
            }
            Tree::In(name, cells) => cells.iter().any(|wanted| wanted.order(&cell(item, name)).is_eq()),
            Tree::And(trees) => trees.iter().all(|tree| tree.holds(item)),
            Tree::Or(trees) => trees.iter().any(|tree| tree.holds(item)),
            Tree::Not(tree) => !tree.holds(item),
        }
    }
}

/// What is asked: a condition, an order, a part.
#[derive(Clone, Debug)]
struct Asked {
    tree: Tree,
    order: Vec<(&'static str, bool)>,
    offset: u64,
    limit: Option<u64>,
}

impl Asked {
    fn expected(&self, items: &[Item]) -> Vec<Item> {
        let mut found: Vec<Item> = items.iter().filter(|item| self.tree.holds(item)).cloned().collect();
        found.sort_by(|one, other| {
            let by_value = self.order.iter().map(|&(name, descending)| {
                let order = cell(one, name).order(&cell(other, name));
                if descending { order.reverse() } else { order }
            });
            by_value.fold(Ordering::Equal, Ordering::then).then(one.id.cmp(&other.id))
        });
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        found.into_iter().skip(self.offset as usize).take(limit).collect()
    }

    fn typed<A: ReadAccess>(&self, mut query: Query<Item, A>) -> Query<Item, A> {
        macro_rules! order {
            ($name:expr, $descending:expr, $($handle:ident)+) => {
                match $name {
                    $(stringify!($handle) if $descending => query.order_by_desc(Item::$handle()),
                    stringify!($handle) => query.order_by(Item::$handle()),)+
                    other => panic!("{other}"),
                }
            };
        }
        for &(name, descending) in &self.order {
            query = order!(name, descending, id serial flag tiny big int ratio weight when name plain total);
        }
        query = query.offset(self.offset);
        match self.limit {
            Some(limit) => query.limit(limit),
            None => query,
        }
    }

    /// Asks in both ways and compares; `items` are all that the store holds.
    fn check<A: ReadAccess, B: ReadAccess>(
        &self,
        items: &[Item],
        query: Option<Query<Item, A>>,
        objects: Option<&ObjectBox<B>>,
    ) -> Result<(), TestCaseError> {
        let expected = self.expected(items);
        let ids: Vec<u64> = expected.iter().map(|item| item.id).collect();
        if let Some(query) = query {
            let query = self.typed(query);
            let plan = query.explain().unwrap();
            prop_assert_eq!(query.find_ids().unwrap(), ids.clone(), "{}", plan);
            // NaN differs from itself, so objects are compared as they print.
            prop_assert_eq!(format!("{:?}", query.find().unwrap()), format!("{:?}", expected), "{}", plan);
            prop_assert_eq!(query.count().unwrap(), ids.len() as u64, "{}", plan);
            prop_assert_eq!(query.first().unwrap().map(|item| item.id), ids.first().copied(), "{}", plan);
        }
        if let Some(objects) = objects {
            let mut query = objects.query(self.tree.expr()).unwrap().offset(self.offset);
            for &(name, descending) in &self.order {
                query = if descending { query.order_by_desc(name) } else { query.order_by(name) }.unwrap();
            }
            if let Some(limit) = self.limit {
                query = query.limit(limit);
            }
            prop_assert_eq!(query.find_ids().unwrap(), ids.clone(), "{}", query.explain().unwrap());
            let found: Vec<u64> = query.find().unwrap().iter().map(|object| object.id).collect();
            prop_assert_eq!(found, ids.clone());
            prop_assert_eq!(query.count().unwrap(), ids.len() as u64);
        }
        Ok(())
    }
}

const NONE: Option<Query<Item>> = None;

fn texts() -> Vec<String> {
    let long = |times: usize, tail: &str| format!("{}{tail}", "x".repeat(times));
    let mut texts: Vec<String> =
        ["", "a", "a\0", "a\0b", "ab", "é", "\u{10ffff}", "\0", "x"].map(str::to_owned).into();
    // Around the length from which text is cut in its key.
    for times in 480..=486 {
        texts.extend(["", "\0", "a", "\0\0z", "b and much more"].map(|tail| long(times, tail)));
    }
    texts.extend([long(600, "a"), long(600, "b"), long(600, "")]);
    texts
}

fn text() -> impl Strategy<Value = String> {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(texts);
    prop_oneof![select(&texts[..9]), select(&texts[..]), select(&texts[..])]
}

fn int() -> impl Strategy<Value = i32> {
    select(vec![0, 1, 2, -1, -2, 255, i32::MIN, i32::MAX])
}

fn big() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 2, i64::MAX as u64, 1 << 63, u64::MAX])
}

fn float() -> impl Strategy<Value = f32> {
    select(vec![0.0, -0.0, 0.1, 1.5, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN])
}

fn item() -> impl Strategy<Value = Item> {
    let numbers = (int(), option::of(big()), int(), option::of(int()), int(), 0..4_u64);
    let texts = (option::of(text()), option::of(text()));
    (numbers, texts, float(), option::of(float()), option::of(any::<bool>())).prop_map(
        |(numbers, (name, plain), ratio, weight, flag)| {
            let (tiny, big, int, when, total, parent) = numbers;
            Item {
                tiny: tiny as u8,
                flag,
                big,
                int,
                when: when.map(|when| Date(when.into())),
                total: total.into(),
                parent: ToOne::new(parent),
                name,
                plain,
                ratio,
                weight: weight.map(f64::from),
                ..Item::default()
            }
        },
    )
}

fn cell_of(property: &'static str) -> BoxedStrategy<Cell> {
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
        "parent" => (1..5_i128).prop_map(Cell::Int).boxed(),
        _ => text().prop_map(Cell::Text).boxed(),
    }
}

fn leaf() -> impl Strategy<Value = Tree> {
    select(&PROPERTIES[..]).prop_flat_map(|name| {
        let ops = match name {
            "flag" | "parent" => vec![CompareOp::Eq, CompareOp::Eq, CompareOp::Ne],
            _ => vec![CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge],
        };
        let ops = match name {
            "name" | "plain" => [ops, vec![CompareOp::StartsWith, CompareOp::StartsWith, CompareOp::Contains]].concat(),
            _ => ops,
        };
        let nulls = (Just(name), select(vec![CompareOp::Eq, CompareOp::Ne]), Just(Cell::Null));
        let members = prop_oneof![5 => cell_of(name), 1 => Just(Cell::Null)];
        prop_oneof![
            6 => (Just(name), select(ops), cell_of(name)).prop_map(|(name, op, cell)| Tree::Leaf(name, op, cell)),
            1 => nulls.prop_map(|(name, op, cell)| Tree::Leaf(name, op, cell)),
            2 => (Just(name), vec(members, 0..5)).prop_map(|(name, cells)| Tree::In(name, cells)),
        ]
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let deep = leaf().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Tree::And),
            vec(inner.clone(), 0..3).prop_map(Tree::Or),
            inner.prop_map(|tree| Tree::Not(Box::new(tree))),
        ]
    });
    // Several tests at the top are what a planner chooses among.
    prop_oneof![leaf(), vec(leaf(), 0..4).prop_map(Tree::And), deep]
}

fn asked() -> impl Strategy<Value = Asked> {
    let sortable: Vec<&'static str> = PROPERTIES.into_iter().filter(|name| *name != "parent").collect();
    let part = (0..6_u64).prop_map(|offset| offset.saturating_sub(3));
    (tree(), vec((select(sortable), any::<bool>()), 0..3), part, option::of(0..6_u64))
        .prop_map(|(tree, order, offset, limit)| Asked { tree, order, offset, limit })
}

fn open(directory: &str) -> Store {
    Store::builder(directory).entity::<Item>().durability(Durability::Relaxed).open().unwrap()
}

/// Puts four items that can be linked to, and then these.
fn fill(store: &Store, items: &[Item]) -> Vec<Item> {
    let mut all: Vec<Item> = (0..4).map(|_| Item::default()).chain(items.iter().cloned()).collect();
    all.iter_mut().zip(0..).for_each(|(item, serial)| item.serial = (serial * 7 + 3) % 101);
    store.write(|tx| tx.put_many::<Item, _>(&mut all)).unwrap();
    all
}

fn check_all(store: &Store, items: &[Item], more: &[Item], asked: &[Asked]) -> Result<(), TestCaseError> {
    let mut items = fill(store, items);
    let boxed = store.boxed::<Item>().unwrap();
    let objects = store.objects("Item").unwrap();
    for asked in asked {
        asked.check(&items, Some(boxed.query(Condition::new(asked.tree.expr()))), Some(&objects))?;
    }
    let checked = store.write(|tx| {
        // Of each three one is removed and one changed; new ones follow.
        let mut kept = Vec::new();
        for (at, item) in items.drain(..).enumerate() {
            match (at, more.get(at)) {
                (4.., _) if at % 3 == 0 => assert!(tx.remove::<Item>(item.id)?),
                (4.., Some(new)) if at % 3 == 1 => {
                    let mut new = Item { id: item.id, serial: item.serial, ..new.clone() };
                    tx.put::<Item, _>(&mut new)?;
                    kept.push(new);
                }
                _ => kept.push(item),
            }
        }
        for (new, serial) in more.iter().zip(200..) {
            let mut new = Item { serial, ..new.clone() };
            tx.put::<Item, _>(&mut new)?;
            kept.push(new);
        }
        items = kept;
        for asked in asked {
            let query = tx.query(Condition::new(asked.tree.expr()))?;
            if let Err(failed) = asked.check(&items, Some(query), None::<&ObjectBox>) {
                return Ok(Err(failed));
            }
            if let Err(failed) = asked.check(&items, NONE, Some(&tx.objects("Item")?)) {
                return Ok(Err(failed));
            }
        }
        Ok(Ok(()))
    });
    checked.unwrap()?;
    store
        .read(|tx| {
            Ok(asked.iter().try_for_each(|asked| {
                let query = tx.query(Condition::new(asked.tree.expr())).unwrap();
                asked.check(&items, Some(query), Some(&tx.objects("Item").unwrap()))
            }))
        })
        .unwrap()?;
    let Some(first) = asked.first() else { return Ok(()) };
    let removed = first.expected(&items);
    let query = first.typed(boxed.query(Condition::new(first.tree.expr())));
    prop_assert_eq!(query.remove().unwrap(), removed.len() as u64);
    items.retain(|item| removed.iter().all(|removed| removed.id != item.id));
    prop_assert_eq!(
        boxed.query(Condition::all()).find_ids().unwrap(),
        items.iter().map(|i| i.id).collect::<Vec<_>>()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        check_all(&open("memory:"), &items, &more, &asked)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn on_disk(items in vec(item(), 0..24), more in vec(item(), 0..16), asked in vec(asked(), 1..24)) {
        let directory = tempfile::tempdir().unwrap();
        check_all(&open(directory.path().to_str().unwrap()), &items, &more, &asked)?;
    }
}

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
            items.query_text(condition).unwrap().explain().unwrap(),
            format!("Item {plan}"),
            "{condition}"
        );
    }
    let long = "x".repeat(500);
    let cut = items.query(Item::name().eq(&long));
    assert_eq!(cut.explain().unwrap(), "Item by index of name: one value, each checked");
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
        (all().order_by(Item::name()), "by id: all, values sorted"),
        (all().order_by_desc(Item::id()).order_by(Item::name()), "by id: all, backward"),
        (int().order_by(Item::int()), "by index of int: a range"),
        (int().order_by_desc(Item::int()), "by index of int: a range, backward"),
        (int().order_by(Item::flag()), "by index of int: a range, values sorted"),
        (items.query(Item::int().eq(5)).order_by(Item::int()), "by index of int: one value"),
        (items.query(Item::int().eq(5)).order_by_desc(Item::id()), "by index of int: one value, backward"),
        (items.query(Item::total().eq(5)).order_by(Item::when()), "by index of when: all, each checked"),
    ] {
        assert_eq!(query.explain().unwrap(), format!("Item {plan}"), "{query:?}");
    }
}

#[test]
fn the_smaller_index_is_taken_whichever_comes_first() {
    let store = open("memory:");
    // Six objects in the range of one index, hundreds with the one value of the other.
    let item = |at: i32| Item { serial: at.cast_unsigned(), int: at, tiny: 7, ..Item::default() };
    store.write(|tx| tx.put_many::<Item, _>(&mut (0..300).map(item).collect::<Vec<_>>())).unwrap();
    let query = store.boxed::<Item>().unwrap().query(Item::int().lt(6) & Item::tiny().eq(7));
    assert_eq!(query.explain().unwrap(), "Item by index of int: a range, ids sorted, each checked");
    let query = store.boxed::<Item>().unwrap().query(Item::tiny().eq(7) & Item::id().lt(6));
    assert_eq!(query.explain().unwrap(), "Item by id: a range, each checked");
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
        value: Literal::Null,
    }));
    for error in [built.find().unwrap_err(), built.count().unwrap_err(), built.remove().unwrap_err()] {
        assert_eq!(error.to_string(), "`Item` has no property `nmae`; did you mean `name`?");
    }
}
