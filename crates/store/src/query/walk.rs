//! The run through a plan: which objects it meets, each checked where that is needed.

use std::ops::ControlFlow;

use reconvene_expr::Part;
use reconvene_model::ObjectId;
use reconvene_model::record::Record;
use smallvec::SmallVec;

use super::arrange::Arrangement;
use super::key_set::{KeySet, Span};
use super::planner::{Plan, Source, Walk};
use super::reach::{Reach, table_of};
use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Direction, Entries, Key, Reader, SeamError};

/// Takes a result; the record, where it was read already.
pub(crate) type Visit<'f> = &'f mut dyn FnMut(ObjectId, Option<&[u8]>) -> Result<ControlFlow<()>>;

/// A plan about to be run.
#[derive(Clone, Copy)]
pub(crate) struct Run<'r, 'p, 'v> {
    pub(crate) entity: &'r EntityRuntime,
    /// The condition.
    pub(crate) part: Part<'r>,
    pub(crate) plan: &'r Plan<'p>,
    pub(crate) reach: &'r Reach<'v>,
    /// When so many entries were walked along, the run is broken off; `None` for never.
    pub(crate) entries_max: Option<u64>,
}

/// Why a walk by the storage itself ended before its end.
enum Stop {
    Told,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Failed(error)
    }
}

impl From<SeamError> for Stop {
    fn from(error: SeamError) -> Self {
        Stop::Failed(error.into())
    }
}

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

impl Run<'_, '_, '_> {
    /// Visits the objects that meet the condition, as the plan says, until told to stop; whether it was.
    pub(crate) fn walk(&self, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        match &self.plan.sources[..] {
            [] => Ok(GO_ON),
            [source] => self.walk_one(source, visit),
            sources => self.walk_several(sources, visit),
        }
    }

    fn walk_one(&self, source: &Source<'_>, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        let arrangement = self.plan.arrangement;
        let (direction, nulls_moved) = match arrangement {
            Arrangement::AsWalked(direction) => (direction, false),
            Arrangement::Values { direction, nulls_moved } => (direction, nulls_moved),
            Arrangement::SortIds(_) | Arrangement::SortValues => (Direction::Forward, false),
        };
        let is_all = matches!(source.walk, Walk::Objects) && source.keys == KeySet::all();
        if is_all && direction == Direction::Forward {
            return self.walk_all(visit);
        }
        if !nulls_moved {
            return self.walk_spans(source, source.keys.spans(), direction, visit);
        }
        let values = KeySet::range(Key::from_slice(index::FIRST_VALUE), None);
        let (values, nulls) =
            (source.keys.intersection(&values), source.keys.intersection(&values.complement()));
        let parts = match direction {
            Direction::Forward => [values, nulls],
            Direction::Backward => [nulls, values],
        };
        for part in parts {
            if self.walk_spans(source, part.spans(), direction, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    }

    fn walk_spans(
        &self,
        source: &Source<'_>,
        spans: &[Span],
        direction: Direction,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let table = source.walk.table(self.entity);
        let view = self.reach.view;
        for at in 0..spans.len() {
            let span = match direction {
                Direction::Forward => &spans[at],
                Direction::Backward => &spans[spans.len() - 1 - at],
            };
            let entries = match direction {
                // All keys of a value begin with the value's, which is cheaper to see than where they end.
                Direction::Forward if span.is_prefix() => view.prefix(table, &span.start, direction)?,
                _ => view.range(table, span.range(), direction)?,
            };
            let flow = match source.walk {
                Walk::Objects => self.walk_objects(entries, visit)?,
                Walk::Index(index) => match self.plan.arrangement {
                    Arrangement::Values { .. }
                        if direction == Direction::Backward
                            || index.property().ty.scalar_bytes().is_none() =>
                    {
                        self.walk_values(entries, direction, visit)?
                    }
                    _ => self.walk_index(entries, visit)?,
                },
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(GO_ON)
    }

    /// Meets the objects of several sources, each once and by ascending id.
    fn walk_several(&self, sources: &[Source<'_>], visit: Visit<'_>) -> Result<ControlFlow<()>> {
        let mut ids = Vec::new();
        for source in sources {
            let table = source.walk.table(self.entity);
            for span in source.keys.spans() {
                for entry in self.reach.view.range(table, span.range(), Direction::Forward)? {
                    if self.is_too_far() {
                        return Ok(ControlFlow::Break(()));
                    }
                    self.reach.walked();
                    let (key, _) = entry?;
                    ids.push(match source.walk {
                        Walk::Objects => keys::object_id(key)?,
                        Walk::Index(_) => index::id_of_key(key)?,
                    });
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if self.visit_checked(id, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    }

    /// Every object by ascending id, at the speed at which the storage walks by itself.
    fn walk_all(&self, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        let walked = self.reach.view.each(self.entity.objects, |key, record| {
            if self.is_too_far() {
                return Err(Stop::Told);
            }
            self.reach.walked();
            let id = keys::object_id(key)?;
            match (!self.plan.check || self.matches(id, record)?) && visit(id, Some(record))?.is_break() {
                true => Err(Stop::Told),
                false => Ok(()),
            }
        });
        match walked {
            Ok(()) => Ok(GO_ON),
            Err(Stop::Told) => Ok(ControlFlow::Break(())),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn walk_objects(&self, entries: Entries<'_>, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        for entry in entries {
            if self.is_too_far() {
                return Ok(ControlFlow::Break(()));
            }
            self.reach.walked();
            let (key, record) = entry?;
            let id = keys::object_id(key)?;
            if (!self.plan.check || self.matches(id, record)?) && visit(id, Some(record))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    }

    fn walk_index(&self, entries: Entries<'_>, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        for entry in entries {
            if self.is_too_far() {
                return Ok(ControlFlow::Break(()));
            }
            self.reach.walked();
            let id = index::id_of_key(entry?.0)?;
            if self.visit_checked(id, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    }

    /// By value in either direction, objects of one value by ascending id.
    ///
    /// Text that is cut in its key stands there by a hash; those that share their beginning are sorted here.
    fn walk_values(
        &self,
        entries: Entries<'_>,
        direction: Direction,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut beginning: SmallVec<[u8; 64]> = SmallVec::new();
        let mut ids: Vec<ObjectId> = Vec::new();
        let mut is_cut = false;
        for entry in entries {
            if self.is_too_far() {
                return Ok(ControlFlow::Break(()));
            }
            self.reach.walked();
            let (key, _) = entry?;
            let id = index::id_of_key(key)?;
            let value = &key[..key.len() - index::ID_BYTES];
            let shared = index::ordered_beginning(value);
            if beginning[..] != *shared {
                if self.visit_values(&mut ids, is_cut, direction, visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                beginning.clear();
                beginning.extend_from_slice(shared);
                is_cut = shared.len() < value.len();
            }
            ids.push(id);
        }
        self.visit_values(&mut ids, is_cut, direction, visit)
    }

    /// Visits objects that were met in a row: those of one value, or of text that is cut in its key.
    fn visit_values(
        &self,
        ids: &mut Vec<ObjectId>,
        is_cut: bool,
        direction: Direction,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        if is_cut && ids.len() > 1 {
            self.sort_by_text(ids, direction)?;
        } else if direction == Direction::Backward {
            ids.reverse();
        }
        for id in ids.drain(..) {
            if self.visit_checked(id, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    }

    fn sort_by_text(&self, ids: &mut [ObjectId], direction: Direction) -> Result<()> {
        let [Source { walk: Walk::Index(index), .. }] = &self.plan.sources[..] else { return Ok(()) };
        let mut texts = Vec::with_capacity(ids.len());
        for &id in &*ids {
            let table = table_of(self.reach.record(self.entity, id)?)?;
            let text = table.stored(index.property().slot(), index.property().ty);
            texts.push((text.map_err(|e| StoreError::damaged("record", e))?, id));
        }
        texts.sort_by(|(one, one_id), (other, other_id)| {
            let by_text = one.cmp(other);
            let by_text = if direction == Direction::Backward { by_text.reverse() } else { by_text };
            by_text.then(one_id.cmp(other_id))
        });
        ids.iter_mut().zip(texts).for_each(|(id, (_, sorted))| *id = sorted);
        Ok(())
    }

    fn visit_checked(&self, id: ObjectId, visit: Visit<'_>) -> Result<ControlFlow<()>> {
        if !self.plan.check {
            return visit(id, None);
        }
        let record = self.reach.record(self.entity, id)?;
        if self.matches(id, record)? { visit(id, Some(record)) } else { Ok(GO_ON) }
    }

    #[inline]
    fn matches(&self, id: ObjectId, record: &[u8]) -> Result<bool> {
        // That a record has the layout of the entity is told by one comparison, which spares a closer look.
        let record = Record::parse_as(&self.entity.layout, record);
        let table = record.map_err(|e| StoreError::damaged("record", e))?.table;
        Ok(!self.entity.hides(&table)? && self.part.matches_with(id, &table, self.reach)?)
    }

    #[inline]
    fn is_too_far(&self) -> bool {
        self.entries_max.is_some_and(|max| self.reach.entries() >= max)
    }
}
