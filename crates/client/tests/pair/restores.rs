//! Servers that were restored from a backup: devices that have seen more compare, agree, and keep what was lost.

use std::time::Duration;

use reconvene_client::{Code, SyncEvent};
use reconvene_model::Value;
use reconvene_model::change::OpKind;
use reconvene_sim::Direction;
use reconvene_store::{Entity, LOST_BY_SERVER, LOST_OBJECTS_FROM, Rejected, Role, Store, ToOne};
use tempfile::TempDir;

use crate::world::{Device, PATIENCE, Shop, Town, World, open_at, wait_until};

fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

fn names(store: &Store) -> Vec<String> {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    let mut names: Vec<String> = shops.iter().map(|shop| shop.name.clone()).collect();
    names.sort();
    names
}

/// A server whose data lies in a directory.
fn world(data: &TempDir) -> World {
    World::build(open_at(data.path(), Role::Server), |_| ())
}

/// A copy of one moment of the server.
fn backup(world: &World) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    world.server_store.backup(copy.path().join(Store::DATA_FILE)).unwrap();
    copy
}

/// Starts the server, which was stopped, from a backup, as `restore` leaves it.
fn restore(world: &mut World, backup: &TempDir) {
    Store::begin_new_history(backup.path()).unwrap();
    world.server_store = open_at(backup.path(), Role::Server);
    world.start_server();
}

/// What the server has lost, by this device's account: kind, and name if it is known.
fn lost(device: &Device) -> Vec<(OpKind, Option<String>)> {
    let rejected: Vec<Rejected> = device.store.sync().rejected().unwrap();
    assert!(rejected.iter().all(|rejected| rejected.code == LOST_BY_SERVER), "{rejected:?}");
    let ops = rejected.into_iter().flat_map(|rejected| rejected.ops);
    let name = |values: Vec<(String, Value)>| {
        values.into_iter().find_map(|(property, value)| match value {
            Value::String(name) if property == "name" => Some(name),
            _ => None,
        })
    };
    let mut lost: Vec<_> = ops.map(|op| (op.kind, name(op.values))).collect();
    lost.sort_by(|one, other| one.1.cmp(&other.1));
    lost
}

#[test]
fn f12_devices_that_have_seen_more_than_a_restored_server_agree_with_it_and_keep_what_it_lost() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let (mut writer, mut reader, mut sleeper) = (world.device(), world.device(), world.device());
    for device in [&mut writer, &mut reader, &mut sleeper] {
        device.online();
    }
    writer.shops.put(&mut shop("monday")).unwrap();
    world.converge(&[&writer, &reader, &sleeper]);
    sleeper.disconnect();
    let monday = backup(&world);
    writer.shops.put(&mut shop("tuesday")).unwrap();
    world.converge(&[&writer, &reader]);
    reader.disconnect();
    world.stop_server();
    writer.shops.put(&mut shop("unsent")).unwrap();
    reader.shops.put(&mut shop("unsent, of a reader")).unwrap();
    sleeper.shops.put(&mut shop("unsent, of a sleeper")).unwrap();
    restore(&mut world, &monday);
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
    world.converge(&[&newcomer, &sleeper, &writer, &reader]);
    world.converge(&[&newcomer, &sleeper, &writer, &reader]);
    let mut all = vec!["monday", "new", "new", "new", "new", "new"];
    all.extend(["unsent", "unsent, of a reader", "unsent, of a sleeper"]);
    assert_eq!(names(&world.server_store), all);
    for device in [&writer, &reader] {
        assert_eq!(lost(device), [(OpKind::Insert, Some("tuesday".to_owned()))]);
    }
    assert_eq!(lost(&sleeper), []);
    let epoch = world.server_store.sync().epoch().unwrap();
    assert_eq!(sleeper.store.sync().cursor().unwrap().epoch, epoch);
    assert_eq!(reader.store.sync().cursor().unwrap().epoch, epoch);
    // The numbers of the writer go on, although the server has one transaction of it less.
    writer.shops.put(&mut shop("wednesday")).unwrap();
    world.converge(&[&newcomer, &sleeper, &writer, &reader]);
    let number = lost_numbers(&reader);
    assert!(
        number
            .iter()
            .all(|&number| number >= LOST_OBJECTS_FROM
                && reader.store.sync().dismiss_rejected(number).unwrap())
    );
}

fn lost_numbers(device: &Device) -> Vec<u64> {
    device.store.sync().rejected().unwrap().iter().map(|rejected| rejected.number).collect()
}

#[test]
fn changes_and_removals_that_a_restored_server_lost_are_undone_and_kept() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let (mut writer, mut reader) = (world.device(), world.device());
    writer.online();
    reader.online();
    let (mut changed, mut removed) = (shop("changed"), shop("removed"));
    writer.shops.put(&mut changed).unwrap();
    writer.shops.put(&mut removed).unwrap();
    world.converge(&[&writer, &reader]);
    let monday = backup(&world);
    let undecided_id = changed.id;
    writer.shops.update(changed.id, |shop| shop.name = "changed on tuesday".to_owned()).unwrap();
    writer.shops.remove(removed.id).unwrap();
    world.converge(&[&writer, &reader]);
    world.stop_server();
    // On top of what will be lost lies what was never sent.
    writer.shops.update(undecided_id, |shop| shop.stock = 7).unwrap();
    restore(&mut world, &monday);
    writer.client().network_is_back();
    reader.client().network_is_back();
    world.converge(&[&writer, &reader]);
    world.converge(&[&writer, &reader]);
    assert_eq!(names(&world.server_store), ["changed", "removed"]);
    let shown = writer.shops.get(undecided_id).unwrap().unwrap();
    assert_eq!((shown.name.as_str(), shown.stock), ("changed", 7));
    let expected = [(OpKind::Remove, None), (OpKind::Update, Some("changed on tuesday".to_owned()))];
    assert_eq!(lost(&writer), expected);
    assert_eq!(lost(&reader), expected);
    // An id of its own keeps its meaning, although its object was gone and has come back.
    assert_eq!(writer.shops.get(removed.id).unwrap().unwrap().name, "removed");
}

#[test]
fn links_to_what_was_lost_wait() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let (mut writer, mut reader) = (world.device(), world.device());
    writer.online();
    reader.online();
    let monday = backup(&world);
    let mut town = Town { name: "lost".to_owned(), ..Town::default() };
    writer.towns.put(&mut town).unwrap();
    world.converge(&[&writer, &reader]);
    world.stop_server();
    reader.disconnect();
    let towns = reader.towns.all().unwrap();
    let mut there = Shop { town: ToOne::to(&*towns[0]), ..shop("unsent") };
    reader.shops.put(&mut there).unwrap();
    restore(&mut world, &monday);
    writer.client().network_is_back();
    reader.connect();
    world.converge(&[&writer, &reader]);
    world.converge(&[&writer, &reader]);
    assert_eq!(names(&writer.store), ["unsent"]);
    assert_eq!(writer.towns.count().unwrap(), 0);
    assert_eq!(lost(&reader), [(OpKind::Insert, Some("lost".to_owned()))]);
}

/// A server with `count` shops in its backup and twenty more that only the device has, which also has one unsent.
fn half_lost(world: &mut World, count: usize) -> (Device, TempDir) {
    let mut device = world.device();
    device.pauses = vec![Duration::from_millis(1)];
    device.online();
    let mut shops: Vec<Shop> = (0..count).map(|at| shop(&format!("kept {at}"))).collect();
    device.shops.put_many(&mut shops).unwrap();
    world.converge(&[&device]);
    let monday = backup(world);
    for (at, kept) in shops.iter().step_by(count / 10).enumerate() {
        device.shops.update(kept.id, |shop| shop.name = format!("changed {at}")).unwrap();
    }
    let mut more: Vec<Shop> = (0..10).map(|at| shop(&format!("lost {at}"))).collect();
    device.shops.put_many(&mut more).unwrap();
    let removed: Vec<u64> = shops.iter().skip(5).step_by(count / 10).map(|shop| shop.id).collect();
    device.shops.remove_many(&removed).unwrap();
    world.converge(&[&device]);
    device.disconnect();
    world.stop_server();
    device.shops.put(&mut shop("unsent")).unwrap();
    (device, monday)
}

/// That the device has what the server has, all that was lost in its rejected box, each once.
fn check_half_lost(world: &World, device: &Device, count: usize) {
    world.converge(&[device]);
    let mut all: Vec<String> = (0..count).map(|at| format!("kept {at}")).collect();
    all.push("unsent".to_owned());
    all.sort();
    assert_eq!(names(&world.server_store), all);
    let lost = lost(device);
    let of = |kind: OpKind| lost.iter().filter(|(other, _)| *other == kind).count();
    assert_eq!((of(OpKind::Insert), of(OpKind::Update), of(OpKind::Remove)), (10, 10, 10), "{lost:?}");
}

#[test]
fn a_compare_that_is_cut_at_any_byte_loses_and_doubles_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let (mut device, monday) = half_lost(&mut world, 300);
    restore(&mut world, &monday);
    for (direction, step) in [(Direction::Down, 331), (Direction::Up, 97)] {
        let mut bytes = 200;
        while bytes < 6000 {
            device.network.cut_after(direction, bytes);
            device.connect();
            let over = |event: &SyncEvent| {
                matches!(event, SyncEvent::Disconnected { .. } | SyncEvent::CaughtUp { .. })
            };
            device.events.wait("the end of the connection, or of the catch-up", over);
            device.disconnect();
            bytes += step;
        }
    }
    device.network.heal().unwrap();
    device.online();
    check_half_lost(&world, &device, 300);
}

#[test]
fn a_compare_goes_on_from_what_was_stored_when_each_connection_is_cut() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let (mut device, monday) = half_lost(&mut world, 2000);
    restore(&mut world, &monday);
    device.network.cut_each_after(Direction::Down, 7_500);
    device.connect();
    wait_until("a connection was cut", || !device.events.ends().is_empty());
    device.network.heal().unwrap();
    device.client().network_is_back();
    device.client().wait_downloaded(PATIENCE).unwrap();
    check_half_lost(&world, &device, 2000);
}

#[test]
fn a_server_goes_on_while_it_is_compared_with() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let (mut device, monday) = half_lost(&mut world, 3000);
    restore(&mut world, &monday);
    let mut other = world.device();
    other.online();
    device.network.throttle(Direction::Down, 60_000);
    device.connect();
    let shops = other.shops.all().unwrap();
    for round in 0..60_usize {
        let id = shops[round * 41 % shops.len()].id;
        // Some of them are gone by then.
        drop(other.shops.update(id, |shop| shop.stock = round as i64));
        other.shops.remove(shops[round * 37 % 700 + 1000].id).unwrap();
        other.shops.put(&mut shop("new")).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    device.network.heal().unwrap();
    device.client().network_is_back();
    device.client().wait_downloaded(PATIENCE).unwrap();
    world.converge(&[&device, &other]);
    world.converge(&[&device, &other]);
}

#[test]
fn a_server_that_was_replaced_by_an_empty_one_gets_what_was_not_sent() {
    let mut world = World::new();
    let mut device = world.device();
    device.online();
    device.shops.put(&mut shop("known")).unwrap();
    world.converge(&[&device]);
    world.stop_server();
    device.shops.put(&mut shop("unsent")).unwrap();
    world.server_store = crate::world::server_store();
    world.start_server();
    device.client().network_is_back();
    // It may be just any other server, so nothing leaves the device without leave.
    device.events.wait_closed(Code::HistoryLost);
    assert_eq!(names(&device.store), ["known", "unsent"]);
    assert_eq!(lost(&device), []);
    world.stop_server();
    world.takes_over = true;
    world.start_server();
    device.connect();
    world.converge(&[&device]);
    world.converge(&[&device]);
    assert_eq!(names(&device.store), ["unsent"]);
    assert_eq!(lost(&device), [(OpKind::Insert, Some("known".to_owned()))]);
}

#[test]
fn unsent_changes_of_what_was_lost_come_back_with_the_reason() {
    let data = tempfile::tempdir().unwrap();
    let mut world = world(&data);
    let mut device = world.device();
    device.online();
    let monday = backup(&world);
    let mut known = shop("known");
    device.shops.put(&mut known).unwrap();
    world.converge(&[&device]);
    world.stop_server();
    device.shops.update(known.id, |shop| shop.stock = 3).unwrap();
    restore(&mut world, &monday);
    device.client().network_is_back();
    world.converge(&[&device]);
    world.converge(&[&device]);
    assert_eq!(names(&device.store), [""; 0]);
    let codes: Vec<u32> =
        device.store.sync().rejected().unwrap().iter().map(|rejected| rejected.code).collect();
    assert_eq!(codes, [Code::ObjectMissing.number(), LOST_BY_SERVER]);
}

/// A newer version of the app, with one property more.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store", name = "Shop")]
struct NewerShop {
    id: u64,
    name: String,
    stock: i64,
    #[unique]
    code: Option<String>,
    town: ToOne<Town>,
    motto: Option<String>,
}

#[test]
fn a_device_with_another_view_transfers_only_what_differs() {
    let mut world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let mut device = world.device_of(open_at(directory.path(), Role::Device));
    let mut other = world.device();
    device.online();
    other.online();
    let mut shops: Vec<Shop> =
        (0..2000).map(|at| shop(&format!("a shop with a rather long name, number {at}"))).collect();
    device.shops.put_many(&mut shops).unwrap();
    world.converge(&[&device, &other]);
    device.disconnect();
    drop(device);
    let theirs = other.shops.all().unwrap();
    other.shops.remove(theirs[0].id).unwrap();
    other.shops.update(theirs[1].id, |shop| shop.stock = 5).unwrap();
    other.shops.put(&mut shop("new")).unwrap();
    world.converge(&[&other]);
    let newer = Store::builder(directory.path()).entity::<NewerShop>().entity::<Town>().open().unwrap();
    let mut device = world.device_of_any(newer);
    device.connect();
    device.client().wait_downloaded(PATIENCE).unwrap();
    world.converge(&[&device, &other]);
    assert!(device.events.all().iter().any(|(_, event)| matches!(event, SyncEvent::Comparing { .. })));
    let received = device.client().status().bytes_received;
    assert!(received < 20_000, "{received} bytes for three objects of two thousand");
    assert!(device.store.sync().rejected().unwrap().is_empty());
}
