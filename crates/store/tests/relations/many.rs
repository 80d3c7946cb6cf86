//! Standalone many-to-many relations.

use reconvene_store::{StoreError, ToMany};

use super::support::on_both;
use super::*;

#[test]
fn links_are_sets_in_order_of_id_and_lead_both_ways() {
    on_both(|directory| {
        let store = open(directory);
        let tags = tags(&store, 4);
        let tasks = store.boxed::<Task>().unwrap();
        let mut dig = task("Dig");
        for tag in [tags[3], tags[0], tags[3]] {
            dig.tags.add(tag);
        }
        assert_eq!(dig.tags.ids(&store).unwrap(), [tags[0], tags[3]], "before the put");
        let id = tasks.put(&mut dig).unwrap();
        assert!(!dig.tags.is_changed());
        let read = tasks.get(id).unwrap().unwrap();
        for tags_of in [&dig.tags, &read.tags] {
            assert_eq!(tags_of.ids(&store).unwrap(), [tags[0], tags[3]]);
            assert_eq!(tags_of.len(&store).unwrap(), 2);
            assert!(
                tags_of.contains(&store, tags[0]).unwrap() && !tags_of.contains(&store, tags[1]).unwrap()
            );
        }
        assert_eq!(read.tags.get(&store).unwrap().len(), 2);
        let tag = store.boxed::<Tag>().unwrap().get(tags[3]).unwrap().unwrap();
        assert_eq!(tag.tasks.ids(&store).unwrap(), [id]);
        assert!(Task::helpers().ids(&store, id).unwrap().is_empty(), "another relation");
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn a_put_writes_what_was_added_and_removed_since_the_read() {
    on_both(|directory| {
        let store = open(directory);
        let tags = tags(&store, 4);
        let tasks = store.boxed::<Task>().unwrap();
        let mut dig = task("Dig");
        dig.tags.set([tags[0], tags[1]]);
        let id = tasks.put(&mut dig).unwrap();

        let mut read = tasks.get(id).unwrap().unwrap();
        // Somebody else links and unlinks meanwhile.
        store
            .write(|tx| {
                Task::tags().link(tx, id, tags[2])?;
                Task::tags().unlink(tx, id, tags[0])
            })
            .unwrap();
        read.tags.add(tags[3]);
        read.tags.remove(tags[1]);
        assert_eq!(read.tags.ids(&store).unwrap(), [tags[2], tags[3]]);
        assert_eq!(Task::tags().ids(&store, id).unwrap(), [tags[1], tags[2]], "not before the put");
        tasks.put(&mut read).unwrap();
        assert_eq!(Task::tags().ids(&store, id).unwrap(), [tags[2], tags[3]]);
        assert!(!read.tags.is_changed());

        // A put without changes writes none, and a clear takes what is there by then.
        let mut stale = tasks.get(id).unwrap().unwrap();
        tasks.put(&mut read).unwrap();
        stale.tags.clear();
        store.write(|tx| Task::tags().link(tx, id, tags[0])).unwrap();
        tasks.put(&mut stale).unwrap();
        assert!(Task::tags().ids(&store, id).unwrap().is_empty());
        tasks.update(id, |task| task.tags.set([tags[2]])).unwrap();
        assert_eq!(Task::tags().ids(&store, id).unwrap(), [tags[2]]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn links_of_an_undone_transaction_are_put_by_the_next() {
    on_both(|directory| {
        let store = open(directory);
        let tags = tags(&store, 2);
        let tasks = store.boxed::<Task>().unwrap();
        let id = tasks.put(&mut task("Dig")).unwrap();
        let mut read = tasks.get(id).unwrap().unwrap();
        read.tags.add(tags[0]);
        let mut fresh = task("Weed");
        fresh.tags.add(tags[1]);
        let undone = store.write(|tx| {
            tx.put(&mut read)?;
            tx.put(&mut fresh)?;
            assert_eq!(read.tags.ids(tx)?, [tags[0]]);
            Err::<(), _>(StoreError::application("enough"))
        });
        assert!(undone.is_err() && read.tags.is_changed());
        assert!(Task::tags().ids(&store, id).unwrap().is_empty());
        fresh.id = 0;
        store.write(|tx| tx.put(&mut read).and(tx.put(&mut fresh))).unwrap();
        assert!(!read.tags.is_changed() && !fresh.tags.is_changed());
        assert_eq!(Task::tags().ids(&store, id).unwrap(), [tags[0]]);
        assert_eq!(fresh.tags.ids(&store).unwrap(), [tags[1]]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn links_of_a_removed_object_are_removed_with_it() {
    on_both(|directory| {
        let store = open(directory);
        let tags = tags(&store, 2);
        let tasks = store.boxed::<Task>().unwrap();
        for _ in 0..3 {
            let mut task = task("Dig");
            task.tags.set(tags.clone());
            tasks.put(&mut task).unwrap();
        }
        tasks.remove(2).unwrap();
        assert_eq!(Tag::tasks().ids(&store, tags[0]).unwrap(), [1, 3]);
        store.boxed::<Tag>().unwrap().remove(tags[0]).unwrap();
        assert_eq!(Task::tags().ids(&store, 1).unwrap(), [tags[1]]);
        assert_eq!(store.check().unwrap(), []);
        tasks.remove_all().unwrap();
        assert!(Tag::tasks().ids(&store, tags[1]).unwrap().is_empty());
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn links_to_ids_that_no_object_had_are_refused_and_hidden_ones_revive() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        let mut dig = task("Dig");
        dig.tags.add(5);
        let error = tasks.put(&mut dig).unwrap_err();
        assert!(
            matches!(&error, StoreError::LinkToUnassigned { property, id: 5, .. } if property == "tags"),
            "{error}"
        );
        assert!(tasks.is_empty().unwrap());

        // People's ids are chosen.
        let mut dig = task("Dig");
        dig.helpers.set([7, 8]);
        let id = tasks.put(&mut dig).unwrap();
        assert!(Task::helpers().ids(&store, id).unwrap().is_empty());
        let people = store.boxed::<Person>().unwrap();
        people.put(&mut Person { id: 8, ..Person::default() }).unwrap();
        assert_eq!(Task::helpers().ids(&store, id).unwrap(), [8]);
        assert_eq!(people.get(8).unwrap().unwrap().helps.ids(&store).unwrap(), [id]);
        assert_eq!(store.check().unwrap(), []);
    });
}

/// The same id everywhere, so that a removed one can be made again.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", sync, shared_ids)]
struct Place {
    id: u64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Walk {
    id: u64,
    places: ToMany<Place>,
}

#[test]
fn links_to_synced_objects_stay_hidden_until_they_are_there_again() {
    on_both(|directory| {
        let store = builder(directory).entity::<Place>().entity::<Walk>().open().unwrap();
        let places = store.boxed::<Place>().unwrap();
        places.put(&mut Place { id: 3 }).unwrap();
        let mut walk = Walk::default();
        walk.places.add(3);
        let id = store.boxed::<Walk>().unwrap().put(&mut walk).unwrap();
        places.remove(3).unwrap();
        assert!(walk.places.is_empty(&store).unwrap() && !walk.places.contains(&store, 3).unwrap());
        places.put(&mut Place { id: 3 }).unwrap();
        assert_eq!(Walk::places().ids(&store, id).unwrap(), [3]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[derive(Entity, Clone, Debug, Default)]
#[entity(crate = "reconvene_store", sync)]
struct Shared {
    id: u64,
    all: ToMany<Shared>,
}

#[test]
fn a_relation_that_would_have_to_travel_is_refused_at_opening() {
    on_both(|directory| {
        let error = builder(directory).entity::<Shared>().open().unwrap_err();
        assert!(matches!(error, StoreError::RelationNotSynced { .. }), "{error}");
    });
}

#[test]
fn a_backup_and_a_compaction_carry_links() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tags = tags(&store, 2);
    let mut dig = task("Dig");
    dig.tags.set(tags.clone());
    let id = store.boxed::<Task>().unwrap().put(&mut dig).unwrap();
    let copy = tempfile::tempdir().unwrap();
    store.backup(copy.path().join(Store::DATA_FILE)).unwrap();
    drop((store, dig));
    Store::compact(directory.path()).unwrap();
    for directory in [&directory, &copy] {
        let store = open(directory.path());
        assert_eq!(Task::tags().ids(&store, id).unwrap(), tags);
        assert_eq!(Tag::tasks().ids(&store, tags[1]).unwrap(), [id]);
        assert_eq!(store.check().unwrap(), []);
    }
}
