//! Observers: told every commit in order, whatever they do themselves.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use reconvene_store::{Changes, Entity, EntityBox, Store, StoreError, Subscription};
use support::{builder, on_both};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    done: bool,
    rank: i64,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Log {
    id: u64,
    tasks: Vec<i64>,
}

fn open(directory: &Path) -> Store {
    builder(directory).entity::<Task>().entity::<Log>().open().unwrap()
}

fn tasks(store: &Store) -> EntityBox<Task> {
    store.boxed().unwrap()
}

/// Inserted, updated and removed ids of `Task`.
type Told = (Vec<u64>, Vec<u64>, Vec<u64>);

fn told(changes: &Changes) -> Told {
    let of = changes.of("Task").cloned().unwrap_or_default();
    (of.inserted, of.updated, of.removed)
}

#[test]
fn each_commit_is_told_once_with_its_net_changes() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let (sender, receiver) = mpsc::channel();
        let _subscription = store.observe(move |changes| sender.send(changes.clone()).unwrap());
        let next = || receiver.try_recv().as_ref().map(told).ok();
        tasks.put_many(&mut [Task::default(), Task::default(), Task::default()]).unwrap();
        assert_eq!(next(), Some((vec![1, 2, 3], vec![], vec![])));
        tasks.update(2, |task| task.done = true).unwrap();
        assert_eq!(next(), Some((vec![], vec![2], vec![])));
        tasks.update(2, |task| task.done = true).unwrap();
        tasks.remove(9).unwrap();
        store.write(|_| Ok(())).unwrap();
        store
            .write(|tx| tx.put(&mut Task::default()).and(Err::<(), _>(StoreError::application("no"))))
            .unwrap_err();
        assert_eq!(next(), None, "nothing changed");
        store
            .write(|tx| {
                let passing = tx.put(&mut Task::default())?;
                tx.update(passing, |task: &mut Task| task.done = true)?;
                tx.remove::<Task>(passing)?;
                tx.update(3, |task: &mut Task| task.rank = 1)?;
                tx.update(1, |task: &mut Task| task.rank = 1)?;
                tx.remove::<Task>(1)?;
                tx.put(&mut Log::default())?;
                tx.put(&mut Task::default())
            })
            .unwrap();
        let changes = receiver.try_recv().unwrap();
        assert_eq!(told(&changes), (vec![6], vec![3], vec![1]));
        assert_eq!(changes.of("Log").unwrap().inserted, [1]);
        assert_eq!((changes.entities.len(), changes.of("Nothing")), (2, None));
    });
}

#[test]
fn a_box_is_told_of_its_own_objects() {
    on_both(|directory| {
        let store = open(directory);
        let (sender, receiver) = mpsc::channel();
        let subscription =
            tasks(&store).observe(move |changes| sender.send(changes.inserted.clone()).unwrap());
        store.boxed::<Log>().unwrap().put(&mut Log::default()).unwrap();
        tasks(&store).put(&mut Task::default()).unwrap();
        drop(subscription);
        tasks(&store).put(&mut Task::default()).unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [[1]]);
    });
}

#[test]
fn an_observer_may_read_and_write() {
    on_both(|directory| {
        let store = open(directory);
        let (tasks, logs) = (tasks(&store), store.boxed::<Log>().unwrap());
        let order = Arc::new(Mutex::new(Vec::new()));
        let (seen, writer) = (order.clone(), store.clone());
        let _writes = store.observe(move |changes| {
            if let Some(tasks) = changes.of("Task") {
                seen.lock().unwrap().push("tasks");
                let ids = tasks.inserted.iter().map(|&id| id as i64).collect();
                writer.boxed::<Log>().unwrap().put(&mut Log { id: 0, tasks: ids }).unwrap();
                // What it wrote is stored by now, and told after this commit was told to all.
                assert!(!writer.boxed::<Log>().unwrap().is_empty().unwrap());
                seen.lock().unwrap().push("tasks end");
            }
        });
        let seen = order.clone();
        let _reads = store.observe(move |changes| {
            seen.lock().unwrap().push(if changes.of("Log").is_some() {
                "second: logs"
            } else {
                "second: tasks"
            });
        });
        tasks.put(&mut Task::default()).unwrap();
        assert_eq!(*order.lock().unwrap(), ["tasks", "tasks end", "second: tasks", "second: logs"]);
        assert_eq!(logs.all().unwrap()[0].tasks, [1]);
    });
}

#[test]
fn a_chain_of_writes_ends_in_order() {
    on_both(|directory| {
        let store = open(directory);
        let (tasks, ranks) = (tasks(&store), Arc::new(Mutex::new(Vec::new())));
        let (chained, seen) = (tasks.clone(), ranks.clone());
        let _subscription = tasks.observe(move |_| {
            let rank = chained.get(1).unwrap().unwrap().rank;
            seen.lock().unwrap().push(rank);
            if rank < 500 {
                chained.update(1, |task| task.rank += 1).unwrap();
            }
        });
        tasks.put(&mut Task::default()).unwrap();
        assert!(ranks.lock().unwrap().iter().copied().eq(0..=500), "without growing the stack");
    });
}

#[test]
fn a_panic_reaches_the_committing_thread_and_nobody_else() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let told = Arc::new(AtomicUsize::new(0));
        let panicking = store.observe(|changes| {
            if changes.of("Task").is_some_and(|tasks| tasks.inserted == [1]) {
                panic!("in the observer");
            }
        });
        let counter = told.clone();
        let _counting = store.observe(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let panic = catch_unwind(AssertUnwindSafe(|| tasks.put(&mut Task::default()))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"in the observer"));
        assert_eq!(
            (tasks.count().unwrap(), told.load(Ordering::Relaxed)),
            (1, 1),
            "the commit stays and is told"
        );
        tasks.put(&mut Task::default()).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 2);
        drop(panicking);
        tasks.put(&mut Task::default()).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn an_observer_may_end_itself_and_others() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let told = Arc::new(AtomicUsize::new(0));
        let own: Arc<Mutex<Option<Subscription>>> = Arc::default();
        let other: Arc<Mutex<Option<Subscription>>> = Arc::default();
        let (counter, mine, others) = (told.clone(), own.clone(), other.clone());
        *own.lock().unwrap() = Some(store.observe(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            drop(mine.lock().unwrap().take());
            drop(others.lock().unwrap().take());
        }));
        let counter = told.clone();
        *other.lock().unwrap() = Some(store.observe(move |_| {
            counter.fetch_add(100, Ordering::Relaxed);
        }));
        tasks.put(&mut Task::default()).unwrap();
        tasks.put(&mut Task::default()).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_subscription_may_own_another_and_whatever_uses_the_store_at_its_end() {
    struct WritesAtItsEnd(EntityBox<Task>);
    impl Drop for WritesAtItsEnd {
        fn drop(&mut self) {
            self.0.put(&mut Task::default()).unwrap();
        }
    }
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let inner = store.observe(|_| ());
        let at_end = WritesAtItsEnd(tasks.clone());
        let outer = store.observe(move |_| {
            let _held = (&inner, &at_end);
        });
        tasks.put(&mut Task::default()).unwrap();
        drop(outer);
        assert_eq!(tasks.count().unwrap(), 2);
    });
}

#[test]
fn commits_of_many_threads_are_told_one_at_a_time_and_in_order() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = tasks(&store);
        let (seen, running) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (ids, alone) = (seen.clone(), running.clone());
        let _subscription = tasks.observe(move |changes| {
            assert_eq!(alone.fetch_add(1, Ordering::SeqCst), 0);
            ids.lock().unwrap().extend_from_slice(&changes.inserted);
            std::thread::yield_now();
            alone.fetch_sub(1, Ordering::SeqCst);
        });
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| (0..50).for_each(|_| assert_ne!(tasks.put(&mut Task::default()).unwrap(), 0)));
                scope.spawn(|| (0..20).for_each(|_| drop(store.observe(|_| ()))));
            }
        });
        // The last to commit may have left the telling to a thread that has ended since: all of it is told by now.
        assert!(seen.lock().unwrap().iter().copied().eq(1..=300));
    });
}

#[test]
fn commits_behind_a_stuck_observer_are_told_together() {
    let store = open(Path::new("memory:"));
    let tasks = tasks(&store);
    let (entered, wait_entered) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel::<()>();
    let wait_go_on = Mutex::new(wait_go_on);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ids = seen.clone();
    let _subscription = tasks.observe(move |changes| {
        ids.lock().unwrap().push(changes.inserted.clone());
        if changes.inserted == [1] {
            entered.send(()).unwrap();
            wait_go_on.lock().unwrap().recv().unwrap();
        }
    });
    std::thread::scope(|scope| {
        scope.spawn(|| tasks.put(&mut Task::default()).unwrap());
        wait_entered.recv().unwrap();
        for _ in 0..2000 {
            tasks.put(&mut Task::default()).unwrap();
        }
        go_on.send(()).unwrap();
    });
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 1000 && seen.len() < 2000, "{} calls", seen.len());
    assert!(seen.iter().flatten().copied().eq(1..=2001));
}

#[test]
fn a_subscription_keeps_the_store_open_and_lets_it_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let subscription = store.observe(|_| ());
    drop(store);
    let again = open(directory.path());
    assert!(again.is_same(&open(directory.path())));
    drop(subscription);
    drop(again);
    open(directory.path());
}
