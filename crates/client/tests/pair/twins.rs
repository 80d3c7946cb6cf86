//! Directories that were copied, and devices that were restored: each goes on under a name of its own, and nobody's writes are
//! lost or doubled.

use std::path::Path;
use std::sync::mpsc;

use reconvene_client::{Code, SyncEvent};
use reconvene_store::{Role, Store, ToOne};
use tempfile::TempDir;

use crate::copies::{backup, names, shop};
use crate::world::{Device, PATIENCE, Shop, Town, World, open_at, wait_until};

/// A copy of the directory of a store that nobody has open.
fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.join(Store::DATA_FILE), copy.path().join(Store::DATA_FILE)).unwrap();
    copy
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

/// Two devices of one directory: the original and a copy of it.
fn twins(world: &mut World) -> (TempDir, TempDir, Device, Device) {
    let directory = synced(world);
    let twin = copy(directory.path());
    let a = world.device_of(open_at(directory.path(), Role::Device));
    let b = world.device_of(open_at(twin.path(), Role::Device));
    (directory, twin, a, b)
}

fn is_renamed(event: &SyncEvent) -> bool {
    matches!(event, SyncEvent::Renamed { .. })
}

fn check_nothing_came_back(devices: &[&Device]) {
    for device in devices {
        assert!(device.store.sync().rejected().unwrap().is_empty());
        assert_eq!(device.store.check().unwrap(), []);
    }
}

#[test]
fn f13_a_directory_that_is_open_twice_becomes_two_devices() {
    let mut world = World::new();
    let (_one, _other, mut a, mut b) = twins(&mut world);
    a.online();
    b.online();
    // The one that was replaced has nothing under way: it takes another name before anybody has written.
    a.events.wait("another name", is_renamed);
    assert_ne!(a.store.sync().peer(), b.store.sync().peer());
    a.shops.put(&mut shop("of a")).unwrap();
    b.shops.put(&mut shop("of b")).unwrap();
    world.converge(&[&a, &b]);
    for device in [&a, &b] {
        assert_eq!(names(&device.store), ["of a", "of b", "shared"]);
    }
    check_nothing_came_back(&[&a, &b]);
}

#[test]
fn f13_twins_that_write_offline_and_come_one_after_the_other_keep_all() {
    for (of_a, of_b) in [(1, 1), (3, 1), (1, 3)] {
        let mut world = World::new();
        let (_one, _other, mut a, mut b) = twins(&mut world);
        for (device, count, name) in [(&a, of_a, "of a"), (&b, of_b, "of b")] {
            let town = Town { name: name.to_owned(), ..Town::default() };
            let town = ToOne::new(device.towns.put(&mut town.clone()).unwrap());
            for _ in 0..count {
                device.shops.put(&mut Shop { town: town.clone(), ..shop(name) }).unwrap();
            }
        }
        a.online();
        world.converge(&[&a]);
        let held = b.shops.all().unwrap();
        b.connect();
        b.events.wait("another name", is_renamed);
        b.client().wait_downloaded(PATIENCE).unwrap();
        world.converge(&[&a, &b]);
        let all = a.shops.all().unwrap();
        assert_eq!(all.len() as u64, 1 + of_a + of_b);
        for shop in all.iter().filter(|shop| shop.name != "shared") {
            assert_eq!(a.towns.get(shop.town.id()).unwrap().unwrap().name, shop.name);
        }
        for shop in held {
            assert_eq!(b.shops.get(shop.id).unwrap().unwrap().name, shop.name, "local ids stay");
        }
        check_nothing_came_back(&[&a, &b]);
    }
}

#[test]
fn f13_twins_whose_writes_cross_keep_all() {
    let mut world = World::new();
    let (_one, _other, mut a, mut b) = twins(&mut world);
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
    for name in ["a1", "a2", "a3"] {
        let before = received();
        a.shops.put(&mut shop(name)).unwrap();
        wait_until("the server has the upload", || a.client().status().bytes_sent > 0 && received() > before);
    }
    b.online();
    a.events.wait_closed(Code::Replaced);
    let before = received();
    b.shops.put(&mut shop("of b")).unwrap();
    wait_until("the server has the upload of the other", || received() > before);
    written.send(()).unwrap();
    holding.join().unwrap();
    world.converge(&[&a, &b]);
    assert_eq!(names(&b.store), ["a1", "a2", "a3", "of b", "shared"]);
    check_nothing_came_back(&[&a, &b]);
}

#[test]
fn what_all_clones_of_an_image_had_unsent_counts_once() {
    let mut world = World::new();
    let directory = synced(&mut world);
    let image = world.device_of(open_at(directory.path(), Role::Device));
    for name in ["set up", "by the shop"] {
        image.shops.put(&mut shop(name)).unwrap();
    }
    drop(image);
    let clones: Vec<TempDir> = (0..3).map(|_| copy(directory.path())).collect();
    let mut devices = Vec::new();
    for (number, clone) in clones.iter().enumerate() {
        let device = world.device_of(open_at(clone.path(), Role::Device));
        device.shops.put(&mut shop(&format!("of {number}"))).unwrap();
        devices.push(device);
    }
    devices.iter_mut().for_each(Device::connect);
    world.converge(&devices.iter().collect::<Vec<_>>());
    let peers: std::collections::BTreeSet<u64> =
        devices.iter().map(|device| device.store.sync().peer().0).collect();
    assert_eq!(peers.len(), 3);
    for device in &devices {
        assert_eq!(names(&device.store), ["by the shop", "of 0", "of 1", "of 2", "set up", "shared"]);
        check_nothing_came_back(&[device]);
    }
}

#[test]
fn f13_a_device_that_was_restored_goes_on_beside_what_it_had_sent() {
    let mut world = World::new();
    let directory = synced(&mut world);
    let mut device = world.device_of(open_at(directory.path(), Role::Device));
    device.online();
    let monday = backup(&device.store);
    device.shops.put(&mut shop("tuesday")).unwrap();
    world.converge(&[&device]);
    device.disconnect();
    // Once it has written before it comes, and once it has not: it is restored twice from the same backup.
    let mut all = vec!["shared".to_owned(), "tuesday".to_owned()];
    for written in [true, false] {
        let again = copy(monday.path());
        let mut restored = world.device_of(open_at(again.path(), Role::Device));
        if written {
            restored.shops.put(&mut shop("after the restore")).unwrap();
            all.insert(0, "after the restore".to_owned());
        }
        restored.online();
        world.converge(&[&restored]);
        assert_eq!(names(&restored.store), all);
        assert!(restored.events.all().iter().any(|(_, event)| is_renamed(event)));
        restored.shops.put(&mut shop("zzz")).unwrap();
        world.converge(&[&restored]);
        all.push("zzz".to_owned());
        restored.disconnect();
    }
    device.online();
    world.converge(&[&device]);
    assert_eq!(names(&device.store), all);
}

#[test]
fn f13_a_device_that_is_killed_while_it_takes_another_name_takes_it_once() {
    let mut world = World::new();
    let (_one, twin, mut a, mut b) = twins(&mut world);
    a.online();
    a.shops.put(&mut shop("of a")).unwrap();
    world.converge(&[&a]);
    for round in 0..3 {
        b.shops.put(&mut shop(&format!("of b {round}"))).unwrap();
        b.connect();
        if round == 0 {
            b.events.wait("another name", is_renamed);
        }
        drop(b);
        b = world.device_of(open_at(twin.path(), Role::Device));
    }
    let peer = b.store.sync().peer();
    b.online();
    world.converge(&[&a, &b]);
    assert_eq!(names(&a.store), ["of a", "of b 0", "of b 1", "of b 2", "shared"]);
    assert_eq!(b.store.sync().peer(), peer);
    check_nothing_came_back(&[&a, &b]);
}

#[test]
fn f13_three_generations_of_copies_come_together() {
    let mut world = World::new();
    let mut directories = vec![synced(&mut world)];
    for generation in 0..3 {
        // Each opens, writes offline, and is copied; only after that it comes online, and all before it once more.
        let newest = directories.last().unwrap().path();
        let device = world.device_of(open_at(newest, Role::Device));
        device.shops.put(&mut shop(&format!("before copy {generation}"))).unwrap();
        drop(device);
        let next = copy(newest);
        let mut device = world.device_of(open_at(newest, Role::Device));
        device.shops.put(&mut shop(&format!("after copy {generation}"))).unwrap();
        device.online();
        world.converge(&[&device]);
        drop(device);
        directories.push(next);
    }
    let mut devices: Vec<Device> = directories
        .iter()
        .map(|directory| world.device_of(open_at(directory.path(), Role::Device)))
        .collect();
    devices.iter_mut().for_each(Device::connect);
    world.converge(&devices.iter().collect::<Vec<_>>());
    let mut all: Vec<String> =
        (0..3).flat_map(|n| [format!("before copy {n}"), format!("after copy {n}")]).collect();
    all.push("shared".to_owned());
    all.sort();
    for device in &devices {
        assert_eq!(names(&device.store), all);
        check_nothing_came_back(&[device]);
    }
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
