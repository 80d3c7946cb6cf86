//! Connections that die without telling: heartbeats find them, on either side.

use std::time::Duration;

use reconvene_client::{ClientConfig, Code, State};
use reconvene_server::ServerConfig;
use reconvene_sim::Direction;

use crate::world::{Device, PATIENCE, Shop, World, server_store, wait_until};

/// A machine that is busy may take a living connection for a dead one; the tests allow for that.
const HEARTBEAT: Duration = Duration::from_millis(100);

fn lively() -> World {
    World::build(server_store(), |world| {
        world.protocol =
            ServerConfig { heartbeat: HEARTBEAT, pong_timeout: 2 * HEARTBEAT, ..ServerConfig::default() };
    })
}

fn device(world: &mut World) -> Device {
    let mut device = world.device();
    device.protocol = ClientConfig { pong_timeout: 2 * HEARTBEAT, ..ClientConfig::default() };
    device.connect_timeout = 5 * HEARTBEAT;
    device.pauses = vec![HEARTBEAT / 10];
    device
}

#[test]
fn a_device_finds_that_it_hears_nothing_any_more() {
    let mut world = lively();
    let mut device = device(&mut world);
    device.online();
    device.network.half_open(Direction::Down, true);
    device.shops.put(&mut Shop::default()).unwrap();
    device.events.wait_closed(Code::HeartbeatLost);
    device.network.heal().unwrap();
    world.converge(&[&device]);
}

#[test]
fn a_server_finds_that_it_hears_nothing_any_more() {
    let mut world = lively();
    let mut device = device(&mut world);
    device.online();
    wait_until("the server has a session", || world.server().stats().sessions == 1);
    // From here on the server is told nothing, not even that the device has gone.
    device.network.half_open(Direction::Up, true);
    device.network.half_open(Direction::Down, true);
    device.network.refuse(true).unwrap();
    wait_until("the server gives the device up", || world.server().stats().sessions == 0);
    device.shops.put(&mut Shop::default()).unwrap();
    device.network.heal().unwrap();
    world.converge(&[&device]);
}

#[test]
fn a_stall_in_either_direction_ends_the_connection_and_loses_nothing() {
    for direction in [Direction::Up, Direction::Down] {
        let mut world = lively();
        let (mut a, mut b) = (device(&mut world), device(&mut world));
        a.online();
        b.online();
        a.network.stall(direction, true);
        a.shops.put(&mut Shop { stock: 1, ..Shop::default() }).unwrap();
        b.shops.put(&mut Shop { stock: 2, ..Shop::default() }).unwrap();
        a.events.wait_closed(Code::HeartbeatLost);
        a.network.stall(direction, false);
        world.converge(&[&a, &b]);
        assert_eq!(a.shops.count().unwrap(), 2);
    }
}

#[test]
fn a_server_without_a_session_left_still_drains() {
    let mut world = lively();
    let mut device = device(&mut world);
    device.online();
    device.network.stall(Direction::Down, true);
    device.shops.put(&mut Shop::default()).unwrap();
    world.stop_server();
    world.start_server();
    device.network.heal().unwrap();
    world.converge(&[&device]);
}

#[test]
fn a_client_stops_in_good_time_on_a_dead_connection() {
    let mut world = World::new();
    let mut device = world.device();
    device.online();
    device.network.stall(Direction::Up, true);
    for _ in 0..20 {
        device.shops.put(&mut Shop { name: "x".repeat(1 << 20), ..Shop::default() }).unwrap();
    }
    let (done, stopped) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let device = &mut device;
        scope.spawn(move || {
            device.disconnect();
            done.send(()).unwrap();
        });
        stopped.recv_timeout(PATIENCE).unwrap();
    });
    assert_eq!(device.store.sync().undecided().unwrap(), 20);
    device.network.heal().unwrap();
    device.online();
    world.converge(&[&device]);
    assert_eq!(device.client().status().state, State::Live);
}
