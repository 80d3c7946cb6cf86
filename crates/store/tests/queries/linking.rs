//! Conditions along links, between entities, with and without indexes.

use reconvene_store::{Condition, Entity, EntityBox, Store, StoreError, ToOne};

#[derive(Entity, Debug, Default)]
#[entity(crate = "reconvene_store")]
struct Person {
    id: u64,
    #[index]
    name: String,
}

#[derive(Entity, Debug, Default)]
#[entity(crate = "reconvene_store")]
struct Project {
    id: u64,
    #[index]
    name: String,
    #[index]
    owner: ToOne<Person>,
}

#[derive(Entity, Debug, Default)]
#[entity(crate = "reconvene_store")]
struct Task {
    id: u64,
    title: String,
    done: bool,
    #[index]
    project: ToOne<Project>,
    /// Without an index.
    helper: ToOne<Person>,
}

struct Home {
    store: Store,
    people: EntityBox<Person>,
    projects: EntityBox<Project>,
    tasks: EntityBox<Task>,
}

/// Ann owns projects 1 and 2, Bob owns 3, and nobody owns 4. Of four tasks each, the last is done; project 4 has none, and task
/// 13 none of the projects. Bob helps with every other task.
fn home() -> Home {
    let store =
        Store::builder("memory:").entity::<Person>().entity::<Project>().entity::<Task>().open().unwrap();
    let (people, projects, tasks) =
        (store.boxed::<Person>().unwrap(), store.boxed::<Project>().unwrap(), store.boxed::<Task>().unwrap());
    for name in ["Ann", "Bob"] {
        people.put(&mut Person { name: name.into(), ..Person::default() }).unwrap();
    }
    for (name, owner) in [("Garden", 1), ("Taxes", 1), ("Boat", 2), ("Attic", 0)] {
        projects
            .put(&mut Project { name: name.into(), owner: ToOne::new(owner), ..Project::default() })
            .unwrap();
    }
    for at in 0..13_u64 {
        let mut task = Task {
            title: format!("task {at}"),
            done: at % 4 == 3,
            project: ToOne::new(if at < 12 { at / 4 + 1 } else { 0 }),
            helper: ToOne::new(if at % 2 == 0 { 2 } else { 0 }),
            ..Task::default()
        };
        tasks.put(&mut task).unwrap();
    }
    Home { store, people, projects, tasks }
}

#[test]
fn links_lead_to_properties_of_others_at_any_depth() {
    let home = home();
    let found = |condition| home.tasks.query(condition).find_ids().unwrap();
    assert_eq!(found(Task::project().then(Project::name()).eq("Taxes")), [5, 6, 7, 8]);
    let owner = || Task::project().then(Project::owner()).then(Person::name());
    assert_eq!(found(owner().eq("Bob")), [9, 10, 11, 12]);
    assert_eq!(found(owner().ne("Ann")), [9, 10, 11, 12, 13]);
    assert_eq!(found(owner().is_null()), [13]);
    let query = home.tasks.query_text("project.owner.name == \"Ann\" AND helper.name != null").unwrap();
    assert_eq!(query.find_ids().unwrap(), [1, 3, 5, 7]);
}

#[test]
fn a_link_to_what_is_not_there_leads_nowhere() {
    let home = home();
    home.projects.remove(2).unwrap();
    let found = |condition: &str| home.tasks.query_text(condition).unwrap().find_ids().unwrap();
    assert_eq!(found("project.name == null"), [5, 6, 7, 8, 13]);
    assert_eq!(found("project.id == null"), [5, 6, 7, 8, 13]);
    assert_eq!(found("project == 2"), [5, 6, 7, 8]);
    assert_eq!(found("ANY project (true)"), [1, 2, 3, 4, 9, 10, 11, 12]);
    assert_eq!(found("ANY project (name == null)"), [] as [u64; 0]);
    assert_eq!(found("NONE project (name *= \"a\")"), [5, 6, 7, 8, 13].into_iter().collect::<Vec<_>>());
    let by_project =
        home.tasks.query(Condition::all()).order_by(Task::project().then(Project::name()).asc().nulls_last());
    assert_eq!(by_project.find_ids().unwrap(), [9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 13]);
}

#[test]
fn links_are_followed_backwards() {
    let home = home();
    let tasks = Task::project().backwards();
    let found = |condition| home.projects.query(condition).find_ids().unwrap();
    assert_eq!(found(tasks.any(Task::done().eq(true))), [1, 2, 3]);
    assert_eq!(found(tasks.any(Task::title().eq("task 5"))), [2]);
    assert_eq!(found(tasks.none(Task::done().eq(true))), [4]);
    assert_eq!(found(tasks.all(Task::title().starts_with("task"))), [1, 2, 3, 4]);
    assert_eq!(found(tasks.count().eq(4_u64)), [1, 2, 3]);
    // By a link without an index, and through another link:
    let helped = Task::helper().backwards();
    let people =
        home.people.query(helped.any(Task::project().then(Project::owner()).then(Person::name()).eq("Ann")));
    assert_eq!(people.find_ids().unwrap(), [2]);
    let text = "COUNT Task.helper == 7 AND NONE Project.owner (ANY Task.project (title == \"task 0\"))";
    assert_eq!(home.people.query_text(text).unwrap().find_ids().unwrap(), [2]);
}

#[test]
fn few_objects_at_the_end_of_a_link_are_looked_up_in_its_index() {
    let home = home();
    let explained = |text: &str| home.tasks.query_text(text).unwrap().explain().unwrap();
    let one = explained("project.owner.name == \"Bob\"");
    assert_eq!(one.plan, "Task by index of project: one value");
    // One key each of the indexes of name and owner, and four of project.
    assert_eq!((one.entries, one.results), (6, 4));
    assert_eq!(one.indexes, ["project"]);
    assert_eq!(explained("helper.name == \"Bob\"").plan, "Task by id: all, each checked");
    let two = home.projects.query(Task::project().backwards().any(Task::title().ends_with("5")));
    assert_eq!(two.explain().unwrap().plan, "Project by id: all, each checked");
    let three = home.people.query(Project::owner().backwards().any(Project::name().eq("Boat")));
    assert_eq!(three.explain().unwrap().plan, "Person by id: one value");
    assert_eq!(three.find().unwrap()[0].name, "Bob");
}

#[test]
fn mistakes_along_links_are_told_with_their_place() {
    let home = home();
    for (text, message) in [
        ("project.nmae == \"a\"", "`Project` has no property `nmae`; did you mean `name`?"),
        ("title.length == 1", "`Task.title` is of type String, and nothing is behind it; end the path there"),
        (
            "ANY title (true)",
            "`Task.title` is of type String and leads to no objects; write `ANY Task.title == ...`, or name a link or a relation",
        ),
        (
            "ANY done == true",
            "`Task.done` is of type Bool and has no elements that `ANY` could ask for; compare its value",
        ),
        (
            "Project.name == \"a\"",
            "`Project.name` does not link to `Task`; name a link or a relation of `Project` that does",
        ),
    ] {
        let error = home.tasks.query_text(text).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(matches!(error, StoreError::Condition(error) if error.span.is_some()), "{text}");
    }
    let error = home.projects.query_text("Task.project == 1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`Task.project` leads to many objects; ask `ANY Task.project (...)`, `NONE Task.project (...)` or `COUNT Task.project > 0`"
    );
    let far = format!("ANY project ({} == 1)", vec!["owner"; 20].join("."));
    assert!(home.tasks.query_text(&far).is_err());
    assert!(home.store.objects("Task").is_ok());
}

#[test]
fn watched_results_follow_the_objects_at_the_end_of_links() {
    let home = home();
    let mut watch = home.tasks.query(Task::project().then(Project::name()).eq("Boat")).watch();
    assert_eq!(watch.try_next().unwrap().unwrap().len(), 4);
    home.people.update(1, |person| person.name = "Anna".into()).unwrap();
    assert!(watch.try_next().is_none());
    home.projects.update(3, |project| project.name = "Ship".into()).unwrap();
    assert_eq!(watch.try_next().unwrap().unwrap().removed, [9, 10, 11, 12]);
    home.projects.update(1, |project| project.name = "Boat".into()).unwrap();
    assert_eq!(watch.try_next().unwrap().unwrap().added, [1, 2, 3, 4]);
    // Those who link here are looked at as well, and what an order looks at.
    let mut finished = home.projects.query(Task::project().backwards().any(Task::done().eq(true))).watch();
    let mut ordered =
        home.projects.query(Condition::all()).order_by(Project::owner().then(Person::name())).watch();
    assert_eq!(finished.try_next().unwrap().unwrap().len(), 3);
    assert_eq!(
        ordered.try_next().unwrap().unwrap().iter().map(|project| project.id).collect::<Vec<_>>(),
        [4, 1, 2, 3]
    );
    home.tasks.query(Task::project().eq(2)).update(|task| task.done = false).unwrap();
    assert_eq!(finished.try_next().unwrap().unwrap().removed, [2]);
    home.people.update(2, |person| person.name = "Aaron".into()).unwrap();
    let again = ordered.try_next().unwrap().unwrap();
    assert_eq!(again.iter().map(|project| project.id).collect::<Vec<_>>(), [4, 3, 1, 2]);
}
