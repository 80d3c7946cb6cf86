//! Opening: who may, what is refused with nothing changed, and how a directory follows its schema.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report, and a child process talks to its test"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Barrier;
use std::{env, fs, thread};

use reconvene_model::change::OpKind;
use reconvene_model::evolve::EntityDescription;
use reconvene_model::identity::PeerKey;
use reconvene_model::model_file::ModelFile;
use reconvene_model::{EntityFlags, PropertyFlags, PropertyType, Uid};
use reconvene_store::{Entity, Incoming, Role, SeamError, Store, StoreBuilder, StoreError};
use support::{builder, on_both};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    text: String,
    rank: i32,
}

/// Another version of an entity, in a module of its own so that it has the same name.
macro_rules! version {
    ($module:ident: #[$($entity:tt)*] $name:ident { $($(#[$attribute:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        mod $module {
            #[derive(reconvene_store::Entity, Clone, Debug, Default, PartialEq)]
            #[$($entity)*]
            pub(super) struct $name { pub id: u64, $($(#[$attribute])* pub $field: $ty),* }
        }
    };
}

version!(more: #[entity(sync, crate = "reconvene_store")]
    Task { text: String, rank: i32, done: bool, note: Option<String> });
version!(indexed: #[entity(sync, crate = "reconvene_store")] Task { text: String, #[unique] rank: i32 });
version!(unsigned: #[entity(sync, crate = "reconvene_store")] Task { text: String, #[unique] rank: u32 });
version!(renamed: #[entity(sync, was = "Task", crate = "reconvene_store")]
    Todo { #[property(was = "text")] title: String, rank: i32 });
version!(less: #[entity(sync, crate = "reconvene_store")] Task { text: String });
version!(retyped: #[entity(sync, crate = "reconvene_store")] Task { text: String, rank: i64 });
version!(afresh: #[entity(sync, crate = "reconvene_store")]
    Task { text: String, #[property(uid = 77)] rank: i64 });
version!(local: #[entity(crate = "reconvene_store")] Other { #[unique] name: Option<String> });

fn open<T: Entity>(directory: &Path) -> Store {
    builder(directory).entity::<T>().open().unwrap()
}

fn refused<T: Entity>(directory: &Path) -> StoreError {
    builder(directory).entity::<T>().open().unwrap_err()
}

fn put_tasks(directory: &Path, ranks: impl IntoIterator<Item = i32>) {
    let tasks = open::<Task>(directory).boxed::<Task>().unwrap();
    for rank in ranks {
        tasks.put(&mut Task { id: 0, text: format!("task {rank}"), rank }).unwrap();
    }
}

/// The bytes of the data file.
fn data(directory: &Path) -> Vec<u8> {
    fs::read(directory.join("data.mdb")).unwrap()
}

#[test]
fn a_directory_is_one_store_within_a_process_whatever_its_path() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("store");
    let first = open::<Task>(&path);
    first.boxed::<Task>().unwrap().put(&mut Task::default()).unwrap();
    let dotted = root.path().join("store/../store/.");
    let mut others = vec![open::<Task>(&path), open::<Task>(&dotted)];
    #[cfg(unix)]
    {
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        others.push(open::<Task>(&link));
    }
    let here = env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    others.push(open::<Task>(&up.join(path.strip_prefix("/").unwrap())));
    others.push(Store::builder(&path).open().unwrap());
    others.push(Store::builder(&path).read_only().open().unwrap());
    for other in others {
        assert!(other.is_same(&first));
        assert_eq!(other.boxed::<Task>().unwrap().count().unwrap(), 1);
    }
}

#[test]
fn a_store_in_memory_is_shared_by_name_alone() {
    let (one, other) = (open::<Task>(Path::new("memory:")), open::<Task>(Path::new("memory:")));
    assert!(!one.is_same(&other) && one.directory().is_none());
    let name = Path::new("memory:shared by name");
    let named = open::<Task>(name);
    named.boxed::<Task>().unwrap().put(&mut Task::default()).unwrap();
    assert!(named.is_same(&open::<Task>(name)) && !named.is_same(&open::<Task>(Path::new("memory:else"))));
    assert_eq!(named.clone().boxed::<Task>().unwrap().count().unwrap(), 1);
    drop(named);
    assert!(open::<Task>(name).boxed::<Task>().unwrap().is_empty().unwrap(), "it ends with its last handle");
}

#[test]
fn a_store_that_is_open_is_not_opened_as_something_else() {
    on_both(|directory| {
        let store = open::<Task>(directory);
        let otherwise = |error: StoreError, what: &str| {
            assert!(
                matches!(error, StoreError::OpenOtherwise { .. }) && error.to_string().contains(what),
                "{error}"
            );
        };
        otherwise(refused::<more::Task>(directory), "another schema");
        let server = builder(directory).entity::<Task>().role(Role::Server);
        otherwise(server.open().unwrap_err(), "is a Device there");
        assert!(matches!(refused::<retyped::Task>(directory), StoreError::Model(_)));
        // Being refused closed nothing.
        store.boxed::<Task>().unwrap().put(&mut Task::default()).unwrap();
        assert!(store.is_same(&open::<Task>(directory)));
    });
}

#[test]
fn opening_waits_for_the_last_handle_to_close() {
    let directory = tempfile::tempdir().unwrap();
    open::<Task>(directory.path());
    let threads = 4;
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, path) = (&barrier, directory.path());
            scope.spawn(move || {
                barrier.wait();
                for round in 0..60 {
                    let store = open::<Task>(path);
                    let tasks = store.boxed::<Task>().unwrap();
                    if round % 3 == 0 {
                        tasks.put(&mut Task { rank: thread as i32, ..Task::default() }).unwrap();
                    }
                    drop(store);
                    if round % 2 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(open::<Task>(directory.path()).boxed::<Task>().unwrap().count().unwrap(), threads as u64 * 20);
}

#[test]
fn a_failed_open_frees_the_directory_before_others_try() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1]);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (barrier, path) = (&barrier, directory.path());
            scope.spawn(move || {
                barrier.wait();
                for round in 0..40 {
                    if (thread + round) % 2 == 0 {
                        let error = refused::<retyped::Task>(path);
                        assert!(matches!(error, StoreError::Model(_)), "{error}");
                    } else {
                        open::<Task>(path);
                    }
                }
            });
        }
    });
}

/// What a child process is to do, and where; set for the test that starts it, run by name.
const CHILD: &str = "RECONVENE_TEST_CHILD";
const CHILD_DIRECTORY: &str = "RECONVENE_TEST_CHILD_DIRECTORY";

/// The directory, if this process was started to be the child of this test.
fn child_directory(role: &str) -> Option<PathBuf> {
    (env::var(CHILD).ok()? == role).then(|| env::var_os(CHILD_DIRECTORY).map(PathBuf::from))?
}

fn child(role: &str, test: &str, directory: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, role).env(CHILD_DIRECTORY, directory);
    command
}

/// A process that holds a store open for writing until it is told to end.
struct Writer {
    process: Child,
    stdin: Option<ChildStdin>,
}

impl Writer {
    fn start(test: &str, directory: &Path) -> Writer {
        use std::io::{BufRead, BufReader};
        let mut process =
            child("writer", test, directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "open"), "the child never opened the store");
        // Read to the end elsewhere, so that the child is never held up by a full pipe.
        thread::spawn(move || lines.for_each(drop));
        let stdin = process.stdin.take();
        Writer { process, stdin }
    }

    /// What the child does: opens, writes while it waits, and ends when its input does.
    fn run(directory: &Path) {
        use std::io::Read;
        let store = open::<Task>(directory);
        let tasks = store.boxed::<Task>().unwrap();
        tasks.put_many(&mut [Task::default(), Task::default()]).unwrap();
        let writes = thread::spawn(move || {
            for rank in 1.. {
                let both = |tx: &mut reconvene_store::WriteTxn<'_>| {
                    (1..=2).try_for_each(|id| tx.update(id, |task: &mut Task| task.rank = rank))
                };
                store.write(both).unwrap();
            }
        });
        println!("\nopen");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        assert!(!writes.is_finished());
        std::process::exit(0);
    }

    fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn another_process_may_read_while_one_writes() {
    const NAME: &str = "another_process_may_read_while_one_writes";
    if let Some(directory) = child_directory("writer") {
        return Writer::run(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let writer = Writer::start(NAME, directory.path());
    let error = refused::<Task>(directory.path());
    assert!(
        matches!(&error, StoreError::InUse { pid, .. } if *pid == Some(writer.process.id())),
        "{error} while {} writes",
        writer.process.id()
    );
    let reader = Store::builder(directory.path()).entity::<Task>().read_only().open().unwrap();
    let tasks = reader.boxed::<Task>().unwrap();
    let mut last = 0;
    while last < 50 {
        let ranks: Vec<i32> = tasks.all().unwrap().iter().map(|task| task.rank).collect();
        assert!(ranks[0] == ranks[1] && ranks[0] >= last, "{ranks:?} after {last}");
        last = ranks[0];
    }
    let error = tasks.put(&mut Task::default()).unwrap_err();
    assert!(matches!(error, StoreError::Engine(SeamError::ReadOnly)), "{error}");
    let otherwise = builder(directory.path()).entity::<Task>().open().unwrap_err();
    assert!(matches!(otherwise, StoreError::OpenOtherwise { .. }), "{otherwise}");
    writer.end();
    assert_eq!(tasks.count().unwrap(), 2);
    drop((reader, tasks));
    put_tasks(directory.path(), [1]);
}

#[test]
fn a_killed_writer_leaves_a_store_that_opens() {
    const NAME: &str = "a_killed_writer_leaves_a_store_that_opens";
    if let Some(directory) = child_directory("writer") {
        return Writer::run(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(NAME, directory.path());
    writer.process.kill().unwrap();
    writer.process.wait().unwrap();
    let tasks = open::<Task>(directory.path()).boxed::<Task>().unwrap();
    let ranks: Vec<i32> = tasks.all().unwrap().iter().map(|task| task.rank).collect();
    assert!(ranks.len() == 2 && ranks[0] == ranks[1], "{ranks:?}");
    assert_eq!(tasks.put(&mut Task::default()).unwrap(), 3);
}

#[test]
fn reading_only_needs_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for path in [&missing, directory.path()] {
        let error = Store::builder(path).entity::<Task>().read_only().open().unwrap_err();
        assert!(matches!(error, StoreError::Engine(SeamError::Missing { .. })), "{error}");
    }
    assert!(
        !missing.exists() && fs::read_dir(directory.path()).unwrap().next().is_none(),
        "nothing was made"
    );
}

#[test]
fn reading_only_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1, 2]);
    let before = data(directory.path());
    let reader = Store::builder(directory.path()).entity::<Task>().read_only().open().unwrap();
    assert_eq!(reader.boxed::<Task>().unwrap().count().unwrap(), 2);
    assert!(matches!(reader.write(|_| Ok(())), Err(StoreError::Engine(SeamError::ReadOnly))));
    drop(reader);
    // A struct that the stored schema does not serve is told when it is asked for.
    let reader = Store::builder(directory.path()).entity::<more::Task>().read_only().open().unwrap();
    assert!(matches!(reader.boxed::<more::Task>(), Err(StoreError::Struct(_))));
    drop(reader);
    assert!(data(directory.path()) == before);
}

#[test]
fn a_file_that_is_no_database_is_refused_with_nothing_changed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("data.mdb"), b"no database at all".repeat(1000)).unwrap();
    let before = data(directory.path());
    for builder in [builder(directory.path()), builder(directory.path()).read_only()] {
        let error = builder.entity::<Task>().open().unwrap_err();
        assert!(matches!(error, StoreError::Engine(SeamError::NotOurs { .. })), "{error}");
        assert!(data(directory.path()) == before);
    }
}

#[test]
fn a_directory_keeps_its_role() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1]);
    let before = data(directory.path());
    let as_server = || builder(directory.path()).entity::<Task>().role(Role::Server);
    for builder in [as_server(), as_server().read_only()] {
        let error = builder.open().unwrap_err();
        assert!(matches!(error, StoreError::WrongRole { wanted: Role::Server }), "{error}");
    }
    assert!(data(directory.path()) == before);
    let server = tempfile::tempdir().unwrap();
    builder(server.path()).entity::<Task>().role(Role::Server).open().unwrap();
    assert!(matches!(refused::<Task>(server.path()), StoreError::WrongRole { wanted: Role::Device }));
    let server = builder(server.path()).entity::<Task>().role(Role::Server).open().unwrap();
    let error = server.boxed::<Task>().unwrap().put(&mut Task::default()).unwrap_err();
    assert!(matches!(error, StoreError::ServerDirectory), "{error}");
}

#[test]
fn properties_and_entities_may_be_added() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1, 2]);
    let identity = open::<Task>(directory.path()).sync().peer();
    let store = builder(directory.path()).entity::<more::Task>().entity::<local::Other>().open().unwrap();
    assert_eq!(store.sync().peer(), identity);
    let tasks = store.boxed::<more::Task>().unwrap();
    let old = tasks.get(1).unwrap().unwrap();
    assert_eq!((old.text.as_str(), old.rank, old.done, &old.note), ("task 1", 1, false, &None));
    tasks.update(1, |task| task.note = Some("new".into())).unwrap();
    tasks.put(&mut more::Task { done: true, ..more::Task::default() }).unwrap();
    store.boxed::<local::Other>().unwrap().put(&mut local::Other::default()).unwrap();
    // The former struct still fits, and leaves alone what it does not know.
    let former = store.boxed::<Task>().unwrap();
    former.put(&mut Task { id: 1, text: "changed".into(), rank: 9 }).unwrap();
    let both = tasks.get(1).unwrap().unwrap();
    assert_eq!((both.text.as_str(), both.rank, both.note.as_deref()), ("changed", 9, Some("new")));
    drop((store, tasks, former));
    // An entity that is no longer described stays.
    let store = open::<more::Task>(directory.path());
    assert_eq!(store.boxed::<local::Other>().unwrap().count().unwrap(), 1);
}

#[test]
fn an_index_is_filled_dropped_and_filled_again() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), 1..=30);
    let taken = |rank: i32| {
        let tasks = open::<indexed::Task>(directory.path()).boxed::<indexed::Task>().unwrap();
        match tasks.put(&mut indexed::Task { rank, ..indexed::Task::default() }) {
            Ok(id) => !tasks.remove(id).unwrap(),
            Err(StoreError::UniqueViolation { other, .. }) => {
                assert_eq!(tasks.get(other).unwrap().unwrap().rank, rank);
                true
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!((1..=30).all(taken) && !taken(0) && !taken(31));
    let tasks = open::<Task>(directory.path()).boxed::<Task>().unwrap();
    tasks.update(1, |task| task.rank = 100).unwrap();
    tasks.remove(2).unwrap();
    tasks.put(&mut Task { rank: 200, ..Task::default() }).unwrap();
    drop(tasks);
    assert!(!taken(1) && !taken(2) && taken(100) && taken(200) && (3..=30).all(taken));
}

#[test]
fn an_index_follows_a_change_of_sign() {
    let directory = tempfile::tempdir().unwrap();
    let tasks = open::<indexed::Task>(directory.path()).boxed::<indexed::Task>().unwrap();
    tasks.put_many(&mut [-1, 5].map(|rank| indexed::Task { rank, ..indexed::Task::default() })).unwrap();
    drop(tasks);
    let tasks = open::<unsigned::Task>(directory.path()).boxed::<unsigned::Task>().unwrap();
    for rank in [u32::MAX, 5] {
        let error = tasks.put(&mut unsigned::Task { rank, ..unsigned::Task::default() }).unwrap_err();
        assert!(matches!(error, StoreError::UniqueViolation { .. }), "{error}");
    }
    tasks.update(2, |task| task.rank = 6).unwrap();
    tasks.put(&mut unsigned::Task { rank: 5, ..unsigned::Task::default() }).unwrap();
}

#[test]
fn values_that_are_shared_cannot_become_unique() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [3, 1, 2, 1, 1, 7, 7]);
    let before = data(directory.path());
    for _ in 0..2 {
        let error = refused::<indexed::Task>(directory.path());
        assert!(
            matches!(&error, StoreError::NotUnique { entity, property, ids, further: 1 }
                if entity == "Task" && property == "rank" && ids[..] == [2, 4, 5]),
            "{error}"
        );
        let said = "Task.rank cannot become unique: Task 2, 4 and 5 have the same value, and one other value is shared too";
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(data(directory.path()) == before);
    }
    let tasks = open::<Task>(directory.path()).boxed::<Task>().unwrap();
    tasks.update(4, |task| task.rank = 4).unwrap();
    tasks.remove(5).unwrap();
    drop(tasks);
    let error = refused::<indexed::Task>(directory.path()).to_string();
    assert!(
        error.starts_with("Task.rank cannot become unique: Task 6 and 7 have the same value; "),
        "{error}"
    );
    open::<Task>(directory.path()).boxed::<Task>().unwrap().remove(7).unwrap();
    open::<indexed::Task>(directory.path());
}

#[test]
fn an_index_may_become_unique_where_values_are_not_shared() {
    let directory = tempfile::tempdir().unwrap();
    let with = |flag: PropertyFlags| -> EntityDescription {
        let mut description = local::Other::description();
        description.properties[1].flags = flag;
        description
    };
    let open = |flag| builder(directory.path()).description(with(flag)).open();
    let others = open(PropertyFlags::INDEXED).unwrap().boxed::<local::Other>().unwrap();
    let other = |name: Option<&str>| local::Other { id: 0, name: name.map(str::to_owned) };
    others
        .put_many(&mut [other(None), other(None), other(Some("a")), other(Some("a\0")), other(Some("a"))])
        .unwrap();
    drop(others);
    let error = open(PropertyFlags::UNIQUE).unwrap_err();
    assert!(matches!(&error, StoreError::NotUnique { ids, .. } if ids[..] == [3, 5]), "{error}");
    let others = open(PropertyFlags::INDEXED).unwrap().boxed::<local::Other>().unwrap();
    others.remove(5).unwrap();
    drop(others);
    let others = open(PropertyFlags::UNIQUE).unwrap().boxed::<local::Other>().unwrap();
    assert!(others.put(&mut other(Some("a"))).is_err() && others.put(&mut other(None)).is_ok());
}

#[test]
fn a_rename_keeps_the_data() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1]);
    for _ in 0..2 {
        let store = open::<renamed::Todo>(directory.path());
        let todos = store.boxed::<renamed::Todo>().unwrap();
        assert_eq!(todos.get(1).unwrap().unwrap(), renamed::Todo { id: 1, title: "task 1".into(), rank: 1 });
        assert!(matches!(store.boxed::<Task>(), Err(StoreError::UnknownEntity { .. })));
    }
}

#[test]
fn a_dropped_property_is_hidden_for_good() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1, 2]);
    let store = open::<less::Task>(directory.path());
    assert!(store.schema().entity_by_name("Task").unwrap().property("rank").is_none());
    assert!(matches!(store.boxed::<Task>(), Err(StoreError::Struct(_))));
    store.boxed::<less::Task>().unwrap().update(1, |task| task.text = "changed".into()).unwrap();
    drop(store);
    let error = refused::<Task>(directory.path());
    assert!(error.to_string().contains("was retired"), "{error}");
    let tasks = open::<afresh::Task>(directory.path()).boxed::<afresh::Task>().unwrap();
    let all: Vec<_> = tasks.all().unwrap().iter().map(|task| (task.text.clone(), task.rank)).collect();
    assert_eq!(all, [("changed".to_owned(), 0), ("task 2".to_owned(), 0)]);
}

#[test]
fn a_change_of_type_is_refused_with_nothing_changed() {
    let directory = tempfile::tempdir().unwrap();
    put_tasks(directory.path(), [1]);
    let before = data(directory.path());
    let error = refused::<retyped::Task>(directory.path());
    assert!(error.to_string().contains("give the property a new uid"), "{error}");
    assert!(data(directory.path()) == before);
    assert_eq!(
        open::<afresh::Task>(directory.path()).boxed::<afresh::Task>().unwrap().get(1).unwrap().unwrap().rank,
        0
    );
}

#[test]
fn a_given_model_must_continue_the_stored_one() {
    let directory = tempfile::tempdir().unwrap();
    let model = |descriptions: &[EntityDescription]| {
        ModelFile::from_schema(&Default::default()).evolve_with(descriptions).unwrap()
    };
    let open =
        |model: ModelFile| -> Result<Store, StoreError> { builder(directory.path()).model(model).open() };
    let first = model(&[Task::description()]);
    let tasks = open(first.clone()).unwrap().boxed::<Task>().unwrap();
    tasks.put(&mut Task { rank: 5, ..Task::default() }).unwrap();
    drop(tasks);
    // The same, and its continuation.
    open(first.clone()).unwrap();
    let next = first.evolve_with(&[more::Task::description(), local::Other::description()]).unwrap();
    assert_eq!(open(next.clone()).unwrap().boxed::<more::Task>().unwrap().get(1).unwrap().unwrap().rank, 5);
    let before = data(directory.path());
    let differs = |model: ModelFile, what: &str| {
        let error = open(model).unwrap_err();
        assert!(
            matches!(error, StoreError::OtherModel { .. }) && error.to_string().contains(what),
            "{error}"
        );
        assert!(data(directory.path()) == before, "{what}");
    };
    differs(model(&[local::Other::description()]), "it lacks Task");
    differs(model(&[local::Other::description(), more::Task::description()]), "give it its former id");
    let mut swapped = more::Task::description();
    swapped.properties.swap(1, 2);
    differs(model(&[swapped, local::Other::description()]), "is number");
    let mut reused = more::Task::description();
    reused.properties[1].uid = Some(Uid(88));
    differs(model(&[reused, local::Other::description()]), "an id that was used before");
    open(next).unwrap();
}

#[test]
fn an_index_number_that_changes_hands_is_filled_anew() {
    let directory = tempfile::tempdir().unwrap();
    let described = |flags: [PropertyFlags; 2]| {
        let mut description = more::Task::description();
        description.properties[1].flags = flags[0];
        description.properties[2].flags = flags[1];
        description
    };
    let model = |flags| ModelFile::from_schema(&Default::default()).evolve_with(&[described(flags)]).unwrap();
    let open =
        |flags| builder(directory.path()).model(model(flags)).open().unwrap().boxed::<more::Task>().unwrap();
    let task = |text: &str, rank| more::Task { text: text.into(), rank, ..more::Task::default() };
    let unique = [PropertyFlags::UNIQUE, PropertyFlags::NONE];
    open(unique).put_many(&mut [task("a", 1), task("b", 2)]).unwrap();
    let tasks = open([unique[1], unique[0]]);
    assert!(matches!(tasks.put(&mut task("c", 2)), Err(StoreError::UniqueViolation { other: 2, .. })));
    tasks.put(&mut task("a", 3)).unwrap();
    assert_eq!(tasks.store().schema().entities()[0].property("rank").unwrap().ty, PropertyType::Int);
}

#[test]
fn limits_and_secrets_are_those_of_the_builder() {
    let small: fn(&Path) -> StoreBuilder =
        |directory| builder(directory).entity::<Task>().map_bytes_max(1 << 20);
    let directory = tempfile::tempdir().unwrap();
    let store = small(directory.path()).identity_secret([7; 32]).time_source(|| 5_000).open().unwrap();
    assert_eq!((store.now_ms(), store.sync().peer()), (5_000, PeerKey::from_secret([7; 32]).peer()));
    let tasks = store.boxed::<Task>().unwrap();
    let large = |id| Task { id, text: "x".repeat(300_000), rank: 0 };
    let full = (0..10).find_map(|_| tasks.put(&mut large(0)).err()).expect("a map of 1 MiB is full by then");
    assert!(matches!(full, StoreError::Engine(SeamError::MapFull { .. })), "{full}");
    let count = tasks.count().unwrap();
    assert!(count > 0);
    // Nothing of it was kept, and what frees space works.
    tasks.update(1, |task| task.text.clear()).unwrap();
    assert_eq!(tasks.count().unwrap(), count);
    drop((store, tasks));
    let larger = builder(directory.path()).entity::<Task>().open().unwrap();
    assert_eq!(larger.sync().peer(), PeerKey::from_secret([7; 32]).peer());
    larger.boxed::<Task>().unwrap().put(&mut large(0)).unwrap();
    let error =
        builder(tempfile::tempdir().unwrap().path()).entity::<Task>().tables_max(3).open().unwrap_err();
    assert!(matches!(error, StoreError::Engine(SeamError::TooManyTables { max: 3 })), "{error}");
}

#[test]
fn objects_from_before_an_entity_was_synced_travel_like_any_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut description = Task::description();
    description.flags = EntityFlags::NONE;
    let local = || builder(directory.path()).description(description.clone());
    let tasks = local().open().unwrap().boxed::<Task>().unwrap();
    // More than enter the outbox in one transaction, by number and by bytes.
    let mut many: Vec<Task> = (0..10_100).map(|rank| Task { rank, ..Task::default() }).collect();
    many.extend((0..5).map(|_| Task { text: "x".repeat(2 << 20), ..Task::default() }));
    tasks.put_many(&mut many).unwrap();
    tasks.remove(7).unwrap();
    drop(tasks);
    for _ in 0..2 {
        let store = open::<Task>(directory.path());
        let txs = support::outbox(&store);
        assert_eq!(
            txs.iter().map(|(head, _)| head.number).collect::<Vec<_>>(),
            (1..=txs.len() as u64).collect::<Vec<_>>()
        );
        assert!(txs.len() > 3, "{} transactions", txs.len());
        let ops: Vec<_> = txs.iter().flat_map(|(_, ops)| ops).collect();
        assert!(ops.iter().all(|op| op.kind == OpKind::Insert && op.gid.origin == store.sync().peer()));
        let ids: Vec<u64> = ops.iter().map(|op| op.gid.counter).collect();
        assert_eq!(ids, (1..=10_105).filter(|&id| id != 7).collect::<Vec<_>>());
        store.sync().content_hash().unwrap();
    }
    let store = open::<Task>(directory.path());
    let tasks = store.boxed::<Task>().unwrap();
    assert_eq!(tasks.get(10_105).unwrap().unwrap(), many[10_104]);
    let before = support::outbox(&store).len();
    tasks.update(1, |task| task.rank = 4).unwrap();
    let (_, ops) = &support::outbox(&store)[before];
    assert_eq!((ops[0].kind, ops[0].cells.len()), (OpKind::Update, 1));
    drop((store, tasks));
    let mut shared = Task::description();
    shared.flags = shared.flags.with(EntityFlags::SHARED_GLOBAL_IDS);
    assert!(builder(directory.path()).description(shared).open().is_err());
    open::<Task>(directory.path());
}

#[test]
fn objects_that_become_synced_with_a_new_property_are_the_same_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut description = Task::description();
    description.flags = EntityFlags::NONE;
    let tasks = builder(directory.path()).description(description).open().unwrap().boxed::<Task>().unwrap();
    tasks.put(&mut Task::default()).unwrap();
    drop(tasks);
    let device = open::<more::Task>(directory.path());
    let server = Store::builder("memory:").entity::<more::Task>().role(Role::Server).open().unwrap();
    let (sync, ledger) = (device.sync(), server.sync());
    ledger.register(sync.peer(), &sync.key().public()).unwrap();
    let txs = sync.outbox(0, usize::MAX, usize::MAX).unwrap();
    let incoming = [Incoming { peer: sync.peer(), bytes: &txs[0].bytes }];
    assert!(ledger.decide(&incoming, &[]).unwrap()[0].push.is_some());
    assert_eq!(sync.content_hash().unwrap(), ledger.content_hash().unwrap());
}

#[test]
fn an_entity_without_objects_may_become_local() {
    let directory = tempfile::tempdir().unwrap();
    open::<Task>(directory.path());
    let mut description = Task::description();
    description.flags = EntityFlags::NONE;
    let tasks = builder(directory.path()).description(description).open().unwrap().boxed::<Task>().unwrap();
    tasks.put(&mut Task::default()).unwrap();
    assert_eq!(tasks.store().sync().undecided().unwrap(), 0);
}
