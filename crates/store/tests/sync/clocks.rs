//! Clocks that are wrong: a year ahead, in 1970, set back; what is dated too far ahead is dated anew before anybody sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reconvene_model::change::decode_tx;
use reconvene_store::{Held, Store};

use crate::world::{Order, START_MS, Shop, Town, World};

const YEAR_MS: i64 = 365 * 24 * 3_600_000;
const TO_1970_MS: i64 = -2_000_000_000_000;

/// The milliseconds of the stamps in the outbox, and their bytes.
fn outbox(store: &Store) -> Vec<(u64, Vec<u8>)> {
    let txs = store.sync().outbox(0, usize::MAX, usize::MAX).unwrap();
    txs.into_iter().map(|tx| (decode_tx(&tx.bytes).unwrap().0.hlc >> 16, tx.bytes)).collect()
}

/// A world in which everybody has one town, whose id is 1 on the device that made it.
fn with_town(devices: u8, on_disk: bool) -> World {
    let mut world = World::new(devices, on_disk);
    world.devices[0].towns().put(&mut Town { name: "Vila".into(), ..Town::default() }).unwrap();
    world.settle();
    world.check();
    world
}

fn people(world: &World, device: usize) -> u32 {
    world.devices[device].towns().all().unwrap()[0].people
}

fn set_people(world: &World, device: usize, people: u32) {
    let towns = world.devices[device].towns();
    let id = towns.all().unwrap()[0].id;
    towns.update(id, |town| town.people = people).unwrap();
}

/// Writes something else, so that the next write takes the place of none before it.
fn write_otherwise(world: &World, device: usize) {
    world.devices[device].shops().put(&mut Shop::default()).unwrap();
}

fn finish(world: &mut World) {
    world.settle();
    world.settle();
    world.check();
    world.check_no_clock_refused();
}

#[test]
fn writes_of_a_device_a_year_ahead_arrive_dated_when_they_were_sent() {
    let mut world = with_town(2, false);
    world.cut(0);
    world.set_clock(0, YEAR_MS);
    set_people(&world, 0, 1);
    world.devices[0].shops().put(&mut Shop { name: "Baker".into(), ..Shop::default() }).unwrap();
    world.tick(5_000);
    set_people(&world, 1, 2);
    // Nobody knows when the device really wrote: it counts as written when it comes back, and so after this one.
    world.tick(5_000);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (1, 1));
    assert_eq!(world.devices[1].shops().count().unwrap(), 1);
    assert!(
        world.history.iter().all(|tx| tx.hlc >> 16 <= START_MS + 20_000),
        "no stamp of next year is left"
    );
    // And it is not ahead for ever after.
    set_people(&world, 1, 3);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (3, 3));
}

#[test]
fn f7a_a_clock_that_was_corrected_before_the_login_leaves_nothing_dated_ahead() {
    let mut world = with_town(2, false);
    world.set_clock(0, YEAR_MS);
    set_people(&world, 0, 1);
    world.set_clock(0, 0);
    set_people(&world, 0, 2);
    finish(&mut world);
    assert_eq!(people(&world, 1), 2);
    world.tick(10_000);
    set_people(&world, 0, 3);
    assert_eq!(
        outbox(world.devices[0].store())[0].0,
        world.server.store().now_ms(),
        "the clock is right again"
    );
    finish(&mut world);
}

#[test]
fn f7b_of_two_unsent_writes_the_later_one_still_wins_if_only_it_is_too_far_ahead() {
    let mut world = with_town(2, false);
    world.set_clock(0, 59_000);
    set_people(&world, 0, 1);
    write_otherwise(&world, 0);
    world.set_clock(0, 61_000);
    set_people(&world, 0, 2);
    world.connect(0, false);
    let sync = world.devices[0].store().sync();
    let uploads = sync.uploads(1, 9, usize::MAX, world.server.store().now_ms()).unwrap();
    assert_eq!((uploads.txs.len(), uploads.held), (2, Held::UntilDecided));
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (2, 2));
}

#[test]
fn a_write_still_wins_against_what_it_overwrote_although_that_is_dated_ahead() {
    let mut world = with_town(2, false);
    world.set_clock(1, 59_000);
    set_people(&world, 1, 1);
    finish(&mut world);
    world.set_clock(0, YEAR_MS);
    set_people(&world, 0, 2);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (2, 2));
    // The clock goes on from there, too: what it overwrites next is still dated ahead.
    world.set_clock(0, 0);
    set_people(&world, 0, 3);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (3, 3));
}

#[test]
fn v5_a_write_that_may_be_sent_as_it_is_is_not_lifted_above_one_it_never_saw() {
    let mut world = with_town(2, false);
    world.cut(0);
    set_people(&world, 0, 1);
    world.set_clock(0, 500_000);
    world.devices[0].towns().put(&mut Town::default()).unwrap();
    world.set_clock(0, 0);
    world.tick(10_000);
    set_people(&world, 1, 2);
    world.connect(1, false);
    world.upload(1, 9);
    // The device hears of it before it sends its own, older one.
    world.connect(0, false);
    world.receive(0, 9, false);
    assert_eq!(people(&world, 0), 2);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (2, 2));
}

#[test]
fn what_was_sent_is_frozen_and_what_was_not_waits_until_it_is_decided_on() {
    let mut world = with_town(1, true);
    world.connect(0, false);
    set_people(&world, 0, 1);
    world.upload(0, 9);
    let sent = outbox(world.devices[0].store());
    world.set_clock(0, YEAR_MS);
    set_people(&world, 0, 2);
    // The verdict is lost, and the device ends.
    world.restart(0);
    let server_ms = world.server.store().now_ms();
    let sync = world.devices[0].store().sync();
    let uploads = sync.uploads(1, 9, usize::MAX, server_ms).unwrap();
    assert_eq!((uploads.txs.len(), uploads.held), (1, Held::UntilDecided));
    assert_eq!(sync.restamp(server_ms).unwrap(), 0, "too early");
    assert_eq!(outbox(world.devices[0].store())[0], sent[0]);
    finish(&mut world);
    assert_eq!(people(&world, 0), 2);
}

#[test]
fn what_was_to_be_sent_is_the_same_after_every_end_of_the_process() {
    let mut world = with_town(1, true);
    world.set_clock(0, YEAR_MS);
    for people in [3, 4] {
        set_people(&world, 0, people);
        write_otherwise(&world, 0);
    }
    set_people(&world, 0, 5);
    world.connect(0, false);
    let server_ms = world.server.store().now_ms();
    let sync = world.devices[0].store().sync();
    assert_eq!(sync.uploads(1, 9, usize::MAX, server_ms).unwrap().held, Held::UntilRestamped);
    world.restart(0);
    world.connect(0, false);
    let sync = world.devices[0].store().sync();
    assert_eq!(sync.restamp(server_ms).unwrap(), 5);
    let first = outbox(world.devices[0].store());
    world.restart(0);
    // Later, on a server whose clock was set back by an hour: these are frozen, whatever it says.
    let sync = world.devices[0].store().sync();
    let uploads = sync.uploads(1, 9, usize::MAX, server_ms - 3_600_000).unwrap();
    assert_eq!((uploads.txs.len(), uploads.held), (5, Held::Nothing));
    assert_eq!(sync.restamp(server_ms - 3_600_000).unwrap(), 0);
    assert_eq!(outbox(world.devices[0].store()), first);
    finish(&mut world);
    assert_eq!(people(&world, 0), 5);
}

#[test]
fn while_server_time_is_known_a_commit_freezes_what_it_writes() {
    let world = with_town(1, true);
    let sync = world.devices[0].store().sync();
    let server_ms = world.server.store().now_ms();
    assert!(sync.uploads(9, 9, 9, server_ms).unwrap().txs.is_empty());
    set_people(&world, 0, 1);
    let written = outbox(world.devices[0].store());
    // Were it not frozen, it would be dated anew for a server whose clock is an hour behind.
    assert_eq!(sync.restamp(server_ms - 3_600_000).unwrap(), 0);
    let uploads = sync.uploads(1, 9, usize::MAX, server_ms - 3_600_000).unwrap();
    assert_eq!((uploads.txs[0].bytes.clone(), uploads.held), (written[0].1.clone(), Held::Nothing));
}

#[test]
fn observers_and_indexes_do_not_notice() {
    let mut world = with_town(1, false);
    world.set_clock(0, YEAR_MS);
    let device = &world.devices[0];
    let town = device.towns().put(&mut Town { name: "new".into(), ..Town::default() }).unwrap();
    let code = || Some("C1".to_owned());
    device.shops().put(&mut Shop { code: code(), ..Shop::default() }).unwrap();
    device.towns().update(1, |town| town.people = 9).unwrap();
    device.towns().remove(town).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let subscription = device.store().observe(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(device.store().sync().restamp(world.server.store().now_ms()).unwrap(), 4);
    assert_eq!(told.load(Ordering::SeqCst), 0);
    assert!(device.shops().put(&mut Shop { code: code(), ..Shop::default() }).is_err(), "the code is taken");
    assert_eq!(device.store().check().unwrap(), []);
    drop(subscription);
    finish(&mut world);
    assert_eq!(world.devices[0].store().sync().rejected().unwrap(), []);
}

#[test]
fn a_clock_that_an_object_shows_is_dated_anew_too() {
    let mut world = with_town(2, false);
    world.set_clock(0, YEAR_MS);
    let orders = |device: usize| world.devices[device].store().boxed::<Order>().unwrap();
    let id = orders(0).put(&mut Order { stage: 1, ..Order::default() }).unwrap();
    orders(0).update(id, |order| order.note = "two".into()).unwrap();
    let of_next_year = orders(0).get(id).unwrap().unwrap().clock;
    assert_eq!(world.devices[0].store().sync().restamp(world.server.store().now_ms()).unwrap(), 2);
    let shown = orders(0).get(id).unwrap().unwrap().clock;
    assert!(shown < of_next_year);
    assert!(orders(0).query(Order::clock().eq(of_next_year)).find_ids().unwrap().is_empty());
    assert_eq!(orders(0).query(Order::clock().eq(shown)).find_ids().unwrap(), [id]);
    finish(&mut world);
    let last = world.history.last().unwrap();
    for device in &world.devices {
        let orders = device.store().boxed::<Order>().unwrap().all().unwrap();
        assert_eq!(orders[0].clock, last.hlc.cast_signed());
    }
}

#[test]
fn stamps_ascend_although_the_clock_is_set_back_and_the_device_starts_again_in_1970() {
    let mut world = with_town(1, true);
    let first = world.server.store().now_ms();
    set_people(&world, 0, 1);
    world.set_clock(0, -YEAR_MS);
    set_people(&world, 0, 2);
    world.set_clock(0, TO_1970_MS);
    world.restart(0);
    set_people(&world, 0, 3);
    let outbox = outbox(world.devices[0].store());
    assert!(outbox.iter().all(|(millis, _)| *millis >= first), "{outbox:?}");
    finish(&mut world);
    assert_eq!(people(&world, 0), 3);
}

#[test]
fn a_device_in_1970_wins_against_what_it_has_seen_and_loses_against_what_it_has_not() {
    let mut world = World::new(2, false);
    world.set_clock(0, TO_1970_MS);
    world.devices[0].towns().put(&mut Town { people: 1, ..Town::default() }).unwrap();
    assert_eq!(outbox(world.devices[0].store())[0].0, 0);
    finish(&mut world);
    set_people(&world, 1, 2);
    set_people(&world, 0, 3);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (2, 2));
    set_people(&world, 0, 4);
    finish(&mut world);
    assert_eq!((people(&world, 0), people(&world, 1)), (4, 4));
}

#[test]
fn a_device_ahead_by_less_than_the_drift_sends_what_it_wrote() {
    let mut world = with_town(1, false);
    world.set_clock(0, 60_000);
    set_people(&world, 0, 1);
    let written = outbox(world.devices[0].store());
    let server_ms = world.server.store().now_ms();
    let uploads = world.devices[0].store().sync().uploads(1, 9, usize::MAX, server_ms).unwrap();
    assert_eq!((&uploads.txs[0].bytes, uploads.held), (&written[0].1, Held::Nothing));
    world.set_clock(0, 60_001);
    set_people(&world, 0, 2);
    let uploads = world.devices[0].store().sync().uploads(2, 9, usize::MAX, server_ms).unwrap();
    assert_eq!((uploads.txs.len(), uploads.held), (0, Held::UntilDecided));
    finish(&mut world);
}

#[test]
fn a_server_that_was_set_back_refuses_and_the_data_comes_back() {
    let mut world = with_town(1, false);
    let year_ms = YEAR_MS.cast_unsigned();
    world.tick(year_ms);
    set_people(&world, 0, 1);
    finish(&mut world);
    world.set_back(year_ms);
    // What the server itself has taken lies a year ahead: no date that it would take is newer.
    set_people(&world, 0, 2);
    world.settle();
    world.check();
    let rejected = world.devices[0].store().sync().rejected().unwrap();
    assert_eq!((rejected.len(), rejected[0].code), (1, crate::world::CLOCK_AHEAD));
    assert_eq!(people(&world, 0), 1);
}

#[test]
fn many_writes_of_one_moment_count_on_into_the_next_milliseconds() {
    let mut world = with_town(1, false);
    world.set_clock(0, YEAR_MS);
    for people in 0..150 {
        set_people(&world, 0, people);
        write_otherwise(&world, 0);
    }
    finish(&mut world);
    assert_eq!((people(&world, 0), world.history.len()), (149, 300));
    assert!(world.history.windows(2).all(|pair| pair[0].hlc < pair[1].hlc));
}
