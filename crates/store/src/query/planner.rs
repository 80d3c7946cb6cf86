//! Which keys a query visits, and in which order: planned from the condition, the indexes, and a short look at how much they
//! hold.
//!
//! A plan only ever leaves out objects that cannot match. What it does not answer by itself, checking and sorting make good,
//! so that results never depend on it.

use std::fmt;
use std::ops::ControlFlow;

use reconvene_expr::{Part, PartKind, Place, Relation, Way};
use reconvene_model::{EntityId, ObjectId};
use smallvec::{SmallVec, smallvec};

use super::arrange::{Arrangement, OrderTerm, arrange, arrange_ids};
use super::key_set::KeySet;
use super::narrow::{Narrowed, link_keys, narrow, object_keys};
use super::reach::{Reach, link, table_of};
use super::walk::Run;
use crate::catalog::EntityRuntime;
use crate::error::Result;
use crate::index::IndexRuntime;
use crate::seam::{Direction, Reader, TableId};

/// How many entries of an index are counted at most to learn which one holds the fewest: enough to tell few from many, and
/// cheap beside what follows.
const PROBE_ENTRIES_MAX: usize = 64;

/// How many objects of another entity a condition on them may leave for links to them to be looked up in an index.
const LINKED_IDS_MAX: usize = 1024;

/// How many entries are looked at to find those objects, before every object is checked instead.
const LINKED_ENTRIES_MAX: u64 = 4096;

/// How a query is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'e> {
    /// What is walked through; objects may be met in several of them. None if nothing can match.
    pub(crate) sources: SmallVec<[Source<'e>; 1]>,
    /// Whether each object must be checked against the condition.
    pub(crate) check: bool,
    pub(crate) arrangement: Arrangement,
}

/// A table, and the keys that are visited in it.
#[derive(Clone, Debug)]
pub(crate) struct Source<'e> {
    pub(crate) walk: Walk<'e>,
    pub(crate) keys: KeySet,
}

/// What is walked through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Walk<'e> {
    /// The objects, by id.
    Objects,
    /// An index, by value and then by id.
    Index(&'e IndexRuntime),
}

/// What a part of the condition leaves.
#[derive(Clone, Debug)]
struct Candidate<'e> {
    sources: SmallVec<[Source<'e>; 1]>,
    /// How many of the parts that must all hold are in there.
    parts: usize,
    /// Whether all that is visited meets these parts, so that they need no check.
    is_exact: bool,
    /// Whether it mostly leaves nearly all.
    is_weak: bool,
}

impl<'e> Plan<'e> {
    /// Plans a query; `order` is what results are ordered by before their ids.
    pub(crate) fn new(
        entity: &'e EntityRuntime,
        part: Part<'_>,
        order: &[OrderTerm<'_>],
        reach: &Reach<'_>,
    ) -> Result<Plan<'e>> {
        let best = Planner { entity, reach }.best(part)?;
        let (sources, check) = match best {
            Some(mut best) => {
                best.sources.retain(|source| !source.keys.is_empty());
                let answers_all = best.is_exact && best.parts == part.all().len();
                (best.sources, !answers_all)
            }
            None => {
                let source = Source { walk: unnarrowed(entity, order, reach)?, keys: KeySet::all() };
                (smallvec![source], !part.is_all())
            }
        };
        let arrangement = match &sources[..] {
            [source] => arrange(source.walk, &source.keys, order),
            _ => arrange_ids(order),
        };
        // Whether an object is hidden is told by itself alone.
        Ok(Plan { sources, check: check || entity.expiration.is_some(), arrangement })
    }

    /// Whether the plan visits every object and each is a result.
    pub(crate) fn is_everything(&self) -> bool {
        !self.check && matches!(&self.sources[..], [source] if source.keys == KeySet::all())
    }

    /// The properties whose indexes are walked along, in the order of the plan.
    pub(crate) fn indexes(&self) -> Vec<String> {
        let mut names = Vec::new();
        for source in &self.sources {
            if let Walk::Index(index) = source.walk
                && !names.contains(&index.property().name)
            {
                names.push(index.property().name.clone());
            }
        }
        names
    }
}

impl Source<'_> {
    /// Whether at most one object has each of these keys.
    fn is_unique(&self) -> bool {
        let is_unique = match self.walk {
            Walk::Objects => true,
            // Any number of objects may be without a value; and sync may bring few duplicates, which does no harm here.
            Walk::Index(index) => {
                let first = self.keys.spans().first();
                index.is_unique()
                    && !index.is_hashed()
                    && !first.is_some_and(|span| crate::index::is_null_key(&span.start))
            }
        };
        is_unique && self.keys.is_values()
    }

    fn is_same_walk(&self, other: &Source<'_>) -> bool {
        match (self.walk, other.walk) {
            (Walk::Objects, Walk::Objects) => true,
            (Walk::Index(one), Walk::Index(other)) => one.table == other.table,
            _ => false,
        }
    }
}

impl Walk<'_> {
    pub(crate) fn table(self, entity: &EntityRuntime) -> TableId {
        match self {
            Walk::Objects => entity.objects,
            Walk::Index(index) => index.table,
        }
    }
}

/// Looks for what narrows a condition on one entity.
#[derive(Clone, Copy)]
struct Planner<'e, 'r, 'v> {
    entity: &'e EntityRuntime,
    reach: &'r Reach<'v>,
}

impl<'e> Planner<'e, '_, '_> {
    /// What leaves the fewest objects of those that meet the part, as far as a short look tells; `None` for all of them.
    fn best(self, part: Part<'_>) -> Result<Option<Candidate<'e>>> {
        let mut candidates: SmallVec<[Candidate<'e>; 2]> = SmallVec::new();
        for part in part.all() {
            let found = match part.kind() {
                PartKind::Test(conjunct) => {
                    let (walk, property) = match conjunct.place {
                        Place::Id => (Walk::Objects, None),
                        Place::Slot(slot) => match self.index(slot)? {
                            Some(index) => (Walk::Index(index), Some(index.property())),
                            None => continue,
                        },
                    };
                    narrow(&conjunct, property)?.map(|Narrowed { keys, is_exact, is_weak }| Candidate {
                        sources: smallvec![Source { walk, keys }],
                        parts: 1,
                        is_exact,
                        is_weak,
                    })
                }
                PartKind::Any(parts) => self.union(parts)?,
                _ => continue,
            };
            let Some(found) = found else { continue };
            match candidates.iter_mut().find(|other| other.is_of_same_index(&found)) {
                Some(other) => other.narrow(&found),
                None => candidates.push(found),
            }
        }
        if let Some(nothing) = candidates.iter_mut().find(|candidate| candidate.has_nothing()) {
            nothing.sources.clear();
            // Nothing is left to be checked.
            return Ok(Some(Candidate { parts: part.all().len(), is_exact: true, ..nothing.clone() }));
        }
        let follows_links =
            part.all().any(|part| matches!(part.kind(), PartKind::One { .. } | PartKind::AnyOf { .. }));
        if let ([one], false) = (&candidates[..], follows_links)
            && !one.is_weak
        {
            // There is nothing to choose from.
            return Ok(candidates.pop());
        }
        let (best, mut entries) = self.smallest(&candidates)?;
        let mut best = best.map(|best| candidates.swap_remove(best));
        if entries < PROBE_ENTRIES_MAX {
            return Ok(best);
        }
        // Only where nothing else leaves a few is it worth the while to look at other entities.
        for part in part.all() {
            let found = match part.kind() {
                PartKind::One { slot, target, of_nothing: false, inner } => {
                    self.linked(slot, target, inner)?
                }
                PartKind::AnyOf { relation, inner } => self.linking(relation, inner)?,
                _ => None,
            };
            if let Some(found) = found {
                let found_entries = self.count(&found, PROBE_ENTRIES_MAX)?;
                if best.is_none() || found_entries < entries {
                    (best, entries) = (Some(found), found_entries);
                }
            }
        }
        Ok(best)
    }

    fn index(self, slot: usize) -> Result<Option<&'e IndexRuntime>> {
        self.entity.whole_index(&self.reach.view, |index| index.property().slot() == slot)
    }

    /// What is left by any of these parts, if each of them narrows.
    fn union<'p>(self, parts: impl Iterator<Item = Part<'p>>) -> Result<Option<Candidate<'e>>> {
        let mut sources: SmallVec<[Source<'e>; 1]> = SmallVec::new();
        let (mut is_exact, mut is_weak) = (true, false);
        for part in parts {
            let Some(one) = self.best(part)? else { return Ok(None) };
            is_exact &= one.is_exact && one.parts == part.all().len();
            is_weak |= one.is_weak;
            for source in one.sources {
                match sources.iter_mut().find(|other| other.is_same_walk(&source)) {
                    Some(other) => other.keys = other.keys.union(&source.keys),
                    None => sources.push(source),
                }
            }
        }
        Ok(Some(Candidate { sources, parts: 1, is_exact, is_weak }))
    }

    /// What is left by a condition on the object that a link leads to: few of them, and the link's index.
    fn linked(self, slot: usize, target: EntityId, inner: Part<'_>) -> Result<Option<Candidate<'e>>> {
        let (Some(index), Some(target)) = (self.index(slot)?, self.reach.catalog.by_id(target)) else {
            return Ok(None);
        };
        let mut ids = Vec::new();
        let is_whole = self.gather(target, inner, &mut |id, _| {
            ids.push(id);
            Ok(ids.len() <= LINKED_IDS_MAX)
        })?;
        if !is_whole {
            return Ok(None);
        }
        let source = Source { walk: Walk::Index(index), keys: link_keys(index.property(), &ids)? };
        Ok(Some(Candidate { sources: smallvec![source], parts: 1, is_exact: true, is_weak: false }))
    }

    /// What is left by a condition on objects that link here: few of them, and the ids that they link to.
    fn linking(self, relation: &Relation, inner: Part<'_>) -> Result<Option<Candidate<'e>>> {
        let Some(other) = self.reach.catalog.by_id(relation.target) else { return Ok(None) };
        let Way::Backlink { slot, .. } = relation.way else { return Ok(None) };
        let mut ids = Vec::new();
        let is_whole = self.gather(other, inner, &mut |_, record| {
            ids.extend(link(&table_of(record)?, slot)?);
            Ok(ids.len() <= LINKED_IDS_MAX)
        })?;
        if !is_whole {
            return Ok(None);
        }
        let source = Source { walk: Walk::Objects, keys: object_keys(&ids) };
        Ok(Some(Candidate { sources: smallvec![source], parts: 1, is_exact: true, is_weak: false }))
    }

    /// Hands over the objects of an entity that meet a condition, until told to stop; whether all of them were found, with no
    /// more effort than it would take to check the objects of this one.
    fn gather(
        self,
        entity: &EntityRuntime,
        part: Part<'_>,
        take: &mut dyn FnMut(ObjectId, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let reach = self.reach;
        let entries_max = reach.view.count(self.entity.objects)?.min(LINKED_ENTRIES_MAX);
        let plan = Plan::new(entity, part, &[], reach)?;
        let until = reach.entries() + entries_max;
        let run = Run { entity, part, plan: &plan, reach, entries_max: Some(until) };
        let mut is_whole = true;
        let flow = run.walk(&mut |id, record| {
            let record = match record {
                Some(record) => record,
                None => reach.record(entity, id)?,
            };
            is_whole = take(id, record)?;
            Ok(if is_whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(is_whole && flow.is_continue())
    }

    /// The candidate that leaves the fewest entries, as far as a short look tells, and how many it leaves at least.
    fn smallest(self, candidates: &[Candidate<'_>]) -> Result<(Option<usize>, usize)> {
        let mut best: Option<((usize, u8, usize), usize)> = None;
        for (at, candidate) in candidates.iter().enumerate() {
            let spans: usize = candidate.sources.iter().map(|source| source.keys.spans().len()).sum();
            let kind = match &candidate.sources[..] {
                [source] if source.is_unique() => 0,
                [source] if source.keys.is_one_value() => 1,
                [source] if source.keys.is_values() => 2,
                [_] => 3,
                _ => 4,
            };
            let entries = if kind == 0 {
                spans
            } else {
                // One more than the best so far is enough to be out of the question.
                let max =
                    best.map_or(PROBE_ENTRIES_MAX, |((entries, ..), _)| PROBE_ENTRIES_MAX.min(entries + 1));
                self.count(candidate, max)?
            };
            if candidate.is_weak && entries >= PROBE_ENTRIES_MAX {
                continue;
            }
            // Among those that hold more than was counted, the kind of keys decides, and then how many there are.
            let rank = (entries.min(PROBE_ENTRIES_MAX), kind, spans);
            if best.is_none_or(|(best, _)| rank < best) {
                best = Some((rank, at));
            }
        }
        Ok(match best {
            Some(((entries, ..), at)) => (Some(at), entries),
            None => (None, PROBE_ENTRIES_MAX),
        })
    }

    /// The number of entries that a candidate leaves, counted up to `max`.
    fn count(self, candidate: &Candidate<'_>, max: usize) -> Result<usize> {
        let mut count = 0;
        let mut spans_left = max;
        for source in &candidate.sources {
            let table = source.walk.table(self.entity);
            for span in source.keys.spans() {
                // Values beyond those that were looked for may hold any number.
                let Some(left) = spans_left.checked_sub(1) else { return Ok(max) };
                spans_left = left;
                for entry in self.reach.view.range(table, span.range(), Direction::Forward)?.take(max - count)
                {
                    entry?;
                    count += 1;
                }
                if count == max {
                    return Ok(max);
                }
            }
        }
        Ok(count)
    }
}

impl Candidate<'_> {
    /// Whether both are keys of one index, or of the ids.
    fn is_of_same_index(&self, other: &Candidate<'_>) -> bool {
        match (&self.sources[..], &other.sources[..]) {
            ([one], [other]) => one.is_same_walk(other),
            _ => false,
        }
    }

    /// Leaves only what the other, of the same index, leaves as well.
    fn narrow(&mut self, other: &Candidate<'_>) {
        if let ([one], [other]) = (&mut self.sources[..], &other.sources[..]) {
            one.keys = one.keys.intersection(&other.keys);
        }
        self.parts += other.parts;
        self.is_exact &= other.is_exact;
        self.is_weak &= other.is_weak;
    }

    fn has_nothing(&self) -> bool {
        self.sources.iter().all(|source| source.keys.is_empty())
    }
}

/// What to walk through when the condition narrows nothing: what has the order asked for, if anything has.
fn unnarrowed<'e>(entity: &'e EntityRuntime, order: &[OrderTerm<'_>], reach: &Reach<'_>) -> Result<Walk<'e>> {
    let is_walked = |walk| {
        matches!(arrange(walk, &KeySet::all(), order), Arrangement::AsWalked(_) | Arrangement::Values { .. })
    };
    if is_walked(Walk::Objects) {
        return Ok(Walk::Objects);
    }
    let index =
        entity.whole_index(&reach.view, |index| !index.is_partial() && is_walked(Walk::Index(index)))?;
    Ok(index.map_or(Walk::Objects, Walk::Index))
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sources.is_empty() {
            return f.write_str("nothing can match");
        }
        for (at, source) in self.sources.iter().enumerate() {
            f.write_str(if at > 0 { " and " } else { "" })?;
            source.fmt(f)?;
        }
        match self.arrangement {
            Arrangement::AsWalked(Direction::Forward) => {}
            Arrangement::AsWalked(Direction::Backward) => f.write_str(", backward")?,
            Arrangement::Values { direction: Direction::Forward, nulls_moved: false } => {}
            Arrangement::Values { direction: Direction::Forward, nulls_moved: true } => {
                f.write_str(", nulls last")?;
            }
            Arrangement::Values { direction: Direction::Backward, nulls_moved: false } => {
                f.write_str(", backward")?;
            }
            Arrangement::Values { direction: Direction::Backward, nulls_moved: true } => {
                f.write_str(", backward, nulls first")?;
            }
            Arrangement::SortIds(Direction::Forward) => f.write_str(", ids sorted")?,
            Arrangement::SortIds(Direction::Backward) => f.write_str(", ids sorted backward")?,
            Arrangement::SortValues => f.write_str(", values sorted")?,
        }
        f.write_str(if self.check { ", each checked" } else { "" })
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.walk {
            Walk::Objects => f.write_str("by id")?,
            Walk::Index(index) => write!(f, "by index of {}", index.property().name)?,
        }
        let spans = self.keys.spans().len();
        match spans {
            _ if self.keys == KeySet::all() => f.write_str(": all"),
            1 if self.keys.is_values() => f.write_str(": one value"),
            _ if self.keys.is_values() => write!(f, ": {spans} values"),
            1 => f.write_str(": a range"),
            _ => write!(f, ": {spans} ranges"),
        }
    }
}
