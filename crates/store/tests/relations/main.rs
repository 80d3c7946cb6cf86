//! Links, backlinks, many-to-many relations, owned objects and trees: each promise a test, and random operations against plain maps.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

#[path = "../support/mod.rs"]
mod support;

mod backlinks;
mod evolution;
mod many;
mod owned;
mod random;
mod to_one;
mod trees;

use std::path::Path;

use reconvene_store::{Backlinks, Entity, Store, ToMany, ToOne};
use support::builder;

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Project {
    id: u64,
    name: String,
    owner: ToOne<Person>,
    #[backlink(to = "project")]
    tasks: Backlinks<Task>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store", self_assigned_ids)]
struct Person {
    id: u64,
    name: String,
    #[backlink(to = "helpers")]
    helps: Backlinks<Task>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    title: String,
    project: ToOne<Project>,
    tags: ToMany<Tag>,
    helpers: ToMany<Person>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Tag {
    id: u64,
    name: String,
    #[backlink(to = "tags")]
    tasks: Backlinks<Task>,
}

fn open(directory: &Path) -> Store {
    let store = builder(directory).entity::<Project>().entity::<Person>().entity::<Task>();
    store.entity::<Tag>().open().unwrap()
}

fn project(name: &str) -> Project {
    Project { name: name.into(), ..Project::default() }
}

fn task(title: &str) -> Task {
    Task { title: title.into(), ..Task::default() }
}

/// Puts this many tags; their ids.
fn tags(store: &Store, count: usize) -> Vec<u64> {
    let mut tags = vec![Tag::default(); count];
    store.boxed::<Tag>().unwrap().put_many(&mut tags).unwrap();
    tags.iter().map(|tag| tag.id).collect()
}
