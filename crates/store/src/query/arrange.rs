//! The order of results: what it is made of, and how it comes from a walk.

use reconvene_expr::{Nulls, Sort, StepKey};
use reconvene_model::{EntityDef, EntityId, ObjectId, PropertyDef, PropertyType};

use super::key_set::KeySet;
use super::planner::Walk;
use super::reach::{Reach, link, table_of};
use super::selection::property;
use crate::catalog::{Catalog, EntityRuntime};
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Direction, Reader};

/// One part of the order of results.
#[derive(Clone, Debug)]
pub(crate) struct OrderTerm<'e> {
    /// The links to follow, as slots and the entities linked to.
    links: Vec<(usize, &'e EntityRuntime)>,
    pub(crate) property: &'e PropertyDef,
    pub(crate) descending: bool,
    no_case: bool,
    nulls: Nulls,
}

/// How the walk's order becomes that of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// It is the order of the results, in this direction.
    AsWalked(Direction),
    /// Values come in the order of the results, in this direction; objects of the same value by ascending id.
    Values {
        direction: Direction,
        /// Whether those without a value come at the other end than the walk has them.
        nulls_moved: bool,
    },
    /// Ids are sorted.
    SortIds(Direction),
    /// Objects are sorted by the values asked for.
    SortValues,
}

impl<'e> OrderTerm<'e> {
    /// The term, if its path leads to values that have an order.
    pub(crate) fn new(sort: &Sort, entity: &'e EntityRuntime, catalog: &'e Catalog) -> Result<Self> {
        let mut links = Vec::new();
        let mut at = entity;
        let (last, before) = sort.path.steps().split_last().expect("a path has a step");
        let name = |step: &reconvene_expr::Step| match step.key() {
            StepKey::Name(name) => name.to_string(),
            StepKey::Index(index) => index.to_string(),
        };
        for step in before {
            let link = property(&at.def, &name(step))?;
            let target = link.relation_target.as_deref().and_then(|target| catalog.by_name(target));
            let target = target.ok_or_else(|| not_ordered(&at.def, link))?;
            links.push((link.slot(), &**target));
            at = target;
        }
        let property = order_property(&at.def, &name(last))?;
        let no_case = sort.no_case && property.ty == PropertyType::String;
        Ok(OrderTerm { links, property, descending: sort.descending, no_case, nulls: sort.nulls })
    }

    /// The entities that the links lead to.
    pub(crate) fn reaches(&self) -> impl Iterator<Item = EntityId> {
        self.links.iter().map(|(_, entity)| entity.def.id)
    }

    fn is_id(&self) -> bool {
        self.links.is_empty() && self.property.is_id()
    }

    /// Whether null comes at the other end than where the index has it.
    fn moves_nulls(&self) -> bool {
        match self.nulls {
            Nulls::Smallest => false,
            Nulls::First => self.descending,
            Nulls::Last => !self.descending,
        }
    }

    /// Appends bytes that order as the values do in results.
    fn push_key(&self, reach: &Reach<'_>, id: ObjectId, record: &[u8], key: &mut Vec<u8>) -> Result<()> {
        let start = key.len();
        let (mut id, mut record) = (id, Some(record));
        for (slot, entity) in &self.links {
            let target = record.map(table_of).transpose()?.map(|table| link(&table, *slot)).transpose()?;
            id = target.flatten().unwrap_or(0);
            record = reach.view.get(entity.objects, &keys::object_key(id))?;
            let hidden = record.map_or(Ok(false), |record| entity.hides_record(record))?;
            record = record.filter(|_| !hidden);
        }
        match record {
            // Ids are never null, and unsigned whatever the flags say.
            Some(_) if self.property.is_id() => {
                key.extend_from_slice(index::FIRST_VALUE);
                key.extend_from_slice(&keys::object_key(id));
            }
            Some(record) => {
                let table = table_of(record)?;
                let stored = table.stored(self.property.slot(), self.property.ty);
                let stored = stored.map_err(|e| StoreError::damaged("record", e))?;
                match stored.as_deref() {
                    Some(text) if self.no_case => {
                        let text = String::from_utf8_lossy(text);
                        let folded = reconvene_expr::fold_case(&text);
                        index::sort_key(self.property, Some(folded.as_bytes()), key)?;
                    }
                    stored => index::sort_key(self.property, stored, key)?,
                }
            }
            None => index::sort_key(self.property, None, key)?,
        }
        let is_null = index::is_null_key(&key[start..]);
        if self.descending {
            // No value's bytes are the beginning of another's, so that turned bytes turn the order.
            key[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        if self.nulls != Nulls::Smallest {
            key.insert(start, u8::from(is_null == (self.nulls == Nulls::Last)));
        }
        Ok(())
    }
}

/// The property of this name, if values of its type have an order.
pub(crate) fn order_property<'d>(def: &'d EntityDef, name: &str) -> Result<&'d PropertyDef> {
    let property = property(def, name)?;
    if property.ty.scalar_bytes().is_none() && property.ty != PropertyType::String {
        return Err(not_ordered(def, property));
    }
    Ok(property)
}

fn not_ordered(def: &EntityDef, property: &PropertyDef) -> StoreError {
    StoreError::NotOrdered { entity: def.name.clone(), property: property.name.clone(), ty: property.ty }
}

/// Bytes that order as objects do: value after value, and at last the id.
pub(crate) fn sort_key(
    order: &[OrderTerm<'_>],
    reach: &Reach<'_>,
    id: ObjectId,
    record: &[u8],
) -> Result<Box<[u8]>> {
    let mut key = Vec::with_capacity(32);
    for term in order {
        term.push_key(reach, id, record, &mut key)?;
    }
    key.extend_from_slice(&keys::object_key(id));
    Ok(key.into())
}

/// How results of this order come from a walk along these keys.
pub(crate) fn arrange(walk: Walk<'_>, keys: &KeySet, order: &[OrderTerm<'_>]) -> Arrangement {
    let index = match walk {
        Walk::Objects => None,
        Walk::Index(index) => Some(index),
    };
    let walked_by = |term: &OrderTerm<'_>| {
        let is_walked = index.is_none_or(|index| term.property.id == index.property().id);
        let is_ordered = index.is_none_or(|index| !index.is_hashed() || keys.is_one_value());
        term.links.is_empty() && is_walked && is_ordered && index.is_some() != term.property.is_id()
    };
    let by_id = index.is_none() || keys.is_one_value();
    // A property of which all have one value decides no order.
    let is_constant = |term: &OrderTerm<'_>| index.is_some() && keys.is_one_value() && walked_by(term);
    let mut terms = order.iter().filter(|term| !is_constant(term));
    let first = terms.next();
    let then_by_id = terms.next().is_none_or(|term| term.is_id() && !term.descending);
    let direction = match first {
        Some(term) if term.descending => Direction::Backward,
        _ => Direction::Forward,
    };
    match first {
        None if by_id => Arrangement::AsWalked(Direction::Forward),
        None => Arrangement::SortIds(Direction::Forward),
        Some(term) if term.is_id() && by_id => Arrangement::AsWalked(direction),
        Some(term) if term.is_id() => Arrangement::SortIds(direction),
        Some(term) if walked_by(term) && then_by_id && !term.no_case => {
            Arrangement::Values { direction, nulls_moved: term.moves_nulls() }
        }
        Some(_) => Arrangement::SortValues,
    }
}

/// How results of this order come from ids that were gathered.
pub(crate) fn arrange_ids(order: &[OrderTerm<'_>]) -> Arrangement {
    match order.first() {
        None => Arrangement::SortIds(Direction::Forward),
        Some(term) if term.is_id() && term.descending => Arrangement::SortIds(Direction::Backward),
        Some(term) if term.is_id() => Arrangement::SortIds(Direction::Forward),
        Some(_) => Arrangement::SortValues,
    }
}
