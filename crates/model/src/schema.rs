//! The schema: what an application stores, checked once when it is built and immutable afterwards.

mod check;

use std::collections::HashMap;

use crate::digest::Digest;
use crate::ids::{EntityId, IndexId, PropertyId, Uid};
use crate::kinds::Kind;
use crate::types::{ConflictPolicy, EntityFlags, MergeKind, PropertyFlags, PropertyType};

/// The most properties an entity may have: a record's vtable counts its bytes in 16 bits, and a short table stays fast.
pub const PROPERTIES_MAX: usize = 2_000;

/// The most entities a schema may have: each has tables of its own in the store.
pub const ENTITIES_MAX: usize = 1_000;

/// The longest name of an entity, property or relation, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// An index of a property: its number on this device and its stable identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexDef {
    /// Names the index's table.
    pub id: IndexId,
    /// Stable identity.
    pub uid: Uid,
}

/// One property of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyDef {
    /// The number within the entity; decides the slot in records.
    pub id: PropertyId,
    /// Stable identity, also on the wire.
    pub uid: Uid,
    /// The name in expressions, imports and messages.
    pub name: String,
    /// What it holds.
    pub ty: PropertyType,
    /// What is special about it.
    pub flags: PropertyFlags,
    /// Its index, if it is [indexed](PropertyFlags::INDEXED) or [unique](PropertyFlags::UNIQUE).
    pub index: Option<IndexDef>,
    /// For [`PropertyType::Relation`]: the name of the entity it links to.
    pub relation_target: Option<String>,
    /// How concurrent changes come together.
    pub merge: MergeKind,
}

impl PropertyDef {
    /// The slot of this property in records.
    pub fn slot(&self) -> usize {
        self.id.slot()
    }

    /// Whether this is the object's id, which is the record's key and not stored in it.
    pub fn is_id(&self) -> bool {
        self.flags.has(PropertyFlags::ID)
    }

    /// The kind of its register, if it is one that merges.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_property(self.ty, self.merge)
    }

    /// The type number of its cells as they travel: that of its kind, or else of its type.
    pub fn cell_type(&self) -> u8 {
        self.kind().map_or(self.ty as u8, |kind| kind as u8)
    }

    /// Whether integers are to be read as unsigned.
    pub fn is_unsigned(&self) -> bool {
        self.flags.has(PropertyFlags::UNSIGNED) || self.ty == PropertyType::Char
    }
}

/// A standalone many-to-many relation of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct RelationDef {
    /// The number within the model.
    pub id: u32,
    /// Stable identity.
    pub uid: Uid,
    /// The name in the application.
    pub name: String,
    /// The entity it links to.
    pub target: Uid,
    /// Whether an object that is removed takes those with it that it links to.
    pub owned: bool,
}

/// The other direction of a link or of a standalone relation: it names who links to an object.
///
/// Nothing is stored for it but an index of the link.
#[derive(Clone, Debug, PartialEq)]
pub struct BacklinkDef {
    /// The name in the application.
    pub name: String,
    /// The link property or the standalone relation, of whichever entity, that leads here.
    pub of: Uid,
    /// Whether an object that is removed takes those with it that link to it.
    pub owned: bool,
}

/// One entity: a type of objects.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityDef {
    /// The number within the model; names the tables.
    pub id: EntityId,
    /// Stable identity, also on the wire.
    pub uid: Uid,
    /// The name in expressions, commands and messages.
    pub name: String,
    /// What is special about it.
    pub flags: EntityFlags,
    /// Which of two concurrent writes wins.
    pub conflict: ConflictPolicy,
    /// The properties in order of id; retired ids leave gaps.
    pub properties: Vec<PropertyDef>,
    /// Standalone many-to-many relations.
    pub relations: Vec<RelationDef>,
    /// Links and relations that lead here and have a name from this side.
    pub backlinks: Vec<BacklinkDef>,
    /// The largest property id ever used; new properties continue from here.
    pub last_property_id: PropertyId,
}

impl EntityDef {
    /// Whether objects travel to other devices.
    pub fn is_synced(&self) -> bool {
        self.flags.has(EntityFlags::SYNC_ENABLED)
    }

    /// Whether an object has the same id on every device.
    pub fn has_shared_ids(&self) -> bool {
        self.flags.has(EntityFlags::SHARED_GLOBAL_IDS)
    }

    /// The first link or relation to another entity, if there is any, with the name of this one: `"Task.project"`.
    pub fn link_to(&self, target: &EntityDef) -> Option<String> {
        let mut properties = self.properties.iter();
        let link = properties.find(|property| property.relation_target.as_ref() == Some(&target.name));
        let relation = || self.relations.iter().find(|relation| relation.target == target.uid);
        let name = link.map(|link| &link.name).or_else(|| relation().map(|relation| &relation.name))?;
        Some(format!("{}.{name}", self.name))
    }

    /// Whether a put writes all properties, not only those that changed.
    pub fn is_put_whole(&self) -> bool {
        self.conflict != ConflictPolicy::Property || self.clock_property().is_some()
    }

    /// The property that shows the clock of the object's last write.
    pub fn clock_property(&self) -> Option<&PropertyDef> {
        self.properties.iter().find(|property| property.flags.has(PropertyFlags::SYNC_CLOCK))
    }

    /// The property that holds the precedence of a write.
    pub fn precedence_property(&self) -> Option<&PropertyDef> {
        self.properties.iter().find(|property| property.flags.has(PropertyFlags::SYNC_PRECEDENCE))
    }

    /// Whether the application may choose ids: asked for, or implied by shared ids.
    pub fn has_self_assigned_ids(&self) -> bool {
        self.has_shared_ids() || self.id_property().flags.has(PropertyFlags::ID_SELF_ASSIGNABLE)
    }

    /// The property that is the object's id.
    pub fn id_property(&self) -> &PropertyDef {
        self.properties
            .iter()
            .find(|p| p.is_id())
            .expect("a schema's entities have an id property: checked when built")
    }

    /// The property of this name.
    pub fn property(&self, name: &str) -> Option<&PropertyDef> {
        self.properties.iter().find(|p| p.name == name)
    }

    /// The property of this uid.
    pub fn property_by_uid(&self, uid: Uid) -> Option<&PropertyDef> {
        self.properties.iter().find(|p| p.uid == uid)
    }

    /// The standalone relation of this name.
    pub fn relation(&self, name: &str) -> Option<&RelationDef> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    /// The backlink of this name.
    pub fn backlink(&self, name: &str) -> Option<&BacklinkDef> {
        self.backlinks.iter().find(|backlink| backlink.name == name)
    }

    /// The properties that records hold: all but the id.
    pub fn stored_properties(&self) -> impl Iterator<Item = &PropertyDef> + Clone {
        self.properties.iter().filter(|p| !p.is_id())
    }

    /// The number of slots in a record of this entity: the largest property id in use.
    pub fn slots(&self) -> usize {
        self.properties.last().map_or(0, |p| p.slot() + 1)
    }
}

/// What is wrong with a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// One sentence with the place and the remedy.
    #[error("{place}: {what}")]
    Invalid {
        /// The entity, and the property if it concerns one.
        place: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// A whole schema: entities in order of id, found by id, uid or name.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    entities: Vec<EntityDef>,
    by_id: HashMap<EntityId, usize>,
    by_uid: HashMap<Uid, usize>,
    by_name: HashMap<String, usize>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.entities == other.entities
    }
}

impl Schema {
    /// The entities in order of id.
    pub fn entities(&self) -> &[EntityDef] {
        &self.entities
    }

    /// The entity of this number.
    pub fn entity(&self, id: EntityId) -> Option<&EntityDef> {
        self.by_id.get(&id).map(|&at| &self.entities[at])
    }

    /// The entity of this uid.
    pub fn entity_by_uid(&self, uid: Uid) -> Option<&EntityDef> {
        self.by_uid.get(&uid).map(|&at| &self.entities[at])
    }

    /// The entity of this name.
    pub fn entity_by_name(&self, name: &str) -> Option<&EntityDef> {
        self.by_name.get(name).map(|&at| &self.entities[at])
    }
}

impl Schema {
    /// Checks entities against each other and makes a schema of them.
    ///
    /// # Errors
    ///
    /// The first [`SchemaError`] found; it names the entity and the property.
    pub fn new(mut entities: Vec<EntityDef>) -> Result<Schema, SchemaError> {
        entities.sort_by_key(|entity| entity.id);
        check::entities(&entities)?;
        let mut schema = Schema::default();
        for (at, entity) in entities.iter_mut().enumerate() {
            entity.properties.sort_by_key(|property| property.id);
            schema.by_id.insert(entity.id, at);
            schema.by_uid.insert(entity.uid, at);
            schema.by_name.insert(entity.name.clone(), at);
        }
        schema.entities = entities;
        Ok(schema)
    }

    /// The hash of what must be equal for values to be understood: synced entities, their properties, types and
    /// relations.
    ///
    /// Names count, so that people who compare versions see renames; numbers and order do not.
    pub fn base_hash(&self) -> [u8; 32] {
        self.hash(false)
    }

    /// The hash of the same with indexes, constraints, policies and local-only entities.
    pub fn full_hash(&self) -> [u8; 32] {
        self.hash(true)
    }

    fn hash(&self, full: bool) -> [u8; 32] {
        let mut digest = Digest::default();
        let mut entities: Vec<&EntityDef> = self.entities.iter().filter(|e| full || e.is_synced()).collect();
        entities.sort_by_key(|entity| entity.uid);
        let name = |digest: &mut Digest, name: &str| {
            digest.update(&(name.len() as u64).to_le_bytes());
            digest.update(name.as_bytes());
        };
        for entity in entities {
            digest.update(&entity.uid.0.to_le_bytes());
            name(&mut digest, &entity.name);
            if full {
                digest.update(&entity.flags.0.to_le_bytes());
                name(&mut digest, entity.conflict.name());
            }
            let mut properties: Vec<&PropertyDef> = entity.properties.iter().collect();
            properties.sort_by_key(|property| property.uid);
            digest.update(&(properties.len() as u64).to_le_bytes());
            for property in properties {
                digest.update(&property.uid.0.to_le_bytes());
                digest.update(&[property.ty as u8]);
                if let Some(kind) = property.kind() {
                    digest.update(&[kind as u8]);
                }
                name(&mut digest, &property.name);
                name(&mut digest, property.relation_target.as_deref().unwrap_or_default());
                if full {
                    digest.update(&property.flags.0.to_le_bytes());
                }
            }
            let mut relations: Vec<&RelationDef> = entity.relations.iter().collect();
            relations.sort_by_key(|relation| relation.uid);
            digest.update(&(relations.len() as u64).to_le_bytes());
            for relation in relations {
                digest.update(&relation.uid.0.to_le_bytes());
                name(&mut digest, &relation.name);
                digest.update(&relation.target.0.to_le_bytes());
                if full {
                    digest.update(&[u8::from(relation.owned)]);
                }
            }
            if !full {
                continue;
            }
            let mut backlinks: Vec<&BacklinkDef> = entity.backlinks.iter().collect();
            backlinks.sort_by_key(|backlink| backlink.of);
            digest.update(&(backlinks.len() as u64).to_le_bytes());
            for backlink in backlinks {
                digest.update(&backlink.of.0.to_le_bytes());
                name(&mut digest, &backlink.name);
                digest.update(&[u8::from(backlink.owned)]);
            }
        }
        digest.finalize()
    }
}
