//! The schema as an open store uses it: entities with their layouts, tables and indexes.

use std::collections::HashMap;
use std::sync::Arc;

use reconvene_model::kinds::Kind;
use reconvene_model::record::TableLayout;
use reconvene_model::{EntityDef, EntityId, PropertyType, RelationDef, Schema, Uid};

use crate::building::Wholeness;
use crate::dates::{self, Expiration};
use crate::error::{Result, StoreError};
use crate::index::{self, IndexRuntime};
use crate::seam::{TableId, View};
use crate::time::TimeSource;

/// An entity with all that reading and writing its objects needs.
#[derive(Debug)]
pub(crate) struct EntityRuntime {
    pub(crate) def: EntityDef,
    pub(crate) layout: TableLayout,
    pub(crate) objects: TableId,
    /// Objects that do not exist but are remembered; only synced entities have them.
    pub(crate) absent: Option<TableId>,
    /// Ids of foreign objects; only synced entities have them.
    pub(crate) global_ids: Option<TableId>,
    pub(crate) indexes: Vec<IndexRuntime>,
    /// Whether there are indexes whose values no two objects may share.
    pub(crate) has_unique: bool,
    /// Links, as the slot and the entity linked to; without those to entities that the schema lacks.
    pub(crate) links: Vec<(usize, EntityId)>,
    /// The slots of all stored properties.
    pub(crate) stored_slots: Vec<u16>,
    /// When objects end, on devices.
    pub(crate) expiration: Option<Expiration>,
    /// The slot and type of the date that accompanies the id.
    pub(crate) companion: Option<(usize, PropertyType)>,
    /// The slot that shows the clock of the last write, which the store writes and nobody else.
    pub(crate) clock: Option<u16>,
    /// The counters and sets, in order of slot.
    pub(crate) kinds: Vec<KindSlot>,
    /// Whether removing an object removes others as well.
    pub(crate) owns: bool,
    /// Whether rows of standalone relations go with an object that is removed.
    pub(crate) has_link_rows: bool,
}

/// A standalone relation and its tables.
#[derive(Debug)]
pub(crate) struct RelationRuntime {
    pub(crate) def: RelationDef,
    pub(crate) source: EntityId,
    pub(crate) target: EntityId,
    /// Source and target.
    pub(crate) forward: TableId,
    /// Target and source.
    pub(crate) backward: TableId,
}

/// Where a counter or set stands in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KindSlot {
    pub(crate) slot: u16,
    pub(crate) ty: PropertyType,
    pub(crate) kind: Kind,
}

impl EntityRuntime {
    /// The counter or set in a slot.
    pub(crate) fn kind_at(&self, slot: u16) -> Option<&KindSlot> {
        self.kinds.iter().find(|kind| kind.slot == slot)
    }

    /// The first such index that holds all objects of this moment; one that is being built lacks some.
    pub(crate) fn whole_index<'e>(
        &'e self,
        view: &View<'_>,
        is_wanted: impl Fn(&'e IndexRuntime) -> bool,
    ) -> Result<Option<&'e IndexRuntime>> {
        for index in self.indexes.iter().filter(|index| is_wanted(index)) {
            if index.wholeness.holds(view)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The indexes whose values no two objects may share.
    pub(crate) fn unique_indexes(&self) -> impl Iterator<Item = &IndexRuntime> {
        self.indexes.iter().filter(|index| index.is_unique())
    }
}

/// All entities of a store, found by id, uid or name.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    entities: Vec<Arc<EntityRuntime>>,
    by_id: HashMap<EntityId, usize>,
    by_uid: HashMap<Uid, usize>,
    by_name: HashMap<String, usize>,
    relations: Vec<Arc<RelationRuntime>>,
}

/// The tables of one entity.
#[derive(Clone, Debug)]
pub(crate) struct EntityTables {
    pub(crate) objects: TableId,
    pub(crate) absent: Option<TableId>,
    pub(crate) global_ids: Option<TableId>,
    /// In the order of [`index::indexed`].
    pub(crate) indexes: Vec<(TableId, Wholeness)>,
    /// Of each standalone relation, that of its sources and that of its targets.
    pub(crate) relations: Vec<[TableId; 2]>,
}

impl Catalog {
    /// The catalog of a schema; `hiding_by` is the time from which expired objects are hidden, if they are; `tables` opens or finds the tables of each entity.
    pub(crate) fn new(
        schema: &Schema,
        hiding_by: Option<&Arc<dyn TimeSource>>,
        mut tables: impl FnMut(&EntityDef) -> Result<EntityTables>,
    ) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        for (at, def) in schema.entities().iter().enumerate() {
            let tables = tables(def)?;
            let indexed = index::indexed(def);
            let indexes: Vec<_> = indexed
                .zip(tables.indexes)
                .map(|(property, (table, wholeness))| IndexRuntime {
                    property: property.clone(),
                    table,
                    wholeness,
                    objects: tables.objects,
                })
                .collect();
            let links = def.stored_properties().filter_map(|property| {
                let target = schema.entity_by_name(property.relation_target.as_deref()?)?;
                Some((property.slot(), target.id))
            });
            for (relation, [forward, backward]) in def.relations.iter().zip(tables.relations) {
                // A relation to an entity that the schema lacks is refused when the schema is built.
                let Some(target) = schema.entity_by_uid(relation.target) else { continue };
                let (source, target, relation) = (def.id, target.id, relation.clone());
                catalog.relations.push(Arc::new(RelationRuntime {
                    def: relation,
                    source,
                    target,
                    forward,
                    backward,
                }));
            }
            let is_target =
                || schema.entities().iter().flat_map(|from| &from.relations).any(|one| one.target == def.uid);
            let slots = def.stored_properties().map(|property| property.slot());
            catalog.by_id.insert(def.id, at);
            catalog.by_uid.insert(def.uid, at);
            catalog.by_name.insert(def.name.clone(), at);
            catalog.entities.push(Arc::new(EntityRuntime {
                layout: TableLayout::new(def),
                objects: tables.objects,
                absent: tables.absent,
                global_ids: tables.global_ids,
                has_unique: indexes.iter().any(IndexRuntime::is_unique),
                indexes,
                links: links.collect(),
                expiration: hiding_by.and_then(|time| Expiration::of(def, time)),
                companion: dates::companion(def),
                stored_slots: slots
                    .map(|slot| u16::try_from(slot).expect("slots are fewer than PROPERTIES_MAX"))
                    .collect(),
                clock: def
                    .clock_property()
                    .filter(|_| def.is_synced())
                    .map(|clock| u16::try_from(clock.slot()).expect("slots are fewer than PROPERTIES_MAX")),
                kinds: def
                    .stored_properties()
                    .filter_map(|property| {
                        Some(KindSlot {
                            slot: u16::try_from(property.slot())
                                .expect("slots are fewer than PROPERTIES_MAX"),
                            ty: property.ty,
                            kind: property.kind()?,
                        })
                    })
                    .collect(),
                owns: def.relations.iter().any(|relation| relation.owned)
                    || def.backlinks.iter().any(|backlink| backlink.owned),
                has_link_rows: !def.is_synced() && (!def.relations.is_empty() || is_target()),
                def: def.clone(),
            }));
        }
        Ok(catalog)
    }

    /// All entities, in order of id.
    pub(crate) fn entities(&self) -> impl Iterator<Item = &Arc<EntityRuntime>> {
        self.entities.iter()
    }

    /// All standalone relations, in the order of their sources.
    pub(crate) fn relations(&self) -> &[Arc<RelationRuntime>] {
        &self.relations
    }

    pub(crate) fn by_id(&self, id: EntityId) -> Option<&Arc<EntityRuntime>> {
        self.by_id.get(&id).map(|&at| &self.entities[at])
    }

    pub(crate) fn by_uid(&self, uid: Uid) -> Option<&Arc<EntityRuntime>> {
        self.by_uid.get(&uid).map(|&at| &self.entities[at])
    }

    /// The entity of this uid, if its objects travel: a transaction in the outbox may be older than the schema.
    pub(crate) fn synced(&self, uid: Uid) -> Option<&Arc<EntityRuntime>> {
        self.by_uid(uid).filter(|entity| entity.def.is_synced())
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<EntityRuntime>> {
        self.by_name.get(name).map(|&at| &self.entities[at])
    }

    /// The entity of this name, or an error that names the nearest one.
    pub(crate) fn expect(&self, name: &str) -> Result<&Arc<EntityRuntime>> {
        self.by_name(name).ok_or_else(|| {
            let near = reconvene_expr::nearest(name, self.by_name.keys().map(String::as_str));
            StoreError::UnknownEntity { name: name.to_owned(), near: near.map(str::to_owned) }
        })
    }
}
