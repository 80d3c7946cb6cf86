//! The store's own locks, queues and counters under loom, which tries every order in which threads can go on, and every value
//! that a read may see by the memory model. A thread that is never woken is found as a deadlock.
//!
//! The modules are those of the store, compiled here once more with the primitives of loom. Orders with more than a few
//! preemptions are left out, so that all of it takes seconds.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]
#![allow(dead_code, unreachable_pub, reason = "the modules are whole, each test uses its part")]

#[path = "../src/seam/gate.rs"]
mod gate;
#[path = "../src/seam/idle.rs"]
mod idle;
#[path = "../src/in_order.rs"]
mod in_order;
#[path = "../src/live/mailbox.rs"]
mod mailbox;
#[path = "../src/write_queue/outcomes.rs"]
mod outcomes;
#[path = "../src/write_queue/queue.rs"]
mod queue;
mod primitives {
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread;
}

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use gate::Gate;
use idle::IdleSnapshots;
use in_order::InOrder;
use mailbox::Mailbox;
use outcomes::Settling;
use queue::{Refused, WorkQueue};

/// Tries every order with up to so many preemptions.
fn every_order(preemptions_max: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(model);
}

/// Notes that it was woken.
struct Woken(loom::sync::Mutex<bool>, loom::sync::Condvar);

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Woken(loom::sync::Mutex::new(false), loom::sync::Condvar::new()))
    }

    fn wait(&self) {
        let mut woken = self.0.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = self.1.wait(woken).unwrap();
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

/// Polls until it is ready, as a runtime with one task does.
fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let woken = Woken::new();
    let waker = Waker::from(woken.clone());
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => woken.wait(),
        }
    }
}

#[test]
fn nobody_is_inside_a_closed_gate_and_everybody_gets_in_later() {
    every_order(2, || {
        let shared = Arc::new((Gate::default(), AtomicBool::new(false)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let _pass = shared.0.pass();
                    assert!(!shared.1.load(Ordering::Relaxed), "a reader is inside a closed gate");
                })
            })
            .collect();
        let closed = shared.0.close(Duration::from_secs(600)).unwrap();
        shared.1.store(true, Ordering::Relaxed);
        thread::yield_now();
        shared.1.store(false, Ordering::Relaxed);
        drop(closed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_snapshot_that_is_taken_shows_every_commit_that_ended_before() {
    every_order(3, || {
        let shared = Arc::new((IdleSnapshots::<usize>::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let committer = shared.clone();
        let committer = thread::spawn(move || {
            let (idle, last, ended) = &*committer;
            for commit in 1..=2 {
                last.store(commit, Ordering::Release);
                idle.clear();
                ended.store(commit, Ordering::Release);
            }
        });
        let (idle, last, ended) = &*shared;
        for _ in 0..2 {
            let before = ended.load(Ordering::Acquire);
            let is_last = |snapshot: &usize| *snapshot == last.load(Ordering::Acquire);
            let snapshot = idle.take(is_last).unwrap_or_else(|| last.load(Ordering::Acquire));
            assert!(snapshot >= before, "it shows commit {snapshot} where {before} had ended");
            idle.give_back(snapshot, is_last);
        }
        committer.join().unwrap();
        // Nothing that the last commit has superseded is kept.
        assert!(idle.take(|_| true).is_none_or(|snapshot| snapshot == 2));
    });
}

#[test]
fn what_is_queued_is_told_once_in_order_and_by_one_at_a_time() {
    every_order(3, || {
        struct Shared {
            queue: InOrder<usize>,
            /// The turn as the writer: items are numbered and queued in one order.
            turn: loom::sync::Mutex<usize>,
            telling: AtomicBool,
            told: loom::sync::Mutex<Vec<usize>>,
        }
        let shared = Arc::new(Shared {
            queue: InOrder::new(),
            turn: loom::sync::Mutex::new(0),
            telling: AtomicBool::new(false),
            told: loom::sync::Mutex::new(Vec::new()),
        });
        let run = |shared: &Shared| {
            {
                let mut turn = shared.turn.lock().unwrap();
                *turn += 1;
                assert!(shared.queue.push(*turn, 9, |_, _| ()).is_none());
            }
            shared.queue.tell(|item| {
                assert!(!shared.telling.swap(true, Ordering::Relaxed));
                shared.told.lock().unwrap().push(item);
                shared.telling.store(false, Ordering::Relaxed);
            });
        };
        let other = shared.clone();
        let other = thread::spawn(move || {
            run(&other);
            run(&other);
        });
        run(&shared);
        other.join().unwrap();
        assert_eq!(*shared.told.lock().unwrap(), [1, 2, 3], "all is told once nobody is at it");
    });
}

#[test]
fn who_waits_for_an_outcome_gets_it() {
    every_order(3, || {
        let settling = Settling::new();
        let outcomes = settling.outcomes();
        let (blocked, polled) = (outcomes.clone(), outcomes.clone());
        let blocked = thread::spawn(move || blocked.wait(1));
        let polled = thread::spawn(move || block_on(|context| polled.poll(0, context)));
        settling.settle(vec![Some("a")]);
        settling.settle(vec![Some("b")]);
        drop(settling);
        assert_eq!((polled.join().unwrap(), blocked.join().unwrap()), (Some("a"), Some("b")));
        assert_eq!(outcomes.wait(2), None, "there is no third");
    });
}

#[test]
fn who_waits_for_an_outcome_that_never_comes_is_told() {
    every_order(3, || {
        let settling = Settling::<()>::new();
        let (blocked, polled) = (settling.outcomes(), settling.outcomes());
        let blocked = thread::spawn(move || blocked.wait(0));
        let polled = thread::spawn(move || block_on(|context| polled.poll(0, context)));
        drop(settling);
        assert_eq!((polled.join().unwrap(), blocked.join().unwrap()), (None, None));
    });
}

#[test]
fn what_is_posted_is_taken_before_the_end() {
    for polled in [false, true] {
        every_order(3, move || {
            let mailbox = Arc::new(Mailbox::<Vec<usize>>::new());
            let receiver = mailbox.clone();
            let receiver = thread::spawn(move || {
                let mut all = Vec::new();
                let next = || match polled {
                    true => block_on(|context| receiver.poll(context)),
                    false => receiver.wait(),
                };
                while let Some(posted) = next() {
                    all.extend(posted);
                }
                all
            });
            for number in 0..2 {
                mailbox.post(|posted| {
                    posted.push(number);
                    true
                });
            }
            mailbox.end();
            assert_eq!(receiver.join().unwrap(), [0, 1]);
        });
    }
}

/// Queues a number.
fn push(queue: &Arc<WorkQueue<usize>>, done: &Arc<loom::sync::Mutex<Vec<usize>>>, number: usize) {
    let done = done.clone();
    let start = || move |batch: VecDeque<usize>| done.lock().unwrap().extend(batch);
    assert!(queue.push(true, start, |items| items.push_back(number)).is_ok());
}

#[test]
fn all_that_is_queued_is_done_before_the_queue_is_closed() {
    every_order(2, || {
        let queue = WorkQueue::new(1);
        let done = Arc::new(loom::sync::Mutex::new(Vec::new()));
        for number in 0..3 {
            // With room for one, the next has to wait now and then.
            push(&queue, &done, number);
        }
        queue.close();
        assert_eq!(*done.lock().unwrap(), [0, 1, 2]);
        // It can be used again.
        push(&queue, &done, 3);
        queue.close();
        assert_eq!(done.lock().unwrap().len(), 4);
    });
}

#[test]
fn threads_that_queue_while_it_is_closed_lose_nothing() {
    every_order(2, || {
        let queue = WorkQueue::new(8);
        let done = Arc::new(loom::sync::Mutex::new(Vec::new()));
        push(&queue, &done, 0);
        let (other, others) = (queue.clone(), done.clone());
        let other = thread::spawn(move || {
            push(&other, &others, 1);
            other.close();
        });
        queue.close();
        other.join().unwrap();
        queue.close();
        assert_eq!(*done.lock().unwrap(), [0, 1]);
    });
}

#[test]
fn a_full_queue_refuses_who_must_not_wait() {
    every_order(2, || {
        let queue = WorkQueue::new(0);
        let start = || |_: VecDeque<()>| ();
        let refused = queue.push(false, start, |items| items.push_back(()));
        assert!(matches!(refused, Err(Refused::Full)));
        queue.close();
    });
}
