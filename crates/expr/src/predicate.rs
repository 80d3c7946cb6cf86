//! An expression that fits an entity, ready to be asked about its objects.

use std::cmp::Ordering;

use reconvene_model::record::{RecordError, Table};
use reconvene_model::{ObjectId, PropertyType, Value};

use crate::ast::CompareOp;
use crate::order::{Scalar, fold, fold_chars};

/// A condition that was checked against an entity and is evaluated on its records; made by [`check`](crate::check).
#[derive(Clone, Debug)]
pub struct Predicate {
    pub(crate) root: Node,
}

/// Where a property's value is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// It is the object's id.
    Id,
    /// It is in this slot of the record.
    Slot(usize),
}

/// A test of one property that must hold for the whole predicate to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conjunct<'a> {
    /// Where the property's value is found.
    pub place: Place,
    /// What the property holds; [`PropertyType::Long`] for the id.
    pub ty: PropertyType,
    /// Whether integers are compared as unsigned; so for the id.
    pub unsigned: bool,
    /// What is asked.
    pub test: Test<'a>,
}

/// What a [`Conjunct`] asks of its property.
///
/// Values fit the property's type. Integers, dates and the id are [`Value::Int`], and those of unsigned properties are
/// zero-extended, so that only 64-bit ones can look negative. Links are [`Value::Relation`] and never 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test<'a> {
    /// A comparison; with [`Value::Null`] only [`CompareOp::Eq`] and [`CompareOp::Ne`].
    Compare {
        /// How.
        op: CompareOp,
        /// With what; folded for operators without case.
        value: &'a Value,
    },
    /// Equality with one of a list.
    In {
        /// The values in ascending order, each once, none of them null; folded if `no_case`.
        values: &'a [Value],
        /// Whether null is in the list as well.
        null: bool,
        /// Whether upper and lower case count as equal.
        no_case: bool,
    },
}

/// A part of a predicate. Checking bounds how deep these nest.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Leaf(Leaf),
    /// Holds no [`Node::All`], so that its leaves are all conjuncts that there are.
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) place: Place,
    pub(crate) ty: PropertyType,
    pub(crate) unsigned: bool,
    pub(crate) ask: Ask,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Compare { op: CompareOp, value: Value },
    In { values: Vec<Value>, null: bool, no_case: bool },
}

impl Predicate {
    /// Whether an object meets the condition; `table` holds its properties.
    ///
    /// Only the properties that decide are read. A property that the record was written without is null.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if a property that is asked for is damaged.
    pub fn matches(&self, id: ObjectId, table: &Table<'_>) -> Result<bool, RecordError> {
        self.root.matches(id, table)
    }

    /// The tests that every object which meets the condition passes: what a planner may narrow by.
    ///
    /// They need not be all that the condition asks; [`Predicate::matches`] alone decides.
    pub fn conjuncts(&self) -> impl Iterator<Item = Conjunct<'_>> {
        let nodes = match &self.root {
            Node::All(nodes) => nodes.as_slice(),
            one => std::slice::from_ref(one),
        };
        nodes.iter().filter_map(|node| match node {
            Node::Leaf(leaf) => Some(leaf.conjunct()),
            _ => None,
        })
    }

    /// Whether every object meets the condition because it asks nothing.
    pub fn is_all(&self) -> bool {
        matches!(&self.root, Node::All(nodes) if nodes.is_empty())
    }

    /// Whether the [conjuncts](Predicate::conjuncts) together are the whole condition.
    pub fn is_conjunction(&self) -> bool {
        match &self.root {
            Node::Leaf(_) => true,
            Node::All(nodes) => nodes.iter().all(|node| matches!(node, Node::Leaf(_))),
            Node::Any(_) | Node::Not(_) => false,
        }
    }

    /// The properties that the condition asks about, ascending and each once: a change of any other cannot matter.
    pub fn places(&self) -> Vec<Place> {
        fn collect(node: &Node, places: &mut Vec<Place>) {
            match node {
                Node::Leaf(leaf) => places.push(leaf.place),
                Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| collect(node, places)),
                Node::Not(node) => collect(node, places),
            }
        }
        let mut places = Vec::new();
        collect(&self.root, &mut places);
        places.sort_unstable();
        places.dedup();
        places
    }
}

impl Node {
    fn matches(&self, id: ObjectId, table: &Table<'_>) -> Result<bool, RecordError> {
        match self {
            Node::Leaf(leaf) => leaf.matches(id, table),
            Node::All(nodes) => {
                for node in nodes {
                    if !node.matches(id, table)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Any(nodes) => {
                for node in nodes {
                    if node.matches(id, table)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Not(node) => Ok(!node.matches(id, table)?),
        }
    }
}

impl Leaf {
    fn conjunct(&self) -> Conjunct<'_> {
        let test = match &self.ask {
            Ask::Compare { op, value } => Test::Compare { op: *op, value },
            Ask::In { values, null, no_case } => Test::In { values, null: *null, no_case: *no_case },
        };
        Conjunct { place: self.place, ty: self.ty, unsigned: self.unsigned, test }
    }

    fn matches(&self, id: ObjectId, table: &Table<'_>) -> Result<bool, RecordError> {
        match &self.ask {
            Ask::Compare { op, value } => {
                let Some(wanted) = self.scalar(value) else {
                    let is_null = self.is_null(table)?;
                    return Ok(is_null == (*op == CompareOp::Eq));
                };
                let stored = self.read(id, table)?;
                Ok(stored.map_or(*op == CompareOp::Ne, |stored| holds(stored, *op, wanted)))
            }
            Ask::In { values, null, no_case } => {
                let Some(stored) = self.read(id, table)? else { return Ok(*null) };
                let folded;
                let stored = match stored {
                    Scalar::Text(text) if *no_case => {
                        folded = fold(text);
                        Scalar::Text(&folded)
                    }
                    stored => stored,
                };
                Ok(values.binary_search_by(|value| self.order(value, stored)).is_ok())
            }
        }
    }

    /// The order of a value of this test and of what is stored.
    fn order(&self, value: &Value, stored: Scalar<'_>) -> Ordering {
        self.scalar(value).and_then(|value| value.order(stored)).unwrap_or(Ordering::Less)
    }

    /// The order of two values of this test.
    pub(crate) fn order_values(&self, one: &Value, other: &Value) -> Ordering {
        self.scalar(other).map_or(Ordering::Less, |other| self.order(one, other))
    }

    /// A link to 0 links to nothing, and is null however it was written.
    fn is_null(&self, table: &Table<'_>) -> Result<bool, RecordError> {
        Ok(match self.place {
            Place::Id => false,
            Place::Slot(slot) if self.ty == PropertyType::Relation => {
                table.int(slot, self.ty)?.unwrap_or(0) == 0
            }
            Place::Slot(slot) => table.is_null(slot),
        })
    }

    /// What is stored; `None` if that is null or of a type that cannot be compared.
    fn read<'t>(&self, id: ObjectId, table: &Table<'t>) -> Result<Option<Scalar<'t>>, RecordError> {
        use PropertyType as T;
        let Place::Slot(slot) = self.place else { return Ok(Some(Scalar::UInt(id))) };
        Ok(match self.ty {
            T::String => table.str(slot)?.map(Scalar::Text),
            T::Bool => table.int(slot, self.ty)?.map(|number| Scalar::Bool(number != 0)),
            T::Float => table.float(slot)?.map(|number| Scalar::Double(number.into())),
            T::Double => table.double(slot)?.map(Scalar::Double),
            T::Relation => {
                table.int(slot, self.ty)?.filter(|&id| id != 0).map(|id| Scalar::UInt(id.cast_unsigned()))
            }
            ty if ty.is_integer() => table.int(slot, ty)?.map(|number| self.integer(number)),
            _ => None,
        })
    }

    /// A value of this test in the form in which it is compared; `None` for null.
    fn scalar<'v>(&self, value: &'v Value) -> Option<Scalar<'v>> {
        Some(match value {
            Value::Bool(bit) => Scalar::Bool(*bit),
            Value::Int(number) => self.integer(*number),
            Value::Float(number) => Scalar::Double(f64::from(*number)),
            Value::Double(number) => Scalar::Double(*number),
            Value::String(text) => Scalar::Text(text),
            Value::Relation(id) => Scalar::UInt(*id),
            _ => return None,
        })
    }

    fn integer(&self, number: i64) -> Scalar<'static> {
        if !self.unsigned {
            return Scalar::Int(number);
        }
        // Narrow integers are stored sign-extended; the bits above their width are no part of the number.
        let unused_bits = 64 - 8 * self.ty.scalar_bytes().unwrap_or(8);
        Scalar::UInt((number.cast_unsigned() << unused_bits) >> unused_bits)
    }
}

/// Whether a stored value compares like this with the wanted one, which is folded for operators without case.
fn holds(stored: Scalar<'_>, op: CompareOp, wanted: Scalar<'_>) -> bool {
    use CompareOp::*;
    if let (true, Scalar::Text(stored), Scalar::Text(wanted)) = (op.is_text(), stored, wanted) {
        return match op {
            StartsWith => stored.starts_with(wanted),
            Contains => stored.contains(wanted),
            EndsWith => stored.ends_with(wanted),
            EqNoCase => fold_chars(stored).eq(wanted.chars()),
            StartsWithNoCase => {
                let mut stored = fold_chars(stored);
                wanted.chars().all(|wanted| stored.next() == Some(wanted))
            }
            ContainsNoCase => fold(stored).contains(wanted),
            EndsWithNoCase => fold(stored).ends_with(wanted),
            Eq | Ne | Lt | Le | Gt | Ge => false,
        };
    }
    let order = stored.order(wanted);
    match op {
        Eq => order.is_some_and(Ordering::is_eq),
        Ne => !order.is_some_and(Ordering::is_eq),
        Lt => order.is_some_and(Ordering::is_lt),
        Le => order.is_some_and(Ordering::is_le),
        Gt => order.is_some_and(Ordering::is_gt),
        Ge => order.is_some_and(Ordering::is_ge),
        _ => false,
    }
}
