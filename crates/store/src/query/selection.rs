//! What a query selects: the condition, the order and the part, and the run through a plan.

use std::ops::ControlFlow;
use std::sync::Arc;

use reconvene_expr::{CheckError, Expr, Predicate, check};
use reconvene_model::record::{Record, Table};
use reconvene_model::{EntityDef, ObjectId, PropertyDef, PropertyType};

use super::planner::{Arrangement, OrderTerm, Plan, Walk};
use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Direction, Entries, Reader, View};

/// From how many candidates for the first few results on the others are dropped.
const DROP_FROM: usize = 1024;

/// Takes a result; the record, where it was read already.
type Visit<'f> = &'f mut dyn FnMut(ObjectId, Option<&[u8]>) -> Result<ControlFlow<()>>;

/// As [`Visit`], of results that are all wanted.
type Take<'f> = &'f mut dyn FnMut(ObjectId, Option<&[u8]>) -> Result<()>;

/// Objects of one entity, in an order, or a part of them.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    entity: Arc<EntityRuntime>,
    expr: Expr,
    predicate: Result<Predicate, CheckError>,
    /// Names of properties, and whether the order is descending.
    order: Vec<(String, bool)>,
    offset: u64,
    limit: Option<u64>,
}

impl Selection {
    pub(crate) fn new(entity: Arc<EntityRuntime>, expr: Expr) -> Selection {
        let predicate = check(&expr, &entity.def);
        Selection { entity, expr, predicate, order: Vec::new(), offset: 0, limit: None }
    }

    pub(crate) fn entity(&self) -> &Arc<EntityRuntime> {
        &self.entity
    }

    pub(crate) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The condition, if it fits the entity.
    pub(crate) fn predicate(&self) -> Result<&Predicate> {
        self.predicate.as_ref().map_err(|error| error.clone().into())
    }

    pub(crate) fn push_order(&mut self, property: &str, descending: bool) {
        self.order.push((property.to_owned(), descending));
    }

    pub(crate) fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = Some(limit);
    }

    /// The same, but no more than the first.
    pub(crate) fn first(&self) -> Selection {
        Selection { limit: Some(self.limit.unwrap_or(1).min(1)), ..self.clone() }
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
    pub(crate) fn position(&self, id: ObjectId, record: &[u8]) -> Result<Box<[u8]>> {
        sort_key(&self.order_terms()?, id, &table_of(record)?)
    }

    /// The selected objects, in order, each with its record.
    pub(crate) fn each(
        &self,
        view: &View<'_>,
        mut take: impl FnMut(ObjectId, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.visit(view, &mut |id, record| match record {
            Some(record) => take(id, record),
            None => take(id, self.record(view, id)?),
        })
    }

    /// The ids of the selected objects, in order.
    pub(crate) fn ids(&self, view: &View<'_>) -> Result<Vec<ObjectId>> {
        let mut ids = Vec::new();
        self.visit(view, &mut |id, _| {
            ids.push(id);
            Ok(())
        })?;
        Ok(ids)
    }

    /// The number of selected objects.
    pub(crate) fn count(&self, view: &View<'_>) -> Result<u64> {
        self.order_terms()?;
        // The order does not change the number.
        let plan = Plan::new(&self.entity, self.predicate()?, &[], view)?;
        let enough = self.limit.map(|limit| limit.saturating_add(self.offset));
        let mut count = 0;
        if plan.is_everything() {
            count = view.count(self.entity.objects)?;
        } else if enough != Some(0) {
            self.walk(view, &plan, &mut |_, _| {
                count += 1;
                Ok(if enough == Some(count) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        let count = count.saturating_sub(self.offset);
        Ok(self.limit.map_or(count, |limit| count.min(limit)))
    }

    /// One line about how the objects are found.
    pub(crate) fn explain(&self, view: &View<'_>) -> Result<String> {
        let plan = Plan::new(&self.entity, self.predicate()?, &self.order_terms()?, view)?;
        Ok(format!("{} {plan}", self.entity.def.name))
    }

    fn visit(&self, view: &View<'_>, take: Take<'_>) -> Result<()> {
        let order = self.order_terms()?;
        let plan = Plan::new(&self.entity, self.predicate()?, &order, view)?;
        if self.limit == Some(0) {
            return Ok(());
        }
        let ids = match plan.arrangement {
            Arrangement::AsWalked(_) | Arrangement::ValuesBackward => {
                let (mut before, mut left) = (self.offset, self.limit);
                return self.walk(view, &plan, &mut |id, record| {
                    if before > 0 {
                        before -= 1;
                        return Ok(ControlFlow::Continue(()));
                    }
                    take(id, record)?;
                    left = left.map(|left| left - 1);
                    Ok(if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                });
            }
            Arrangement::SortIds => {
                let mut first = Smallest::new(self.offset, self.limit);
                self.walk(view, &plan, &mut |id, _| Ok(first.push(id)))?;
                first.into_part()
            }
            Arrangement::SortValues => {
                let mut first = Smallest::new(self.offset, self.limit);
                self.walk(view, &plan, &mut |id, record| {
                    let record = match record {
                        Some(record) => record,
                        None => self.record(view, id)?,
                    };
                    Ok(first.push((sort_key(&order, id, &table_of(record)?)?, id)))
                })?;
                first.into_part().into_iter().map(|(_, id)| id).collect()
            }
        };
        ids.into_iter().try_for_each(|id| take(id, None))
    }

    /// Visits the objects that meet the condition, as the plan says.
    fn walk(&self, view: &View<'_>, plan: &Plan<'_>, visit: Visit<'_>) -> Result<()> {
        let direction = match plan.arrangement {
            Arrangement::AsWalked(direction) => direction,
            Arrangement::ValuesBackward => Direction::Backward,
            Arrangement::SortIds | Arrangement::SortValues => Direction::Forward,
        };
        let spans = plan.keys.spans();
        for at in 0..spans.len() {
            let span = match direction {
                Direction::Forward => &spans[at],
                Direction::Backward => &spans[spans.len() - 1 - at],
            };
            let table = plan.table(&self.entity);
            let entries = match direction {
                // All keys of a value begin with the value's, which is cheaper to see than where they end.
                Direction::Forward if span.is_prefix() => view.prefix(table, &span.start, direction)?,
                _ => view.range(table, span.range(), direction)?,
            };
            let flow = match plan.walk {
                Walk::Objects => self.walk_objects(plan, entries, visit)?,
                Walk::Index(_) if plan.arrangement == Arrangement::ValuesBackward => {
                    self.walk_values_backward(view, plan, entries, visit)?
                }
                Walk::Index(_) => self.walk_index(view, plan, entries, visit)?,
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn walk_objects(
        &self,
        plan: &Plan<'_>,
        entries: Entries<'_>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        for entry in entries {
            let (key, record) = entry?;
            let id = keys::object_id(key)?;
            if (!plan.check || self.matches(id, record)?) && visit(id, Some(record))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn walk_index(
        &self,
        view: &View<'_>,
        plan: &Plan<'_>,
        entries: Entries<'_>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        for entry in entries {
            let id = index::id_of_key(entry?.0)?;
            if self.visit_checked(view, plan, id, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Against the keys, but with objects of one value by ascending id.
    fn walk_values_backward(
        &self,
        view: &View<'_>,
        plan: &Plan<'_>,
        entries: Entries<'_>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut value = Vec::new();
        let mut ids: Vec<ObjectId> = Vec::new();
        for entry in entries {
            let (key, _) = entry?;
            let id = index::id_of_key(key)?;
            let value_key = &key[..key.len() - index::ID_BYTES];
            if value != value_key {
                while let Some(id) = ids.pop() {
                    if self.visit_checked(view, plan, id, visit)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                value.clear();
                value.extend_from_slice(value_key);
            }
            ids.push(id);
        }
        while let Some(id) = ids.pop() {
            if self.visit_checked(view, plan, id, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn visit_checked(
        &self,
        view: &View<'_>,
        plan: &Plan<'_>,
        id: ObjectId,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        if !plan.check {
            return visit(id, None);
        }
        let record = self.record(view, id)?;
        if self.matches(id, record)? { visit(id, Some(record)) } else { Ok(ControlFlow::Continue(())) }
    }

    /// Whether an object meets the condition.
    pub(crate) fn matches(&self, id: ObjectId, record: &[u8]) -> Result<bool> {
        self.predicate()?.matches(id, &table_of(record)?).map_err(|e| StoreError::damaged("record", e))
    }

    /// The record of an object that an index names.
    pub(crate) fn record<'v>(&self, view: &'v View<'_>, id: ObjectId) -> Result<&'v [u8]> {
        let record = view.get(self.entity.objects, &keys::object_key(id))?;
        record.ok_or_else(|| {
            StoreError::damaged("index", format!("{} {id} does not exist", self.entity.def.name))
        })
    }

    fn order_terms(&self) -> Result<Vec<OrderTerm>> {
        let term = |(name, descending): &(String, bool)| {
            let property = order_property(&self.entity.def, name)?.clone();
            Ok(OrderTerm { property, descending: *descending })
        };
        self.order.iter().map(term).collect()
    }
}

/// The property of this name, if values of its type have an order.
pub(crate) fn order_property<'d>(def: &'d EntityDef, name: &str) -> Result<&'d PropertyDef> {
    let property = property(def, name)?;
    if property.ty.scalar_bytes().is_none() && property.ty != PropertyType::String {
        let (entity, property, ty) = (def.name.clone(), property.name.clone(), property.ty);
        return Err(StoreError::NotOrdered { entity, property, ty });
    }
    Ok(property)
}

/// The property of this name, or an error that names the nearest one.
pub(crate) fn property<'d>(def: &'d EntityDef, name: &str) -> Result<&'d PropertyDef> {
    def.property(name).ok_or_else(|| {
        let names = def.properties.iter().map(|property| property.name.as_str());
        let near = reconvene_expr::nearest(name, names).map(str::to_owned);
        StoreError::UnknownProperty { entity: def.name.clone(), name: name.to_owned(), near }
    })
}

pub(crate) fn table_of(record: &[u8]) -> Result<Table<'_>> {
    Ok(Record::parse(record).map_err(|e| StoreError::damaged("record", e))?.table)
}

/// Bytes that order as objects do: value after value, and at last the id.
fn sort_key(order: &[OrderTerm], id: ObjectId, table: &Table<'_>) -> Result<Box<[u8]>> {
    let mut key = Vec::with_capacity(32);
    for OrderTerm { property, descending } in order {
        let start = key.len();
        if property.is_id() {
            key.extend_from_slice(&keys::object_key(id));
        } else {
            let stored =
                table.stored(property.slot(), property.ty).map_err(|e| StoreError::damaged("record", e))?;
            index::sort_key(property, stored.as_deref(), &mut key)?;
        }
        if *descending {
            // No value's bytes are the beginning of another's, so that turned bytes turn the order.
            key[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    key.extend_from_slice(&keys::object_key(id));
    Ok(key.into())
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
