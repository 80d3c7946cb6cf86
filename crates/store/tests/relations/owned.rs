//! Objects that go with those that own them.

use reconvene_model::change::OpKind;
use reconvene_store::StoreError;

use super::support::{on_both, outbox};
use super::*;

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Order {
    id: u64,
    #[unique]
    number: Option<u32>,
    #[backlink(to = "order", owned)]
    lines: Backlinks<Line>,
    #[relation(owned)]
    notes: ToMany<Note>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Line {
    id: u64,
    order: ToOne<Order>,
    #[relation(owned)]
    notes: ToMany<Note>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Note {
    id: u64,
    #[relation(owned)]
    answers: ToMany<Note>,
}

fn open_orders(directory: &Path) -> Store {
    builder(directory).entity::<Order>().entity::<Line>().entity::<Note>().open().unwrap()
}

/// An order with two lines, one of which has a note with an answer; the id of the order.
fn order(store: &Store) -> u64 {
    store
        .write(|tx| {
            let order = tx.put(&mut Order::default())?;
            let answer = tx.put(&mut Note::default())?;
            let mut note = Note::default();
            note.answers.add(answer);
            let note = tx.put(&mut note)?;
            let mut line = Line { order: order.into(), ..Line::default() };
            line.notes.add(note);
            tx.put(&mut line)?;
            tx.put(&mut Line { order: order.into(), ..Line::default() })?;
            Ok(order)
        })
        .unwrap()
}

fn counts(store: &Store) -> [u64; 3] {
    store.read(|tx| Ok([tx.count::<Order>()?, tx.count::<Line>()?, tx.count::<Note>()?])).unwrap()
}

#[test]
fn owned_objects_go_with_their_owner_and_with_nobody_else() {
    on_both(|directory| {
        let store = open_orders(directory);
        let (first, second) = (order(&store), order(&store));
        assert_eq!(counts(&store), [2, 4, 4]);
        assert!(store.boxed::<Order>().unwrap().remove(first).unwrap());
        assert_eq!(counts(&store), [1, 2, 2]);
        assert_eq!(Order::lines().ids(&store, second).unwrap(), [3, 4]);
        assert!(!store.boxed::<Order>().unwrap().remove(first).unwrap());
        // Also by a query, by name, and where a unique value is taken over... the order goes, so do its parts.
        store.boxed::<Order>().unwrap().query(Order::number().is_null()).remove().unwrap();
        assert_eq!(counts(&store), [0, 0, 0]);
        let third = order(&store);
        assert!(store.objects("Order").unwrap().remove(third).unwrap());
        assert_eq!(counts(&store), [0, 0, 0]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn a_cascade_is_undone_with_its_transaction() {
    on_both(|directory| {
        let store = open_orders(directory);
        let id = order(&store);
        let undone = store.write(|tx| {
            tx.remove::<Order>(id)?;
            assert_eq!(tx.count::<Line>()?, 0);
            Err::<(), _>(StoreError::application("enough"))
        });
        assert!(undone.is_err());
        assert_eq!(counts(&store), [1, 2, 2]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn owners_in_a_circle_go_together() {
    on_both(|directory| {
        let store = open_orders(directory);
        let notes = store.boxed::<Note>().unwrap();
        notes.put_many(&mut vec![Note::default(); 4]).unwrap();
        store
            .write(|tx| {
                for (from, to) in [(1, 2), (2, 3), (3, 1), (3, 3)] {
                    Note::answers().link(tx, from, to)?;
                }
                Ok(())
            })
            .unwrap();
        assert!(notes.remove(2).unwrap());
        assert_eq!(notes.all().unwrap().iter().map(|note| note.id).collect::<Vec<_>>(), [4]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn a_removal_may_take_others_along_when_asked() {
    on_both(|directory| {
        let store = open(directory);
        let garden = store.boxed::<Project>().unwrap().put(&mut project("Garden")).unwrap();
        let of = |title: &str| Task { project: garden.into(), ..task(title) };
        let tasks = store.boxed::<Task>().unwrap();
        tasks.put_many(&mut [of("Dig"), of("Weed"), task("Read")]).unwrap();
        let projects = store.boxed::<Project>().unwrap();
        assert!(projects.remove_with(garden, &[Project::tasks().into()]).unwrap());
        assert_eq!(tasks.all().unwrap().iter().map(|task| task.id).collect::<Vec<_>>(), [3]);
        assert!(!projects.remove_with(garden, &[Project::tasks().into()]).unwrap());
        // A link is as good as a relation, and so is a name.
        let id = tasks.put(&mut Task { project: ToOne::target(project("House")), ..task("Paint") }).unwrap();
        tasks.remove_with(id, &[Task::project().into()]).unwrap();
        assert!(projects.is_empty().unwrap());
        let error = store.objects("Task").unwrap().remove_with(3, &["tagz"]).unwrap_err();
        assert!(error.to_string().contains(r#"did you mean "tags"?"#), "{error}");
    });
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", sync)]
struct Folder {
    id: u64,
    parent: ToOne<Folder>,
    #[backlink(to = "parent", owned)]
    folders: Backlinks<Folder>,
}

#[test]
fn a_cascade_of_synced_objects_is_one_transaction_of_removes() {
    on_both(|directory| {
        let store = builder(directory).entity::<Folder>().open().unwrap();
        let folders = store.boxed::<Folder>().unwrap();
        let of = |parent: u64| Folder { parent: parent.into(), ..Folder::default() };
        for parent in [0, 1, 2, 1, 0] {
            folders.put(&mut of(parent)).unwrap();
        }
        let before = outbox(&store).len();
        folders.remove(1).unwrap();
        let txs = outbox(&store);
        assert_eq!(txs.len(), before + 1);
        let mut removed: Vec<_> = txs[before].1.iter().map(|op| (op.kind, op.gid.counter)).collect();
        removed.sort_by_key(|(_, id)| *id);
        assert_eq!(removed, [1, 2, 3, 4].map(|id| (OpKind::Remove, id)));
        assert_eq!(folders.count().unwrap(), 1);
        assert_eq!(store.check().unwrap(), []);
    });
}
