//! Histories that once went wrong, or easily would, by name.

use reconvene_model::Seq;
use reconvene_store::{Delivery, StoreError, ToOne};

use crate::world::{Shop, Town, World};

#[test]
fn a_link_to_an_object_that_arrives_later_leads_to_it() {
    let mut world = World::new(2, false);
    let town = world.devices[0].towns().put(&mut Town { name: "late".into(), ..Town::default() }).unwrap();
    let shop = Shop { town: ToOne::new(town), ..Shop::default() };
    world.devices[0].shops().put(&mut shop.clone()).unwrap();
    // The town changes last, so that a catch-up brings the shop first.
    world.settle();
    world.devices[0].towns().update(town, |town| town.people = 9).unwrap();
    world.cut(1);
    world.settle();
    world.check();
    let shop = &world.devices[1].shops().all().unwrap()[0];
    assert_eq!(world.devices[1].towns().get(shop.town.id()).unwrap().unwrap().people, 9);
}

#[test]
fn an_object_is_removed_everywhere_although_a_device_edits_it_unsent() {
    let mut world = World::new(2, false);
    let id = world.devices[0].towns().put(&mut Town::default()).unwrap();
    world.settle();
    let at_other = world.devices[1].towns().all().unwrap()[0].id;
    world.devices[0].towns().remove(id).unwrap();
    world.devices[1].towns().update(at_other, |town| town.people = 4).unwrap();
    world.upload(0, 9);
    world.receive(1, 9, false);
    assert!(
        !world.devices[1].towns().contains(at_other).unwrap(),
        "the remove is visible before the edit is decided on"
    );
    world.settle();
    world.check();
    assert_eq!(world.devices[1].store().sync().rejected().unwrap().len(), 1);
}

#[test]
fn a_transaction_that_a_catch_up_brings_before_its_verdict_leaves_the_outbox_with_the_verdict() {
    let mut world = World::new(1, false);
    world.connect(0, false);
    world.devices[0].towns().put(&mut Town::default()).unwrap();
    world.upload(0, 9);
    // The catch-up goes up to the head, which holds the transaction by now.
    world.receive(0, 9, true);
    assert_eq!(world.devices[0].store().sync().undecided().unwrap(), 1);
    world.receive(0, 1, false);
    assert_eq!(world.devices[0].store().sync().undecided().unwrap(), 0);
    world.check();
}

#[test]
fn the_place_of_an_own_transaction_is_refused_before_its_verdict() {
    let mut world = World::new(1, false);
    world.settle();
    world.devices[0].towns().put(&mut Town::default()).unwrap();
    let sync = world.devices[0].store().sync();
    let error = sync.apply(&[Delivery::Own { seq: Seq(1), number: 1 }]).unwrap_err();
    assert!(matches!(error, StoreError::VerdictMissing { number: 1 }), "{error}");
    assert_eq!(sync.undecided().unwrap(), 1);
    world.settle();
    world.check();
}

#[test]
fn an_own_object_stays_in_sight_while_a_catch_up_brings_it() {
    let mut world = World::new(1, false);
    let first = world.devices[0].towns().put(&mut Town { name: "first".into(), ..Town::default() }).unwrap();
    for _ in 0..20 {
        world.devices[0].towns().put(&mut Town::default()).unwrap();
    }
    // By now the object stands at the end of the history, far after the transaction that inserted it.
    world.devices[0].towns().update(first, |town| town.people = 1).unwrap();
    world.connect(0, false);
    world.upload(0, 99);
    world.receive(0, 0, false);
    while world.devices[0].store().sync().undecided().unwrap() > 0 {
        world.receive(0, 1, false);
        let town = world.devices[0].towns().get(first).unwrap();
        assert_eq!(town.map(|town| (town.name.clone(), town.people)), Some(("first".to_owned(), 1)));
    }
    world.settle();
    world.check();
}

#[test]
fn a_code_is_taken_although_its_holder_is_named_in_vain_by_the_same_transaction() {
    let mut world = World::new(2, false);
    let id = world.devices[0].shops().put(&mut Shop::default()).unwrap();
    world.settle();
    world.tick(1_000);
    // The first device's clock is ahead: what the second one writes to the shop loses and changes nothing.
    world.devices[0].shops().update(id, |shop| (shop.stock, shop.code) = (5, Some("C1".to_owned()))).unwrap();
    let there = world.devices[1].shops().all().unwrap()[0].id;
    world.devices[1]
        .store()
        .write(|tx| {
            tx.update(there, |shop: &mut Shop| shop.stock = 3)?;
            tx.put(&mut Shop { code: Some("C1".to_owned()), ..Shop::default() })
        })
        .unwrap();
    world.settle();
    assert_eq!(world.devices[1].store().sync().rejected().unwrap().len(), 1);
    assert_eq!(world.devices[1].shops().count().unwrap(), 1);
    world.check();
}
