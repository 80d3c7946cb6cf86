//! The entities that records and expressions are read against.

use reconvene_model::{
    ConflictPolicy, EntityDef, EntityFlags, EntityId, PropertyDef, PropertyFlags, PropertyId, PropertyType,
    Schema, Uid,
};

/// A synced entity with a property of every type, named after it in lower case; retired ids leave gaps.
pub fn all_types() -> EntityDef {
    let types = PropertyType::ALL.iter().enumerate().map(|(at, &ty)| (2 + at + at / 5, ty));
    entity(types, |ty| ty.name().to_lowercase())
}

/// An entity with this many texts.
pub fn texts(count: usize) -> EntityDef {
    let mut at = 0;
    entity((0..count).map(|at| (2 + at, PropertyType::String)), |_| {
        at += 1;
        format!("text{at}")
    })
}

fn entity(
    properties: impl Iterator<Item = (usize, PropertyType)>,
    mut name: impl FnMut(PropertyType) -> String,
) -> EntityDef {
    let property = |id: usize, name: String, ty, flags| PropertyDef {
        id: PropertyId(id as u32),
        uid: Uid(100 + id as u64),
        name,
        ty,
        flags,
        index: None,
        relation_target: (ty == PropertyType::Relation).then(|| "Thing".to_owned()),
        merge: Default::default(),
    };
    let mut all = vec![property(1, "id".to_owned(), PropertyType::Long, PropertyFlags::ID)];
    all.extend(properties.map(|(id, ty)| property(id, name(ty), ty, PropertyFlags::NONE)));
    let thing = EntityDef {
        id: EntityId(1),
        uid: Uid(1),
        name: "Thing".to_owned(),
        flags: EntityFlags::SYNC_ENABLED,
        conflict: ConflictPolicy::Property,
        last_property_id: all[all.len() - 1].id,
        properties: all,
        relations: Vec::new(),
        backlinks: Vec::new(),
    };
    let schema = Schema::new(vec![thing]).expect("the entity keeps the rules");
    schema.entities()[0].clone()
}
