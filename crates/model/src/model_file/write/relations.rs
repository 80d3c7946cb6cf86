//! Relations and backlinks in the tree of a model file.

use serde_json::{Map, Value, json};

use super::{joined, object, places, set_if, set_or_remove};
use crate::schema::{BacklinkDef, EntityDef, RelationDef, Schema};

/// Brings an entity's relations and backlinks up to date; what does not change keeps its place.
pub(super) fn update(target: &mut Map<String, Value>, old: &EntityDef, new: &EntityDef, schema: &Schema) {
    if old.relations != new.relations {
        let known = target.entry("relations").or_insert_with(|| json!([]));
        let Value::Array(objects) = known else {
            unreachable!("relations that are no list are refused when the file is read")
        };
        let places = places(objects);
        let mut kept: Vec<_> = new
            .relations
            .iter()
            .map(|relation| (places.get(&relation.uid).copied().unwrap_or(usize::MAX), relation))
            .collect();
        kept.sort_by_key(|&(at, relation)| (at, relation.id));
        let updated = kept.into_iter().map(|(at, relation)| match objects.get_mut(at) {
            None => new_relation(relation, schema),
            Some(value) => {
                let mut value = value.take();
                let before = old.relations.iter().find(|before| before.uid == relation.uid);
                update_relation(object(&mut value), before, relation);
                value
            }
        });
        *objects = updated.collect();
    }
    if old.backlinks != new.backlinks {
        let backlinks = new.backlinks.iter().map(|backlink| new_backlink(backlink, schema)).collect();
        let backlinks = (!new.backlinks.is_empty()).then_some(Value::Array(backlinks));
        set_or_remove(target, "backlinks", backlinks, "relations");
    }
}

fn update_relation(target: &mut Map<String, Value>, old: Option<&RelationDef>, new: &RelationDef) {
    let changed = |of: fn(&RelationDef, &RelationDef) -> bool| old.is_none_or(|old| of(old, new));
    set_if(target, changed(|old, new| old.name != new.name), "name", json!(new.name), "id");
    if changed(|old, new| old.owned != new.owned) {
        set_or_remove(target, "owned", new.owned.then_some(json!(true)), "targetId");
    }
}

pub(super) fn new_relation(relation: &RelationDef, schema: &Schema) -> Value {
    let target = schema.entity_by_uid(relation.target).expect("a schema has the targets of its relations");
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(joined(relation.id, relation.uid)));
    object.insert("name".to_owned(), json!(relation.name));
    object.insert("targetId".to_owned(), json!(joined(target.id.0, target.uid)));
    if relation.owned {
        object.insert("owned".to_owned(), json!(true));
    }
    Value::Object(object)
}

pub(super) fn new_backlink(backlink: &BacklinkDef, schema: &Schema) -> Value {
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(backlink.name));
    for entity in schema.entities() {
        let property = entity.property_by_uid(backlink.of).map(|property| ("propertyId", property.id.0));
        let relation = entity.relations.iter().find(|relation| relation.uid == backlink.of);
        if let Some((key, id)) = property.or(relation.map(|relation| ("relationId", relation.id))) {
            object.insert("entityId".to_owned(), json!(joined(entity.id.0, entity.uid)));
            object.insert(key.to_owned(), json!(joined(id, backlink.of)));
        }
    }
    if backlink.owned {
        object.insert("owned".to_owned(), json!(true));
    }
    Value::Object(object)
}
