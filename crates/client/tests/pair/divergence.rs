//! What comes apart although it should not is noticed by digests, and put right by a compare.

use std::time::Duration;

use reconvene_client::{Code, SyncEvent};
use reconvene_store::__private::corrupt;
use reconvene_store::{LOST_BY_SERVER, Store};

use crate::world::{Device, Shop, World, wait_until};

/// Small enough for a test to see several digests, and nothing waits for it but the digests.
const INTERVAL: Duration = Duration::from_millis(50);

/// More than one slice holds.
const SHOPS: usize = 600;

fn world_with_shops() -> (World, [Device; 2]) {
    let mut world = World::new();
    let mut devices = [world.device(), world.device()];
    for device in &mut devices {
        device.protocol.probe_interval = INTERVAL;
        device.pauses = vec![Duration::from_millis(1)];
    }
    let mut shops: Vec<Shop> =
        (0..SHOPS).map(|at| Shop { name: format!("shop {at}"), stock: 7, ..Shop::default() }).collect();
    for device in &mut devices {
        device.online();
    }
    devices[0].shops.put_many(&mut shops).unwrap();
    world.converge(&[&devices[0], &devices[1]]);
    (world, devices)
}

fn stock(store: &Store, name: &str) -> i64 {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    shops.iter().find(|shop| shop.name == name).unwrap().stock
}

fn id_of(store: &Store, name: &str) -> u64 {
    store.boxed::<Shop>().unwrap().all().unwrap().iter().find(|shop| shop.name == name).unwrap().id
}

fn diverged(event: &SyncEvent) -> bool {
    matches!(event, SyncEvent::Diverged { .. })
}

#[test]
fn a_value_that_changed_on_a_device_is_put_right_and_the_application_is_told() {
    let (world, [author, reader]) = world_with_shops();
    for (device, name) in [(&reader, "shop 599"), (&author, "shop 3")] {
        let id = id_of(&device.store, name);
        // The larger value of two that were written at once counts: this one the device could have in advance of the server.
        assert!(corrupt(&device.store, "Shop", id, "stock", &9_i64.to_le_bytes()).unwrap());
        assert_eq!(stock(&device.store, name), 9);
        device.events.wait("the divergence", diverged);
        device.events.wait_closed(Code::Diverged);
        wait_until("the device has what the server has", || stock(&device.store, name) == 7);
        world.converge(&[&author, &reader]);
        assert_eq!(device.client().status().divergences, 1);
        let rejected = device.store.sync().rejected().unwrap();
        assert_eq!(rejected.iter().map(|row| row.code).collect::<Vec<_>>(), [LOST_BY_SERVER]);
        assert_eq!(rejected[0].ops[0].id, id);
    }
    assert_eq!(world.server().stats().divergences, 2);
}

#[test]
fn a_value_that_changed_at_the_server_is_what_everyone_has_in_the_end() {
    let (world, devices) = world_with_shops();
    let id = id_of(&world.server_store, "shop 400");
    assert!(corrupt(&world.server_store, "Shop", id, "stock", &9_i64.to_le_bytes()).unwrap());
    for device in &devices {
        device.events.wait("the divergence", diverged);
        wait_until("the device has what the server has", || stock(&device.store, "shop 400") == 9);
    }
    world.converge(&[&devices[0], &devices[1]]);
}

#[test]
fn nothing_is_found_where_nothing_is_wrong_while_everybody_writes() {
    let (world, devices) = world_with_shops();
    for round in 0..60 {
        for (at, device) in devices.iter().enumerate() {
            let name = format!("shop {}", (round * 7 + at * 300) % SHOPS);
            let id = id_of(&device.store, &name);
            device.shops.update(id, |shop| shop.stock += 1).unwrap();
            if round % 9 == at {
                device.shops.remove(id).unwrap();
                device.shops.put(&mut Shop { name, ..Shop::default() }).unwrap();
            }
        }
        std::thread::sleep(INTERVAL / 5);
    }
    world.converge(&[&devices[0], &devices[1]]);
    std::thread::sleep(INTERVAL * 8);
    for device in &devices {
        assert_eq!(device.client().status().divergences, 0, "{:?}", device.events.ends());
    }
    assert_eq!(world.server().stats().divergences, 0);
}
