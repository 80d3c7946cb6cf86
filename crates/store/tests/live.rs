//! Streams of changes and watched queries: in order, coalesced, complete, and quiet about what cannot matter.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_core::Stream;
use proptest::prelude::*;
use reconvene_model::Value;
use reconvene_store::{
    ChangeStream, Changes, Condition, Entity, EntityBox, Object, Results, Store, TOLD_IDS_MAX, ToOne,
    Tracked, Watch,
};
use support::{builder, on_both};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    title: String,
    #[index]
    done: bool,
    rank: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Log {
    id: u64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Note {
    id: u64,
    task: ToOne<Task>,
}

fn open(directory: &Path) -> Store {
    builder(directory).entity::<Task>().entity::<Log>().entity::<Note>().open().unwrap()
}

fn tasks(store: &Store) -> EntityBox<Task> {
    store.boxed().unwrap()
}

fn task(rank: i64) -> Task {
    Task { rank, ..Task::default() }
}

type Tasks = Watch<Tracked<Task>>;

fn next(watch: &mut Tasks) -> Results<Tracked<Task>> {
    watch.try_next().unwrap().unwrap()
}

fn ids(results: &Results<Tracked<Task>>) -> Vec<u64> {
    results.iter().map(|task| task.id).collect()
}

fn is_quiet(watch: &mut Tasks) -> bool {
    watch.try_next().is_none()
}

/// Counts how often it was woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn commits_that_nobody_took_are_one_change() {
    on_both(|directory| {
        let store = open(directory);
        let (tasks, logs) = (tasks(&store), store.boxed::<Log>().unwrap());
        let (mut all, mut own) = (store.changes(), tasks.changes());
        tasks.put_many(&mut [task(1), task(2), task(3)]).unwrap();
        logs.put(&mut Log::default()).unwrap();
        tasks.update(2, |task| task.done = true).unwrap();
        tasks.remove(3).unwrap();
        let change = own.try_next().unwrap();
        assert_eq!(
            (&change.inserted[..], &change.updated[..], &change.removed[..]),
            (&[1, 2][..], &[][..], &[][..])
        );
        assert_eq!(change.entity, "Task");
        let changes: Changes = all.try_next().unwrap();
        assert_eq!(changes.of("Task"), Some(&change));
        assert_eq!(changes.of("Log").unwrap().inserted, [1]);
        assert!(own.try_next().is_none() && all.try_next().is_none());
        tasks.update(2, |task| task.rank = 9).unwrap();
        tasks.remove(1).unwrap();
        let change = own.wait_next().unwrap();
        assert_eq!((&change.updated[..], &change.removed[..]), (&[2][..], &[1][..]));
        tasks.put(&mut task(4)).unwrap();
        tasks.remove(4).unwrap();
        assert!(own.try_next().is_none(), "it came and went");
    });
}

#[test]
fn a_receiver_that_never_looks_costs_bounded_memory() {
    let store = open(Path::new("memory:"));
    let (tasks, mut changes) = (tasks(&store), tasks(&store).changes());
    let mut watch = tasks.query(Task::rank().gt(0)).watch();
    assert!(next(&mut watch).is_empty());
    tasks.put_many(&mut vec![task(0); TOLD_IDS_MAX + 1]).unwrap();
    let change = changes.try_next().unwrap();
    assert!(change.too_many && change.inserted.is_empty());
    let runs = watch.runs();
    assert!(is_quiet(&mut watch), "there are no other results");
    assert_eq!(watch.runs(), runs + 1, "but the query had to be run");
    tasks.put(&mut task(1)).unwrap();
    assert_eq!(changes.try_next().unwrap().inserted, [TOLD_IDS_MAX as u64 + 2]);
}

#[test]
fn many_writers_are_told_in_the_order_of_their_commits() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let mut stream: ChangeStream<_> = tasks.changes();
        let ender = stream.ender();
        thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                let mut seen = Vec::new();
                while let Some(change) = stream.wait_next() {
                    seen.extend(change.inserted);
                }
                seen
            });
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..50).for_each(|_| assert_ne!(tasks.put(&mut task(0)).unwrap(), 0)))
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            tasks.put(&mut task(0)).unwrap();
            ender.end();
            let seen = receiver.join().unwrap();
            assert!(
                seen.iter().copied().eq(1..=seen.len() as u64),
                "ids are given in commit order: {seen:?}"
            );
            assert_eq!(seen.len(), 201);
        });
    });
}

#[test]
fn only_what_can_matter_runs_the_query_again() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        tasks.put_many(&mut [task(10), task(20), task(30)]).unwrap();
        let mut watch =
            tasks.query(Task::done().eq(false) & Task::rank().ge(20)).order_by(Task::rank()).watch();
        let first = next(&mut watch);
        assert_eq!((ids(&first), &first.added[..], watch.runs()), (vec![2, 3], &[2, 3][..], 1));

        // Of another entity, that does not match before or after, that is gone before anybody looked.
        store.boxed::<Log>().unwrap().put(&mut Log::default()).unwrap();
        assert!(is_quiet(&mut watch));
        tasks.update(1, |task| task.title = "low".into()).unwrap();
        assert!(is_quiet(&mut watch));
        tasks.put(&mut Task { done: true, ..task(99) }).unwrap();
        assert!(is_quiet(&mut watch));
        tasks.remove(1).unwrap();
        assert!(is_quiet(&mut watch));
        tasks.put(&mut task(40)).unwrap();
        tasks.remove(5).unwrap();
        assert!(is_quiet(&mut watch));
        assert_eq!(watch.runs(), 1);

        // In, changed, out.
        let id = tasks.put(&mut task(25)).unwrap();
        let results = next(&mut watch);
        assert_eq!((ids(&results), &results.added[..]), (vec![2, id, 3], &[id][..]));
        tasks.update(id, |task| task.title = "new".into()).unwrap();
        let results = next(&mut watch);
        assert_eq!((&results.changed[..], results[1].title.as_str()), (&[id][..], "new"));
        tasks.update(id, |task| task.done = true).unwrap();
        let results = next(&mut watch);
        assert_eq!((ids(&results), &results.removed[..]), (vec![2, 3], &[id][..]));
        tasks.remove(3).unwrap();
        assert_eq!(ids(&next(&mut watch)), [2]);
        assert_eq!(watch.runs(), 5);

        // There and back before anybody looked.
        tasks.update(2, |task| task.rank = 0).unwrap();
        tasks.update(2, |task| task.rank = 20).unwrap();
        assert!(is_quiet(&mut watch));
        assert_eq!(watch.runs(), 5);
    });
}

#[test]
fn what_comes_after_the_end_of_a_limit_does_not_matter() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        tasks.put_many(&mut [task(10), task(20), task(30), task(40)]).unwrap();
        let query = tasks.query(Condition::all()).order_by_desc(Task::rank()).offset(1).limit(2);
        let mut watch = query.watch();
        assert_eq!(ids(&next(&mut watch)), [3, 2]);
        tasks.put(&mut task(5)).unwrap();
        tasks.update(1, |task| task.rank = 11).unwrap();
        tasks.remove(5).unwrap();
        // Of equal rank, but with a larger id.
        tasks.put(&mut task(20)).unwrap();
        assert!(is_quiet(&mut watch));
        assert_eq!(watch.runs(), 1);
        // Before the offset: it shifts the others.
        tasks.put(&mut task(50)).unwrap();
        let results = next(&mut watch);
        assert_eq!(
            (ids(&results), &results.added[..], &results.removed[..]),
            (vec![4, 3], &[4][..], &[2][..])
        );
        tasks.remove(7).unwrap();
        assert_eq!(ids(&next(&mut watch)), [3, 2]);
        // What the offset leaves out may change without a difference.
        tasks.update(4, |task| task.title = "first".into()).unwrap();
        assert!(is_quiet(&mut watch));
        tasks.update(1, |task| task.rank = 25).unwrap();
        assert_eq!(ids(&next(&mut watch)), [3, 1]);
    });
}

#[test]
fn watches_are_polled_and_wake_their_task() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let counting = Arc::new(Counting::default());
        let waker = Waker::from(counting.clone());
        let mut context = Context::from_waker(&waker);
        let watch = tasks.query(Task::done().eq(true)).watch();
        let ender = watch.ender();
        let mut watch = pin!(watch);
        let mut changes = pin!(tasks.changes());
        let Poll::Ready(Some(Ok(first))) = watch.as_mut().poll_next(&mut context) else {
            panic!("the first results")
        };
        assert!(first.is_empty());
        assert!(watch.as_mut().poll_next(&mut context).is_pending());
        assert!(changes.as_mut().poll_next(&mut context).is_pending());
        tasks.put(&mut task(1)).unwrap();
        assert_eq!(counting.0.load(Ordering::SeqCst), 2);
        let Poll::Ready(Some(change)) = changes.as_mut().poll_next(&mut context) else { panic!("a change") };
        assert_eq!(change.inserted, [1]);
        assert!(watch.as_mut().poll_next(&mut context).is_pending(), "the task is not done");
        tasks.update(1, |task| task.done = true).unwrap();
        assert_eq!(counting.0.load(Ordering::SeqCst), 3, "nobody waits for changes");
        let Poll::Ready(Some(Ok(results))) = watch.as_mut().poll_next(&mut context) else {
            panic!("results")
        };
        assert_eq!(ids(&results), [1]);
        assert!(watch.as_mut().poll_next(&mut context).is_pending());
        ender.end();
        assert_eq!(counting.0.load(Ordering::SeqCst), 4);
        assert!(matches!(watch.as_mut().poll_next(&mut context), Poll::Ready(None)));
    });
}

#[test]
fn no_commit_falls_between_the_first_results_and_the_rest() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut last = 0;
                while !stop.load(Ordering::SeqCst) {
                    last = tasks.put(&mut task(1)).unwrap();
                }
                last
            });
            let mut watches: Vec<(Tasks, Vec<u64>)> = Vec::new();
            for _ in 0..20 {
                let mut watch = tasks.query(Task::rank().eq(1)).watch();
                let first = ids(&next(&mut watch));
                watches.push((watch, first));
            }
            stop.store(true, Ordering::SeqCst);
            let last = writer.join().unwrap();
            for (mut watch, mut seen) in watches {
                while let Some(results) = watch.try_next() {
                    let results = results.unwrap();
                    seen.extend(&results.added);
                    assert_eq!(ids(&results), seen, "each comes as added once");
                }
                assert!(seen.iter().copied().eq(1..=last), "{} of {last}", seen.len());
            }
        });
    });
}

#[test]
fn an_error_is_told_and_the_next_call_looks_again() {
    let store = open(Path::new("memory:"));
    let mut watch = tasks(&store).query(Task::rank().eq(1)).order_by(Task::rank()).watch();
    drop(next(&mut watch));
    let unknown = store.objects("Task").unwrap();
    assert!(unknown.query_text("rnk == 1").is_err());
    let mut by_name = unknown.query_text("rank == 1").unwrap().watch();
    assert!(by_name.try_next().unwrap().unwrap().is_empty());
    unknown.put(&mut Object::new().with("rank", Value::Int(1))).unwrap();
    assert_eq!(by_name.wait_next().unwrap().unwrap()[0].get("rank"), &Value::Int(1));
    assert_eq!(next(&mut watch).len(), 1);
}

#[test]
fn a_watch_of_a_box_ends_with_its_drop_and_keeps_the_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut watch = tasks(&store).watch();
    drop(next(&mut watch));
    drop(store);
    let again = open(directory.path());
    tasks(&again).put(&mut task(1)).unwrap();
    assert_eq!(next(&mut watch).len(), 1, "it is the same store");
    drop(watch);
    tasks(&again).put(&mut task(1)).unwrap();
}

#[test]
fn a_condition_along_a_link_is_judged_anew_when_a_target_changes() {
    on_both(|directory| {
        let store = open(directory);
        let (tasks, notes) = (tasks(&store), store.boxed::<Note>().unwrap());
        tasks.put_many(&mut [task(1), task(2)]).unwrap();
        for target in [1, 2] {
            notes.put(&mut Note { id: 0, task: ToOne::new(target) }).unwrap();
        }
        let mut watch = notes.query(Note::task().has(Task::done().eq(true))).watch();
        let mut next =
            || watch.try_next().map(Result::unwrap).map(|results| (results.added, results.removed));
        assert_eq!(next(), Some((vec![], vec![])));
        tasks.update(2, |task| task.done = true).unwrap();
        assert_eq!(next(), Some((vec![2], vec![])));
        store.boxed::<Log>().unwrap().put(&mut Log::default()).unwrap();
        assert_eq!(next(), None);
        tasks.remove(2).unwrap();
        assert_eq!(next(), Some((vec![], vec![2])));
        assert_eq!(watch.runs(), 3);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Put { rank: i64, done: bool },
    Update { id: u64, rank: i64, done: bool },
    Remove { id: u64 },
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_i64, any::<bool>()).prop_map(|(rank, done)| Step::Put { rank, done }),
        4 => (1..10_u64, 0..6_i64, any::<bool>()).prop_map(|(id, rank, done)| Step::Update { id, rank, done }),
        2 => (1..10_u64).prop_map(|id| Step::Remove { id }),
        4 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn watched_results_are_those_of_the_query(
        steps in proptest::collection::vec(step(), 1..40),
        offset in 0..3_u64,
        limit in proptest::option::of(0..4_u64),
        descending: bool,
    ) {
        let store = open(Path::new("memory:"));
        let tasks = tasks(&store);
        let mut query = tasks.query(Task::done().eq(false) & Task::rank().ge(2)).offset(offset);
        query = if descending { query.order_by_desc(Task::rank()) } else { query.order_by(Task::rank()) };
        if let Some(limit) = limit {
            query = query.limit(limit);
        }
        let mut watch = query.watch();
        let mut last = next(&mut watch).objects;
        for step in steps {
            match step {
                Step::Put { rank, done } => {
                    tasks.put(&mut Task { done, ..task(rank) }).unwrap();
                }
                Step::Update { id, rank, done } => {
                    drop(tasks.update(id, |task| (task.rank, task.done) = (rank, done)));
                }
                Step::Remove { id } => {
                    tasks.remove(id).unwrap();
                }
                Step::Look => {
                    let expected = query.find().unwrap();
                    match watch.try_next() {
                        None => prop_assert_eq!(&last, &expected),
                        Some(results) => {
                            let results = results.unwrap();
                            let ids = |tasks: &[Tracked<Task>]| tasks.iter().map(|task| task.id).collect::<Vec<_>>();
                            prop_assert_ne!(&last, &results.objects, "told without a difference");
                            prop_assert_eq!(&results.objects, &expected);
                            let (old, new) = (ids(&last), ids(&results.objects));
                            let added: Vec<u64> = new.iter().copied().filter(|id| !old.contains(id)).collect();
                            let removed: Vec<u64> = old.iter().copied().filter(|id| !new.contains(id)).collect();
                            prop_assert_eq!((&results.added, &results.removed), (&added, &removed));
                            for task in &results.objects {
                                let was = last.iter().find(|other| other.id == task.id);
                                let changed = was.is_some_and(|was| was != task);
                                prop_assert_eq!(results.changed.contains(&task.id), changed);
                            }
                            last = results.objects;
                        }
                    }
                }
            }
        }
    }
}
