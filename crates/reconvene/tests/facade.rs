//! The facade alone is enough: the derive finds the library under its own name, and sync is reached from here.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::time::Duration;

use reconvene::sync::{ClientError, State, WaitError};
use reconvene::{Entity, Property, Store, StoreError, SyncClient, ToOne, Tracked};

#[derive(Entity, Debug, Default, PartialEq)]
#[entity(sync)]
struct Project {
    id: u64,
    #[unique]
    name: String,
}

#[derive(Entity, Debug, Default)]
#[entity(sync)]
struct Task {
    id: u64,
    title: String,
    #[index]
    done: bool,
    project: ToOne<Project>,
}

fn store() -> Store {
    Store::builder("memory:").entity::<Project>().entity::<Task>().open().unwrap()
}

#[test]
fn a_derived_entity_is_stored_and_linked() {
    let store = store();
    let mut garden = Project { name: "Garden".into(), ..Project::default() };
    store.boxed().unwrap().put(&mut garden).unwrap();
    let mut task = Task { title: "Plant".into(), project: ToOne::to(&garden), ..Task::default() };
    store.boxed().unwrap().put(&mut task).unwrap();

    let read: Tracked<Task> = store.boxed().unwrap().get(task.id).unwrap().unwrap();
    assert_eq!((read.title.as_str(), read.done), ("Plant", false));
    let project = store.boxed::<Project>().unwrap().get(read.project.id()).unwrap().unwrap();
    assert_eq!(project, garden);
    let again = store.boxed().unwrap().put(&mut Project { name: "Garden".into(), ..Project::default() });
    assert!(matches!(again, Err(StoreError::UniqueViolation { .. })), "{again:?}");
}

#[test]
fn derived_properties_and_the_model_have_the_words_of_the_struct() {
    let title: Property<Task, String> = Task::title();
    assert_eq!(title.starts_with("Pl").to_string(), r#"title ^= "Pl""#);
    let json = store().model().to_json();
    let model = reconvene::model::model_file::ModelFile::parse(&json).unwrap();
    let names: Vec<_> = model.schema().entities().iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["Project", "Task"]);
}

#[test]
fn a_client_starts_and_ends_without_a_server() {
    let store = store();
    let started = SyncClient::builder(&store, "http://localhost").start();
    assert!(matches!(started.err(), Some(ClientError::Url { .. })));

    // A port that was free a moment ago: nobody answers, and the store does not mind.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sync = SyncClient::builder(&store, format!("ws://127.0.0.1:{port}")).start().unwrap();
    store.boxed().unwrap().put(&mut Task::default()).unwrap();
    let waited = sync.wait_uploaded(Duration::from_millis(1));
    assert!(matches!(waited, Err(WaitError::TimedOut { .. })), "{waited:?}");
    assert_ne!(sync.status().state, State::GaveUp);
    sync.stop();
    assert_eq!(store.sync().undecided().unwrap(), 1);
}
