//! Copies of directories and restored ones: stores that go by one name part, and nobody's writes are lost or doubled.

use std::path::PathBuf;

use reconvene_model::change::{OpKind, OpsReader, decode_tx};
use reconvene_model::{Seq, TxHash};
use reconvene_store::__private::Image;
use reconvene_store::{Fork, Incoming, Kinship, Store, StoreError, ToOne};

use crate::world::{Order, Report, Shop, Sighting, Town, World};

/// A store as it was at one moment.
pub(crate) enum Backup {
    Memory(Image),
    Disk(PathBuf),
}

impl Backup {
    pub(crate) fn of(world: &World, device: usize) -> Backup {
        let peer = &world.devices[device].peer;
        match &peer.directory {
            None => Backup::Memory(Image::of(peer.store()).unwrap()),
            Some(directory) => {
                let number = peer.store().sync().login_state().unwrap();
                let copy = directory.with_extension(format!("{}-{}", number.last_number, rand(directory)));
                std::fs::create_dir(&copy).unwrap();
                peer.store().backup(copy.join(Store::DATA_FILE)).unwrap();
                Backup::Disk(copy)
            }
        }
    }

    /// Lets a device go on from here; what its own store held is gone.
    pub(crate) fn restore(&self, world: &mut World, onto: usize) {
        world.cut(onto);
        let peer = &mut world.devices[onto].peer;
        peer.store = None;
        match self {
            Backup::Memory(image) => peer.image = Some(image.clone()),
            Backup::Disk(copy) => {
                let directory = peer.directory.as_ref().unwrap();
                std::fs::copy(copy.join(Store::DATA_FILE), directory.join(Store::DATA_FILE)).unwrap();
                let _ = std::fs::remove_file(directory.join("lock.mdb"));
            }
        }
        peer.open();
    }
}

/// A number that no backup has had yet.
fn rand(directory: &std::path::Path) -> usize {
    std::fs::read_dir(directory.parent().unwrap()).unwrap().count()
}

/// Everything that an application sees, but for objects whose last write is the one that arrived last: of these it may see what
/// was confirmed until the catch-up that follows.
fn visible(store: &Store) -> String {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    let towns = store.boxed::<Town>().unwrap().all().unwrap();
    let orders = store.boxed::<Order>().unwrap().all().unwrap();
    let reports = store.boxed::<Report>().unwrap().all().unwrap();
    let reports: Vec<u64> = reports.iter().map(|report| report.id).collect();
    format!("{shops:?} {towns:?} {orders:?} {reports:?}")
}

/// Lets a store take another name: but for what the server did not take before the fork, the application sees no difference.
pub(crate) fn renew(store: &Store, fork: &Fork<'_>) {
    let (before, state) = (visible(store), store.sync().login_state().unwrap());
    let former = store.sync().peer();
    let renewed = store.sync().renew_identity(fork).unwrap();
    assert_eq!((renewed.former, renewed.peer), (former, store.sync().peer()));
    assert_ne!(former, renewed.peer);
    assert_eq!(renewed.reissued, state.last_number - fork.common);
    if fork.verdicts.iter().all(|(number, _)| *number > fork.common) {
        assert_eq!(visible(store), before);
    }
    assert_eq!(store.check().unwrap(), []);
    let after = store.sync().login_state().unwrap();
    assert_eq!((after.last_number, after.decided, after.cursor), (renewed.reissued, 0, state.cursor));
    assert_eq!(after.issued_before, state.issued_before + state.last_number);
    assert_eq!(store.sync().key().peer(), renewed.peer);
}

fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

fn names(store: &Store) -> Vec<String> {
    let shops = store.boxed::<Shop>().unwrap().all().unwrap();
    let mut names: Vec<String> = shops.iter().map(|shop| shop.name.clone()).collect();
    names.sort();
    names
}

/// A world in which the first device knows a shop, and all others are copies of its store.
fn copied(devices: u8, undecided: &[&str]) -> World {
    let mut world = World::new(devices, false);
    world.devices[0].shops().put(&mut shop("shared")).unwrap();
    world.settle();
    world.cut(0);
    for name in undecided {
        world.devices[0].shops().put(&mut shop(name)).unwrap();
    }
    let image = Backup::of(&world, 0);
    (1..usize::from(devices)).for_each(|device| image.restore(&mut world, device));
    world
}

fn finish(world: &mut World) {
    world.settle();
    world.check();
    for device in &world.devices {
        assert_eq!(device.store().check().unwrap(), []);
    }
    crate::compare::check(world);
}

#[test]
fn f13_twins_that_gave_out_the_same_ids_keep_all_objects_and_links() {
    let mut world = copied(2, &[]);
    let mut links = Vec::new();
    for (device, name) in [(0, "of a"), (1, "of b")] {
        let device = &world.devices[device];
        let town = device.towns().put(&mut Town { name: name.to_owned(), ..Town::default() }).unwrap();
        let at = Shop { town: ToOne::new(town), ..shop(name) };
        let id = device.shops().put(&mut at.clone()).unwrap();
        // The link goes to the new town from an object that both have, too.
        device.shops().update(1, |shop| shop.stock += 1).unwrap();
        links.push((id, town));
    }
    assert_eq!(links[0], links[1], "the twins gave out the same ids");
    finish(&mut world);
    assert_eq!(world.renewals, 1);
    for device in &world.devices {
        assert_eq!(names(device.store()), ["of a", "of b", "shared"]);
        for shop in device.shops().all().unwrap().iter().filter(|shop| shop.name != "shared") {
            let town = device.towns().get(shop.town.id()).unwrap().unwrap();
            assert_eq!(town.name, shop.name, "a link leads where it led");
        }
    }
    let (id, town) = links[1];
    let of_b = world.devices[1].shops().get(id).unwrap().unwrap();
    assert_eq!((of_b.name.as_str(), of_b.town.id()), ("of b", town), "local ids stay");
    assert!(world.devices.iter().all(|device| device.store().sync().rejected().unwrap().is_empty()));
}

#[test]
fn what_all_copies_of_an_image_had_unsent_counts_once() {
    let mut world = copied(4, &["one", "two", "three"]);
    for (device, name) in [(1, "of b"), (2, "of c"), (3, "of d")] {
        world.devices[device].shops().put(&mut shop(name)).unwrap();
        let two = world.devices[device].shops().all().unwrap();
        let two = two.iter().find(|shop| shop.name == "two").unwrap().id;
        world.devices[device].shops().update(two, |shop| shop.stock = device as i64).unwrap();
    }
    finish(&mut world);
    assert_eq!(world.renewals, 3);
    for device in &world.devices {
        assert_eq!(names(device.store()), ["of b", "of c", "of d", "one", "shared", "three", "two"]);
    }
}

#[test]
fn the_fork_is_found_although_the_server_tells_a_few_hashes_at_a_time() {
    let undecided: Vec<String> = (0..10).map(|n| format!("unsent {n}")).collect();
    for chain_max in [1, 3, 10, 11] {
        let mut world = copied(2, &undecided.iter().map(String::as_str).collect::<Vec<_>>());
        world.chain_max = chain_max;
        world.devices[0].shops().put(&mut shop("of a")).unwrap();
        world.devices[1].shops().put(&mut shop("of b")).unwrap();
        finish(&mut world);
        assert_eq!(world.renewals, 1);
        assert_eq!(world.devices[1].shops().count().unwrap(), 13);
    }
}

#[test]
fn a_refusal_of_what_both_have_reaches_both() {
    let mut world = World::new(3, false);
    let coded = |name: &str| Shop { code: Some("C".into()), ..shop(name) };
    world.devices[2].shops().put(&mut coded("first")).unwrap();
    world.devices[0].shops().put(&mut coded("second")).unwrap();
    Backup::of(&world, 0).restore(&mut world, 1);
    world.devices[1].shops().put(&mut shop("of b")).unwrap();
    world.connect(2, false);
    world.upload(2, 9);
    // The first one holds its refusal, and the server knows that it does, long before the copy comes.
    world.connect(0, false);
    world.upload(0, 9);
    world.receive(0, 9, false);
    world.devices[0].shops().put(&mut shop("of a")).unwrap();
    finish(&mut world);
    for device in [0, 1] {
        let rejected = world.devices[device].store().sync().rejected().unwrap();
        assert_eq!(rejected.len(), 1, "device {device}");
        assert_eq!((rejected[0].number, rejected[0].ops.len()), (1, 1));
        assert_eq!(names(world.devices[device].store()), ["first", "of a", "of b"]);
    }
    let sync = world.devices[1].store().sync();
    assert!(sync.dismiss_rejected(1).unwrap());
    assert!(sync.rejected().unwrap().is_empty());
}

#[test]
fn rejections_under_two_names_are_told_apart() {
    let mut world = World::new(3, false);
    let coded = |name: &str, code: &str| Shop { code: Some(code.into()), ..shop(name) };
    world.devices[2].shops().put(&mut coded("first", "A")).unwrap();
    world.devices[2].shops().put(&mut coded("first", "B")).unwrap();
    world.devices[0].shops().put(&mut coded("second", "A")).unwrap();
    Backup::of(&world, 0).restore(&mut world, 1);
    world.connect(2, false);
    world.upload(2, 9);
    world.devices[0].shops().put(&mut shop("of a")).unwrap();
    world.devices[1].shops().put(&mut coded("third", "B")).unwrap();
    finish(&mut world);
    let rejected = world.devices[1].store().sync().rejected().unwrap();
    // Number 1 under the former name; two were issued under it, the second of which is number 1 again.
    assert_eq!(rejected.iter().map(|rejected| rejected.number).collect::<Vec<_>>(), [1, 3]);
    let name =
        |at: usize| rejected[at].ops[0].values.iter().find(|(name, _)| name == "name").unwrap().1.clone();
    assert_eq!(
        (name(0), name(1)),
        (reconvene_model::Value::String("second".into()), reconvene_model::Value::String("third".into()))
    );
}

#[test]
fn f13_a_store_that_was_restored_and_wrote_nothing_since_takes_its_own_writes_back() {
    let mut world = copied(1, &[]);
    let monday = Backup::of(&world, 0);
    let tuesday = world.devices[0].shops().put(&mut shop("tuesday")).unwrap();
    world.devices[0].shops().update(1, |shop| shop.stock = 5).unwrap();
    finish(&mut world);
    monday.restore(&mut world, 0);
    finish(&mut world);
    assert_eq!(world.renewals, 1);
    assert_eq!(names(world.devices[0].store()), ["shared", "tuesday"]);
    assert_eq!(world.devices[0].shops().get(1).unwrap().unwrap().stock, 5);
    // What it writes from here on is its own: new ids, and its former objects keep theirs.
    let id = world.devices[0].shops().put(&mut shop("wednesday")).unwrap();
    assert!(id > tuesday);
    world.devices[0].shops().remove(1).unwrap();
    finish(&mut world);
    assert_eq!(names(world.server.store()), ["tuesday", "wednesday"]);
}

#[test]
fn f13_a_store_that_was_restored_writes_before_it_hears_of_what_it_forgot() {
    let mut world = copied(1, &[]);
    let monday = Backup::of(&world, 0);
    for name in ["tuesday", "wednesday"] {
        world.devices[0].shops().put(&mut shop(name)).unwrap();
    }
    finish(&mut world);
    monday.restore(&mut world, 0);
    let again = world.devices[0].shops().put(&mut shop("again")).unwrap();
    world.devices[0].shops().update(again, |shop| shop.stock = 7).unwrap();
    finish(&mut world);
    assert_eq!(names(world.server.store()), ["again", "shared", "tuesday", "wednesday"]);
    assert_eq!(world.devices[0].shops().get(again).unwrap().unwrap().stock, 7);
}

#[test]
fn three_generations_of_copies_come_together() {
    let mut world = copied(4, &[]);
    for generation in 0..3 {
        let copy = Backup::of(&world, generation + 1);
        copy.restore(&mut world, generation);
        for device in 0..4 {
            let name = format!("{generation} of {device}");
            world.devices[device].shops().put(&mut shop(&name)).unwrap();
            world.devices[device].shops().update(1, |shop| shop.stock += 1).unwrap();
        }
        if generation == 1 {
            finish(&mut world);
        }
    }
    finish(&mut world);
    // Two that were copied from one which had parted unknowingly take the same name at first.
    assert_eq!(world.renewals, 5);
    let all = names(world.server.store());
    let mut once = all.clone();
    once.dedup();
    assert_eq!(all, once, "nothing is doubled");
}

#[test]
fn a_backup_that_is_restored_twice_brings_its_unsent_writes_once() {
    let mut world = copied(2, &[]);
    world.devices[0].shops().put(&mut shop("unsent")).unwrap();
    let monday = Backup::of(&world, 0);
    world.devices[1].shops().put(&mut shop("first")).unwrap();
    world.connect(1, false);
    world.upload(1, 9);
    for _ in 0..3 {
        world.tick(1_000);
        monday.restore(&mut world, 0);
        world.devices[0].shops().put(&mut shop("after")).unwrap();
        finish(&mut world);
    }
    assert_eq!(names(world.server.store()), ["after", "after", "after", "first", "shared", "unsent"]);
}

#[test]
fn a_removed_object_that_is_made_again_after_the_fork_stays_the_same_for_all() {
    let mut world = copied(2, &[]);
    let sighting = |by| Sighting { id: 3, by, what: "a fox".into(), ..Sighting::default() };
    for device in [0, 1] {
        let store = world.devices[device].store();
        store.boxed::<Sighting>().unwrap().put(&mut sighting(device as u32)).unwrap();
        let orders = store.boxed::<Order>().unwrap();
        let id = orders.put(&mut Order { stage: 4, ..Order::default() }).unwrap();
        orders.remove(id).unwrap();
        store.boxed::<Report>().unwrap().put(&mut Report::default()).unwrap();
        world.devices[device].shops().remove(1).unwrap();
    }
    finish(&mut world);
    assert_eq!(world.server.store().boxed::<Report>().unwrap().count().unwrap(), 2);
    let sightings = world.server.store().boxed::<Sighting>().unwrap().all().unwrap();
    assert_eq!(sightings.iter().map(|sighting| sighting.by).collect::<Vec<_>>(), [1], "the last to arrive");
    assert!(names(world.server.store()).is_empty());
}

#[test]
fn what_is_issued_again_names_the_new_peer_only_where_it_must() {
    let world = copied(1, &["common"]);
    let device = &world.devices[0];
    device.shops().put(&mut shop("new")).unwrap();
    device.shops().update(1, |shop| shop.stock = 1).unwrap();
    let former = device.id();
    let fork = Fork { common: 2, decided_seq: Seq(2), verdicts: &[] };
    renew(device.store(), &fork);
    assert!(device.store().sync().catching_up().unwrap(), "what is common is confirmed beyond the cursor");
    let outbox = device.store().sync().outbox(0, 9, usize::MAX).unwrap();
    assert_eq!(outbox.iter().map(|tx| tx.number).collect::<Vec<_>>(), [1, 2]);
    let mut origins = Vec::new();
    let mut previous = TxHash::NONE;
    for tx in &outbox {
        let (head, block) = decode_tx(&tx.bytes).unwrap();
        assert_eq!((head.origin, head.number, head.previous), (device.id(), tx.number, previous));
        previous = TxHash::of(&tx.bytes);
        origins.extend(
            OpsReader::new(head.origin, block)
                .unwrap()
                .map(|op| op.unwrap())
                .map(|op| (op.kind, op.gid.origin)),
        );
    }
    assert_eq!(origins, [(OpKind::Insert, device.id()), (OpKind::Update, former)]);
}

#[test]
fn a_fork_that_cannot_be_is_refused_and_changes_nothing() {
    let world = copied(1, &["unsent"]);
    let device = &world.devices[0];
    let (peer, seen) = (device.id(), visible(device.store()));
    for common in [0, 3] {
        let fork = Fork { common, decided_seq: Seq(1), verdicts: &[] };
        device.store().sync().renew_identity(&fork).unwrap_err();
    }
    let fork = Fork { common: 1, decided_seq: Seq(1), verdicts: &[] };
    let error = world.server.store().sync().renew_identity(&fork).unwrap_err();
    assert!(matches!(error, StoreError::ServerDirectory), "{error}");
    assert_eq!((device.id(), visible(device.store())), (peer, seen));
}

#[test]
fn a_change_of_name_that_fails_in_the_middle_changes_nothing() {
    let mut world = copied(1, &["unsent"]);
    let device = &world.devices[0];
    let fork = |store: &Store| {
        let last = store.sync().login_state().unwrap().last_number;
        store.sync().renew_identity(&Fork { common: last, decided_seq: Seq(1), verdicts: &[] })
    };
    // With nothing to issue again only the list of names grows, up to its end.
    fork(device.store()).unwrap();
    let error = loop {
        device.shops().put(&mut shop("unsent")).unwrap();
        if let Err(error) = fork(device.store()) {
            break error;
        }
    };
    assert!(matches!(error, StoreError::TooManyNames { max: 4_096 }), "{error}");
    // What is in common was settled before the end of the list was met: that is undone as well.
    let sync = device.store().sync();
    assert_eq!((sync.undecided().unwrap(), sync.login_state().unwrap().last_number), (1, 1));
    assert_eq!(sync.key().peer(), device.id());
    assert_eq!(device.store().check().unwrap(), []);
    let first = device.shops().get(1).unwrap().unwrap();
    device.shops().put(&mut first.into_inner()).unwrap();
    world.settle();
    assert_eq!(world.devices[0].store().sync().undecided().unwrap(), 0);
}

#[test]
fn kin_are_told_from_forks_by_what_the_server_says() {
    let world = copied(1, &["two", "three"]);
    let sync = world.devices[0].store().sync();
    let hash = |number| sync.hash_of(number).unwrap().unwrap();
    let other = TxHash([9; 16]);
    let said = sync.login_state().unwrap();
    let told = |decided, hash, chain: &[TxHash]| sync.kinship(&said, decided, hash, chain).unwrap();
    assert_eq!(told(1, hash(1), &[]), Kinship::Same);
    assert_eq!(told(3, hash(3), &[hash(2), hash(3)]), Kinship::Same);
    assert_eq!(told(1, other, &[]), Kinship::Forked { common: 1 });
    assert_eq!(told(3, other, &[hash(2), other]), Kinship::Forked { common: 2 });
    assert_eq!(told(9, other, &[hash(2), hash(3)]), Kinship::Forked { common: 3 });
    assert_eq!(told(9, other, &[hash(2)]), Kinship::Longer { common: 2 });
    assert_eq!(told(9, other, &[]), Kinship::Untold);
    // The answer does not speak of what is written between a login and it; a copy may have brought that all the same.
    world.devices[0].shops().put(&mut shop("four")).unwrap();
    assert_eq!(told(4, other, &[hash(2), hash(3)]), Kinship::Forked { common: 3 });
    assert_eq!(told(4, hash(4), &[hash(2), hash(3)]), Kinship::Same);
    assert_eq!(told(5, other, &[hash(2), hash(3)]), Kinship::Longer { common: 3 });
}

#[test]
fn a_reader_of_an_earlier_moment_knows_the_store_by_its_former_name() {
    let world = copied(1, &["unsent"]);
    let device = world.devices[0].store();
    let before = device.sync().content_hash().unwrap();
    let image = Image::of(device).unwrap();
    let fork = Fork { common: 1, decided_seq: Seq(1), verdicts: &[] };
    renew(device, &fork);
    assert_ne!(
        device.sync().content_hash().unwrap(),
        before,
        "the unsent object is another one for everyone"
    );
    let mut former = World::new(1, false);
    Backup::Memory(image).restore(&mut former, 0);
    assert_eq!(former.devices[0].store().sync().content_hash().unwrap(), before);
}

#[test]
fn verdicts_are_told_to_a_copy_although_they_were_confirmed() {
    let mut world = copied(1, &["two", "three"]);
    finish(&mut world);
    let server = world.server.store().sync();
    let (peer, sync) = (world.devices[0].id(), world.devices[0].store().sync());
    server.decide(&[], &[(peer, 3)]).unwrap();
    let origin = server.register(peer, &sync.key().public()).unwrap();
    assert_eq!((origin.confirmed, origin.forgotten()), (3, 0));
    let hashes = server.hashes(peer, 0, 3, 9).unwrap();
    assert_eq!((hashes.len(), hashes[2]), (3, origin.hash));
    assert_eq!(server.hashes(peer, 1, 3, 1).unwrap(), hashes[1..2]);
    assert_eq!(server.hashes(peer, 3, 3, 9).unwrap(), []);
    // For uploads they are known all the same.
    let incoming = Incoming { peer, bytes: &[] };
    assert!(server.decide(&[incoming], &[]).unwrap()[0].push.is_none());
}
