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
