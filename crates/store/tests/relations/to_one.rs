//! Links to one object.

use reconvene_store::{Condition, StoreError, ToOne};

use super::support::on_both;
use super::*;

#[test]
fn a_link_shows_its_id_and_finds_its_target() {
    on_both(|directory| {
        let store = open(directory);
        let garden = store.boxed::<Project>().unwrap().put(&mut project("Garden")).unwrap();
        let tasks = store.boxed::<Task>().unwrap();
        let id = tasks.put(&mut Task { project: garden.into(), ..task("Dig") }).unwrap();
        let dig = tasks.get(id).unwrap().unwrap();
        assert_eq!(dig.project.id(), garden);
        assert_eq!(dig.project.get(&store).unwrap().unwrap().name, "Garden");
        assert!(dig.project.exists(&store).unwrap() && dig.project.loaded().is_none());
        assert!(ToOne::<Project>::none().get(&store).unwrap().is_none());
        store
            .read(|tx| {
                assert_eq!(dig.project.get(tx)?.unwrap().id, garden);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_query_loads_targets_of_its_own_moment_and_each_once() {
    on_both(|directory| {
        let store = open(directory);
        let projects = store.boxed::<Project>().unwrap();
        let (garden, house) =
            (projects.put(&mut project("Garden")).unwrap(), projects.put(&mut project("House")).unwrap());
        let tasks = store.boxed::<Task>().unwrap();
        let of = |id: u64| Task { project: id.into(), ..Task::default() };
        tasks.put_many(&mut [of(garden), of(house), of(garden), of(0)]).unwrap();
        let names = |tasks: &[reconvene_store::Tracked<Task>]| -> Vec<Option<String>> {
            tasks.iter().map(|task| task.project.loaded().map(|project| project.name.clone())).collect()
        };
        let query = tasks.query(Condition::all()).eager(Task::project());
        let found = query.find().unwrap();
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(&found), [some("Garden"), some("House"), some("Garden"), None]);
        let at = |at: usize| std::ptr::from_ref(found[at].project.loaded().unwrap());
        assert_eq!(at(0), at(2), "one object for both");
        assert_eq!(query.first().unwrap().unwrap().project.loaded().unwrap().name, "Garden");

        // In a write transaction it sees what was written there; an absent target is not loaded.
        store
            .write(|tx| {
                tx.update::<Project, _>(garden, |project| project.name = "Orchard".into())?;
                tx.remove::<Project>(house)?;
                let found = tx.query(Condition::all())?.eager(Task::project()).find()?;
                assert_eq!(names(&found), [some("Orchard"), None, some("Orchard"), None]);
                assert_eq!(found[1].project.id(), house, "the id stays");
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_loaded_object_is_put_like_any_other() {
    let store = open(Path::new("memory:"));
    let tasks = store.boxed::<Task>().unwrap();
    let project = ToOne::target(project("Garden"));
    tasks.put(&mut Task { project, ..task("Dig") }).unwrap();
    let mut found = tasks.query(Condition::all()).eager(Task::project()).find().unwrap().remove(0);
    found.title = "Weed".into();
    tasks.put(&mut found).unwrap();
    assert_eq!(found.project.id(), 1);
    found.project.set(0);
    assert!(found.project.loaded().is_none());
    tasks.put(&mut found).unwrap();
    assert_eq!(store.boxed::<Project>().unwrap().count().unwrap(), 1);
}

#[test]
fn a_new_target_is_put_first_and_its_own_as_well() {
    on_both(|directory| {
        let store = open(directory);
        let ada = Person { id: 7, name: "Ada".into(), ..Person::default() };
        let garden = Project { owner: ToOne::target(ada), ..project("Garden") };
        let mut dig = Task { project: ToOne::target(garden), ..task("Dig") };
        let weed = Task { project: dig.project.clone(), ..task("Weed") };
        let tasks = store.boxed::<Task>().unwrap();
        tasks.put(&mut dig).unwrap();
        assert_eq!(dig.project.id(), 1);
        let owner = dig.project.get(&store).unwrap().unwrap().owner.clone();
        assert_eq!(owner.get(&store).unwrap().unwrap().name, "Ada");

        // A clone of the link means the same target.
        tasks.put_many(&mut [weed, dig]).unwrap();
        assert_eq!(store.boxed::<Project>().unwrap().count().unwrap(), 1);

        // Also in what was read, and in an update.
        let mut read = tasks.get(1).unwrap().unwrap();
        read.project = ToOne::target(project("House"));
        tasks.put(&mut read).unwrap();
        assert_eq!(read.project.id(), 2);
        tasks.update(1, |task| task.project = ToOne::target(project("Attic"))).unwrap();
        assert_eq!(tasks.get(1).unwrap().unwrap().project.id(), 3);
    });
}

#[test]
fn a_new_target_of_an_undone_transaction_is_put_by_the_next() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        let id = tasks.put(&mut task("Dig")).unwrap();
        let mut read = tasks.get(id).unwrap().unwrap();
        read.project = ToOne::target(project("Garden"));
        let undone = store.write(|tx| {
            tx.put(&mut read)?;
            Err::<(), _>(StoreError::application("enough"))
        });
        assert!(undone.is_err());
        assert!(store.boxed::<Project>().unwrap().is_empty().unwrap());
        tasks.put(&mut read).unwrap();
        let names: Vec<_> = store.boxed::<Project>().unwrap().all().unwrap();
        assert_eq!(names.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), ["Garden"]);
        assert_eq!(tasks.get(id).unwrap().unwrap().project.id(), names[0].id);
    });
}

#[test]
fn links_to_absent_objects_are_hidden_and_revive() {
    on_both(|directory| {
        let store = open(directory);
        // Ids of people are chosen, so one may be linked to before it is there.
        let projects = store.boxed::<Project>().unwrap();
        let garden = projects.put(&mut Project { owner: 7.into(), ..project("Garden") }).unwrap();
        let people = store.boxed::<Person>().unwrap();
        let owner = || projects.get(garden).unwrap().unwrap().owner.get(&store).unwrap();
        for name in ["Ada", "Ben"] {
            assert!(owner().is_none());
            people.put(&mut Person { id: 7, name: name.into(), ..Person::default() }).unwrap();
            assert_eq!(owner().unwrap().name, name);
            people.remove(7).unwrap();
        }
        assert_eq!(projects.get(garden).unwrap().unwrap().owner.id(), 7);
        assert_eq!(store.check().unwrap(), []);
    });
}
