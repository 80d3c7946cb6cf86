//! Writes that do not wait for the disk: many small ones share a commit, and each tells when it is durable.

mod group;
mod outcomes;
mod queue;
mod run;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use reconvene_model::ObjectId;

use self::outcomes::Outcomes;
use self::queue::{Refused, WorkQueue};
use self::run::{Closure, Outcome, Puts, QueuedRun, Run, Writes};
use crate::boxes::EntityBox;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::seam::SeamError;
use crate::store::{Inner, Store};
use crate::structs::Put;
use crate::txn::{self, WriteTxn};

/// How many writes may be queued in a store; as many again may be in the commit that is under way.
///
/// Whoever queues another one then waits until that commit is done.
pub const QUEUED_WRITES_MAX: usize = 16 * 1024;

/// The queue of a store.
pub(crate) type WriteQueue = WorkQueue<Box<dyn QueuedRun>>;

/// Writes in the order in which they were queued, those of one kind in runs.
type Runs = VecDeque<Box<dyn QueuedRun>>;

/// Makes the queue of a store.
pub(crate) fn new() -> Arc<WriteQueue> {
    WorkQueue::new(QUEUED_WRITES_MAX)
}

/// A write that was queued: a future, or something to [`wait`](PendingWrite::wait) for, of what it returns.
///
/// It is ready once the write is committed, and durable as far as the store's [`Durability`](crate::Durability) promises.
/// Dropping it takes nothing back: the write happens, but nobody hears whether it failed.
#[must_use = "without it nobody hears whether the write failed"]
pub struct PendingWrite<R> {
    /// Of the writes that were queued with it, and which of them it is.
    outcomes: Arc<Outcomes<Outcome<R>>>,
    at: usize,
    /// The store, by its address.
    store: usize,
}

impl<R> PendingWrite<R> {
    /// Blocks until the write is durable; what it returned.
    ///
    /// # Errors
    ///
    /// Those of the write itself; [`StoreError::Panicked`] if its closure panicked; [`StoreError::GroupNotCommitted`] if the
    /// commit that it was part of failed; [`StoreError::WriteQueueFull`]; and [`StoreError::WaitInWrite`], if this thread is
    /// inside a write transaction of the store, so that the queued write can only follow: it still happens.
    pub fn wait(self) -> Result<R> {
        let is_inside = txn::is_writing(self.store) || group::is_committer(self.store);
        if is_inside && !self.outcomes.is_settled(self.at) {
            return Err(StoreError::WaitInWrite);
        }
        known(self.outcomes.wait(self.at))
    }

    /// Whether it is known by now what became of the write, so that [`wait`](PendingWrite::wait) does not block.
    pub fn is_settled(&self) -> bool {
        self.outcomes.is_settled(self.at)
    }
}

impl<R> Future for PendingWrite<R> {
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        self.outcomes.poll(self.at, context).map(known)
    }
}

impl<R> fmt::Debug for PendingWrite<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingWrite").field("settled", &self.is_settled()).finish()
    }
}

fn known<R>(outcome: Option<Outcome<R>>) -> Result<R> {
    let twice = || StoreError::internal("a queued write is settled once, and polled no more after that");
    outcome.ok_or_else(twice)?.map_err(|error| *error)
}

impl Store {
    /// Queues a write and returns at once; the store runs it on a thread of its own and commits it together with others that
    /// wait, which is far cheaper than a commit for each.
    ///
    /// Queued writes run in the order in which they were queued, each after all that was committed before it. One that returns
    /// an error leaves nothing behind and does not touch the others. What a server judges stays apart as well: to sync, each
    /// is a transaction of its own.
    ///
    /// The closure may be run again, onto the state of before, when another write of its group fails half-way; so it should do
    /// nothing but write. A panic in it becomes an error of this write alone.
    ///
    /// When [`QUEUED_WRITES_MAX`] writes are queued, the call waits for the commit that is under way; where it must not, since
    /// this thread is inside a write transaction of the store, the write is refused with [`StoreError::WriteQueueFull`].
    ///
    /// Dropping the last handle of the store waits until everything queued is committed. Should the process end without that,
    /// what no [`PendingWrite`] has confirmed may be lost.
    ///
    /// ```
    /// # use reconvene_store::{Entity, Store};
    /// # #[derive(Entity, Default)] #[entity(crate = "reconvene_store")] struct Task { id: u64, done: bool }
    /// let store = Store::builder("memory:").entity::<Task>().open()?;
    /// let both = store.write_async(|tx| Ok([tx.put(&mut Task::default())?, tx.put(&mut Task::default())?]));
    /// assert_eq!(both.wait()?, [1, 2]);
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    pub fn write_async<R: Send + 'static>(
        &self,
        write: impl FnMut(&mut WriteTxn<'_>) -> Result<R> + Send + 'static,
    ) -> PendingWrite<R> {
        queue(self, |runs| add(runs, Run::new(Closure(write))))
    }
}

/// Queues a write, which `add` adds to the runs.
fn queue<R: Send + 'static>(
    store: &Store,
    add: impl FnOnce(&mut Runs) -> (Arc<Outcomes<Outcome<R>>>, usize),
) -> PendingWrite<R> {
    let inner = store.inner();
    let store = Arc::as_ptr(inner).addr();
    let may_wait = !txn::is_writing(store) && !group::is_committer(store);
    let committer = || {
        let inner = Arc::downgrade(inner);
        move |runs| commit(&inner, runs)
    };
    let (outcomes, at) = inner.write_queue.push(may_wait, committer, add).unwrap_or_else(|refused| {
        let error = match refused {
            Refused::Full => StoreError::WriteQueueFull { max: QUEUED_WRITES_MAX },
            Refused::NoThread(error) => {
                SeamError::io("starting the thread that commits queued writes", error).into()
            }
        };
        (Outcomes::of(Err(Box::new(error))), 0)
    });
    PendingWrite { outcomes, at, store }
}

/// Adds a run of one write.
fn add<W: Writes>(runs: &mut Runs, run: Run<W>) -> (Arc<Outcomes<Outcome<W::Returned>>>, usize) {
    let last = run.last();
    runs.push_back(Box::new(run));
    last
}

/// Commits what was queued; the store is open, as its last handle waits for that.
fn commit(inner: &Weak<Inner>, runs: Runs) {
    if let Some(inner) = inner.upgrade() {
        group::commit(&inner, runs);
    }
}

impl<T: Entity> EntityBox<T> {
    /// Queues an object to be put and returns at once; the result is its id, once it is durable. See [`Store::write_async`].
    ///
    /// ```
    /// # use reconvene_store::{Entity, Store};
    /// # #[derive(Entity, Default)] #[entity(crate = "reconvene_store")] struct Reading { id: u64, celsius: f64 }
    /// # let store = Store::builder("memory:").entity::<Reading>().open()?;
    /// let readings = store.boxed::<Reading>()?;
    /// let pending: Vec<_> =
    ///     (0..1000).map(|at| readings.put_async(Reading { id: 0, celsius: f64::from(at) / 10.0 })).collect();
    /// for (at, pending) in pending.into_iter().enumerate() {
    ///     assert_eq!(pending.wait()?, at as u64 + 1);
    /// }
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    pub fn put_async<P: Put<T> + Send + 'static>(&self, object: P) -> PendingWrite<ObjectId> {
        queue(self.store(), |runs| {
            let run = runs.back_mut().and_then(|run| run.as_any().downcast_mut::<Run<Puts<T, P>>>());
            match run.filter(|run| run.has_room()) {
                Some(run) => {
                    run.push(object);
                    run.last()
                }
                None => add(runs, Run::put(self.of().clone(), object)),
            }
        })
    }

    /// Queues the removal of an object and returns at once; the result is whether it was there. See [`Store::write_async`].
    pub fn remove_async(&self, id: ObjectId) -> PendingWrite<bool> {
        let of = self.of().clone();
        self.store().write_async(move |tx| tx.remove_object(&of.entity, id))
    }
}
