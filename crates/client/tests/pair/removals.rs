//! Devices that were away for longer than the server remembers removals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reconvene_client::SyncEvent;
use reconvene_store::{Role, Store};

use crate::world::{Shop, Town, World, wait_until};

const START_MS: u64 = 1_800_000_000_000;
const TERM: Duration = Duration::from_secs(1);

fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

fn names(store: &Store) -> Vec<String> {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    let mut names: Vec<String> = shops.iter().map(|shop| shop.name.clone()).collect();
    names.sort();
    names
}

#[test]
fn f16_a_device_from_before_the_horizon_compares_and_agrees_with_one_from_after_it() {
    let clock = Arc::new(AtomicU64::new(START_MS));
    let now = clock.clone();
    let server_store = Store::builder("memory:").entity::<Shop>().entity::<Town>().role(Role::Server);
    let server_store = server_store.time_source(move || now.load(Ordering::Relaxed)).open().unwrap();
    let mut world = World::build(server_store, |world| world.removals_kept = Some(TERM));
    let (mut writer, mut sleeper) = (world.device(), world.device());
    writer.online();
    sleeper.online();
    let (mut gone, mut edited, mut kept) = (shop("gone"), shop("edited while away"), shop("kept"));
    for shop in [&mut gone, &mut edited, &mut kept] {
        writer.shops.put(shop).unwrap();
    }
    world.converge(&[&writer, &sleeper]);
    sleeper.disconnect();
    writer.shops.remove(gone.id).unwrap();
    writer.shops.remove(edited.id).unwrap();
    writer.client().wait_uploaded(crate::world::PATIENCE).unwrap();
    let id = sleeper.shops.all().unwrap().iter().find(|shop| shop.name == "edited while away").unwrap().id;
    sleeper.shops.update(id, |shop| shop.stock = 7).unwrap();
    sleeper.shops.put(&mut shop("new, of the sleeper")).unwrap();
    let expiry = || world.server_store.sync().expiry().unwrap();
    wait_until("the server has two removals to forget", || {
        clock.fetch_add(100, Ordering::Relaxed);
        expiry().forgotten == 2
    });
    assert_eq!(expiry().kept, 0);
    assert!(sleeper.store.sync().cursor().unwrap().seq < expiry().horizon);
    sleeper.connect();
    sleeper.events.wait("a compare", |event| matches!(event, SyncEvent::Comparing { .. }));
    let mut newcomer = world.device();
    newcomer.online();
    world.converge(&[&writer, &sleeper, &newcomer]);
    for device in [&writer, &sleeper, &newcomer] {
        assert_eq!(names(&device.store), ["kept", "new, of the sleeper"]);
    }
    let rejected = sleeper.store.sync().rejected().unwrap();
    assert_eq!(rejected.iter().map(|row| row.code).collect::<Vec<_>>(), [700]);
    assert_eq!(rejected[0].ops[0].values, [("stock".to_owned(), reconvene_model::Value::Int(7))]);
    // Once it has compared it goes on as any other.
    sleeper.disconnect();
    writer.shops.put(&mut shop("later")).unwrap();
    world.converge(&[&writer, &newcomer]);
    sleeper.online();
    assert!(!sleeper.events.all().iter().any(|(_, event)| matches!(event, SyncEvent::Comparing { .. })));
    world.converge(&[&writer, &sleeper, &newcomer]);
}
