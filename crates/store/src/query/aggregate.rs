//! One property of the selected objects, taken together: the work behind property queries, for values in stored form.
//!
//! What the result is never depends on the plan: floats are added up in the order of the results, and of values that compare
//! as equal, the one of the smallest id stands for all.

use std::collections::BTreeMap;
use std::ops::Bound;

use reconvene_model::record::Table;
use reconvene_model::{EntityDef, ObjectId, PropertyDef, PropertyType};

use super::access::sealed::Snapshot;
use super::reach::table_of;
use super::selection::Selection;
use crate::error::{Result, StoreError};
use crate::index::{self, IndexRuntime};
use crate::seam::{Direction, KeyRange, Reader, View};

/// After how many objects with the same value a walk through an index seeks the next value instead.
const SKIP_FROM: usize = 16;

/// Which end of an order.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Least,
    Most,
}

/// Numbers added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// The sum of integers: exact, as there are fewer than 2^64 of them.
    pub(crate) whole: i128,
    /// The sum of floats.
    pub(crate) float: f64,
    /// How many.
    pub(crate) count: u64,
}

impl Total {
    /// Adds a stored number.
    pub(crate) fn add(&mut self, property: &PropertyDef, stored: &[u8]) -> Result<()> {
        let wrong = || StoreError::damaged("record", format!("{} is not as wide as its type", property.name));
        match property.ty {
            PropertyType::Float => {
                self.float += f64::from(f32::from_le_bytes(stored.try_into().map_err(|_| wrong())?));
            }
            PropertyType::Double => self.float += f64::from_le_bytes(stored.try_into().map_err(|_| wrong())?),
            _ => {
                let is_negative = !property.is_unsigned() && stored.last().is_some_and(|&last| last >= 0x80);
                let mut bytes = [if is_negative { 0xff } else { 0 }; size_of::<i128>()];
                bytes.get_mut(..stored.len()).ok_or_else(wrong)?.copy_from_slice(stored);
                self.whole += i128::from_le_bytes(bytes);
            }
        }
        self.count += 1;
        Ok(())
    }

    /// The mean; `None` of nothing.
    pub(crate) fn mean(self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
        let (whole, count) = (self.whole as f64, self.count as f64);
        (self.count > 0).then(|| (whole + self.float) / count)
    }
}

impl Selection {
    /// Calls `take` with each value that is not null, in the order of the results, or by id if all of them count.
    pub(crate) fn each_value(
        &self,
        snapshot: &Snapshot<'_>,
        property: &PropertyDef,
        mut take: impl FnMut(ObjectId, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.unordered().each(snapshot, |id, record| {
            if property.is_id() {
                return take(id, &id.to_le_bytes());
            }
            stored(property, &table_of(record)?, &mut take, id)
        })
    }

    /// How many values are not null.
    pub(crate) fn count_values(&self, snapshot: &Snapshot<'_>, property: &PropertyDef) -> Result<u64> {
        if property.is_id() {
            return self.count(snapshot);
        }
        if let Some(index) = self.whole_index(&snapshot.0, property)? {
            let view = &snapshot.0;
            let nulls = view.range(index.table, KeyRange::below(index::FIRST_VALUE), Direction::Forward)?;
            let mut count = view.count(index.table)?;
            for null in nulls {
                null?;
                count = count.saturating_sub(1);
            }
            return Ok(count);
        }
        let mut count = 0;
        self.each_value(snapshot, property, |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// The numbers added up.
    pub(crate) fn total(&self, snapshot: &Snapshot<'_>, property: &PropertyDef) -> Result<Total> {
        let mut total = Total::default();
        self.each_value(snapshot, property, |_, stored| total.add(property, stored))?;
        Ok(total)
    }

    /// The object with the least or the most value; `None` if there is no value.
    pub(crate) fn extreme(
        &self,
        snapshot: &Snapshot<'_>,
        property: &PropertyDef,
        end: End,
    ) -> Result<Option<ObjectId>> {
        if let Some(index) = self.whole_index(&snapshot.0, property)? {
            match index_end(&snapshot.0, index, end)? {
                IndexEnd::Object(id) => return Ok(Some(id)),
                IndexEnd::NoValue => return Ok(None),
                IndexEnd::LongText => {}
            }
        }
        let mut best: Option<(Vec<u8>, ObjectId)> = None;
        let mut key = Vec::new();
        self.each_value(snapshot, property, |id, stored| {
            key.clear();
            value_key(property, stored, &mut key)?;
            let is_better = best.as_ref().is_none_or(|(other, other_id)| match key.cmp(other) {
                std::cmp::Ordering::Equal => id < *other_id,
                order => order.is_lt() == (end == End::Least),
            });
            if is_better {
                best = Some((key.clone(), id));
            }
            Ok(())
        })?;
        Ok(best.map(|(_, id)| id))
    }

    /// For each value that occurs, in their order, the first object that has it.
    pub(crate) fn distinct(&self, snapshot: &Snapshot<'_>, property: &PropertyDef) -> Result<Vec<ObjectId>> {
        if let Some(index) = self.whole_index(&snapshot.0, property)?
            && property.ty != PropertyType::String
        {
            return distinct_in(&snapshot.0, index);
        }
        let mut first: BTreeMap<Vec<u8>, ObjectId> = BTreeMap::new();
        let mut key = Vec::new();
        let mut take = |id: ObjectId, stored: &[u8]| -> Result<()> {
            key.clear();
            value_key(property, stored, &mut key)?;
            match first.get_mut(&key) {
                Some(first) => *first = id.min(*first),
                None => drop(first.insert(key.clone(), id)),
            }
            Ok(())
        };
        match self.whole_index(&snapshot.0, property)? {
            // Long text does not stand whole in the index, so its order is taken from the objects.
            Some(index) => {
                for id in distinct_in(&snapshot.0, index)? {
                    let table = self.table(&snapshot.0, id)?;
                    stored(property, &table, &mut take, id)?;
                }
            }
            None => self.each_value(snapshot, property, take)?,
        }
        Ok(first.into_values().collect())
    }

    /// The values of an object that is known to exist.
    pub(crate) fn table<'v>(&self, view: &'v View<'_>, id: ObjectId) -> Result<Table<'v>> {
        table_of(self.record(view, id)?)
    }

    /// The index of the property, if it says all about the selected objects.
    fn whole_index(&self, view: &View<'_>, property: &PropertyDef) -> Result<Option<&IndexRuntime>> {
        let may_hide = self.entity().expiration.is_some();
        if !self.part()?.is_all() || self.offset() > 0 || self.wanted().is_some() || may_hide {
            return Ok(None);
        }
        let says_all = |index: &IndexRuntime| !index.is_partial() && !index.is_hashed();
        self.entity().whole_index(view, |index| index.property().id == property.id && says_all(index))
    }
}

/// Hands over the value of a property, if it is not null.
fn stored(
    property: &PropertyDef,
    table: &Table<'_>,
    take: &mut impl FnMut(ObjectId, &[u8]) -> Result<()>,
    id: ObjectId,
) -> Result<()> {
    let stored = table.stored(property.slot(), property.ty).map_err(|e| StoreError::damaged("record", e))?;
    match stored {
        // A link to nothing is null, in whichever of the two forms a record has it.
        Some(link) if property.ty == PropertyType::Relation && link.iter().all(|&byte| byte == 0) => Ok(()),
        Some(stored) => take(id, &stored),
        None => Ok(()),
    }
}

/// Bytes that order as the values do.
fn value_key(property: &PropertyDef, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if property.is_id() {
        out.extend(stored.iter().rev());
        return Ok(());
    }
    index::sort_key(property, Some(stored), out)
}

/// What stands at the end of an index.
enum IndexEnd {
    Object(ObjectId),
    NoValue,
    /// Text that is cut in its key, so that longer text with the same beginning may stand anywhere beside it.
    LongText,
}

fn index_end(view: &View<'_>, index: &IndexRuntime, end: End) -> Result<IndexEnd> {
    let at_end = match end {
        End::Least => view.first_from(index.table, index::FIRST_VALUE)?,
        End::Most => view.last(index.table)?,
    };
    let Some((key, _)) = at_end.filter(|(key, _)| !index::is_null_key(key)) else {
        return Ok(IndexEnd::NoValue);
    };
    let value = value_of(key)?;
    if index.property().ty == PropertyType::String && index::is_cut(value) {
        return Ok(IndexEnd::LongText);
    }
    let first = match end {
        End::Least => key,
        End::Most => view.first_from(index.table, value)?.map_or(key, |(first, _)| first),
    };
    Ok(IndexEnd::Object(index::id_of_key(first)?))
}

/// For each value of an index the first object that has it, in the order of the keys.
fn distinct_in(view: &View<'_>, index: &IndexRuntime) -> Result<Vec<ObjectId>> {
    let mut ids = Vec::new();
    let mut start = Bound::Included(index::FIRST_VALUE.to_vec());
    let mut value: Vec<u8> = Vec::new();
    'seek: loop {
        let from = start.as_ref().map(Vec::as_slice);
        let mut same = 0;
        for entry in
            view.range(index.table, KeyRange { start: from, end: Bound::Unbounded }, Direction::Forward)?
        {
            let (key, _) = entry?;
            if value_of(key)? != value {
                value.clear();
                value.extend_from_slice(value_of(key)?);
                ids.push(index::id_of_key(key)?);
                same = 0;
                continue;
            }
            same += 1;
            if same == SKIP_FROM {
                let mut last = value.clone();
                index::push_id(&mut last, ObjectId::MAX);
                start = Bound::Excluded(last);
                continue 'seek;
            }
        }
        return Ok(ids);
    }
}

/// The part of an index key that stands for the value.
fn value_of(key: &[u8]) -> Result<&[u8]> {
    let value = key.len().checked_sub(index::ID_BYTES).map(|end| &key[..end]);
    value.ok_or_else(|| StoreError::damaged("index", "a key is shorter than an id"))
}

/// Whether the sum of a property means anything.
pub(crate) fn is_number(property: &PropertyDef) -> bool {
    use PropertyType::{Byte, Double, Float, Int, Long, Short};
    !property.is_id() && matches!(property.ty, Byte | Short | Int | Long | Float | Double)
}

/// The property by name, if it is a number.
pub(crate) fn number<'d>(def: &'d EntityDef, name: &str) -> Result<&'d PropertyDef> {
    let property = super::property(def, name)?;
    if !is_number(property) {
        let (entity, property, ty) = (def.name.clone(), property.name.clone(), property.ty);
        return Err(StoreError::NotANumber { entity, property, ty });
    }
    Ok(property)
}

/// Why a sum is not given.
pub(crate) fn too_large(entity: &str, property: &str, sum: i128) -> StoreError {
    StoreError::SumTooLarge { entity: entity.to_owned(), property: property.to_owned(), sum }
}
