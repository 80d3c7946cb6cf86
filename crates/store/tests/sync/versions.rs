//! Versions of an application in the field at one time: what one does not know, it keeps for the others.

use reconvene_model::Seq;
use reconvene_store::{ChunkStart, Decision, Delivery, Entity, Incoming, Role, Store, StoreBuilder};

mod old {
    use super::*;

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, crate = "reconvene_store")]
    pub(super) struct Contact {
        pub(super) id: u64,
        pub(super) name: String,
        pub(super) age: i32,
    }
}

mod new {
    use super::*;

    #[derive(Entity, Clone, Debug, Default, PartialEq)]
    #[entity(sync, crate = "reconvene_store")]
    pub(super) struct Contact {
        pub(super) id: u64,
        pub(super) name: String,
        pub(super) age: i32,
        #[index]
        pub(super) phone: Option<String>,
        pub(super) boss: reconvene_store::ToOne<Contact>,
    }
}

/// Sends all that waits on `from`, and lets everyone take it.
pub(crate) fn exchange(server: &Store, devices: &[&Store]) {
    let server = server.sync();
    for device in devices {
        let device = device.sync();
        let origin = server.register(device.peer(), &device.key().public()).unwrap();
        let (epoch, head) = (server.epoch().unwrap(), server.head().unwrap());
        device
            .apply(&[Delivery::Login {
                epoch,
                view: 1,
                decided: origin.decided,
                decided_seq: head,
                rebased: None,
                compare: false,
            }])
            .unwrap();
        for tx in device.outbox(origin.decided, 100, 1 << 20).unwrap() {
            let decided =
                server.decide(&[Incoming { peer: device.peer(), bytes: &tx.bytes }], &[]).unwrap().remove(0);
            match decided.decision {
                Decision::Verdict { number, verdict } => {
                    device.apply(&[Delivery::Verdict { number, verdict }]).unwrap()
                }
                other => panic!("{other:?}"),
            };
        }
    }
    for device in devices {
        let device = device.sync();
        let chunk = server.chunk(ChunkStart::after(device.cursor().unwrap().seq), 1 << 20).unwrap();
        assert!(chunk.last);
        let mut deliveries = Vec::new();
        if let Some(block) = &chunk.block {
            deliveries.push(Delivery::States { block, upto: chunk.upto });
        }
        deliveries.push(Delivery::CatchUpDone { seq: chunk.upto });
        device.apply(&deliveries).unwrap();
        assert_eq!(device.content_hash().unwrap(), server.content_hash().unwrap());
    }
}

fn builder(place: &std::path::Path, secret: u8) -> StoreBuilder {
    Store::builder(place).identity_secret([secret; 32])
}

fn server(place: &std::path::Path, knows_new: bool) -> Store {
    let builder = builder(place, 1).role(Role::Server);
    match knows_new {
        true => builder.entity::<new::Contact>().open().unwrap(),
        false => builder.entity::<old::Contact>().open().unwrap(),
    }
}

/// An old device edits what a new one made; the new property survives, and shows when the old device is updated.
fn old_edits_keep_new_properties(server_knows: bool) {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let server = server(&place("server"), server_knows);
    let modern = builder(&place("modern"), 2).entity::<new::Contact>().open().unwrap();
    let aged = builder(&place("aged"), 3).entity::<old::Contact>().open().unwrap();
    let contacts = modern.boxed::<new::Contact>().unwrap();
    let boss = contacts.put(&mut new::Contact { name: "Ada".into(), ..Default::default() }).unwrap();
    let id = contacts
        .put(&mut new::Contact {
            name: "Bob".into(),
            phone: Some("555".into()),
            boss: reconvene_store::ToOne::new(boss),
            ..Default::default()
        })
        .unwrap();
    exchange(&server, &[&modern, &aged]);

    let old_contacts = aged.boxed::<old::Contact>().unwrap();
    let bob = old_contacts.all().unwrap().into_iter().find(|contact| contact.name == "Bob").unwrap().id;
    old_contacts.update(bob, |contact| contact.age = 44).unwrap();
    exchange(&server, &[&aged, &modern]);
    let seen = contacts.get(id).unwrap().unwrap();
    assert_eq!((seen.age, seen.phone.as_deref(), seen.boss.id()), (44, Some("555"), boss));

    // The old device has a write that it could not send when it is updated.
    old_contacts.update(bob, |contact| contact.age = 45).unwrap();
    drop((old_contacts, aged));
    let updated = builder(&place("aged"), 3).entity::<new::Contact>().open().unwrap();
    let updated_contacts = updated.boxed::<new::Contact>().unwrap();
    let seen = updated_contacts.get(bob).unwrap().unwrap();
    assert_eq!((seen.age, seen.phone.as_deref()), (45, Some("555")));
    assert_eq!(updated_contacts.get(seen.boss.id()).unwrap().unwrap().name, "Ada");
    let found = updated_contacts.query(new::Contact::phone().eq("555")).find_ids().unwrap();
    assert_eq!(found, [bob]);
    updated_contacts.update(bob, |contact| contact.phone = Some("777".into())).unwrap();
    exchange(&server, &[&updated, &modern]);
    let seen = contacts.get(id).unwrap().unwrap();
    assert_eq!((seen.age, seen.phone.as_deref()), (45, Some("777")));
}

#[test]
fn properties_of_newer_versions_survive_an_old_peer() {
    old_edits_keep_new_properties(true);
}

#[test]
fn properties_of_newer_versions_survive_an_old_server() {
    old_edits_keep_new_properties(false);
}

#[test]
fn an_old_server_passes_on_what_it_does_not_know_after_its_own_update() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("server");
    let modern = builder(&directory.path().join("modern"), 2).entity::<new::Contact>().open().unwrap();
    let contact = new::Contact { name: "Bob".into(), phone: Some("555".into()), ..Default::default() };
    modern.boxed::<new::Contact>().unwrap().put(&mut contact.clone()).unwrap();
    let old_server = server(&place, false);
    exchange(&old_server, &[&modern]);
    drop(old_server);
    let new_server = server(&place, true);
    let other = builder(&directory.path().join("other"), 4).entity::<new::Contact>().open().unwrap();
    exchange(&new_server, &[&other]);
    assert_eq!(other.boxed::<new::Contact>().unwrap().all().unwrap()[0].phone.as_deref(), Some("555"));
    assert_eq!(new_server.sync().head().unwrap(), Seq(1));
}

#[test]
fn what_a_newer_version_has_dropped_is_kept_for_those_who_know_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let server = server(&place("server"), true);
    let full = builder(&place("full"), 2).entity::<new::Contact>().open().unwrap();
    let slim = builder(&place("slim"), 3).entity::<new::Contact>().open().unwrap();
    let contacts = full.boxed::<new::Contact>().unwrap();
    let boss = contacts.put(&mut new::Contact { name: "Ada".into(), ..Default::default() }).unwrap();
    let mut bob = new::Contact { name: "Bob".into(), phone: Some("555".into()), ..Default::default() };
    bob.boss = reconvene_store::ToOne::new(boss);
    let bob = contacts.put(&mut bob).unwrap();
    exchange(&server, &[&full, &slim]);
    // A write that is not sent yet stands on top of what is confirmed; both have the properties that go.
    let id = slim.boxed::<new::Contact>().unwrap().all().unwrap()[1].id;
    slim.boxed::<new::Contact>().unwrap().update(id, |contact| contact.phone = Some("777".into())).unwrap();
    drop(slim);

    let slim = builder(&place("slim"), 3).entity::<old::Contact>().open().unwrap();
    exchange(&server, &[&slim, &full]);
    let seen = contacts.get(bob).unwrap().unwrap();
    assert_eq!((seen.phone.as_deref(), seen.boss.id()), (Some("777"), boss));
    slim.boxed::<old::Contact>().unwrap().update(id, |contact| contact.age = 50).unwrap();
    contacts.update(bob, |contact| contact.phone = Some("888".into())).unwrap();
    // Each time both have the same content as the server, what the slim one does not show included.
    exchange(&server, &[&slim, &full]);
    exchange(&server, &[&slim, &full]);
    assert_eq!(slim.check().unwrap(), []);
    let seen = contacts.get(bob).unwrap().unwrap();
    assert_eq!((seen.age, seen.phone.as_deref(), seen.boss.id()), (50, Some("888"), boss));
}
