//! Conditions as the tests see them: what they mean, in plain Rust, and what they are as expressions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use reconvene_expr::{Aspect, CompareOp, Expr, Path, Quantifier};
use reconvene_store::Flex;

use crate::random::{big, cell_of, int, text};
use crate::world::{Cell, Item, PLACES, PROPERTIES, World, cell, elements, place};

/// A condition.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Leaf(At, CompareOp, Cell),
    In(At, Vec<Cell>, bool),
    Between(At, Cell, Cell),
    Linked(Quantifier, Way, Box<Tree>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

/// What is compared: so many parents up, this property, or of its elements.
#[derive(Clone, Debug)]
pub(crate) struct At {
    up: usize,
    property: &'static str,
    aspect: Aspect,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Parent,
    Children,
}

const CHILDREN: &str = "children";

impl At {
    fn path(&self) -> Path {
        let mut names = vec!["parent"; self.up];
        match self.property {
            CHILDREN => names.extend(["Item", "parent"]),
            property => names.push(property),
        }
        let names: Vec<&str> = names.into_iter().flat_map(|name| name.split('.')).collect();
        let mut names = names.into_iter();
        let first = Path::property(names.next().unwrap());
        let path = names.fold(first, |path, name| match name.strip_suffix("[0]") {
            Some(name) => path.then(name.to_owned()).at(0),
            None => path.then(name.to_owned()),
        });
        path.with_aspect(self.aspect)
    }

    /// Whether what is there passes a test.
    fn passes(&self, world: &World, item: &Item, test: impl Fn(&Cell) -> bool) -> bool {
        let mut item = Some(item);
        for _ in 0..self.up {
            item = item.and_then(|item| world.parent(item));
        }
        let all = || item.map(|item| elements(item, self.property)).unwrap_or_default();
        match self.aspect {
            Aspect::Value => test(&item.map_or(Cell::Null, |item| cell(item, self.property))),
            Aspect::Elements(Quantifier::Any) => all().iter().any(test),
            Aspect::Elements(Quantifier::None) => !all().iter().any(test),
            Aspect::Elements(Quantifier::All) => all().iter().all(test),
            Aspect::Count => {
                let count = match self.property {
                    CHILDREN => item.map_or(0, |item| world.children(item).len()),
                    tree if PLACES.contains(&tree) => match item.and_then(|item| place(item, tree)) {
                        Some(Flex::List(list)) => list.len(),
                        Some(Flex::Map(map)) => map.len(),
                        _ => 0,
                    },
                    _ => all().len(),
                };
                test(&Cell::Int(count as i128))
            }
        }
    }
}

fn compare(stored: &Cell, op: CompareOp, wanted: &Cell) -> bool {
    use CompareOp::*;
    if *stored == Cell::Null || *wanted == Cell::Null {
        return stored.order(wanted).is_eq() == (op == Eq) && matches!(op, Eq | Ne);
    }
    if !stored.is_comparable(wanted) {
        return op == Ne;
    }
    let plain = match op {
        EqNoCase => Eq,
        StartsWithNoCase => StartsWith,
        ContainsNoCase => Contains,
        EndsWithNoCase => EndsWith,
        op => op,
    };
    if plain != op {
        return compare(&stored.folded(), plain, &wanted.folded());
    }
    if let (Cell::Text(stored), Cell::Text(wanted)) = (stored, wanted) {
        match op {
            StartsWith => return stored.starts_with(wanted),
            Contains => return stored.contains(wanted),
            EndsWith => return stored.ends_with(wanted),
            _ => {}
        }
    }
    let order = stored.order(wanted);
    match op {
        Eq => order.is_eq(),
        Ne => order.is_ne(),
        Lt => order.is_lt(),
        Le => order.is_le(),
        Gt => order.is_gt(),
        Ge => order.is_ge(),
        op => panic!("{op}"),
    }
}

impl Tree {
    pub(crate) fn expr(&self) -> Expr {
        let many = |trees: &[Tree]| trees.iter().map(Tree::expr).collect();
        match self {
            Tree::Leaf(at, op, cell) => {
                Expr::Compare { path: at.path(), op: *op, value: cell.literal().into() }
            }
            Tree::In(at, cells, no_case) => {
                let values = cells.iter().map(|cell| cell.literal().into()).collect();
                Expr::In { path: at.path(), values, no_case: *no_case }
            }
            Tree::Between(at, low, high) => {
                let (low, high) = (low.literal().into(), high.literal().into());
                Expr::Between { path: at.path(), low, high }
            }
            Tree::Linked(which, way, tree) => {
                let path = match way {
                    Way::Parent => Path::property("parent"),
                    Way::Children => Path::property("Item").then("parent"),
                };
                Expr::Linked { which: *which, path, condition: Box::new(tree.expr()) }
            }
            Tree::And(trees) => Expr::And(many(trees)),
            Tree::Or(trees) => Expr::Or(many(trees)),
            Tree::Not(tree) => Expr::Not(Box::new(tree.expr())),
        }
    }

    pub(crate) fn holds(&self, world: &World, item: &Item) -> bool {
        match self {
            Tree::Leaf(at, op, wanted) => at.passes(world, item, |stored| compare(stored, *op, wanted)),
            Tree::In(at, cells, no_case) => at.passes(world, item, |stored| {
                let op = if *no_case { CompareOp::EqNoCase } else { CompareOp::Eq };
                cells.iter().any(|wanted| {
                    let is_null = *stored == Cell::Null || *wanted == Cell::Null;
                    compare(stored, if is_null { CompareOp::Eq } else { op }, wanted)
                })
            }),
            Tree::Between(at, low, high) => at.passes(world, item, |stored| {
                compare(stored, CompareOp::Ge, low) && compare(stored, CompareOp::Le, high)
            }),
            Tree::Linked(which, way, tree) => {
                let linked: Vec<&Item> = match way {
                    Way::Parent => world.parent(item).into_iter().collect(),
                    Way::Children => world.children(item),
                };
                let holds = |item: &&Item| tree.holds(world, item);
                match which {
                    Quantifier::Any => linked.iter().any(holds),
                    Quantifier::None => !linked.iter().any(holds),
                    Quantifier::All => linked.iter().all(holds),
                }
            }
            Tree::And(trees) => trees.iter().all(|tree| tree.holds(world, item)),
            Tree::Or(trees) => trees.iter().any(|tree| tree.holds(world, item)),
            Tree::Not(tree) => !tree.holds(world, item),
        }
    }
}

fn quantifier() -> impl Strategy<Value = Quantifier> {
    select(Quantifier::ALL)
}

/// What can be compared, the operators that suit it, and values for it.
fn at() -> impl Strategy<Value = (At, Vec<CompareOp>, BoxedStrategy<Cell>)> {
    use CompareOp::*;
    let up = prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    let ordered = || vec![Eq, Eq, Ne, Lt, Le, Gt, Ge];
    let of_text = vec![
        StartsWith,
        StartsWith,
        Contains,
        EndsWith,
        EqNoCase,
        StartsWithNoCase,
        ContainsNoCase,
        EndsWithNoCase,
    ];
    let of_text = [ordered(), of_text].concat();
    let (text_ops, tag_ops) = (of_text.clone(), of_text);
    let value = (up.clone(), select(&PROPERTIES[..])).prop_map(move |(up, property)| {
        let ops = match property {
            "flag" | "parent" => vec![Eq, Eq, Ne],
            "name" | "plain" => text_ops.clone(),
            _ => ordered(),
        };
        (At { up, property, aspect: Aspect::Value }, ops, cell_of(property))
    });
    let tags = (up.clone(), quantifier()).prop_map(move |(up, which)| {
        let at = At { up, property: "tags", aspect: Aspect::Elements(which) };
        (at, tag_ops.clone(), text().prop_map(Cell::Text).boxed())
    });
    let numbers = (up.clone(), quantifier()).prop_map(move |(up, which)| {
        let at = At { up, property: "numbers", aspect: Aspect::Elements(which) };
        (at, ordered(), int().prop_map(|number| Cell::Int(number.into())).boxed())
    });
    let counts = (up, select(vec!["tags", "numbers", "tree", "tree.a", CHILDREN])).prop_map(move |(up, property)| {
        let at = At { up, property, aspect: Aspect::Count };
        let few =
            prop_oneof![5 => (0..4_i128).prop_map(Cell::Int), 1 => big().prop_map(|n| Cell::Int(n.into()))];
        (at, ordered(), few.boxed())
    });
    let flex = (select(vec![0_usize, 0, 1]), select(&PLACES[..]), option::of(quantifier())).prop_map(
        |(up, property, which)| {
            let aspect = which.map_or(Aspect::Value, Aspect::Elements);
            (At { up, property, aspect }, vec![Eq, Eq, Ne, Lt, Le, Gt, Ge], flex_cells())
        },
    );
    prop_oneof![12 => value, 1 => tags, 1 => numbers, 1 => counts, 2 => flex]
}

/// What is within trees, one kind in each set, since a range from one kind to another is of no use.
fn flex_cells() -> BoxedStrategy<Cell> {
    prop_oneof![
        any::<bool>().prop_map(Cell::Bool),
        (-1..3_i128).prop_map(Cell::Int),
        select(vec![0.5, 1.0, -1.0, f64::INFINITY, f64::NAN]).prop_map(Cell::Float),
        select(vec!["", "a", "ab", "B"]).prop_map(|text| Cell::Text(text.to_owned())),
    ]
    .boxed()
}

fn leaf() -> impl Strategy<Value = Tree> {
    at().prop_flat_map(|(at, ops, cells)| {
        let is_value = at.aspect == Aspect::Value;
        let has_order = ops.contains(&CompareOp::Lt);
        let is_text = ops.contains(&CompareOp::Contains);
        let nulls = (Just(at.clone()), select(vec![CompareOp::Eq, CompareOp::Ne]), Just(Cell::Null));
        let compares = (Just(at.clone()), select(ops), cells.clone());
        let members = prop_oneof![5 => cells.clone(), 1 => Just(Cell::Null)];
        let lists = (Just(at.clone()), vec(members, 0..5), any::<bool>());
        let ranges = (Just(at), cells.clone(), cells);
        prop_oneof![
            6 => compares.prop_map(|(at, op, cell)| Tree::Leaf(at, op, cell)),
            u32::from(is_value) => nulls.prop_map(|(at, op, cell)| Tree::Leaf(at, op, cell)),
            2 => lists.prop_map(move |(at, cells, no_case)| Tree::In(at, cells, no_case && is_text)),
            2 * u32::from(has_order) => ranges.prop_filter_map("a range of one kind", |(at, low, high)| {
                low.is_comparable(&high).then_some(Tree::Between(at, low, high))
            }),
        ]
    })
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let deep = leaf().prop_recursive(3, 8, 3, |inner| {
        let way = select(vec![Way::Parent, Way::Children]);
        prop_oneof![
            2 => vec(inner.clone(), 0..3).prop_map(Tree::And),
            3 => vec(inner.clone(), 0..4).prop_map(Tree::Or),
            1 => inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            2 => (quantifier(), way, inner).prop_map(|(which, way, tree)| Tree::Linked(which, way, Box::new(tree))),
        ]
    });
    // Several tests at the top are what a planner chooses among.
    prop_oneof![2 => leaf(), 3 => vec(leaf(), 0..4).prop_map(Tree::And), 4 => deep]
}
