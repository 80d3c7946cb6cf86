//! A panic in any closure that the store calls costs what the closure did, and nothing else.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use reconvene_store::{Condition, Entity, EntityBox, Result, Store, StoreError};
use support::{builder, on_both, outbox};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    #[unique]
    title: String,
    #[index]
    rank: i64,
}

fn open(directory: &Path) -> Store {
    builder(directory).entity::<Task>().open().unwrap()
}

fn task(title: &str) -> Task {
    Task { title: title.to_owned(), ..Task::default() }
}

/// Unwinds without the report of a panic, which would fill the tests' output.
fn unwind() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Runs what is to panic.
fn panics<R>(run: impl FnOnce() -> R) {
    let panic = catch_unwind(AssertUnwindSafe(run)).err().expect("it did not panic");
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
}

/// Holds a store with one task to it that it does all that a store does, on this thread and another.
fn works(store: &Store, tasks: &EntityBox<Task>) {
    let all = || tasks.all().unwrap().iter().map(|task| task.title.clone()).collect::<Vec<_>>();
    assert_eq!(all(), ["first"]);
    let sent = outbox(store).len();
    let on_another = thread::scope(|scope| scope.spawn(|| tasks.put(&mut task("second"))).join().unwrap());
    let id = on_another.unwrap();
    tasks.update(id, |task| task.rank = 5).unwrap();
    assert_eq!(tasks.query(Task::rank().eq(5)).count().unwrap(), 1, "indexes are right");
    assert_eq!(tasks.put_async(task("third")).wait().unwrap(), id + 1);
    assert!(matches!(tasks.put(&mut task("first")), Err(StoreError::UniqueViolation { .. })));
    assert_eq!(all(), ["first", "second", "third"]);
    assert_eq!(tasks.query(Task::title().ne("first")).remove().unwrap(), 2);
    assert_eq!(outbox(store).len(), sent + 4, "each write travels");
    assert!(!store.read(|tx| tx.contains::<Task>(id)).unwrap());
}

/// Opens a store with one task, has something panic that is to leave nothing behind, and looks.
fn check(panicking: impl Fn(&Store, &EntityBox<Task>)) {
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        tasks.put(&mut task("first")).unwrap();
        for _ in 0..2 {
            let sent = outbox(&store).len();
            panicking(&store, &tasks);
            assert_eq!(outbox(&store).len(), sent, "nothing of it travels");
            works(&store, &tasks);
        }
        if directory.is_absolute() {
            drop((store, tasks));
            let store = open(directory);
            works(&store, &store.boxed().unwrap());
        }
    });
}

#[test]
fn in_a_read() {
    check(|store, _| {
        panics(|| {
            store.read(|tx| -> Result<()> {
                assert!(tx.get::<Task>(1)?.is_some());
                unwind()
            })
        })
    });
}

#[test]
fn in_a_write_that_wrote() {
    check(|store, _| {
        panics(|| {
            store.write(|tx| -> Result<()> {
                tx.put(&mut task("half"))?;
                tx.update(1, |task: &mut Task| task.title = "changed".into())?;
                tx.remove::<Task>(1)?;
                assert_eq!(tx.query::<Task>(Condition::all())?.count()?, 1);
                unwind()
            })
        })
    });
}

#[test]
fn in_an_update() {
    check(|_, tasks| {
        panics(|| {
            tasks.update(1, |task| {
                task.title = "half".into();
                unwind()
            })
        })
    });
}

#[test]
fn in_an_update_that_the_transaction_survives() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        tasks.put(&mut task("first")).unwrap();
        store
            .write(|tx| {
                panics(|| {
                    tx.update(1, |task: &mut Task| {
                        task.title = "half".into();
                        unwind()
                    })
                });
                tx.put(&mut task("second"))
            })
            .unwrap();
        let titles: Vec<String> = tasks.all().unwrap().iter().map(|task| task.title.clone()).collect();
        assert_eq!(titles, ["first", "second"], "what the application caught is its own affair");
    });
}

#[test]
fn in_a_closure_that_takes_results() {
    check(|store, tasks| {
        let by_name = store.objects("Task").unwrap();
        panics(|| by_name.query_text("rank >= 0").unwrap().for_each(|_| unwind()));
        let ranks = tasks.column(Task::rank()).unwrap();
        panics(|| store.read(|tx| ranks.each(tx, |_, _| unwind())));
    });
}

#[test]
fn in_an_observer() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        tasks.put(&mut task("first")).unwrap();
        let told = Arc::new(AtomicBool::new(false));
        let counts = told.clone();
        let panicking = store.observe(|_| unwind());
        let others = store.observe(move |_| counts.store(true, Ordering::SeqCst));
        panics(|| tasks.update(1, |task| task.rank += 1));
        assert!(told.load(Ordering::SeqCst), "the others are told");
        assert_eq!(tasks.get(1).unwrap().unwrap().rank, 1, "the commit stays");
        drop((panicking, others));
        works(&store, &tasks);
    });
}

#[test]
fn in_a_queued_write() {
    check(|store, _| {
        let panicked = store.write_async(|tx| -> Result<()> {
            tx.put(&mut task("half"))?;
            unwind()
        });
        let refused = panicked.wait().unwrap_err();
        assert!(matches!(&refused, StoreError::Panicked { what } if what == "on purpose"), "{refused}");
    });
}

#[test]
fn in_the_waker_of_a_stream() {
    struct Unwinding;
    impl Wake for Unwinding {
        fn wake(self: Arc<Self>) {
            unwind()
        }
    }
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        let mut changes = tasks.changes();
        let waker = Waker::from(Arc::new(Unwinding));
        let poll = std::pin::Pin::new(&mut changes);
        assert!(futures_core::Stream::poll_next(poll, &mut Context::from_waker(&waker)).is_pending());
        panics(|| tasks.put(&mut task("first")));
        assert_eq!(changes.try_next().unwrap().inserted, [1], "it was told before");
        works(&store, &tasks);
    });
}
