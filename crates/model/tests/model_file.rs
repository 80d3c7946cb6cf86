//! Model files: the files under `fixtures/models` to the last byte, evolving, refusals with place and remedy, and any text.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use reconvene_model::evolve::{
    BacklinkDescription, EntityDescription, PropertyDescription, RelationDescription, name_uid,
};
use reconvene_model::model_file::{MODEL_FILE_BYTES_MAX, ModelFile, ModelFileError};
use reconvene_model::{
    ConflictPolicy, EntityFlags, IndexId, PropertyFlags, PropertyId, PropertyType, Schema, Uid,
};

const FIXTURES: [&str; 3] = ["garden.json", "workshop.json", "written.json"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn garden() -> ModelFile {
    ModelFile::parse(&text("garden.json")).unwrap()
}

#[test]
fn files_are_written_as_they_were_read() {
    for name in FIXTURES {
        let text = text(name);
        assert_eq!(ModelFile::parse(&text).unwrap().to_json(), text, "{name}");
    }
}

/// Files of other tools, where a folder with examples lies beside the project.
#[test]
fn files_of_other_tools_are_written_as_they_were_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models");
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let model = ModelFile::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(model.to_json(), text, "{}", path.display());
        let again = ModelFile::from_schema(model.schema());
        assert_eq!(
            ModelFile::parse(&again.to_json()).unwrap().schema(),
            model.schema(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_schema_is_what_the_file_says() {
    let model = garden();
    let schema = model.schema();
    let task = schema.entity_by_name("Task").unwrap();
    assert_eq!((task.id.0, task.uid, task.last_property_id), (1, Uid(100), PropertyId(7)));
    assert_eq!(task.conflict, ConflictPolicy::Object);
    assert!(task.is_synced() && !task.has_shared_ids());
    let project = task.property("project").unwrap();
    assert_eq!(project.ty, PropertyType::Relation);
    assert_eq!(project.relation_target.as_deref(), Some("Project"));
    assert_eq!(project.index.map(|index| (index.id, index.uid)), Some((IndexId(4), Uid(112))));
    let helpers = &task.relations[0];
    assert_eq!((helpers.id, helpers.uid, helpers.target), (2, Uid(150), Uid(300)));
    assert!(schema.entity_by_uid(Uid(300)).unwrap().has_shared_ids());
    assert_eq!(schema.entity_by_name("Project").unwrap().conflict, ConflictPolicy::Property);
    let workshop = ModelFile::parse(&text("workshop.json")).unwrap();
    let lathe = workshop.schema().entity_by_name("Lathe").unwrap();
    assert_eq!(lathe.conflict, ConflictPolicy::Object, "a visible clock implies it");
    assert_eq!(lathe.properties.iter().map(|p| p.id.0).collect::<Vec<_>>(), [3, 4, 12]);
    assert_eq!(lathe.property_by_uid(Uid(6_050_128_673_802_995_827)).unwrap().flags, PropertyFlags(1 << 30));
}

fn property(name: &str, ty: PropertyType, flags: PropertyFlags) -> PropertyDescription {
    let merge = Default::default();
    PropertyDescription { name: name.into(), uid: None, was: None, ty, flags, relation_target: None, merge }
}

fn entity(name: &str, properties: Vec<PropertyDescription>) -> EntityDescription {
    let mut all = vec![property("id", PropertyType::Long, PropertyFlags::ID)];
    all.extend(properties);
    EntityDescription {
        name: name.into(),
        uid: None,
        was: None,
        flags: EntityFlags::SYNC_ENABLED,
        conflict: ConflictPolicy::Property,
        properties: all,
        relations: Vec::new(),
        backlinks: Vec::new(),
    }
}

/// The task of the garden, as a struct would describe it.
fn task() -> EntityDescription {
    let mut link = property(
        "project",
        PropertyType::Relation,
        PropertyFlags::INDEXED.with(PropertyFlags::INDEX_PARTIAL_SKIP_ZERO),
    );
    link.relation_target = Some("Project".into());
    let title =
        property("title", PropertyType::String, PropertyFlags::INDEXED.with(PropertyFlags::INDEX_HASH));
    let properties = vec![
        title,
        property("done", PropertyType::Bool, PropertyFlags::NONE),
        link,
        property("due", PropertyType::Date, PropertyFlags::NONE),
    ];
    let helpers = RelationDescription {
        name: "helpers".into(),
        uid: None,
        was: None,
        target: "Person".into(),
        owned: false,
    };
    EntityDescription {
        conflict: ConflictPolicy::Object,
        relations: vec![helpers],
        ..entity("Task", properties)
    }
}

/// Two versions of structs: a mood that goes, a place that comes, a name that changes.
fn written() -> ModelFile {
    let first = [EntityDescription {
        flags: EntityFlags::NONE,
        ..entity(
            "Visit",
            vec![
                property("mood", PropertyType::Byte, PropertyFlags::INDEXED),
                property("at", PropertyType::DateNano, PropertyFlags::NOT_NULL),
            ],
        )
    }];
    let mut at = property("since", PropertyType::DateNano, PropertyFlags::NOT_NULL);
    at.was = Some("at".into());
    let mut place = property("place", PropertyType::Relation, PropertyFlags::INDEXED);
    place.relation_target = Some("Place".into());
    let second = [
        EntityDescription { flags: EntityFlags::NONE, ..entity("Visit", vec![at, place]) },
        EntityDescription {
            conflict: ConflictPolicy::Object,
            ..entity("Place", vec![property("name", PropertyType::String, PropertyFlags::UNIQUE)])
        },
    ];
    let empty = ModelFile::from_schema(&Schema::default());
    empty.evolve_with(&first).unwrap().evolve_with(&second).unwrap()
}

#[test]
fn what_is_written_for_structs_is_what_it_was() {
    let json = written().to_json();
    if std::env::var_os("RECONVENE_WRITE_FIXTURES").is_some() {
        std::fs::write(path("written.json"), &json).unwrap();
    }
    assert_eq!(text("written.json"), json, "written.json is not what this release writes");
}

#[test]
fn structs_as_the_file_says_change_nothing() {
    let model = garden();
    assert_eq!(model.evolve_with(&[task()]).unwrap(), model);
    assert_eq!(model.evolve_with(&[task(), task()]).unwrap(), model, "registering twice is registering once");
    let written = written();
    assert_eq!(written.evolve_with(&[]).unwrap(), written);
}

#[test]
fn what_evolves_can_be_read_again() {
    for model in [garden(), written()] {
        let mut wanted = task();
        wanted.properties.remove(1);
        wanted.properties.retain(|property| property.name != "project");
        wanted.properties.push(property("notes", PropertyType::StringVector, PropertyFlags::NONE));
        if model.schema().entity_by_name("Person").is_none() {
            wanted.relations.clear();
        }
        let next = model.evolve_with(&[wanted]).unwrap();
        assert_eq!(ModelFile::parse(&next.to_json()).unwrap(), next);
    }
}

/// The lines that differ, in order: `-` for those that are gone, `+` for those that came.
fn changes(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    // The longest common subsequence; files of tests are short.
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            longest[a][b] = match old[a] == new[b] {
                true => longest[a + 1][b + 1] + 1,
                false => longest[a + 1][b].max(longest[a][b + 1]),
            };
        }
    }
    let (mut a, mut b, mut found) = (0, 0, Vec::new());
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            (a, b) = (a + 1, b + 1);
        } else if b == new.len() || (a < old.len() && longest[a + 1][b] >= longest[a][b + 1]) {
            found.push(format!("- {}", old[a].trim()));
            a += 1;
        } else {
            found.push(format!("+ {}", new[b].trim()));
            b += 1;
        }
    }
    found
}

#[test]
fn only_what_changes_is_written_anew() {
    let mut renamed = task();
    renamed.properties[1].name = "text".into();
    renamed.properties[1].was = Some("title".into());
    renamed.properties[2].flags = PropertyFlags::NOT_NULL;
    renamed.conflict = ConflictPolicy::Property;
    let next = garden().evolve_with(&[renamed.clone()]).unwrap();
    assert_eq!(
        changes(&garden().to_json(), &next.to_json()),
        [
            "- \"conflict\": \"object\",",
            "+ \"conflict\": \"property\",",
            "- \"name\": \"title\",",
            "+ \"name\": \"text\",",
            "- \"type\": 1",
            "+ \"type\": 1,",
            "+ \"flags\": 4",
        ]
    );
    assert_eq!(
        next.evolve_with(&[renamed]).unwrap(),
        next,
        "the rename is described for as long as it likes"
    );
}

#[test]
fn relations_and_backlinks_come_change_and_go() {
    let mut wanted = task();
    wanted.relations[0].owned = true;
    wanted.relations.push(RelationDescription {
        name: "after".into(),
        target: "Task".into(),
        owned: false,
        ..wanted.relations[0].clone()
    });
    wanted.properties.push(PropertyDescription {
        relation_target: Some("Task".into()),
        ..property("parent", PropertyType::Relation, PropertyFlags::NONE)
    });
    let backlink = |name: &str, to: &str, owned| BacklinkDescription {
        name: name.into(),
        source: "Task".into(),
        to: to.into(),
        owned,
    };
    wanted.backlinks = vec![backlink("parts", "parent", true), backlink("before", "after", false)];
    let next = garden().evolve_with(&[wanted.clone()]).unwrap();
    assert_eq!(ModelFile::parse(&next.to_json()).unwrap(), next);
    assert_eq!(next.evolve_with(&[wanted.clone()]).unwrap(), next, "opening again changes nothing");
    let json: serde_json::Value = serde_json::from_str(&next.to_json()).unwrap();
    let (parent, after) = (name_uid("Task.parent"), name_uid("Task.after"));
    assert_eq!(json["lastRelationId"], format!("3:{after}"));
    let task = &json["entities"][0];
    assert_eq!(task["relations"][0]["owned"], true);
    assert_eq!(
        task["relations"][1],
        serde_json::json!({ "id": format!("3:{after}"), "name": "after", "targetId": "1:100" })
    );
    assert_eq!(
        task["backlinks"],
        serde_json::json!([
            { "name": "parts", "entityId": "1:100", "propertyId": format!("8:{parent}"), "owned": true },
            { "name": "before", "entityId": "1:100", "relationId": format!("3:{after}") },
        ])
    );
    let parent = next.schema().entity_by_name("Task").unwrap().property("parent").unwrap();
    assert!(parent.flags.has(PropertyFlags::INDEXED) && parent.index.is_some(), "for the backlink");

    wanted.relations.remove(0);
    wanted.backlinks.remove(0);
    let last = next.evolve_with(&[wanted]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&last.to_json()).unwrap();
    assert_eq!(json["retiredRelationUids"], serde_json::json!([149, 150]));
    let task = last.schema().entity_by_name("Task").unwrap();
    assert_eq!((task.relations.len(), task.backlinks.len()), (1, 1));
    assert_eq!(task.property("parent").unwrap().index, None);
}

#[test]
fn what_is_dropped_is_retired_and_numbers_advance() {
    let mut wanted = task();
    wanted.properties.retain(|property| property.name != "project");
    wanted.properties.retain(|property| property.name != "due");
    wanted.properties[1].flags = PropertyFlags::NONE;
    wanted.properties.push(property("place", PropertyType::String, PropertyFlags::INDEXED));
    let next = garden().evolve_with(&[wanted, entity("Tool", vec![])]).unwrap();
    let (task, tool) =
        (next.schema().entity_by_name("Task").unwrap(), next.schema().entity_by_name("Tool").unwrap());
    let place = task.property("place").unwrap();
    assert_eq!(place.id, PropertyId(8), "7 was used by a property that is gone");
    assert_eq!(place.index.unwrap().id, IndexId(6), "5 was used by an index that is gone");
    assert_eq!(tool.id.0, 5, "4 was used by an entity that is gone");
    let json: serde_json::Value = serde_json::from_str(&next.to_json()).unwrap();
    assert_eq!(json["lastEntityId"], format!("5:{}", name_uid("Tool")));
    assert_eq!(json["lastIndexId"], format!("6:{}", place.index.unwrap().uid));
    assert_eq!(json["entities"][0]["lastPropertyId"], format!("8:{}", name_uid("Task.place")));
    assert_eq!(json["retiredIndexUids"], serde_json::json!([511, 111, 112]));
    assert_eq!(json["retiredPropertyUids"], serde_json::json!([104, 105, 402, 103, 107]));
    assert_eq!(json["retiredEntityUids"], serde_json::json!([400]));
}

#[test]
fn retired_uids_are_never_used_again() {
    let mut wanted = task();
    wanted.properties.push(property("tags", PropertyType::StringVector, PropertyFlags::NONE));
    for (list, uid) in [("retiredPropertyUids", 104), ("retiredIndexUids", 511), ("retiredRelationUids", 149)]
    {
        wanted.properties.last_mut().unwrap().uid = Some(Uid(uid));
        let error = garden().evolve_with(std::slice::from_ref(&wanted)).unwrap_err().to_string();
        assert!(error.contains("Task.tags") && error.contains("was retired"), "{list}: {error}");
    }
    let again = EntityDescription { uid: Some(Uid(400)), ..entity("Shed", vec![]) };
    let error = garden().evolve_with(&[again]).unwrap_err().to_string();
    assert!(error.contains("Shed") && error.contains("was retired"), "{error}");

    // Without a uid as well: the name leads to the identity that is gone.
    let with = |properties| [entity("Note", properties)];
    let text = || property("text", PropertyType::String, PropertyFlags::INDEXED);
    let first = ModelFile::from_schema(&Schema::default()).evolve_with(&with(vec![text()])).unwrap();
    let second = first.evolve_with(&with(vec![])).unwrap();
    let error = ModelFile::parse(&second.to_json()).unwrap().evolve_with(&with(vec![text()])).unwrap_err();
    assert!(error.to_string().contains("Note.text"), "{error}");
    let mut fresh = text();
    fresh.uid = Some(Uid(7));
    let third = second.evolve_with(&with(vec![fresh])).unwrap();
    let indexes = |model: &ModelFile| model.schema().entities()[0].property("text").unwrap().index;
    assert_ne!(indexes(&first).unwrap(), indexes(&third).unwrap());
}

#[test]
fn ids_that_came_to_their_end_are_an_error() {
    let end = u32::MAX;
    let cases = [
        ("\"lastEntityId\": \"4:400\"", format!("\"lastEntityId\": \"{end}:400\""), "Tool"),
        ("\"lastIndexId\": \"5:511\"", format!("\"lastIndexId\": \"{end}:511\""), "Task.place"),
        ("\"lastPropertyId\": \"7:107\"", format!("\"lastPropertyId\": \"{end}:107\""), "Task.place"),
    ];
    for (from, to, place) in cases {
        let model = ModelFile::parse(&text("garden.json").replace(from, &to)).unwrap();
        let mut wanted = task();
        wanted.properties.push(property("place", PropertyType::String, PropertyFlags::INDEXED));
        let error = model.evolve_with(&[wanted, entity("Tool", vec![])]).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains("no number left"), "{error}");
    }
}

/// Each change to the garden is refused with these words: where, and what to do.
#[test]
fn refusals_name_the_place_and_the_remedy() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("\"id\": \"2:101\"", "\"id\": \"2\"", &["Task.title", "id is \"2\"", "8717895732742165505"]),
        ("\"id\": \"2:101\"", "\"id\": \"+2:101\"", &["Task.title", "an id and a uid are expected"]),
        (
            "\"id\": \"2:101\"",
            "\"id\": \"2:99999999999999999999\"",
            &["Task.title", "an id and a uid are expected"],
        ),
        ("\"id\": \"2:101\"", "\"id\": 2", &["Task.title", "id is 2", "quotes"]),
        ("\"id\": \"2:101\"", "\"id\": \"0:101\"", &["Task.title", "ids go from 1"]),
        ("\"id\": \"2:101\"", "\"id\": \"2:0\"", &["Task.title", "its uid is 0"]),
        (
            "\"id\": \"2:101\"",
            "\"id\": \"2:102\"",
            &["Task.done", "something else in the schema has its uid"],
        ),
        (
            "\"id\": \"2:101\"",
            "\"id\": \"3:101\"",
            &["Task.done", "another property of the entity has its id"],
        ),
        ("\"id\": \"2:101\"", "\"id\": \"2:104\"", &["Task.title", "uid 104 is in a list of retired uids"]),
        ("\"indexId\": \"2:111\"", "\"indexId\": \"2:511\"", &["the index of Task.title", "511", "retired"]),
        ("\"id\": \"2:150\"", "\"id\": \"2:149\"", &["Task.helpers", "149", "retired"]),
        ("\"id\": \"1:100\"", "\"id\": \"1:400\"", &["Task", "400", "retired"]),
        (
            "\"name\": \"title\"",
            "\"name\": \"done\"",
            &["Task.done", "two properties of this name", "rename one"],
        ),
        ("\"name\": \"title\"", "\"title\": \"name\"", &["Task.properties[1]", "name is missing"]),
        ("\"name\": \"Task\"", "\"name\": 3", &["entities[0]", "name is 3", "quotes"]),
        ("\"type\": 1\n", "\"type\": 14\n", &["Task.done", "no type 14", "update it"]),
        ("\"type\": 1\n", "\"type\": -1\n", &["Task.done", "type is -1", "whole number"]),
        ("\"type\": 1\n", "\"typ\": 1\n", &["Task.done", "type is missing", "9 for String"]),
        ("\"flags\": 2056", "\"flags\": \"8\"", &["Task.title", "flags is \"8\"", "whole number"]),
        ("\"flags\": 2056", "\"flags\": 4294967296", &["Task.title", "32 bits"]),
        ("\"flags\": 2056", "\"flags\": 2.5", &["Task.title", "flags is 2.5"]),
        (
            "\"conflict\": \"object\"",
            "\"conflict\": \"merge\"",
            &["Task", "\"merge\"", "\"property\", \"object\", \"precedence\", \"arrival\", or left out"],
        ),
        ("\"conflict\": \"object\"", "\"conflict\": null", &["Task", "conflict is null"]),
        (
            "\"relationTarget\": \"Project\"",
            "\"relationTarget\": \"Plan\"",
            &["Task.project", "Plan", "add that entity"],
        ),
        ("\"targetId\": \"3:300\"", "\"targetId\": \"3:301\"", &["Task.helpers", "add it"]),
        (
            "\"lastPropertyId\": \"7:107\"",
            "\"lastPropertyId\": \"3:102\"",
            &["Task", "Task.project has id 4"],
        ),
        (
            "\"lastPropertyId\": \"7:107\"",
            "\"lastPropertyId\": \"7:108\"",
            &["Task", "Task.due", "mixed", "next free id"],
        ),
        ("\"lastEntityId\": \"4:400\"", "\"lastEntityId\": \"2:200\"", &["lastEntityId", "Person has id 3"]),
        (
            "\"lastIndexId\": \"5:511\"",
            "\"lastIndexId\": \"\"",
            &["lastIndexId", "the index of Task.title has id 2"],
        ),
        (
            "\"lastRelationId\": \"2:150\"",
            "\"lastRelationId\": \"1:150\"",
            &["lastRelationId", "Task.helpers has id 2"],
        ),
        (
            "\"retiredEntityUids\": [\n    400",
            "\"retiredEntityUids\": [\n    \"400\"",
            &["retiredEntityUids", "\"400\""],
        ),
        ("\"relations\": []", "\"relations\": {}", &["Project", "relations is an object", "brackets"]),
        ("\"entities\": [", "\"entities\": [ 7,", &["entities[0]", "here is 7", "braces"]),
        ("\"modelVersion\": 5", "\"modelVersion\": 4", &["version 4", "write it again"]),
        (
            "\"modelVersionParserMinimum\": 5",
            "\"modelVersionParserMinimum\": 6",
            &["version 6", "update this release"],
        ),
        (
            "\"modelVersion\": 5",
            "\"modelVersions\": 5",
            &["modelVersion is missing", "is this a model file?"],
        ),
        ("\"entities\"", "\"objects\"", &["entities is missing"]),
        ("\"version\": 1", "\"version\": 1,", &["not proper JSON", "line", "merge conflict"]),
        (
            "\"version\": 1",
            "\"lastEntityId\": \"3:300\"",
            &["\"lastEntityId\" stands twice", "line", "merge conflict"],
        ),
        ("\"version\": 1", "\"version\": 1e999", &["not proper JSON", "line"]),
    ];
    let garden = text("garden.json");
    for (from, to, words) in cases {
        assert!(garden.contains(from), "{from} is not in the file");
        let error = ModelFile::parse(&garden.replacen(from, to, 1)).unwrap_err().to_string();
        for word in *words {
            assert!(error.contains(word), "{from} => {to}: {word:?} is missing in: {error}");
        }
    }
}

#[test]
fn size_and_nesting_have_limits() {
    let long = " ".repeat(MODEL_FILE_BYTES_MAX + 1);
    assert_eq!(ModelFile::parse(&long), Err(ModelFileError::TooLong { bytes: long.len() }));
    for depth in [31, 32, 100, 1_000_000] {
        let nested = format!("\"deep\": {}{},\n  \"version\"", "[".repeat(depth), "]".repeat(depth));
        let parsed = ModelFile::parse(&text("garden.json").replacen("\"version\"", &nested, 1));
        match parsed {
            Ok(_) => assert!(depth < 32, "{depth}"),
            Err(error) => {
                assert!(depth >= 32 && error.to_string().contains("nested deeper than 32"), "{error}")
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = ModelFile::parse(&text);
    }

    /// Bytes of a file exchanged, left out or doubled: refused, or a file that is written as a file again.
    #[test]
    fn no_damage_panics(
        name in prop::sample::select(&FIXTURES[..]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, "[-0-9:,\"{}\\[\\]a-z ]{0,3}"), 1..6),
    ) {
        let mut damaged = text(name);
        for (at, remove, insert) in edits {
            let at = at.index(damaged.len());
            let end = (at + remove).min(damaged.len());
            if damaged.is_char_boundary(at) && damaged.is_char_boundary(end) {
                damaged.replace_range(at..end, &insert);
            }
        }
        if let Ok(model) = ModelFile::parse(&damaged) {
            let written = model.to_json();
            prop_assert_eq!(ModelFile::parse(&written).unwrap().to_json(), written);
            if let Ok(next) = model.evolve_with(&[task()]) {
                prop_assert_eq!(ModelFile::parse(&next.to_json()).unwrap(), next);
            }
        }
    }
}
