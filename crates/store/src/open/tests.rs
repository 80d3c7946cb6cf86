//! What only the seam can make: directories of other programs and of newer releases.

use std::path::Path;

use super::*;
use reconvene_model::{EntityFlags, PropertyFlags, PropertyType};

fn description() -> EntityDescription {
    let id = crate::__private::id_property("id", None, None, PropertyFlags::NONE);
    assert_eq!(id.ty, PropertyType::Long);
    EntityDescription {
        name: "Task".to_owned(),
        uid: None,
        was: None,
        flags: EntityFlags::NONE,
        conflict: reconvene_model::ConflictPolicy::default(),
        properties: vec![id],
        relations: Vec::new(),
        backlinks: Vec::new(),
    }
}

/// Writes one row past the store.
fn write_raw(directory: &Path, table: &str, key: &[u8], value: &[u8]) {
    let engine = Engine::open_lmdb(directory, EngineOptions::default()).unwrap();
    let mut tx = engine.write().unwrap();
    let table = tx.create_table(table).unwrap();
    tx.put(table, key, value).unwrap();
    tx.commit().unwrap();
}

/// Checks how opening is refused, whichever way, and that it leaves the data alone.
fn check_refused(directory: &Path, is_expected: impl Fn(&StoreError) -> bool) {
    let data = || std::fs::read(directory.join("data.mdb")).unwrap();
    let before = data();
    for builder in [Store::builder(directory), Store::builder(directory).read_only()] {
        let error = builder.description(description()).open().unwrap_err();
        assert!(is_expected(&error), "{error}");
        assert!(data() == before);
    }
}

#[test]
fn a_newer_format_is_refused_with_nothing_changed() {
    let directory = tempfile::tempdir().unwrap();
    Store::builder(directory.path()).open().unwrap();
    write_raw(directory.path(), keys::META, keys::FORMAT_KEY, &(FORMAT + 1).to_be_bytes());
    check_refused(
        directory.path(),
        |error| matches!(error, StoreError::NewerFormat { found, known: FORMAT } if *found == FORMAT + 1),
    );
    write_raw(directory.path(), keys::META, keys::FORMAT_KEY, &FORMAT.to_be_bytes());
    Store::builder(directory.path()).description(description()).open().unwrap();
}

#[test]
fn the_data_of_another_program_is_refused_with_nothing_changed() {
    for (table, key) in [("theirs", &b"key"[..]), (keys::META, b"key"), (keys::META, keys::FORMAT_KEY)] {
        let directory = tempfile::tempdir().unwrap();
        write_raw(directory.path(), table, key, b"something else");
        check_refused(directory.path(), |error| matches!(error, StoreError::ForeignDirectory { .. }));
    }
}

#[test]
fn an_image_of_a_store_in_memory_opens_as_a_directory_would() {
    let open = |image: Option<&Image>| {
        let builder = Store::builder("memory:").description(description());
        match image {
            Some(image) => builder.image(image).open().unwrap(),
            None => builder.open().unwrap(),
        }
    };
    let put = |store: &Store| store.objects("Task").unwrap().put(&mut crate::Object::new()).unwrap();
    let store = open(None);
    assert_eq!(put(&store), 1);
    let image = Image::of(&store).unwrap();
    assert_eq!(put(&store), 2);
    let copy = open(Some(&image));
    assert_eq!(
        (copy.sync().peer(), copy.objects("Task").unwrap().count().unwrap()),
        (store.sync().peer(), 1)
    );
    assert_eq!(put(&copy), 2, "the copy goes its own way");
    assert_eq!(open(Some(&image)).objects("Task").unwrap().count().unwrap(), 1, "an image stays what it is");
}

#[test]
fn a_transaction_that_outgrew_the_map_fits_when_it_is_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = Store::builder(directory.path()).description(description());
    (builder.engine.map_bytes, builder.engine.map_bytes_max) = (1 << 20, 1 << 26);
    let store = builder.open().unwrap();
    let put_many = || {
        store.write(|tx| {
            let tasks = tx.objects("Task")?;
            (0..50_000).try_for_each(|_| tasks.put(&mut crate::Object::new()).map(drop))
        })
    };
    let mut full = 0;
    while let Err(error) = put_many() {
        assert!(matches!(error, StoreError::Engine(SeamError::MapFull { .. })), "{error}");
        full += 1;
        assert!(full < 6, "the map does not grow");
    }
    assert!(full > 0, "the map was large enough from the start");
    assert_eq!(store.objects("Task").unwrap().count().unwrap(), 50_000);
}

/// Opens a store whose map begins at 1 MiB.
fn with_small_map(directory: &Path) -> Store {
    let mut builder = Store::builder(directory).description(description());
    (builder.engine.map_bytes, builder.engine.map_bytes_max) = (1 << 20, 1 << 26);
    builder.open().unwrap()
}

#[test]
fn queued_writes_grow_the_map_and_all_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_small_map(directory.path());
    let pending: Vec<_> = (0..200)
        .map(|_| {
            store.write_async(|tx| {
                let tasks = tx.objects("Task")?;
                (0..400).try_for_each(|_| tasks.put(&mut crate::Object::new()).map(drop))
            })
        })
        .collect();
    pending.into_iter().for_each(|pending| pending.wait().unwrap());
    assert_eq!(store.objects("Task").unwrap().count().unwrap(), 80_000);
    assert!(store.inner().engine.map_usage().unwrap().unwrap().map_bytes > 1 << 20);
}

#[test]
fn a_reader_keeps_the_map_from_growing_and_no_write_from_the_room_that_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_small_map(directory.path());
    let usage = || store.inner().engine.map_usage().unwrap().unwrap();
    let put_many = || {
        store.write(|tx| {
            let tasks = tx.objects("Task")?;
            (0..200).try_for_each(|_| tasks.put(&mut crate::Object::new()).map(drop))
        })
    };
    store
        .read(|_| {
            while usage().used_bytes < (1 << 20) / 100 * 85 {
                put_many().unwrap();
            }
            assert_eq!(usage().map_bytes, 1 << 20);
            Ok(())
        })
        .unwrap();
    put_many().unwrap();
    assert_eq!(usage().map_bytes, 1 << 21, "once nobody reads it grows ahead of need");
}
