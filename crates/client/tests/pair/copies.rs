//! Servers whose databases were restored: found out, and nobody's unsent writes are lost.

use reconvene_client::{Code, SyncEvent, WaitError};
use reconvene_store::{Role, Store};
use tempfile::TempDir;

use crate::world::{Device, PATIENCE, Shop, World, open_at};

pub(crate) fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

pub(crate) fn names(store: &Store) -> Vec<String> {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    let mut names: Vec<String> = shops.iter().map(|shop| shop.name.clone()).collect();
    names.sort();
    names
}

/// A copy of one moment of a store that is open.
pub(crate) fn backup(store: &Store) -> TempDir {
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
