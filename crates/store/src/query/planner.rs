//! Which keys a query visits, and in which order: planned from the condition, the indexes, and a short look at how much they
//! hold.
//!
//! A plan only ever leaves out objects that cannot match. What it does not answer by itself, checking and sorting make good,
//! so that results never depend on it.

use std::fmt;

use reconvene_expr::{Place, Predicate};
use reconvene_model::PropertyDef;
use smallvec::SmallVec;

use super::key_set::KeySet;
use super::narrow::{Narrowed, narrow};
use crate::catalog::EntityRuntime;
use crate::error::Result;
use crate::index::IndexRuntime;
use crate::seam::{Direction, Reader, TableId, View};

/// How many entries of an index are counted at most to learn which one holds the fewest: enough to tell few from many, and
/// cheap beside what follows.
const PROBE_ENTRIES_MAX: usize = 64;

/// One part of the order of results.
#[derive(Clone, Debug)]
pub(crate) struct OrderTerm {
    pub(crate) property: PropertyDef,
    pub(crate) descending: bool,
}

/// How a query is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'e> {
    pub(crate) walk: Walk<'e>,
    pub(crate) keys: KeySet,
    /// Whether each object must be checked against the condition.
    pub(crate) check: bool,
    pub(crate) arrangement: Arrangement,
}

/// What is walked through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Walk<'e> {
    /// The objects, by id.
    Objects,
    /// An index, by value and then by id.
    Index(&'e IndexRuntime),
}

/// How the walk's order becomes that of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// It is the order of the results, in this direction.
    AsWalked(Direction),
    /// It is so against the keys, but for objects of the same value, which still come by ascending id.
    ValuesBackward,
    /// Ids are sorted.
    SortIds,
    /// Objects are sorted by the values asked for.
    SortValues,
}

impl<'e> Plan<'e> {
    /// Plans a query; `order` is what results are ordered by before their ids.
    pub(crate) fn new(
        entity: &'e EntityRuntime,
        predicate: &Predicate,
        order: &[OrderTerm],
        view: &View<'_>,
    ) -> Result<Plan<'e>> {
        let mut candidates: SmallVec<[_; 2]> = SmallVec::new();
        if let Some(narrowed) = narrow(predicate, Place::Id, None)? {
            candidates.push((Walk::Objects, narrowed));
        }
        for index in &entity.indexes {
            let property = index.property();
            if let Some(narrowed) = narrow(predicate, Place::Slot(property.slot()), Some(property))? {
                candidates.push((Walk::Index(index), narrowed));
            }
        }
        let nothing = candidates.iter().position(|(_, narrowed)| narrowed.keys.is_empty());
        let best = match nothing {
            Some(nothing) => Some(nothing),
            None => smallest(entity, &candidates, view)?,
        };
        let (walk, narrowed) = match best {
            Some(best) => candidates.swap_remove(best),
            None => (unnarrowed(entity, order), Narrowed { keys: KeySet::all(), tests: 0, is_exact: true }),
        };
        let answers_all = predicate.is_conjunction()
            && narrowed.is_exact
            && predicate.conjuncts().count() == narrowed.tests;
        let arrangement = arrange(walk, &narrowed.keys, order);
        Ok(Plan { walk, keys: narrowed.keys, check: !answers_all, arrangement })
    }

    /// Whether the plan visits every object and each is a result.
    pub(crate) fn is_everything(&self) -> bool {
        !self.check && self.keys == KeySet::all()
    }

    /// The table that is walked through.
    pub(crate) fn table(&self, entity: &EntityRuntime) -> TableId {
        self.walk.table(entity)
    }
}

impl Walk<'_> {
    fn table(self, entity: &EntityRuntime) -> TableId {
        match self {
            Walk::Objects => entity.objects,
            Walk::Index(index) => index.table,
        }
    }

    /// Whether at most one object has each of these keys.
    fn is_unique(self, keys: &KeySet) -> bool {
        let is_unique = match self {
            Walk::Objects => true,
            // Any number of objects may be without a value; and sync may bring few duplicates, which does no harm here.
            Walk::Index(index) => {
                index.is_unique()
                    && !keys.spans().first().is_some_and(|span| crate::index::is_null_key(&span.start))
            }
        };
        is_unique && keys.is_values()
    }
}

/// The candidate that leaves the fewest entries, as far as a short look tells.
fn smallest(
    entity: &EntityRuntime,
    candidates: &[(Walk<'_>, Narrowed)],
    view: &View<'_>,
) -> Result<Option<usize>> {
    if candidates.len() < 2 {
        return Ok(candidates.first().map(|_| 0));
    }
    let mut best: Option<((usize, u8, usize), usize)> = None;
    for (at, (walk, narrowed)) in candidates.iter().enumerate() {
        let keys = &narrowed.keys;
        let kind = match () {
            () if walk.is_unique(keys) => 0,
            () if keys.is_one_value() => 1,
            () if keys.is_values() => 2,
            () => 3,
        };
        let entries = if kind == 0 {
            keys.spans().len()
        } else {
            // One more than the best so far is enough to be out of the question.
            let max = best.map_or(PROBE_ENTRIES_MAX, |((entries, ..), _)| PROBE_ENTRIES_MAX.min(entries + 1));
            count_up_to(view, walk.table(entity), keys, max)?
        };
        // Among those that hold more than was counted, the kind of keys decides, and then how many there are.
        let rank = (entries.min(PROBE_ENTRIES_MAX), kind, keys.spans().len());
        if best.is_none_or(|(best, _)| rank < best) {
            best = Some((rank, at));
        }
    }
    Ok(best.map(|(_, at)| at))
}

fn count_up_to(view: &View<'_>, table: TableId, keys: &KeySet, max: usize) -> Result<usize> {
    let mut count = 0;
    for span in keys.spans().iter().take(max) {
        for entry in view.range(table, span.range(), Direction::Forward)?.take(max - count) {
            entry?;
            count += 1;
        }
        if count == max {
            break;
        }
    }
    // Values beyond those that were looked for may hold any number.
    Ok(if keys.spans().len() > max { max } else { count })
}

/// What to walk through when the condition narrows nothing: what has the order asked for, if anything has.
fn unnarrowed<'e>(entity: &'e EntityRuntime, order: &[OrderTerm]) -> Walk<'e> {
    let indexes = entity.indexes.iter().map(Walk::Index);
    let mut ordered = indexes.filter(|&index| is_walked(arrange(index, &KeySet::all(), order)));
    match order {
        [] => Walk::Objects,
        [first, ..] if first.property.is_id() => Walk::Objects,
        _ => ordered.next().unwrap_or(Walk::Objects),
    }
}

fn is_walked(arrangement: Arrangement) -> bool {
    matches!(arrangement, Arrangement::AsWalked(_) | Arrangement::ValuesBackward)
}

/// How results of this order come from the walk.
fn arrange(walk: Walk<'_>, keys: &KeySet, order: &[OrderTerm]) -> Arrangement {
    let walked_by = |term: &OrderTerm| match walk {
        Walk::Objects => term.property.is_id(),
        Walk::Index(index) => term.property.id == index.property().id,
    };
    let by_id = matches!(walk, Walk::Objects) || keys.is_one_value();
    // A property of which all have one value decides no order.
    let is_constant =
        |term: &OrderTerm| matches!(walk, Walk::Index(_)) && keys.is_one_value() && walked_by(term);
    let mut terms = order.iter().filter(|term| !is_constant(term));
    let first = terms.next();
    let then_by_id = terms.next().is_none_or(|term| term.property.is_id() && !term.descending);
    match first {
        None if by_id => Arrangement::AsWalked(Direction::Forward),
        None => Arrangement::SortIds,
        Some(term) if term.property.is_id() && by_id => {
            Arrangement::AsWalked(if term.descending { Direction::Backward } else { Direction::Forward })
        }
        Some(term) if term.property.is_id() && !term.descending => Arrangement::SortIds,
        // Text that is cut in its key does not stand in its order.
        Some(term) if walked_by(term) && then_by_id && term.property.ty.scalar_bytes().is_some() => {
            if term.descending {
                Arrangement::ValuesBackward
            } else {
                Arrangement::AsWalked(Direction::Forward)
            }
        }
        Some(_) => Arrangement::SortValues,
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return f.write_str("nothing can match");
        }
        match self.walk {
            Walk::Objects => f.write_str("by id")?,
            Walk::Index(index) => write!(f, "by index of {}", index.property().name)?,
        }
        let spans = self.keys.spans().len();
        match spans {
            _ if self.keys == KeySet::all() => f.write_str(": all")?,
            1 if self.keys.is_values() => f.write_str(": one value")?,
            _ if self.keys.is_values() => write!(f, ": {spans} values")?,
            1 => f.write_str(": a range")?,
            _ => write!(f, ": {spans} ranges")?,
        }
        match self.arrangement {
            Arrangement::AsWalked(Direction::Forward) => {}
            Arrangement::AsWalked(Direction::Backward) | Arrangement::ValuesBackward => {
                f.write_str(", backward")?
            }
            Arrangement::SortIds => f.write_str(", ids sorted")?,
            Arrangement::SortValues => f.write_str(", values sorted")?,
        }
        f.write_str(if self.check { ", each checked" } else { "" })
    }
}
