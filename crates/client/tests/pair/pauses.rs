//! Attempts are counted, and follow the schedule whatever fails.

use std::time::Duration;

use reconvene_client::{ClientConfig, Code, SyncEvent};
use reconvene_sim::Direction;

use crate::servers::{Conduct, PartialServer};
use crate::world::{Device, PATIENCE, Shop, World, wait_until};

/// After this pause nothing happens for the rest of a test, unless the device is told that the network is back.
const FOR_GOOD: Duration = Duration::from_secs(3600);

/// Short pauses, and one that ends the attempts.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
    Duration::from_millis(16),
    FOR_GOOD,
];

/// How long what a server leaves out is waited for. All else takes as long as a busy machine needs.
const SHORT: Duration = Duration::from_millis(50);

fn eager(world: &mut World) -> Device {
    let mut device = world.device();
    device.pauses = PAUSES.to_vec();
    device.connect_timeout = PATIENCE;
    device.protocol = ClientConfig { login_timeout: PATIENCE, ..ClientConfig::default() };
    device.shops.put(&mut Shop::default()).unwrap();
    device
}

/// Checks that every pause is that of its step, and that it was waited for.
fn check_pauses(device: &Device, steps: &[Duration]) {
    let ends = device.events.ends();
    for (at, (closed, pause)) in ends.iter().enumerate() {
        let step = steps[at.min(steps.len() - 1)];
        assert!(step / 2 <= *pause && *pause <= step, "{at}: {pause:?} of {step:?} after {closed}");
    }
    let events = device.events.all();
    let attempts: Vec<_> =
        events.iter().filter(|(_, event)| matches!(event, SyncEvent::Connecting)).collect();
    for (pair, (_, pause)) in attempts.windows(2).zip(&ends) {
        assert!(pair[1].0 - pair[0].0 >= *pause, "an attempt came before its time");
    }
}

/// Lets the device try until it pauses for good; then every attempt must have had its step.
fn tries_by_schedule(device: &Device, code: Code) {
    let is_end = |event: &SyncEvent| matches!(event, SyncEvent::Disconnected { .. });
    device.events.wait_many("five failures", PAUSES.len(), is_end);
    check_pauses(device, &PAUSES);
    assert_eq!(device.events.attempts(), PAUSES.len());
    assert_eq!(device.client().status().connects, PAUSES.len() as u64);
    for (closed, _) in device.events.ends() {
        assert_eq!(closed.code, code, "{closed}");
    }
}

/// What a server of a conduct is asked, until the real one takes its place.
fn meets(conduct: Conduct, code: Code) {
    let mut world = World::new();
    let mut device = eager(&mut world);
    let server = PartialServer::start(conduct);
    device.network.set_target(server.address);
    match conduct {
        Conduct::Accepts => device.connect_timeout = SHORT,
        Conduct::ShakesHands => device.protocol.login_timeout = SHORT,
        _ => {}
    }
    device.connect();
    tries_by_schedule(&device, code);
    wait_until("the server has met every attempt", || server.connects() == PAUSES.len() as u64);
    assert_eq!(device.store.sync().undecided().unwrap(), 1);
    drop(server);
    device.network.set_target(world.server().local_addr());
    device.reconnect_patiently();
    world.converge(&[&device]);
}

impl Device {
    /// Waits for servers as long as a slow machine needs.
    fn reconnect_patiently(&mut self) {
        self.disconnect();
        (self.connect_timeout, self.protocol) = (PATIENCE, ClientConfig::default());
        self.online();
    }
}

#[test]
fn a_refused_connection_is_tried_by_the_schedule() {
    let mut world = World::new();
    let mut device = eager(&mut world);
    device.network.refuse(true).unwrap();
    device.connect();
    tries_by_schedule(&device, Code::LinkLost);
    assert_eq!(device.network.counters().connects, 0);
    device.network.refuse(false).unwrap();
    device.reconnect_patiently();
    world.converge(&[&device]);
}

#[test]
fn a_name_that_does_not_resolve_is_tried_by_the_schedule() {
    let mut world = World::new();
    let mut device = eager(&mut world);
    // No name may have a part of 64 letters, so nobody needs to be asked.
    device.connect_to(&format!("ws://{}.example:9999", "n".repeat(64)));
    tries_by_schedule(&device, Code::LinkLost);
    assert!(device.events.ends()[0].0.reason.contains("nnnn.example:9999"), "{:?}", device.events.ends());
    device.reconnect_patiently();
    world.converge(&[&device]);
}

#[test]
fn a_server_that_closes_at_once_is_asked_by_the_schedule() {
    meets(Conduct::Closes, Code::LinkLost);
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_asked_by_the_schedule() {
    meets(Conduct::Accepts, Code::LinkLost);
}

#[test]
fn a_server_that_shakes_hands_and_says_nothing_is_asked_by_the_schedule() {
    meets(Conduct::ShakesHands, Code::LoginLate);
}

#[test]
fn a_server_that_refuses_every_login_is_asked_by_the_schedule() {
    meets(Conduct::Refuses(Code::Busy), Code::Busy);
}

#[test]
fn a_server_that_takes_logins_and_does_nothing_is_asked_by_the_schedule() {
    let mut world = World::new();
    let mut device = eager(&mut world);
    let epoch = world.server_store.sync().epoch().unwrap();
    device.protocol.pong_timeout = SHORT;
    let server = PartialServer::start(Conduct::LogsIn { epoch, heartbeat: SHORT });
    device.network.set_target(server.address);
    device.connect();
    tries_by_schedule(&device, Code::HeartbeatLost);
    let is_login = |event: &SyncEvent| matches!(event, SyncEvent::LoggedIn);
    device.events.wait_many("every login was taken", PAUSES.len(), is_login);
    assert_eq!(server.connects(), PAUSES.len() as u64);
    device.network.set_target(world.server().local_addr());
    device.reconnect_patiently();
    world.converge(&[&device]);
}

#[test]
fn connections_that_are_cut_before_a_login_are_tried_by_the_schedule() {
    // In the answer to the handshake, in Hello, and in what the device says first.
    for (direction, bytes) in
        [(Direction::Down, 1), (Direction::Down, 200), (Direction::Up, 1), (Direction::Up, 300)]
    {
        let mut world = World::new();
        let mut device = eager(&mut world);
        device.network.cut_each_after(direction, bytes);
        device.connect();
        tries_by_schedule(&device, Code::LinkLost);
        assert!(!device.events.all().iter().any(|(_, event)| matches!(event, SyncEvent::LoggedIn)));
        device.network.heal().unwrap();
        device.reconnect_patiently();
        world.converge(&[&device]);
    }
}

#[test]
fn connections_that_are_all_cut_short_bring_everything_in_the_end() {
    const SHARE: u64 = 16 * 1024;
    let mut world = World::build(crate::world::server_store(), |world| world.limits.chunk_bytes = 1024);
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    for device in [&mut a, &mut b] {
        for _ in 0..40 {
            let shop = |stock| Shop { name: "s".repeat(400), stock, ..Shop::default() };
            device.shops.put_many(&mut (0..10).map(shop).collect::<Vec<_>>()).unwrap();
        }
    }
    world.converge(&[&a]);
    // Each share is longer than a transaction: within one, a catch-up does not go on where it ended.
    b.network.cut_each_after(Direction::Down, SHARE);
    b.pauses = PAUSES[..4].to_vec();
    b.connect();
    world.converge(&[&a, &b]);
    let down = b.network.counters().bytes_down;
    assert!(down > 10 * SHARE, "{down} bytes need more than one connection");
    assert!(b.events.attempts() >= 10);
    // Most sessions lead somewhere, so attempts stay in proportion to the bytes.
    assert!(b.events.attempts() as u64 <= 4 * down / SHARE, "{} attempts", b.events.attempts());
    let mut step = 0;
    for (closed, pause) in b.events.ends() {
        let fits = |step: usize| PAUSES[step.min(3)] / 2 <= pause && pause <= PAUSES[step.min(3)];
        step = if fits(step + 1) { step + 1 } else { 0 };
        assert!(fits(step), "{pause:?} after {closed}");
    }
}
