//! Putting and removing objects: ids, links, uniqueness, and the way into records; the same for structs and dynamic objects.

use std::sync::Arc;

use reconvene_model::planted::{Planted, planted};
use reconvene_model::ranking::{precedence, precedence_rank};
use reconvene_model::record::{LOCAL_HEAD, Record, Table, TableWriter};
use reconvene_model::value::value_of_cell;
use reconvene_model::{ConflictPolicy, ObjectId, PropertyDef, PropertyFlags, PropertyType, Value};

use crate::catalog::EntityRuntime;
use crate::dates;
use crate::error::{Result, StoreError};
use crate::kinds::{self, KindChange};
use crate::sync::local;
use crate::txn::WriteTxn;

impl WriteTxn<'_> {
    /// The id that an object is put under, and the record that it replaces.
    pub(crate) fn id_for_put(
        &mut self,
        entity: &EntityRuntime,
        id: ObjectId,
    ) -> Result<(ObjectId, Option<Vec<u8>>)> {
        if id == 0 {
            if entity.def.has_shared_ids() {
                return Err(StoreError::IdNeeded { entity: entity.def.name.clone() });
            }
            return Ok((self.next_id(entity)?, None));
        }
        if let Some(record) = self.record(entity, id)? {
            return Ok((id, Some(record.to_vec())));
        }
        if !entity.def.has_self_assigned_ids() {
            return Err(StoreError::not_found(&entity.def.name, id));
        }
        self.raise_high_water(entity, id)?;
        Ok((id, None))
    }

    /// Writes a new object.
    pub(crate) fn insert_object(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        table: &mut TableWriter<'_>,
    ) -> Result<()> {
        if entity.def.conflict == ConflictPolicy::Precedence
            && let Some(hidden) = self.absent_record(entity, id)?
        {
            // Edits of an object whose insert was refused are hidden until they are decided, and keep their precedence.
            check_precedence(entity, id, hidden, table.as_bytes())?;
        }
        dates::set_companion(entity, table, &*self.inner().time)?;
        if entity.has_unique || !entity.links.is_empty() {
            self.check_values(entity, id, table.as_bytes(), None)?;
        }
        if !entity.def.is_synced() {
            kinds::normalize(entity, table)?;
            return self.replace_record(entity, id, Some(table.as_record(LOCAL_HEAD)));
        }
        local::insert(self, entity, id, table)
    }

    /// Writes an object's new table in place of its old record; `written` are the slots that differ.
    ///
    /// Counters and sets are changed by what the two tables show.
    pub(crate) fn write_object(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        old: &[u8],
        table: &[u8],
        written: &[u16],
    ) -> Result<()> {
        if entity.kinds.is_empty() {
            return self.write_table(entity, id, old, table, written, &[]);
        }
        let current = Record::parse(old).map_err(|e| StoreError::damaged("record", e))?.table;
        let new = Table::parse(table).map_err(StoreError::bad_record)?;
        let changes = kinds::between(entity, &current, &new, written)?;
        self.write_changes(entity, id, old, &new, written, &changes)
    }

    /// Writes these plain slots of a table onto an object's record, and makes these changes of its counters and sets.
    pub(crate) fn write_changes(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        old: &[u8],
        new: &Table<'_>,
        written: &[u16],
        changes: &[KindChange],
    ) -> Result<()> {
        let mut written: Vec<u16> =
            written.iter().copied().filter(|&slot| entity.kind_at(slot).is_none()).collect();
        let current = Record::parse(old).map_err(|e| StoreError::damaged("record", e))?.table;
        let table = kinds::with_changes(entity, &current, new, &written, changes)?;
        written.extend(changes.iter().map(|&(slot, _)| slot));
        if written.is_empty() {
            return Ok(());
        }
        written.sort_unstable();
        self.write_table(entity, id, old, &table, &written, changes)
    }

    fn write_table(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        old: &[u8],
        table: &[u8],
        written: &[u16],
        changes: &[KindChange],
    ) -> Result<()> {
        check_precedence(entity, id, old, table)?;
        if entity.has_unique || !entity.links.is_empty() {
            self.check_values(entity, id, table, Some(written))?;
        }
        if !entity.def.is_synced() {
            let mut record = self.record_room();
            Record::local(table, &mut record);
            let written = self.replace_record(entity, id, Some(&record));
            self.keep_record_room(record);
            return written;
        }
        let is_whole = entity.def.is_put_whole() && !planted(Planted::ObjectPutSparse);
        if entity.kinds.is_empty() {
            let slots = if is_whole { &entity.stored_slots } else { written };
            return local::update(self, entity, id, old, table, slots, changes);
        }
        // A counter or set is a matter of its own: to change it writes nothing else, under any policy.
        let is_whole = is_whole && written.len() > changes.len();
        let is_changed = |slot: u16| changes.iter().any(|&(changed, _)| changed == slot);
        let whole: Vec<u16> = entity
            .stored_slots
            .iter()
            .copied()
            .filter(|&slot| entity.kind_at(slot).is_none() || is_changed(slot))
            .collect();
        local::update(self, entity, id, old, table, if is_whole { &whole } else { written }, changes)
    }

    /// Checks the links and unique values of a table; `written` are the slots that differ, `None` for an insert.
    fn check_values(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        table: &[u8],
        written: Option<&[u16]>,
    ) -> Result<()> {
        let new = entity.layout.parse(table).map_err(StoreError::bad_record)?;
        let is_written =
            |slot: usize| written.is_none_or(|slots| slots.iter().any(|&other| other as usize == slot));
        self.check_links(entity, &new, &is_written)?;
        if entity.has_unique {
            self.check_unique(entity, id, written.is_none(), &new, &is_written)
        } else {
            Ok(())
        }
    }

    /// Removes the record of an object; whether it was there.
    pub(crate) fn remove_one_object(&mut self, entity: &Arc<EntityRuntime>, id: ObjectId) -> Result<bool> {
        if !entity.def.is_synced() {
            let exists = self.record(entity, id)?.is_some();
            self.replace_record(entity, id, None)?;
            return Ok(exists);
        }
        let Some(old) = self.record(entity, id)?.map(<[u8]>::to_vec) else { return Ok(false) };
        local::remove(self, entity, id, &old)?;
        Ok(true)
    }

    /// Refuses links to ids that were never handed out: the next object would get such an id and be linked to by chance.
    fn check_links(
        &mut self,
        entity: &EntityRuntime,
        table: &Table<'_>,
        is_written: &dyn Fn(usize) -> bool,
    ) -> Result<()> {
        for &(slot, target) in &entity.links {
            if !is_written(slot) {
                continue;
            }
            let id = table.int(slot, PropertyType::Relation).map_err(StoreError::bad_record)?;
            let id = id.map_or(0, i64::cast_unsigned);
            let Some(target) = self.inner().catalog.by_id(target) else { continue };
            if id == 0 || target.def.has_self_assigned_ids() || id <= self.last_id(target)? {
                continue;
            }
            let property =
                entity.def.properties.iter().find(|property| !property.is_id() && property.slot() == slot);
            return Err(StoreError::LinkToUnassigned {
                entity: entity.def.name.clone(),
                property: property.map(|property| property.name.clone()).unwrap_or_default(),
                target: target.def.name.clone(),
                id,
            });
        }
        Ok(())
    }

    fn check_unique(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        is_new: bool,
        table: &Table<'_>,
        is_written: &dyn Fn(usize) -> bool,
    ) -> Result<()> {
        let mut replaced = Vec::new();
        for index in entity.unique_indexes() {
            let property = index.property();
            if !is_written(property.slot()) {
                continue;
            }
            let stored = table.stored(property.slot(), property.ty).map_err(StoreError::bad_record)?;
            let Some(stored) = stored else { continue };
            for other in self.ids_with_value(index, &stored)? {
                if other == id {
                    continue;
                }
                let is_over = match self.record(entity, other)? {
                    Some(record) => !entity.def.is_synced() && entity.hides_record(record)?,
                    None => false,
                };
                if !is_over && !property.flags.has(PropertyFlags::UNIQUE_ON_CONFLICT_REPLACE) {
                    return Err(StoreError::UniqueViolation {
                        entity: entity.def.name.clone(),
                        property: property.name.clone(),
                        id: if is_new { 0 } else { id },
                        value: shown(property, &stored),
                        other,
                    });
                }
                replaced.push(other);
            }
        }
        // Only once nothing refuses the put any more: a transaction may go on after an error.
        replaced.into_iter().try_for_each(|other| self.remove_object(entity, other).map(|_| ()))
    }
}

/// The most characters of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 60;

/// A stored value as a message shows it.
fn shown(property: &PropertyDef, stored: &[u8]) -> String {
    match value_of_cell(property.ty, stored) {
        Ok(Value::String(text)) => match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{:?}...", &text[..end]),
            None => format!("{text:?}"),
        },
        Ok(Value::Bool(bit)) => bit.to_string(),
        Ok(Value::Int(number)) if property.is_unsigned() => {
            let unused = 64 - 8 * stored.len().clamp(1, 8);
            (number.cast_unsigned() << unused >> unused).to_string()
        }
        Ok(Value::Int(number)) => number.to_string(),
        Ok(Value::Float(number)) => number.to_string(),
        Ok(Value::Double(number)) => number.to_string(),
        _ => {
            stored.first_chunk().map_or(String::new(), |id| format!("a link to {}", u64::from_le_bytes(*id)))
        }
    }
}

/// Refuses a write that would lose at once to the one that is stored.
fn check_precedence(entity: &EntityRuntime, id: ObjectId, old: &[u8], table: &[u8]) -> Result<()> {
    let Some(property) = entity.def.precedence_property().filter(|_| entity.def.is_synced()) else {
        return Ok(());
    };
    let unsigned = property.is_unsigned();
    let old = Record::parse(old).map_err(|e| StoreError::damaged("record", e))?.table;
    let old = old.stored(property.slot(), property.ty).map_err(|e| StoreError::damaged("record", e))?;
    let new = Table::parse(table).map_err(StoreError::bad_record)?;
    let new = new.stored(property.slot(), property.ty).map_err(StoreError::bad_record)?;
    if precedence_rank(new.as_deref(), unsigned) >= precedence_rank(old.as_deref(), unsigned) {
        return Ok(());
    }
    Err(StoreError::PrecedenceTooLow {
        entity: entity.def.name.clone(),
        id,
        property: property.name.clone(),
        stored: old.and_then(|cell| precedence(&cell, unsigned)).unwrap_or_default(),
        given: new.and_then(|cell| precedence(&cell, unsigned)),
    })
}

/// The slots in which two tables of one entity differ, ascending; without the clock, which is not the application's.
pub(crate) fn differing_slots(entity: &EntityRuntime, a: &Table<'_>, b: &Table<'_>) -> Result<Vec<u16>> {
    let mut slots = Vec::new();
    for &slot in entity.stored_slots.iter().filter(|&&slot| Some(slot) != entity.clock) {
        let ty = entity.layout.slot_type(slot as usize);
        let ty = ty.ok_or_else(|| StoreError::internal("a stored property has a place in the layout"))?;
        let (a, b) = (a.stored(slot as usize, ty), b.stored(slot as usize, ty));
        if a.map_err(|e| StoreError::damaged("record", e))? != b.map_err(StoreError::bad_record)? {
            slots.push(slot);
        }
    }
    Ok(slots)
}

/// The table of `current` with these slots taken from `changed`.
pub(crate) fn with_slots(
    entity: &EntityRuntime,
    current: &Table<'_>,
    changed: &Table<'_>,
    slots: &[u16],
) -> Result<Vec<u8>> {
    let mut writer = TableWriter::new(&entity.layout);
    for &slot in &entity.stored_slots {
        let source = if slots.contains(&slot) { changed } else { current };
        copy_slot(entity, source, slot, &mut writer)?;
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    Ok(bytes)
}

/// Takes one property over from another table of the entity.
pub(crate) fn copy_slot(
    entity: &EntityRuntime,
    source: &Table<'_>,
    slot: u16,
    writer: &mut TableWriter<'_>,
) -> Result<()> {
    let slot = slot as usize;
    let Some(ty) = entity.layout.slot_type(slot) else { return Ok(()) };
    match source.stored(slot, ty).map_err(|e| StoreError::damaged("record", e))? {
        Some(bytes) => writer.set_stored(slot, &bytes),
        None => writer.set_null(slot),
    }
    Ok(())
}
