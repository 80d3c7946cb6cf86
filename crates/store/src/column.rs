//! Columns: one property of an entity's objects, read where it lies.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use reconvene_model::ObjectId;
use reconvene_model::record::{Record, ScalarPlace, Table};

use crate::boxes::EntityBox;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::field::FieldReader;
use crate::keys;
use crate::property::{Property, Text};
use crate::property_value::PropertyValue;
use crate::seam::Reader;
use crate::store::StructRuntime;
use crate::structs;
use crate::txn::ReadTxn;

/// One property of the objects of a box, found once; made by [`EntityBox::column`].
///
/// It reads the property from the record as it lies in the store, without the other properties: cheaper than the object by
/// what those would cost. It reads in transactions of the store that it was made for.
///
/// ```
/// # use reconvene_store::{Entity, Store};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct City { id: u64, name: String, population: u32 }
/// # let store = Store::builder("memory:").entity::<City>().open()?;
/// let cities = store.boxed::<City>()?;
/// let id = cities.put(&mut City { name: "Vila".into(), population: 1418, ..City::default() })?;
/// cities.put(&mut City { name: "Ordino".into(), population: 3066, ..City::default() })?;
///
/// let (names, populations) = (cities.column(City::name())?, cities.column(City::population())?);
/// store.read(|tx| {
///     assert_eq!(names.text(tx, id)?, Some("Vila"));
///     assert_eq!(populations.get(tx, id)?, Some(1418));
///     let mut sum = 0;
///     populations.each(tx, |_, population| {
///         sum += population;
///         Ok(())
///     })?;
///     assert_eq!(sum, 4484);
///     Ok(())
/// })?;
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct Column<T, V> {
    of: Arc<StructRuntime>,
    ordinal: usize,
    /// Where the property stands in plain records, if its type there is exactly that of the values.
    place: Option<ScalarPlace>,
    values: PhantomData<fn() -> (T, V)>,
}

impl<T: Entity> EntityBox<T> {
    /// One property of the objects, to be read without the others.
    ///
    /// # Errors
    ///
    /// [`StoreError::IdAmongValues`] for the id, which every reader has at hand, and [`StoreError::UnknownProperty`] for a
    /// property that a hand-written [`Entity`] names and does not describe.
    pub fn column<V: PropertyValue>(&self, property: Property<T, V>) -> Result<Column<T, V>> {
        let of = self.of().clone();
        let name = || (of.entity.def.name.clone(), property.name().to_owned());
        if of.entity.def.property(property.name()).is_some_and(|property| property.is_id()) {
            let (entity, property) = name();
            return Err(StoreError::IdAmongValues { entity, property });
        }
        let ordinal = of.fields.ordinal(&T::description(), property.name()).ok_or_else(|| {
            let (entity, name) = name();
            StoreError::UnknownProperty { entity, name, near: None }
        })?;
        let place = of.fields.scalar_place(ordinal).filter(|place| place.ty() == V::TYPE);
        Ok(Column { of, ordinal, place, values: PhantomData })
    }
}

impl<T: Entity, V: PropertyValue> Column<T, V> {
    /// The value of an object; none if there is no such object.
    ///
    /// # Errors
    ///
    /// If the store is damaged, or is not the one that the column was made for.
    pub fn get(&self, tx: &ReadTxn<'_>, id: ObjectId) -> Result<Option<V>> {
        let Some(record) = tx.engine_tx().get(self.of.entity.objects, &keys::object_key(id))? else {
            return Ok(None);
        };
        if self.of.entity.hides_record(record)? { Ok(None) } else { self.value(id, record).map(Some) }
    }

    /// Calls `take` with the id and the value of each object, in order of id, until it returns an error.
    ///
    /// # Errors
    ///
    /// That error, and those of [`Column::get`].
    pub fn each(&self, tx: &ReadTxn<'_>, mut take: impl FnMut(ObjectId, V) -> Result<()>) -> Result<()> {
        let layout = &self.of.entity.layout;
        tx.engine_tx().each(self.of.entity.objects, |key, record| {
            let id = keys::object_id(key)?;
            if self.of.entity.hides_record(record)? {
                return Ok(());
            }
            match self
                .place
                .and_then(|place| Record::plain_scalar(layout, place, record))
                .and_then(V::of_scalar)
            {
                Some(value) => take(id, value),
                None => take(id, self.read_value(id, record)?),
            }
        })
    }

    fn table<'r>(&self, record: &'r [u8]) -> Result<Table<'r>> {
        structs::table_of(&self.of, record)
    }

    #[inline]
    fn value(&self, id: ObjectId, record: &[u8]) -> Result<V> {
        let scalar = self.place.and_then(|place| Record::plain_scalar(&self.of.entity.layout, place, record));
        match scalar.and_then(V::of_scalar) {
            Some(value) => Ok(value),
            None => self.read_value(id, record),
        }
    }

    /// As [`Column::value`], whatever the value and the form of its record.
    #[cold]
    fn read_value(&self, id: ObjectId, record: &[u8]) -> Result<V> {
        let table = self.table(record)?;
        let fields = FieldReader::new(table, &self.of.fields);
        V::read(self.ordinal, &fields).map_err(|error| self.of.unreadable(id, error))
    }
}

impl<T: Entity, V: Text> Column<T, V> {
    /// The text of an object, as it lies in the store; none if there is no such object, or it has no text.
    ///
    /// # Errors
    ///
    /// As [`Column::get`].
    pub fn text<'t>(&self, tx: &'t ReadTxn<'_>, id: ObjectId) -> Result<Option<&'t str>> {
        let Some(record) = tx.engine_tx().get(self.of.entity.objects, &keys::object_key(id))? else {
            return Ok(None);
        };
        let table = self.table(record)?;
        if self.of.entity.hides(&table)? {
            return Ok(None);
        }
        table.str(self.of.fields.slot(self.ordinal)).map_err(|e| StoreError::damaged("record", e))
    }
}

impl<T, V> Clone for Column<T, V> {
    fn clone(&self) -> Self {
        Column { of: self.of.clone(), ordinal: self.ordinal, place: self.place, values: PhantomData }
    }
}

impl<T: Entity, V> fmt::Debug for Column<T, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("entity", &T::NAME).field("ordinal", &self.ordinal).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Entity, Store, StoreError};

    #[derive(Entity, Debug, Default)]
    #[entity(crate = "crate")]
    struct Note {
        id: u64,
        text: Option<String>,
        weight: i64,
    }

    #[test]
    fn a_column_reads_what_objects_have() {
        let store = Store::builder("memory:").entity::<Note>().open().unwrap();
        let notes = store.boxed::<Note>().unwrap();
        notes.put(&mut Note { text: Some("heavy".into()), weight: 9, ..Note::default() }).unwrap();
        notes.put(&mut Note { weight: -1, ..Note::default() }).unwrap();
        let (texts, weights) = (notes.column(Note::text()).unwrap(), notes.column(Note::weight()).unwrap());
        let read = store.read(|tx| {
            let mut all = Vec::new();
            weights.each(tx, |id, weight| {
                all.push((id, weight, texts.text(tx, id)?.map(str::to_owned)));
                Ok(())
            })?;
            assert_eq!(
                (weights.get(tx, 2)?, weights.get(tx, 3)?, texts.text(tx, 3)?),
                (Some(-1), None, None)
            );
            Ok(all)
        });
        assert_eq!(read.unwrap(), [(1, 9, Some("heavy".to_owned())), (2, -1, None)]);
    }

    #[derive(Entity, Debug, Default)]
    #[entity(crate = "crate", sync)]
    struct Reading {
        id: u64,
        place: Option<String>,
        degrees: Option<f64>,
        count: u16,
        #[property(ty = "Date")]
        wide: i64,
        ok: bool,
    }

    #[test]
    fn columns_read_scalars_of_synced_objects_and_nulls() {
        let store = Store::builder("memory:").entity::<Reading>().open().unwrap();
        let readings = store.boxed::<Reading>().unwrap();
        let warm = Reading { degrees: Some(21.5), count: 65_000, wide: -7, ok: true, ..Reading::default() };
        readings.put_many(&mut [Reading::default(), warm]).unwrap();
        // Its record lists the stamps of what was written later.
        readings.update(2, |reading| reading.count = 3).unwrap();
        let degrees = readings.column(Reading::degrees()).unwrap();
        let (counts, wide) =
            (readings.column(Reading::count()).unwrap(), readings.column(Reading::wide()).unwrap());
        let ok = readings.column(Reading::ok()).unwrap();
        let read = |id| {
            store.read(|tx| {
                Ok((degrees.get(tx, id)?, counts.get(tx, id)?, wide.get(tx, id)?, ok.get(tx, id)?))
            })
        };
        assert_eq!(read(1).unwrap(), (Some(None), Some(0), Some(0), Some(false)));
        assert_eq!(read(2).unwrap(), (Some(Some(21.5)), Some(3), Some(-7), Some(true)));
    }

    #[test]
    fn a_column_stays_with_its_store() {
        let open = || Store::builder("memory:").entity::<Note>().open().unwrap();
        let (one, other) = (open(), open());
        let weights = one.boxed::<Note>().unwrap().column(Note::weight()).unwrap();
        assert!(other.read(|tx| weights.get(tx, 1)).is_err());
        let id = one.boxed::<Note>().unwrap().column(Note::id());
        assert!(matches!(id, Err(StoreError::IdAmongValues { .. })));
    }
}
