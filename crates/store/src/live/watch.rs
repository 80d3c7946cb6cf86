//! Results of a query, kept up to date.
//!
//! A watch remembers which objects its results were made of and a hash of each. Of an object that changed it then takes one
//! look to know whether the results can differ: whether it was among them, whether it meets the condition now, and whether it
//! comes before their end. Only then is the query run again, so what else happens to an entity costs one look an object.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use foldhash::fast::RandomState;
use futures_core::Stream;
use reconvene_model::ObjectId;

use super::StreamEnd;
use super::gathered::Gathered;
use super::mailbox::Mailbox;
use crate::boxes::EntityBox;
use crate::condition::Condition;
use crate::entity::Entity;
use crate::error::Result;
use crate::keys;
use crate::object_box::{Object, ObjectQuery};
use crate::observer::Subscription;
use crate::query::{Query, Reach, Selection, Snapshot, table_of};
use crate::seam::Reader;
use crate::store::Store;
use crate::tracked::Tracked;

/// The results of a query, and anew whenever they change: an async [`Stream`], and for threads something to
/// [`wait`](Watch::wait_next) for. Made by [`Query::watch`].
///
/// The first results come at once. After that, the query runs only when a change can matter: when an object of the results
/// changed or is gone, or one that was not among them meets the condition now and would not come after their end. Results
/// come only if they differ from those before, whatever was committed meanwhile is told together, and nothing is missed: the
/// last results that come are those of the last commit.
///
/// The query runs where the receiver waits or polls, in a short read transaction. Dropping the watch ends it. It keeps the
/// store open.
///
/// ```
/// # use reconvene_store::{Entity, Store};
/// #[derive(Entity, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Task {
///     id: u64,
///     title: String,
///     done: bool,
/// }
///
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// let tasks = store.boxed::<Task>()?;
/// let mut open = tasks.query(Task::done().eq(false)).order_by(Task::title()).watch();
/// assert!(open.wait_next().expect("it was not ended")?.is_empty());
///
/// let id = tasks.put(&mut Task { title: "Call the bank".into(), ..Task::default() })?;
/// let results = open.wait_next().expect("it was not ended")?;
/// assert_eq!((results[0].title.as_str(), &results.added[..]), ("Call the bank", &[id][..]));
///
/// tasks.put(&mut Task { title: "Pay the rent".into(), done: true, ..Task::default() })?;
/// assert!(open.try_next().is_none(), "nothing to do with what is open");
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[must_use = "dropping the watch ends it"]
pub struct Watch<R> {
    store: Store,
    selection: Selection,
    read: Box<ReadResult<R>>,
    mailbox: Arc<Mailbox<Gathered>>,
    seen: Seen,
    /// Whether the query is to run whatever has changed: at first, and after an error.
    due: bool,
    runs: u64,
    hasher: RandomState,
    _subscription: Subscription,
}

/// Makes a result of an object's record.
type ReadResult<R> = dyn Fn(ObjectId, &[u8]) -> Result<R> + Send + Sync;

/// Results of a [`Watch`], in the order of its query; it derefs to their list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Results<R> {
    /// All results.
    pub objects: Vec<R>,
    /// The ids of those that were not among the results before, in the order of the results; at first all.
    pub added: Vec<ObjectId>,
    /// The ids of those that were there before with other values, in the order of the results.
    pub changed: Vec<ObjectId>,
    /// The ids of those that are no longer among the results, in the order of the results before.
    pub removed: Vec<ObjectId>,
}

impl<R> std::ops::Deref for Results<R> {
    type Target = Vec<R>;

    fn deref(&self) -> &Vec<R> {
        &self.objects
    }
}

/// What the last results were made of.
#[derive(Default)]
struct Seen {
    /// In order; those that the query's offset leaves out are among them.
    ids: Vec<ObjectId>,
    hashes: HashMap<ObjectId, u64, RandomState>,
    /// Where the last of them stands in the order, if no more are wanted.
    end: Option<Box<[u8]>>,
}

impl<R> Watch<R> {
    fn new(
        store: Store,
        selection: Selection,
        read: impl Fn(ObjectId, &[u8]) -> Result<R> + Send + Sync + 'static,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::<Gathered>::new());
        let (posted, entity) = (mailbox.clone(), selection.entity().def.name.clone());
        let reached = reached(&store, &selection);
        // Before the first look, so that no commit falls between the two.
        let subscription = store.observe(move |changes| {
            // Which objects meet a condition along links, because of a change at their end, only the query can tell.
            let is_reached = reached.iter().any(|entity| changes.of(entity).is_some());
            let changes = changes.of(&entity);
            if is_reached || changes.is_some() {
                posted.post(|gathered| {
                    match changes {
                        Some(changes) if !is_reached => gathered.add(changes),
                        _ => gathered.forget_which(),
                    }
                    !gathered.is_empty()
                });
            }
        });
        Watch {
            store,
            selection,
            read: Box::new(read),
            mailbox,
            seen: Seen::default(),
            due: true,
            runs: 0,
            hasher: RandomState::default(),
            _subscription: subscription,
        }
    }

    /// Blocks until there are other results than before; the first come at once. `None` once it was ended by a
    /// [`StreamEnd`].
    ///
    /// # Errors
    ///
    /// As [`Query::find`]; the next call looks again then.
    pub fn wait_next(&mut self) -> Option<Result<Results<R>>> {
        loop {
            let gathered = if self.due { Gathered::default() } else { self.mailbox.wait()? };
            if let Some(results) = self.look(&gathered).transpose() {
                return Some(results);
            }
        }
    }

    /// Other results than before, if there are any by now, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Watch::wait_next`].
    pub fn try_next(&mut self) -> Option<Result<Results<R>>> {
        let gathered = if self.due { Gathered::default() } else { self.mailbox.take()? };
        self.look(&gathered).transpose()
    }

    /// How often the query ran so far.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// What ends the watch from elsewhere, for instance while a thread waits for results.
    pub fn ender(&self) -> StreamEnd {
        StreamEnd(self.mailbox.clone())
    }

    /// Runs the query if what has changed can matter; the results if they differ.
    fn look(&mut self, gathered: &Gathered) -> Result<Option<Results<R>>> {
        let is_first = self.runs == 0;
        let was_due = std::mem::replace(&mut self.due, true);
        let store = self.store.clone();
        let found = store.read(|tx| {
            let snapshot = Snapshot(tx.engine_tx().view(), tx.inner());
            if !was_due && !self.can_matter(gathered, &snapshot)? {
                return Ok(None);
            }
            self.runs += 1;
            self.run(&snapshot).map(Some)
        })?;
        self.due = false;
        let Some((seen, objects)) = found else { return Ok(None) };
        let offset = self.selection.offset();
        let before = std::mem::replace(&mut self.seen, seen);
        let (old, new) = (before.visible(offset), self.seen.visible(offset));
        let is_in = |ids: &HashMap<ObjectId, u64>, id: &ObjectId| ids.get(id).copied();
        let hashes = |seen: &Seen, ids: &[ObjectId]| -> HashMap<ObjectId, u64> {
            ids.iter().map(|id| (*id, seen.hashes.get(id).copied().unwrap_or_default())).collect()
        };
        let (old_hashes, new_hashes) = (hashes(&before, old), hashes(&self.seen, new));
        let added = new.iter().copied().filter(|id| is_in(&old_hashes, id).is_none());
        let changed = new
            .iter()
            .copied()
            .filter(|id| is_in(&old_hashes, id).is_some_and(|hash| hash != new_hashes[id]));
        let removed = old.iter().copied().filter(|id| is_in(&new_hashes, id).is_none());
        let results = Results {
            objects,
            added: added.collect(),
            changed: changed.collect(),
            removed: removed.collect(),
        };
        let differ = old != new || !results.changed.is_empty();
        Ok((is_first || differ).then_some(results))
    }

    /// Whether what has changed can change the results.
    fn can_matter(&self, gathered: &Gathered, snapshot: &Snapshot<'_>) -> Result<bool> {
        let Some(ids) = gathered.ids() else { return Ok(true) };
        let (view, reach) = (snapshot.0, Reach::new(snapshot));
        for id in ids {
            let record = view.get(self.selection.entity().objects, &keys::object_key(id))?;
            let was = self.seen.hashes.get(&id);
            let Some(record) = record else {
                if was.is_some() {
                    return Ok(true);
                }
                continue;
            };
            match was {
                Some(&hash) if hash == self.hash(record)? => {}
                Some(_) => return Ok(true),
                None if !self.selection.matches(&reach, id, record)? => {}
                None => match &self.seen.end {
                    Some(end) if self.selection.position(&reach, id, record)? > *end => {}
                    _ => return Ok(true),
                },
            }
        }
        Ok(false)
    }

    fn run(&self, snapshot: &Snapshot<'_>) -> Result<(Seen, Vec<R>)> {
        let reach = Reach::new(snapshot);
        let (offset, wanted) = (self.selection.offset(), self.selection.wanted());
        let (mut seen, mut objects) = (Seen::default(), Vec::new());
        let mut last = None;
        self.selection.with_skipped().each(snapshot, |id, record| {
            seen.hashes.insert(id, self.hash(record)?);
            if seen.ids.len() as u64 >= offset {
                objects.push((self.read)(id, record)?);
            }
            seen.ids.push(id);
            if wanted == Some(seen.ids.len() as u64) {
                last = Some(self.selection.position(&reach, id, record)?);
            }
            Ok(())
        })?;
        seen.end = last;
        Ok((seen, objects))
    }

    /// A hash of an object's values.
    fn hash(&self, record: &[u8]) -> Result<u64> {
        Ok(self.hasher.hash_one(table_of(record)?.as_bytes()))
    }
}

/// The names of the other entities that a change of can matter. A condition that does not fit is told when it is run.
fn reached(store: &Store, selection: &Selection) -> Vec<String> {
    let reached = selection.reaches(&store.inner().catalog).unwrap_or_default();
    let entities = reached.into_iter().filter_map(|id| store.schema().entity(id));
    entities.map(|entity| entity.name.clone()).collect()
}

impl Seen {
    /// The results without those that the offset leaves out.
    fn visible(&self, offset: u64) -> &[ObjectId] {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        &self.ids[offset.min(self.ids.len())..]
    }
}

impl<R> Stream for Watch<R> {
    type Item = Result<Results<R>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let gathered = if this.due {
                Gathered::default()
            } else {
                match this.mailbox.poll(context) {
                    Poll::Ready(Some(gathered)) => gathered,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            };
            if let Some(results) = this.look(&gathered).transpose() {
                return Poll::Ready(Some(results));
            }
        }
    }
}

impl<R> fmt::Debug for Watch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({}: {})", self.selection.entity().def.name, self.selection.expr())
    }
}

impl<T: Entity> EntityBox<T> {
    /// All objects, and again whenever one changes; see [`Watch`].
    pub fn watch(&self) -> Watch<Tracked<T>> {
        self.query(Condition::all()).watch()
    }
}

impl<T: Entity> Query<T> {
    /// The results now, and anew whenever they change; see [`Watch`].
    pub fn watch(&self) -> Watch<Tracked<T>> {
        let of = self.of().clone();
        let read = move |id, record: &[u8]| crate::structs::tracked(&of, id, record);
        Watch::new(self.access().clone(), self.selection().clone(), read)
    }
}

impl ObjectQuery<'_> {
    /// The results now, and anew whenever they change; see [`Watch`].
    pub fn watch(&self) -> Watch<Object> {
        let entity = self.selection().entity().clone();
        let read = move |id, record: &[u8]| crate::object_box::read_object(&entity.def, id, record);
        Watch::new(self.access().clone(), self.selection().clone(), read)
    }
}
