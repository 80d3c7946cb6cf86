//! Random histories of three devices: whatever is written, cut, lost and restarted, all agree in the end and nothing is lost.

use proptest::prelude::*;
use reconvene_store::{Counter, StoreError, ToOne};

use crate::world::{Device, Order, Report, Shop, Sighting, Town, World};
use crate::{compare, copies};

const DEVICES: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Write { device: usize, writes: Vec<Write>, abort: bool },
    Connect { device: usize, lost: bool },
    Upload { device: usize, count: usize },
    UploadAgain { device: usize },
    Receive { device: usize, count: usize, late: bool },
    Cut { device: usize },
    Restart { device: usize },
    RestartServer,
    Tick(u64),
    SetClock { device: usize, ahead_ms: i64 },
    Backup { device: usize },
    Copy { onto: usize },
}

#[derive(Clone, Debug)]
enum Write {
    InsertShop { code: Option<u8>, town: u8 },
    InsertTown,
    Name { shop: u8, name: u8 },
    Stock { shop: u8, stock: i64 },
    Code { shop: u8, code: Option<u8> },
    Move { shop: u8, town: u8 },
    Tags { shop: u8, count: u8 },
    Visit { shop: u8, by: i64 },
    Label { shop: u8, label: u8, is_added: bool },
    People { town: u8, people: u32 },
    RemoveShop(u8),
    RemoveTown(u8),
    InsertOrder { stage: i32 },
    Stage { order: u8, stage: i32 },
    Note { order: u8, note: u8 },
    RemoveOrder(u8),
    Sight { place: u64, by: u32 },
    ForgetSighting { place: u64 },
    InsertReport,
    Correct { report: u8, text: u8 },
    RemoveReport(u8),
}

fn write() -> impl Strategy<Value = Write> {
    let code = || proptest::option::of(0..4_u8);
    prop_oneof![
        3 => (code(), any::<u8>()).prop_map(|(code, town)| Write::InsertShop { code, town }),
        2 => Just(Write::InsertTown),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(shop, name)| Write::Name { shop, name }),
        3 => (any::<u8>(), 0..5_i64).prop_map(|(shop, stock)| Write::Stock { shop, stock }),
        1 => (any::<u8>(), code()).prop_map(|(shop, code)| Write::Code { shop, code }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(shop, town)| Write::Move { shop, town }),
        1 => (any::<u8>(), 0..3_u8).prop_map(|(shop, count)| Write::Tags { shop, count }),
        3 => (any::<u8>(), -3..4_i64).prop_map(|(shop, by)| Write::Visit { shop, by }),
        3 => (any::<u8>(), 0..3_u8, any::<bool>())
            .prop_map(|(shop, label, is_added)| Write::Label { shop, label, is_added }),
        2 => (any::<u8>(), any::<u32>()).prop_map(|(town, people)| Write::People { town, people }),
        2 => any::<u8>().prop_map(Write::RemoveShop),
        1 => any::<u8>().prop_map(Write::RemoveTown),
        2 => (-2..3_i32).prop_map(|stage| Write::InsertOrder { stage }),
        2 => (any::<u8>(), -2..5_i32).prop_map(|(order, stage)| Write::Stage { order, stage }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(order, note)| Write::Note { order, note }),
        1 => any::<u8>().prop_map(Write::RemoveOrder),
        3 => (1..4_u64, any::<u32>()).prop_map(|(place, by)| Write::Sight { place, by }),
        1 => (1..4_u64).prop_map(|place| Write::ForgetSighting { place }),
        2 => Just(Write::InsertReport),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(report, text)| Write::Correct { report, text }),
        1 => any::<u8>().prop_map(Write::RemoveReport),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let device = || 0..usize::from(DEVICES);
    prop_oneof![
        8 => (device(), prop::collection::vec(write(), 1..4), prop::bool::weighted(0.1))
            .prop_map(|(device, writes, abort)| Step::Write { device, writes, abort }),
        3 => (device(), prop::bool::weighted(0.1)).prop_map(|(device, lost)| Step::Connect { device, lost }),
        5 => (device(), 1..4_usize).prop_map(|(device, count)| Step::Upload { device, count }),
        1 => device().prop_map(|device| Step::UploadAgain { device }),
        5 => (device(), 1..6_usize, any::<bool>())
            .prop_map(|(device, count, late)| Step::Receive { device, count, late }),
        1 => device().prop_map(|device| Step::Cut { device }),
        1 => device().prop_map(|device| Step::Restart { device }),
        1 => Just(Step::RestartServer),
        2 => (0..2_000_u64).prop_map(Step::Tick),
        1 => (device(), prop::sample::select(CLOCKS_MS.to_vec()))
            .prop_map(|(device, ahead_ms)| Step::SetClock { device, ahead_ms }),
    ]
}

/// As [`step`], with backups that are restored to the device that they were made of, or to another.
fn step_with_copies() -> impl Strategy<Value = Step> {
    let device = || 0..usize::from(DEVICES);
    prop_oneof![
        14 => step(),
        1 => device().prop_map(|device| Step::Backup { device }),
        1 => device().prop_map(|onto| Step::Copy { onto }),
    ]
}

/// How far clocks are ahead of the server's: right, just within the drift, just beyond it, a year, a year behind, in 1970.
const CLOCKS_MS: [i64; 7] = [0, 59_000, 61_000, 100_000, YEAR_MS, -YEAR_MS, -2_000_000_000_000];

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// The id of the `pick`-th object, counted round.
fn pick(ids: &[u64], pick: u8) -> Option<u64> {
    (!ids.is_empty()).then(|| ids[pick as usize % ids.len()])
}

fn code_text(code: Option<u8>) -> Option<String> {
    code.map(|code| format!("C{code}"))
}

/// Writes several things in one transaction; what is not allowed aborts it whole.
fn write_to(device: &Device, writes: &[Write], abort: bool) {
    let before = device.store().sync().login_state().unwrap().last_number;
    let result = device.store().write(|tx| {
        for write in writes {
            let shops: Vec<u64> = tx.all::<Shop>()?.iter().map(|shop| shop.id).collect();
            let towns: Vec<u64> = tx.all::<Town>()?.iter().map(|town| town.id).collect();
            let orders: Vec<u64> = tx.all::<Order>()?.iter().map(|order| order.id).collect();
            let reports: Vec<u64> = tx.all::<Report>()?.iter().map(|report| report.id).collect();
            match *write {
                Write::InsertShop { code, town } => {
                    let town = ToOne::new(pick(&towns, town).unwrap_or(0));
                    let (visits, labels) =
                        (Counter::new(i64::from(code.unwrap_or(0))), ["label 0".into()].into());
                    let shop = Shop {
                        name: "new".into(),
                        code: code_text(code),
                        town,
                        visits,
                        labels,
                        ..Shop::default()
                    };
                    tx.put(&mut shop.clone()).map(|_| ())?;
                }
                Write::InsertTown => {
                    tx.put(&mut Town { name: "new".into(), ..Town::default() }).map(|_| ())?
                }
                Write::Name { shop, name } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    tx.update(id, |shop: &mut Shop| shop.name = format!("name {name}"))?;
                }
                Write::Stock { shop, stock } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    tx.update(id, |shop: &mut Shop| shop.stock = stock)?;
                }
                Write::Code { shop, code } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    tx.update(id, |shop: &mut Shop| shop.code = code_text(code))?;
                }
                Write::Move { shop, town } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    tx.update(id, |shop: &mut Shop| shop.town = ToOne::new(pick(&towns, town).unwrap_or(0)))?;
                }
                Write::Tags { shop, count } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    let tags = (0..count).map(|n| format!("tag {n}")).collect();
                    tx.update(id, |shop: &mut Shop| shop.tags = tags)?;
                }
                Write::Visit { shop, by } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    tx.add(id, Shop::visits(), by).map(|_| ())?;
                }
                Write::Label { shop, label, is_added } => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    tx.update(id, |shop: &mut Shop| {
                        let label = format!("label {label}");
                        if is_added { shop.labels.insert(label) } else { shop.labels.remove(&label) }
                    })?;
                }
                Write::People { town, people } => {
                    let Some(id) = pick(&towns, town) else { continue };
                    tx.update(id, |town: &mut Town| town.people = people)?;
                }
                Write::RemoveShop(shop) => {
                    let Some(id) = pick(&shops, shop) else { continue };
                    assert!(tx.remove::<Shop>(id)?);
                }
                Write::RemoveTown(town) => {
                    let Some(id) = pick(&towns, town) else { continue };
                    assert!(tx.remove::<Town>(id)?);
                }
                Write::InsertOrder { stage } => {
                    tx.put(&mut Order { stage, note: "new".into(), ..Order::default() }).map(|_| ())?;
                }
                Write::Stage { order, stage } => {
                    let Some(id) = pick(&orders, order) else { continue };
                    tx.update(id, |order: &mut Order| order.stage = stage)?;
                }
                Write::Note { order, note } => {
                    let Some(id) = pick(&orders, order) else { continue };
                    tx.update(id, |order: &mut Order| order.note = format!("note {note}"))?;
                }
                Write::RemoveOrder(order) => {
                    let Some(id) = pick(&orders, order) else { continue };
                    assert!(tx.remove::<Order>(id)?);
                }
                Write::Sight { place, by } => {
                    let what = format!("seen {}", by % 3);
                    let seen_by = [i64::from(by % 3)].into();
                    tx.put(&mut Sighting { id: place, by, what, times: Counter::new(1), seen_by })
                        .map(|_| ())?;
                    tx.add(place, Sighting::times(), i64::from(by % 2)).map(|_| ())?;
                }
                Write::ForgetSighting { place } => tx.remove::<Sighting>(place).map(|_| ())?,
                Write::InsertReport => tx.put(&mut Report::default()).map(|_| ())?,
                Write::Correct { report, text } => {
                    let Some(id) = pick(&reports, report) else { continue };
                    tx.update(id, |report: &mut Report| report.text = format!("text {text}"))?;
                }
                Write::RemoveReport(report) => {
                    let Some(id) = pick(&reports, report) else { continue };
                    assert!(tx.remove::<Report>(id)?);
                }
            }
        }
        if abort { Err(StoreError::application("changed its mind")) } else { Ok(()) }
    });
    let after = device.store().sync().login_state().unwrap().last_number;
    match result {
        Ok(()) => assert!(after <= before + 1),
        Err(
            StoreError::UniqueViolation { .. }
            | StoreError::PrecedenceTooLow { .. }
            | StoreError::Application(_),
        ) => assert_eq!(after, before),
        Err(error) => panic!("{error}"),
    }
}

fn run(steps: &[Step], on_disk: bool) {
    let mut world = World::new(DEVICES, on_disk);
    let mut backup = None;
    for step in steps {
        match step {
            Step::Write { device, writes, abort } => write_to(&world.devices[*device], writes, *abort),
            Step::Connect { device, lost } => world.connect(*device, *lost),
            Step::Upload { device, count } => world.upload(*device, *count),
            Step::UploadAgain { device } => world.upload_again(*device),
            Step::Receive { device, count, late } => world.receive(*device, *count, *late),
            Step::Cut { device } => world.cut(*device),
            Step::Restart { device } => world.restart(*device),
            Step::RestartServer => world.restart_server(),
            Step::Tick(ms) => world.tick(*ms),
            Step::SetClock { device, ahead_ms } => world.set_clock(*device, *ahead_ms),
            Step::Backup { device } => backup = Some(copies::Backup::of(&world, *device)),
            Step::Copy { onto } => {
                if let Some(backup) = &backup {
                    backup.restore(&mut world, *onto);
                }
            }
        }
    }
    // Before everything has arrived, outboxes and confirmed states are full; whole they are at any time.
    check_stores(&world);
    compare::check(&world);
    world.settle();
    world.check();
    world.check_no_clock_refused();
    check_indexes(&world);
    check_stores(&world);
    assert_eq!(compare::check(&world), usize::from(DEVICES), "all devices are up to date");
}

/// What nobody has damaged must not be found damaged.
fn check_stores(world: &World) {
    assert_eq!(world.server.store().check().unwrap(), [], "on the server");
    for device in &world.devices {
        assert_eq!(device.store().check().unwrap(), [], "on {}", device.id());
    }
}

/// An index that is out of step with its objects would let a code be taken twice, or refuse one that is free.
fn check_indexes(world: &World) {
    for device in &world.devices {
        for order in device.orders().all().unwrap() {
            let found = device.orders().query(Order::clock().eq(order.clock)).find_ids().unwrap();
            assert!(found.contains(&order.id), "the index follows the clock");
        }
        let towns = device.towns();
        let mut all: Vec<u64> =
            towns.all().unwrap().iter().filter(|town| town.name == "new").map(|town| town.id).collect();
        all.sort_unstable();
        let mut found = towns.query(Town::name().eq("new")).find_ids().unwrap();
        found.sort_unstable();
        assert_eq!(found, all);
    }
}

/// So many cases in a normal run; `RECONVENE_SOAK` says how many times as many a long one tries.
fn config(cases: u32) -> ProptestConfig {
    let factor = std::env::var("RECONVENE_SOAK").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    ProptestConfig { cases: cases * factor, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn all_agree_in_the_end(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps, false);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn all_agree_although_stores_are_closed_and_opened(steps in prop::collection::vec(step(), 20..120)) {
        run(&steps, true);
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn all_agree_although_stores_are_copied_and_restored(steps in prop::collection::vec(step_with_copies(), 1..100)) {
        run(&steps, false);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn all_agree_although_directories_are_copied_and_restored(
        steps in prop::collection::vec(step_with_copies(), 20..120)
    ) {
        run(&steps, true);
    }
}
