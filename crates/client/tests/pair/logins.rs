//! Who is let in, and what a device is told that is not.

use reconvene_client::{Code, Secret, State, WaitError};
use reconvene_server::{Authentication, Server, ServerError};
use reconvene_store::{Role, Store};

use crate::world::{Device, PATIENCE, Shop, World};

fn secured() -> World {
    World::with(Authentication::SharedSecret(Secret::new("open sesame")))
}

/// The code with which the server sent the device away for good.
fn refusal(device: &mut Device) -> Code {
    device.connect();
    match device.client().wait_logged_in(PATIENCE) {
        Err(WaitError::Ended { closed: Some(closed) }) => closed.code,
        other => panic!("the device was to be refused: {other:?}"),
    }
}

#[test]
fn devices_with_the_secret_get_in_and_others_do_not() {
    let mut world = secured();
    let mut good = world.device().with_secret("open sesame");
    good.online();
    let mut wrong = world.device().with_secret("open says me");
    assert_eq!(refusal(&mut wrong), Code::SecretWrong);
    let mut without = world.device();
    assert_eq!(refusal(&mut without), Code::CredentialsMissing);
    assert_eq!(without.client().status().state, State::GaveUp);
    // Nothing of what they write gets in either, and nothing of it is lost.
    wrong.shops.put(&mut Shop::default()).unwrap();
    assert_eq!(wrong.store.sync().undecided().unwrap(), 1);
    world.converge(&[&good]);
    assert_eq!(good.shops.count().unwrap(), 0);
}

#[test]
fn a_server_wants_to_be_told_who_may_log_in() {
    let store = Store::builder("memory:").role(Role::Server).open().unwrap();
    let error = Server::builder(&store).start().err().unwrap();
    assert!(matches!(error, ServerError::NoAuthentication), "{error}");
}

#[test]
fn a_device_store_makes_no_server_and_a_server_store_no_device() {
    let device = Store::builder("memory:").open().unwrap();
    let server = Server::builder(&device).authentication(Authentication::None).start();
    assert!(matches!(server.err(), Some(ServerError::DeviceStore)));
    let store = Store::builder("memory:").role(Role::Server).open().unwrap();
    let client = reconvene_client::SyncClient::builder(&store, "ws://127.0.0.1:1").start();
    assert!(matches!(client.err(), Some(reconvene_client::ClientError::ServerStore)));
}

#[test]
fn a_copied_identity_is_left_and_loses_nothing() {
    let mut world = World::new();
    let secret = [7; 32];
    let twin = || {
        Store::builder("memory:")
            .entity::<Shop>()
            .entity::<crate::world::Town>()
            .identity_secret(secret)
            .open()
            .unwrap()
    };
    let mut a = world.device();
    a.store = twin();
    a.shops = a.store.boxed().unwrap();
    a.online();
    a.shops.put(&mut Shop { name: "first".into(), ..Shop::default() }).unwrap();
    world.converge(&[&a]);
    a.disconnect();
    let mut b = world.device();
    b.store = twin();
    b.shops = b.store.boxed().unwrap();
    b.shops.put(&mut Shop { name: "second".into(), ..Shop::default() }).unwrap();
    b.online();
    world.converge(&[&b]);
    assert_eq!(b.shops.count().unwrap(), 2);
    assert_ne!(b.store.sync().peer(), a.store.sync().peer());
}

#[test]
fn a_device_that_comes_to_another_server_is_not_let_in_and_keeps_everything() {
    let mut world = World::new();
    let mut a = world.device();
    a.online();
    a.shops.put(&mut Shop::default()).unwrap();
    world.converge(&[&a]);
    a.disconnect();
    let other = World::new();
    a.network.set_target(other.server().local_addr());
    a.connect();
    a.events.wait_closed(Code::HistoryLost);
    a.disconnect();
    assert_eq!(a.shops.count().unwrap(), 1);
    assert_eq!(a.store.sync().rejected().unwrap(), []);
    a.shops.put(&mut Shop::default()).unwrap();
    // Its own server takes it as if nothing had happened.
    a.network.set_target(world.server().local_addr());
    a.online();
    world.converge(&[&a]);
    assert_eq!(a.shops.count().unwrap(), 2);
}

#[test]
fn the_newest_session_of_a_peer_replaces_the_older_one() {
    let mut world = World::new();
    let mut a = world.device();
    a.online();
    let older = a.network.clone();
    // The older connection is dead without the server knowing.
    older.half_open(reconvene_sim::Direction::Down, true);
    older.half_open(reconvene_sim::Direction::Up, true);
    a.disconnect();
    older.heal().unwrap();
    a.online();
    world.converge(&[&a]);
    assert_eq!(world.server().stats().sessions, 1);
}

#[test]
fn a_store_closes_after_its_client_was_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let open =
        || Store::builder(directory.path()).entity::<Shop>().entity::<crate::world::Town>().open().unwrap();
    let world = World::new();
    let url = format!("ws://{}", world.server().local_addr());
    for _ in 0..3 {
        let store = open();
        let client = reconvene_client::SyncClient::builder(&store, &url).start().unwrap();
        client.wait_downloaded(PATIENCE).unwrap();
        drop((client, store));
        // Whoever has the lock file to himself finds nobody else's number in it.
        let lock = std::fs::read_to_string(directory.path().join("reconvene.lock")).unwrap();
        assert_eq!(lock, "");
    }
}
