//! Observers: told after a commit what it changed, in the order of commits.
//!
//! A committing thread puts what changed into a queue while it still has its turn as the writer, and empties the queue after
//! that, unless another thread is just doing so. So observers run one at a time, in order, under no lock that a store needs:
//! they may read and write. What they write is told after they return.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reconvene_model::{EntityId, ObjectId};

use crate::catalog::{Catalog, EntityRuntime};
use crate::in_order::InOrder;
use crate::store::Store;

/// How many commits wait for a slow observer one by one; further ones are told together.
const QUEUED_COMMITS_MAX: usize = 1024;

/// How many touches commits that are told together gather before those that no longer matter are forgotten.
const TOUCHED_COMPACT_MIN: usize = 1024;

/// What became of an object in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Inserted,
    Updated,
    Removed,
}

/// The objects that a transaction touched, as it touched them.
#[derive(Default)]
pub(crate) struct ChangeLog {
    /// Objects of one kind with ids in a row are one entry: a bulk load costs no memory for each.
    runs: Vec<ChangeRun>,
}

struct ChangeRun {
    entity: EntityId,
    first: ObjectId,
    last: ObjectId,
    kind: ChangeKind,
}

impl ChangeLog {
    #[inline]
    pub(crate) fn note(&mut self, entity: &EntityRuntime, id: ObjectId, kind: ChangeKind) {
        let entity = entity.def.id;
        match self.runs.last_mut() {
            Some(run) if run.entity == entity && run.kind == kind && run.last.checked_add(1) == Some(id) => {
                run.last = id;
            }
            _ => self.runs.push(ChangeRun { entity, first: id, last: id, kind }),
        }
    }

    /// The objects one by one, as often and in the order as they were touched.
    fn touched(&self) -> impl Iterator<Item = (EntityId, ObjectId, ChangeKind)> + '_ {
        self.runs.iter().flat_map(|run| (run.first..=run.last).map(|id| (run.entity, id, run.kind)))
    }
}

/// What a commit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The entities of which objects changed.
    pub entities: Vec<EntityChanges>,
}

/// What a commit changed of one entity; ids ascend, and each stands in one list at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntityChanges {
    /// The entity's name.
    pub entity: String,
    /// Objects that are new.
    pub inserted: Vec<ObjectId>,
    /// Objects that were there before and still are.
    pub updated: Vec<ObjectId>,
    /// Objects that are gone.
    pub removed: Vec<ObjectId>,
    /// Whether more objects changed than are listed when commits are told together: then the lists are empty, and any object
    /// of the entity may be another. Only a [`ChangeStream`](crate::ChangeStream) says so.
    pub too_many: bool,
}

impl Changes {
    /// What changed of one entity, if anything did.
    pub fn of(&self, entity: &str) -> Option<&EntityChanges> {
        self.entities.iter().find(|changes| changes.entity == entity)
    }
}

type Callback = dyn Fn(&Changes) + Send + Sync;

struct Subscriber {
    /// Cleared when the subscription is dropped, so that no queued commit is told any more.
    active: Arc<AtomicBool>,
    callback: Arc<Callback>,
}

/// The observers of a store.
pub(crate) struct Observers {
    /// Replaced as a whole, so that a queued commit keeps the list of those that were there.
    subscribers: Mutex<Arc<Vec<Arc<Subscriber>>>>,
    queue: InOrder<Commit>,
}

impl Default for Observers {
    fn default() -> Self {
        Observers { subscribers: Mutex::default(), queue: InOrder::new() }
    }
}

struct Commit {
    touched: Vec<(EntityId, ObjectId, ChangeKind)>,
    /// How many of them the last compaction left.
    compact: usize,
    subscribers: Arc<Vec<Arc<Subscriber>>>,
}

/// An observer's place; dropping it ends the observation.
///
/// A call that is just running on another thread is not waited for.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    store: Store,
    active: Arc<AtomicBool>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.active.store(false, Ordering::Release);
        let mut subscribers = lock(&self.store.inner().observers.subscribers);
        let left = subscribers.iter().filter(|other| !Arc::ptr_eq(&other.active, &self.active));
        let left = Arc::new(left.cloned().collect());
        let former = std::mem::replace(&mut *subscribers, left);
        drop(subscribers);
        // Under no lock: what the callback holds may be another subscription, or whatever else uses the store.
        drop(former);
    }
}

impl Store {
    /// Calls `observer` after each commit, with what it changed; commits by sync are among them.
    ///
    /// Calls come in the order of commits, one at a time, on the threads that commit: a slow observer holds writers up, so
    /// long work belongs elsewhere. When it falls far behind, commits are told together. It may read and write the store.
    /// A panic of an observer goes on in the committing thread once all observers were told; the commit stays.
    ///
    /// The subscription keeps the store open.
    ///
    /// ```
    /// # use reconvene_store::{Entity, Store};
    /// # use std::sync::mpsc;
    /// # #[derive(Entity, Default)] #[entity(crate = "reconvene_store")] struct Task { id: u64, done: bool }
    /// let store = Store::builder("memory:").entity::<Task>().open()?;
    /// let (sender, inserted) = mpsc::channel();
    /// let _subscription = store.observe(move |changes| {
    ///     if let Some(tasks) = changes.of("Task") {
    ///         sender.send(tasks.inserted.clone()).ok();
    ///     }
    /// });
    /// let id = store.boxed::<Task>()?.put(&mut Task::default())?;
    /// assert_eq!(inserted.recv(), Ok(vec![id]));
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    pub fn observe(&self, observer: impl Fn(&Changes) + Send + Sync + 'static) -> Subscription {
        let active = Arc::new(AtomicBool::new(true));
        let subscriber = Arc::new(Subscriber { active: active.clone(), callback: Arc::new(observer) });
        let mut subscribers = lock(&self.inner().observers.subscribers);
        let mut all = subscribers.as_ref().clone();
        all.push(subscriber);
        *subscribers = Arc::new(all);
        drop(subscribers);
        Subscription { store: self.clone(), active }
    }
}

impl Observers {
    /// Queues what a transaction changed, while its thread still has its turn; whether there is anything to tell.
    pub(crate) fn queue(&self, log: ChangeLog) -> bool {
        let subscribers = lock(&self.subscribers).clone();
        if subscribers.is_empty() || log.runs.is_empty() {
            return false;
        }
        let commit = Commit { touched: log.touched().collect(), compact: 0, subscribers };
        // Dropped under no lock, as in the end of a subscription.
        let former = self.queue.push(commit, QUEUED_COMMITS_MAX, |last, commit| {
            last.merge(commit.touched);
            std::mem::replace(&mut last.subscribers, commit.subscribers)
        });
        drop(former);
        true
    }

    /// Tells the observers all that is queued, unless another thread is doing so.
    pub(crate) fn dispatch(&self, catalog: &Catalog) {
        let mut panicked = None;
        self.queue.tell(|commit| {
            let changes = net_changes(commit.touched, &|entity| {
                catalog.by_id(entity).map_or_else(String::new, |entity| entity.def.name.clone())
            });
            if changes.entities.is_empty() {
                return;
            }
            for subscriber in commit.subscribers.iter() {
                if !subscriber.active.load(Ordering::Acquire) {
                    continue;
                }
                // One observer's panic must not keep changes from the others.
                let told = panic::catch_unwind(AssertUnwindSafe(|| (subscriber.callback)(&changes)));
                if let Err(panic) = told
                    && panicked.is_none()
                {
                    panicked = Some(panic);
                }
            }
        });
        if let Some(panicked) = panicked {
            panic::resume_unwind(panicked);
        }
    }
}

impl Commit {
    /// Takes a later commit in, and forgets what does not show in the end, so that a stuck observer costs memory for each
    /// object and not for each write.
    fn merge(&mut self, later: impl IntoIterator<Item = (EntityId, ObjectId, ChangeKind)>) {
        self.touched.extend(later);
        if self.touched.len() < 2 * self.compact + TOUCHED_COMPACT_MIN {
            return;
        }
        self.touched.sort_by_key(|&(entity, id, _)| (entity, id));
        let mut compact = Vec::new();
        for of_object in self.touched.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            compact.push(of_object[0]);
            if let [_, .., last] = of_object {
                compact.push(*last);
            }
        }
        self.compact = compact.len();
        self.touched = compact;
    }
}

/// What is left of all that happened to each object.
fn net_changes(
    mut touched: Vec<(EntityId, ObjectId, ChangeKind)>,
    name: &dyn Fn(EntityId) -> String,
) -> Changes {
    use ChangeKind::{Inserted, Removed};
    // Stable, so that what happened to one object stays in order.
    touched.sort_by_key(|&(entity, id, _)| (entity, id));
    let mut changes = Changes::default();
    for of_entity in touched.chunk_by(|a, b| a.0 == b.0) {
        let mut net = EntityChanges { entity: name(of_entity[0].0), ..EntityChanges::default() };
        for of_object in of_entity.chunk_by(|a, b| a.1 == b.1) {
            let (_, id, first) = of_object[0];
            let (_, _, last) = of_object[of_object.len() - 1];
            match (first == Inserted, last == Removed) {
                (true, true) => {}
                (true, false) => net.inserted.push(id),
                (false, true) => net.removed.push(id),
                (false, false) => net.updated.push(id),
            }
        }
        if !(net.inserted.is_empty() && net.updated.is_empty() && net.removed.is_empty()) {
            changes.entities.push(net);
        }
    }
    changes
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_to_an_object_is_told_as_one_change() {
        use ChangeKind::{Inserted, Removed, Updated};
        let entity = EntityId(1);
        let touched = [
            (1, Inserted),
            (2, Inserted),
            (1, Updated),
            (2, Removed),
            (3, Removed),
            (3, Inserted),
            (4, Updated),
            (4, Removed),
        ];
        let touched = touched.iter().map(|&(id, kind)| (entity, id, kind)).collect();
        let changes = net_changes(touched, &|_| "Task".to_owned());
        let task = changes.of("Task").unwrap();
        assert_eq!(
            (&task.inserted[..], &task.updated[..], &task.removed[..]),
            (&[1][..], &[3][..], &[4][..])
        );
    }

    #[test]
    fn commits_that_wait_together_cost_by_objects() {
        use ChangeKind::{Inserted, Removed, Updated};
        let touches: Vec<_> = (0..10_000).map(|at| (EntityId(1), at % 7 + 1, Updated)).collect();
        let mut commit = Commit { touched: Vec::new(), compact: 0, subscribers: Arc::default() };
        commit.merge(vec![(EntityId(1), 1, Inserted), (EntityId(1), 2, Removed), (EntityId(1), 2, Inserted)]);
        touches.chunks(10).for_each(|later| commit.merge(later.to_vec()));
        commit.merge(vec![(EntityId(1), 3, Removed)]);
        assert!(commit.touched.len() <= 2 * TOUCHED_COMPACT_MIN, "{}", commit.touched.len());
        let changes = net_changes(commit.touched, &|_| "Task".to_owned());
        let task = changes.of("Task").unwrap();
        assert_eq!(
            (&task.inserted[..], &task.updated[..], &task.removed[..]),
            (&[1][..], &[2, 4, 5, 6, 7][..], &[3][..])
        );
    }

    #[test]
    fn a_commit_that_leaves_nothing_changed_is_not_told() {
        let entity = EntityId(1);
        let touched = vec![(entity, 1, ChangeKind::Inserted), (entity, 1, ChangeKind::Removed)];
        assert_eq!(net_changes(touched, &|_| String::new()), Changes::default());
    }
}
