//! Links that are cut again and again before much has come through.

use std::time::Duration;

use reconvene_sim::Direction;

use crate::world::{Device, PATIENCE, Shop, World};

/// After how many bytes each connection is cut.
const CUT_AFTER_BYTES: u64 = 1_000_000;

/// What a link carries in a second: slow enough for a device to have read what came before the cut.
const BYTES_PER_SECOND: u64 = 10_000_000;

const OBJECTS: i64 = 8_000;

/// The bytes of a name, which is most of an object.
const NAME_BYTES: usize = 1_000;

/// Puts so much in one transaction that it travels in many chunks.
fn put_a_large_transaction(author: &Device) {
    let shop = |stock| Shop { name: "x".repeat(NAME_BYTES), stock, ..Shop::default() };
    author.shops.put_many(&mut (0..OBJECTS).map(shop).collect::<Vec<_>>()).unwrap();
}

fn connect_by_a_slow_link(reader: &mut Device) {
    reader.network.throttle(Direction::Down, BYTES_PER_SECOND);
    reader.network.cut_each_after(Direction::Down, CUT_AFTER_BYTES);
    reader.pauses = vec![Duration::from_millis(5)];
    reader.connect();
}

#[test]
fn a_transaction_comes_through_a_link_that_is_cut_before_a_part_of_it_has() {
    let mut world = World::new();
    let (mut author, mut reader) = (world.device(), world.device());
    author.online();
    put_a_large_transaction(&author);
    world.converge(&[&author]);
    assert_eq!(world.server_store.sync().head().unwrap().0, 1, "it is one transaction");
    connect_by_a_slow_link(&mut reader);
    reader.client().wait_downloaded(PATIENCE).unwrap();
    world.converge(&[&author, &reader]);
    let (status, bytes) = (reader.client().status(), OBJECTS as u64 * NAME_BYTES as u64);
    assert!(status.connects >= bytes / CUT_AFTER_BYTES, "{status:?}");
    assert!(status.bytes_received < 2 * bytes, "what was there came again: {status:?} for {bytes}");
}

#[test]
fn what_was_changed_between_two_parts_of_a_transaction_comes_as_it_is() {
    let mut world = World::new();
    let (mut author, mut reader) = (world.device(), world.device());
    author.online();
    put_a_large_transaction(&author);
    world.converge(&[&author]);
    connect_by_a_slow_link(&mut reader);
    reader.events.wait("a part", |event| matches!(event, reconvene_client::SyncEvent::Applied { .. }));
    reader.disconnect();
    assert!(!reader.store.sync().resume().unwrap().is_empty(), "it was cut off within the transaction");
    // Among what has come already, and among what has not.
    for id in [1, OBJECTS as u64 / 2, OBJECTS as u64] {
        author.shops.update(id, |shop| shop.stock = -1).unwrap();
    }
    author.shops.remove(2).unwrap();
    author.shops.remove(OBJECTS as u64 - 1).unwrap();
    world.converge(&[&author]);
    connect_by_a_slow_link(&mut reader);
    reader.client().wait_downloaded(PATIENCE).unwrap();
    world.converge(&[&author, &reader]);
    assert!(reader.store.sync().resume().unwrap().is_empty());
}
