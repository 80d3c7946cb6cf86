//! Copies of stores whose ids the application chooses: new objects may have smaller ids than old ones.

use reconvene_model::Seq;
use reconvene_store::__private::Image;
use reconvene_store::{Entity, EntityBox, Fork, Role, Store};

use crate::versions::exchange;

/// A seat in a hall, which the application numbers.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, self_assigned_ids, crate = "reconvene_store")]
struct Seat {
    id: u64,
    name: String,
}

#[test]
fn f13_ids_that_the_application_chooses_stay_under_whatever_name() {
    let builder = |secret: u8, role| {
        Store::builder("memory:").identity_secret([secret; 32]).role(role).entity::<Seat>()
    };
    let server = builder(1, Role::Server).open().unwrap();
    let a = builder(2, Role::Device).open().unwrap();
    let seats = |store: &Store| -> EntityBox<Seat> { store.boxed().unwrap() };
    let take = |store: &Store, id: u64, name: &str| {
        seats(store).put(&mut Seat { id, name: name.to_owned() }).unwrap();
    };
    let names = |store: &Store| {
        let mut names: Vec<String> =
            seats(store).all().unwrap().iter().map(|seat| seat.name.clone()).collect();
        names.sort();
        names
    };
    take(&a, 10, "ten");
    take(&a, 20, "twenty");
    exchange(&server, &[&a]);
    let b = builder(3, Role::Device).image(&Image::of(&a).unwrap()).open().unwrap();
    // Both take seats among those that both know, and beyond them.
    for (store, of) in [(&a, "a"), (&b, "b")] {
        take(store, 15, &format!("15 of {of}"));
        take(store, 30, &format!("30 of {of}"));
    }
    take(&b, 5, "5 of b");
    seats(&b).remove(20).unwrap();
    take(&b, 20, "twenty anew");
    exchange(&server, &[&a]);
    b.sync().renew_identity(&Fork { common: 2, decided_seq: Seq(2), verdicts: &[] }).unwrap();
    // A seat that nobody has taken yet, below all that the former name reached.
    take(&b, 12, "12 of b");
    seats(&b).remove(5).unwrap();
    take(&b, 5, "5 of b anew");
    exchange(&server, &[&b]);
    exchange(&server, &[&a, &b]);
    let all = ["12 of b", "15 of a", "15 of b", "30 of a", "30 of b", "5 of b anew", "ten", "twenty anew"];
    for store in [&server, &a, &b] {
        assert_eq!(names(store), all);
        assert_eq!(store.check().unwrap(), []);
    }
    assert!([&a, &b].iter().all(|store| store.sync().rejected().unwrap().is_empty()));
    for (id, name) in [
        (5, "5 of b anew"),
        (10, "ten"),
        (12, "12 of b"),
        (15, "15 of b"),
        (20, "twenty anew"),
        (30, "30 of b"),
    ] {
        assert_eq!(seats(&b).get(id).unwrap().unwrap().name, name);
    }
}
