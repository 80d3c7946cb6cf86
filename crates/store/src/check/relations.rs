//! Whether the links of standalone relations stand in both directions, and between objects that there can be.

use std::sync::Arc;

use reconvene_model::ObjectId;

use super::{Check, RowResult, what};
use crate::catalog::{EntityRuntime, RelationRuntime};
use crate::keys;
use crate::seam::TableId;

impl Check<'_, '_> {
    pub(super) fn relations(&mut self) {
        let catalog = &self.tx.inner().catalog;
        for relation in catalog.relations() {
            let ends = catalog.by_id(relation.source).zip(catalog.by_id(relation.target));
            let Some((source, target)) = ends else { continue };
            self.relation(relation, source, target);
        }
    }

    /// Every row of one table has its counterpart; so equal numbers say that the other table has no further ones.
    fn relation(
        &mut self,
        relation: &RelationRuntime,
        source: &Arc<EntityRuntime>,
        target: &Arc<EntityRuntime>,
    ) {
        let name = format!("links of {}.{}", source.def.name, relation.def.name);
        self.links(relation.forward, relation.backward, &name, |this, from, to| {
            this.linked(source, from)?;
            this.linked(target, to)
        });
        if self.count(relation.forward) != self.count(relation.backward) {
            let name = format!("{name} from their other side");
            self.links(relation.backward, relation.forward, &name, |_, _, _| Ok(()));
        }
    }

    fn links(
        &mut self,
        table: TableId,
        other: TableId,
        name: &str,
        check: impl Fn(&Self, ObjectId, ObjectId) -> RowResult,
    ) {
        let this = self.beside();
        let place = |key: &[u8]| match keys::link(key) {
            Ok((from, to)) => format!("{name}, {from} to {to}"),
            Err(_) => name.to_owned(),
        };
        self.rows(table, name, place, |key, _| {
            let (from, to) = keys::link(key).map_err(what)?;
            if this.get(other, &keys::link_key(to, from))?.is_none() {
                return Err("it does not stand in the other direction".to_owned());
            }
            check(&this, from, to)
        });
    }

    /// A link may lead to a synced object that is hidden; a local one that is gone took its links along.
    fn linked(&self, entity: &EntityRuntime, id: ObjectId) -> RowResult {
        let may_be_absent = entity.def.is_synced() || entity.def.has_self_assigned_ids();
        if may_be_absent || self.get(entity.objects, &keys::object_key(id))?.is_some() {
            return Ok(());
        }
        Err(format!("{} {id} does not exist", entity.def.name))
    }
}
