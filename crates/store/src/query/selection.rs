//! What a query selects: the condition, the order and the part.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;

use reconvene_expr::{Argument, CheckError, Expr, Part, Prepared, Sort, prepare};
use reconvene_model::{EntityDef, EntityId, ObjectId, PropertyDef};

use super::access::sealed::Snapshot;
use super::arrange::{Arrangement, OrderTerm, sort_key};
use super::explain::Explanation;
use super::planner::Plan;
use super::reach::{Reach, table_of};
use super::walk::{Run, Visit};
use crate::catalog::{Catalog, EntityRuntime};
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader, View};
use crate::store::Inner;

/// From how many candidates for the first few results on the others are dropped.
const DROP_FROM: usize = 1024;

/// Objects of one entity, in an order, or a part of them.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    entity: Arc<EntityRuntime>,
    expr: Expr,
    prepared: Result<Prepared, CheckError>,
    order: Vec<Sort>,
    offset: u64,
    limit: Option<u64>,
}

impl Selection {
    pub(crate) fn new(inner: &Inner, entity: Arc<EntityRuntime>, expr: Expr) -> Selection {
        let prepared = prepare(&expr, &entity.def, inner.model.schema());
        Selection { entity, expr, prepared, order: Vec::new(), offset: 0, limit: None }
    }

    pub(crate) fn entity(&self) -> &Arc<EntityRuntime> {
        &self.entity
    }

    pub(crate) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The condition with its parameters, if it fits the entity.
    pub(crate) fn prepared(&self) -> Result<&Prepared> {
        self.prepared.as_ref().map_err(|error| error.clone().into())
    }

    /// The condition, if it fits the entity and all parameters have values.
    pub(crate) fn part(&self) -> Result<Part<'_>> {
        Ok(self.prepared()?.predicate()?.root())
    }

    /// Gives a parameter of the condition a value.
    pub(crate) fn set(&mut self, name: &str, value: Argument) -> Result<()> {
        match &mut self.prepared {
            Ok(prepared) => Ok(prepared.set(name, value)?),
            Err(error) => Err(error.clone().into()),
        }
    }

    pub(crate) fn push_order(&mut self, sort: Sort) {
        self.order.push(sort);
    }

    pub(crate) fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = Some(limit);
    }

    /// The selected objects, in order, each with its record, until told to stop; no more than `max` of them.
    pub(crate) fn each_until(
        &self,
        snapshot: &Snapshot<'_>,
        max: Option<u64>,
        mut take: impl FnMut(ObjectId, &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let reach = Reach::new(snapshot);
        self.visit(&reach, snapshot, max, &mut |id, record| match record {
            Some(record) => take(id, record),
            None => take(id, reach.record(&self.entity, id)?),
        })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// How many results there are at most, those that the offset leaves out included.
    pub(crate) fn wanted(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_add(self.offset))
    }

    /// The same with what the offset leaves out.
    pub(crate) fn with_skipped(&self) -> Selection {
        Selection { offset: 0, limit: self.wanted(), ..self.clone() }
    }

    /// The same by ascending id, where the order does not decide which objects are selected.
    pub(crate) fn unordered(&self) -> Selection {
        let has_part = self.offset > 0 || self.limit.is_some();
        Selection { order: if has_part { self.order.clone() } else { Vec::new() }, ..self.clone() }
    }

    /// Bytes that order as the selected objects do.
    pub(crate) fn position(&self, reach: &Reach<'_>, id: ObjectId, record: &[u8]) -> Result<Box<[u8]>> {
        sort_key(&self.order_terms(reach.catalog)?, reach, id, record)
    }

    /// Whether an object meets the condition.
    pub(crate) fn matches(&self, reach: &Reach<'_>, id: ObjectId, record: &[u8]) -> Result<bool> {
        let table = table_of(record)?;
        Ok(!self.entity.hides(&table)? && self.part()?.matches_with(id, &table, reach)?)
    }

    /// The entities besides its own whose objects the condition and the order look at along links.
    pub(crate) fn reaches(&self, catalog: &Catalog) -> Result<Vec<EntityId>> {
        let mut reached = self.prepared()?.reaches();
        for term in self.order_terms(catalog)? {
            reached.extend(term.reaches());
        }
        Ok(reached)
    }

    /// The record of an object that an index names.
    pub(crate) fn record<'v>(&self, view: &'v View<'_>, id: ObjectId) -> Result<&'v [u8]> {
        let record = view.get(self.entity.objects, &keys::object_key(id))?;
        record.ok_or_else(|| {
            StoreError::damaged("index", format!("{} {id} does not exist", self.entity.def.name))
        })
    }

    /// The selected objects, in order, each with its record.
    pub(crate) fn each(
        &self,
        snapshot: &Snapshot<'_>,
        mut take: impl FnMut(ObjectId, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.each_until(snapshot, None, |id, record| {
            take(id, record)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The ids of the selected objects, in order.
    pub(crate) fn ids(&self, snapshot: &Snapshot<'_>) -> Result<Vec<ObjectId>> {
        self.ids_up_to(snapshot, None)
    }

    /// The ids of the selected objects, in order; no more than `max` of them.
    pub(crate) fn ids_up_to(&self, snapshot: &Snapshot<'_>, max: Option<u64>) -> Result<Vec<ObjectId>> {
        let mut ids = Vec::new();
        self.visit(&Reach::new(snapshot), snapshot, max, &mut |id, _| {
            ids.push(id);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(ids)
    }

    /// The number of selected objects.
    pub(crate) fn count(&self, snapshot: &Snapshot<'_>) -> Result<u64> {
        self.order_terms(&snapshot.1.catalog)?;
        let reach = Reach::new(snapshot);
        let part = self.part()?;
        // The order does not change the number.
        let plan = Plan::new(&self.entity, part, &[], &reach)?;
        let enough = self.limit.map(|limit| limit.saturating_add(self.offset));
        let mut count = 0;
        if plan.is_everything() {
            count = reach.view.count(self.entity.objects)?;
        } else if enough != Some(0) {
            let run = Run { entity: &self.entity, part, plan: &plan, reach: &reach, entries_max: None };
            let _ = run.walk(&mut |_, _| {
                count += 1;
                Ok(if enough == Some(count) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        let count = count.saturating_sub(self.offset);
        Ok(self.limit.map_or(count, |limit| count.min(limit)))
    }

    /// Looks for the ids of the objects, and tells how they were found.
    pub(crate) fn explain(&self, snapshot: &Snapshot<'_>) -> Result<Explanation> {
        let reach = Reach::new(snapshot);
        let order = self.order_terms(&snapshot.1.catalog)?;
        let plan = Plan::new(&self.entity, self.part()?, &order, &reach)?;
        let mut results = 0;
        self.run(&reach, &plan, &order, None, &mut |_, _| {
            results += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Explanation {
            plan: format!("{} {plan}", self.entity.def.name),
            indexes: plan.indexes(),
            entries: reach.entries(),
            objects: reach.objects(),
            results,
        })
    }

    fn visit(
        &self,
        reach: &Reach<'_>,
        snapshot: &Snapshot<'_>,
        max: Option<u64>,
        take: Visit<'_>,
    ) -> Result<()> {
        let order = self.order_terms(&snapshot.1.catalog)?;
        let plan = Plan::new(&self.entity, self.part()?, &order, reach)?;
        self.run(reach, &plan, &order, max, take)
    }

    fn run(
        &self,
        reach: &Reach<'_>,
        plan: &Plan<'_>,
        order: &[OrderTerm<'_>],
        max: Option<u64>,
        take: Visit<'_>,
    ) -> Result<()> {
        let limit = match (self.limit, max) {
            (Some(limit), Some(max)) => Some(limit.min(max)),
            (limit, max) => limit.or(max),
        };
        if limit == Some(0) {
            return Ok(());
        }
        let run = Run { entity: &self.entity, part: self.part()?, plan, reach, entries_max: None };
        let ids = match plan.arrangement {
            Arrangement::AsWalked(_) | Arrangement::Values { .. } => {
                let (mut before, mut left) = (self.offset, limit);
                let _ = run.walk(&mut |id, record| {
                    if before > 0 {
                        before -= 1;
                        return Ok(ControlFlow::Continue(()));
                    }
                    if take(id, record)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    left = left.map(|left| left - 1);
                    Ok(if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
                return Ok(());
            }
            Arrangement::SortIds(Direction::Forward) => {
                let mut first = Smallest::new(self.offset, limit);
                let _ = run.walk(&mut |id, _| Ok(first.push(id)))?;
                first.into_part()
            }
            Arrangement::SortIds(Direction::Backward) => {
                let mut first = Smallest::new(self.offset, limit);
                let _ = run.walk(&mut |id, _| Ok(first.push(Reverse(id))))?;
                first.into_part().into_iter().map(|Reverse(id)| id).collect()
            }
            Arrangement::SortValues => {
                let mut first = Smallest::new(self.offset, limit);
                let _ = run.walk(&mut |id, record| {
                    let record = match record {
                        Some(record) => record,
                        None => reach.record(&self.entity, id)?,
                    };
                    Ok(first.push((sort_key(order, reach, id, record)?, id)))
                })?;
                first.into_part().into_iter().map(|(_, id)| id).collect()
            }
        };
        for id in ids {
            if take(id, None)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn order_terms<'e>(&'e self, catalog: &'e Catalog) -> Result<Vec<OrderTerm<'e>>> {
        self.order.iter().map(|sort| OrderTerm::new(sort, &self.entity, catalog)).collect()
    }
}

/// The property of this name, or an error that names the nearest one.
pub(crate) fn property<'d>(def: &'d EntityDef, name: &str) -> Result<&'d PropertyDef> {
    def.property(name).ok_or_else(|| {
        let names = def.properties.iter().map(|property| property.name.as_str());
        let near = reconvene_expr::nearest(name, names).map(str::to_owned);
        StoreError::UnknownProperty { entity: def.name.clone(), name: name.to_owned(), near }
    })
}

/// The smallest of many, without keeping all of them.
struct Smallest<V> {
    values: Vec<V>,
    offset: usize,
    /// How many are wanted, those before the offset included.
    wanted: usize,
}

impl<V: Ord> Smallest<V> {
    fn new(offset: u64, limit: Option<u64>) -> Self {
        let of = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let wanted = limit.map_or(usize::MAX, |limit| of(limit.saturating_add(offset)));
        Smallest { values: Vec::new(), offset: of(offset), wanted }
    }

    fn push(&mut self, value: V) -> ControlFlow<()> {
        self.values.push(value);
        if self.values.len() >= self.wanted.saturating_mul(2).max(DROP_FROM) {
            self.values.select_nth_unstable(self.wanted);
            self.values.truncate(self.wanted);
        }
        ControlFlow::Continue(())
    }

    fn into_part(mut self) -> Vec<V> {
        self.values.sort_unstable();
        self.values.truncate(self.wanted);
        self.values.drain(..self.offset.min(self.values.len()));
        self.values
    }
}
