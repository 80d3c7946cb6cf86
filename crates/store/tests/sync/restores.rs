//! Servers that were restored, as stores see them: numbers that are taken over, and transactions whose place is lost.

use reconvene_model::{Seq, TxHash};
use reconvene_store::{Claim, Delivery, LOST_BY_SERVER, Role, Store, Verdict};

use crate::world::Shop;

fn open(role: Role) -> Store {
    Store::builder("memory:").entity::<Shop>().entity::<crate::world::Town>().role(role).open().unwrap()
}

fn login(epoch: u64, decided: u64, rebased: Option<u64>) -> Delivery<'static> {
    let compare = rebased.is_some();
    Delivery::Login { epoch, view: 1, decided, decided_seq: Seq(1), rebased, compare }
}

#[test]
fn f12_what_a_restored_server_accepted_and_lost_leaves_the_outbox_and_is_kept() {
    let store = open(Role::Device);
    let shops = store.boxed::<Shop>().unwrap();
    for name in ["known", "lost", "unsent"] {
        shops.put(&mut Shop { name: name.to_owned(), ..Shop::default() }).unwrap();
    }
    let sync = store.sync();
    let accepted = |number: u64| Delivery::Verdict {
        number,
        verdict: Verdict::Accepted { seq: Seq(number), lost: Vec::new() },
    };
    sync.apply(&[login(1, 0, None), accepted(1), accepted(2)]).unwrap();
    let hash = sync.login_state().unwrap().decided_hash;
    assert_eq!(Some(hash), sync.hash_of(2).unwrap());

    let applied = sync.apply(&[login(2, 2, Some(1))]).unwrap();
    assert_eq!(applied.rejected, [2]);
    let numbers: Vec<u64> = sync.outbox(0, 9, usize::MAX).unwrap().iter().map(|tx| tx.number).collect();
    assert_eq!(numbers, [1, 3], "the server still knows the first, and never had the last");
    let rejected = sync.rejected().unwrap();
    assert_eq!((rejected.len(), rejected[0].code), (1, LOST_BY_SERVER));
    let names: Vec<String> = shops.all().unwrap().iter().map(|shop| shop.name.clone()).collect();
    assert_eq!(names, ["known", "unsent"]);
    let state = sync.login_state().unwrap();
    assert!(state.comparing && state.catching_up && state.cursor.epoch == 2 && state.cursor.seq == Seq(0));
}

#[test]
fn nothing_of_a_compare_is_taken_without_one() {
    let store = open(Role::Device);
    store.sync().apply(&[login(1, 0, None)]).unwrap();
    for delivery in [
        Delivery::Fetched { block: &[] },
        Delivery::Extra { range: reconvene_model::compare::CompareRange::ALL },
        Delivery::Compared { seq: Seq(1) },
    ] {
        assert!(store.sync().apply(std::slice::from_ref(&delivery)).is_err(), "{delivery:?}");
    }
}

#[test]
fn a_server_says_what_it_lost_until_the_device_has_arrived() {
    let (server, device) = (open(Role::Server), open(Role::Device));
    let (peer, key) = (device.sync().peer(), device.sync().key().public());
    server.sync().register(peer, &key).unwrap();
    let rebase = |epoch, confirmed| {
        let hash = TxHash([confirmed as u8; 16]);
        server.sync().rebase(peer, &Claim { epoch, confirmed, hash }).unwrap()
    };
    assert_eq!(rebase(7, 5), Some(0));
    assert_eq!(rebase(7, 5), Some(0), "the answer may have been lost");
    assert_eq!(rebase(7, 6), Some(0), "and the device been elsewhere meanwhile");
    assert_eq!(rebase(8, 6), None, "it has arrived");
    let origin = server.sync().register(peer, &key).unwrap();
    assert_eq!((origin.decided, origin.confirmed, origin.hash), (6, 6, TxHash([6; 16])));
    assert_eq!(rebase(8, 9), Some(6), "another history was lost");
    assert!(server.check().unwrap().is_empty());
}
