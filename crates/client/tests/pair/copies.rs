//! Directories that were copied, and databases that were restored: found out, and nobody's unsent writes are lost.

use std::path::Path;
use std::sync::mpsc;

use reconvene_client::{Code, SyncEvent, WaitError};
use reconvene_store::{Role, Store};
use tempfile::TempDir;

use crate::world::{Device, PATIENCE, Shop, World, open_at, wait_until};

fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

fn names(store: &Store) -> Vec<String> {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    let mut names: Vec<String> = shops.iter().map(|shop| shop.name.clone()).collect();
    names.sort();
    names
}

/// A copy of the directory of a store that nobody has open.
fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.join(Store::DATA_FILE), copy.path().join(Store::DATA_FILE)).unwrap();
    copy
}

/// A copy of one moment of a store that is open.
fn backup(store: &Store) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    store.backup(copy.path().join(Store::DATA_FILE)).unwrap();
    copy
}

/// The code with which sync ended for good.
fn ends_with(device: &Device) -> Code {
    device.events.wait("the end of sync", |event| matches!(event, SyncEvent::GaveUp { .. }));
    match device.client().wait_logged_in(PATIENCE) {
        Err(WaitError::Ended { closed: Some(closed) }) => closed.code,
        other => panic!("sync was to end: {other:?}"),
    }
}

/// A device with a shop that the server knows, and its directory, which is closed.
fn synced(world: &mut World) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut device = world.device_of(open_at(directory.path(), Role::Device));
    device.online();
    device.shops.put(&mut shop("shared")).unwrap();
    world.converge(&[&device]);
    device.disconnect();
    directory
}

#[test]
fn a_directory_that_is_open_twice_stops_one_of_the_two_and_keeps_what_it_wrote() {
    let mut world = World::new();
    let directory = synced(&mut world);
    let twin = copy(directory.path());
    let mut a = world.device_of(open_at(directory.path(), Role::Device));
    let mut b = world.device_of(open_at(twin.path(), Role::Device));
    a.online();
    b.online();
    assert_eq!(ends_with(&a), Code::Replaced);
    a.shops.put(&mut shop("of a")).unwrap();
    b.shops.put(&mut shop("of b")).unwrap();
    world.converge(&[&b]);
    a.disconnect();
    a.connect();
    assert_eq!(ends_with(&a), Code::IdentityForked);
    assert_eq!(
        (a.store.sync().undecided().unwrap(), names(&a.store)),
        (1, vec!["of a".into(), "shared".into()])
    );
    assert_eq!(names(&world.server_store), ["of b", "shared"]);
    // It stays so, however often the two are opened.
    drop(a);
    let mut a = world.device_of(open_at(directory.path(), Role::Device));
    a.connect();
    assert_eq!(ends_with(&a), Code::IdentityForked);
    assert_eq!(
        (a.store.sync().undecided().unwrap(), names(&a.store)),
        (1, vec!["of a".into(), "shared".into()])
    );
}

#[test]
fn twins_that_write_offline_and_come_one_after_the_other_are_told_apart() {
    for (of_a, of_b) in [(1, 1), (3, 1), (1, 3)] {
        let mut world = World::new();
        let directory = synced(&mut world);
        let twin = copy(directory.path());
        let mut a = world.device_of(open_at(directory.path(), Role::Device));
        let mut b = world.device_of(open_at(twin.path(), Role::Device));
        (0..of_a).for_each(|_| a.shops.put(&mut shop("of a")).map(drop).unwrap());
        (0..of_b).for_each(|_| b.shops.put(&mut shop("of b")).map(drop).unwrap());
        a.online();
        world.converge(&[&a]);
        a.disconnect();
        b.connect();
        assert_eq!(ends_with(&b), Code::IdentityForked, "{of_a} and {of_b}");
        assert_eq!(b.store.sync().undecided().unwrap(), of_b);
        assert_eq!(b.shops.count().unwrap(), of_b + 1);
        assert!(!names(&world.server_store).contains(&"of b".to_owned()));
    }
}

#[test]
fn a_twin_whose_writes_cross_those_of_the_other_is_not_told_that_they_were_taken() {
    let mut world = World::new();
    let directory = synced(&mut world);
    let twin = copy(directory.path());
    let mut a = world.device_of(open_at(directory.path(), Role::Device));
    let mut b = world.device_of(open_at(twin.path(), Role::Device));
    a.online();
    let (written, writer) = mpsc::channel::<()>();
    let (locked, lock) = mpsc::channel();
    let server_store = world.server_store.clone();
    let holding = std::thread::spawn(move || {
        // While this transaction runs, the server can decide on nothing.
        let write = server_store.write(|_| {
            locked.send(()).unwrap();
            writer.recv().unwrap();
            Ok(())
        });
        write.unwrap();
    });
    lock.recv_timeout(PATIENCE).unwrap();
    let received = || world.server().stats().bytes_received;
    let before = received();
    for name in ["a1", "a2", "a3"] {
        a.shops.put(&mut shop(name)).unwrap();
        wait_until("the server has the upload", || a.client().status().bytes_sent > 0 && received() > before);
    }
    b.online();
    assert_eq!(ends_with(&a), Code::Replaced);
    let before = received();
    b.shops.put(&mut shop("of b")).unwrap();
    wait_until("the server has the upload of the other", || received() > before);
    written.send(()).unwrap();
    holding.join().unwrap();
    assert_eq!(ends_with(&b), Code::IdentityForked);
    assert_eq!(b.store.sync().undecided().unwrap(), 1, "its write is kept");
    assert!(names(&b.store).contains(&"of b".to_owned()));
    assert!(!names(&world.server_store).contains(&"of b".to_owned()));
}

#[test]
fn a_device_that_was_restored_is_stopped_if_it_forgot_what_it_had_sent() {
    let mut world = World::new();
    let directory = synced(&mut world);
    let mut device = world.device_of(open_at(directory.path(), Role::Device));
    device.online();
    let monday = backup(&device.store);
    device.shops.put(&mut shop("tuesday")).unwrap();
    world.converge(&[&device]);
    device.disconnect();
    let mut restored = world.device_of(open_at(monday.path(), Role::Device));
    restored.shops.put(&mut shop("after the restore")).unwrap();
    restored.connect();
    assert_eq!(ends_with(&restored), Code::IdentityForked);
    assert_eq!(restored.store.sync().undecided().unwrap(), 1);
    assert_eq!(names(&restored.store), ["after the restore", "shared"]);
    assert_eq!(names(&world.server_store), ["shared", "tuesday"]);
}

#[test]
fn a_device_that_was_restored_and_forgot_only_what_others_wrote_goes_on() {
    let mut world = World::new();
    let directory = synced(&mut world);
    let mut device = world.device_of(open_at(directory.path(), Role::Device));
    let mut other = world.device();
    device.online();
    other.online();
    let monday = backup(&device.store);
    other.shops.put(&mut shop("tuesday")).unwrap();
    world.converge(&[&device, &other]);
    device.disconnect();
    let mut restored = world.device_of(open_at(monday.path(), Role::Device));
    restored.shops.put(&mut shop("after the restore")).unwrap();
    restored.online();
    world.converge(&[&restored, &other]);
    assert_eq!(names(&other.store), ["after the restore", "shared", "tuesday"]);
}

#[test]
fn a_server_that_was_restored_stops_devices_that_have_seen_more_and_the_others_go_on() {
    let data = tempfile::tempdir().unwrap();
    let mut world = World::build(open_at(data.path(), Role::Server), |_| ());
    let (mut writer, mut reader, mut sleeper) = (world.device(), world.device(), world.device());
    for device in [&mut writer, &mut reader, &mut sleeper] {
        device.online();
    }
    writer.shops.put(&mut shop("monday")).unwrap();
    world.converge(&[&writer, &reader, &sleeper]);
    sleeper.disconnect();
    let monday = backup(&world.server_store);
    writer.shops.put(&mut shop("tuesday")).unwrap();
    world.converge(&[&writer, &reader]);
    reader.disconnect();
    world.stop_server();
    writer.shops.put(&mut shop("unsent")).unwrap();
    reader.shops.put(&mut shop("unsent, of a reader")).unwrap();
    sleeper.shops.put(&mut shop("unsent, of a sleeper")).unwrap();

    Store::begin_new_history(monday.path()).unwrap();
    world.server_store = open_at(monday.path(), Role::Server);
    world.start_server();
    // The new history goes further than the former one before anybody comes back.
    let mut newcomer = world.device();
    newcomer.online();
    for _ in 0..5 {
        newcomer.shops.put(&mut shop("new")).unwrap();
    }
    world.converge(&[&newcomer]);
    writer.client().network_is_back();
    for device in [&mut reader, &mut sleeper] {
        device.connect();
    }
    for device in [&writer, &reader] {
        assert_eq!(ends_with(device), Code::HistoryLost);
    }
    assert_eq!(names(&writer.store), ["monday", "tuesday", "unsent"]);
    assert_eq!(writer.store.sync().undecided().unwrap(), 1);
    assert_eq!(names(&reader.store), ["monday", "tuesday", "unsent, of a reader"]);
    assert_eq!(reader.store.sync().undecided().unwrap(), 1);
    // What the sleeper knows is the beginning of the new history as well.
    world.converge(&[&newcomer, &sleeper]);
    let all = ["monday", "new", "new", "new", "new", "new", "unsent, of a sleeper"];
    assert_eq!(names(&sleeper.store), all);
    assert_eq!(names(&world.server_store), all);
    assert_eq!(sleeper.store.sync().cursor().unwrap().epoch, world.server_store.sync().epoch().unwrap());
}

#[test]
fn a_server_whose_data_was_put_back_by_hand_is_found_out_by_those_who_have_seen_more() {
    let data = tempfile::tempdir().unwrap();
    let mut world = World::build(open_at(data.path(), Role::Server), |_| ());
    let (mut writer, mut reader) = (world.device(), world.device());
    writer.online();
    reader.online();
    let monday = backup(&world.server_store);
    writer.shops.put(&mut shop("tuesday")).unwrap();
    world.converge(&[&writer, &reader]);
    world.stop_server();
    world.server_store = open_at(monday.path(), Role::Server);
    world.start_server();
    for device in [&writer, &reader] {
        device.client().network_is_back();
        assert_eq!(ends_with(device), Code::HistoryLost);
        assert_eq!(names(&device.store), ["tuesday"]);
    }
}
