//! Queued writes: they fare as they would one by one, whatever shares their commit.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use proptest::prelude::*;
use reconvene_store::{
    Entity, EntityBox, PendingWrite, QUEUED_WRITES_MAX, Result, SeamError, Store, StoreError, WriteTxn,
};
use support::{builder, on_both, outbox};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Person {
    id: u64,
    #[unique]
    mail: String,
    #[index]
    age: i32,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    title: String,
}

fn open(directory: &Path) -> Store {
    builder(directory).entity::<Person>().entity::<Task>().open().unwrap()
}

fn people(store: &Store) -> EntityBox<Person> {
    store.boxed().unwrap()
}

fn person(mail: &str) -> Person {
    Person { mail: mail.to_owned(), ..Person::default() }
}

/// Queues something while nothing of it can be committed, so that all of it shares a commit.
fn together<R>(store: &Store, queue: impl FnOnce() -> R + Send) -> R
where
    R: Send,
{
    let first = store.write_async(|_| Ok(()));
    first.wait().unwrap();
    store
        .write(|_| {
            // On another thread: this one is inside a write.
            let queued = thread::scope(|scope| {
                scope
                    .spawn(|| {
                        // The thread that commits takes this one by itself and waits for its turn with it.
                        drop(store.write_async(|_| Ok(())));
                        queue()
                    })
                    .join()
            });
            Ok(queued.unwrap())
        })
        .unwrap()
}

#[test]
fn results_come_in_order_and_observers_see_commits() {
    on_both(|directory| {
        let store = open(directory);
        let people = people(&store);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = seen.clone();
        let _subscription = people.observe(move |changes| all.lock().unwrap().push(changes.inserted.clone()));
        let pending = together(&store, || {
            (0..100).map(|at| people.put_async(person(&at.to_string()))).collect::<Vec<_>>()
        });
        let ids: Vec<u64> = pending.into_iter().map(|pending| pending.wait().unwrap()).collect();
        assert!(ids.iter().copied().eq(1..=100));
        assert!(people.remove_async(7).wait().unwrap());
        assert!(!people.remove_async(7).wait().unwrap());
        assert_eq!(people.count().unwrap(), 99);
        let seen = seen.lock().unwrap();
        assert!(seen.iter().flatten().copied().eq(1..=100));
        assert!(seen.len() <= 3, "{} commits", seen.len());
    });
}

#[test]
fn an_error_of_one_is_the_error_of_one() {
    on_both(|directory| {
        let store = open(directory);
        let people = people(&store);
        let pending = together(&store, || ["a", "b", "a", "c"].map(|mail| people.put_async(person(mail))));
        let [a, b, again, c] = pending.map(PendingWrite::wait);
        let (a, _, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        match again.unwrap_err() {
            StoreError::UniqueViolation { other, .. } => assert_eq!(other, a),
            other => panic!("{other}"),
        }
        assert_eq!(people.get(c).unwrap().unwrap().mail, "c");
        assert_eq!(people.count().unwrap(), 3);
        let missing = Person { id: 99, ..person("d") };
        assert!(matches!(people.put_async(missing).wait(), Err(StoreError::NotFound { .. })));
    });
}

#[test]
fn what_fails_half_way_or_panics_is_undone_alone() {
    on_both(|directory| {
        let store = open(directory);
        let people = people(&store);
        let runs = Arc::new(AtomicUsize::new(0));
        let (before, failed, middle, panicked, after) = together(&store, || {
            let counted = runs.clone();
            let before = people.put_async(person("before"));
            let failed = store.write_async(move |tx| {
                counted.fetch_add(1, Ordering::Relaxed);
                tx.put(&mut person("half"))?;
                Err::<(), _>(StoreError::application("half-way"))
            });
            let middle = people.put_async(person("middle"));
            let panicked = store.write_async(|tx| -> Result<()> {
                tx.put(&mut person("panic"))?;
                panic!("on purpose")
            });
            (before, failed, middle, panicked, people.put_async(person("half")))
        });
        before.wait().unwrap();
        assert_eq!(failed.wait().unwrap_err().to_string(), "half-way");
        middle.wait().unwrap();
        let panicked = panicked.wait().unwrap_err();
        assert!(matches!(&panicked, StoreError::Panicked { what } if what == "on purpose"), "{panicked}");
        after.wait().unwrap();
        let mails: Vec<String> =
            people.all().unwrap().into_iter().map(|person| person.mail.clone()).collect();
        assert_eq!(mails, ["before", "middle", "half"]);
        assert_eq!(runs.load(Ordering::Relaxed), 1, "a failed write is not tried again");
    });
}

#[test]
fn to_sync_each_is_a_transaction_of_its_own() {
    on_both(|directory| {
        let store = open(directory);
        let tasks = store.boxed::<Task>().unwrap();
        let pending = together(&store, || {
            let put = |title: &str| tasks.put_async(Task { id: 0, title: title.to_owned() });
            let half = |tx: &mut WriteTxn<'_>| {
                tx.put(&mut Task::default())?;
                Err::<u64, _>(StoreError::application("no"))
            };
            [put("a"), store.write_async(half), put("b"), put("c")]
        });
        let results = pending.map(|pending| pending.wait().is_ok());
        assert_eq!(results, [true, false, true, true]);
        let txs = outbox(&store);
        let shape: Vec<_> = txs.iter().map(|(head, ops)| (head.number, ops.len())).collect();
        assert_eq!(shape, [(1, 1), (2, 1), (3, 1)]);
        assert!(txs.windows(2).all(|two| two[0].0.hlc < two[1].0.hlc), "a stamp for each");
    });
}

#[test]
fn dropping_the_store_writes_what_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let store = open(directory.path());
        let people = people(&store);
        for at in 0..500 {
            drop(people.put_async(person(&format!("{round} {at}"))));
        }
        drop(store);
        drop(people);
        assert_eq!(open(directory.path()).boxed::<Person>().unwrap().count().unwrap(), round * 500);
    }
}

#[test]
fn the_last_handle_may_end_on_the_thread_that_commits() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let held = Mutex::new(Some(store.clone()));
    let (dropped, wait_dropped) = mpsc::channel::<()>();
    let (go_on, wait_go_on) = mpsc::channel::<()>();
    let pending = store.write_async(move |tx| {
        wait_go_on.recv().ok();
        drop(held.lock().unwrap().take());
        let _until_the_end = &dropped;
        tx.put(&mut person("last"))
    });
    // Under a name of its own, so that the store's last handle is the one in the closure.
    let ended = thread::spawn(move || drop(store));
    go_on.send(()).unwrap();
    assert_eq!(pending.wait().unwrap(), 1);
    ended.join().unwrap();
    assert!(wait_dropped.recv().is_err(), "the closure was dropped");
    assert_eq!(people(&open(directory.path())).count().unwrap(), 1);
}

#[test]
fn a_full_queue_holds_up_whoever_can_wait() {
    let store = open(Path::new("memory:"));
    let people = people(&store);
    let blocked = AtomicBool::new(true);
    let started = Barrier::new(2);
    thread::scope(|scope| {
        let pusher = store
            .write(|_| {
                let pusher = scope.spawn(|| {
                    drop(store.write_async(|_| Ok(())));
                    // One batch may be in the hands of the thread, another one in the queue.
                    for _ in 0..QUEUED_WRITES_MAX {
                        drop(store.write_async(|_| Ok(())));
                    }
                    started.wait();
                    for _ in 0..=QUEUED_WRITES_MAX {
                        drop(store.write_async(|_| Ok(())));
                    }
                    blocked.store(false, Ordering::SeqCst);
                });
                started.wait();
                // In here nobody can wait for room: what does not fit is refused.
                let queued = (0..=2 * QUEUED_WRITES_MAX).map(|_| people.put_async(person("never")));
                let refused = queued.filter(PendingWrite::is_settled).collect::<Vec<_>>().pop().unwrap();
                assert!(matches!(refused.wait(), Err(StoreError::WriteQueueFull { max: QUEUED_WRITES_MAX })));
                assert!(blocked.load(Ordering::SeqCst));
                Ok(pusher)
            })
            .unwrap();
        pusher.join().unwrap();
    });
    store.write_async(|_| Ok(())).wait().unwrap();
    assert!(!blocked.load(Ordering::SeqCst));
}

#[test]
fn waiting_inside_a_write_is_an_error_and_not_a_deadlock() {
    on_both(|directory| {
        let store = open(directory);
        let people = people(&store);
        store
            .write(|tx| {
                let pending = people.put_async(person("later"));
                assert!(matches!(pending.wait(), Err(StoreError::WaitInWrite)));
                tx.put(&mut person("now"))
            })
            .unwrap();
        let inside = people.clone();
        let pending = store.write_async(move |_| {
            Ok(matches!(inside.put_async(person("last")).wait(), Err(StoreError::WaitInWrite)))
        });
        assert!(pending.wait().unwrap());
        store.write_async(|_| Ok(())).wait().unwrap();
        let mails: Vec<String> =
            people.all().unwrap().into_iter().map(|person| person.mail.clone()).collect();
        assert_eq!(mails, ["now", "later", "last"]);
    });
}

#[test]
fn a_future_wakes_its_task() {
    struct Unpark(thread::Thread, AtomicUsize);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.unpark();
        }
    }
    let store = open(Path::new("memory:"));
    let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(unpark.clone());
    let mut context = Context::from_waker(&waker);
    let (go_on, wait_go_on) = mpsc::channel::<()>();
    let mut future = pin!(store.write_async(move |tx| {
        wait_go_on.recv().ok();
        tx.put(&mut person("a"))
    }));
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert!(future.as_mut().poll(&mut context).is_pending());
    go_on.send(()).unwrap();
    let id = loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(id) => break id.unwrap(),
            Poll::Pending => thread::park(),
        }
    };
    assert_eq!((id, unpark.1.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn panics_of_observers_and_wakers_do_not_end_the_thread() {
    struct Panicking;
    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    on_both(|directory| {
        let store = open(directory);
        let people = people(&store);
        let observed = people.observe(|_| panic!("in an observer"));
        let (go_on, wait_go_on) = mpsc::channel::<()>();
        let mut future = pin!(store.write_async(move |tx| {
            wait_go_on.recv().ok();
            tx.put(&mut person("a"))
        }));
        let waker = Waker::from(Arc::new(Panicking));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        go_on.send(()).unwrap();
        assert_eq!(people.put_async(person("b")).wait().unwrap(), 2);
        drop(observed);
        assert_eq!(people.put_async(person("c")).wait().unwrap(), 3);
    });
}

#[test]
fn what_fits_into_a_full_store_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = builder(directory.path()).entity::<Person>().map_bytes_max(512 * 1024).open().unwrap();
    let people = people(&store);
    let pending = together(&store, || {
        (0..100)
            .map(|at| people.put_async(person(&format!("{at}{}", "x".repeat(16 * 1024)))))
            .collect::<Vec<_>>()
    });
    let results: Vec<Result<u64>> = pending.into_iter().map(PendingWrite::wait).collect();
    let kept = results.iter().filter(|result| result.is_ok()).count();
    assert!((10..40).contains(&kept), "{kept} of 100 were kept");
    assert_eq!(people.count().unwrap(), kept as u64);
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        let StoreError::GroupNotCommitted(why) = refused else { panic!("{refused}") };
        assert!(matches!(**why, StoreError::Engine(SeamError::MapFull { .. })), "{why}");
    }
    people.remove_all().unwrap();
    people.put_async(person("again")).wait().unwrap();
}

#[test]
fn many_threads_queue_at_once() {
    on_both(|directory| {
        let store = open(directory);
        let people = people(&store);
        thread::scope(|scope| {
            for thread in 0..4 {
                let people = people.clone();
                scope.spawn(move || {
                    let pending: Vec<_> = (0..200)
                        .map(|at| people.put_async(Person { age: at, ..person(&format!("{thread} {at}")) }))
                        .collect();
                    let ids: Vec<u64> = pending.into_iter().map(|pending| pending.wait().unwrap()).collect();
                    assert!(ids.is_sorted(), "what one thread queues stays in order");
                });
            }
        });
        assert_eq!(people.count().unwrap(), 800);
        assert_eq!(people.query(Person::age().eq(7)).count().unwrap(), 4);
    });
}

/// A write of the random test.
#[derive(Clone, Debug)]
enum Step {
    Put { id: u64, mail: u8 },
    Remove { id: u64 },
    PutThenFail { mail: u8 },
    PutThenPanic { mail: u8 },
    RenameAll { mail: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..9_u64, 0..8_u8).prop_map(|(id, mail)| Step::Put { id: id.saturating_sub(4), mail }),
        2 => (1..5_u64).prop_map(|id| Step::Remove { id }),
        1 => (0..8_u8).prop_map(|mail| Step::PutThenFail { mail }),
        1 => (0..8_u8).prop_map(|mail| Step::PutThenPanic { mail }),
        1 => (0..8_u8).prop_map(|mail| Step::RenameAll { mail }),
    ]
}

fn run(step: &Step, tx: &mut WriteTxn<'_>) -> Result<bool> {
    let named = |id: u64, mail: u8| Person { id, age: mail.into(), ..person(&mail.to_string()) };
    match *step {
        Step::Put { id, mail } => tx.put(&mut named(id, mail)).map(|_| true),
        Step::Remove { id } => tx.remove::<Person>(id),
        Step::PutThenFail { mail } => {
            tx.put(&mut named(0, mail))?;
            Err(StoreError::application("no"))
        }
        Step::PutThenPanic { mail } => {
            tx.put(&mut named(0, mail))?;
            std::panic::resume_unwind(Box::new("on purpose"))
        }
        Step::RenameAll { mail } => {
            // The second one violates uniqueness after the first one was written.
            for id in tx.all::<Person>()?.into_iter().map(|person| person.id).collect::<Vec<_>>() {
                tx.update(id, |person: &mut Person| person.mail = mail.to_string())?;
            }
            Ok(true)
        }
    }
}

/// What was said of a step, and the mails and ages in order of id: ids themselves have gaps where something was run again.
type Fared = (Vec<Option<bool>>, Vec<(String, i32)>);

fn contents(store: &Store) -> Vec<(String, i32)> {
    people(store).all().unwrap().into_iter().map(|person| (person.mail.clone(), person.age)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_group_fares_as_its_writes_would_one_by_one(steps in proptest::collection::vec(step(), 1..24)) {
        // Only explicit ids that no gap moves: they are put first.
        let prepare = |store: &Store| {
            people(store).put_many(&mut (0..4).map(|at| person(&format!("first {at}"))).collect::<Vec<_>>()).unwrap();
        };
        let one_by_one = |store: &Store| -> Fared {
            prepare(store);
            let said = steps.iter().map(|step| {
                let run = std::panic::AssertUnwindSafe(|| store.write(|tx| run(step, tx)));
                std::panic::catch_unwind(run).ok().and_then(Result::ok)
            });
            (said.collect(), contents(store))
        };
        let grouped = |store: &Store| -> Fared {
            prepare(store);
            let pending = together(store, || {
                let queued = steps.iter().cloned().map(|step| store.write_async(move |tx| run(&step, tx)));
                queued.collect::<Vec<_>>()
            });
            (pending.into_iter().map(|pending| pending.wait().ok()).collect(), contents(store))
        };
        on_both(|directory| {
            let alone = one_by_one(&open(Path::new("memory:")));
            assert_eq!(grouped(&open(directory)), alone);
        });
    }
}
