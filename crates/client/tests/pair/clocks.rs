//! Devices whose clocks are wrong: their writes arrive, and none of them is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reconvene_client::Code;
use reconvene_sim::Direction;
use reconvene_store::{Role, Store, SystemTimeSource, TimeSource};

use crate::world::{Device, Shop, Town, World, wait_until};

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// A device whose clock is ahead by what the number says, in milliseconds.
fn device(world: &mut World, ahead_ms: i64) -> (Device, Arc<AtomicI64>) {
    let ahead = Arc::new(AtomicI64::new(ahead_ms));
    let by = ahead.clone();
    let store = Store::builder("memory:").entity::<Shop>().entity::<Town>().role(Role::Device);
    let store =
        store.time_source(move || SystemTimeSource.now_ms().saturating_add_signed(by.load(Ordering::SeqCst)));
    (world.device_of(store.open().unwrap()), ahead)
}

fn put(device: &Device, name: &str) -> u64 {
    device.shops.put(&mut Shop { name: name.to_owned(), ..Shop::default() }).unwrap()
}

fn only_stock(device: &Device) -> i64 {
    let shops = device.shops.all().unwrap();
    assert_eq!(shops.len(), 1, "{shops:?}");
    shops[0].stock
}

fn set_stock(device: &Device, stock: i64) {
    let id = device.shops.all().unwrap()[0].id;
    device.shops.update(id, |shop| shop.stock = stock).unwrap();
}

fn nothing_rejected(devices: &[&Device]) {
    for device in devices {
        assert_eq!(device.store.sync().rejected().unwrap(), []);
    }
}

fn ended_for_the_clock(device: &Device) -> usize {
    device.events.ends().iter().filter(|(closed, _)| closed.code == Code::ClockChanged).count()
}

#[test]
fn what_a_device_a_year_ahead_wrote_offline_arrives_and_can_be_overwritten() {
    let mut world = World::new();
    let (mut wrong, _) = device(&mut world, YEAR_MS);
    let mut right = world.device();
    let id = put(&wrong, "Baker");
    for stock in 0..20 {
        wrong.shops.update(id, |shop| shop.stock = stock).unwrap();
    }
    wrong.online();
    right.online();
    world.converge(&[&wrong, &right]);
    assert_eq!(only_stock(&right), 19);
    // It counts as written when it came, not next year.
    set_stock(&right, 100);
    world.converge(&[&wrong, &right]);
    assert_eq!((only_stock(&wrong), only_stock(&right)), (100, 100));
    nothing_rejected(&[&wrong, &right]);
}

#[test]
fn a_device_a_year_ahead_writes_while_it_is_connected() {
    let mut world = World::new();
    let (mut wrong, _) = device(&mut world, YEAR_MS);
    let mut right = world.device();
    wrong.online();
    right.online();
    put(&wrong, "Baker");
    for round in 0..10 {
        (0..10).for_each(|n| set_stock(&wrong, round * 100 + n));
        world.converge(&[&wrong, &right]);
        assert_eq!(only_stock(&right), round * 100 + 9);
        set_stock(&right, round * 100 + 50);
        world.converge(&[&wrong, &right]);
        assert_eq!((only_stock(&wrong), only_stock(&right)), (round * 100 + 50, round * 100 + 50));
    }
    assert_eq!(ended_for_the_clock(&wrong), 0, "a clock that is only wrong costs no connection");
    nothing_rejected(&[&wrong, &right]);
}

#[test]
fn a_clock_that_is_set_while_connected_costs_one_connection_and_no_write() {
    let mut world = World::new();
    let (mut wrong, ahead) = device(&mut world, 0);
    let mut right = world.device();
    wrong.online();
    right.online();
    put(&wrong, "Baker");
    world.converge(&[&wrong, &right]);
    for (ended, by) in [(1, YEAR_MS), (1, 0), (1, -YEAR_MS), (2, 2 * YEAR_MS)] {
        ahead.store(by, Ordering::SeqCst);
        for stock in 0..10 {
            set_stock(&wrong, by + stock);
        }
        world.converge(&[&wrong, &right]);
        assert_eq!(only_stock(&right), by + 9);
        assert_eq!(ended_for_the_clock(&wrong), ended, "set by {by}: {:?}", wrong.events.ends());
    }
    nothing_rejected(&[&wrong, &right]);
}

#[test]
fn a_device_in_1970_writes_and_reads() {
    let mut world = World::new();
    let (mut wrong, _) = device(&mut world, -2_000_000_000_000);
    let mut right = world.device();
    put(&wrong, "Baker");
    wrong.online();
    right.online();
    world.converge(&[&wrong, &right]);
    set_stock(&right, 7);
    world.converge(&[&wrong, &right]);
    set_stock(&wrong, 8);
    world.converge(&[&wrong, &right]);
    assert_eq!((only_stock(&wrong), only_stock(&right)), (8, 8));
    nothing_rejected(&[&wrong, &right]);
}

#[test]
fn writes_of_a_device_a_year_ahead_arrive_once_however_often_the_connection_is_cut() {
    let mut world = World::new();
    let (mut wrong, _) = device(&mut world, YEAR_MS);
    let mut right = world.device();
    right.online();
    let mut written = 0;
    let mut put_next = |device: &Device| {
        put(device, &format!("shop {written}"));
        written += 1;
    };
    (0..50).for_each(|_| put_next(&wrong));
    wrong.connect();
    for (round, bytes) in [0, 100, 300, 500, 1_000, 1_500, 2_000, 3_000].into_iter().enumerate() {
        wrong.network.cut_after(Direction::Up, bytes);
        // What is undecided by now may take fewer bytes than it needs for the cut.
        wait_until("the next attempt", || {
            put_next(&wrong);
            wrong.client().network_is_back();
            wrong.events.attempts() >= round + 2
        });
    }
    wrong.network.heal().unwrap();
    world.converge(&[&wrong, &right]);
    assert_eq!(right.shops.count().unwrap(), written);
    nothing_rejected(&[&wrong, &right]);
}
