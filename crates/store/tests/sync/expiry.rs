//! Removals that a server forgets, as stores see it: when, what stays of them, and what becomes of late writes.

use std::time::Duration;

use reconvene_model::Seq;
use reconvene_store::{EXPIRY_STEP_ROWS, Expired, Store, ToOne};

use crate::world::{Shop, Sighting, Town, World};

const TERM: Duration = Duration::from_secs(64);
const TERM_MS: u64 = 64_000;

fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

/// Lets the server forget all that it may at this moment: how many removals, and objects of which nothing is left.
fn expire(store: &Store) -> (u64, usize) {
    let (mut removals, mut forgotten) = (0, 0);
    loop {
        let Expired { removals: more, forgotten: objects, is_more, .. } = store.sync().expire(TERM).unwrap();
        removals += more;
        forgotten += objects.len();
        assert_eq!(store.check().unwrap(), []);
        if !is_more {
            return (removals, forgotten);
        }
    }
}

#[test]
fn f16_late_writes_on_what_was_forgotten_come_back_and_bring_nothing_back() {
    let mut world = World::new(2, false);
    let (mut kept, mut gone) = (shop("kept"), shop("gone"));
    let mut town = Town { name: "gone".to_owned(), ..Town::default() };
    world.devices[0].towns().put(&mut town).unwrap();
    kept.town = ToOne::to(&town);
    world.devices[0].shops().put(&mut kept).unwrap();
    world.devices[0].shops().put(&mut gone).unwrap();
    world.settle();
    world.cut(1);
    let late = &world.devices[1];
    let id = late.shops().all().unwrap().iter().find(|shop| shop.name == "gone").unwrap().id;
    late.shops().update(id, |shop| shop.stock = 7).unwrap();
    late.towns().update(late.towns().all().unwrap()[0].id, |town| town.people = 7).unwrap();
    let writer = &world.devices[0];
    writer.shops().remove(gone.id).unwrap();
    writer.towns().remove(town.id).unwrap();
    world.upload(0, 9);
    let server = world.server.store().clone();
    let head = server.sync().head().unwrap();
    assert_eq!((expire(&server), server.sync().expiry().unwrap().kept), ((0, 0), 2));
    world.tick(TERM_MS - 1);
    assert_eq!(expire(&server), (0, 0), "too early");
    world.tick(1);
    // Of the town a trace is left, since a shop links to it; of the shop nothing is.
    assert_eq!(expire(&server), (2, 1));
    let expiry = server.sync().expiry().unwrap();
    assert_eq!((expiry.horizon, expiry.forgotten, expiry.kept), (head, 2, 0));
    assert_eq!(expire(&server), (0, 0), "once");
    world.connect(1, false);
    world.upload(1, 9);
    world.receive(1, 9, false);
    let rejected = world.devices[1].store().sync().rejected().unwrap();
    assert_eq!(rejected.iter().map(|row| row.code).collect::<Vec<_>>(), [700, 0]);
    assert!(rejected.iter().all(|row| row.ops.len() == 1), "with what they would have written: {rejected:?}");
    assert_eq!(server.boxed::<Shop>().unwrap().all().unwrap().len(), 1);
    assert_eq!(server.boxed::<Town>().unwrap().all().unwrap().len(), 0);
    assert_eq!(server.check().unwrap(), []);
}

#[test]
fn generations_of_ids_that_can_be_given_again_stay() {
    let mut world = World::new(2, false);
    let sightings = world.devices[0].store().boxed::<Sighting>().unwrap();
    sightings.put(&mut Sighting { id: 5, by: 1, what: "fox".to_owned(), ..Sighting::default() }).unwrap();
    world.settle();
    sightings.remove(5).unwrap();
    world.settle();
    let server = world.server.store().clone();
    expire(&server);
    world.tick(10 * TERM_MS);
    assert_eq!((expire(&server), server.sync().horizon().unwrap()), ((0, 0), Seq(0)));
    sightings.put(&mut Sighting { id: 5, by: 1, what: "owl".to_owned(), ..Sighting::default() }).unwrap();
    world.settle();
    world.check();
    assert_eq!(server.boxed::<Sighting>().unwrap().get(5).unwrap().unwrap().what, "owl");
}

#[test]
fn many_removals_are_forgotten_in_steps_and_what_exists_is_passed_over_once() {
    let mut world = World::new(1, false);
    let mut shops: Vec<Shop> = (0..EXPIRY_STEP_ROWS * 2 + 10).map(|at| shop(&at.to_string())).collect();
    world.devices[0].shops().put_many(&mut shops).unwrap();
    world.settle();
    let server = world.server.store().clone();
    expire(&server);
    for shop in shops.iter().step_by(2) {
        world.devices[0].shops().remove(shop.id).unwrap();
    }
    world.settle();
    world.tick(TERM_MS);
    // The marks are from before the removals, so that none is old enough yet.
    assert_eq!(expire(&server), (0, 0));
    world.tick(TERM_MS);
    let first = server.sync().expire(TERM).unwrap();
    assert!(first.is_more && first.removals <= EXPIRY_STEP_ROWS as u64);
    assert_eq!(expire(&server).0 + first.removals, shops.len() as u64 / 2);
    world.settle();
    world.check();
}
