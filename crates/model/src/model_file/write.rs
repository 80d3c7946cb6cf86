//! From a schema to the tree of a model file, whole or as changes to one that was read.

mod relations;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::MODEL_VERSION;
use super::read::{id_and_uid, implied_conflict};
use crate::ids::Uid;
use crate::schema::{EntityDef, PropertyDef, Schema};

/// What people read first when they open a file.
const NOTES: [&str; 2] = [
    "Keep this file under version control: it holds the ids and uids by which stored data is found again.",
    "After a merge every id and every uid must be unique, and the last ids must be the largest that were ever used.",
];

/// A complete file.
pub(super) fn document(schema: &Schema) -> Map<String, Value> {
    let mut document = Map::new();
    for (at, note) in NOTES.iter().enumerate() {
        document.insert(format!("_note{}", at + 1), json!(note));
    }
    let entities = schema.entities();
    document.insert(
        "entities".to_owned(),
        entities.iter().map(|entity| Value::Object(new_entity(entity, schema))).collect(),
    );
    let last = |used: Option<(u32, Uid)>| used.map_or(json!("0:0"), |(id, uid)| json!(joined(id, uid)));
    document.insert("lastEntityId".to_owned(), last(entities.iter().map(|e| (e.id.0, e.uid)).max()));
    document.insert("lastIndexId".to_owned(), last(indexes(schema).max()));
    let relations = entities.iter().flat_map(|entity| &entity.relations);
    document.insert("lastRelationId".to_owned(), last(relations.map(|r| (r.id, r.uid)).max()));
    document.insert("lastSequenceId".to_owned(), json!("0:0"));
    document.insert("modelVersion".to_owned(), json!(MODEL_VERSION));
    document.insert("modelVersionParserMinimum".to_owned(), json!(MODEL_VERSION));
    for list in ["retiredEntityUids", "retiredIndexUids", "retiredPropertyUids", "retiredRelationUids"] {
        document.insert(list.to_owned(), json!([]));
    }
    document.insert("version".to_owned(), json!(1));
    document
}

/// Brings the file of the old schema up to the new one.
pub(super) fn update(document: &mut Map<String, Value>, old: &Schema, new: &Schema, retired: &[Uid]) {
    let before: HashMap<Uid, &EntityDef> = old.entities().iter().map(|entity| (entity.uid, entity)).collect();
    let mut added = Vec::new();
    let Some(Value::Array(objects)) = document.get_mut("entities") else {
        unreachable!("a file without a list of entities is refused when it is read")
    };
    let mut places = places(objects);
    for entity in new.entities() {
        match (places.remove(&entity.uid), before.get(&entity.uid)) {
            (Some(at), Some(before)) => {
                let target = object(&mut objects[at]);
                update_entity(target, before, entity);
                relations::update(target, before, entity, new);
            }
            _ => added.push(Value::Object(new_entity(entity, new))),
        }
    }
    // The places that are left are of entities that went.
    let mut gone: Vec<usize> = places.into_values().collect();
    gone.sort_unstable();
    gone.into_iter().rev().for_each(|at| drop(objects.remove(at)));
    objects.append(&mut added);
    let newest = new.entities().iter().map(|entity| (entity.id.0, entity.uid)).max();
    advance(document, "lastEntityId", newest);
    advance(document, "lastIndexId", indexes(new).max());
    let newest = new.entities().iter().flat_map(|entity| &entity.relations);
    advance(document, "lastRelationId", newest.map(|relation| (relation.id, relation.uid)).max());
    let indexes: HashSet<Uid> = indexes(old).map(|(_, uid)| uid).collect();
    let relations: HashSet<Uid> =
        old.entities().iter().flat_map(|entity| &entity.relations).map(|relation| relation.uid).collect();
    for uid in retired {
        let list = match uid {
            uid if before.contains_key(uid) => "retiredEntityUids",
            uid if indexes.contains(uid) => "retiredIndexUids",
            uid if relations.contains(uid) => "retiredRelationUids",
            _ => "retiredPropertyUids",
        };
        let list = document.entry(list).or_insert_with(|| json!([]));
        list.as_array_mut().expect("what is no list is refused when the file is read").push(json!(uid.0));
    }
}

fn update_entity(target: &mut Map<String, Value>, old: &EntityDef, new: &EntityDef) {
    set_if(target, old.name != new.name, "name", json!(new.name), "id");
    if old.flags != new.flags {
        set_or_remove(target, "flags", (new.flags.0 != 0).then(|| json!(new.flags.0)), "name");
    }
    let Some(Value::Array(objects)) = target.get_mut("properties") else {
        unreachable!("an entity without a list of properties is refused when it is read")
    };
    let mut places = places(objects);
    let mut kept = Vec::with_capacity(new.properties.len());
    for property in &new.properties {
        match (places.remove(&property.uid), old.property_by_uid(property.uid)) {
            (Some(at), Some(before)) => kept.push((at, property, Some(before))),
            _ => kept.push((usize::MAX, property, None)),
        }
    }
    // Files may list properties in any order; those that stay keep theirs, and new ones follow by id.
    kept.sort_by_key(|&(at, property, _)| (at, property.id));
    let updated = kept.into_iter().map(|(at, property, before)| match before {
        Some(before) => {
            let mut value = objects[at].take();
            update_property(object(&mut value), before, property);
            value
        }
        None => Value::Object(new_property(property)),
    });
    *objects = updated.collect();
    // The policy that would be understood without the key depends on the properties.
    let implied = implied_conflict(new.properties.iter().map(|property| &property.flags));
    if target.contains_key("conflict") {
        set_if(target, old.conflict != new.conflict, "conflict", json!(new.conflict.name()), "name");
    } else if new.conflict != implied {
        let before = if target.contains_key("flags") { "flags" } else { "name" };
        set_if(target, true, "conflict", json!(new.conflict.name()), before);
    }
    advance(target, "lastPropertyId", newest_property(new));
}

fn update_property(target: &mut Map<String, Value>, old: &PropertyDef, new: &PropertyDef) {
    set_if(target, old.name != new.name, "name", json!(new.name), "id");
    if old.index != new.index {
        set_or_remove(target, "indexId", new.index.map(|index| json!(joined(index.id.0, index.uid))), "name");
    }
    if old.flags != new.flags {
        set_or_remove(target, "flags", (new.flags.0 != 0).then(|| json!(new.flags.0)), "type");
    }
    if old.relation_target != new.relation_target {
        let before = if target.contains_key("flags") { "flags" } else { "type" };
        set_or_remove(target, "relationTarget", new.relation_target.as_ref().map(|name| json!(name)), before);
    }
}

fn new_entity(entity: &EntityDef, schema: &Schema) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(joined(entity.id.0, entity.uid)));
    // Where the last property is gone, nobody knows its uid: 0 stands for it.
    let newest = newest_property(entity).filter(|&(id, _)| id == entity.last_property_id.0);
    let (last, uid) = newest.unwrap_or((entity.last_property_id.0, Uid(0)));
    object.insert("lastPropertyId".to_owned(), json!(joined(last, uid)));
    object.insert("name".to_owned(), json!(entity.name));
    if entity.flags.0 != 0 {
        object.insert("flags".to_owned(), json!(entity.flags.0));
    }
    if entity.conflict != implied_conflict(entity.properties.iter().map(|property| &property.flags)) {
        object.insert("conflict".to_owned(), json!(entity.conflict.name()));
    }
    let properties = entity.properties.iter().map(|property| Value::Object(new_property(property)));
    object.insert("properties".to_owned(), properties.collect());
    object.insert(
        "relations".to_owned(),
        entity.relations.iter().map(|relation| relations::new_relation(relation, schema)).collect(),
    );
    if !entity.backlinks.is_empty() {
        let backlinks = entity.backlinks.iter().map(|backlink| relations::new_backlink(backlink, schema));
        object.insert("backlinks".to_owned(), backlinks.collect());
    }
    object
}

fn new_property(property: &PropertyDef) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(joined(property.id.0, property.uid)));
    object.insert("name".to_owned(), json!(property.name));
    if let Some(index) = property.index {
        object.insert("indexId".to_owned(), json!(joined(index.id.0, index.uid)));
    }
    object.insert("type".to_owned(), json!(property.ty as u8));
    if property.flags.0 != 0 {
        object.insert("flags".to_owned(), json!(property.flags.0));
    }
    if let Some(target) = &property.relation_target {
        object.insert("relationTarget".to_owned(), json!(target));
    }
    if let Some(merge) = property.merge.name() {
        object.insert("merge".to_owned(), json!(merge));
    }
    object
}

fn joined(id: u32, uid: Uid) -> String {
    format!("{id}:{uid}")
}

fn newest_property(entity: &EntityDef) -> Option<(u32, Uid)> {
    entity.properties.iter().map(|property| (property.id.0, property.uid)).max()
}

fn indexes(schema: &Schema) -> impl Iterator<Item = (u32, Uid)> + '_ {
    let properties = schema.entities().iter().flat_map(|entity| &entity.properties);
    properties.filter_map(|property| property.index.map(|index| (index.id.0, index.uid)))
}

/// Where in a list each uid stands.
fn places(objects: &[Value]) -> HashMap<Uid, usize> {
    let uid = |value: &Value| value.get("id")?.as_str().and_then(id_and_uid).map(|(_, uid)| uid);
    objects.iter().enumerate().filter_map(|(at, value)| Some((uid(value)?, at))).collect()
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("what is no object is refused when the file is read")
}

/// Raises a last id to the newest one that is in use.
fn advance(target: &mut Map<String, Value>, key: &str, newest: Option<(u32, Uid)>) {
    let last = target.get(key).and_then(Value::as_str).and_then(id_and_uid).map_or(0, |(id, _)| id);
    if let Some((id, uid)) = newest
        && id > last
    {
        target.insert(key.to_owned(), json!(joined(id, uid)));
    }
}

fn set_if(target: &mut Map<String, Value>, changed: bool, key: &str, value: Value, after: &str) {
    if changed {
        set_or_remove(target, key, Some(value), after);
    }
}

/// Sets a key where it stands, or behind another one; without a value it goes, and the others stay in order.
fn set_or_remove(target: &mut Map<String, Value>, key: &str, value: Option<Value>, after: &str) {
    match value {
        None => {
            target.shift_remove(key);
        }
        Some(value) if target.contains_key(key) => {
            target.insert(key.to_owned(), value);
        }
        Some(value) => {
            let at = target.keys().position(|other| other == after).map_or(target.len(), |at| at + 1);
            target.shift_insert(at, key.to_owned(), value);
        }
    }
}
