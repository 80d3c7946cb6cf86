//! The rules that every schema keeps.

use std::collections::HashSet;
use std::hash::Hash;

use super::{BacklinkDef, ENTITIES_MAX, EntityDef, NAME_BYTES_MAX, PROPERTIES_MAX, PropertyDef, SchemaError};
use crate::ids::Uid;
use crate::ranking::holds_precedence;
use crate::types::{ConflictPolicy, EntityFlags, MergeKind, PropertyFlags, PropertyType};

/// Checks entities in order of id.
pub(super) fn entities(entities: &[EntityDef]) -> Result<(), SchemaError> {
    if entities.len() > ENTITIES_MAX {
        return Err(invalid(
            "the schema",
            format!("it has {} entities; at most {ENTITIES_MAX} are allowed; merge some", entities.len()),
        ));
    }
    let mut uids = HashSet::new();
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    let (mut indexes, mut relations) = (HashSet::new(), HashSet::new());
    let targets: HashSet<Uid> = entities.iter().map(|entity| entity.uid).collect();
    let target_names: HashSet<&str> = entities.iter().map(|entity| entity.name.as_str()).collect();
    for entity in entities {
        let place = || entity.name.clone();
        name(&entity.name, "an entity")?;
        if entity.id.0 == 0 {
            return Err(invalid(place(), "its id is 0; ids start at 1: give it the next free one"));
        }
        once(&mut ids, entity.id, place, "another entity has its id; give one the next free id")?;
        once(&mut names, entity.name.as_str(), place, "there are two entities of this name; rename one")?;
        uid(&mut uids, entity.uid.0, place)?;
        properties(entity, &mut uids, &mut indexes)?;
        let mut relation_names = HashSet::new();
        for relation in &entity.relations {
            let place = || format!("{}.{}", entity.name, relation.name);
            name(&relation.name, &entity.name)?;
            if relation.id == 0 || !relations.insert(relation.id) {
                let what = format!(
                    "relation id {} is 0 or belongs to another one; give it the next free one",
                    relation.id
                );
                return Err(invalid(place(), what));
            }
            let taken = "the entity has two relations of this name; rename one";
            once(&mut relation_names, relation.name.as_str(), place, taken)?;
            uid(&mut uids, relation.uid.0, place)?;
            if !targets.contains(&relation.target) {
                return Err(invalid(place(), "the entity that it links to is not in the schema; add it"));
            }
        }
        for backlink in &entity.backlinks {
            check_backlink(entity, backlink, entities)?;
            let place = || format!("{}.{}", entity.name, backlink.name);
            let taken = "the entity has something else of this name; rename one";
            once(&mut relation_names, backlink.name.as_str(), place, taken)?;
            if entity.property(&backlink.name).is_some() {
                return Err(invalid(place(), taken));
            }
        }
        for property in &entity.properties {
            if let Some(target) = &property.relation_target
                && !target_names.contains(target.as_str())
            {
                let what = format!("it links to {target}, which is not in the schema; add that entity");
                return Err(invalid(format!("{}.{}", entity.name, property.name), what));
            }
        }
        policy(entity)?;
        if entity.has_shared_ids() && !entity.is_synced() {
            return Err(invalid(
                place(),
                "shared ids are for synced entities; mark it synced, or leave them out",
            ));
        }
        if entity.flags.has(EntityFlags::SHARED_GLOBAL_IDS) && entity.properties.iter().any(is_unassignable) {
            return Err(invalid(
                place(),
                "with shared ids the application chooses ids; take the flag ID_MONOTONIC_SEQUENCE (64) of its id away",
            ));
        }
    }
    Ok(())
}

/// Checks that a backlink is one of something that leads to its entity.
fn check_backlink(
    entity: &EntityDef,
    backlink: &BacklinkDef,
    entities: &[EntityDef],
) -> Result<(), SchemaError> {
    name(&backlink.name, &entity.name)?;
    let leads_here = entities.iter().any(|source| {
        let link = source.property_by_uid(backlink.of);
        let link = link.is_some_and(|link| {
            link.relation_target.as_deref() == Some(entity.name.as_str()) && link.index.is_some()
        });
        link || source.relations.iter().any(|one| one.uid == backlink.of && one.target == entity.uid)
    });
    if leads_here {
        return Ok(());
    }
    Err(invalid(
        format!("{}.{}", entity.name, backlink.name),
        format!(
            "it is the other direction of {}, which is no indexed link and no relation to {}; name one that is, or take \
             the backlink away",
            backlink.of, entity.name
        ),
    ))
}

/// Checks that the conflict policy finds what it goes by.
fn policy(entity: &EntityDef) -> Result<(), SchemaError> {
    let with = |flag| entity.properties.iter().filter(move |property| property.flags.has(flag));
    if let Some(second) = with(PropertyFlags::SYNC_CLOCK).nth(1) {
        let place = format!("{}.{}", entity.name, second.name);
        return Err(invalid(
            place,
            "the entity has two sync clocks; take the flag SYNC_CLOCK (131072) away from one",
        ));
    }
    let mut precedences = with(PropertyFlags::SYNC_PRECEDENCE);
    let by_precedence = entity.conflict == ConflictPolicy::Precedence;
    match (precedences.next(), precedences.next()) {
        (None, _) if by_precedence => Err(invalid(
            &entity.name,
            "its conflict policy is precedence, but no property holds one; give a whole number the flag SYNC_PRECEDENCE (262144)",
        )),
        (_, Some(second)) => Err(invalid(
            format!("{}.{}", entity.name, second.name),
            "the entity has two precedences; take the flag SYNC_PRECEDENCE (262144) away from one",
        )),
        (Some(property), None) if !by_precedence => Err(invalid(
            format!("{}.{}", entity.name, property.name),
            format!(
                "it is a precedence, but the conflict policy of the entity is {}; leave the policy out, or take the flag SYNC_PRECEDENCE (262144) away",
                entity.conflict.name()
            ),
        )),
        _ => Ok(()),
    }
}

fn is_unassignable(property: &PropertyDef) -> bool {
    property.is_id() && property.flags.has(PropertyFlags::ID_MONOTONIC_SEQUENCE)
}

fn properties(
    entity: &EntityDef,
    uids: &mut HashSet<u64>,
    indexes: &mut HashSet<u32>,
) -> Result<(), SchemaError> {
    let count = entity.properties.len();
    if count > PROPERTIES_MAX {
        return Err(invalid(
            &entity.name,
            format!(
                "it has {count} properties; at most {PROPERTIES_MAX} are allowed; move some to an entity of their own"
            ),
        ));
    }
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    for property in &entity.properties {
        let place = || format!("{}.{}", entity.name, property.name);
        name(&property.name, &entity.name)?;
        if property.id.0 == 0 || property.id.0 as usize > PROPERTIES_MAX {
            let what = format!(
                "its id is {}; ids go from 1 to {PROPERTIES_MAX}, retired ones count: move properties to a new entity",
                property.id
            );
            return Err(invalid(place(), what));
        }
        if property.id > entity.last_property_id {
            return Err(invalid(
                place(),
                "its id is larger than the entity's lastPropertyId; raise that one",
            ));
        }
        once(
            &mut ids,
            property.id,
            place,
            "another property of the entity has its id; give one the next free id",
        )?;
        once(
            &mut names,
            property.name.as_str(),
            place,
            "the entity has two properties of this name; rename one",
        )?;
        uid(uids, property.uid.0, place)?;
        flags(property).map_err(|what| invalid(place(), what))?;
        if let Some(index) = property.index {
            if index.id.0 == 0 || !indexes.insert(index.id.0) {
                return Err(invalid(
                    place(),
                    format!(
                        "index id {} is 0 or belongs to another property; give it the next free one",
                        index.id
                    ),
                ));
            }
            uid(uids, index.uid.0, place)?;
        }
    }
    for (flag, what) in [
        (
            PropertyFlags::ID_COMPANION,
            "two dates that accompany its id; take the flag ID_COMPANION (16384) away from one",
        ),
        (
            PropertyFlags::EXPIRATION_TIME,
            "two expiration times; take the flag EXPIRATION_TIME (65536) away from one",
        ),
    ] {
        if let Some(second) = entity.properties.iter().filter(|property| property.flags.has(flag)).nth(1) {
            return Err(invalid(
                format!("{}.{}", entity.name, second.name),
                format!("the entity has {what}"),
            ));
        }
    }
    match entity.properties.iter().filter(|property| property.is_id()).count() {
        1 => Ok(()),
        0 => Err(invalid(&entity.name, "it has no id; give one property of type Long the flag ID (1)")),
        _ => {
            Err(invalid(&entity.name, "it has more than one id; take the flag ID (1) away from all but one"))
        }
    }
}

fn flags(property: &PropertyDef) -> Result<(), &'static str> {
    let has = |flag| property.flags.has(flag);
    if property.is_id() && property.ty != PropertyType::Long {
        return Err("an id is of type Long; change its type, or take the flag ID (1) away");
    }
    if property.is_id() && property.index.is_some() {
        return Err("an id needs no index, since objects are kept in order of id; take the index away");
    }
    let wants_index = has(PropertyFlags::INDEXED) || has(PropertyFlags::UNIQUE);
    if wants_index && !property.is_id() && property.index.is_none() {
        return Err("it is indexed or unique, but has no index id; give it the next free one in indexId");
    }
    if property.relation_target.is_some() && property.ty != PropertyType::Relation {
        return Err(
            "only a property of type Relation links to an entity; change its type, or take relationTarget away",
        );
    }
    if property.ty == PropertyType::Relation && property.relation_target.is_none() {
        return Err("a property of type Relation names the entity that it links to; set relationTarget");
    }
    merge(property)?;
    let is_ordered = property.ty.scalar_bytes().is_some() || property.ty == PropertyType::String;
    if has(PropertyFlags::UNIQUE) && !is_ordered {
        return Err("a vector or Flex value cannot be unique; take the flag UNIQUE (32) away");
    }
    if has(PropertyFlags::UNIQUE_ON_CONFLICT_REPLACE) && !has(PropertyFlags::UNIQUE) {
        return Err("it replaces on conflict but is not unique; add the flag UNIQUE (32)");
    }
    if (has(PropertyFlags::ID_SELF_ASSIGNABLE) || has(PropertyFlags::ID_MONOTONIC_SEQUENCE))
        && !property.is_id()
    {
        return Err("it says how ids are chosen but is no id; take the flags 64 and 128 away");
    }
    if has(PropertyFlags::UNSIGNED) && is_never_unsigned(property.ty) {
        return Err("only whole numbers are unsigned; take the flag UNSIGNED (8192) away");
    }
    if has(PropertyFlags::SYNC_CLOCK) && (property.ty != PropertyType::Long || property.is_id()) {
        return Err("a sync clock is a property of type Long beside the id; change its type");
    }
    if has(PropertyFlags::SYNC_PRECEDENCE) && !holds_precedence(property) {
        return Err(
            "a precedence is a property of type Byte, Short, Int or Long beside the id; change its type",
        );
    }
    if has(PropertyFlags::EXPIRATION_TIME)
        && !matches!(property.ty, PropertyType::Date | PropertyType::DateNano)
    {
        return Err("an expiration time is of type Date or DateNano; change its type");
    }
    if has(PropertyFlags::ID_COMPANION) && !matches!(property.ty, PropertyType::Date | PropertyType::DateNano)
    {
        return Err("what accompanies the id is of type Date or DateNano; change its type");
    }
    Ok(())
}

/// Checks that a property can merge as it is to.
fn merge(property: &PropertyDef) -> Result<(), &'static str> {
    let has = |flag| property.flags.has(flag);
    match property.merge {
        MergeKind::Latest => return Ok(()),
        MergeKind::Counter if property.kind().is_none() => {
            return Err("a counter is a property of type Int or Long; change its type, or take merge away");
        }
        MergeKind::Set if property.kind().is_none() => {
            return Err(
                "a set is a property of type StringVector or LongVector; change its type, or take merge away",
            );
        }
        MergeKind::Counter | MergeKind::Set => {}
    }
    if property.is_id() {
        return Err("an id cannot merge; take merge away");
    }
    if has(PropertyFlags::UNIQUE) {
        return Err("what merges cannot be unique; take the flag UNIQUE (32) or merge away");
    }
    if has(PropertyFlags::UNSIGNED) {
        return Err("what merges is signed; take the flag UNSIGNED (8192) or merge away");
    }
    if has(PropertyFlags::SYNC_CLOCK) || has(PropertyFlags::SYNC_PRECEDENCE) {
        return Err("a sync clock or precedence cannot merge; take merge away");
    }
    Ok(())
}

/// Tools flag links and vectors of whole numbers as well.
fn is_never_unsigned(ty: PropertyType) -> bool {
    use PropertyType as T;
    ty.is_float()
        || matches!(ty, T::Bool | T::String | T::Flex | T::StringVector | T::FloatVector | T::DoubleVector)
}

fn name(name: &str, place: &str) -> Result<(), SchemaError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let what = format!(
            "the name {name:?} is empty, longer than {NAME_BYTES_MAX} bytes, or has control characters; choose another"
        );
        return Err(invalid(place, what));
    }
    Ok(())
}

fn uid(uids: &mut HashSet<u64>, uid: u64, place: impl Fn() -> String) -> Result<(), SchemaError> {
    if uid == 0 {
        return Err(invalid(
            place(),
            "its uid is 0; every entity, property, index and relation needs one: give it a random number",
        ));
    }
    once(
        uids,
        uid,
        place,
        "something else in the schema has its uid; uids are never shared or reused: give one a new uid",
    )
}

fn once<T: Eq + Hash>(
    seen: &mut HashSet<T>,
    item: T,
    place: impl Fn() -> String,
    otherwise: &str,
) -> Result<(), SchemaError> {
    if seen.insert(item) { Ok(()) } else { Err(invalid(place(), otherwise)) }
}

fn invalid(place: impl Into<String>, what: impl Into<String>) -> SchemaError {
    SchemaError::Invalid { place: place.into(), what: what.into() }
}
