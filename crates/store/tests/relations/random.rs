//! Random operations on links, on both engines, against plain maps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reconvene_store::WriteTxn;

use super::support::on_both;
use super::*;

/// How many objects of each entity there are at most.
const OBJECTS: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    PutTask { id: u64, project: u64, add: Vec<u64>, remove: Vec<u64>, clear: bool },
    PutProject,
    PutTag,
    PutPerson(u64),
    Help { task: u64, person: u64, on: bool, from_person: bool },
    Tag { task: u64, tag: u64, on: bool, from_tag: bool },
    Assign { task: u64, project: u64, from_project: bool },
    RemoveTask(u64),
    RemoveProject { id: u64, with_tasks: bool },
    RemoveTag(u64),
    RemovePerson(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1..=OBJECTS;
    let ids = || prop::collection::vec(1..=OBJECTS, 0..3);
    prop_oneof![
        4 => (0..=OBJECTS, 0..=OBJECTS, ids(), ids(), prop::bool::weighted(0.2))
            .prop_map(|(id, project, add, remove, clear)| Step::PutTask { id, project, add, remove, clear }),
        2 => Just(Step::PutProject),
        2 => Just(Step::PutTag),
        1 => id().prop_map(Step::PutPerson),
        3 => (id(), id(), any::<bool>(), any::<bool>())
            .prop_map(|(task, person, on, from_person)| Step::Help { task, person, on, from_person }),
        4 => (id(), id(), any::<bool>(), any::<bool>())
            .prop_map(|(task, tag, on, from_tag)| Step::Tag { task, tag, on, from_tag }),
        3 => (id(), 0..=OBJECTS, any::<bool>())
            .prop_map(|(task, project, from_project)| Step::Assign { task, project, from_project }),
        1 => id().prop_map(Step::RemoveTask),
        1 => (id(), any::<bool>()).prop_map(|(id, with_tasks)| Step::RemoveProject { id, with_tasks }),
        1 => id().prop_map(Step::RemoveTag),
        1 => id().prop_map(Step::RemovePerson),
    ]
}

/// What there is to be.
#[derive(Clone, Default)]
struct Model {
    /// By task, its project, which may be gone.
    tasks: BTreeMap<u64, u64>,
    projects: BTreeSet<u64>,
    tags: BTreeSet<u64>,
    people: BTreeSet<u64>,
    tagged: BTreeSet<(u64, u64)>,
    /// People may be gone.
    helped: BTreeSet<(u64, u64)>,
    last: [u64; 3],
}

impl Model {
    fn remove_task(&mut self, id: u64) {
        if self.tasks.remove(&id).is_some() {
            self.tagged.retain(|&(task, _)| task != id);
            self.helped.retain(|&(task, _)| task != id);
        }
    }

    /// Does a step in both; what cannot be is refused in both.
    fn run(&mut self, step: &Step, tx: &mut WriteTxn<'_>) {
        match *step {
            Step::PutTask { id, project, ref add, ref remove, clear } => {
                let is_new = id == 0 && self.last[0] < OBJECTS;
                let may = (is_new || self.tasks.contains_key(&id))
                    && project <= self.last[1]
                    && add.iter().all(|&tag| tag <= self.last[2]);
                if !may {
                    return;
                }
                let mut task = match is_new {
                    true => Either::New(Box::default()),
                    false => Either::Read(Box::new(tx.get::<Task>(id).unwrap().unwrap())),
                };
                task.edit(|task| {
                    task.project.set(project);
                    if clear {
                        task.tags.clear();
                    }
                    remove.iter().for_each(|&tag| task.tags.remove(tag));
                    add.iter().for_each(|&tag| task.tags.add(tag));
                });
                let id = task.put(tx);
                if is_new {
                    self.last[0] = id;
                }
                self.tasks.insert(id, project);
                if clear {
                    self.tagged.retain(|&(task, _)| task != id);
                }
                remove.iter().filter(|tag| !add.contains(tag)).for_each(|&tag| {
                    self.tagged.remove(&(id, tag));
                });
                // A tag that is gone never comes back.
                self.tagged.extend(add.iter().filter(|tag| self.tags.contains(tag)).map(|&tag| (id, tag)));
            }
            Step::PutProject if self.last[1] < OBJECTS => {
                self.last[1] = tx.put(&mut Project::default()).unwrap();
                self.projects.insert(self.last[1]);
            }
            Step::PutTag if self.last[2] < OBJECTS => {
                self.last[2] = tx.put(&mut Tag::default()).unwrap();
                self.tags.insert(self.last[2]);
            }
            Step::PutProject | Step::PutTag => {}
            Step::PutPerson(id) => {
                tx.put(&mut Person { id, ..Person::default() }).unwrap();
                self.people.insert(id);
            }
            Step::Help { task, person, on, from_person } => {
                let changes = match (from_person, on) {
                    (false, true) => Task::helpers().link(tx, task, person),
                    (false, false) => Task::helpers().unlink(tx, task, person),
                    (true, true) => Person::helps().link(tx, person, task),
                    (true, false) => Person::helps().unlink(tx, person, task),
                };
                let may = !on
                    || (self.tasks.contains_key(&task) && (!from_person || self.people.contains(&person)));
                assert_eq!(changes.is_ok(), may, "{step:?}: {changes:?}");
                if may {
                    let link = (task, person);
                    let expected = if on { self.helped.insert(link) } else { self.helped.remove(&link) };
                    assert_eq!(changes.unwrap(), expected, "{step:?}");
                }
            }
            Step::Tag { task, tag, on, from_tag } => {
                let changes = match (from_tag, on) {
                    (false, true) => Task::tags().link(tx, task, tag),
                    (false, false) => Task::tags().unlink(tx, task, tag),
                    (true, true) => Tag::tasks().link(tx, tag, task),
                    (true, false) => Tag::tasks().unlink(tx, tag, task),
                };
                let is_there = if from_tag { self.tags.contains(&tag) } else { tag <= self.last[2] };
                let may = !on || (self.tasks.contains_key(&task) && is_there);
                assert_eq!(changes.is_ok(), may, "{step:?}: {changes:?}");
                if may {
                    let link = (task, tag);
                    let expected = match on {
                        true => self.tags.contains(&tag) && self.tagged.insert(link),
                        false => self.tagged.remove(&link),
                    };
                    assert_eq!(changes.unwrap(), expected, "{step:?}");
                }
            }
            Step::Assign { task, project, from_project } => {
                let changes = match from_project {
                    true => Project::tasks().link(tx, project, task),
                    false => tx.update::<Task, _>(task, |task| task.project.set(project)).map(|()| true),
                };
                let is_there =
                    if from_project { self.projects.contains(&project) } else { project <= self.last[1] };
                let may = self.tasks.contains_key(&task) && is_there;
                assert_eq!(changes.is_ok(), may, "{step:?}: {changes:?}");
                if may {
                    self.tasks.insert(task, project);
                }
            }
            Step::RemoveTask(id) => {
                assert_eq!(tx.remove::<Task>(id).unwrap(), self.tasks.contains_key(&id));
                self.remove_task(id);
            }
            Step::RemoveProject { id, with_tasks } => {
                let with: &[_] = if with_tasks { &[Project::tasks().into()] } else { &[] };
                let was_there = self.projects.remove(&id);
                assert_eq!(tx.remove_with::<Project>(id, with).unwrap(), was_there);
                if was_there && with_tasks {
                    let tasks: Vec<u64> = self
                        .tasks
                        .iter()
                        .filter(|(_, project)| **project == id)
                        .map(|(&task, _)| task)
                        .collect();
                    tasks.into_iter().for_each(|task| self.remove_task(task));
                }
            }
            Step::RemoveTag(id) => {
                let was_there = self.tags.remove(&id);
                assert_eq!(tx.remove::<Tag>(id).unwrap(), was_there);
                if was_there {
                    self.tagged.retain(|&(_, tag)| tag != id);
                }
            }
            Step::RemovePerson(id) => {
                let was_there = self.people.remove(&id);
                assert_eq!(tx.remove::<Person>(id).unwrap(), was_there);
                if was_there {
                    self.helped.retain(|&(_, person)| person != id);
                }
            }
        }
    }

    /// Compares every link, from both sides.
    fn compare(&self, access: &impl reconvene_store::LinkAccess) {
        for id in 1..=OBJECTS {
            let project = self.tasks.get(&id).copied().filter(|project| self.projects.contains(project));
            let far = |links: &BTreeSet<(u64, u64)>, there: &BTreeSet<u64>| -> Vec<u64> {
                links
                    .iter()
                    .filter(|(task, far)| *task == id && there.contains(far))
                    .map(|&(_, far)| far)
                    .collect()
            };
            let near = |links: &BTreeSet<(u64, u64)>, there: &BTreeSet<u64>| -> Vec<u64> {
                let near = links.iter().filter(|(_, far)| *far == id && there.contains(far));
                near.map(|&(task, _)| task).collect()
            };
            assert_eq!(Task::tags().ids(access, id).unwrap(), far(&self.tagged, &self.tags), "tags of {id}");
            assert_eq!(
                Task::helpers().ids(access, id).unwrap(),
                far(&self.helped, &self.people),
                "helpers of {id}"
            );
            if self.tags.contains(&id) {
                assert_eq!(Tag::tasks().ids(access, id).unwrap(), near(&self.tagged, &self.tags), "tag {id}");
            }
            if self.people.contains(&id) {
                assert_eq!(
                    Person::helps().ids(access, id).unwrap(),
                    near(&self.helped, &self.people),
                    "person {id}"
                );
            }
            let of: Vec<u64> =
                self.tasks.iter().filter(|(_, project)| **project == id).map(|(&task, _)| task).collect();
            assert_eq!(Project::tasks().ids(access, id).unwrap(), of, "project {id}");
            if let Some(project) = project {
                assert!(Project::tasks().contains(access, project, id).unwrap());
            }
        }
    }
}

/// A task to be put: new, or as it was read.
enum Either {
    New(Box<Task>),
    Read(Box<reconvene_store::Tracked<Task>>),
}

impl Either {
    fn edit(&mut self, edit: impl FnOnce(&mut Task)) {
        match self {
            Either::New(task) => edit(task),
            Either::Read(task) => edit(task),
        }
    }

    fn put(&mut self, tx: &mut WriteTxn<'_>) -> u64 {
        match self {
            Either::New(task) => tx.put(&mut **task).unwrap(),
            Either::Read(task) => tx.put(&mut **task).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn links_are_what_plain_maps_say(
        txs in prop::collection::vec((prop::collection::vec(step(), 1..12), prop::bool::weighted(0.15)), 1..14)
    ) {
        on_both(|directory| {
            let store = open(directory);
            let mut model = Model::default();
            for (steps, undone) in &txs {
                let mut next = model.clone();
                let result = store.write(|tx| {
                    for step in steps {
                        next.run(step, tx);
                        next.compare(tx);
                    }
                    if *undone { Err(reconvene_store::StoreError::application("undone")) } else { Ok(()) }
                });
                assert_eq!(result.is_err(), *undone);
                // Ids of an undone transaction are not handed out again.
                let last = next.last;
                model = if *undone { Model { last, ..model } } else { next };
                model.compare(&store);
            }
            assert_eq!(store.check().unwrap(), []);
        });
    }
}
