//! Schemas: every rule refuses with the place and a remedy, and the hashes tell versions apart.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use reconvene_model::schema::{ENTITIES_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, RelationDef, SchemaError};
use reconvene_model::{
    ConflictPolicy, EntityDef, EntityFlags, EntityId, IndexDef, IndexId, PropertyDef, PropertyFlags,
    PropertyId, PropertyType, Schema, Uid,
};

fn property(id: u32, uid: u64, name: &str, ty: PropertyType) -> PropertyDef {
    PropertyDef {
        id: PropertyId(id),
        uid: Uid(uid),
        name: name.into(),
        ty,
        flags: PropertyFlags::NONE,
        index: None,
        relation_target: None,
        merge: Default::default(),
    }
}

fn entity(id: u32, name: &str, properties: Vec<PropertyDef>) -> EntityDef {
    let uid = 1_000 * u64::from(id);
    let mut all =
        vec![PropertyDef { flags: PropertyFlags::ID, ..property(1, uid + 1, "id", PropertyType::Long) }];
    all.extend(properties);
    EntityDef {
        id: EntityId(id),
        uid: Uid(uid),
        name: name.into(),
        flags: EntityFlags::SYNC_ENABLED,
        conflict: ConflictPolicy::Property,
        last_property_id: all.iter().map(|property| property.id).max().unwrap(),
        properties: all,
        relations: Vec::new(),
        backlinks: Vec::new(),
    }
}

/// Two entities with an index, a link and a many-to-many relation; the second is local.
fn valid() -> Vec<EntityDef> {
    let title = PropertyDef {
        flags: PropertyFlags::INDEXED,
        index: Some(IndexDef { id: IndexId(1), uid: Uid(1_500) }),
        ..property(2, 1_002, "title", PropertyType::String)
    };
    let project = PropertyDef {
        relation_target: Some("Task".into()),
        ..property(3, 1_003, "parent", PropertyType::Relation)
    };
    let mut task = entity(1, "Task", vec![title, project]);
    task.relations.push(RelationDef {
        id: 1,
        uid: Uid(1_600),
        name: "after".into(),
        target: Uid(1_000),
        owned: false,
    });
    let mut draft = entity(2, "Draft", vec![property(2, 2_002, "text", PropertyType::String)]);
    draft.flags = EntityFlags::NONE;
    vec![task, draft]
}

/// The error of the valid schema after a change.
fn refusal(change: impl FnOnce(&mut Vec<EntityDef>)) -> (String, String) {
    let mut entities = valid();
    change(&mut entities);
    match Schema::new(entities) {
        Err(SchemaError::Invalid { place, what }) => (place, what),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_schema_that_the_rules_are_tried_on_is_valid() {
    let schema = Schema::new(valid()).unwrap();
    assert_eq!(schema.entity(EntityId(2)), schema.entity_by_name("Draft"));
    assert_eq!(schema.entity_by_uid(Uid(1_000)), schema.entity_by_name("Task"));
    assert_eq!(schema.entity_by_name("Task").unwrap().slots(), 3);
}

#[test]
fn entities_and_properties_are_put_in_order() {
    let mut entities = valid();
    entities.reverse();
    entities[1].properties.reverse();
    assert_eq!(Schema::new(entities).unwrap(), Schema::new(valid()).unwrap());
}

/// A change to the valid schema, and the place, the complaint and the remedy that it leads to.
type Case = (fn(&mut Vec<EntityDef>), &'static str, &'static str, &'static str);

fn title(entities: &mut [EntityDef]) -> &mut PropertyDef {
    &mut entities[0].properties[1]
}

fn flag(entities: &mut [EntityDef], flag: PropertyFlags) {
    let title = title(entities);
    title.flags = title.flags.with(flag);
}

/// Adds whole numbers with a flag to the task.
fn numbers(entities: &mut [EntityDef], flags: PropertyFlags, count: u32, conflict: ConflictPolicy) {
    let task = &mut entities[0];
    task.conflict = conflict;
    for id in 8..8 + count {
        let number = property(id, 1_000 + u64::from(id), &format!("n{id}"), PropertyType::Long);
        task.properties.push(PropertyDef { flags, ..number });
    }
    task.last_property_id = PropertyId(7 + count);
}

#[test]
fn every_rule_names_the_place_and_the_remedy() {
    let cases: &[Case] = &[
        // Entities.
        (|e| e[0].id = EntityId(0), "Task", "its id is 0", "give it the next free one"),
        (|e| e[0].id = EntityId(2), "Draft", "another entity has its id", "next free id"),
        (|e| e[1].name = "Task".into(), "Task", "two entities of this name", "rename one"),
        (|e| e[0].name.clear(), "an entity", "is empty", "choose another"),
        (
            |e| e[0].name = "x".repeat(NAME_BYTES_MAX + 1),
            "an entity",
            "longer than 256 bytes",
            "choose another",
        ),
        (|e| e[0].name = "Ta\nsk".into(), "an entity", "control characters", "choose another"),
        (|e| e[0].uid = Uid(0), "Task", "its uid is 0", "give it a random number"),
        (|e| e[1].uid = Uid(1_500), "Draft", "has its uid", "give one a new uid"),
        (
            |e| e[1].flags = EntityFlags::SHARED_GLOBAL_IDS,
            "Draft",
            "shared ids are for synced",
            "mark it synced",
        ),
        (
            |e| {
                e[0].flags = e[0].flags.with(EntityFlags::SHARED_GLOBAL_IDS);
                e[0].properties[0].flags = PropertyFlags::ID.with(PropertyFlags::ID_MONOTONIC_SEQUENCE);
            },
            "Task",
            "the application chooses ids",
            "take the flag ID_MONOTONIC_SEQUENCE (64)",
        ),
        // Ids.
        (|e| drop(e[0].properties.remove(0)), "Task", "it has no id", "give one property"),
        (
            |e| {
                e[1].properties[1].ty = PropertyType::Long;
                e[1].properties[1].flags = PropertyFlags::ID;
            },
            "Draft",
            "more than one id",
            "all but one",
        ),
        (
            |e| e[0].properties[0].ty = PropertyType::Int,
            "Task.id",
            "an id is of type Long",
            "change its type",
        ),
        (
            |e| e[0].properties[0].index = Some(IndexDef { id: IndexId(2), uid: Uid(9) }),
            "Task.id",
            "needs no index",
            "take the index away",
        ),
        // Properties.
        (|e| title(e).id = PropertyId(0), "Task.title", "its id is 0", "move properties to a new entity"),
        (
            |e| {
                title(e).id = PropertyId(2_001);
                e[0].last_property_id = PropertyId(2_001);
            },
            "Task.title",
            "ids go from 1 to 2000",
            "move properties to a new entity",
        ),
        (
            |e| title(e).id = PropertyId(9),
            "Task.title",
            "larger than the entity's lastPropertyId",
            "raise that one",
        ),
        (
            |e| title(e).id = PropertyId(1),
            "Task.title",
            "another property of the entity has its id",
            "next free id",
        ),
        (|e| title(e).name = "id".into(), "Task.id", "two properties of this name", "rename one"),
        (|e| title(e).name.clear(), "Task", "is empty", "choose another"),
        (|e| title(e).uid = Uid(0), "Task.title", "its uid is 0", "give it a random number"),
        (|e| title(e).uid = Uid(1_003), "Task.parent", "has its uid", "give one a new uid"),
        (|e| e[1].properties[1].uid = Uid(1_002), "Draft.text", "has its uid", "give one a new uid"),
        // Indexes.
        (|e| title(e).index = None, "Task.title", "has no index id", "indexId"),
        (
            |e| e[1].properties[1].flags = PropertyFlags::UNIQUE,
            "Draft.text",
            "has no index id",
            "give it the next free one",
        ),
        (
            |e| title(e).index = Some(IndexDef { id: IndexId(0), uid: Uid(9) }),
            "Task.title",
            "index id 0 is 0 or belongs",
            "next free one",
        ),
        (
            |e| e[1].properties[1].index = Some(IndexDef { id: IndexId(1), uid: Uid(9) }),
            "Draft.text",
            "belongs to another property",
            "next free one",
        ),
        (
            |e| title(e).index = Some(IndexDef { id: IndexId(1), uid: Uid(1_001) }),
            "Task.title",
            "has its uid",
            "give one a new uid",
        ),
        // Flags and types.
        (
            |e| {
                flag(e, PropertyFlags::UNIQUE);
                title(e).ty = PropertyType::Flex;
            },
            "Task.title",
            "cannot be unique",
            "take the flag UNIQUE (32) away",
        ),
        (
            |e| {
                flag(e, PropertyFlags::UNIQUE);
                title(e).ty = PropertyType::FloatVector;
            },
            "Task.title",
            "cannot be unique",
            "take the flag UNIQUE (32) away",
        ),
        (
            |e| flag(e, PropertyFlags::UNIQUE_ON_CONFLICT_REPLACE),
            "Task.title",
            "is not unique",
            "add the flag UNIQUE",
        ),
        (
            |e| flag(e, PropertyFlags::ID_SELF_ASSIGNABLE),
            "Task.title",
            "is no id",
            "take the flags 64 and 128 away",
        ),
        (
            |e| flag(e, PropertyFlags::ID_MONOTONIC_SEQUENCE),
            "Task.title",
            "is no id",
            "take the flags 64 and 128 away",
        ),
        (
            |e| flag(e, PropertyFlags::UNSIGNED),
            "Task.title",
            "only whole numbers are unsigned",
            "take the flag UNSIGNED",
        ),
        (|e| flag(e, PropertyFlags::SYNC_CLOCK), "Task.title", "of type Long", "change its type"),
        (
            |e| flag(e, PropertyFlags::SYNC_PRECEDENCE),
            "Task.title",
            "Byte, Short, Int or Long",
            "change its type",
        ),
        (
            |e| e[0].conflict = ConflictPolicy::Precedence,
            "Task",
            "no property holds one",
            "the flag SYNC_PRECEDENCE",
        ),
        (
            |e| numbers(e, PropertyFlags::SYNC_PRECEDENCE, 1, ConflictPolicy::Arrival),
            "Task.n8",
            "conflict policy of the entity is arrival",
            "leave the policy out",
        ),
        (
            |e| numbers(e, PropertyFlags::SYNC_PRECEDENCE, 2, ConflictPolicy::Precedence),
            "Task.n9",
            "two precedences",
            "away from one",
        ),
        (
            |e| numbers(e, PropertyFlags::SYNC_CLOCK, 2, ConflictPolicy::Object),
            "Task.n9",
            "two sync clocks",
            "away from one",
        ),
        (
            |e| flag(e, PropertyFlags::EXPIRATION_TIME),
            "Task.title",
            "of type Date or DateNano",
            "change its type",
        ),
        // Links.
        (
            |e| e[0].properties[2].relation_target = Some("Plan".into()),
            "Task.parent",
            "it links to Plan, which is not in the schema",
            "add that entity",
        ),
        (
            |e| e[0].properties[2].relation_target = None,
            "Task.parent",
            "names the entity",
            "set relationTarget",
        ),
        (
            |e| title(e).relation_target = Some("Task".into()),
            "Task.title",
            "only a property of type Relation",
            "take relationTarget away",
        ),
        (|e| e[0].relations[0].target = Uid(3_000), "Task.after", "is not in the schema", "add it"),
        (|e| e[0].relations[0].name.clear(), "Task", "is empty", "choose another"),
        (|e| e[0].relations[0].uid = Uid(1_001), "Task.after", "has its uid", "give one a new uid"),
        (|e| e[0].relations[0].id = 0, "Task.after", "relation id 0 is 0", "next free one"),
        (
            |e| {
                let other = RelationDef { uid: Uid(9), name: "with".into(), ..e[0].relations[0].clone() };
                e[1].relations.push(other);
            },
            "Draft.with",
            "relation id 1 is 0 or belongs to another one",
            "next free one",
        ),
        (
            |e| {
                let other = RelationDef { id: 2, uid: Uid(9), ..e[0].relations[0].clone() };
                e[0].relations.push(other);
            },
            "Task.after",
            "two relations of this name",
            "rename one",
        ),
    ];
    for &(change, place, complaint, remedy) in cases {
        let (found, what) = refusal(change);
        assert_eq!(found, place, "{what}");
        assert!(what.contains(complaint) && what.contains(remedy), "{complaint}, {remedy}: {what}");
    }
}

#[test]
fn sizes_have_limits() {
    let (place, what) = refusal(|entities| {
        let last = u32::try_from(ENTITIES_MAX).unwrap() + 1;
        *entities = (1..=last).map(|id| entity(id, &format!("E{id}"), vec![])).collect();
    });
    assert_eq!(place, "the schema");
    assert!(what.contains("1001 entities; at most 1000"), "{what}");
    let (place, what) = refusal(|entities| {
        let last = u32::try_from(PROPERTIES_MAX).unwrap() + 1;
        let properties =
            (2..=last).map(|id| property(id, 10_000 + u64::from(id), &format!("p{id}"), PropertyType::Int));
        entities[1] = entity(2, "Wide", properties.collect());
    });
    assert_eq!(place, "Wide");
    assert!(what.contains("2001 properties; at most 2000"), "{what}");
}

#[test]
fn flags_that_fit_are_taken() {
    let mut entities = valid();
    numbers(&mut entities, PropertyFlags::SYNC_PRECEDENCE, 1, ConflictPolicy::Precedence);
    assert!(Schema::new(entities).is_ok());
    let mut entities = valid();
    numbers(&mut entities, PropertyFlags::SYNC_CLOCK, 1, ConflictPolicy::Property);
    assert!(entities[0].is_put_whole(), "a clock implies it");
    assert!(Schema::new(entities).is_ok());
    let kinds: [(PropertyFlags, PropertyType); 6] = [
        (PropertyFlags::UNSIGNED, PropertyType::Byte),
        (PropertyFlags::UNSIGNED, PropertyType::Relation),
        (PropertyFlags::UNSIGNED, PropertyType::ByteVector),
        (PropertyFlags::SYNC_CLOCK, PropertyType::Long),
        (PropertyFlags::EXPIRATION_TIME, PropertyType::DateNano),
        (PropertyFlags(1 << 30), PropertyType::Flex),
    ];
    for (flags, ty) in kinds {
        let mut entities = valid();
        let relation_target = (ty == PropertyType::Relation).then(|| "Task".to_owned());
        entities[1].properties[1] = PropertyDef { flags, relation_target, ..property(2, 2_002, "text", ty) };
        assert!(Schema::new(entities).is_ok(), "{flags:?} {ty}");
    }
}

/// Which of the two hashes change: base, full.
fn hashes_change(change: fn(&mut Vec<EntityDef>)) -> (bool, bool) {
    let before = Schema::new(valid()).unwrap();
    let mut entities = valid();
    change(&mut entities);
    let after = Schema::new(entities).unwrap();
    (before.base_hash() != after.base_hash(), before.full_hash() != after.full_hash())
}

#[test]
fn hashes_change_with_what_they_stand_for() {
    let nothing: &[fn(&mut Vec<EntityDef>)] = &[
        |_| (),
        |e| e.reverse(),
        |e| e[0].properties.reverse(),
        |e| e[0].id = EntityId(7),
        |e| e[0].last_property_id = PropertyId(30),
        |e| title(e).index = Some(IndexDef { id: IndexId(8), uid: Uid(9) }),
        |e| {
            title(e).id = PropertyId(4);
            e[0].last_property_id = PropertyId(4);
        },
    ];
    for (at, &change) in nothing.iter().enumerate() {
        assert_eq!(hashes_change(change), (false, false), "numbers and order, {at}");
    }
    let full: &[fn(&mut Vec<EntityDef>)] = &[
        |e| flag(e, PropertyFlags::UNIQUE),
        |e| flag(e, PropertyFlags::NOT_NULL),
        |e| e[0].conflict = ConflictPolicy::Object,
        |e| e[0].conflict = ConflictPolicy::Arrival,
        |e| e[0].flags = e[0].flags.with(EntityFlags::SHARED_GLOBAL_IDS),
        |e| e[1].name = "Sketch".into(),
        |e| drop(e.remove(1)),
        |e| e[1].properties[1].ty = PropertyType::Flex,
    ];
    for (at, &change) in full.iter().enumerate() {
        assert_eq!(hashes_change(change), (false, true), "constraints, policies, local entities, {at}");
    }
    let base: &[fn(&mut Vec<EntityDef>)] = &[
        |e| e[0].uid = Uid(9),
        |e| title(e).name = "text".into(),
        |e| title(e).uid = Uid(9),
        |e| title(e).ty = PropertyType::Flex,
        |e| drop(e[0].properties.remove(2)),
        |e| e[0].properties[2].relation_target = Some("Draft".into()),
        |e| e[1].flags = EntityFlags::SYNC_ENABLED,
        |e| drop(e[0].relations.pop()),
        |e| e[0].relations[0].name = "before".into(),
        |e| e[0].relations[0].target = Uid(2_000),
    ];
    for (at, &change) in base.iter().enumerate() {
        let change = |entities: &mut Vec<EntityDef>| {
            change(entities);
            // The relation of the valid schema names the task by uid.
            let uid = entities[0].uid;
            let known: Vec<Uid> = entities.iter().map(|entity| entity.uid).collect();
            for relation in
                entities[0].relations.iter_mut().filter(|relation| !known.contains(&relation.target))
            {
                relation.target = uid;
            }
        };
        let mut entities = valid();
        change(&mut entities);
        let (before, after) = (Schema::new(valid()).unwrap(), Schema::new(entities).unwrap());
        assert_ne!(before.base_hash(), after.base_hash(), "{at}");
        assert_ne!(before.full_hash(), after.full_hash(), "{at}");
    }
}

/// A name that ends where another begins must not look like the two names exchanged.
#[test]
fn hashes_tell_names_apart_that_join_to_the_same_text() {
    let named = |first: &str, second: &str| {
        let properties = vec![
            property(2, 1_002, first, PropertyType::String),
            property(3, 1_003, second, PropertyType::String),
        ];
        Schema::new(vec![entity(1, "Task", properties)]).unwrap().base_hash()
    };
    assert_ne!(named("ab", "c"), named("a", "bc"));
}
