//! Conflicts: what is told, what is not, and what an application can do about one. `docs/guide/conflicts.md` says it in words.

use proptest::prelude::*;
use reconvene_model::Value;
use reconvene_store::{
    CONFLICTS_BYTES_MAX, CONFLICTS_MAX, Conflict, ConflictLaw, Entity, Side, Store, StoreError, ToOne,
};

use crate::room::{Address, Checkpoint, Contact, Room, Sale, Seat};

fn text(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), Value::String(value.to_owned()))
}

/// Guide, "Seeing conflicts": two people change the same phone number.
#[test]
fn the_earlier_of_two_phone_numbers_can_be_taken_back() {
    let mut room = Room::new();
    let mut cleo = Contact { name: "Cleo".into(), phone: "1".into(), ..Default::default() };
    room.of_entity(0).put(&mut cleo).unwrap();
    room.settle();
    let (of_ann, of_bob) = (room.id::<Contact>(0), room.id::<Contact>(1));

    // Both offline: Ann first, then Bob, who sends first.
    room.of_entity::<Contact>(0).update(of_ann, |contact| contact.phone = "2".into()).unwrap();
    room.tick();
    room.of_entity::<Contact>(1).update(of_bob, |contact| contact.phone = "3".into()).unwrap();
    room.upload(1);
    room.settle();

    let conflict = room.only_conflict(0);
    assert_eq!((conflict.entity.as_str(), conflict.id), ("Contact", of_ann));
    assert_eq!((conflict.winner, conflict.law), (Side::Theirs, ConflictLaw::Later));
    assert_eq!(conflict.mine.values, [text("phone", "2")]);
    assert_eq!(conflict.theirs.values, [text("phone", "3")]);
    assert_eq!(conflict.mine.peer, Some(room.devices[0].sync().peer()));
    assert_eq!(conflict.theirs.peer, Some(room.devices[1].sync().peer()));
    assert_eq!(conflict.mine.written_ms.unwrap() + 1_000, conflict.theirs.written_ms.unwrap());
    assert!(!conflict.mine.removed && !conflict.theirs.removed);

    // Ann looks at it, and lets hers stand.
    assert!(room.devices[0].sync().take_version(conflict.number, Side::Mine).unwrap());
    assert_eq!(room.told(0), []);
    assert!(!room.devices[0].sync().take_version(conflict.number, Side::Mine).unwrap());
    room.settle();
    assert_eq!(room.only::<Contact>(1).phone, "2");
    assert_eq!((room.told(0), room.told(1)), (vec![], vec![]), "a write over what was seen is no conflict");
}

#[test]
fn a_write_that_overrode_another_is_told_too() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact { phone: "1".into(), ..Default::default() }).unwrap();
    room.settle();
    let (of_ann, of_bob) = (room.id::<Contact>(0), room.id::<Contact>(1));
    room.of_entity::<Contact>(1).update(of_bob, |contact| contact.phone = "3".into()).unwrap();
    room.tick();
    room.of_entity::<Contact>(0).update(of_ann, |contact| contact.phone = "2".into()).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!((conflict.winner, conflict.law), (Side::Mine, ConflictLaw::Later));
    assert_eq!(
        (&conflict.mine.values[..], &conflict.theirs.values[..]),
        (&[text("phone", "2")][..], &[text("phone", "3")][..])
    );
    assert!(room.devices[0].sync().take_version(conflict.number, Side::Theirs).unwrap());
    room.settle();
    assert_eq!(room.only::<Contact>(1).phone, "3");
}

#[test]
fn writes_of_one_date_are_a_tie() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    room.tick();
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.name = "Cleo".into()).unwrap();
    room.of_entity::<Contact>(1).update(ids[1], |contact| contact.name = "Cora".into()).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!(conflict.law, ConflictLaw::Tie);
    let mine_wins = room.devices[0].sync().peer() > room.devices[1].sync().peer();
    assert_eq!(conflict.winner, if mine_wins { Side::Mine } else { Side::Theirs });
    let stands = room.only::<Contact>(1).name;
    assert_eq!(stands, if mine_wins { "Cleo" } else { "Cora" });
}

#[test]
fn different_properties_and_equal_values_are_no_conflict() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    let edit = |contact: &mut Contact| contact.name = "Cleo".into();
    room.of_entity::<Contact>(0).update(ids[0], edit).unwrap();
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.phone = "2".into()).unwrap();
    room.of_entity::<Contact>(1).update(ids[1], edit).unwrap();
    room.upload(1);
    room.settle();
    assert_eq!((room.told(0), room.told(1)), (vec![], vec![]));
}

/// One pair of writes is one conflict, with each property over which they differ.
#[test]
fn a_whole_put_that_met_another_is_one_conflict() {
    let mut room = Room::new();
    let at =
        |street: &str, city: &str| Address { street: street.into(), city: city.into(), ..Default::default() };
    room.of_entity(0).put(&mut at("Ring 1", "Bonn")).unwrap();
    room.settle();
    let ids = [room.id::<Address>(0), room.id::<Address>(1)];
    room.of_entity(1).put(&mut Address { id: ids[1], ..at("Kai 7", "Kiel") }).unwrap();
    room.tick();
    room.of_entity::<Address>(0).update(ids[0], |address| address.street = "Ring 2".into()).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!((conflict.winner, conflict.law), (Side::Mine, ConflictLaw::Later));
    let sorted = |mut values: Vec<(String, Value)>| {
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values
    };
    assert_eq!(sorted(conflict.mine.values), [text("city", "Bonn"), text("street", "Ring 2")]);
    assert_eq!(sorted(conflict.theirs.values), [text("city", "Kiel"), text("street", "Kai 7")]);
    assert!(room.devices[0].sync().take_version(conflict.number, Side::Theirs).unwrap());
    room.settle();
    assert_eq!(room.only::<Address>(1).city, "Kiel");
}

#[test]
fn a_put_of_lower_precedence_is_told_to_lose() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Sale { note: "two chairs".into(), ..Default::default() }).unwrap();
    room.settle();
    let ids = [room.id::<Sale>(0), room.id::<Sale>(1)];
    room.of_entity::<Sale>(1).update(ids[1], |sale| sale.stage = 2).unwrap();
    room.tick();
    room.of_entity::<Sale>(0).update(ids[0], |sale| sale.note = "three chairs".into()).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!((conflict.winner, conflict.law), (Side::Theirs, ConflictLaw::Precedence));
    assert!(conflict.mine.values.contains(&text("note", "three chairs")));
    // It could only lose again, and nothing has changed.
    let sync = room.devices[0].sync();
    let refused = sync.take_version(conflict.number, Side::Mine).unwrap_err();
    assert!(matches!(refused, StoreError::PrecedenceTooLow { .. }), "{refused}");
    assert_eq!(room.told(0), std::slice::from_ref(&conflict));
    assert!(sync.dismiss_conflict(conflict.number).unwrap());
    assert!(!sync.dismiss_conflict(conflict.number).unwrap());
    assert_eq!(room.told(0), []);
}

#[test]
fn what_arrives_last_is_told_to_stand() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Checkpoint { id: 7, passed: 1 }).unwrap();
    room.tick();
    room.of_entity(1).put(&mut Checkpoint { id: 7, passed: 2 }).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!((conflict.winner, conflict.law), (Side::Mine, ConflictLaw::Arrival));
    assert_eq!(room.only::<Checkpoint>(1).passed, 1);
}

#[test]
fn an_edit_of_what_another_removed_is_told_before_its_verdict() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact { name: "Cleo".into(), ..Default::default() }).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.phone = "2".into()).unwrap();
    room.of_entity::<Contact>(1).remove(ids[1]).unwrap();
    room.upload(1);
    room.receive(0);
    let conflict = room.only_conflict(0);
    assert_eq!((conflict.winner, conflict.law), (Side::Theirs, ConflictLaw::Removed));
    assert_eq!(conflict.mine.values, [text("phone", "2")]);
    assert!(conflict.theirs.removed && conflict.theirs.peer.is_none() && conflict.theirs.values.is_empty());
    room.settle();
    assert_eq!(room.told(0), std::slice::from_ref(&conflict), "its verdict tells nothing new");
    let rejected = room.devices[0].sync().rejected().unwrap();
    assert_eq!(rejected[0].number, conflict.transaction);
    let gone = room.devices[0].sync().take_version(conflict.number, Side::Mine).unwrap_err();
    assert!(matches!(gone, StoreError::NotFound { .. }), "{gone}");
}

/// The verdict may be the first to tell of a remove; then its push tells nothing new.
#[test]
fn a_remove_that_a_verdict_tells_is_told_once() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.phone = "2".into()).unwrap();
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.name = "Cleo".into()).unwrap();
    room.of_entity::<Contact>(1).remove(ids[1]).unwrap();
    room.upload(1);
    room.upload(0);
    let conflict = room.only_conflict(0);
    assert_eq!(conflict.law, ConflictLaw::Removed);
    assert_eq!(conflict.mine.values.len(), 2, "{conflict:?}");
    room.settle();
    assert_eq!(room.told(0), [conflict]);
}

#[test]
fn a_remove_tells_which_edit_it_took_along() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact { name: "Cleo".into(), ..Default::default() }).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    room.of_entity::<Contact>(1).update(ids[1], |contact| contact.phone = "3".into()).unwrap();
    room.of_entity::<Contact>(0).remove(ids[0]).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!((conflict.winner, conflict.law), (Side::Mine, ConflictLaw::Removed));
    assert!(conflict.mine.removed && !conflict.theirs.removed);
    assert_eq!(conflict.theirs.values, [text("phone", "3")]);
}

#[test]
fn removes_on_both_sides_are_no_conflict() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.phone = "2".into()).unwrap();
    room.of_entity::<Contact>(0).remove(ids[0]).unwrap();
    room.of_entity::<Contact>(1).remove(ids[1]).unwrap();
    room.upload(1);
    room.settle();
    assert_eq!((room.told(0), room.told(1)), (vec![], vec![]));
}

/// Ids that an application chooses can be put again under the same id.
#[test]
fn a_seat_that_was_removed_can_be_taken_again() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Seat { id: 4, guest: "Ann".into(), meal: "fish".into() }).unwrap();
    room.settle();
    room.of_entity::<Seat>(0).put(&mut Seat { id: 4, guest: "Cleo".into(), meal: "rice".into() }).unwrap();
    room.of_entity::<Seat>(1).remove(4).unwrap();
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!(conflict.law, ConflictLaw::Removed);
    assert!(room.devices[0].sync().take_version(conflict.number, Side::Mine).unwrap());
    room.settle();
    assert_eq!(room.only::<Seat>(1), Seat { id: 4, guest: "Cleo".into(), meal: "rice".into() });
}

/// Two devices make the same shared object.
#[test]
fn two_inserts_of_one_shared_object_are_a_conflict() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Seat { id: 4, guest: "Ann".into(), meal: "fish".into() }).unwrap();
    room.tick();
    room.of_entity(1).put(&mut Seat { id: 4, guest: "Bob".into(), meal: "fish".into() }).unwrap();
    room.upload(0);
    room.settle();
    let conflict = room.only_conflict(1);
    assert_eq!((conflict.winner, conflict.law), (Side::Mine, ConflictLaw::Later));
    assert_eq!(conflict.theirs.values, [text("guest", "Ann")]);
}

/// A device that was away: its catch-up comes before its upload.
#[test]
fn what_was_missed_while_away_is_told_at_the_catch_up() {
    let mut room = Room::of(3);
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    let ids: Vec<u64> = (0..3).map(|device| room.id::<Contact>(device)).collect();
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.phone = "2".into()).unwrap();
    for (device, phone) in [(1, "3"), (2, "4")] {
        room.tick();
        room.of_entity::<Contact>(device)
            .update(ids[device], |contact| contact.phone = phone.into())
            .unwrap();
        room.upload(device);
        room.receive(1);
        room.receive(2);
    }
    assert_eq!((room.told(1), room.told(2)), (vec![], vec![]));
    room.log_in(0);
    let told = room.told(0);
    assert_eq!((told.len(), &told[0].theirs.values[..]), (1, &[text("phone", "4")][..]), "{told:?}");
    room.log_in(0);
    assert_eq!(room.told(0), told, "a repeated catch-up tells nothing twice");
    room.upload(0);
    room.settle();
    assert_eq!(room.told(0), told);
}

/// The server accepted it and the connection broke; what others wrote over it since, they may have seen.
#[test]
fn a_write_over_what_was_accepted_unheard_is_no_conflict() {
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    let ids = [room.id::<Contact>(0), room.id::<Contact>(1)];
    room.of_entity::<Contact>(0).update(ids[0], |contact| contact.phone = "2".into()).unwrap();
    room.decide(0);
    room.receive(1);
    room.of_entity::<Contact>(1).update(ids[1], |contact| contact.phone = "3".into()).unwrap();
    room.upload(1);
    room.log_in(0);
    assert_eq!((room.told(0), room.told(1)), (vec![], vec![]));
    assert_eq!(room.only::<Contact>(0).phone, "3");
}

#[test]
fn links_are_told_as_local_ids() {
    let mut room = Room::new();
    let mut three = ["Cleo", "Dora", "Emil"].map(|name| Contact { name: name.into(), ..Default::default() });
    room.of_entity(0).put_many(&mut three).unwrap();
    room.settle();
    let ids: Vec<Vec<u64>> = (0..2)
        .map(|device| room.of_entity::<Contact>(device).all().unwrap().iter().map(|c| c.id()).collect())
        .collect();
    let link = |room: &Room, device: usize, boss: usize| {
        let boss = ids[device][boss];
        let link = |contact: &mut Contact| contact.boss = ToOne::new(boss);
        room.of_entity::<Contact>(device).update(ids[device][0], link).unwrap();
    };
    link(&room, 0, 1);
    room.tick();
    link(&room, 1, 2);
    room.upload(1);
    room.settle();
    let conflict = room.only_conflict(0);
    assert_eq!(conflict.mine.values, [("boss".to_owned(), Value::Relation(ids[0][1]))]);
    assert_eq!(conflict.theirs.values, [("boss".to_owned(), Value::Relation(ids[0][2]))]);
    assert!(room.devices[0].sync().take_version(conflict.number, Side::Mine).unwrap());
    room.settle();
    let first = room.of_entity::<Contact>(1).get(ids[1][0]).unwrap().unwrap();
    assert_eq!(first.boss.id(), ids[1][1]);
}

#[test]
fn the_oldest_conflicts_go_first() {
    let mut room = Room::new();
    let many = usize::try_from(CONFLICTS_MAX).unwrap() + 3;
    let mut contacts = vec![Contact::default(); many];
    room.of_entity(0).put_many(&mut contacts).unwrap();
    room.settle();
    for device in 0..2 {
        let contacts = room.of_entity::<Contact>(device);
        let mut all = contacts.all().unwrap();
        all.iter_mut().for_each(|contact| contact.phone = device.to_string());
        contacts.put_many(&mut all).unwrap();
    }
    room.upload(1);
    room.settle();
    let numbers: Vec<u64> = room.told(0).iter().map(|conflict| conflict.number).collect();
    assert_eq!(numbers, (4..=many as u64).collect::<Vec<_>>());

    // By bytes as well, but the newest stays whatever its size.
    let long = "x".repeat(usize::try_from(CONFLICTS_BYTES_MAX / 2).unwrap());
    for round in 0..3 {
        for device in 0..2 {
            let contacts = room.of_entity::<Contact>(device);
            let id = contacts.all().unwrap()[0].id();
            contacts.update(id, |contact| contact.name = format!("{device}{round}{long}")).unwrap();
        }
        room.upload(1);
        room.settle();
        let numbers: Vec<u64> = room.told(0).iter().map(|conflict| conflict.number).collect();
        assert_eq!(numbers, [many as u64 + round + 1]);
    }
    // What is dismissed makes room again.
    assert!(room.devices[0].sync().dismiss_conflict(many as u64 + 3).unwrap());
    assert_eq!(room.told(0), []);
}

#[test]
fn conflicts_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut room = Room::new();
    room.of_entity(0).put(&mut Contact::default()).unwrap();
    room.settle();
    room.devices[0] = open_at(directory.path());
    room.log_in(0);
    let id = room.id::<Contact>(0);
    room.of_entity::<Contact>(0).update(id, |contact| contact.phone = "2".into()).unwrap();
    let of_bob = room.id::<Contact>(1);
    room.of_entity::<Contact>(1).update(of_bob, |contact| contact.phone = "3".into()).unwrap();
    room.upload(1);
    room.receive(0);
    let told = room.told(0);
    assert_eq!(told.len(), 1);
    // Closes the store before it is opened again.
    room.devices[0] = Store::builder("memory:").entity::<Contact>().open().unwrap();
    room.devices[0] = open_at(directory.path());
    assert_eq!(room.told(0), told);
    room.log_in(0);
    assert_eq!(room.told(0), told);
}

fn open_at(directory: &std::path::Path) -> Store {
    Store::builder(directory).identity_secret([9; 32]).entity::<Contact>().open().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Edit(usize, u8, bool),
    Remove(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 0..5_u8, any::<bool>()).prop_map(|(device, seat, meal)| Step::Edit(device, seat, meal)),
        1 => (0..3_usize, 0..5_u8).prop_map(|(device, seat)| Step::Remove(device, seat)),
    ]
}

fn take_step(room: &Room, step: &Step, at: usize) {
    match *step {
        Step::Edit(device, seat, meal) => {
            let (id, now) = (u64::from(seat) + 1, at.to_string());
            let seats = room.of_entity::<Seat>(device);
            let edit =
                |seat: &mut Seat| if meal { seat.meal = now.clone() } else { seat.guest = now.clone() };
            if seats.contains(id).unwrap() {
                seats.update(id, edit).unwrap();
            } else {
                let mut seat = Seat { id, ..Seat::default() };
                edit(&mut seat);
                seats.put(&mut seat).unwrap();
            }
            room.of_entity(device).put(&mut Checkpoint { id, passed: at as u32 }).unwrap();
        }
        Step::Remove(device, seat) => {
            room.of_entity::<Seat>(device).remove(u64::from(seat) + 1).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Who always has everything before he writes never meets anybody.
    #[test]
    fn histories_without_concurrency_have_no_conflict(steps in prop::collection::vec((step(), any::<bool>()), 1..40)) {
        let mut room = Room::of(3);
        for (at, (step, by_catch_up)) in steps.iter().enumerate() {
            room.tick();
            take_step(&room, step, at);
            let device = match *step { Step::Edit(device, ..) | Step::Remove(device, _) => device };
            room.upload(device);
            for other in 0..3 {
                if *by_catch_up { room.log_in(other) } else { room.receive(other) }
            }
        }
        for device in 0..3 {
            prop_assert_eq!(room.told(device), []);
        }
    }

    /// Each pair of concurrent writes is told by one device, and the side that is said to stand does.
    #[test]
    fn of_two_concurrent_writes_one_device_tells_what_stands(
        first in step(), second in step(), before in prop::collection::vec(step(), 0..6), by_catch_up in any::<bool>(),
    ) {
        let mut room = Room::of(3);
        for (at, step) in before.iter().enumerate() {
            take_step(&room, step, at);
            room.settle();
        }
        let before: Vec<usize> = (0..3).map(|device| room.told(device).len()).collect();
        prop_assert_eq!(before, [0, 0, 0]);
        let device = |step: &Step| match *step { Step::Edit(device, ..) | Step::Remove(device, _) => device };
        let (one, other) = (device(&first), device(&second));
        prop_assume!(one != other);
        let was_there = |seat: u8| room.of_entity::<Seat>(one).contains(u64::from(seat) + 1).unwrap();
        let meets = match (&first, &second) {
            (Step::Edit(_, a, meal), Step::Edit(_, b, other)) => a == b && (meal == other || !was_there(*a)),
            (Step::Edit(_, a, _), Step::Remove(_, b)) | (Step::Remove(_, b), Step::Edit(_, a, _)) => a == b && was_there(*a),
            (Step::Remove(..), Step::Remove(..)) => false,
        };
        room.tick();
        take_step(&room, &first, 100);
        room.tick();
        take_step(&room, &second, 101);
        room.upload(one);
        if by_catch_up { room.log_in(other) }
        room.settle();
        prop_assert_eq!(room.told(one), []);
        let told: Vec<Conflict> =
            room.told(other).into_iter().filter(|conflict| conflict.entity == "Seat").collect();
        prop_assert_eq!(told.len(), usize::from(meets), "{:?}", told);
        for conflict in told {
            let stands = match conflict.winner { Side::Mine => &conflict.mine, Side::Theirs => &conflict.theirs };
            let there = room.devices[one].objects("Seat").unwrap().get(conflict.id).unwrap();
            prop_assert_eq!(there.is_none(), stands.removed);
            for (name, value) in &stands.values {
                prop_assert_eq!(there.as_ref().unwrap().get(name), value);
            }
        }
    }
}
