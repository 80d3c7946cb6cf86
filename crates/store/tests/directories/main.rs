//! Directories of every released format are opened for ever: copies of them are read, checked, brought up to newer schemas, and
//! sync on.
//!
//! `fixtures/directories` holds them, each format's made once, by the release that brought it. As long as format 1 is not
//! released, this makes its directories anew:
//!
//! ```sh
//! RECONVENE_MAKE_DIRECTORIES=1 cargo test -p reconvene-store --test directories
//! ```

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod content;
mod story;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reconvene_model::Value;
use reconvene_model::{EntityFlags, PropertyFlags, PropertyType};
use reconvene_store::{Durability, Object, Role, Store, StoreBuilder};

use crate::content::content;
use crate::story::{Schema, Who, exchange, property, schema};

fn folder(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/directories/format-{format}"))
}

fn builder(directory: &Path, who: Who, schema: Schema) -> StoreBuilder {
    let builder = Store::builder(directory.join(who.name()))
        .durability(Durability::Relaxed)
        .identity_secret([who as u8; 32])
        .role(if who == Who::Server { Role::Server } else { Role::Device })
        // 2026-01-01 12:00:00 UTC.
        .time_source(|| 1_767_268_800_000);
    schema.into_iter().fold(builder, StoreBuilder::description)
}

/// Asks to write the directories that this release makes in place of the fixtures.
const MAKE_VARIABLE: &str = "RECONVENE_MAKE_DIRECTORIES";

#[test]
fn the_story_can_be_told_again() {
    let directory = tempfile::tempdir().unwrap();
    story::tell(directory.path());
    let folder = match env::var_os(MAKE_VARIABLE) {
        Some(_) => folder(1),
        None => directory.path().join("fixtures"),
    };
    fs::create_dir_all(&folder).unwrap();
    for who in Who::ALL {
        let store = builder(directory.path(), who, schema(who)).open().unwrap();
        assert_eq!(store.check().unwrap(), []);
        fs::write(folder.join(format!("{}.txt", who.name())), content(&store)).unwrap();
        drop(store);
        let store = directory.path().join(who.name());
        // Without free pages.
        Store::compact(&store).unwrap();
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&fs::read(store.join(Store::DATA_FILE)).unwrap()).unwrap();
        fs::write(folder.join(format!("{}.mdb.gz", who.name())), packed.finish().unwrap()).unwrap();
    }
}

/// Copies of the directories of a format.
fn copies(format: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for who in Who::ALL {
        let packed = fs::read(folder(format).join(format!("{}.mdb.gz", who.name()))).unwrap();
        let mut data = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut data).unwrap();
        fs::create_dir(directory.path().join(who.name())).unwrap();
        fs::write(directory.path().join(who.name()).join(Store::DATA_FILE), data).unwrap();
    }
    directory
}

/// Whether a store has what it had when its directory was made.
fn is_as_it_was(format: u32, who: Who, store: &Store) {
    let expected = fs::read_to_string(folder(format).join(format!("{}.txt", who.name()))).unwrap();
    let found = content(store);
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected, "{}", who.name());
    }
    assert_eq!(found.lines().count(), expected.lines().count());
    assert_eq!(store.check().unwrap(), []);
}

/// What an application may have become since.
fn newer_schema() -> Schema {
    let mut schema = schema(Who::Ben);
    let task = schema.iter_mut().find(|entity| entity.name == "Task").unwrap();
    task.properties.iter_mut().find(|p| p.name == "title").unwrap().flags = PropertyFlags::INDEXED;
    task.properties.retain(|property| property.name != "note");
    task.properties.push(property(
        "stars",
        PropertyType::Byte,
        PropertyFlags::INDEXED.with(PropertyFlags::UNSIGNED),
    ));
    // The samples begin to travel, and lose some of their indexes.
    let sample = schema.iter_mut().find(|entity| entity.name == "Sample").unwrap();
    sample.flags = EntityFlags::SYNC_ENABLED;
    sample.properties.iter_mut().skip(1).step_by(2).for_each(|property| property.flags = PropertyFlags::NONE);
    schema
}

/// Opens copies of the directories of a format as they were, brings them up to a newer schema, and lets them sync on.
fn opens_and_goes_on(format: u32) {
    let directory = copies(format);
    for who in Who::ALL {
        let open = || builder(directory.path(), who, schema(who));
        is_as_it_was(format, who, &open().read_only().open().unwrap());
        is_as_it_was(format, who, &open().open().unwrap());
    }
    let open = |who| builder(directory.path(), who, newer_schema()).open().unwrap();
    let [server, ada, ben] = Who::ALL.map(open);
    let by_title = ada.objects("Task").unwrap();
    let by_title = by_title.query_text(r#"title == "Dig""#).unwrap();
    assert!(by_title.explain().unwrap().indexes == ["title"]);
    assert_eq!(by_title.count().unwrap(), 1);
    let new = Object::new().with("title", Value::String("Rake".into())).with("stars", Value::Int(200));
    let id = ben.objects("Task").unwrap().put(&mut new.clone()).unwrap();
    assert!(ben.objects("Task").unwrap().get(id).unwrap().is_some());
    for _ in 0..3 {
        exchange(&server, &[&ada, &ben]);
    }
    let hash = |store: &Store| store.sync().content_hash().unwrap();
    assert_eq!([hash(&ada), hash(&ben)], [hash(&server); 2]);
    let count = |store: &Store, entity: &str| store.objects(entity).unwrap().count().unwrap();
    for entity in ["Sample", "Task", "Project", "Board", "Ticket"] {
        assert!(count(&server, entity) > 0);
        assert_eq!([count(&ada, entity), count(&ben, entity)], [count(&server, entity); 2], "{entity}");
    }
    for store in [&server, &ada, &ben] {
        assert_eq!(store.check().unwrap(), []);
    }
}

#[test]
fn directories_of_format_1_open_and_go_on() {
    opens_and_goes_on(1);
}
