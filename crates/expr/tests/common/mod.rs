//! An entity with a property of every kind that matters here, and records of it.

use reconvene_expr::{check, parse};
use reconvene_model::record::{Table, TableLayout, TableWriter};
use reconvene_model::{
    ConflictPolicy, EntityDef, EntityFlags, EntityId, ObjectId, PropertyDef, PropertyFlags, PropertyId,
    PropertyType, Schema, Uid, Value,
};

/// The entity of the guide.
pub(crate) fn task() -> EntityDef {
    use PropertyType as T;
    entity(&[
        ("done", T::Bool, PropertyFlags::NONE),
        ("stars", T::Int, PropertyFlags::NONE),
        ("title", T::String, PropertyFlags::NONE),
        ("weight", T::Double, PropertyFlags::NONE),
        ("due by", T::Date, PropertyFlags::NONE),
        ("in", T::Bool, PropertyFlags::NONE),
    ])
}

/// An entity "Task" with an id and these properties, in slots 1 and up.
pub(crate) fn entity(properties: &[(&str, PropertyType, PropertyFlags)]) -> EntityDef {
    let id = ("id", PropertyType::Long, PropertyFlags::ID);
    let properties: Vec<PropertyDef> = std::iter::once(&id)
        .chain(properties)
        .zip(1..)
        .map(|(&(name, ty, flags), number)| PropertyDef {
            id: PropertyId(number),
            uid: Uid(100 + u64::from(number)),
            name: name.to_owned(),
            ty,
            flags,
            index: None,
            relation_target: (ty == PropertyType::Relation).then(|| "Task".to_owned()),
            merge: Default::default(),
        })
        .collect();
    let task = EntityDef {
        id: EntityId(1),
        uid: Uid(1),
        name: "Task".to_owned(),
        flags: EntityFlags::NONE,
        conflict: ConflictPolicy::Property,
        last_property_id: PropertyId(properties.len() as u32),
        properties,
        relations: Vec::new(),
        backlinks: Vec::new(),
    };
    let schema = Schema::new(vec![task]).expect("the schema is valid");
    schema.entities()[0].clone()
}

/// The table of an object whose properties have these values, in order, the rest being null.
pub(crate) fn table(entity: &EntityDef, values: &[Value]) -> Vec<u8> {
    let layout = TableLayout::new(entity);
    let mut writer = TableWriter::new(&layout);
    for (property, value) in entity.stored_properties().zip(values) {
        writer.set_value(property.slot(), value).expect("the value fits the property");
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    bytes
}

/// Whether the object meets the expression.
pub(crate) fn meets(entity: &EntityDef, text: &str, id: ObjectId, values: &[Value]) -> bool {
    let expr = parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)));
    let predicate = check(&expr, entity).unwrap_or_else(|error| panic!("{}", error.render(text)));
    let bytes = table(entity, values);
    let table = Table::parse(&bytes).expect("a written table is whole");
    predicate.matches(id, &table).expect("a written table is readable")
}
