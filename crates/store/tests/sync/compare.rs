//! What stores put into a compare: the same where they have the same, whatever is undecided.

use reconvene_model::change::{Op, OpKind, OpsWriter};
use reconvene_model::compare::{
    CompareKey, CompareRange, CompareSet, Fingerprinter, Item, Salt, SortedItems,
};
use reconvene_model::evolve::name_uid as entity_uid;
use reconvene_model::state::{StateEntry, StatesReader};
use reconvene_model::{GlobalId, PeerId, Seq};
use reconvene_store::{Delivery, Entity, LostOp, Role, Store, Verdict};

use crate::versions::exchange;
use crate::world::{Shop, Town, World};

const SALT: Salt = [9; 32];

/// So small that what is fetched is cut into many blocks.
const BLOCK_BYTES: usize = 150;

/// Checks every device that is up to date against the server, and what the server sends against what it says to have; how
/// many devices were up to date.
pub(crate) fn check(world: &World) -> usize {
    let server = world.server.store();
    let (theirs, head) = server.sync().compare_items(&SALT).unwrap();
    assert_eq!(head, server.sync().head().unwrap());
    check_fetch(server, &theirs);
    let up_to_date = world.devices.iter().filter(|device| {
        let sync = device.store().sync();
        sync.cursor().unwrap().seq == head && !sync.catching_up().unwrap()
    });
    up_to_date
        .inspect(|device| {
            let (own, seq) = device.store().sync().compare_items(&SALT).unwrap();
            assert_eq!(seq, head);
            assert_eq!(all(&own), all(&theirs), "{} is up to date and confirms something else", device.id());
        })
        .count()
}

fn all(items: &SortedItems) -> Vec<Item> {
    items.items(&CompareRange::ALL, usize::MAX).unwrap()
}

fn check_fetch(server: &Store, theirs: &SortedItems) {
    let items = all(theirs);
    assert_eq!(fetch(server, vec![CompareRange::ALL]), items);
    // The same once more by ranges: every third object alone, and what lies between.
    let (mut ranges, mut expected) = (Vec::new(), Vec::new());
    for three in items.chunks(3) {
        ranges.push(CompareRange::of(three[0].key));
        expected.push(three[0]);
        if let [_, from, to] = three {
            ranges.push(CompareRange::new(from.key, Some(to.key)));
            expected.push(*from);
        }
    }
    assert_eq!(fetch(server, ranges), expected);
}

/// What the server sends, as items.
fn fetch(server: &Store, mut ranges: Vec<CompareRange>) -> Vec<Item> {
    let mut fingerprints = Fingerprinter::new(&SALT);
    let mut items = Vec::new();
    while !ranges.is_empty() {
        let fetched = server.sync().fetch(&ranges, BLOCK_BYTES).unwrap();
        assert!(fetched.objects > 0 || fetched.rest.is_empty(), "every step brings something");
        let block = fetched.block.unwrap_or_default();
        assert!(block.len() < 3 * BLOCK_BYTES);
        let before = items.len();
        if !block.is_empty() {
            for entry in StatesReader::new(&block).unwrap() {
                let StateEntry { entity, gid, state, .. } = entry.unwrap();
                assert!(state.exists);
                let key = CompareKey::new(entity, gid);
                let stamps = state.registers.iter();
                let stamps = stamps
                    .flat_map(|register| register.stamps().into_iter().map(|stamp| (register.uid, stamp)));
                items.push(Item { key, fingerprint: fingerprints.object(key, state.generation, stamps) });
            }
        }
        assert_eq!((items.len() - before) as u64, fetched.objects);
        ranges = fetched.rest;
    }
    items
}

#[test]
fn undecided_writes_do_not_count() {
    let mut world = World::new(2, false);
    let towns = world.devices[0].towns();
    let mut town = Town { name: "Ulm".into(), ..Town::default() };
    towns.put(&mut town).unwrap();
    world.settle();
    assert_eq!(check(&world), 2);
    let (before, _) = world.devices[0].store().sync().compare_items(&SALT).unwrap();
    assert_eq!(before.len(), 1);
    // An edit, a new object and, on the other device, a removal.
    towns.put(&mut Town { people: 5, ..town.clone() }).unwrap();
    towns.put(&mut Town::default()).unwrap();
    world.devices[0].shops().put(&mut Shop::default()).unwrap();
    let others = world.devices[1].towns();
    others.remove(others.all().unwrap()[0].id).unwrap();
    assert_eq!(check(&world), 2);
    let (after, _) = world.devices[0].store().sync().compare_items(&SALT).unwrap();
    assert_eq!(all(&after), all(&before));
    world.settle();
    assert_eq!(check(&world), 2);
    // The removal beats the edit; the new objects are there.
    assert_eq!(world.server.store().sync().compare_items(&SALT).unwrap().0.len(), 2);
}

#[derive(Entity, Clone, Debug, Default)]
#[entity(sync, shared_ids, crate = "reconvene_store")]
struct Setting {
    id: u64,
    value: i32,
}

#[test]
fn objects_with_shared_ids_are_the_same_for_all() {
    let open = |role, secret| {
        let builder = Store::builder("memory:").identity_secret([secret; 32]).role(role);
        builder.entity::<Setting>().entity::<Town>().open().unwrap()
    };
    let (server, device) = (open(Role::Server, 1), open(Role::Device, 2));
    for id in 1..=40 {
        device.boxed::<Setting>().unwrap().put(&mut Setting { id, value: 7 }).unwrap();
        device.boxed::<Town>().unwrap().put(&mut Town::default()).unwrap();
    }
    exchange(&server, &[&device]);
    let (theirs, head) = server.sync().compare_items(&SALT).unwrap();
    let (own, seq) = device.sync().compare_items(&SALT).unwrap();
    assert_eq!((all(&own), seq), (all(&theirs), head));
    let shared = all(&theirs).iter().filter(|item| item.key.gid.origin == PeerId::SHARED).count();
    assert_eq!((shared, theirs.len()), (40, 80));
    check_fetch(&server, &theirs);
}

#[test]
fn a_write_that_a_verdict_swallowed_stays_away_when_a_compare_takes_what_swallowed_it() {
    let builder = Store::builder("memory:").role(Role::Device).entity::<Setting>().entity::<Town>();
    let device = builder.open().unwrap();
    let settings = device.boxed::<Setting>().unwrap();
    let put = |id, value| settings.put(&mut Setting { id, value }).unwrap();
    device
        .write(|tx| [5, 6].iter().try_for_each(|&id| tx.put(&mut Setting { id, value: 7 }).map(drop)))
        .unwrap();
    let login = |decided, compare| Delivery::Login {
        epoch: 1,
        view: 1,
        decided,
        decided_seq: Seq(2),
        rebased: None,
        compare,
    };
    // Others have removed the object and made it again.
    let other = PeerId(9);
    let gid = GlobalId::new(PeerId::SHARED, 5);
    let mut ops = OpsWriter::new(other);
    ops.push(&Op::new(entity_uid("Setting"), gid, 1, OpKind::Insert));
    let ops = ops.finish();
    let lost = vec![LostOp { op: 0, generation: 1 }];
    let verdict = Delivery::Verdict { number: 1, verdict: Verdict::Accepted { seq: Seq(2), lost } };
    let push = Delivery::Push { seq: Seq(1), origin: other, hlc: 1 << 16, ops: &ops };
    device.sync().apply(&[login(0, false), push, verdict]).unwrap();
    assert_eq!(settings.get(5).unwrap().unwrap().value, 0);
    // By the time of the compare it is removed again.
    let extra = Delivery::Extra { range: CompareRange::of(CompareKey::new(entity_uid("Setting"), gid)) };
    device.sync().apply(&[login(1, true), extra, Delivery::Compared { seq: Seq(1) }]).unwrap();
    assert!(settings.get(5).unwrap().is_none());
    assert_eq!(settings.get(6).unwrap().unwrap().value, 7, "the rest of the transaction waits for its place");
    put(5, 8);
    assert_eq!(settings.get(5).unwrap().unwrap().value, 8, "made again");
    assert_eq!(device.check().unwrap(), []);
}
