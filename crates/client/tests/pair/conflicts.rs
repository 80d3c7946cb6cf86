//! What happens to writes that did not know of each other.

use reconvene_client::SyncEvent;
use reconvene_model::Value;
use reconvene_sim::Direction;
use reconvene_store::{Conflict, ConflictLaw, Side, ToOne};

use crate::world::{Device, PATIENCE, Shop, Town, World};

/// Two devices that have one shop in one town and are cut off from each other.
fn apart() -> (World, Device, Device) {
    let mut world = World::new();
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    b.online();
    let town = a.towns.put(&mut Town { name: "Vila".into(), ..Town::default() }).unwrap();
    let shop = Shop { name: "Baker".into(), stock: 7, town: ToOne::new(town), ..Shop::default() };
    a.shops.put(&mut shop.clone()).unwrap();
    world.converge(&[&a, &b]);
    a.disconnect();
    b.disconnect();
    (world, a, b)
}

fn reunite(world: &World, a: &mut Device, b: &mut Device) {
    a.online();
    b.online();
    world.converge(&[a, b]);
}

fn only_shop(device: &Device) -> Shop {
    let shops = device.shops.all().unwrap();
    assert_eq!(shops.len(), 1, "{shops:?}");
    shops[0].clone().into_inner()
}

#[test]
fn writes_travel_both_ways() {
    let (world, mut a, mut b) = apart();
    reunite(&world, &mut a, &mut b);
    let shop = only_shop(&b);
    assert_eq!((shop.name.as_str(), shop.stock), ("Baker", 7));
    let town = b.towns.get(shop.town.id()).unwrap().expect("the link leads to the town on this device too");
    assert_eq!(town.name, "Vila");
    b.shops.update(shop.id, |shop| shop.stock = 6).unwrap();
    world.converge(&[&a, &b]);
    assert_eq!(only_shop(&a).stock, 6);
    assert!(a.store.sync().rejected().unwrap().is_empty());
}

#[test]
fn edits_of_different_properties_both_stay() {
    let (world, mut a, mut b) = apart();
    let (at_a, at_b) = (only_shop(&a).id, only_shop(&b).id);
    a.shops.update(at_a, |shop| shop.stock = 3).unwrap();
    b.shops.update(at_b, |shop| shop.name = "Baker & Son".into()).unwrap();
    reunite(&world, &mut a, &mut b);
    for device in [&a, &b] {
        let shop = only_shop(device);
        assert_eq!((shop.name.as_str(), shop.stock), ("Baker & Son", 3));
    }
}

#[test]
fn of_two_edits_of_one_property_the_later_stays() {
    let (world, mut a, mut b) = apart();
    let (at_a, at_b) = (only_shop(&a).id, only_shop(&b).id);
    a.shops.update(at_a, |shop| shop.stock = 3).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2));
    b.shops.update(at_b, |shop| shop.stock = 4).unwrap();
    // The later write arrives first.
    b.online();
    world.converge(&[&b]);
    a.online();
    world.converge(&[&a, &b]);
    assert_eq!((only_shop(&a).stock, only_shop(&b).stock), (4, 4));

    // The one that arrived later is told of it, once.
    let told = |device: &Device| -> Vec<Conflict> {
        let events = device.events.all().into_iter();
        let conflicts = events.filter_map(|(_, event)| match event {
            SyncEvent::Conflict { conflict } => Some(*conflict),
            _ => None,
        });
        conflicts.collect()
    };
    let conflicts = told(&a);
    assert_eq!(conflicts, a.store.sync().conflicts().unwrap());
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].winner, conflicts[0].law), (Side::Theirs, ConflictLaw::Later));
    let stock = |stock| vec![("stock".to_owned(), Value::Int(stock))];
    assert_eq!((&conflicts[0].mine.values, &conflicts[0].theirs.values), (&stock(3), &stock(4)));
    assert_eq!((told(&b), b.store.sync().conflicts().unwrap()), (vec![], vec![]));
    assert!(a.store.sync().take_version(conflicts[0].number, Side::Mine).unwrap());
    world.converge(&[&a, &b]);
    assert_eq!((only_shop(&a).stock, only_shop(&b).stock), (3, 3));
    assert_eq!((told(&a).len(), told(&b).len()), (1, 0));
}

#[test]
fn a_removal_beats_an_edit_and_the_edit_is_kept_as_rejected() {
    let (world, mut a, mut b) = apart();
    let (at_a, at_b) = (only_shop(&a).id, only_shop(&b).id);
    a.shops.remove(at_a).unwrap();
    b.shops.update(at_b, |shop| shop.stock = 99).unwrap();
    a.online();
    world.converge(&[&a]);
    b.online();
    world.converge(&[&a, &b]);
    assert!(a.shops.is_empty().unwrap() && b.shops.is_empty().unwrap());
    let rejected = b.store.sync().rejected().unwrap();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].ops[0].values, [("stock".to_owned(), Value::Int(99))]);
    assert!(b.store.sync().dismiss_rejected(rejected[0].number).unwrap());
    assert!(b.store.sync().rejected().unwrap().is_empty());
}

#[test]
fn an_edit_that_arrives_before_the_removal_is_removed_too() {
    let (world, mut a, mut b) = apart();
    let (at_a, at_b) = (only_shop(&a).id, only_shop(&b).id);
    a.shops.remove(at_a).unwrap();
    b.shops.update(at_b, |shop| shop.stock = 99).unwrap();
    b.online();
    world.converge(&[&b]);
    a.online();
    world.converge(&[&a, &b]);
    assert!(a.shops.is_empty().unwrap() && b.shops.is_empty().unwrap());
}

#[test]
fn inserts_under_one_local_id_both_stay() {
    let (world, mut a, mut b) = apart();
    let at_a = a.towns.put(&mut Town { name: "Ordino".into(), ..Town::default() }).unwrap();
    let at_b = b.towns.put(&mut Town { name: "Encamp".into(), ..Town::default() }).unwrap();
    assert_eq!(at_a, at_b, "the scene wants one local id on both sides");
    reunite(&world, &mut a, &mut b);
    for device in [&a, &b] {
        let mut names: Vec<String> =
            device.towns.all().unwrap().iter().map(|town| town.name.clone()).collect();
        names.sort();
        assert_eq!(names, ["Encamp", "Ordino", "Vila"]);
    }
}

#[test]
fn a_link_to_a_removed_object_stays_and_finds_nothing() {
    let (world, mut a, mut b) = apart();
    let town_at_a = only_shop(&a).town.id();
    a.towns.remove(town_at_a).unwrap();
    let town_at_b = only_shop(&b).town;
    b.shops.put(&mut Shop { name: "Butcher".into(), town: town_at_b, ..Shop::default() }).unwrap();
    reunite(&world, &mut a, &mut b);
    for device in [&a, &b] {
        for shop in device.shops.all().unwrap() {
            assert!(!shop.town.is_none());
            assert!(device.towns.get(shop.town.id()).unwrap().is_none());
        }
    }
}

#[test]
fn of_two_equal_unique_codes_the_second_to_arrive_is_refused_and_kept() {
    let (world, mut a, mut b) = apart();
    let shop = |name: &str| Shop { name: name.into(), code: Some("R1".into()), ..Shop::default() };
    a.shops.put(&mut shop("of a")).unwrap();
    b.shops.put(&mut shop("of b")).unwrap();
    a.online();
    world.converge(&[&a]);
    b.online();
    world.converge(&[&a, &b]);
    let rejected = b.store.sync().rejected().unwrap();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].code, reconvene_client::Code::NotUnique.number());
    let name = ("name".to_owned(), Value::String("of b".into()));
    assert!(rejected[0].ops[0].values.contains(&name));
    for device in [&a, &b] {
        let names: Vec<_> = device.shops.all().unwrap().iter().map(|shop| shop.name.clone()).collect();
        assert!(names.contains(&"of a".to_owned()) && !names.contains(&"of b".to_owned()), "{names:?}");
    }
}

#[test]
fn what_builds_on_a_refused_insert_is_refused_as_well() {
    let (world, mut a, mut b) = apart();
    let shop = |name: &str| Shop { name: name.into(), code: Some("R1".into()), ..Shop::default() };
    a.shops.put(&mut shop("of a")).unwrap();
    let id = b.shops.put(&mut shop("of b")).unwrap();
    b.shops.update(id, |shop| shop.stock = 5).unwrap();
    let other = b.towns.put(&mut Town { name: "Ordino".into(), ..Town::default() }).unwrap();
    a.online();
    world.converge(&[&a]);
    b.online();
    world.converge(&[&a, &b]);
    let codes: Vec<u32> = b.store.sync().rejected().unwrap().iter().map(|rejected| rejected.code).collect();
    use reconvene_client::Code;
    assert_eq!(codes, [Code::NotUnique.number(), Code::ObjectMissing.number()]);
    assert!(b.towns.contains(other).unwrap(), "what does not build on it goes through");
    // The id is not given to anything else afterwards.
    assert!(b.shops.put(&mut shop("again").clone()).is_err(), "the code is taken here by now, too");
    let next = b.shops.put(&mut Shop { name: "new".into(), ..Shop::default() }).unwrap();
    assert!(next > id);
    world.converge(&[&a, &b]);
}

#[test]
fn many_objects_arrive_by_push_and_by_catch_up() {
    let mut world = World::new();
    let (mut a, mut b, mut late) = (world.device(), world.device(), world.device());
    a.online();
    b.online();
    for batch in 0..20 {
        let mut shops: Vec<Shop> =
            (0..500).map(|n| Shop { name: format!("{batch}/{n}"), stock: n, ..Shop::default() }).collect();
        a.shops.put_many(&mut shops).unwrap();
    }
    world.converge(&[&a, &b]);
    assert_eq!(b.shops.count().unwrap(), 10_000);
    late.online();
    world.converge(&[&a, &b, &late]);
    assert_eq!(late.shops.count().unwrap(), 10_000);
}

#[test]
fn what_a_remove_swallowed_comes_back_however_the_answers_hurry() {
    let mut world = World::new();
    let (mut a, mut b) = (world.device(), world.device());
    a.online();
    b.online();
    for round in 1..=30 {
        let id = a.shops.put(&mut Shop { stock: round, ..Shop::default() }).unwrap();
        world.converge(&[&a, &b]);
        let at_b = b.shops.all().unwrap().iter().find(|shop| shop.stock == round).unwrap().id;
        // With its download stalled, a knows nothing of the remove, and then gets everything at once: the remove, the verdict
        // on its own transaction and the place of that in the history.
        a.network.stall(Direction::Down, true);
        b.shops.remove(at_b).unwrap();
        b.client().wait_uploaded(PATIENCE).unwrap();
        a.store
            .write(|tx| {
                tx.update::<Shop, _>(id, |shop| shop.name = format!("name {round}"))?;
                tx.put(&mut Town { name: format!("town {round}"), ..Town::default() })
            })
            .unwrap();
        a.network.stall(Direction::Down, false);
        world.converge(&[&a, &b]);
        let rejected = a.store.sync().rejected().unwrap();
        assert_eq!(rejected.len(), round as usize, "the update of round {round} has vanished");
        assert_eq!(b.towns.count().unwrap(), round as u64);
    }
}
