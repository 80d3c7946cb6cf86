//! The tables of standalone relations when a store opens.

use reconvene_model::{EntityDef, Schema, Uid};

use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{TableId, WriteTx};

/// The tables of an entity's relations; `table` makes or finds one.
pub(super) fn tables(
    entity: &EntityDef,
    mut table: impl FnMut(&str) -> Result<TableId>,
) -> Result<Vec<[TableId; 2]>> {
    let relations = entity.relations.iter();
    relations
        .map(|relation| {
            Ok([table(&keys::relation_table(relation.id))?, table(&keys::relation_back_table(relation.id))?])
        })
        .collect()
}

/// Refuses relations whose links would have to travel and cannot.
pub(super) fn check_local(schema: &Schema) -> Result<()> {
    let synced = schema.entities().iter().filter(|entity| entity.is_synced());
    match synced.flat_map(|entity| entity.relations.iter().map(move |one| (entity, one))).next() {
        None => Ok(()),
        Some((entity, relation)) => Err(StoreError::RelationNotSynced {
            entity: entity.name.clone(),
            relation: relation.name.clone(),
        }),
    }
}

/// What the rows of a relation depend on: its number, and between which entities it leads.
fn shapes(schema: &Schema) -> impl Iterator<Item = (u32, Uid, Uid, Uid)> {
    let entities = schema.entities().iter();
    entities.flat_map(|entity| {
        entity.relations.iter().map(|relation| (relation.id, relation.uid, entity.uid, relation.target))
    })
}

/// Empties the tables of relations that the new schema has no more, or uses for something else.
pub(super) fn clear_dropped(tx: &mut WriteTx<'_>, stored: &Schema, next: &Schema) -> Result<()> {
    let kept: Vec<_> = shapes(next).collect();
    for (id, ..) in shapes(stored).filter(|shape| !kept.contains(shape)) {
        for name in [keys::relation_table(id), keys::relation_back_table(id)] {
            if let Some(table) = tx.table_if_exists(&name)? {
                tx.clear_table(table)?;
            }
        }
    }
    Ok(())
}
