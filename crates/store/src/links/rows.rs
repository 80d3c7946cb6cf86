//! The rows of standalone relations, and links that are set without a struct.

use std::sync::Arc;

use reconvene_model::ObjectId;
use reconvene_model::record::TableWriter;

use super::hop::{Hop, Way, link_of};
use crate::catalog::{EntityRuntime, RelationRuntime};
use crate::error::{Result, StoreError};
use crate::keys;
use crate::query::table_of;
use crate::seam::{Direction, Reader, TableId};
use crate::txn::WriteTxn;

impl WriteTxn<'_> {
    /// Links an object with a far one; whether it was not so before.
    pub(crate) fn link(&mut self, hop: &Hop, id: ObjectId, far: ObjectId) -> Result<bool> {
        self.expect_object(&hop.near, id)?;
        match &hop.way {
            Way::Link { slot } => self.set_link(&hop.near, id, *slot, far),
            Way::Backlink { index } => {
                self.expect_object(&hop.far, far)?;
                self.set_link(&hop.far, far, index.property().slot(), id)
            }
            Way::Targets { relation } => self.put_link_row(relation, id, far),
            Way::Sources { relation } => {
                self.expect_object(&hop.far, far)?;
                self.put_link_row(relation, far, id)
            }
        }
    }

    /// Undoes the link of an object with a far one; whether there was one.
    pub(crate) fn unlink(&mut self, hop: &Hop, id: ObjectId, far: ObjectId) -> Result<bool> {
        let (entity, slot, source, target) = match &hop.way {
            Way::Link { slot } => (&hop.near, *slot, id, far),
            Way::Backlink { index } => (&hop.far, index.property().slot(), far, id),
            Way::Targets { relation } => return self.delete_link_row(relation, id, far),
            Way::Sources { relation } => return self.delete_link_row(relation, far, id),
        };
        if link_of(&self.moment().view, entity, slot, source)? != Some(target) {
            return Ok(false);
        }
        self.set_link(entity, source, slot, 0)
    }

    /// Links an object by a standalone relation with these far objects and no others.
    pub(crate) fn set_links(&mut self, hop: &Hop, id: ObjectId, far: &[ObjectId]) -> Result<()> {
        let table = match &hop.way {
            Way::Targets { relation } => relation.forward,
            Way::Sources { relation } => relation.backward,
            Way::Link { .. } | Way::Backlink { .. } => {
                return Err(StoreError::internal("only the links of a relation are set as a whole"));
            }
        };
        for former in self.link_rows(table, id)? {
            if !far.contains(&former) {
                self.unlink(hop, id, former)?;
            }
        }
        far.iter().try_for_each(|&far| self.link(hop, id, far).map(drop))
    }

    fn expect_object(&self, entity: &EntityRuntime, id: ObjectId) -> Result<()> {
        match self.record(entity, id)? {
            Some(_) => Ok(()),
            None => Err(StoreError::not_found(&entity.def.name, id)),
        }
    }

    /// Writes the link in a slot of an object, 0 for none; whether it was another one before.
    fn set_link(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        slot: usize,
        target: ObjectId,
    ) -> Result<bool> {
        let old =
            self.record(entity, id)?.ok_or_else(|| StoreError::not_found(&entity.def.name, id))?.to_vec();
        if link_of(&self.moment().view, entity, slot, id)?.unwrap_or(0) == target {
            return Ok(false);
        }
        let mut writer = TableWriter::new(&entity.layout);
        writer.copy_from(&table_of(&old)?).map_err(|e| StoreError::damaged("record", e))?;
        match target {
            0 => writer.set_null(slot),
            target => writer.set_int(slot, target.cast_signed()),
        }
        let slot = u16::try_from(slot).expect("slots are fewer than PROPERTIES_MAX");
        self.write_object(entity, id, &old, writer.as_bytes(), &[slot])?;
        Ok(true)
    }

    /// Writes both rows of a link; whether it is new.
    pub(super) fn put_link_row(
        &mut self,
        relation: &RelationRuntime,
        source: ObjectId,
        target: ObjectId,
    ) -> Result<bool> {
        let key = keys::link_key(source, target);
        if self.engine_tx().get(relation.forward, &key)?.is_some() {
            return Ok(false);
        }
        if !self.can_be_linked(relation, target)? {
            return Ok(false);
        }
        self.put_raw(relation.forward, &key, &[])?;
        self.put_raw(relation.backward, &keys::link_key(target, source), &[])?;
        self.note_link(relation, source);
        Ok(true)
    }

    /// Deletes both rows of a link; whether there was one.
    pub(super) fn delete_link_row(
        &mut self,
        relation: &RelationRuntime,
        source: ObjectId,
        target: ObjectId,
    ) -> Result<bool> {
        if !self.delete_raw(relation.forward, &keys::link_key(source, target))? {
            return Ok(false);
        }
        self.delete_raw(relation.backward, &keys::link_key(target, source))?;
        self.note_link(relation, source);
        Ok(true)
    }

    /// All ids that a source is linked to, those of objects among them that do not exist.
    pub(super) fn link_rows(&self, table: TableId, from: ObjectId) -> Result<Vec<ObjectId>> {
        let rows = self.engine_tx().prefix(table, &keys::object_key(from), Direction::Forward)?;
        rows.map(|row| Ok(keys::link(row?.0)?.1)).collect()
    }

    /// Forgets the links of a local object that is gone, to it and from it.
    pub(super) fn drop_link_rows(&mut self, entity: &EntityRuntime, id: ObjectId) -> Result<()> {
        let of = entity.def.id;
        for relation in self.inner().catalog.relations() {
            if relation.source == of {
                for target in self.link_rows(relation.forward, id)? {
                    self.delete_raw(relation.forward, &keys::link_key(id, target))?;
                    self.delete_raw(relation.backward, &keys::link_key(target, id))?;
                }
            }
            if relation.target == of {
                for source in self.link_rows(relation.backward, id)? {
                    self.delete_link_row(relation, source, id)?;
                }
            }
        }
        Ok(())
    }

    /// A link is a change of its source.
    fn note_link(&mut self, relation: &RelationRuntime, source: ObjectId) {
        if let Some(entity) = self.inner().catalog.by_id(relation.source).cloned() {
            self.note_changed(&entity, source);
        }
    }

    /// Whether there can ever be an object of this id: a local one that is gone takes its links along.
    ///
    /// Ids that no object ever had are refused, as for links: the next object would get such an id and be linked by chance.
    fn can_be_linked(&mut self, relation: &RelationRuntime, target: ObjectId) -> Result<bool> {
        let catalog = &self.inner().catalog;
        let Some(far) = catalog.by_id(relation.target).cloned() else { return Ok(false) };
        if target != 0 && far.def.has_self_assigned_ids() {
            return Ok(true);
        }
        if target != 0 && target <= self.last_id(&far)? {
            return Ok(far.def.is_synced() || self.record(&far, target)?.is_some());
        }
        let source = catalog.by_id(relation.source).map(|entity| entity.def.name.clone());
        Err(StoreError::LinkToUnassigned {
            entity: source.unwrap_or_default(),
            property: relation.def.name.clone(),
            target: far.def.name.clone(),
            id: target,
        })
    }
}
