//! What an opening with another model would refuse, told without opening anything.

use std::collections::HashMap;
use std::sync::Arc;

use reconvene_model::ObjectId;
use reconvene_model::digest::Digest;
use reconvene_model::evolve::{Condition, conditions, obstacles};
use reconvene_model::model_file::ModelFile;
use reconvene_model::record::Record;
use reconvene_model::{EntityDef, PropertyDef};

use super::sync_is_kept;
use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Direction, KeyRange, Reader};
use crate::store::Store;
use crate::sync::Role;
use crate::txn::ReadTxn;

impl Store {
    /// Everything that keeps this store from being opened with another model, as it is at this moment; nothing if it can
    /// be. An opening fails with the first of these errors.
    ///
    /// If a property becomes unique, all objects of its entity are read. Nothing is changed.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn obstacles_to(&self, model: &ModelFile) -> Result<Vec<StoreError>> {
        let (stored, given) = (self.schema(), model.schema());
        let structural = obstacles(stored, given).into_iter();
        let mut found: Vec<_> =
            structural.map(|obstacle| StoreError::OtherModel { what: obstacle.to_string() }).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        self.read(|tx| {
            for condition in conditions(stored, given) {
                found.extend(unmet(tx, condition)?);
            }
            Ok(())
        })?;
        // In the order in which an opening looks.
        found.sort_by_key(|error| match error {
            StoreError::NotUnique { .. } => 2,
            StoreError::ServerDirectory => 1,
            _ => 0,
        });
        Ok(found)
    }
}

fn unmet(tx: &ReadTxn<'_>, condition: Condition<'_>) -> Result<Option<StoreError>> {
    let inner = tx.inner();
    let runtime = |stored: &EntityDef| -> Option<&Arc<EntityRuntime>> {
        inner.catalog.entities().find(|entity| entity.def.uid == stored.uid)
    };
    let engine = tx.engine_tx();
    Ok(match condition {
        Condition::SyncChanges { stored, given } => {
            let Some(entity) = runtime(stored) else { return Ok(None) };
            let mut rows = engine.count(entity.objects)?;
            if let Some(absent) = entity.absent {
                rows += engine.count(absent)?;
            }
            (rows > 0).then(|| sync_is_kept(given))
        }
        Condition::BecomesSynced { stored } => {
            let Some(entity) = runtime(stored) else { return Ok(None) };
            let is_nobodys = inner.sync.role == Role::Server && engine.count(entity.objects)? > 0;
            is_nobodys.then_some(StoreError::ServerDirectory)
        }
        Condition::BecomesUnique { stored, given, property } => match runtime(stored) {
            Some(entity) if index::indexed(given).any(|indexed| indexed.uid == property.uid) => {
                shared_value(tx, entity, given, property)?
            }
            _ => None,
        },
        // What this release does not know, no model of it can ask for.
        _ => None,
    })
}

/// Two objects with the same value, of those values the lowest, as an index would have them.
fn shared_value(
    tx: &ReadTxn<'_>,
    entity: &EntityRuntime,
    given: &EntityDef,
    property: &PropertyDef,
) -> Result<Option<StoreError>> {
    let damaged = |error| StoreError::damaged("record", error);
    let mut seen: HashMap<[u8; 16], ObjectId> = HashMap::new();
    let mut lowest: Option<(Vec<u8>, [ObjectId; 2])> = None;
    let mut key = Vec::new();
    for row in tx.engine_tx().range(entity.objects, KeyRange::all(), Direction::Forward)? {
        let (object, record) = row?;
        let record = Record::parse(record).map_err(damaged)?;
        let stored = record.table.stored(property.slot(), property.ty).map_err(damaged)?;
        key.clear();
        index::stored_key(property, stored.as_deref(), &mut key)?;
        if index::is_null_key(&key) {
            continue;
        }
        let mut digest = Digest::default();
        digest.update(&key);
        let hash = *digest.finalize().first_chunk().expect("a hash has 32 bytes");
        let id = keys::object_id(object)?;
        let Some(&first) = seen.get(&hash) else {
            seen.insert(hash, id);
            continue;
        };
        if lowest.as_ref().is_none_or(|(lowest, _)| key < *lowest) {
            lowest = Some((key.clone(), [first, id]));
        }
    }
    Ok(lowest.map(|(_, ids)| StoreError::NotUnique {
        entity: given.name.clone(),
        property: property.name.clone(),
        ids,
    }))
}
