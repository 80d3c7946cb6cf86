//! Versions of structs after each other: renames, former names that are taken again, what is dropped and what stays.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use reconvene_model::evolve::{
    EntityDescription, PropertyDescription, Retired, evolve, evolve_with, name_uid,
};
use reconvene_model::schema::SchemaError;
use reconvene_model::{
    ConflictPolicy, EntityFlags, EntityId, IndexId, PropertyFlags, PropertyType, Schema, Uid,
};

fn field(name: &str) -> PropertyDescription {
    PropertyDescription {
        name: name.into(),
        uid: None,
        was: None,
        ty: PropertyType::String,
        flags: PropertyFlags::NONE,
        relation_target: None,
        merge: Default::default(),
    }
}

fn renamed(name: &str, was: &str) -> PropertyDescription {
    PropertyDescription { was: Some(was.into()), ..field(name) }
}

fn fixed(name: &str, uid: u64) -> PropertyDescription {
    PropertyDescription { uid: Some(Uid(uid)), ..field(name) }
}

fn link(name: &str, target: &str) -> PropertyDescription {
    PropertyDescription { ty: PropertyType::Relation, relation_target: Some(target.into()), ..field(name) }
}

fn described(name: &str, fields: Vec<PropertyDescription>) -> EntityDescription {
    let mut properties =
        vec![PropertyDescription { ty: PropertyType::Long, flags: PropertyFlags::ID, ..field("id") }];
    properties.extend(fields);
    EntityDescription {
        name: name.into(),
        uid: None,
        was: None,
        flags: EntityFlags::SYNC_ENABLED,
        conflict: ConflictPolicy::Property,
        properties,
        relations: Vec::new(),
        backlinks: Vec::new(),
    }
}

/// Name and uid of the properties beside the id.
fn names(schema: &Schema) -> Vec<(String, Uid)> {
    let properties = schema.entity_by_name("Task").unwrap().stored_properties();
    properties.map(|property| (property.name.clone(), property.uid)).collect()
}

/// Opens with one version of a struct after the other, each twice: the second time must change nothing.
fn versions(first: Schema, versions: &[Vec<PropertyDescription>]) -> Result<Schema, SchemaError> {
    versions.iter().try_fold(first, |schema, fields| {
        let wanted = [described("Task", fields.clone())];
        let once = evolve(&schema, &wanted)?;
        assert_eq!(evolve(&once, &wanted)?, once, "opening again changes nothing");
        Ok(once)
    })
}

/// A stored entity whose uids do not follow from names, as model files of other tools have them.
fn from_a_file() -> Schema {
    versions(Schema::default(), &[vec![fixed("a", 70), fixed("b", 71)]]).unwrap()
}

#[test]
fn a_former_name_that_is_taken_again_does_not_undo_the_rename() {
    let derived = versions(Schema::default(), &[vec![field("a")]]).unwrap();
    let again =
        versions(derived, &[vec![renamed("b", "a")], vec![renamed("b", "a"), fixed("a", 7)]]).unwrap();
    assert_eq!(names(&again), [("b".into(), name_uid("Task.a")), ("a".into(), Uid(7))]);

    let file = versions(Schema::default(), &[vec![fixed("a", 70)], vec![renamed("b", "a")]]).unwrap();
    for newcomer in [fixed("a", 7), field("a")] {
        let again = versions(file.clone(), &[vec![renamed("b", "a"), newcomer]]).unwrap();
        assert_eq!(names(&again)[0], ("b".into(), Uid(70)));
        assert_ne!(names(&again)[1].1, Uid(70));
    }
}

#[test]
fn a_rename_to_the_name_of_what_is_dropped_takes_the_data_along() {
    let wanted = [described("Task", vec![renamed("b", "a")])];
    let schema = evolve(&from_a_file(), &wanted).unwrap();
    assert_eq!(names(&schema), [("b".into(), Uid(70))]);
    assert_eq!(evolve(&schema, &wanted).unwrap(), schema);
}

#[test]
fn names_that_are_exchanged_are_told_by_uid() {
    let exchanged = [described("Task", vec![renamed("a", "b"), renamed("b", "a")])];
    let error = evolve(&from_a_file(), &exchanged).unwrap_err().to_string();
    assert!(error.contains("Task.a") && error.contains("by uid"), "{error}");
    let schema = versions(from_a_file(), &[vec![fixed("b", 70), fixed("a", 71)]]).unwrap();
    assert_eq!(names(&schema), [("b".into(), Uid(70)), ("a".into(), Uid(71))]);
    // Where uids follow from names, former names are enough.
    let derived = versions(Schema::default(), &[vec![field("a"), field("b")]]).unwrap();
    let schema = versions(derived, &[vec![renamed("a", "b"), renamed("b", "a")]]).unwrap();
    assert_eq!(names(&schema), [("b".into(), name_uid("Task.a")), ("a".into(), name_uid("Task.b"))]);
}

#[test]
fn two_fields_of_one_identity_are_refused() {
    let derived = versions(Schema::default(), &[vec![field("a")]]).unwrap();
    let error = versions(derived, &[vec![renamed("b", "a"), field("a")]]).unwrap_err().to_string();
    assert!(error.contains("Task.") && error.contains("give one a new uid"), "{error}");
}

#[test]
fn two_structs_of_one_identity_are_refused() {
    let other = EntityDescription { uid: Some(name_uid("Task")), ..described("Chore", vec![]) };
    let error = evolve(&Schema::default(), &[described("Task", vec![]), other]).unwrap_err().to_string();
    assert!(error.contains("Chore: it is described twice, also as Task"), "{error}");
    let error = evolve(&Schema::default(), &[described("Task", vec![]), described("Task", vec![field("a")])]);
    assert!(error.unwrap_err().to_string().contains("described twice"));
    let twice = [described("Task", vec![]), described("Task", vec![])];
    assert_eq!(evolve(&Schema::default(), &twice).unwrap(), evolve(&Schema::default(), &twice[..1]).unwrap());
}

#[test]
fn links_follow_an_entity_to_its_new_name() {
    let stored = evolve(
        &Schema::default(),
        &[described("Task", vec![link("project", "Project")]), described("Project", vec![])],
    )
    .unwrap();
    let project = EntityDescription { was: Some("Project".into()), ..described("Plan", vec![]) };
    let schema = evolve(&stored, &[project]).unwrap();
    let task = schema.entity_by_name("Task").unwrap();
    assert_eq!(task.property("project").unwrap().relation_target.as_deref(), Some("Plan"));
    assert_eq!(schema.entity_by_name("Plan").unwrap().uid, name_uid("Project"));
}

#[test]
fn what_is_not_described_stays() {
    let stored = evolve(
        &Schema::default(),
        &[described("Task", vec![field("a")]), described("Note", vec![field("b")])],
    )
    .unwrap();
    let schema = evolve(&stored, &[described("Note", vec![field("b"), field("c")])]).unwrap();
    assert_eq!(schema.entity_by_name("Task"), stored.entity_by_name("Task"));
    assert_eq!(schema.entity_by_name("Note").unwrap().id, EntityId(2));
    assert_eq!(evolve(&schema, &[]).unwrap(), schema);
}

#[test]
fn dropped_identities_are_collected() {
    let mut indexed = field("a");
    indexed.flags = PropertyFlags::UNIQUE;
    let mut retired = Retired::default();
    let first = evolve_with(&Schema::default(), &[described("Task", vec![indexed])], &mut retired).unwrap();
    assert_eq!(retired.uids, []);
    let index = first.entities()[0].property("a").unwrap().index.unwrap();
    let second = evolve_with(&first, &[described("Task", vec![])], &mut retired).unwrap();
    assert_eq!(retired.uids, [name_uid("Task.a"), index.uid]);
    assert_eq!((retired.last_entity, retired.last_index), (EntityId(1), IndexId(1)));
    let error = evolve_with(&second, &[described("Task", vec![field("a")])], &mut retired).unwrap_err();
    assert!(
        error.to_string().contains("Task.a: its uid") && error.to_string().contains("was retired"),
        "{error}"
    );
}

#[test]
fn uids_of_names_are_what_they_always_were() {
    // Devices that never met agree on these numbers; they never change.
    assert_eq!(name_uid("Task"), Uid(TASK));
    assert_eq!(name_uid("Task.done"), Uid(TASK_DONE));
}

const TASK: u64 = 4_508_223_974_720_908_754;
const TASK_DONE: u64 = 3_897_304_413_278_273_902;
