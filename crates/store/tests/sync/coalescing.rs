//! Writes in whose place their author wrote again before anybody saw them: they are left out, and nobody can tell.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reconvene_model::TxHash;
use reconvene_model::change::decode_tx;
use reconvene_store::{Rejected, StoreError, ToOne};

use crate::copies::Backup;
use crate::world::{Order, Shop, Sighting, Town, World};

/// A world in which everybody has two shops, of ids 1 and 2 on the device that made them, a town, an order and a sighting.
fn furnished(devices: u8, on_disk: bool) -> World {
    let mut world = World::new(devices, on_disk);
    let store = world.devices[0].store();
    store
        .write(|tx| {
            tx.put(&mut Shop { name: "Baker".into(), ..Shop::default() })?;
            tx.put(&mut Shop { name: "Smith".into(), ..Shop::default() })?;
            tx.put(&mut Town { name: "Vila".into(), ..Town::default() })?;
            tx.put(&mut Order::default())?;
            tx.put(&mut Sighting { id: 1, ..Sighting::default() })?;
            Ok(())
        })
        .unwrap();
    world.settle();
    world.check();
    (0..world.devices.len()).for_each(|device| world.cut(device));
    world
}

/// A shop by its name everywhere, under the id that it has here.
fn shop(world: &World, device: usize, name: &str) -> Shop {
    let shops = world.devices[device].shops().all().unwrap();
    shops.into_iter().map(|shop| shop.into_inner()).find(|shop| shop.name.starts_with(name)).unwrap()
}

fn set(world: &World, device: usize, name: &str, change: impl FnOnce(&mut Shop)) {
    let id = shop(world, device, name).id;
    world.devices[device].shops().update(id, change).unwrap();
}

/// How many transactions wait, which must be numbered without gaps and follow one another.
fn waiting(world: &World, device: usize) -> usize {
    let sync = world.devices[device].store().sync();
    let rows = sync.outbox(0, usize::MAX, usize::MAX).unwrap();
    let state = sync.login_state().unwrap();
    let mut previous = None;
    for (row, number) in rows.iter().zip(state.last_number + 1 - rows.len() as u64..) {
        let (head, _) = decode_tx(&row.bytes).unwrap();
        assert_eq!((row.number, head.number), (number, number));
        assert!(previous.is_none_or(|(hash, hlc)| (head.previous, true) == (hash, head.hlc > hlc)));
        previous = Some((TxHash::of(&row.bytes), head.hlc));
    }
    assert!(previous.is_none_or(|(hash, _)| hash == state.last_hash));
    assert_eq!(world.devices[device].store().check().unwrap(), []);
    rows.len()
}

/// Freezes what a device has written, as if it might have been sent, so that nothing takes its place.
fn freeze(world: &World, device: usize) {
    let server_ms = world.server.store().now_ms();
    world.devices[device].store().sync().uploads(0, 1, 1, server_ms).unwrap();
}

fn finish(world: &mut World) {
    world.settle();
    world.settle();
    world.check();
}

#[test]
fn a_value_that_is_written_ten_thousand_times_while_away_is_one_transaction() {
    let mut world = furnished(2, false);
    for stock in 1..=10_000 {
        set(&world, 0, "Baker", |shop| shop.stock = stock);
    }
    assert_eq!(waiting(&world, 0), 1);
    finish(&mut world);
    assert_eq!(shop(&world, 1, "Baker").stock, 10_000);
    assert_eq!(world.history.len(), 2, "and it is told once");
}

#[test]
fn it_stays_one_however_often_the_application_ends_in_between() {
    let mut world = furnished(2, true);
    for stock in 1..=20 {
        set(&world, 0, "Baker", |shop| shop.stock = stock);
        world.restart(0);
    }
    assert_eq!(waiting(&world, 0), 1);
    finish(&mut world);
    assert_eq!(shop(&world, 1, "Baker").stock, 20);
}

#[test]
fn what_may_have_been_sent_stays_as_it_is_and_is_followed() {
    let mut world = furnished(2, true);
    set(&world, 0, "Baker", |shop| shop.stock = 1);
    let sync = world.devices[0].store().sync();
    let sent = sync.uploads(1, 9, usize::MAX, world.server.store().now_ms()).unwrap().txs;
    // Whether it was sent, nobody knows any more.
    world.restart(0);
    (2..=9).for_each(|stock| set(&world, 0, "Baker", |shop| shop.stock = stock));
    assert_eq!(waiting(&world, 0), 2);
    assert_eq!(world.devices[0].store().sync().outbox(1, 1, 1).unwrap(), sent);
    finish(&mut world);
    assert_eq!(shop(&world, 1, "Baker").stock, 9);
}

#[test]
fn while_a_session_is_live_nothing_is_left_out_and_after_it_ended_it_is() {
    let mut world = furnished(2, false);
    world.connect(0, false);
    world.upload(0, 9);
    (1..=3).for_each(|stock| set(&world, 0, "Baker", |shop| shop.stock = stock));
    assert_eq!(waiting(&world, 0), 3, "each was frozen by its own commit");
    world.cut(0);
    (4..=9).for_each(|stock| set(&world, 0, "Baker", |shop| shop.stock = stock));
    assert_eq!(waiting(&world, 0), 4);
    finish(&mut world);
}

#[test]
fn a_write_is_not_left_out_across_another_that_was_made_in_between() {
    let mut world = furnished(2, false);
    set(&world, 0, "Baker", |shop| shop.stock = 1);
    set(&world, 0, "Smith", |shop| shop.stock = 1);
    set(&world, 0, "Baker", |shop| shop.stock = 2);
    // Else there would be a moment at which Smith has one and Baker has none.
    assert_eq!(waiting(&world, 0), 3);
    finish(&mut world);
}

#[test]
fn a_write_is_not_lifted_above_what_its_author_never_saw() {
    let mut world = furnished(2, false);
    set(&world, 0, "Baker", |shop| shop.tags = vec!["old".into()]);
    world.tick(10_000);
    set(&world, 1, "Baker", |shop| shop.tags = vec!["new".into()]);
    world.tick(10_000);
    // United with the first write, this one would give it a later date.
    set(&world, 0, "Baker", |shop| shop.stock = 1);
    assert_eq!(waiting(&world, 0), 2);
    // This one says all that the one before it said.
    set(&world, 0, "Baker", |shop| (shop.stock, shop.town) = (2, ToOne::new(1)));
    assert_eq!(waiting(&world, 0), 2);
    finish(&mut world);
    assert_eq!((shop(&world, 0, "Baker").tags, shop(&world, 1, "Baker").stock), (vec!["new".into()], 2));
}

#[test]
fn transactions_over_several_objects_are_left_out_whole_or_not_at_all() {
    let mut world = furnished(2, false);
    let both = |world: &World, stock: i64, turned: bool| {
        let (baker, smith) = (shop(world, 0, "Baker").id, shop(world, 0, "Smith").id);
        let ids = if turned { [smith, baker] } else { [baker, smith] };
        let store = world.devices[0].store();
        store
            .write(|tx| ids.iter().try_for_each(|&id| tx.update(id, |shop: &mut Shop| shop.stock = stock)))
            .unwrap();
    };
    set(&world, 0, "Baker", |shop| shop.stock = 1);
    both(&world, 2, false);
    assert_eq!(waiting(&world, 0), 2, "one object more");
    both(&world, 3, true);
    assert_eq!(waiting(&world, 0), 2, "the same objects, in another order");
    set(&world, 0, "Smith", |shop| shop.stock = 4);
    assert_eq!(waiting(&world, 0), 3, "one object less");
    finish(&mut world);
    assert_eq!((shop(&world, 1, "Baker").stock, shop(&world, 1, "Smith").stock), (3, 4));
}

#[test]
fn new_objects_and_removes_are_left_alone() {
    let mut world = furnished(2, false);
    let id = world.devices[0].shops().put(&mut Shop { name: "New".into(), ..Shop::default() }).unwrap();
    set(&world, 0, "New", |shop| shop.stock = 1);
    set(&world, 0, "New", |shop| shop.stock = 2);
    assert_eq!(waiting(&world, 0), 2);
    world.devices[0].shops().remove(id).unwrap();
    assert_eq!(waiting(&world, 0), 3);
    finish(&mut world);
}

#[test]
fn a_refused_value_takes_no_acceptable_one_along() {
    let mut world = furnished(2, false);
    set(&world, 1, "Smith", |shop| shop.code = Some("B".into()));
    world.connect(1, false);
    world.upload(1, 9);
    // The first code is free, the second is taken by then.
    set(&world, 0, "Baker", |shop| shop.code = Some("A".into()));
    set(&world, 0, "Baker", |shop| shop.code = Some("B".into()));
    assert_eq!(waiting(&world, 0), 2);
    finish(&mut world);
    assert_eq!(shop(&world, 1, "Baker").code.as_deref(), Some("A"));
    assert_eq!(world.devices[0].store().sync().rejected().unwrap().len(), 1);
}

#[test]
fn what_hangs_on_a_refused_object_comes_back_as_it_was_last() {
    let mut world = furnished(2, false);
    set(&world, 1, "Smith", |shop| shop.code = Some("B".into()));
    world.connect(1, false);
    world.upload(1, 9);
    let mut new = Shop { name: "New".into(), code: Some("B".into()), ..Shop::default() };
    world.devices[0].shops().put(&mut new).unwrap();
    (1..=5).for_each(|stock| set(&world, 0, "New", |shop| shop.stock = stock));
    assert_eq!(waiting(&world, 0), 2);
    finish(&mut world);
    let back = world.devices[0].store().sync().rejected().unwrap();
    let stocks = back[1].ops[0].values.clone();
    assert_eq!((back.len(), stocks), (2, vec![("stock".to_owned(), reconvene_model::Value::Int(5))]));
}

#[test]
fn puts_of_whole_objects_take_each_others_place_under_every_policy() {
    let mut world = furnished(2, false);
    for number in 1..=5_u32 {
        let town = world.devices[0].towns().all().unwrap()[0].id;
        world.devices[0].towns().update(town, |town| town.people = number).unwrap();
    }
    assert_eq!(waiting(&world, 0), 1);
    for stage in 1..=5 {
        let orders = world.devices[0].orders();
        let order = orders.all().unwrap()[0].id;
        orders.update(order, |order| order.stage = stage).unwrap();
        orders.update(order, |order| order.note = format!("stage {stage}")).unwrap();
    }
    assert_eq!(waiting(&world, 0), 2);
    let sightings = world.devices[0].store().boxed::<Sighting>().unwrap();
    (1..=5).for_each(|by| sightings.update(1, |sighting| sighting.by = by).unwrap());
    assert_eq!(waiting(&world, 0), 3);
    // Bob's order is of a stage in between.
    let order = world.devices[1].orders().all().unwrap()[0].id;
    world.devices[1].orders().update(order, |order| order.stage = 3).unwrap();
    finish(&mut world);
    assert_eq!(world.devices[1].orders().get(order).unwrap().unwrap().note, "stage 5");
    assert_eq!(world.devices[1].store().boxed::<Sighting>().unwrap().get(1).unwrap().unwrap().by, 5);
}

#[test]
fn a_conflict_is_one_with_the_write_that_stands_in_the_outbox() {
    let mut world = furnished(2, false);
    set(&world, 1, "Baker", |shop| shop.stock = 7);
    world.connect(1, false);
    world.upload(1, 9);
    world.tick(10_000);
    (1..=3).for_each(|stock| set(&world, 0, "Baker", |shop| shop.stock = stock));
    world.connect(0, false);
    world.receive(0, 9, false);
    let conflicts = world.devices[0].store().sync().conflicts().unwrap();
    assert_eq!(conflicts.len(), 1);
    let number = world.devices[0].store().sync().login_state().unwrap().last_number;
    assert_eq!(
        (conflicts[0].transaction, &conflicts[0].mine.values[0].1),
        (number, &reconvene_model::Value::Int(3))
    );
    finish(&mut world);
    assert_eq!(shop(&world, 1, "Baker").stock, 3);
}

#[test]
fn of_two_copies_one_may_write_again_what_the_other_sends() {
    for on_disk in [false, true] {
        let mut world = furnished(3, on_disk);
        set(&world, 0, "Baker", |shop| shop.stock = 1);
        let backup = Backup::of(&world, 0);
        backup.restore(&mut world, 2);
        world.tick(1_000);
        set(&world, 2, "Baker", |shop| shop.stock = 2);
        assert_eq!((waiting(&world, 0), waiting(&world, 2)), (1, 1));
        // The one that is there by now is another transaction of the same number.
        world.connect(0, false);
        world.upload(0, 9);
        finish(&mut world);
        assert_eq!(world.renewals, 1);
        assert!((0..3).all(|device| shop(&world, device, "Baker").stock == 2));
        assert_eq!(world.devices[1].shops().count().unwrap(), 2);
    }
}

#[test]
fn a_device_a_year_ahead_dates_anew_what_it_kept() {
    let mut world = furnished(2, false);
    world.set_clock(0, 365 * 24 * 3_600_000);
    (1..=5).for_each(|stock| set(&world, 0, "Baker", |shop| shop.stock = stock));
    assert_eq!(waiting(&world, 0), 1);
    world.tick(5_000);
    set(&world, 1, "Baker", |shop| shop.stock = 9);
    world.tick(5_000);
    finish(&mut world);
    assert_eq!(shop(&world, 1, "Baker").stock, 5);
    world.check_no_clock_refused();
}

/// What one device writes in one transaction.
#[derive(Clone, Debug)]
enum Deed {
    Stock(u8, i64),
    Tags(u8, u8),
    StockAndTags(u8, i64),
    Code(u8, u8),
    Town(u8, bool),
    Both(i64),
    People(u32),
    Stage(i32),
    Note(u8),
    Sight(u32),
    New(u8),
    Remove(u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..3_u8, any::<i64>()).prop_map(|(shop, stock)| Deed::Stock(shop, stock)),
        2 => (0..3_u8, 0..4_u8).prop_map(|(shop, tags)| Deed::Tags(shop, tags)),
        2 => (0..3_u8, any::<i64>()).prop_map(|(shop, stock)| Deed::StockAndTags(shop, stock)),
        2 => (0..3_u8, 0..3_u8).prop_map(|(shop, code)| Deed::Code(shop, code)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(shop, is_there)| Deed::Town(shop, is_there)),
        2 => any::<i64>().prop_map(Deed::Both),
        2 => any::<u32>().prop_map(Deed::People),
        2 => (0..4_i32).prop_map(Deed::Stage),
        2 => any::<u8>().prop_map(Deed::Note),
        2 => any::<u32>().prop_map(Deed::Sight),
        1 => (0..3_u8).prop_map(Deed::New),
        1 => (0..3_u8).prop_map(Deed::Remove),
    ]
}

/// Does it, as far as it can be done.
fn act(world: &World, device: usize, deed: &Deed) {
    let done = world.devices[device].store().write(|tx| {
        let shops: Vec<u64> = tx.all::<Shop>()?.iter().map(|shop| shop.id).collect();
        let town = tx.all::<Town>()?.first().map(|town| town.id);
        let order = tx.all::<Order>()?.first().map(|order| order.id);
        let shop = |pick: u8| shops.get(usize::from(pick) % shops.len().max(1)).copied().unwrap_or(0);
        match *deed {
            Deed::Stock(pick, stock) => tx.update(shop(pick), |shop: &mut Shop| shop.stock = stock)?,
            Deed::Tags(pick, tags) => {
                tx.update(shop(pick), |shop: &mut Shop| shop.tags = vec![format!("{tags}")])?
            }
            Deed::StockAndTags(pick, stock) => tx.update(shop(pick), |shop: &mut Shop| {
                (shop.stock, shop.tags) = (stock, vec![format!("{stock}")]);
            })?,
            Deed::Code(pick, code) => {
                tx.update(shop(pick), |shop: &mut Shop| shop.code = Some(format!("{code}")))?
            }
            Deed::Town(pick, is_there) => {
                let town = town.filter(|_| is_there).unwrap_or(0);
                tx.update(shop(pick), |shop: &mut Shop| shop.town = ToOne::new(town))?;
            }
            Deed::Both(stock) => {
                for &id in &shops {
                    tx.update(id, |shop: &mut Shop| shop.stock = stock)?;
                }
            }
            Deed::People(people) => tx.update(town.unwrap_or(0), |town: &mut Town| town.people = people)?,
            Deed::Stage(stage) => tx.update(order.unwrap_or(0), |order: &mut Order| order.stage = stage)?,
            Deed::Note(note) => {
                tx.update(order.unwrap_or(0), |order: &mut Order| order.note = format!("{note}"))?
            }
            Deed::Sight(by) => tx.update(1, |sighting: &mut Sighting| sighting.by = by)?,
            Deed::New(code) => {
                let code = Some(format!("{code}"));
                tx.put(&mut Shop { name: "New".into(), code, ..Shop::default() })?;
            }
            Deed::Remove(pick) => {
                tx.remove::<Shop>(shop(pick))?;
            }
        }
        Ok(())
    });
    match done {
        Ok(()) => {}
        Err(
            StoreError::NotFound { .. }
            | StoreError::UniqueViolation { .. }
            | StoreError::PrecedenceTooLow { .. },
        ) => {}
        Err(error) => panic!("{deed:?}: {error}"),
    }
}

/// What came back, by entity and values, with how often.
fn came_back(rejected: &[Rejected]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for op in rejected.iter().flat_map(|rejected| &rejected.ops) {
        *all.entry(format!("{} {:?}", op.entity, op.values)).or_default() += 1;
    }
    all
}

/// Everything that an application sees, whatever the places are at which it arrived.
fn shown(world: &World, device: usize) -> String {
    let store = world.devices[device].store();
    let sightings = store.boxed::<Sighting>().unwrap().all().unwrap();
    let orders = store.boxed::<Order>().unwrap().all().unwrap();
    let towns = store.boxed::<Town>().unwrap().all().unwrap();
    let shops = world.devices[device].shops().all().unwrap();
    format!("{shops:?} {towns:?} {orders:?} {sightings:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Two devices write apart from each other, in one world with every transaction frozen at its commit, in the other with what can be left
    /// out left out. Then everybody meets: to the last date everything is the same.
    #[test]
    fn nobody_can_tell_what_was_left_out(
        deeds in prop::collection::vec((0..2_usize, deed(), 1..4_usize, 0..3_000_u64), 1..25),
        order in any::<bool>(),
    ) {
        let play = |frozen: bool| {
            let mut world = furnished(3, false);
            let mut rows = 0;
            for (device, deed, times, pause_ms) in &deeds {
                for time in 0..*times {
                    let again = match deed {
                        Deed::Stock(shop, stock) => Deed::Stock(*shop, stock.wrapping_add(time as i64)),
                        Deed::Both(stock) => Deed::Both(stock.wrapping_add(time as i64)),
                        Deed::People(people) => Deed::People(people.wrapping_add(time as u32)),
                        Deed::Sight(by) => Deed::Sight(by.wrapping_add(time as u32)),
                        other => other.clone(),
                    };
                    act(&world, *device, &again);
                    world.tick(1);
                    if frozen {
                        freeze(&world, *device);
                    }
                }
                world.tick(*pause_ms);
            }
            (0..2).for_each(|device| rows += waiting(&world, device));
            let first = usize::from(order);
            for device in [first, 1 - first] {
                world.connect(device, false);
                world.upload(device, usize::MAX);
            }
            world.settle();
            world.settle();
            world.check();
            let back: Vec<Vec<Rejected>> =
                world.devices.iter().map(|device| device.store().sync().rejected().unwrap()).collect();
            let shown: Vec<String> = (0..3).map(|device| shown(&world, device)).collect();
            // The places at which writes arrived are other numbers, so this one is left aside.
            world.devices[0].store().write(|tx| tx.remove::<Sighting>(1)).unwrap();
            world.settle();
            (world.server.store().sync().content_hash().unwrap(), shown, back, rows)
        };
        let (frozen, left_out) = (play(true), play(false));
        prop_assert_eq!(&left_out.1, &frozen.1);
        prop_assert_eq!(left_out.0, frozen.0);
        prop_assert!(left_out.3 <= frozen.3);
        // What comes back is what came back, less what its own author had overwritten.
        for (left_out, frozen) in left_out.2.iter().zip(&frozen.2) {
            let (left_out, frozen) = (came_back(left_out), came_back(frozen));
            prop_assert!(left_out.iter().all(|(what, times)| frozen.get(what) >= Some(times)), "{left_out:?} {frozen:?}");
        }
    }
}
