//! Damage done below the boxes, row by row: each kind is found, named by its object, and nothing else is.

use super::*;
use crate::sync::{Delivery, Incoming};
use crate::txn::WriteTxn;
use crate::{Entity, ToMany, ToOne};

#[derive(Entity, Debug, Default)]
#[entity(crate = "crate", sync)]
struct City {
    id: u64,
    #[index]
    name: String,
    #[unique]
    code: Option<String>,
    twin: ToOne<City>,
}

#[derive(Entity, Debug, Default)]
#[entity(crate = "crate")]
struct Note {
    id: u64,
    text: String,
    #[index]
    stars: Option<u8>,
    like: ToMany<Note>,
}

fn open(role: Role, secret: u8) -> Store {
    let store = Store::builder("memory:").entity::<City>().entity::<Note>();
    store.role(role).identity_secret([secret; 32]).time_source(|| 1_000_000).open().unwrap()
}

fn filled() -> Store {
    let store = open(Role::Device, 1);
    let city = |name: &str| City { name: name.into(), ..City::default() };
    store.boxed::<City>().unwrap().put_many(&mut [city("Rome"), city("Oslo")]).unwrap();
    store.boxed::<City>().unwrap().put(&mut city("Bonn")).unwrap();
    store.boxed::<City>().unwrap().remove(2).unwrap();
    for stars in [Some(3), None, Some(5)] {
        let text = "x".repeat(40);
        store.boxed::<Note>().unwrap().put(&mut Note { text, stars, ..Note::default() }).unwrap();
    }
    store.boxed::<Note>().unwrap().update(1, |note| note.like.set([2, 3])).unwrap();
    store
}

/// A server that has what a device wrote, and another device that was sent it.
fn shared() -> (Store, Store) {
    let (author, server, other) = (filled(), open(Role::Server, 2), open(Role::Device, 3));
    let peer = author.sync().peer();
    server.sync().register(peer, &author.sync().key().public()).unwrap();
    let login =
        Delivery::Login { epoch: 1, view: 1, decided: 0, decided_seq: Seq(0), rebased: None, compare: false };
    other.sync().apply(&[login]).unwrap();
    for tx in author.sync().outbox(0, 100, usize::MAX).unwrap() {
        let decided = server.sync().decide(&[Incoming { peer, bytes: &tx.bytes }], &[]).unwrap();
        let push = decided[0].push.clone().unwrap();
        let delivery = Delivery::Push { seq: push.seq, origin: push.origin, hlc: push.hlc, ops: &push.ops };
        other.sync().apply(&[delivery]).unwrap();
    }
    (server, other)
}

/// Damages a store and checks that exactly this is found.
fn found(store: &Store, damage: impl FnOnce(&mut WriteTxn<'_>, &Tables), expected: &[&str]) {
    assert_eq!(store.check().unwrap(), [], "before the damage");
    let tables = Tables::of(store);
    store
        .write(|tx| {
            damage(tx, &tables);
            Ok(())
        })
        .unwrap();
    let found: Vec<_> = store.check().unwrap().iter().map(Finding::to_string).collect();
    assert_eq!(found, expected);
}

struct Tables {
    cities: TableId,
    absent_cities: TableId,
    city_ids: TableId,
    city_name: TableId,
    notes: TableId,
    note_stars: TableId,
    likes: [TableId; 2],
    sync: crate::sync::SyncTables,
}

impl Tables {
    fn of(store: &Store) -> Tables {
        let catalog = &store.inner().catalog;
        let (city, note) = (catalog.expect("City").unwrap(), catalog.expect("Note").unwrap());
        Tables {
            cities: city.objects,
            absent_cities: city.absent.unwrap(),
            city_ids: city.global_ids.unwrap(),
            city_name: city.indexes[0].table,
            notes: note.objects,
            note_stars: note.indexes[0].table,
            likes: catalog.relations().first().map(|like| [like.forward, like.backward]).unwrap(),
            sync: store.inner().sync.tables,
        }
    }
}

fn raw(tx: &WriteTxn<'_>, table: TableId, key: &[u8]) -> Vec<u8> {
    tx.engine_tx().get(table, key).unwrap().unwrap().to_vec()
}

fn first(tx: &WriteTxn<'_>, table: TableId) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = tx.engine_tx().first(table).unwrap().unwrap();
    (key.to_vec(), value.to_vec())
}

#[test]
fn a_text_whose_length_grew_is_found_by_its_object() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let key = keys::object_key(2);
        let mut record = raw(tx, tables.notes, &key);
        let at = record.windows(4).position(|bytes| bytes == [40, 0, 0, 0]).unwrap();
        record[at + 2] = 9;
        tx.put_raw(tables.notes, &key, &record).unwrap();
    };
    found(&filled(), damage, &["Note 2: slot 1 of the record does not hold a String: it lies outside"]);
}

#[test]
fn a_record_cut_short_and_an_empty_one_are_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        tx.put_raw(tables.notes, &keys::object_key(3), &[]).unwrap();
    };
    let store = filled();
    let tables = Tables::of(&store);
    let whole = store.write(|tx| Ok(raw(tx, tables.notes, &keys::object_key(1)))).unwrap();
    found(
        &store,
        damage,
        &["Note 3: the record's header does not decode: the bytes end in the middle of something"],
    );
    // However short: never a panic, always a finding. The last bytes may be there for the alignment only.
    for length in 0..whole.len() - 8 {
        store.write(|tx| tx.put_raw(tables.notes, &keys::object_key(1), &whole[..length])).unwrap();
        assert_eq!(store.check().unwrap()[0].place, "Note 1", "{length} bytes");
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_survived() {
    let store = filled();
    let tables = Tables::of(&store);
    for (table, id) in [(tables.notes, 1), (tables.cities, 1)] {
        let key = keys::object_key(id);
        let whole = store.write(|tx| Ok(raw(tx, table, &key))).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut record = whole.clone();
            record[bit / 8] ^= 1 << (bit % 8);
            store.write(|tx| tx.put_raw(table, &key, &record)).unwrap();
            store.check().unwrap();
        }
        store.write(|tx| tx.put_raw(table, &key, &whole)).unwrap();
    }
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn an_entry_that_an_index_lost_is_found_by_its_object() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let (key, _) = first(tx, tables.city_name);
        tx.delete_raw(tables.city_name, &key).unwrap();
    };
    found(&filled(), damage, &["City 3: the index of name lacks it"]);
}

#[test]
fn an_entry_too_many_is_found_by_its_index() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let mut entry = vec![1, 7];
        index::push_id(&mut entry, 1);
        tx.put_raw(tables.note_stars, &entry, &[]).unwrap();
        entry.truncate(2);
        index::push_id(&mut entry, 99);
        tx.put_raw(tables.note_stars, &entry, &[]).unwrap();
    };
    found(
        &filled(),
        damage,
        &[
            "index of Note.stars: an entry has Note 1 at a value that it does not have",
            "index of Note.stars: an entry names Note 99, which does not exist",
        ],
    );
}

#[test]
fn an_object_beyond_the_last_id_is_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let record = raw(tx, tables.notes, &keys::object_key(1));
        tx.put_raw(tables.notes, &keys::object_key(70), &record).unwrap();
        let mut entry = first(tx, tables.note_stars).0;
        entry.truncate(1);
        let mut entry = {
            entry[0] = 1;
            entry.push(3);
            entry
        };
        index::push_id(&mut entry, 70);
        tx.put_raw(tables.note_stars, &entry, &[]).unwrap();
    };
    found(&filled(), damage, &["Note 70: its id was never handed out; the largest one is 3"]);
}

#[test]
fn an_object_that_exists_and_does_not_is_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let (_, record) = first(tx, tables.absent_cities);
        tx.put_raw(tables.absent_cities, &keys::object_key(1), &record).unwrap();
        let record = raw(tx, tables.cities, &keys::object_key(3));
        tx.put_raw(tables.absent_cities, &keys::object_key(2), &record).unwrap();
    };
    found(
        &filled(),
        damage,
        &[
            "City 1: it exists and is remembered as absent as well",
            "City 2: it is remembered as absent, and its record says that it exists",
        ],
    );
}

#[test]
fn broken_transactions_in_the_outbox_are_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let second = raw(tx, tables.sync.outbox, &keys::number_key(2));
        let mut cut = raw(tx, tables.sync.outbox, &keys::number_key(1));
        cut.truncate(cut.len() - 1);
        tx.put_raw(tables.sync.outbox, &keys::number_key(1), &cut).unwrap();
        tx.put_raw(tables.sync.outbox, &keys::number_key(9), &second).unwrap();
    };
    let store = filled();
    let peer = store.sync().peer();
    let expected = [
        "outbox, transaction 1: the bytes end in the middle of something".to_owned(),
        format!("outbox, transaction 9: it is transaction 2 of {peer}"),
    ];
    found(&store, damage, &expected.each_ref().map(String::as_str));
}

#[test]
fn a_broken_chain_in_the_outbox_is_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let mut first = raw(tx, tables.sync.outbox, &keys::number_key(1));
        // The low bit of the clock reading, which makes another transaction that decodes as well.
        first[1 + 8 + 1 + 16] ^= 1;
        tx.put_raw(tables.sync.outbox, &keys::number_key(1), &first).unwrap();
    };
    found(&filled(), damage, &["outbox, transaction 2: it does not follow the one before it"]);
}

#[test]
fn global_ids_that_lead_astray_are_found() {
    let (_, device) = shared();
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let (gid, _) = first(tx, tables.city_ids);
        tx.put_raw(tables.city_ids, &gid, &keys::object_key(77)).unwrap();
    };
    found(
        &device,
        damage,
        &[
            "City 1: its global id leads to another object",
            "global ids of City: an entry leads to City 77, of which nothing is known",
        ],
    );
}

#[test]
fn a_history_that_does_not_fit_its_objects_is_found() {
    let (server, _) = shared();
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let city = server.inner().catalog.expect("City").unwrap().def.id;
        tx.put_raw(tables.sync.changes, &keys::change_key(Seq(2), city, 1), &[]).unwrap();
        tx.put_raw(tables.sync.changes, &keys::change_key(Seq(99), city, 1), &[]).unwrap();
        let (key, _) = first(tx, tables.sync.decisions);
        tx.put_raw(tables.sync.decisions, &key, &[250; 17]).unwrap();
    };
    let peer = filled().sync().peer();
    let expected = [
        "history, position 2: City 1 changed there, and its record names another position".to_owned(),
        "history, position 99: City 1 changed there, and the newest position is 3".to_owned(),
        format!("verdict on {peer} 1: unknown kind 250"),
    ];
    found(&server, damage, &expected.each_ref().map(String::as_str));
}

#[test]
fn broken_conflicts_are_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        tx.put_raw(tables.sync.conflicts, &keys::number_key(3), &[9, 0, 1, 1]).unwrap();
        tx.put_raw(tables.sync.conflicts, &keys::number_key(4), &[0, 0, 1, 1, 0, 0, 0]).unwrap();
    };
    let expected = ["conflict 3: unknown law 9", "conflict 4: a side is missing"];
    found(&filled(), damage, &expected);
}

#[test]
fn links_that_stand_in_one_direction_only_are_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let [forward, backward] = tables.likes;
        tx.delete_raw(backward, &keys::link_key(3, 1)).unwrap();
        tx.put_raw(forward, &keys::link_key(2, 3), &[]).unwrap();
    };
    let missing = "it does not stand in the other direction";
    let expected = ["1 to 3", "2 to 3"].map(|link| format!("links of Note.like, {link}: {missing}"));
    found(&filled(), damage, &expected.each_ref().map(String::as_str));
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        tx.delete_raw(tables.likes[0], &keys::link_key(1, 2)).unwrap();
    };
    let expected = format!("links of Note.like from their other side, 2 to 1: {missing}");
    found(&filled(), damage, &[&expected]);
}

#[test]
fn links_of_objects_that_are_gone_are_found() {
    let damage = |tx: &mut WriteTxn<'_>, tables: &Tables| {
        let [forward, backward] = tables.likes;
        tx.put_raw(forward, &keys::link_key(9, 2), &[]).unwrap();
        tx.put_raw(backward, &keys::link_key(2, 9), &[]).unwrap();
    };
    found(&filled(), damage, &["links of Note.like, 9 to 2: Note 9 does not exist"]);
}

#[test]
fn findings_have_an_end() {
    let store = filled();
    let tables = Tables::of(&store);
    store
        .write(|tx| (100..2_000_u64).try_for_each(|id| tx.put_raw(tables.notes, &keys::object_key(id), b"?")))
        .unwrap();
    assert_eq!(store.check().unwrap().len(), FINDINGS_MAX);
}
