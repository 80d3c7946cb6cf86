//! Structs in transactions: their way into records and back.

use std::sync::Arc;

use reconvene_model::ObjectId;
use reconvene_model::kinds::{Kind, counter_change};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::{Record, Table, TableWriter};

use crate::catalog::EntityRuntime;
use crate::counter::Counter;
use crate::dates;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::field::{FieldReader, FieldWriter, ReadError};
use crate::keys;
use crate::kinds;
use crate::links;
use crate::objects::{copy_slot, differing_slots, with_slots};
use crate::property::Property;
use crate::seam::{Direction, KeyRange, Reader};
use crate::store::StructRuntime;
use crate::tracked::{Base, Tracked};
use crate::txn::{ReadTxn, WriteTxn};

/// What can be put: an object, or one that was read before and remembers it.
///
/// The difference matters when the object exists. A bare struct overwrites all its properties, for better or worse; a
/// [`Tracked`] one writes what was changed since it was read, unless it was given another id.
pub trait Put<T: Entity>: sealed::Put<T> {}

impl<T: Entity, P: sealed::Put<T>> Put<T> for P {}

pub(crate) mod sealed {
    use super::*;

    pub trait Put<T> {
        fn put(
            &mut self,
            tx: &mut WriteTxn<'_>,
            of: &StructRuntime,
            writer: &mut TableWriter<'_>,
        ) -> Result<ObjectId>;

        /// The struct, whose id a put sets.
        fn object(&mut self) -> &mut T;
    }

    impl<T: Entity> Put<T> for T {
        fn object(&mut self) -> &mut T {
            self
        }

        fn put(
            &mut self,
            tx: &mut WriteTxn<'_>,
            of: &StructRuntime,
            writer: &mut TableWriter<'_>,
        ) -> Result<ObjectId> {
            let entity = &of.entity;
            links::put_targets(self, tx)?;
            let (id, old) = match self.id() {
                0 if !entity.def.has_shared_ids() => (tx.next_id(entity)?, None),
                id => tx.id_for_put(entity, id)?,
            };
            write_struct(self, of, writer)?;
            if let Some(old) = old.as_deref().filter(|_| !of.is_whole) {
                carry_over(of, old, writer)?;
            }
            if let Some(old) = old.as_deref().filter(|_| !entity.kinds.is_empty()) {
                keep_counters(of, old, writer)?;
            }
            if let Some(old) = old.as_deref() {
                dates::keep_companion(entity, old, writer)?;
            }
            match &old {
                None => tx.insert_object(entity, id, writer)?,
                Some(old) => tx.write_object(entity, id, old, writer.as_bytes(), &entity.stored_slots)?,
            }
            self.set_id(id);
            links::put_links(self, tx, of)?;
            Ok(id)
        }
    }

    impl<T: Entity> Put<T> for Tracked<T> {
        fn object(&mut self) -> &mut T {
            self
        }

        fn put(
            &mut self,
            tx: &mut WriteTxn<'_>,
            of: &StructRuntime,
            writer: &mut TableWriter<'_>,
        ) -> Result<ObjectId> {
            let id = self.id();
            let base = self.base_in(tx.outcome()).clone();
            if id != base.id {
                let id = Put::<T>::put(self.object(), tx, of, writer)?;
                let record =
                    tx.record(&of.entity, id)?.ok_or_else(|| StoreError::internal("a put object exists"))?;
                let table = table_of(of, record)?;
                let mut object = read_struct(of, id, table)?;
                let table = table.as_bytes().to_vec();
                links::carry_edits(self.object(), &mut object)?;
                self.refresh(object, &table, base, tx.outcome());
                return Ok(id);
            }
            let read = read_struct::<T>(of, id, Table::parse(&base.table).map_err(StoreError::bad_record)?)?;
            links::put_targets(self.object(), tx)?;
            let (mut object, [before, after]) = write_changes(tx, of, writer, id, &read, self)?;
            links::put_links(self.object(), tx, of)?;
            links::carry_edits(self.object(), &mut object)?;
            self.refresh(object, &after, Base { id, table: before.into() }, tx.outcome());
            Ok(id)
        }
    }
}

/// Leaves counters as they are: a struct that was not read here says how far one had come somewhere else.
fn keep_counters(of: &StructRuntime, old: &[u8], writer: &mut TableWriter<'_>) -> Result<()> {
    if planted(Planted::CounterPutOverwrites) {
        return Ok(());
    }
    let old = table_of(of, old)?;
    let counters = of.entity.kinds.iter().filter(|kind| kind.kind == Kind::Counter);
    counters.map(|kind| kind.slot).try_for_each(|slot| copy_slot(&of.entity, &old, slot, writer))
}

/// Takes over the properties that the struct does not have.
fn carry_over(of: &StructRuntime, old: &[u8], writer: &mut TableWriter<'_>) -> Result<()> {
    let old = table_of(of, old)?;
    let of_struct = |slot: u16| (0..of.fields.len()).any(|ordinal| of.fields.slot(ordinal) == slot as usize);
    for &slot in of.entity.stored_slots.iter().filter(|&&slot| !of_struct(slot)) {
        copy_slot(&of.entity, &old, slot, writer)?;
    }
    Ok(())
}

/// The table of a stored object.
#[inline]
pub(crate) fn table_of<'r>(of: &StructRuntime, record: &'r [u8]) -> Result<Table<'r>> {
    let record = Record::parse_as(&of.entity.layout, record);
    Ok(record.map_err(|e| StoreError::damaged("record", e))?.table)
}

fn read_struct<T: Entity>(of: &StructRuntime, id: ObjectId, table: Table<'_>) -> Result<T> {
    T::read(id, &FieldReader::new(table, &of.fields)).map_err(|error| of.unreadable(id, error))
}

/// Writes all properties of a struct.
#[inline]
fn write_struct<T: Entity>(object: &T, of: &StructRuntime, writer: &mut TableWriter<'_>) -> Result<()> {
    let mut fields = FieldWriter::new(writer, &of.fields);
    object.write(&mut fields);
    fields.finish(&of.entity.def).map_err(|(property, reason)| StoreError::Unstorable {
        entity: of.entity.def.name.clone(),
        property,
        id: object.id(),
        reason,
    })
}

impl StructRuntime {
    /// Why an object cannot be read into the struct.
    #[cold]
    pub(crate) fn unreadable(&self, id: ObjectId, error: ReadError) -> StoreError {
        match error {
            ReadError::Record(error) => StoreError::damaged("record", error),
            ReadError::Value { ordinal, reason } => StoreError::Unreadable {
                entity: self.entity.def.name.clone(),
                property: self.fields.name_of(ordinal, &self.entity.def).to_owned(),
                id,
                reason,
            },
        }
    }
}

/// Writes what differs between two versions of an object onto what is stored by now; the result, and the stored tables
/// before and after.
fn write_changes<T: Entity>(
    tx: &mut WriteTxn<'_>,
    of: &StructRuntime,
    writer: &mut TableWriter<'_>,
    id: ObjectId,
    before: &T,
    after: &T,
) -> Result<(T, [Vec<u8>; 2])> {
    let entity = &of.entity;
    let record = tx.record(entity, id)?.ok_or_else(|| StoreError::not_found(&entity.def.name, id))?.to_vec();
    let current = table_of(of, &record)?;
    let mut tables = [Vec::new(), Vec::new()];
    for (object, table) in [before, after].into_iter().zip(&mut tables) {
        write_struct(object, of, writer)?;
        writer.finish(table);
    }
    let [before, after] = &tables;
    let parse = |table| Table::parse(table).map_err(StoreError::bad_record);
    let (before, after) = (parse(before)?, parse(after)?);
    let mut changed = differing_slots(entity, &before, &after)?;
    if planted(Planted::StalePutWhole) && !changed.is_empty() {
        changed.clone_from(&entity.stored_slots);
    }
    let table = if changed.is_empty() {
        current.as_bytes().to_vec()
    } else {
        let table = if entity.kinds.is_empty() {
            let table = with_slots(entity, &current, &after, &changed)?;
            tx.write_object(entity, id, &record, &table, &changed)?;
            table
        } else {
            // Judged against what was read, like everything: what others added meanwhile stays.
            let changes = kinds::between(entity, &before, &after, &changed)?;
            tx.write_changes(entity, id, &record, &after, &changed, &changes)?;
            let record = tx.record(entity, id)?;
            let record = record.ok_or_else(|| StoreError::internal("a written object exists"))?;
            table_of(of, record)?.as_bytes().to_vec()
        };
        match entity.clock.and(tx.record(entity, id)?) {
            // The store has written the clock.
            Some(record) => table_of(of, record)?.as_bytes().to_vec(),
            None => table,
        }
    };
    let object = read_struct(of, id, parse(&table)?)?;
    Ok((object, [current.as_bytes().to_vec(), table]))
}

pub(crate) fn get<T: Entity>(
    reader: &impl Reader,
    of: &StructRuntime,
    id: ObjectId,
) -> Result<Option<Tracked<T>>> {
    let Some(record) = reader.get(of.entity.objects, &keys::object_key(id))? else { return Ok(None) };
    if of.entity.hides_record(record)? { Ok(None) } else { tracked(of, id, record).map(Some) }
}

pub(crate) fn tracked<T: Entity>(of: &StructRuntime, id: ObjectId, record: &[u8]) -> Result<Tracked<T>> {
    let table = table_of(of, record)?;
    Ok(Tracked::new(read_struct(of, id, table)?, table.as_bytes()))
}

pub(crate) fn all<T: Entity>(reader: &impl Reader, of: &StructRuntime) -> Result<Vec<Tracked<T>>> {
    let count = usize::try_from(reader.count(of.entity.objects)?).unwrap_or(0);
    let mut objects = Vec::with_capacity(count);
    for row in reader.range(of.entity.objects, KeyRange::all(), Direction::Forward)? {
        let (key, record) = row?;
        if !of.entity.hides_record(record)? {
            objects.push(tracked(of, keys::object_id(key)?, record)?);
        }
    }
    Ok(objects)
}

/// Whether there is an object of this id.
pub(crate) fn contains(reader: &impl Reader, entity: &EntityRuntime, id: ObjectId) -> Result<bool> {
    let record = reader.get(entity.objects, &keys::object_key(id))?;
    record.map_or(Ok(false), |record| entity.hides_record(record).map(|hidden| !hidden))
}

/// The number of objects.
pub(crate) fn count(reader: &impl Reader, entity: &EntityRuntime) -> Result<u64> {
    if entity.expiration.is_none() {
        return Ok(reader.count(entity.objects)?);
    }
    let mut count = 0;
    for row in reader.range(entity.objects, KeyRange::all(), Direction::Forward)? {
        count += u64::from(!entity.hides_record(row?.1)?);
    }
    Ok(count)
}

macro_rules! reads {
    ($tx:ident) => {
        impl $tx<'_> {
            /// The object of this id, if it exists.
            ///
            /// # Errors
            ///
            /// If the store lacks the entity, or is damaged.
            pub fn get<T: Entity>(&self, id: ObjectId) -> Result<Option<Tracked<T>>> {
                get(self.engine_tx(), &*self.inner().of_struct::<T>()?, id)
            }

            /// The objects of these ids that exist, in the order of the ids.
            ///
            /// # Errors
            ///
            /// If the store lacks the entity, or is damaged.
            pub fn get_many<T: Entity>(&self, ids: &[ObjectId]) -> Result<Vec<Tracked<T>>> {
                let of = self.inner().of_struct::<T>()?;
                ids.iter().filter_map(|&id| get(self.engine_tx(), &of, id).transpose()).collect()
            }

            /// All objects, in order of id.
            ///
            /// # Errors
            ///
            /// If the store lacks the entity, or is damaged.
            pub fn all<T: Entity>(&self) -> Result<Vec<Tracked<T>>> {
                all(self.engine_tx(), &*self.inner().of_struct::<T>()?)
            }

            /// Whether there is an object of this id.
            ///
            /// # Errors
            ///
            /// If the store lacks the entity.
            pub fn contains<T: Entity>(&self, id: ObjectId) -> Result<bool> {
                let of = self.inner().of_struct::<T>()?;
                contains(self.engine_tx(), &of.entity, id)
            }

            /// The number of objects; it costs the same however many there are, unless some may have expired.
            ///
            /// # Errors
            ///
            /// If the store lacks the entity.
            pub fn count<T: Entity>(&self) -> Result<u64> {
                count(self.engine_tx(), &self.inner().of_struct::<T>()?.entity)
            }
        }
    };
}

reads!(ReadTxn);
reads!(WriteTxn);

impl WriteTxn<'_> {
    /// Puts an object: inserts it if its id is 0, and sets its id; otherwise changes the object of its id.
    ///
    /// If the transaction is undone afterwards, an id that the object got is void and no other object gets it while the store
    /// is open: set it back to 0 before another try.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] for an id that does not exist, unless the application may choose ids;
    /// [`StoreError::UniqueViolation`], [`StoreError::LinkToUnassigned`].
    pub fn put<T: Entity, P: Put<T>>(&mut self, object: &mut P) -> Result<ObjectId> {
        let of = self.inner().of_struct::<T>()?;
        object.put(self, &of, &mut TableWriter::new(&of.entity.layout))
    }

    /// Puts many objects.
    ///
    /// # Errors
    ///
    /// As [`WriteTxn::put`]; leave the transaction with the error, or some of the objects stay put.
    pub fn put_many<T: Entity, P: Put<T>>(&mut self, objects: &mut [P]) -> Result<()> {
        let of = self.inner().of_struct::<T>()?;
        let mut writer = TableWriter::new(&of.entity.layout);
        objects.iter_mut().try_for_each(|object| object.put(self, &of, &mut writer).map(|_| ()))
    }

    /// Changes an object in place: exactly the properties that the closure changes are written.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and those of [`WriteTxn::put`].
    pub fn update<T: Entity, R>(&mut self, id: ObjectId, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        let of = self.inner().of_struct::<T>()?;
        let not_found = || StoreError::not_found(&of.entity.def.name, id);
        let record = self.record(&of.entity, id)?.ok_or_else(not_found)?;
        let table = table_of(&of, record)?;
        let (before, mut after) = (read_struct::<T>(&of, id, table)?, read_struct::<T>(&of, id, table)?);
        let result = change(&mut after);
        links::put_targets(&mut after, self)?;
        write_changes(self, &of, &mut TableWriter::new(&of.entity.layout), id, &before, &after)?;
        links::put_links(&mut after, self, &of)?;
        Ok(result)
    }

    /// Adds to a counter, and writes nothing else; what it shows afterwards.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and those of [`WriteTxn::put`].
    pub fn add<T: Entity>(&mut self, id: ObjectId, counter: Property<T, Counter>, by: i64) -> Result<i64> {
        let of = self.inner().of_struct::<T>()?;
        self.add_to(&of.entity, id, counter.name(), by)
    }

    /// Adds to the counter of this name; what it shows afterwards.
    pub(crate) fn add_to(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        property: &str,
        by: i64,
    ) -> Result<i64> {
        let def = crate::query::property(&entity.def, property)?;
        if def.kind() != Some(Kind::Counter) {
            let (entity, property) = (entity.def.name.clone(), property.to_owned());
            return Err(StoreError::NotACounter { entity, property });
        }
        let (slot, ty) = (def.slot(), def.ty);
        let old =
            self.record(entity, id)?.ok_or_else(|| StoreError::not_found(&entity.def.name, id))?.to_vec();
        let current = Record::parse(&old).map_err(|e| StoreError::damaged("record", e))?.table;
        let changes = [(u16::try_from(slot).unwrap_or(u16::MAX), counter_change(by))];
        self.write_changes(entity, id, &old, &current, &[], &changes)?;
        let record =
            self.record(entity, id)?.ok_or_else(|| StoreError::internal("a written object exists"))?;
        let table = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?.table;
        Ok(table.int(slot, ty).map_err(|e| StoreError::damaged("record", e))?.unwrap_or_default())
    }

    /// Removes an object; whether it was there.
    ///
    /// # Errors
    ///
    /// If the store lacks the entity.
    pub fn remove<T: Entity>(&mut self, id: ObjectId) -> Result<bool> {
        let of = self.inner().of_struct::<T>()?;
        self.remove_object(&of.entity, id)
    }

    /// Removes all objects; how many there were.
    ///
    /// # Errors
    ///
    /// If the store lacks the entity.
    pub fn remove_all<T: Entity>(&mut self) -> Result<u64> {
        let of = self.inner().of_struct::<T>()?;
        let mut removed = 0;
        while let Some((key, _)) = self.engine_tx().first(of.entity.objects)? {
            let id = keys::object_id(key)?;
            self.remove_object(&of.entity, id)?;
            removed += 1;
        }
        Ok(removed)
    }
}
