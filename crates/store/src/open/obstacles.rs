//! What keeps the objects of a store from being opened under another schema, looked up before anything is changed.

use reconvene_model::EntityDef;
use reconvene_model::evolve::{Condition, conditions, obstacles};
use reconvene_model::model_file::ModelFile;
use reconvene_model::schema::SchemaError;

use super::shared_values::shared_values;
use crate::error::{Result, StoreError};
use crate::index;
use crate::seam::{Reader, TableId};
use crate::store::Store;
use crate::sync::Role;

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
        let structural = obstacles(stored, given, |uid| model.has_retired_entity(uid)).into_iter();
        let mut found: Vec<_> =
            structural.map(|obstacle| StoreError::OtherModel { what: obstacle.to_string() }).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        self.read(|tx| {
            let inner = tx.inner();
            for condition in conditions(stored, given) {
                let entity = inner.catalog.by_uid(subject(&condition).uid);
                let tables = Tables {
                    objects: entity.map(|entity| entity.objects),
                    absent: entity.and_then(|entity| entity.absent),
                };
                found.extend(unmet(tx.engine_tx(), inner.sync.role, &condition, tables)?);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The tables of an entity, as far as they are there.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) objects: Option<TableId>,
    pub(super) absent: Option<TableId>,
}

/// The stored entity of which a condition speaks.
pub(super) fn subject<'s>(condition: &Condition<'s>) -> &'s EntityDef {
    match condition {
        Condition::BecomesLocal { stored, .. }
        | Condition::Removed { stored }
        | Condition::SharingChanges { stored, .. }
        | Condition::BecomesSynced { stored }
        | Condition::BecomesUnique { stored, .. } => stored,
        other => unreachable!("a condition that this release does not know: {other:?}"),
    }
}

/// The error of an opening, if the objects do not meet a condition.
pub(super) fn unmet(
    tx: &impl Reader,
    role: Role,
    condition: &Condition<'_>,
    tables: Tables,
) -> Result<Option<StoreError>> {
    let count = |table: Option<TableId>| table.map_or(Ok(0), |table| tx.count(table));
    Ok(match condition {
        Condition::BecomesLocal { stored, link: Some(link) } => Some(invalid(
            stored,
            format!(
                "it cannot become local while {link}, which is synced, links to it: make that entity local too, or drop the link"
            ),
        )),
        Condition::BecomesLocal { stored, link: None } | Condition::Removed { stored } => {
            let is_asked_for = role == Role::Server && count(tables.objects)? + count(tables.absent)? > 0;
            let what = "it has synced objects in this directory of a server, for which devices may ask; it stays synced";
            is_asked_for.then(|| invalid(stored, what.to_owned()))
        }
        Condition::SharingChanges { given, .. } => {
            let what = "it has synced objects in the directory, so that `shared_ids` stays as it is; to change it, give the entity \
                        a new uid and copy the objects";
            (count(tables.objects)? + count(tables.absent)? > 0).then(|| invalid(given, what.to_owned()))
        }
        Condition::BecomesSynced { .. } => {
            let is_nobodys = role == Role::Server && count(tables.objects)? > 0;
            is_nobodys.then_some(StoreError::ServerDirectory)
        }
        Condition::BecomesUnique { given, property, .. } => match tables.objects {
            Some(objects) if index::indexed(given).any(|indexed| indexed.uid == property.uid) => {
                shared_values(tx, objects, property)?.map(|shared| StoreError::NotUnique {
                    entity: given.name.clone(),
                    property: property.name.clone(),
                    ids: shared.ids,
                    further: shared.further,
                })
            }
            _ => None,
        },
        // What this release does not know, no model of it can ask for.
        _ => None,
    })
}

fn invalid(entity: &EntityDef, what: String) -> StoreError {
    SchemaError::Invalid { place: entity.name.clone(), what }.into()
}
