//! What happens: drawn without knowledge of the store, so that any part may be left out when a history is shrunk. Places and
//! values are numbers that mean something only against what is there by then.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use reconvene_expr::CompareOp;

use crate::reference::{Asked, Cell, Entity, Kept, Kind, Property, Reference, Tree};

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) turns: Vec<(Turn, Vec<Question>)>,
}

impl History {
    pub(crate) fn steps(&self) -> usize {
        let of = |turn: &Turn| match turn {
            Turn::Write(steps, _) => steps.len(),
            Turn::PutMany(_, objects) => objects.len(),
            _ => 1,
        };
        self.turns.iter().map(|(turn, questions)| of(turn) + questions.len()).sum()
    }
}

/// Something after which all questions are asked.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// Writes in one transaction, and how it ends.
    Write(Vec<Write>, End),
    /// New objects of an entity, each with values.
    PutMany(usize, Vec<Vec<Number>>),
    /// The objects that meet a condition go.
    Remove(Question),
    Reopen,
    Evolve(Vec<Change>, Opening),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Error,
    Panic,
}

#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// A new object of this entity, with a value for each property.
    Insert(usize, Vec<Number>),
    /// Some properties of an object that is there.
    Update(usize, Number, Vec<(Number, Number)>),
    Remove(usize, Number),
    /// The object of an id at which there may be none.
    Overwrite(usize, u64, Vec<(Number, Number)>),
}

/// A change of the schema.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Add(usize, Kind, Kept),
    Drop(usize, Number),
    Rename(usize, Number),
    Keep(usize, Number, Kept),
    RenameEntity(usize),
    Sync(bool),
}

/// How the store is opened with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Plain,
    /// Indexes are built meanwhile.
    InBackground,
    /// It is cut off after so many pieces of the work that the change brings with it, and done again.
    CutOff(u8),
}

/// One of what is there, or a value of some kind.
pub(crate) type Number = u8;

/// A question, against whatever properties there are.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    entity: usize,
    tree: Shape,
    order: Vec<(Number, bool)>,
    offset: u64,
    limit: Option<u64>,
}

#[derive(Clone, Debug)]
enum Shape {
    Leaf(Number, Number, Number),
    In(Number, Vec<Number>),
    And(Vec<Shape>),
    Or(Vec<Shape>),
    Not(Box<Shape>),
}

/// The value of a kind that a number stands for.
pub(crate) fn cell(kind: Kind, number: Number) -> Cell {
    let number = usize::from(number);
    if number.is_multiple_of(11) {
        return Cell::Null;
    }
    match kind {
        Kind::Bool => Cell::Bool(number % 2 == 1),
        Kind::Int => {
            const INTS: [i32; 5] = [0, -1, i32::MIN, i32::MAX, 256];
            Cell::Int(i64::from(*INTS.get(number).unwrap_or(&(number as i32))))
        }
        Kind::Long => {
            const LONGS: [i64; 4] = [0, i64::MIN, i64::MAX, -256];
            Cell::Int(*LONGS.get(number).unwrap_or(&(number as i64)))
        }
        Kind::Text => Cell::Text(match number % 40 {
            1 => String::new(),
            2 => "a\0".to_owned(),
            3 => "a\0b".to_owned(),
            // From some length on text is cut in its key.
            4 => "é".repeat(180),
            5 => format!("{}\0", "x".repeat(483)),
            6 => "\u{10ffff}".to_owned(),
            number => format!("{}{}", ["a", "b", "ab"][number % 3], number),
        }),
        Kind::Link => Cell::Link(1 + number as u64 % 70),
    }
}

/// The object that a number stands for.
pub(crate) fn pick(entity: &Entity, number: Number) -> Option<u64> {
    let count = entity.objects.len();
    (count > 0).then(|| *entity.objects.keys().nth(usize::from(number) * 7 % count).unwrap())
}

/// The property that a number stands for.
pub(crate) fn property(entity: &Entity, number: Number) -> Option<&Property> {
    let count = entity.properties.len();
    (count > 0).then(|| &entity.properties[usize::from(number) % count])
}

impl Question {
    /// The question against the schema of this moment.
    pub(crate) fn asked(&self, reference: &Reference) -> Asked {
        let entity = &reference.entities[self.entity];
        let order =
            self.order.iter().map(|&(number, descending)| (property_or_id(entity, number), descending));
        Asked {
            entity: self.entity,
            tree: self.tree.tree(entity),
            order: order
                .filter(|(property, _)| property.as_ref().is_none_or(|property| property.kind != Kind::Link))
                .collect(),
            offset: self.offset,
            limit: self.limit,
        }
    }

    pub(crate) fn entity(&self) -> usize {
        self.entity
    }
}

fn property_or_id(entity: &Entity, number: Number) -> Option<Property> {
    if number.is_multiple_of(9) { None } else { property(entity, number).cloned() }
}

impl Shape {
    fn tree(&self, entity: &Entity) -> Tree {
        let many = |shapes: &[Shape]| shapes.iter().map(|shape| shape.tree(entity)).collect();
        let wanted = |property: &Option<Property>, number: Number| match property {
            // An id is compared with ids; that of null is never that of an object.
            None => Cell::Int(i64::from(number)),
            Some(property) => cell(property.kind, number),
        };
        match self {
            Shape::Leaf(of, op, value) => {
                let property = property_or_id(entity, *of);
                let wanted = wanted(&property, *value);
                let ops: &[CompareOp] = match (&property, &wanted) {
                    (_, Cell::Null | Cell::Bool(_) | Cell::Link(_)) => &[CompareOp::Eq, CompareOp::Ne],
                    (_, Cell::Text(_)) => &[
                        CompareOp::Eq,
                        CompareOp::Ne,
                        CompareOp::Lt,
                        CompareOp::Le,
                        CompareOp::Gt,
                        CompareOp::Ge,
                        CompareOp::StartsWith,
                        CompareOp::Contains,
                    ],
                    _ => &[
                        CompareOp::Eq,
                        CompareOp::Ne,
                        CompareOp::Lt,
                        CompareOp::Le,
                        CompareOp::Gt,
                        CompareOp::Ge,
                    ],
                };
                let op = ops[usize::from(*op) % ops.len()];
                Tree::Leaf(property, op, wanted)
            }
            Shape::In(of, values) => {
                let property = property_or_id(entity, *of);
                let cells = values.iter().map(|&value| wanted(&property, value)).collect();
                Tree::In(property, cells)
            }
            Shape::And(shapes) => Tree::And(many(shapes)),
            Shape::Or(shapes) => Tree::Or(many(shapes)),
            Shape::Not(shape) => Tree::Not(Box::new(shape.tree(entity))),
        }
    }
}

fn entity() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0_usize), 1 => Just(1_usize)]
}

fn kind() -> impl Strategy<Value = Kind> {
    select(vec![Kind::Bool, Kind::Int, Kind::Long, Kind::Text, Kind::Text, Kind::Link])
}

fn kept() -> impl Strategy<Value = Kept> {
    select(vec![Kept::Plain, Kept::Indexed, Kept::Indexed, Kept::Unique])
}

fn values() -> impl Strategy<Value = Vec<Number>> {
    vec(any::<Number>(), 0..8)
}

fn write() -> impl Strategy<Value = Write> {
    let some = || vec((any::<Number>(), any::<Number>()), 0..4);
    prop_oneof![
        6 => (entity(), values()).prop_map(|(entity, values)| Write::Insert(entity, values)),
        6 => (entity(), any::<Number>(), some()).prop_map(|(entity, at, some)| Write::Update(entity, at, some)),
        4 => (entity(), any::<Number>()).prop_map(|(entity, at)| Write::Remove(entity, at)),
        1 => (entity(), 1..200_u64, some()).prop_map(|(entity, id, some)| Write::Overwrite(entity, id, some)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Number>;
    prop_oneof![
        3 => (entity(), kind(), kept()).prop_map(|(entity, kind, kept)| Change::Add(entity, kind, kept)),
        1 => (entity(), at()).prop_map(|(entity, at)| Change::Drop(entity, at)),
        1 => (entity(), at()).prop_map(|(entity, at)| Change::Rename(entity, at)),
        6 => (entity(), at(), kept()).prop_map(|(entity, at, kept)| Change::Keep(entity, at, kept)),
        1 => entity().prop_map(Change::RenameEntity),
        1 => any::<bool>().prop_map(Change::Sync),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let n = any::<Number>;
    let leaf = prop_oneof![
        5 => (n(), n(), n()).prop_map(|(of, op, value)| Shape::Leaf(of, op, value)),
        1 => (n(), vec(n(), 0..4)).prop_map(|(of, values)| Shape::In(of, values)),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            2 => vec(inner.clone(), 0..4).prop_map(Shape::And),
            1 => vec(inner.clone(), 0..3).prop_map(Shape::Or),
            1 => inner.prop_map(|shape| Shape::Not(Box::new(shape))),
        ]
    })
}

fn question() -> impl Strategy<Value = Question> {
    let part = (0..6_u64).prop_map(|offset| offset.saturating_sub(3));
    (entity(), shape(), vec((any::<Number>(), any::<bool>()), 0..3), part, option::of(0..8_u64))
        .prop_map(|(entity, tree, order, offset, limit)| Question { entity, tree, order, offset, limit })
}

fn turn() -> impl Strategy<Value = Turn> {
    let end = prop_oneof![8 => Just(End::Commit), 1 => Just(End::Error), 1 => Just(End::Panic)];
    let opening = prop_oneof![4 => Just(Opening::Plain), 2 => Just(Opening::InBackground), 2 => (0..8_u8).prop_map(Opening::CutOff)];
    prop_oneof![
        12 => (vec(write(), 1..60), end).prop_map(|(writes, end)| Turn::Write(writes, end)),
        3 => (entity(), vec(values(), 1..60)).prop_map(|(entity, many)| Turn::PutMany(entity, many)),
        1 => question().prop_map(Turn::Remove),
        2 => Just(Turn::Reopen),
        6 => (vec(change(), 1..4), opening).prop_map(|(changes, opening)| Turn::Evolve(changes, opening)),
    ]
}

/// Thousands of steps, questions among them.
pub(crate) fn history() -> impl Strategy<Value = History> {
    vec((turn(), vec(question(), 1..14)), 1..120).prop_map(|turns| History { turns })
}
