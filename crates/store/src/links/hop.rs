//! One step from an object to those that it is linked with.

use std::ops::ControlFlow;
use std::sync::Arc;

use reconvene_model::record::Record;
use reconvene_model::{ObjectId, PropertyType};

use super::access::Moment;
use crate::catalog::{Catalog, EntityRuntime, RelationRuntime};
use crate::error::{Result, StoreError};
use crate::index::{self, IndexRuntime};
use crate::keys;
use crate::seam::{Direction, KeyRange, Reader, View};
use crate::structs;

/// A way from the objects of one entity to those of another, or of the same one: a link, a relation, or the other direction of one.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) near: Arc<EntityRuntime>,
    pub(crate) far: Arc<EntityRuntime>,
    pub(crate) way: Way,
}

/// How a [`Hop`] leads.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// By a link that the object holds in this slot.
    Link { slot: usize },
    /// To those whose link, of which this is the index, leads to the object.
    Backlink { index: Box<IndexRuntime> },
    /// To the targets of a standalone relation.
    Targets { relation: Arc<RelationRuntime> },
    /// To the sources of a standalone relation.
    Sources { relation: Arc<RelationRuntime> },
}

/// Takes the id of a far object.
pub(crate) type Take<'f> = &'f mut dyn FnMut(ObjectId) -> Result<ControlFlow<()>>;

impl Catalog {
    /// The link, relation or backlink of this name; none if the entity has none.
    pub(crate) fn hop(&self, near: &Arc<EntityRuntime>, name: &str) -> Option<Hop> {
        let hop = |far: &Arc<EntityRuntime>, way| Hop { near: near.clone(), far: far.clone(), way };
        if let Some(relation) = near.def.relation(name) {
            let relation = self.relation(relation.uid)?.clone();
            return Some(hop(self.by_id(relation.target)?, Way::Targets { relation }));
        }
        if let Some(backlink) = near.def.backlink(name) {
            if let Some(relation) = self.relation(backlink.of) {
                let relation = relation.clone();
                return Some(hop(self.by_id(relation.source)?, Way::Sources { relation }));
            }
            return self.entities().find_map(|far| {
                let index = far.indexes.iter().find(|index| index.property().uid == backlink.of)?;
                Some(hop(far, Way::Backlink { index: Box::new(index.clone()) }))
            });
        }
        let slot = near.def.property(name).filter(|property| property.relation_target.is_some())?.slot();
        let &(_, target) = near.links.iter().find(|(linked, _)| *linked == slot)?;
        Some(hop(self.by_id(target)?, Way::Link { slot }))
    }

    /// As [`Catalog::hop`], or an error that names the nearest name.
    pub(crate) fn expect_hop(&self, near: &Arc<EntityRuntime>, name: &str) -> Result<Hop> {
        if let Some(hop) = self.hop(near, name) {
            return Ok(hop);
        }
        let (def, entity, name) = (&near.def, near.def.name.clone(), name.to_owned());
        if def.property(&name).is_some() {
            return Err(StoreError::NotALink { entity, name });
        }
        let links = def.properties.iter().filter(|property| property.relation_target.is_some());
        let names = links.map(|property| property.name.as_str());
        let names = names.chain(def.relations.iter().map(|relation| relation.name.as_str()));
        let names = names.chain(def.backlinks.iter().map(|backlink| backlink.name.as_str()));
        let near = reconvene_expr::nearest(&name, names).map(str::to_owned);
        Err(StoreError::UnknownProperty { entity, name, near })
    }

    fn relation(&self, uid: reconvene_model::Uid) -> Option<&Arc<RelationRuntime>> {
        self.relations().iter().find(|relation| relation.def.uid == uid)
    }
}

impl Hop {
    /// Calls `take` with each far object that exists, by ascending id, until it breaks off.
    ///
    /// The view must have all index entries: in a write transaction they are applied first.
    pub(crate) fn each(&self, view: &View<'_>, id: ObjectId, take: Take<'_>) -> Result<()> {
        match &self.way {
            Way::Link { slot } => match link_of(view, &self.near, *slot, id)? {
                Some(target) if exists(view, &self.far, target)? => take(target).map(drop),
                _ => Ok(()),
            },
            Way::Backlink { index } if !index.wholeness.holds(view)? => {
                // The index is being built, so all objects are looked at.
                let slot = index.property().slot();
                for row in view.range(self.far.objects, KeyRange::all(), Direction::Forward)? {
                    let (key, record) = row?;
                    let links_here = link_in(record, slot)? == Some(id) && !self.far.hides_record(record)?;
                    if links_here && take(keys::object_id(key)?)?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Way::Backlink { index } => {
                let prefix = backlink_prefix(index, id)?;
                for entry in view.prefix(index.table, &prefix, Direction::Forward)? {
                    let far = index::id_of_key(entry?.0)?;
                    let is_shown = self.far.expiration.is_none() || exists(view, &self.far, far)?;
                    if is_shown && take(far)?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Way::Targets { relation } => self.each_row(view, relation.forward, id, take),
            Way::Sources { relation } => self.each_row(view, relation.backward, id, take),
        }
    }

    fn each_row(
        &self,
        view: &View<'_>,
        table: crate::seam::TableId,
        id: ObjectId,
        take: Take<'_>,
    ) -> Result<()> {
        for row in view.prefix(table, &keys::object_key(id), Direction::Forward)? {
            let (_, far) = keys::link(row?.0)?;
            if exists(view, &self.far, far)? && take(far)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The far objects that exist, by ascending id.
    pub(crate) fn ids(&self, moment: &Moment<'_>, id: ObjectId) -> Result<Vec<ObjectId>> {
        let mut ids = Vec::new();
        self.each(&moment.view, id, &mut |far| {
            ids.push(far);
            Ok(ControlFlow::Continue(()))
        })?;
        if let (Way::Backlink { index }, Some(changes)) = (&self.way, moment.unapplied)
            && index.wholeness.holds(&moment.view)?
        {
            changes.overlay_any(index.table, &backlink_prefix(index, id)?, &mut ids)?;
        }
        Ok(ids)
    }

    /// Whether the object is linked with this far one, and both exist.
    pub(crate) fn leads_to(&self, moment: &Moment<'_>, id: ObjectId, far: ObjectId) -> Result<bool> {
        let view = &moment.view;
        if !exists(view, &self.far, far)? {
            return Ok(false);
        }
        Ok(match &self.way {
            Way::Link { slot } => link_of(view, &self.near, *slot, id)? == Some(far),
            Way::Backlink { index } => link_of(view, &self.far, index.property().slot(), far)? == Some(id),
            Way::Targets { relation } => view.get(relation.forward, &keys::link_key(id, far))?.is_some(),
            Way::Sources { relation } => view.get(relation.backward, &keys::link_key(id, far))?.is_some(),
        })
    }
}

/// Whether there is an object of this id, and it is not hidden because it has expired.
pub(super) fn exists(view: &View<'_>, entity: &EntityRuntime, id: ObjectId) -> Result<bool> {
    structs::contains(view, entity, id)
}

/// The id that an object links to, whether or not there is such an object.
pub(super) fn link_of(
    view: &View<'_>,
    entity: &EntityRuntime,
    slot: usize,
    id: ObjectId,
) -> Result<Option<ObjectId>> {
    match view.get(entity.objects, &keys::object_key(id))? {
        Some(record) => link_in(record, slot),
        None => Ok(None),
    }
}

fn link_in(record: &[u8], slot: usize) -> Result<Option<ObjectId>> {
    let damaged = |error| StoreError::damaged("record", error);
    let table = Record::parse(record).map_err(damaged)?.table;
    let target = table.int(slot, PropertyType::Relation).map_err(damaged)?.unwrap_or(0);
    Ok((target != 0).then_some(target.cast_unsigned()))
}

/// With what the keys of the objects begin that link to this one.
fn backlink_prefix(index: &IndexRuntime, id: ObjectId) -> Result<Vec<u8>> {
    let mut prefix = Vec::with_capacity(index::ID_BYTES + 1);
    index::stored_key(index.property(), Some(&id.to_le_bytes()), &mut prefix)?;
    Ok(prefix)
}
