//! Findings of the review of the laws that need a certain order of deliveries; `docs/findings.md` lists all of them.

use reconvene_model::TxNumber;
use reconvene_store::{ChunkStart, Decision, Delivery, Incoming, Verdict};

use crate::world::{Shop, Town, World};

fn put_town(world: &World, device: usize, name: &str) -> u64 {
    world.devices[device].towns().put(&mut Town { name: name.into(), ..Town::default() }).unwrap()
}

fn only_shop(world: &World, device: usize) -> Shop {
    let mut shops = world.devices[device].shops().all().unwrap();
    assert_eq!(shops.len(), 1);
    shops.remove(0).into_inner()
}

fn cursor(world: &World, device: usize) -> u64 {
    world.devices[device].store().sync().cursor().unwrap().seq.0
}

/// Finding F21: a verdict within a catch-up moves nothing, the store says that it is catching up, and a cut loses nothing.
#[test]
fn f21_neither_a_verdict_nor_a_cut_within_a_catch_up_loses_the_rest() {
    let mut world = World::new(2, false);
    let first = put_town(&world, 0, "first");
    for at in 0..20 {
        put_town(&world, 0, &format!("town {at}"));
    }
    world.devices[0]
        .store()
        .write(|tx| {
            tx.update(first, |town: &mut Town| town.people = 1)?;
            tx.put(&mut Town { name: "last".into(), people: 1, ..Town::default() })
        })
        .unwrap();
    world.connect(0, false);
    world.upload(0, 99);
    world.connect(1, false);
    world.receive(1, 1, false);
    let reached = cursor(&world, 1);
    assert!(reached < world.server.store().sync().head().unwrap().0, "there is more to come");
    put_town(&world, 1, "own");
    world.upload(1, 1);
    world.receive(1, 0, false);
    assert_eq!(cursor(&world, 1), reached, "a verdict moves no cursor");
    assert!(world.devices[1].store().sync().catching_up().unwrap());
    world.cut(1);
    assert!(world.devices[1].store().sync().catching_up().unwrap(), "the rest is still to come");
    world.settle();
    world.check();
    assert!(!world.devices[1].store().sync().catching_up().unwrap());
    assert_eq!(world.devices[1].towns().count().unwrap(), 23);
}

/// Finding V1 c: a whole object that was read before one's own write was accepted arrives after the verdict on it.
#[test]
fn v01c_a_verdict_that_overtakes_an_older_state_loses_nothing() {
    let mut world = World::new(2, false);
    let id = world.devices[1].shops().put(&mut Shop { name: "Ink".into(), ..Shop::default() }).unwrap();
    world.settle();
    world.cut(0);
    world.devices[1].shops().update(id, |shop| shop.name = "Inks".into()).unwrap();
    world.upload(1, 9);
    let here = only_shop(&world, 0).id;
    world.devices[0].shops().update(here, |shop| shop.stock = 3).unwrap();
    world.connect(0, false);
    let from = world.devices[0].store().sync().cursor().unwrap().seq;
    let chunk = world.server.store().sync().chunk(ChunkStart::after(from), 1 << 20).unwrap();
    assert!(chunk.last);
    world.upload(0, 9);
    world.receive(0, 0, false);
    let shown = |world: &World| {
        let shop = only_shop(world, 0);
        (shop.name, shop.stock)
    };
    assert_eq!(shown(&world), ("Ink".to_owned(), 3));
    // The chunk knows nothing of the write that the verdict was on.
    let sync = world.devices[0].store().sync();
    let block = chunk.block.as_deref().unwrap();
    sync.apply(&[Delivery::States { block, upto: chunk.upto }]).unwrap();
    sync.apply(&[Delivery::CatchUpDone { seq: chunk.upto }]).unwrap();
    assert_eq!(shown(&world), ("Inks".to_owned(), 3));
    assert_eq!(sync.undecided().unwrap(), 1, "it stays merged in until the cursor reaches its position");
    world.cut(0);
    world.settle();
    world.check();
    assert_eq!(shown(&world), ("Inks".to_owned(), 3));
}

/// Finding V2: the verdict that refuses comes after the push of another one's write to the same property.
#[test]
fn v02_a_late_refusal_takes_nothing_of_a_push_that_came_before_it() {
    let mut world = World::new(2, false);
    let id = world.devices[0].shops().put(&mut Shop { name: "Ink".into(), ..Shop::default() }).unwrap();
    let coded = |code: &str| Shop { code: Some(code.to_owned()), ..Shop::default() };
    world.settle();
    let there = only_shop(&world, 1).id;
    world.devices[0].shops().put(&mut coded("c")).unwrap();
    world.upload(0, 9);
    world.devices[1]
        .store()
        .write(|tx| {
            tx.update(there, |shop: &mut Shop| shop.name = "refused".into())?;
            tx.put(&mut coded("c"))
        })
        .unwrap();
    world.upload(1, 9);
    world.tick(10_000);
    world.devices[0].shops().update(id, |shop| shop.name = "Inks".into()).unwrap();
    world.upload(0, 9);
    world.receive(1, 9, true);
    assert_eq!(world.devices[1].store().sync().undecided().unwrap(), 1, "the verdict is still under way");
    world.receive(1, 0, false);
    assert_eq!(world.devices[1].shops().get(there).unwrap().unwrap().name, "Inks");
    assert_eq!(world.devices[1].store().sync().rejected().unwrap().len(), 1);
    world.settle();
    world.check();
}

/// Finding V3: an object moves to the end of the history while a catch-up is on its way there.
#[test]
fn v03_what_moves_while_a_catch_up_runs_comes_whole() {
    let mut world = World::new(2, false);
    let id = world.devices[0].shops().put(&mut Shop { name: "Ink".into(), ..Shop::default() }).unwrap();
    world.settle();
    world.cut(1);
    for at in 0..20 {
        put_town(&world, 0, &format!("town {at}"));
    }
    world.devices[0].shops().update(id, |shop| shop.name = "Inks".into()).unwrap();
    world.upload(0, 99);
    world.connect(1, false);
    world.receive(1, 1, false);
    // The row of the shop was to come at the end; now it stands behind it, and the push tells of one property only.
    world.devices[0].shops().update(id, |shop| shop.stock = 7).unwrap();
    world.upload(0, 9);
    world.settle();
    world.check();
    let shop = only_shop(&world, 1);
    assert_eq!((shop.name.as_str(), shop.stock), ("Inks", 7));
}

/// Finding V7: a refused transaction is uploaded again, before and after its author has confirmed the refusal.
#[test]
fn v07_a_refusal_is_told_once_however_often_its_transaction_arrives() {
    let mut world = World::new(2, false);
    let coded = || Shop { code: Some("c".to_owned()), ..Shop::default() };
    world.devices[0].shops().put(&mut coded()).unwrap();
    world.connect(0, false);
    world.upload(0, 9);
    world.devices[1].shops().put(&mut coded()).unwrap();
    world.connect(1, false);
    let bytes = world.devices[1].store().sync().outbox(0, 1, 1 << 20).unwrap().remove(0).bytes;
    world.upload(1, 9);
    let peer = world.devices[1].id();
    let again = |world: &World, confirmed: TxNumber| {
        let incoming = [Incoming { peer, bytes: &bytes }];
        let mut decided =
            world.server.store().sync().decide(&incoming, &[(peer, confirmed)]).unwrap().remove(0);
        assert!(decided.push.take().is_none());
        decided.decision
    };
    let Decision::Verdict { number: 1, verdict } = again(&world, 0) else { panic!("it gets its verdict") };
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    let sync = world.devices[1].store().sync();
    let told = [1, 1, 1].map(|number| {
        sync.apply(&[Delivery::Verdict { number, verdict: verdict.clone() }]).unwrap().rejected
    });
    assert_eq!(told, [vec![1], vec![], vec![]]);
    assert_eq!(sync.rejected().unwrap().len(), 1);
    // Dismissed, confirmed and forgotten: a duplicate does not bring it back.
    assert!(sync.dismiss_rejected(1).unwrap());
    assert_eq!(again(&world, 1), Decision::Known { number: 1 });
    let told_late = sync.apply(&[Delivery::Verdict { number: 1, verdict }]).unwrap();
    assert_eq!((told_late.rejected, sync.rejected().unwrap().len()), (vec![], 0));
    world.cut(1);
    world.settle();
    assert_eq!(world.devices[1].store().sync().rejected().unwrap(), []);
}
