//! Networks and servers that come and go.

use std::time::Duration;

use reconvene_client::State;
use reconvene_sim::Direction;

use crate::world::{PATIENCE, Shop, World, wait_until};

fn shop(number: i64) -> Shop {
    Shop { name: format!("shop {number}"), stock: number, ..Shop::default() }
}

#[test]
fn cuts_at_any_byte_lose_and_double_nothing() {
    let mut world = World::new();
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    b.online();
    let mut put = 0;
    for round in 0..40_u64 {
        let (device, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        device.network.cut_after(Direction::Up, round * 97 % 1500);
        other.network.cut_after(Direction::Down, round * 61 % 1500);
        for _ in 0..10 {
            device.shops.put(&mut shop(put)).unwrap();
            put += 1;
        }
        a.client().network_is_back();
        b.client().network_is_back();
    }
    a.network.heal().unwrap();
    b.network.heal().unwrap();
    world.converge(&[&a, &b]);
    for device in [&a, &b] {
        let mut stocks: Vec<i64> = device.shops.all().unwrap().iter().map(|shop| shop.stock).collect();
        stocks.sort_unstable();
        assert_eq!(stocks, (0..put).collect::<Vec<_>>());
        assert!(device.store.sync().rejected().unwrap().is_empty());
    }
}

#[test]
fn a_client_comes_back_by_itself_when_the_network_does() {
    let mut world = World::new();
    let mut a = world.device();
    a.online();
    a.network.refuse(true).unwrap();
    a.network.cut();
    a.shops.put(&mut shop(1)).unwrap();
    assert_eq!(a.store.sync().undecided().unwrap(), 1);
    a.network.refuse(false).unwrap();
    world.converge(&[&a]);
}

#[test]
fn what_is_written_again_and_again_after_a_cut_is_one_transaction() {
    let mut world = World::new();
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    b.online();
    let id = a.shops.put(&mut shop(0)).unwrap();
    world.converge(&[&a, &b]);
    a.network.refuse(true).unwrap();
    a.network.cut();
    wait_until("the session has ended", || a.client().status().state == State::Waiting);
    for stock in 1..=200 {
        a.shops.update(id, |shop| shop.stock = stock).unwrap();
    }
    assert_eq!(a.store.sync().undecided().unwrap(), 1);
    a.network.refuse(false).unwrap();
    world.converge(&[&a, &b]);
    assert_eq!(b.shops.all().unwrap()[0].stock, 200);
}

#[test]
fn a_client_told_of_the_network_does_not_wait_for_its_pause() {
    let mut world = World::new();
    let mut a = world.device();
    a.network.refuse(true).unwrap();
    a.connect();
    // After some failures the pauses are long.
    while a.client().status().connects < 4 {
        a.client().network_is_back();
        std::thread::sleep(Duration::from_millis(5));
    }
    a.network.refuse(false).unwrap();
    a.client().network_is_back();
    a.client().wait_downloaded(PATIENCE).unwrap();
}

#[test]
fn a_server_drains_and_comes_back() {
    let mut world = World::new();
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    b.online();
    for number in 0..50 {
        a.shops.put(&mut shop(number)).unwrap();
    }
    world.stop_server();
    for number in 50..60 {
        b.shops.put(&mut shop(number)).unwrap();
    }
    world.start_server();
    a.client().network_is_back();
    b.client().network_is_back();
    world.converge(&[&a, &b]);
    assert_eq!(a.shops.count().unwrap(), 60);
}

#[test]
fn a_stalled_device_does_not_hold_up_another() {
    let mut world = World::new();
    let (mut a, mut b, mut c) = (world.device(), world.device(), world.device());
    a.online();
    b.online();
    c.online();
    c.network.stall(Direction::Down, true);
    for number in 0..2000 {
        a.shops.put(&mut shop(number)).unwrap();
    }
    world.converge(&[&a, &b]);
    c.network.stall(Direction::Down, false);
    world.converge(&[&a, &b, &c]);
}

#[test]
fn a_history_larger_than_all_buffers_goes_out_without_a_heartbeat() {
    let mut world = World::new();
    let (mut a, mut b, mut late) = (world.device(), world.device(), world.device());
    a.online();
    b.online();
    for _ in 0..40 {
        let mut shops: Vec<Shop> = (0..500).map(|n| Shop { name: "long ".repeat(400), ..shop(n) }).collect();
        a.shops.put_many(&mut shops).unwrap();
    }
    world.converge(&[&a, &b]);
    late.online();
    world.converge(&[&a, &b, &late]);
}

#[test]
fn a_slow_network_is_not_taken_for_a_dead_one() {
    let mut world = World::new();
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    b.network.throttle(Direction::Down, 200_000);
    b.online();
    let mut shops: Vec<Shop> = (0..5000).map(shop).collect();
    a.shops.put_many(&mut shops).unwrap();
    world.converge(&[&a, &b]);
    assert_eq!(b.client().status().connects, 1);
}
