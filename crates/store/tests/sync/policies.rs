//! What each conflict policy promises: the examples of `docs/guide/conflicts.md`, and what easily goes wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use reconvene_model::compare::{CompareRange, CompareSet};
use reconvene_store::{Entity, EntityBox, Role, Store, StoreError};

use crate::versions::exchange;
use crate::world::{Order, Report, Sighting, World};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Contact {
    id: u64,
    name: String,
    phone: String,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, conflict = "object", crate = "reconvene_store")]
struct Address {
    id: u64,
    street: String,
    city: String,
    #[sync_clock]
    written: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Sale {
    id: u64,
    #[sync_precedence]
    stage: u8,
    note: String,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, crate = "reconvene_store")]
struct Reading {
    id: u64,
    value: i64,
    #[sync_precedence]
    rank: Option<i32>,
    #[sync_clock]
    written: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, conflict = "arrival", crate = "reconvene_store")]
struct Checkpoint {
    id: u64,
    passed: u32,
}

/// The ticket of an app, and that of its next version.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, name = "Ticket", crate = "reconvene_store")]
struct OldTicket {
    id: u64,
    #[sync_precedence]
    stage: i16,
    note: String,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, name = "Ticket", crate = "reconvene_store")]
struct NewTicket {
    id: u64,
    #[sync_precedence]
    stage: i16,
    note: String,
    price: Option<i64>,
}

/// A server and two devices; the clock of the second one is a minute behind.
fn two_devices() -> (Store, Store, Store) {
    let open = |role, secret: u8, behind: u64| {
        let now_ms = AtomicU64::new(1_800_000_000_000 - behind);
        Store::builder("memory:")
            .role(role)
            .identity_secret([secret; 32])
            .time_source(move || now_ms.fetch_add(1, Ordering::Relaxed))
            .entity::<Contact>()
            .entity::<Address>()
            .entity::<Sale>()
            .entity::<Reading>()
            .entity::<Checkpoint>()
            .open()
            .unwrap()
    };
    (open(Role::Server, 1, 0), open(Role::Device, 2, 0), open(Role::Device, 3, 60_000))
}

fn boxed<T: Entity>(store: &Store) -> EntityBox<T> {
    store.boxed().unwrap()
}

/// The only object of its entity.
fn only<T: Entity + Clone>(store: &Store) -> T {
    let mut all = boxed::<T>(store).all().unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0).into_inner()
}

/// Guide, `property`: two people on one form.
#[test]
fn two_people_on_one_form_keep_both_edits() {
    let (server, ann, bob) = two_devices();
    boxed(&ann).put(&mut Contact { name: "Cleo".into(), phone: "1".into(), ..Default::default() }).unwrap();
    exchange(&server, &[&ann, &bob]);
    // Both read the form, then both save it.
    let mut form_of_ann = boxed::<Contact>(&ann).all().unwrap().remove(0);
    let mut form_of_bob = boxed::<Contact>(&bob).all().unwrap().remove(0);
    form_of_ann.name = "Cleopatra".into();
    form_of_bob.phone = "2".into();
    boxed(&ann).put(&mut form_of_ann).unwrap();
    boxed(&bob).put(&mut form_of_bob).unwrap();
    exchange(&server, &[&bob, &ann]);
    exchange(&server, &[&bob]);
    for device in [&ann, &bob] {
        let contact = only::<Contact>(device);
        assert_eq!((contact.name.as_str(), contact.phone.as_str()), ("Cleopatra", "2"));
    }
}

/// Guide, `object`: street and city belong together.
#[test]
fn an_address_is_never_mixed_from_two() {
    let (server, ann, bob) = two_devices();
    let at =
        |street: &str, city: &str| Address { street: street.into(), city: city.into(), ..Default::default() };
    boxed(&ann).put(&mut at("Ring 1", "Bonn")).unwrap();
    exchange(&server, &[&ann, &bob]);
    let (of_ann, of_bob) = (only::<Address>(&ann).id, only::<Address>(&bob).id);
    let only_street = |address: &mut Address| address.street = "Ring 2".into();
    // Bob writes first: his clock has learnt from what he received.
    boxed(&bob).put(&mut Address { id: of_bob, ..at("Kai 7", "Kiel") }).unwrap();
    exchange(&server, &[&bob]);
    boxed(&ann).update(of_ann, only_street).unwrap();
    exchange(&server, &[&ann, &bob]);
    for device in [&ann, &bob] {
        let address = only::<Address>(device);
        assert_eq!((address.street.as_str(), address.city.as_str()), ("Ring 2", "Bonn"));
    }
}

/// Guide, `sync_clock`: the store writes it, and everyone sees the same.
#[test]
fn the_visible_clock_is_that_of_the_last_write_for_everyone() {
    let (server, ann, bob) = two_devices();
    let mut address = Address { street: "Ring 1".into(), written: -7, ..Default::default() };
    let id = boxed(&ann).put(&mut address).unwrap();
    let mut read = boxed::<Address>(&ann).get(id).unwrap().unwrap();
    let first = read.written;
    assert!(first > 0, "what the application puts there is ignored");
    exchange(&server, &[&ann, &bob]);
    assert_eq!(only::<Address>(&bob).written, first);
    assert_eq!(only::<Address>(&server).written, first);

    read.written = 5;
    boxed(&ann).put(&mut read).unwrap();
    assert_eq!(ann.sync().undecided().unwrap(), 0, "a put that changes nothing but the clock writes nothing");
    assert_eq!(read.written, first, "and shows what is stored");
    read.city = "Bonn".into();
    read.written = 5;
    boxed(&ann).put(&mut read).unwrap();
    assert!(read.written > first, "a put object shows its clock");
    assert_eq!(only::<Address>(&ann).written, read.written);
    exchange(&server, &[&ann, &bob]);
    assert_eq!(only::<Address>(&bob).written, read.written);
}

/// Guide, `precedence`: a closed order stays closed.
#[test]
fn a_closed_order_stays_closed() {
    const OPEN: u8 = 0;
    const CLOSED: u8 = 2;
    let (server, ann, bob) = two_devices();
    boxed(&ann).put(&mut Sale { stage: OPEN, note: "two chairs".into(), ..Default::default() }).unwrap();
    exchange(&server, &[&ann, &bob]);
    let (of_ann, of_bob) = (only::<Sale>(&ann).id, only::<Sale>(&bob).id);
    boxed(&bob).update(of_bob, |sale: &mut Sale| sale.stage = CLOSED).unwrap();
    // Ann has not heard of it, and her edit is the later one.
    boxed(&ann).update(of_ann, |sale: &mut Sale| sale.note = "three chairs".into()).unwrap();
    exchange(&server, &[&bob, &ann]);
    exchange(&server, &[&bob]);
    for store in [&server, &ann, &bob] {
        let sale = only::<Sale>(store);
        assert_eq!((sale.stage, sale.note.as_str()), (CLOSED, "two chairs"));
    }
    let reopened = boxed(&ann).update(of_ann, |sale: &mut Sale| sale.stage = OPEN).unwrap_err();
    assert!(matches!(reopened, StoreError::PrecedenceTooLow { stored: 2, given: Some(0), .. }), "{reopened}");
}

/// Guide, `precedence` with a clock: a manager's correction beats what devices measure later.
#[test]
fn a_managers_correction_beats_later_readings() {
    let (server, meter, manager) = two_devices();
    let reading = |value, rank| Reading { id: 1, value, rank: Some(rank), ..Default::default() };
    boxed(&meter).put(&mut reading(100, 0)).unwrap();
    exchange(&server, &[&meter, &manager]);
    let at_manager = only::<Reading>(&manager).id;
    boxed(&manager).put(&mut Reading { id: at_manager, ..reading(90, 10) }).unwrap();
    boxed(&meter).put(&mut reading(101, 0)).unwrap();
    exchange(&server, &[&meter, &manager]);
    exchange(&server, &[&meter]);
    let corrected = only::<Reading>(&manager);
    assert_eq!((corrected.value, corrected.rank), (90, Some(10)));
    assert_eq!(only::<Reading>(&meter).written, corrected.written, "the clock is that of the write that won");
    // The device is told at once, and so is the manager who forgets the rank.
    for given in [Some(0), None] {
        let too_low = boxed(&meter).put(&mut Reading { rank: given, ..reading(102, 0) }).unwrap_err();
        assert!(matches!(too_low, StoreError::PrecedenceTooLow { stored: 10, .. }), "{too_low}");
    }
    boxed(&manager).update(at_manager, |reading: &mut Reading| reading.value = 91).unwrap();
    exchange(&server, &[&manager, &meter]);
    assert_eq!(only::<Reading>(&meter).value, 91, "of equal precedences the later write wins");
}

/// Finding F22: to lower a precedence, remove the object and create it anew.
#[test]
fn f22_a_precedence_is_lowered_by_removing_and_creating_anew() {
    let (server, one, two) = two_devices();
    let reading = |value, rank| Reading { id: 1, value, rank, ..Default::default() };
    boxed(&one).put(&mut reading(1, Some(10))).unwrap();
    exchange(&server, &[&one, &two]);
    assert!(boxed(&one).put(&mut reading(2, Some(9))).is_err());
    boxed::<Reading>(&one).remove(1).unwrap();
    boxed(&one).put(&mut reading(3, None)).unwrap();
    // An edit of the old object, however high, does not come through.
    let at_two = only::<Reading>(&two).id;
    boxed(&two).update(at_two, |reading: &mut Reading| reading.rank = Some(99)).unwrap();
    exchange(&server, &[&one, &two]);
    exchange(&server, &[&one]);
    for device in [&one, &two] {
        let reading = only::<Reading>(device);
        assert_eq!((reading.value, reading.rank), (3, None));
    }
}

/// An error in a transaction that goes on leaves the object as it was, in the second write to it too.
#[test]
fn f22_a_refused_write_leaves_nothing_behind() {
    let (server, one, two) = two_devices();
    let sales = boxed::<Sale>(&one);
    one.write(|tx| {
        let id = tx.put(&mut Sale { stage: 3, note: "first".into(), ..Default::default() })?;
        let lower = Sale { id, stage: 2, note: "second".into() };
        assert!(matches!(tx.put(&mut lower.clone()), Err(StoreError::PrecedenceTooLow { .. })));
        tx.update(id, |sale: &mut Sale| sale.note = "third".into())
    })
    .unwrap();
    assert_eq!(sales.all().unwrap()[0].note, "third");
    exchange(&server, &[&one, &two]);
    assert_eq!(only::<Sale>(&two).note, "third");
}

/// Guide, `arrival`: what reaches the server last counts, whatever the clocks say.
#[test]
fn a_checkpoint_shows_who_was_reported_last() {
    let (server, early, late) = two_devices();
    let passed = |passed| Checkpoint { id: 7, passed };
    boxed(&early).put(&mut passed(0)).unwrap();
    exchange(&server, &[&early, &late]);
    // The write with the older stamp is reported later.
    boxed(&late).put(&mut passed(1)).unwrap();
    boxed(&early).put(&mut passed(2)).unwrap();
    assert_eq!(only::<Checkpoint>(&late).passed, 1, "one's own report shows until it is decided on");
    exchange(&server, &[&early]);
    exchange(&server, &[&late]);
    exchange(&server, &[&early]);
    for store in [&server, &early, &late] {
        assert_eq!(only::<Checkpoint>(store).passed, 1);
    }
}

fn sighting(world: &World, device: usize) -> u32 {
    world.devices[device].store().boxed::<Sighting>().unwrap().get(1).unwrap().unwrap().by
}

fn sight(world: &World, device: usize, by: u32) {
    world.devices[device]
        .store()
        .boxed()
        .unwrap()
        .put(&mut Sighting { id: 1, by, ..Sighting::default() })
        .unwrap();
}

/// Finding F10: the verdict overtakes the push of a write that lies before one's own.
#[test]
fn f10_a_verdict_does_not_decide_under_arrival() {
    let mut world = World::new(2, false);
    sight(&world, 0, 0);
    world.settle();
    sight(&world, 0, 50);
    sight(&world, 1, 49);
    world.upload(1, 9);
    world.upload(0, 9);
    world.receive(0, 0, false);
    assert_eq!(sighting(&world, 0), 50);
    world.receive(0, 1, false);
    assert_eq!(
        sighting(&world, 0),
        50,
        "a write that is undecided here stays above what others wrote before it"
    );
    world.settle();
    world.check();
    assert_eq!([sighting(&world, 0), sighting(&world, 1)], [50; 2]);
}

/// An own write that is decided loses to the next one of another device, however old that one's stamp is.
#[test]
fn f10_a_decided_write_is_no_longer_above_all_places() {
    let mut world = World::new(2, false);
    sight(&world, 1, 0);
    world.settle();
    sight(&world, 1, 2);
    world.tick(1_000);
    sight(&world, 0, 1);
    world.upload(0, 9);
    world.receive(0, 9, false);
    // A second write meanwhile keeps the object undecided.
    sight(&world, 0, 3);
    world.upload(1, 9);
    world.receive(0, 9, false);
    assert_eq!(sighting(&world, 0), 3);
    assert_eq!(world.server.store().boxed::<Sighting>().unwrap().get(1).unwrap().unwrap().by, 2);
    world.settle();
    world.check();
    assert_eq!([sighting(&world, 0), sighting(&world, 1)], [3; 2]);

    sight(&world, 1, 5);
    world.tick(1_000);
    sight(&world, 0, 4);
    world.upload(0, 9);
    world.upload(1, 9);
    world.settle();
    world.check();
    assert_eq!([sighting(&world, 0), sighting(&world, 1)], [5; 2]);
}

/// Whether an insert comes in a push, in a catch-up or from the own outbox: all hold it at the same rank.
#[test]
fn inserts_have_the_same_stamps_by_whatever_path_they_came() {
    let mut world = World::new(3, false);
    world.connect(0, false);
    world.connect(1, false);
    for device in [0, 1] {
        world.receive(device, 9, false);
    }
    for stage in [-3, 0, 3] {
        world.devices[0].orders().put(&mut Order { stage, ..Order::default() }).unwrap();
        world.devices[0].store().boxed().unwrap().put(&mut Report::default()).unwrap();
        sight(&world, 0, 1);
    }
    world.settle();
    world.check();
    assert_eq!(crate::compare::check(&world), 3);
}

/// What an older version does not know keeps the rank of its own last write, through an edit there and an update of the app.
#[test]
fn what_an_older_version_does_not_know_keeps_its_rank() {
    let directory = tempfile::tempdir().unwrap();
    let aged = |secret: u8| Store::builder(directory.path()).identity_secret([secret; 32]);
    let in_memory = |role, secret: u8| {
        let builder = Store::builder("memory:").role(role).identity_secret([secret; 32]);
        builder.entity::<NewTicket>().open().unwrap()
    };
    let (server, modern) = (in_memory(Role::Server, 1), in_memory(Role::Device, 2));
    let old = aged(3).entity::<OldTicket>().open().unwrap();
    let mut ticket = NewTicket { stage: 1, note: "a".into(), price: Some(5), ..Default::default() };
    let id = boxed(&modern).put(&mut ticket).unwrap();
    exchange(&server, &[&modern, &old]);
    let at_old = only::<OldTicket>(&old).id;
    boxed(&old).update(at_old, |ticket: &mut OldTicket| ticket.stage = 2).unwrap();
    boxed(&modern).put(&mut NewTicket { id, note: "b".into(), price: Some(7), ..ticket }).unwrap();
    exchange(&server, &[&old, &modern]);
    exchange(&server, &[&old]);
    drop(old);
    let updated = aged(3).entity::<NewTicket>().open().unwrap();
    for store in [&server, &modern, &updated] {
        let ticket = only::<NewTicket>(store);
        assert_eq!((ticket.stage, ticket.note.as_str(), ticket.price), (2, "a", Some(7)));
    }
    let salt = [3; 32];
    let items = |store: &Store| store.sync().compare_items(&salt).unwrap().0.sum(&CompareRange::ALL);
    assert_eq!(items(&updated), items(&server), "it holds the ranks that the server holds");
}
