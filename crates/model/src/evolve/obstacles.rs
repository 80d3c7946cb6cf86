//! What keeps objects that were stored under one schema from being opened under another.

use crate::ids::{EntityId, PropertyId, Uid};
use crate::schema::{EntityDef, PropertyDef, Schema};
use crate::types::{PropertyFlags, PropertyType};

/// Why a directory of one schema cannot be opened with another, whatever is in it; displayed with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// An entity is not in the given schema.
    #[error("it lacks {entity}, which is in the directory; add it, or retire its uid to remove its objects")]
    EntityMissing {
        /// Its stored name.
        entity: String,
    },
    /// An entity has another id.
    #[error("{entity} has id {stored} there and {given} here; give it its former id")]
    OtherEntityId {
        /// Its stored name.
        entity: String,
        /// The stored id.
        stored: EntityId,
        /// The given one.
        given: EntityId,
    },
    /// A property has another id or another type.
    #[error(
        "{entity}.{property} is number {} of type {} there and {} of {} here; keep it, or give it a new uid",
        stored.0, stored.1, given.0, given.1
    )]
    OtherProperty {
        /// The stored name of the entity.
        entity: String,
        /// The stored name of the property.
        property: String,
        /// What is stored.
        stored: (PropertyId, PropertyType),
        /// What is given.
        given: (PropertyId, PropertyType),
    },
    /// A property merges otherwise.
    #[error(
        "{entity}.{property} merges otherwise there than here; keep merge as it is, or give it a new uid"
    )]
    OtherMerge {
        /// The stored name of the entity.
        entity: String,
        /// The stored name of the property.
        property: String,
    },
    /// A standalone relation has another number or leads to another entity.
    #[error(
        "the relation {entity}.{relation} has another number or target there; keep both, or give it a new uid"
    )]
    OtherRelation {
        /// The stored name of the entity.
        entity: String,
        /// The stored name of the relation.
        relation: String,
    },
    /// A new property has an id whose place in records may hold values of a former one.
    #[error("{entity}.{property} has an id that was used before; give it a new one")]
    IdUsedBefore {
        /// The stored name of the entity.
        entity: String,
        /// The name of the property.
        property: String,
    },
}

/// What a given schema can do only to objects that meet a condition.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Condition<'s> {
    /// It no longer syncs an entity: a server must have no objects of it, since devices may ask for them, and no synced entity
    /// may link to it, since the link would mean something else on each device.
    BecomesLocal {
        /// The entity as it is stored.
        stored: &'s EntityDef,
        /// The property or relation of a synced entity that links to it, if there is one: `"Task.project"`.
        link: Option<String>,
    },
    /// It removes an entity: a server must have no synced objects of it, since devices may ask for them.
    Removed {
        /// The entity as it is stored.
        stored: &'s EntityDef,
    },
    /// It shares the ids of a synced entity otherwise than before: there must be no objects of it.
    SharingChanges {
        /// The entity as it is stored.
        stored: &'s EntityDef,
        /// The same one as it is given.
        given: &'s EntityDef,
    },
    /// It begins to sync an entity: a server must have no objects of it, since they would be nobody's.
    BecomesSynced {
        /// The entity as it is stored.
        stored: &'s EntityDef,
    },
    /// It makes a property unique: no two objects may share a value.
    BecomesUnique {
        /// The entity as it is stored.
        stored: &'s EntityDef,
        /// The entity as it is given.
        given: &'s EntityDef,
        /// The property as it is given.
        property: &'s PropertyDef,
    },
}

/// Everything that keeps a directory of the stored schema from being opened with the given one; nothing if it can be.
///
/// `removes` says of the uid of a stored entity that the given schema lacks whether it was retired on purpose.
pub fn obstacles(stored: &Schema, given: &Schema, removes: impl Fn(Uid) -> bool) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for entity in stored.entities() {
        match given.entity_by_uid(entity.uid) {
            Some(next) => within(entity, next, &mut obstacles),
            None if removes(entity.uid) => {}
            None => obstacles.push(Obstacle::EntityMissing { entity: entity.name.clone() }),
        }
    }
    obstacles
}

fn within(entity: &EntityDef, next: &EntityDef, obstacles: &mut Vec<Obstacle>) {
    let name = &entity.name;
    if next.id != entity.id {
        let (stored, given) = (entity.id, next.id);
        obstacles.push(Obstacle::OtherEntityId { entity: name.clone(), stored, given });
    }
    for property in &entity.properties {
        let Some(next) = next.property_by_uid(property.uid) else { continue };
        let (stored, given) = ((property.id, property.ty), (next.id, next.ty));
        if stored != given {
            let property = property.name.clone();
            obstacles.push(Obstacle::OtherProperty { entity: name.clone(), property, stored, given });
        } else if property.merge != next.merge {
            let property = property.name.clone();
            obstacles.push(Obstacle::OtherMerge { entity: name.clone(), property });
        }
    }
    for relation in &entity.relations {
        let other = next.relations.iter().find(|next| next.uid == relation.uid);
        if other.is_some_and(|next| (next.id, next.target) != (relation.id, relation.target)) {
            let relation = relation.name.clone();
            obstacles.push(Obstacle::OtherRelation { entity: name.clone(), relation });
        }
    }
    let new = next.properties.iter().filter(|new| entity.property_by_uid(new.uid).is_none());
    for reused in new.filter(|new| new.id <= entity.last_property_id) {
        let property = reused.name.clone();
        obstacles.push(Obstacle::IdUsedBefore { entity: name.clone(), property });
    }
}

/// What must hold of the objects so that a directory of the stored schema can be opened with the given one, in the order in
/// which an opening looks: what is seen at once before what has to be searched for.
pub fn conditions<'s>(stored: &'s Schema, given: &'s Schema) -> Vec<Condition<'s>> {
    let (mut conditions, mut unique) = (Vec::new(), Vec::new());
    for stored in stored.entities() {
        let Some(next) = given.entity_by_uid(stored.uid) else {
            if stored.is_synced() {
                conditions.push(Condition::Removed { stored });
            }
            continue;
        };
        match (stored.is_synced(), next.is_synced()) {
            (false, true) => conditions.push(Condition::BecomesSynced { stored }),
            (true, false) => {
                conditions.push(Condition::BecomesLocal { stored, link: synced_link(given, next) });
            }
            (true, true) if stored.has_shared_ids() != next.has_shared_ids() => {
                conditions.push(Condition::SharingChanges { stored, given: next });
            }
            _ => {}
        }
        let given = next;
        let is_unique = |property: &PropertyDef| property.flags.has(PropertyFlags::UNIQUE);
        for property in given.properties.iter().filter(|property| is_unique(property)) {
            // A property that no object has yet cannot have a value twice.
            if stored.property_by_uid(property.uid).is_some_and(|stored| !is_unique(stored)) {
                unique.push(Condition::BecomesUnique { stored, given, property });
            }
        }
    }
    conditions.append(&mut unique);
    conditions
}

/// The link of a synced entity to this one, if there is any.
fn synced_link(schema: &Schema, to: &EntityDef) -> Option<String> {
    schema.entities().iter().filter(|entity| entity.is_synced()).find_map(|entity| entity.link_to(to))
}
