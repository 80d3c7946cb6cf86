//! An expression that fits an entity, ready to be asked about its objects.

use std::ops::ControlFlow;
use std::slice;

use reconvene_model::record::{RecordError, Table};
use reconvene_model::{EntityId, ObjectId, PropertyType, Value};

use crate::ast::CompareOp;
use crate::flex::FlexLeaf;
use crate::leaf::{Ask, Kind, Leaf};
use crate::links::{Links, NoLinks, Relation};
use crate::order::Scalar;

/// A condition that was checked against an entity and is evaluated on its records; made by [`check`](crate::check) and
/// [`prepare`](crate::prepare).
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
    /// Whether the test must fail instead.
    pub negated: bool,
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
    /// Whether a value lies in a range, ends included; null never does.
    Between {
        /// The smallest value.
        low: &'a Value,
        /// The largest value.
        high: &'a Value,
    },
}

/// A part of a predicate, in which NOT was carried down to the tests. Checking bounds how deep these nest.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Leaf(Leaf),
    /// Of a place within a Flex value.
    Flex(Box<FlexLeaf>),
    /// Holds no [`Node::All`], so that its leaves are all conjuncts that there are.
    All(Vec<Node>),
    /// Holds no [`Node::Any`].
    Any(Vec<Node>),
    /// Of the object that a link leads to.
    One(Box<One>),
    /// Of the objects that a relation leads to.
    Many(Box<Many>),
    /// Of how many objects a relation leads to.
    Count(Box<Count>),
}

#[derive(Clone, Debug)]
pub(crate) struct One {
    pub(crate) slot: usize,
    pub(crate) target: EntityId,
    /// What holds if the link leads to no object; if not given, what `inner` says of an object without values.
    pub(crate) of_nothing: Option<bool>,
    pub(crate) inner: Node,
}

#[derive(Clone, Debug)]
pub(crate) struct Many {
    pub(crate) relation: Relation,
    /// Whether none must meet `inner`, instead of any.
    pub(crate) negated: bool,
    pub(crate) inner: Node,
}

#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) relation: Relation,
    pub(crate) negated: bool,
    pub(crate) ask: Ask,
    pub(crate) hole: Option<usize>,
}

impl Predicate {
    /// Whether an object meets the condition; `table` holds its properties.
    ///
    /// Only the properties that decide are read. A property that the record was written without is null. Links lead
    /// nowhere here; see [`Predicate::matches_with`].
    ///
    /// # Errors
    ///
    /// [`RecordError`] if a property that is asked for is damaged.
    pub fn matches(&self, id: ObjectId, table: &Table<'_>) -> Result<bool, RecordError> {
        self.root.matches(id, table, &NoLinks)
    }

    /// Whether an object meets the condition, other objects being found through `links`.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if a property that is asked for is damaged, and those of `links`.
    pub fn matches_with<L: Links>(
        &self,
        id: ObjectId,
        table: &Table<'_>,
        links: &L,
    ) -> Result<bool, L::Error> {
        self.root.matches(id, table, links)
    }

    /// The whole condition as a part, for planners.
    pub fn root(&self) -> Part<'_> {
        Part(&self.root)
    }

    /// The tests that every object which meets the condition passes: what a planner may narrow by.
    ///
    /// They need not be all that the condition asks; [`Predicate::matches`] alone decides.
    pub fn conjuncts(&self) -> impl Iterator<Item = Conjunct<'_>> {
        self.root().conjuncts()
    }

    /// Whether every object meets the condition because it asks nothing.
    pub fn is_all(&self) -> bool {
        matches!(&self.root, Node::All(nodes) if nodes.is_empty())
    }

    /// Whether the [conjuncts](Predicate::conjuncts) together are the whole condition.
    pub fn is_conjunction(&self) -> bool {
        self.root().is_conjunction()
    }

    /// The properties that the condition asks about, ascending and each once: a change of any other property of the object
    /// cannot matter. What links lead to is named by [`Predicate::reaches`].
    pub fn places(&self) -> Vec<Place> {
        fn collect(node: &Node, places: &mut Vec<Place>) {
            match node {
                Node::Leaf(leaf) => places.push(leaf.place),
                Node::Flex(leaf) => places.push(Place::Slot(leaf.slot)),
                Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| collect(node, places)),
                Node::One(one) => places.push(Place::Slot(one.slot)),
                // What a relation leads to from an object hangs on its id alone.
                Node::Many(_) | Node::Count(_) => {}
            }
        }
        let mut places = Vec::new();
        collect(&self.root, &mut places);
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The entities whose objects the condition looks at along links and relations, ascending and each once: a change of
    /// theirs, or of a relation to them, can matter.
    pub fn reaches(&self) -> Vec<EntityId> {
        fn collect(node: &Node, reached: &mut Vec<EntityId>) {
            match node {
                Node::Leaf(_) | Node::Flex(_) => {}
                Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| collect(node, reached)),
                Node::One(one) => {
                    reached.push(one.target);
                    collect(&one.inner, reached);
                }
                Node::Many(many) => {
                    reached.push(many.relation.target);
                    collect(&many.inner, reached);
                }
                Node::Count(count) => reached.push(count.relation.target),
            }
        }
        let mut reached = Vec::new();
        collect(&self.root, &mut reached);
        reached.sort_unstable();
        reached.dedup();
        reached
    }
}

/// A part of a [`Predicate`], for planners that look for what narrows.
#[derive(Clone, Copy, Debug)]
pub struct Part<'p>(&'p Node);

/// What a [`Part`] asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PartKind<'p> {
    /// That all of these hold.
    All(Parts<'p>),
    /// That at least one of these holds.
    Any(Parts<'p>),
    /// A test of one property of the object itself.
    Test(Conjunct<'p>),
    /// Something of the object that a link leads to.
    One {
        /// The slot of the link.
        slot: usize,
        /// The entity linked to.
        target: EntityId,
        /// Whether an object whose link leads nowhere meets this.
        of_nothing: bool,
        /// What is asked of the object linked to.
        inner: Part<'p>,
    },
    /// That any of the objects that a relation leads to meets something.
    AnyOf {
        /// The relation.
        relation: &'p Relation,
        /// What one of them must meet.
        inner: Part<'p>,
    },
    /// Something that only [`Part::matches_with`] can tell.
    Other,
}

/// The parts of a [`PartKind`].
#[derive(Clone, Debug)]
pub struct Parts<'p>(slice::Iter<'p, Node>);

impl<'p> Iterator for Parts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        self.0.next().map(Part)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Parts<'_> {}

impl<'p> Part<'p> {
    /// Whether an object meets this part; as [`Predicate::matches_with`].
    ///
    /// # Errors
    ///
    /// As [`Predicate::matches_with`].
    #[inline]
    pub fn matches_with<L: Links>(
        self,
        id: ObjectId,
        table: &Table<'_>,
        links: &L,
    ) -> Result<bool, L::Error> {
        self.0.matches(id, table, links)
    }

    /// What it asks.
    pub fn kind(self) -> PartKind<'p> {
        match self.0 {
            Node::Leaf(leaf) => leaf.conjunct().map_or(PartKind::Other, PartKind::Test),
            Node::All(nodes) => PartKind::All(Parts(nodes.iter())),
            Node::Any(nodes) => PartKind::Any(Parts(nodes.iter())),
            Node::One(one) => PartKind::One {
                slot: one.slot,
                target: one.target,
                of_nothing: one.of_nothing(),
                inner: Part(&one.inner),
            },
            Node::Many(many) if !many.negated => {
                PartKind::AnyOf { relation: &many.relation, inner: Part(&many.inner) }
            }
            Node::Many(_) | Node::Count(_) | Node::Flex(_) => PartKind::Other,
        }
    }

    /// The parts that must all hold: those of AND, or the part itself.
    pub fn all(self) -> Parts<'p> {
        Parts(match self.0 {
            Node::All(nodes) => nodes.iter(),
            one => slice::from_ref(one).iter(),
        })
    }

    /// As [`Predicate::conjuncts`].
    pub fn conjuncts(self) -> impl Iterator<Item = Conjunct<'p>> {
        self.all().filter_map(|part| match part.kind() {
            PartKind::Test(conjunct) => Some(conjunct),
            _ => None,
        })
    }

    /// Whether it asks nothing.
    pub fn is_all(self) -> bool {
        matches!(self.0, Node::All(nodes) if nodes.is_empty())
    }

    /// As [`Predicate::is_conjunction`].
    pub fn is_conjunction(self) -> bool {
        self.all().all(|part| matches!(part.kind(), PartKind::Test(_)))
    }
}

impl One {
    fn of_nothing(&self) -> bool {
        self.of_nothing.unwrap_or_else(|| self.inner.matches_nothing())
    }
}

impl Count {
    fn holds(&self, count: u64) -> bool {
        self.ask.holds(Kind::COUNT, Some(Scalar::UInt(count))) != self.negated
    }
}

impl Node {
    fn matches<L: Links>(&self, id: ObjectId, table: &Table<'_>, links: &L) -> Result<bool, L::Error> {
        match self {
            Node::Leaf(leaf) => Ok(leaf.matches(id, table)?),
            Node::Flex(leaf) => Ok(leaf.matches(table)?),
            Node::All(nodes) => {
                for node in nodes {
                    if !node.matches(id, table, links)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Any(nodes) => {
                for node in nodes {
                    if node.matches(id, table, links)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::One(one) => {
                let target = table.int(one.slot, PropertyType::Relation)?.unwrap_or(0).cast_unsigned();
                let object = if target == 0 { None } else { links.object(one.target, target)? };
                match object {
                    Some(table) => one.inner.matches(target, &table, links),
                    None => Ok(one.of_nothing()),
                }
            }
            Node::Many(many) => {
                let mut any = false;
                each_linked(links, &many.relation, id, |id, table| {
                    any = many.inner.matches(id, table, links)?;
                    Ok(if any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
                Ok(any != many.negated)
            }
            Node::Count(count) => {
                let mut linked = 0;
                each_linked(links, &count.relation, id, |_, _| {
                    linked += 1;
                    Ok(ControlFlow::Continue(()))
                })?;
                Ok(count.holds(linked))
            }
        }
    }

    /// What it says of an object that does not exist: it has no values, and its relations lead to nothing.
    fn matches_nothing(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.matches_nothing(),
            Node::Flex(leaf) => leaf.matches_nothing(),
            Node::All(nodes) => nodes.iter().all(Node::matches_nothing),
            Node::Any(nodes) => nodes.iter().any(Node::matches_nothing),
            Node::One(one) => one.of_nothing(),
            Node::Many(many) => many.negated,
            Node::Count(count) => count.holds(0),
        }
    }
}

/// Hands over the objects that a relation leads to; those that do not exist are hidden.
fn each_linked<L: Links>(
    links: &L,
    relation: &Relation,
    id: ObjectId,
    mut take: impl FnMut(ObjectId, &Table<'_>) -> Result<ControlFlow<()>, L::Error>,
) -> Result<(), L::Error> {
    links.linked(relation, id, &mut |linked| match links.object(relation.target, linked)? {
        Some(table) => take(linked, &table),
        None => Ok(ControlFlow::Continue(())),
    })
}
