//! What a change of the schema does to the tables, within the transaction that opens the store.
//!
//! Everything that may be refused is looked at before anything is written. What takes long is only noted here, and done once
//! the store is open, in transactions of bounded size: see [`crate::leave`], [`crate::enroll`], [`crate::building`] and
//! [`adopt`].

use std::ops::Bound;

use reconvene_model::evolve::conditions;
use reconvene_model::{EntityDef, IndexId, PropertyDef, PropertyFlags, Schema, Uid};

use super::obstacles::{self, Tables, unmet};
use crate::building::Wholeness;
use crate::catalog::EntityTables;
use crate::enroll;
use crate::error::Result;
use crate::index;
use crate::keys;
use crate::leave;
use crate::seam::{Reader, TableId, WriteTx};
use crate::sync::{Role, adopt};

/// The flags of a property that decide which keys its index holds.
const KEY_FLAGS: [PropertyFlags; 5] = [
    PropertyFlags::UNSIGNED,
    PropertyFlags::INDEX_PARTIAL_SKIP_NULL,
    PropertyFlags::INDEX_PARTIAL_SKIP_ZERO,
    PropertyFlags::INDEX_HASH,
    PropertyFlags::INDEX_HASH64,
];

/// Refuses what the objects do not allow.
pub(super) fn check(tx: &mut WriteTx<'_>, stored: &Schema, next: &Schema, role: Role) -> Result<()> {
    for condition in conditions(stored, next) {
        let entity = obstacles::subject(&condition);
        let tables = Tables {
            objects: tx.table_if_exists(&keys::objects_table(entity.id))?,
            absent: tx.table_if_exists(&keys::absent_table(entity.id))?,
        };
        if let Some(error) = unmet(tx, role, &condition, tables)? {
            return Err(error);
        }
    }
    Ok(())
}

/// Empties what the next schema has no use for, and notes what is to be done once the store is open.
pub(super) fn change(tx: &mut WriteTx<'_>, meta: TableId, stored: &Schema, next: &Schema) -> Result<()> {
    let version = tx.get(meta, keys::SCHEMA_KEY)?.map(keys::number).transpose()?.unwrap_or(0);
    tx.put(meta, keys::SCHEMA_KEY, &keys::number_key(version + 1))?;
    adopt::note(tx, meta, stored, next)?;
    let kept: Vec<_> = index_shapes(next).collect();
    for (id, ..) in index_shapes(stored).filter(|shape| !kept.contains(shape)) {
        clear(tx, &keys::index_table(id))?;
        tx.delete(meta, keys::build_key(id).as_bytes())?;
    }
    for entity in stored.entities() {
        match next.entity_by_uid(entity.uid) {
            None => remove_entity(tx, meta, entity)?,
            Some(next) if entity.is_synced() && !next.is_synced() => {
                forget_sync(tx, entity)?;
                leave::note(tx, meta, entity.id)?;
                tx.delete(meta, keys::enroll_key(entity.id).as_bytes())?;
            }
            Some(next) if !entity.is_synced() && next.is_synced() => enroll::note(tx, meta, entity.id)?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// What the entries of an index depend on: its number, the property, and how its values become keys.
fn index_shapes(schema: &Schema) -> impl Iterator<Item = (IndexId, Uid, u32)> {
    let properties = schema.entities().iter().flat_map(index::indexed);
    properties.filter_map(|property| Some((property.index?.id, property.uid, key_flags(property))))
}

fn key_flags(property: &PropertyDef) -> u32 {
    KEY_FLAGS.iter().filter(|&&flag| property.flags.has(flag)).fold(0, |all, flag| all | flag.0)
}

fn remove_entity(tx: &mut WriteTx<'_>, meta: TableId, entity: &EntityDef) -> Result<()> {
    clear(tx, &keys::objects_table(entity.id))?;
    forget_sync(tx, entity)?;
    for key in [keys::last_id_key(entity.id), keys::enroll_key(entity.id), keys::leave_key(entity.id)] {
        tx.delete(meta, key.as_bytes())?;
    }
    Ok(())
}

/// Forgets what only sync needs to know of an entity; its transactions stay in the outbox until they are decided on.
fn forget_sync(tx: &mut WriteTx<'_>, entity: &EntityDef) -> Result<()> {
    clear(tx, &keys::absent_table(entity.id))?;
    clear(tx, &keys::global_ids_table(entity.id))?;
    if let Some(confirmed) = tx.table_if_exists(keys::CONFIRMED)? {
        let (first, last) =
            (keys::entity_object_key(entity.id, 0), keys::entity_object_key(entity.id, u64::MAX));
        tx.delete_range(confirmed, (Bound::Included(&first[..]), Bound::Included(&last[..])))?;
    }
    Ok(())
}

fn clear(tx: &mut WriteTx<'_>, name: &str) -> Result<()> {
    match tx.table_if_exists(name)? {
        Some(table) => Ok(tx.clear_table(table)?),
        None => Ok(()),
    }
}

/// Creates the tables that an entity lacks, and notes which of its indexes are to be built from the objects.
pub(super) fn create_tables(
    tx: &mut WriteTx<'_>,
    meta: TableId,
    entity: &EntityDef,
    stored: Option<&Schema>,
) -> Result<EntityTables> {
    let objects = tx.create_table(&keys::objects_table(entity.id))?;
    let first = tx.first(objects)?.map(|(first, _)| first.to_vec());
    let known: Vec<_> = stored.into_iter().flat_map(index_shapes).collect();
    let mut indexes = Vec::new();
    for property in index::indexed(entity) {
        let Some(index) = property.index else { continue };
        let name = keys::index_table(index.id);
        let is_known = known.contains(&(index.id, property.uid, key_flags(property)));
        let table = match tx.table_if_exists(&name)? {
            Some(table) if is_known => table,
            _ => {
                if let Some(first) = &first {
                    tx.put(meta, keys::build_key(index.id).as_bytes(), first)?;
                }
                tx.create_table(&name)?
            }
        };
        let build_key = keys::build_key(index.id);
        let is_building = tx.get(meta, build_key.as_bytes())?.is_some();
        let asked = Wholeness::Asked { meta, build_key: Some(build_key), schema: None };
        indexes.push((table, if is_building { asked } else { Wholeness::Whole }));
    }
    let synced = entity.is_synced();
    Ok(EntityTables {
        objects,
        absent: synced.then(|| tx.create_table(&keys::absent_table(entity.id))).transpose()?,
        global_ids: synced.then(|| tx.create_table(&keys::global_ids_table(entity.id))).transpose()?,
        indexes,
        relations: super::relations::tables(entity, |name| Ok(tx.create_table(name)?))?,
    })
}
