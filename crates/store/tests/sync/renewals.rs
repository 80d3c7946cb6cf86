//! What a store that goes on under another name keeps apart: ids that came to nothing, and links that others made to its former name.

use reconvene_model::change::{Cell, Op, OpKind, OpsWriter};
use reconvene_model::{GlobalId, PeerId, PropertyType, Seq, Uid};
use reconvene_store::{Delivery, Fork, LostOp, StoreError, ToOne, Verdict};

use crate::copies::Backup;
use crate::world::{Shop, Sighting, Town, World};

fn shop(name: &str) -> Shop {
    Shop { name: name.to_owned(), ..Shop::default() }
}

#[test]
fn an_id_that_came_to_nothing_before_a_renewal_is_of_no_name_after_a_restart() {
    let mut world = World::new(2, false);
    world.devices[0].shops().put(&mut shop("shared")).unwrap();
    world.settle();
    Backup::of(&world, 0).restore(&mut world, 1);
    // The second one hands out an id and takes it back; nothing stored says so.
    let aborted = world.devices[1].store().write(|tx| {
        tx.put(&mut shop("undone"))?;
        Err::<(), _>(StoreError::ServerDirectory)
    });
    assert!(aborted.is_err());
    for device in 0..2 {
        world.devices[device].shops().update(1, |shop| shop.stock = 1 + device as i64).unwrap();
    }
    world.settle();
    assert_eq!(world.renewals, 1);

    let renewed = (0..2).find(|&device| {
        let state = world.devices[device].store().sync().login_state().unwrap();
        state.issued_before > 0
    });
    let renewed = renewed.unwrap();
    Backup::of(&world, renewed).restore(&mut world, renewed);
    let id = world.devices[renewed].shops().put(&mut shop("new")).unwrap();
    world.settle();
    let other = world.devices[1 - renewed].shops();
    let seen = other.all().unwrap().iter().find(|shop| shop.name == "new").map(|shop| shop.id).unwrap();
    other.update(seen, |shop| shop.stock = 9).unwrap();
    world.settle();
    world.check();
    assert_eq!(world.devices[renewed].shops().get(id).unwrap().unwrap().stock, 9);
    assert_eq!(world.devices[renewed].shops().count().unwrap(), 2);
}

#[test]
fn a_link_that_others_made_to_the_former_name_does_not_follow_the_new_one() {
    let world = World::new(1, false);
    let store = world.devices[0].store();
    let (shops, towns) = (world.devices[0].shops(), world.devices[0].towns());
    let town = towns.put(&mut Town { name: "new".to_owned(), ..Town::default() }).unwrap();
    let former = store.sync().peer();
    // A peer that cannot have heard of the town links to it.
    let stranger = PeerId(77);
    let schema = store.schema();
    let entity = schema.entity_by_name("Shop").unwrap();
    let uid = |name: &str| entity.property(name).unwrap().uid;
    let link = GlobalId::new(former, town).to_bytes();
    let login =
        Delivery::Login { epoch: 1, view: 1, decided: 0, decided_seq: Seq(0), rebased: None, compare: false };
    store.sync().apply(&[login]).unwrap();
    for counter in [1, 2] {
        let cells: [(Uid, PropertyType, &[u8]); 2] =
            [(uid("name"), PropertyType::String, b"odd"), (uid("town"), PropertyType::Relation, &link)];
        let mut op = Op::new(entity.uid, GlobalId::new(stranger, counter), 0, OpKind::Insert);
        op.cells = cells.iter().map(|&(uid, ty, bytes)| Cell::new(uid, ty, Some(bytes))).collect();
        op.cells.sort_by_key(|cell| cell.uid);
        let mut ops = OpsWriter::new(stranger);
        ops.push(&op);
        let ops = ops.finish();
        let hlc = crate::world::START_MS << 16 | counter;
        store
            .sync()
            .apply(&[Delivery::Push { seq: Seq(counter), origin: stranger, hlc, ops: &ops }])
            .unwrap();
    }
    let odd: Vec<u64> = shops.all().unwrap().iter().map(|shop| shop.id).collect();
    assert_eq!(odd.len(), 2);
    // On one of them something of this store's own waits; a third one is its own, with a link of its own.
    shops.update(odd[1], |shop| shop.stock = 1).unwrap();
    let own = shops.put(&mut Shop { town: ToOne::new(town), ..shop("own") }).unwrap();

    store.sync().renew_identity(&Fork { common: 0, decided_seq: Seq(2), verdicts: &[] }).unwrap();
    assert_eq!(store.check().unwrap(), []);
    assert_eq!(shops.get(own).unwrap().unwrap().town.id(), town);
    assert_eq!(towns.get(town).unwrap().unwrap().name, "new");
    let links: Vec<u64> = odd.iter().map(|&id| shops.get(id).unwrap().unwrap().town.id()).collect();
    assert!(links[0] != town && links[0] == links[1], "{links:?}");
    assert!(towns.get(links[0]).unwrap().is_none(), "it waits for what the former name stands for");
}

#[test]
fn an_own_remove_is_remembered_although_a_compare_has_forgotten_what_was_removed() {
    let world = World::new(1, false);
    let store = world.devices[0].store();
    let sightings = store.boxed::<Sighting>().unwrap();
    let login = |epoch: u64, compare: bool| Delivery::Login {
        epoch,
        view: 1,
        decided: 1,
        decided_seq: Seq(1),
        rebased: None,
        compare,
    };
    let accepted = |number: u64, seq: u64| Delivery::Verdict {
        number,
        verdict: Verdict::Accepted { seq: Seq(seq), lost: Vec::<LostOp>::new() },
    };
    sightings.put(&mut Sighting { id: 3, ..Sighting::default() }).unwrap();
    let own = Delivery::Own { seq: Seq(1), number: 1 };
    let first =
        Delivery::Login { epoch: 1, view: 1, decided: 0, decided_seq: Seq(0), rebased: None, compare: false };
    store.sync().apply(&[first, accepted(1, 1), own]).unwrap();
    sightings.remove(3).unwrap();
    // A restored server, on which somebody else has removed it, compares.
    let range = reconvene_model::compare::CompareRange::ALL;
    store
        .sync()
        .apply(&[login(2, true), Delivery::Extra { range }, Delivery::Compared { seq: Seq(5) }])
        .unwrap();
    store.sync().apply(&[accepted(2, 6), Delivery::CatchUpDone { seq: Seq(6) }]).unwrap();
    assert_eq!(store.sync().undecided().unwrap(), 0);
    sightings.put(&mut Sighting { id: 3, by: 2, ..Sighting::default() }).unwrap();
    let outbox = store.sync().outbox(2, 9, usize::MAX).unwrap();
    let (head, block) = reconvene_model::change::decode_tx(&outbox[0].bytes).unwrap();
    let mut ops = reconvene_model::change::OpsReader::new(head.origin, block).unwrap();
    assert_eq!(ops.next().unwrap().unwrap().generation, 1);
}
