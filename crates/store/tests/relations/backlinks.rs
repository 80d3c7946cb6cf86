//! The other direction of links.

use std::sync::mpsc;

use reconvene_store::{Object, StoreError};

use super::support::on_both;
use super::*;

#[test]
fn a_backlink_lists_who_links_here_by_an_index() {
    on_both(|directory| {
        let store = open(directory);
        let projects = store.boxed::<Project>().unwrap();
        let (garden, house) =
            (projects.put(&mut project("Garden")).unwrap(), projects.put(&mut project("House")).unwrap());
        let tasks = store.boxed::<Task>().unwrap();
        let of = |project: u64, title: &str| Task { project: project.into(), ..task(title) };
        tasks
            .put_many(&mut [of(garden, "Dig"), of(house, "Paint"), of(garden, "Weed"), of(0, "Read")])
            .unwrap();
        let read = projects.get(garden).unwrap().unwrap();
        assert_eq!(read.tasks.ids(&store).unwrap(), [1, 3]);
        let titles: Vec<_> =
            read.tasks.get(&store).unwrap().into_iter().map(|task| task.title.clone()).collect();
        assert_eq!(titles, ["Dig", "Weed"]);
        assert_eq!(read.tasks.len(&store).unwrap(), 2);
        assert!(read.tasks.contains(&store, 3).unwrap() && !read.tasks.contains(&store, 2).unwrap());
        assert!(Project::default().tasks.is_empty(&store).unwrap(), "of an object that was never put");
        let plan = tasks.query(Task::project().eq(garden)).explain().unwrap().to_string();
        assert!(plan.contains("by index of project"), "{plan}");
        tasks.remove(1).unwrap();
        assert_eq!(read.tasks.ids(&store).unwrap(), [3]);
        assert_eq!(store.check().unwrap(), []);
    });
}

#[test]
fn a_transaction_sees_the_links_that_it_wrote() {
    on_both(|directory| {
        let store = open(directory);
        let garden = store.boxed::<Project>().unwrap().put(&mut project("Garden")).unwrap();
        store.boxed::<Task>().unwrap().put(&mut Task { project: garden.into(), ..task("Dig") }).unwrap();
        store
            .write(|tx| {
                let ids = |tx: &reconvene_store::WriteTxn<'_>| Project::tasks().ids(tx, garden).unwrap();
                assert_eq!(ids(tx), [1]);
                tx.put(&mut Task { project: garden.into(), ..task("Weed") })?;
                assert_eq!(ids(tx), [1, 2]);
                tx.update::<Task, _>(1, |task| task.project.set(0))?;
                assert_eq!(ids(tx), [2]);
                tx.update::<Task, _>(1, |task| task.project.set(garden))?;
                tx.remove::<Task>(2)?;
                assert_eq!(ids(tx), [1]);
                // A query applies index changes; links are the same afterwards.
                assert_eq!(tx.query(Task::project().eq(garden))?.count()?, 1);
                assert_eq!(ids(tx), [1]);
                tx.put(&mut Task { project: garden.into(), ..task("Rake") })?;
                assert_eq!(ids(tx), [1, 3]);
                Ok(())
            })
            .unwrap();
        assert_eq!(Project::tasks().ids(&store, garden).unwrap(), [1, 3]);
    });
}

#[test]
fn links_are_set_from_either_side_and_by_name() {
    on_both(|directory| {
        let store = open(directory);
        let (projects, tasks) = (store.objects("Project").unwrap(), store.objects("Task").unwrap());
        let garden = projects.put(&mut Object::new()).unwrap();
        let dig = tasks.put(&mut Object::new()).unwrap();
        assert!(projects.link(garden, "tasks", dig).unwrap());
        assert!(!projects.link(garden, "tasks", dig).unwrap());
        assert_eq!(tasks.linked(dig, "project").unwrap(), [garden]);
        assert!(tasks.unlink(dig, "project", garden).unwrap());
        assert!(!projects.unlink(garden, "tasks", dig).unwrap());
        assert!(tasks.link(dig, "project", garden).unwrap());
        assert_eq!(projects.linked(garden, "tasks").unwrap(), [dig]);

        let error = tasks.linked(dig, "title").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Task.title leads to no other objects; name a link, a relation or a backlink"
        );
        let error = tasks.linked(dig, "projct").unwrap_err();
        assert_eq!(error.to_string(), r#"Task has no property "projct" (did you mean "project"?)"#);
        assert!(matches!(tasks.link(dig, "project", 9), Err(StoreError::LinkToUnassigned { id: 9, .. })));
        assert!(matches!(tasks.link(9, "project", garden), Err(StoreError::NotFound { id: 9, .. })));
        assert!(matches!(projects.link(garden, "tasks", 9), Err(StoreError::NotFound { id: 9, .. })));
    });
}

#[test]
fn observers_are_told_of_the_object_that_holds_the_link() {
    let store = open(Path::new("memory:"));
    let garden = store.boxed::<Project>().unwrap().put(&mut project("Garden")).unwrap();
    let dig = store.boxed::<Task>().unwrap().put(&mut task("Dig")).unwrap();
    let tag = tags(&store, 1)[0];
    let (sender, told) = mpsc::channel();
    let _subscription = store.observe(move |changes| sender.send(changes.clone()).unwrap());
    store.write(|tx| Project::tasks().link(tx, garden, dig)).unwrap();
    store.write(|tx| Tag::tasks().link(tx, tag, dig)).unwrap();
    store.write(|tx| Task::tags().unlink(tx, dig, tag)).unwrap();
    for _ in 0..3 {
        let changes = told.recv().unwrap();
        assert_eq!(changes.of("Task").unwrap().updated, [dig]);
        assert_eq!(changes.entities.len(), 1);
    }
    store.write(|tx| Task::tags().unlink(tx, dig, tag)).unwrap();
    assert!(told.try_recv().is_err(), "nothing changed");
}
