//! The examples of `docs/guide/queries.md`, run.

#![allow(unused_variables, clippy::unwrap_used, reason = "examples for people")]

// As applications know it.
extern crate reconvene_store as reconvene;

use reconvene::{Condition, Date, Entity, Flex, Result, Store, ToOne, Tracked, param};

const GUIDE: &str = include_str!("../../../docs/guide/queries.md");
const SOURCE: &str = include_str!("queries_guide.rs");

#[derive(Entity, Debug, Default)]
struct Person {
    id: u64,
    #[index]
    name: String,
}

#[derive(Entity, Debug, Default)]
struct Project {
    id: u64,
    #[index]
    name: String,
    #[index]
    owner: ToOne<Person>,
}

#[derive(Entity, Debug, Default)]
struct Task {
    id: u64,
    title: String,
    #[index]
    done: bool,
    stars: Option<i32>,
    #[index]
    due: Option<Date>,
    tags: Vec<String>,
    extra: Flex,
    #[index]
    project: ToOne<Project>,
}

impl Task {
    fn new(title: &str, stars: Option<i32>, due: Option<Date>, tag: Option<&str>, project: u64) -> Task {
        let tags = tag.map(str::to_owned).into_iter().collect();
        Task { title: title.into(), stars, due, tags, project: ToOne::new(project), ..Task::default() }
    }
}

fn person(name: &str) -> Person {
    Person { name: name.into(), ..Person::default() }
}

fn project(name: &str, owner: u64) -> Project {
    Project { name: name.into(), owner: ToOne::new(owner), ..Project::default() }
}

#[test]
fn the_examples_run() -> Result<()> {
    let store = Store::builder("memory:").entity::<Person>().entity::<Project>().entity::<Task>().open()?;
    let (people, projects, tasks) =
        (store.boxed::<Person>()?, store.boxed::<Project>()?, store.boxed::<Task>()?);
    people.put_many(&mut [person("Ann"), person("Bob")])?;
    projects.put_many(&mut [project("Garden", 1), project("Taxes", 2)])?;
    tasks.put_many(&mut [
        Task::new("Water the roses", Some(4), None, Some("garden"), 1),
        Task::new("Mow the lawn", None, Some(Date(1)), Some("garden"), 1),
        Task::new("Add it up", Some(3), None, Some("indoors"), 2),
    ])?;

    let urgent = Task::done().eq(false) & (Task::due().lt(Date(1_800_000_000_000)) | Task::stars().ge(4));
    let found = tasks.query(urgent).find()?;
    assert_eq!(found.len(), 2);

    let found = tasks.query_text("done == false AND (due < 1800000000000 OR stars >= 4)")?.find()?;

    let mistake = tasks.query_text("doen == false").unwrap_err();
    assert_eq!(mistake.to_string(), "`Task` has no property `doen`; did you mean `done`?");
    assert_eq!(found.len(), 2);

    let garden =
        tasks.query(Task::tags().any().eq("garden") & Task::tags().none().starts_with("in")).find()?;
    let same = tasks.query_text("ANY tags == \"garden\" AND NONE tags ^= \"in\"")?.find()?;
    let untagged = tasks.query(Task::tags().count().eq(0_u64)).count()?;
    assert_eq!((garden.len(), same.len(), untagged), (2, 2, 0));

    let dark = tasks
        .query(Task::extra().key("theme").eq("dark") & Task::extra().key("sizes").at(0).lt(1.5))
        .find()?;
    let same = tasks.query_text("extra.theme == \"dark\" AND extra.sizes[0] < 1.5")?.find()?;
    assert_eq!((dark.len(), same.len()), (0, 0));

    let of_ann = tasks.query(Task::project().then(Project::owner()).then(Person::name()).eq("Ann")).find()?;
    let same = tasks.query_text("project.owner.name == \"Ann\"")?.find()?;
    assert_eq!((of_ann.len(), same.len()), (2, 2));

    let in_gardens = Task::project().has(Project::name().contains("arden") & Project::owner().not_null());
    let by_project = Task::project().backwards();
    let finished =
        projects.query(by_project.none(Task::done().eq(false)) & by_project.count().gt(0_u64)).find()?;
    let same = projects.query_text("NONE Task.project (done == false) AND COUNT Task.project > 0")?.find()?;
    assert_eq!((tasks.query(in_gardens).count()?, finished.len(), same.len()), (2, 0, 0));

    let mut starred =
        tasks.query(Task::stars().ge(param("least").or(1)) & Task::id().not_one_of([param("seen")]));
    starred.set("seen", vec![1_u64, 2])?;
    assert_eq!(starred.count()?, 1);
    assert_eq!(starred.set("least", 5)?.count()?, 0);

    let mut titled = tasks.query_text("title ^=~ $beginning AND stars >= ${least ?? 1}")?;
    assert_eq!(titled.set("beginning", "WATER")?.count()?, 1);

    let page = tasks
        .query(Condition::all())
        .order_by(Task::due().asc().nulls_last())
        .order_by(Task::title().asc().no_case())
        .offset(1)
        .limit(2);

    let all: Vec<Tracked<Task>> = page.find()?;
    let ids: Vec<u64> = page.find_ids()?;
    let first: Option<Tracked<Task>> = page.first()?;
    let number: u64 = page.count()?;

    // An error if there are several:
    let garden = projects.query(Project::name().eq("Garden")).unique()?;

    // One after the other, without keeping them:
    let mut titles = String::new();
    tasks.query(Task::done().eq(false)).for_each(|task| {
        titles += &task.title;
        Ok(())
    })?;
    assert_eq!((all.len(), ids, first.map(|task| task.id), number), (2, vec![3, 1], Some(3), 2));
    assert_eq!(titles, "Water the rosesMow the lawnAdd it up");

    let explained = tasks.query(Task::project().then(Project::name()).eq("Garden")).explain()?;
    assert_eq!(explained.plan, "Task by index of project: one value");
    assert_eq!(explained.indexes, ["project"]);
    assert_eq!(explained.entries, 3);

    let raised = tasks.query(Task::due().not_null()).update(|task| task.stars = Some(5))?;
    let removed = tasks.query(Task::done().eq(true)).remove()?;
    assert_eq!((raised, removed), (1, 0));

    store.write(|tx| {
        tx.put(&mut Task { title: "Rake the leaves".into(), ..Task::default() })?;
        assert_eq!(tx.query(Task::title().starts_with("Rake"))?.count()?, 1);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn every_example_of_the_guide_is_run() {
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let source = dense(SOURCE);
    let examples: Vec<&str> =
        GUIDE.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 10);
    for example in examples {
        assert!(source.contains(&dense(example)), "this example of the guide is not run:\n{example}");
    }
}
