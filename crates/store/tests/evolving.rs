//! How a store follows its schema without a script: what happens to objects, indexes and unsent writes, what goes on meanwhile,
//! and what an opening that is cut off leaves.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::{env, thread};

use reconvene_model::Value;
use reconvene_model::evolve::{EntityDescription, PropertyDescription, name_uid};
use reconvene_model::model_file::ModelFile;
use reconvene_model::{ConflictPolicy, EntityFlags, PropertyFlags, PropertyType};
use reconvene_store::{
    Decision, Delivery, Incoming, Object, OpeningProgress, OpeningStep, Role, Store, StoreBuilder, StoreError,
};
use support::builder;

/// More than one transaction of the builder writes.
const MANY: u64 = 45_000;

fn property(name: &str, ty: PropertyType, flags: PropertyFlags) -> PropertyDescription {
    let merge = Default::default();
    PropertyDescription { name: name.into(), uid: None, was: None, ty, flags, relation_target: None, merge }
}

/// An entity with a text and a rank, kept in an index or not.
fn described(name: &str, flags: EntityFlags, rank: PropertyFlags) -> EntityDescription {
    EntityDescription {
        name: name.into(),
        uid: None,
        was: None,
        flags,
        conflict: ConflictPolicy::default(),
        properties: vec![
            property("id", PropertyType::Long, PropertyFlags::ID),
            property("text", PropertyType::String, PropertyFlags::NONE),
            property("rank", PropertyType::Int, rank),
        ],
        relations: Vec::new(),
        backlinks: Vec::new(),
    }
}

fn task(rank: PropertyFlags) -> EntityDescription {
    described("Task", EntityFlags::NONE, rank)
}

fn synced() -> EntityDescription {
    described("Task", EntityFlags::SYNC_ENABLED, PropertyFlags::NONE)
}

fn with(directory: &Path, description: EntityDescription) -> StoreBuilder {
    builder(directory).description(description)
}

fn object(text: &str, rank: i64) -> Object {
    Object::new().with("text", Value::String(text.into())).with("rank", Value::Int(rank))
}

fn put(store: &Store, ranks: impl IntoIterator<Item = i64>) {
    store
        .write(|tx| {
            let tasks = tx.objects("Task")?;
            ranks.into_iter().try_for_each(|rank| tasks.put(&mut object("a task", rank)).map(drop))
        })
        .unwrap();
}

/// A directory with many tasks of which ten share each rank.
fn many() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = with(directory.path(), task(PropertyFlags::NONE)).open().unwrap();
    put(&store, (0..MANY as i64).map(|at| at * 7_919 % (MANY as i64 / 10)));
    directory
}

fn ranked(store: &Store, rank: i64) -> Vec<u64> {
    store.objects("Task").unwrap().query_text(&format!("rank == {rank}")).unwrap().find_ids().unwrap()
}

fn explained(store: &Store) -> String {
    store.objects("Task").unwrap().query_text("rank == 5").unwrap().explain().unwrap().plan
}

fn sound(store: &Store) {
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn an_index_is_built_in_bounded_transactions_and_tells_how_far_it_is() {
    let directory = many();
    let told: Arc<Mutex<Vec<OpeningProgress>>> = Arc::default();
    let heard = told.clone();
    let store = with(directory.path(), task(PropertyFlags::INDEXED))
        .on_progress(move |progress| heard.lock().unwrap().push(progress.clone()))
        .open()
        .unwrap();
    let told = told.lock().unwrap().clone();
    let step = OpeningStep::Index { entity: "Task".into(), property: "rank".into() };
    assert!(told.iter().all(|progress| progress.step == step && progress.total == MANY), "{told:?}");
    let done: Vec<u64> = told.iter().map(|progress| progress.done).collect();
    assert_eq!((done.first(), done.last()), (Some(&0), Some(&MANY)));
    assert!(done.is_sorted() && done.len() >= 4, "{done:?}");
    assert_eq!(step.to_string(), "indexing Task.rank");
    assert!(explained(&store).starts_with("Task by index of rank"), "{}", explained(&store));
    assert_eq!(ranked(&store, 5).len(), 10);
    assert_eq!(store.unbuilt_indexes().unwrap(), []);
    sound(&store);
    drop(store);
    // Nothing is left to do, and nothing is told.
    with(directory.path(), task(PropertyFlags::INDEXED))
        .on_progress(|progress| panic!("{progress:?}"))
        .open()
        .unwrap();
}

#[test]
fn an_opening_that_is_cut_off_while_it_builds_is_followed_by_one_that_goes_on() {
    let directory = many();
    let expected = ranked(&with(directory.path(), task(PropertyFlags::NONE)).open().unwrap(), 5);
    for after in [0, 1, MANY / 2] {
        let cut = with(directory.path(), task(PropertyFlags::INDEXED)).on_progress(move |progress| {
            assert!(progress.done < after || progress.done == 0 && after > 0, "cut off")
        });
        assert!(catch_unwind(AssertUnwindSafe(|| cut.open())).is_err());
        // Beside nobody, a reader finds everything without the index.
        let reader = Store::builder(directory.path()).read_only().open().unwrap();
        assert_eq!(
            (ranked(&reader, 5), explained(&reader)),
            (expected.clone(), "Task by id: all, each checked".into())
        );
        assert_eq!(reader.unbuilt_indexes().unwrap().len(), 1);
        sound(&reader);
    }
    let store = with(directory.path(), task(PropertyFlags::INDEXED)).open().unwrap();
    assert!(explained(&store).starts_with("Task by index of rank"));
    assert_eq!(ranked(&store, 5), expected);
    sound(&store);
    drop(store);
    // An index that was cut off may also be dropped, and come again.
    let cut = with(directory.path(), task(PropertyFlags::NONE)).open().unwrap();
    assert_eq!(ranked(&cut, 5), expected);
    sound(&cut);
}

#[test]
fn readers_and_writers_go_on_while_an_index_is_built_in_the_background() {
    let directory = many();
    let (allow, allowed) = mpsc::channel::<()>();
    let allowed = Mutex::new(allowed);
    let store = with(directory.path(), task(PropertyFlags::INDEXED))
        .build_indexes_in_background()
        // An index that is not allowed to go on stays where it is.
        .on_progress(move |_| allowed.lock().unwrap().recv().unwrap_or_default())
        .open()
        .unwrap();
    let step = OpeningStep::Index { entity: "Task".into(), property: "rank".into() };
    assert_eq!(store.unbuilt_indexes().unwrap(), [step]);
    assert_eq!(explained(&store), "Task by id: all, each checked");
    assert_eq!(ranked(&store, 5).len(), 10);
    let tasks = store.objects("Task").unwrap();
    // Into, out of and within what is built and what is not; the builder has taken its keys, or has not.
    for round in 0..3 {
        let [first, last] = [ranked(&store, 5)[0], *ranked(&store, 6).last().unwrap()];
        tasks.put(&mut Object::with_id(first).with("text", Value::Null).with("rank", Value::Int(6))).unwrap();
        tasks.remove(last).unwrap();
        put(&store, [5, 5, 6]);
        assert_eq!(ranked(&store, 5).len(), 10 + round + 1);
        sound(&store);
        allow.send(()).unwrap();
    }
    let readers_stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !readers_stop.load(Ordering::Relaxed) {
                    assert_eq!((ranked(&store, 5).len(), ranked(&store, 6).len()), (13, 13));
                }
            });
        }
        drop(allow);
        store.build_indexes().unwrap();
        assert!(explained(&store).starts_with("Task by index of rank"));
        readers_stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.unbuilt_indexes().unwrap(), []);
    sound(&store);
}

#[test]
fn a_store_may_be_closed_before_its_indexes_are_built() {
    let directory = many();
    let begun = Arc::new(AtomicU64::new(0));
    for _ in 0..3 {
        let count = begun.clone();
        let store = with(directory.path(), task(PropertyFlags::INDEXED))
            .build_indexes_in_background()
            .on_progress(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .open()
            .unwrap();
        assert_eq!(ranked(&store, 5).len(), 10);
    }
    let store = with(directory.path(), task(PropertyFlags::INDEXED)).open().unwrap();
    assert!(begun.load(Ordering::Relaxed) > 0 || explained(&store).starts_with("Task by index of rank"));
    assert_eq!(ranked(&store, 5).len(), 10);
    sound(&store);
}

#[test]
fn a_unique_index_is_whole_before_anybody_writes() {
    let directory = tempfile::tempdir().unwrap();
    put(&with(directory.path(), task(PropertyFlags::NONE)).open().unwrap(), 0..MANY as i64);
    let store =
        with(directory.path(), task(PropertyFlags::UNIQUE)).build_indexes_in_background().open().unwrap();
    assert_eq!(store.unbuilt_indexes().unwrap(), []);
    let error = store.objects("Task").unwrap().put(&mut object("again", MANY as i64 - 1)).unwrap_err();
    assert!(matches!(error, StoreError::UniqueViolation { other, .. } if other == MANY), "{error}");
    sound(&store);
}

const CHILD_DIRECTORY: &str = "RECONVENE_TEST_CHILD_DIRECTORY";

#[test]
fn a_reader_goes_on_with_its_schema_while_another_process_changes_it() {
    const NAME: &str = "a_reader_goes_on_with_its_schema_while_another_process_changes_it";
    if let Some(directory) = env::var_os(CHILD_DIRECTORY).map(PathBuf::from) {
        // The index goes, an entity and a property come, and the tasks become synced.
        let mut next = synced();
        next.properties.push(property("note", PropertyType::String, PropertyFlags::INDEXED));
        let store =
            with(&directory, next).description(described("Other", EntityFlags::NONE, PropertyFlags::NONE));
        let tasks = store.open().unwrap().objects("Task").unwrap();
        tasks.remove(1).unwrap();
        tasks.put(&mut object("new", 5).with("note", Value::String("unseen".into()))).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    put(&with(directory.path(), task(PropertyFlags::INDEXED)).open().unwrap(), [5, 6, 5]);
    let reader = Store::builder(directory.path()).read_only().open().unwrap();
    assert!(explained(&reader).starts_with("Task by index of rank") && !reader.has_newer_schema().unwrap());
    reader
        .read(|moment| {
            let mut child = Command::new(env::current_exe().unwrap());
            let run = child.args(["--exact", NAME]).env(CHILD_DIRECTORY, directory.path()).output().unwrap();
            assert!(run.status.success(), "{run:?}");
            // A moment stays what it is, index and all.
            let tasks = moment.objects("Task")?;
            let before = tasks.query_text("rank == 5")?;
            assert_eq!(
                (before.find_ids()?, &before.explain()?.plan[..24]),
                (vec![1, 3], "Task by index of rank: o")
            );
            Ok(())
        })
        .unwrap();
    assert!(reader.has_newer_schema().unwrap());
    assert_eq!(
        (ranked(&reader, 5), explained(&reader)),
        (vec![3, 4], "Task by id: all, each checked".to_owned())
    );
    let tasks = reader.objects("Task").unwrap();
    assert_eq!(tasks.get(4).unwrap().unwrap().get("text"), &Value::String("new".into()));
    assert!(matches!(reader.objects("Other"), Err(StoreError::UnknownEntity { .. })));
    drop((reader, tasks));
    let reader = Store::builder(directory.path()).read_only().open().unwrap();
    assert!(!reader.has_newer_schema().unwrap() && reader.objects("Other").is_ok());
    sound(&reader);
}

#[test]
fn an_entity_is_removed_with_its_objects_when_it_is_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let note = || described("Note", EntityFlags::NONE, PropertyFlags::INDEXED);
    let both = || with(directory.path(), task(PropertyFlags::NONE)).description(note());
    let store = both().open().unwrap();
    put(&store, [1, 2]);
    store.objects("Note").unwrap().put(&mut object("gone", 1)).unwrap();
    let model = store.model().clone();
    drop(store);
    // Undescribed is not removed.
    assert!(with(directory.path(), task(PropertyFlags::NONE)).open().unwrap().objects("Note").is_ok());
    for _ in 0..2 {
        let store = with(directory.path(), task(PropertyFlags::NONE)).retire_entity("Note").open().unwrap();
        assert!(matches!(store.objects("Note"), Err(StoreError::UnknownEntity { .. })));
        assert_eq!(store.objects("Task").unwrap().count().unwrap(), 2);
        sound(&store);
    }
    let error = both().open().unwrap_err();
    assert!(error.to_string().contains("was retired; give it a new one"), "{error}");
    let mut again = note();
    again.uid = Some(reconvene_model::Uid(77));
    again.properties.iter_mut().zip(770..).for_each(|(p, uid)| p.uid = Some(reconvene_model::Uid(uid)));
    let store = with(directory.path(), again).open().unwrap();
    assert_eq!(store.objects("Note").unwrap().count().unwrap(), 0);
    drop(store);
    // A model file says it by its list of retired uids, and not by leaving the entity out.
    let directory = tempfile::tempdir().unwrap();
    let open = |model: &ModelFile| builder(directory.path()).model(model.clone()).open();
    open(&model).unwrap().objects("Note").unwrap().put(&mut object("gone", 1)).unwrap();
    let without =
        ModelFile::from_schema(&Default::default()).evolve_with(&[task(PropertyFlags::NONE)]).unwrap();
    let error = open(&without).unwrap_err();
    assert!(
        error.to_string().contains("it lacks Note") && error.to_string().contains("retire its uid"),
        "{error}"
    );
    let without = model.without(&["Note".to_owned()]).unwrap();
    assert!(without.has_retired_entity(name_uid("Note")) && without.to_json().contains("retiredEntityUids"));
    let store = open(&ModelFile::parse(&without.to_json()).unwrap()).unwrap();
    assert!(store.objects("Note").is_err());
    sound(&store);
}

/// Sends what waits on a device, and brings back the verdicts and, if wanted, the places of the transactions.
fn upload(device: &Store, server: &Store, places: bool) {
    let (sync, ledger) = (device.sync(), server.sync());
    ledger.register(sync.peer(), &sync.key().public()).unwrap();
    let (epoch, head) = (ledger.epoch().unwrap(), ledger.head().unwrap());
    let decided = sync.login_state().unwrap().decided;
    let login = Delivery::Login { epoch, view: 1, decided, decided_seq: head, rebased: None, compare: false };
    sync.apply(&[login]).unwrap();
    for tx in sync.outbox(decided, 100, 1 << 20).unwrap() {
        let decided =
            ledger.decide(&[Incoming { peer: sync.peer(), bytes: &tx.bytes }], &[]).unwrap().remove(0);
        let Decision::Verdict { number, verdict } = decided.decision else {
            panic!("{:?}", decided.decision)
        };
        let place = decided.push.map(|push| Delivery::Own { seq: push.seq, number });
        let verdict = Delivery::Verdict { number, verdict };
        sync.apply(&[verdict].into_iter().chain(place.filter(|_| places)).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn an_entity_that_becomes_local_keeps_its_objects_and_sends_what_it_wrote_before() {
    let directory = tempfile::tempdir().unwrap();
    let server = Store::builder("memory:").description(synced()).role(Role::Server).open().unwrap();
    let store = with(directory.path(), synced()).open().unwrap();
    put(&store, [1, 2, 3]);
    upload(&store, &server, true);
    let foreign = with(Path::new("memory:"), synced()).open().unwrap();
    put(&foreign, [9]);
    upload(&foreign, &server, true);
    let chunk = server.sync().chunk(reconvene_store::ChunkStart::after(reconvene_model::Seq(3)), 1 << 20);
    let block = chunk.unwrap().block;
    if let Some(block) = &block {
        store.sync().apply(&[Delivery::States { block, upto: server.sync().head().unwrap() }]).unwrap();
    }
    // Not uploaded yet: an edit of what everyone knows, a new object, a remove.
    let tasks = store.objects("Task").unwrap();
    tasks
        .put(&mut Object::with_id(1).with("text", Value::String("edited".into())).with("rank", Value::Int(1)))
        .unwrap();
    put(&store, [4]);
    tasks.remove(2).unwrap();
    let before = tasks.all().unwrap();
    let undecided = store.sync().undecided().unwrap();
    assert!(undecided >= 3);
    drop((store, tasks));

    let store = with(directory.path(), task(PropertyFlags::INDEXED)).open().unwrap();
    let tasks = store.objects("Task").unwrap();
    assert_eq!(tasks.all().unwrap(), before);
    assert_eq!(store.sync().undecided().unwrap(), undecided);
    sound(&store);
    // From here on writes stay here.
    tasks.remove(3).unwrap();
    put(&store, [5]);
    assert_eq!(store.sync().undecided().unwrap(), undecided);
    let local = tasks.all().unwrap();
    upload(&store, &server, true);
    assert_eq!((store.sync().undecided().unwrap(), tasks.all().unwrap()), (0, local.clone()));
    assert_eq!(store.sync().rejected().unwrap(), []);
    sound(&store);
    let there =
        |server: &Store| server.objects("Task").unwrap().query_text("rank > 0").unwrap().count().unwrap();
    assert_eq!(there(&server), 4, "what was written before has arrived, and nothing else");
    drop((store, tasks));

    // Synced again, all of it travels, as objects of this device.
    let store = with(directory.path(), synced()).open().unwrap();
    let tasks = store.objects("Task").unwrap();
    assert_eq!(tasks.all().unwrap(), local);
    upload(&store, &server, true);
    assert_eq!(store.sync().undecided().unwrap(), 0);
    sound(&store);
    sound(&server);
    assert!(there(&server) > 4);
}

#[test]
fn an_entity_to_which_synced_ones_link_stays_synced() {
    let directory = tempfile::tempdir().unwrap();
    let linked = |target: EntityFlags, own: EntityFlags| {
        let mut note = described("Note", own, PropertyFlags::NONE);
        let mut link = property("task", PropertyType::Relation, PropertyFlags::NONE);
        link.relation_target = Some("Task".into());
        note.properties.push(link);
        with(directory.path(), described("Task", target, PropertyFlags::NONE)).description(note)
    };
    let (local, synced) = (EntityFlags::NONE, EntityFlags::SYNC_ENABLED);
    drop(linked(synced, synced).open().unwrap());
    let before = std::fs::read(directory.path().join("data.mdb")).unwrap();
    let error = linked(local, synced).open().unwrap_err();
    assert!(error.to_string().contains("while Note.task, which is synced, links to it"), "{error}");
    let error = linked(synced, synced).retire_entity("Task").open().unwrap_err();
    assert!(error.to_string().contains("Note.task: it links to Task, which is to be removed"), "{error}");
    assert!(std::fs::read(directory.path().join("data.mdb")).unwrap() == before);
    linked(local, local).open().unwrap();
}

#[test]
fn a_server_keeps_what_devices_may_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    let server = || builder(directory.path()).role(Role::Server);
    let store = server().description(synced()).open().unwrap();
    let device = Store::builder("memory:").description(synced()).open().unwrap();
    put(&device, [1]);
    upload(&device, &store, true);
    drop(store);
    for builder in [server().description(task(PropertyFlags::NONE)), server().retire_entity("Task")] {
        let error = builder.open().unwrap_err();
        assert!(error.to_string().contains("for which devices may ask; it stays synced"), "{error}");
    }
    sound(&server().open().unwrap());
}
