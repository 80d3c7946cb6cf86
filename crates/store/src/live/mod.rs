//! Streams of what changes: of a store, of a box, and of the results of a query.

mod gathered;
mod mailbox;
mod watch;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

pub use self::gathered::TOLD_IDS_MAX;
use self::gathered::{Gathered, GatheredAll};
use self::mailbox::Mailbox;
pub use self::watch::{Results, Watch};
use crate::boxes::EntityBox;
use crate::entity::Entity;
use crate::observer::{Changes, EntityChanges, Subscription};
use crate::store::Store;

/// What changes, commit by commit: an async [`Stream`], and for threads something to [`wait`](ChangeStream::wait_next) for.
/// Made by [`Store::changes`] and [`EntityBox::changes`].
///
/// Unlike an [observer](Store::observe), it holds no writer up: commits that the receiver is too slow for are told together, as
/// one change with what is left of all that happened; see [`TOLD_IDS_MAX`]. Dropping it ends the observation. It keeps the
/// store open.
///
/// ```
/// # use reconvene_store::{Entity, Store};
/// # #[derive(Entity, Default)] #[entity(crate = "reconvene_store")] struct Task { id: u64, done: bool }
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// let tasks = store.boxed::<Task>()?;
/// let mut changes = tasks.changes();
/// tasks.put(&mut Task::default())?;
/// tasks.put(&mut Task::default())?;
/// tasks.remove(1)?;
/// // Nobody looked so far, so this is one change; the first task has come and gone.
/// let change = changes.wait_next().expect("nobody has ended it");
/// assert_eq!((change.inserted, change.removed), (vec![2], vec![]));
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[must_use = "dropping the stream ends it"]
pub struct ChangeStream<C: Told> {
    mailbox: Arc<Mailbox<C::Gathered>>,
    /// What makes a change of what was gathered.
    entity: String,
    _subscription: Subscription,
}

/// What a [`ChangeStream`] can be of: [`Changes`] or [`EntityChanges`].
pub trait Told: sealed::Told {}

impl Told for Changes {}

impl Told for EntityChanges {}

pub(crate) mod sealed {
    use super::*;

    pub trait Told: Sized {
        type Gathered: Default + Send + 'static;

        fn told(gathered: Self::Gathered, entity: &str) -> Self;
    }

    impl Told for Changes {
        type Gathered = GatheredAll;

        fn told(gathered: GatheredAll, _entity: &str) -> Self {
            gathered.into_changes()
        }
    }

    impl Told for EntityChanges {
        type Gathered = Gathered;

        fn told(gathered: Gathered, entity: &str) -> Self {
            gathered.into_changes(entity.to_owned())
        }
    }
}

impl<C: Told> ChangeStream<C> {
    /// Blocks until something changed; `None` once it was ended by a [`StreamEnd`].
    pub fn wait_next(&mut self) -> Option<C> {
        self.mailbox.wait().map(|gathered| C::told(gathered, &self.entity))
    }

    /// What changed since the last look, without waiting.
    pub fn try_next(&mut self) -> Option<C> {
        self.mailbox.take().map(|gathered| C::told(gathered, &self.entity))
    }

    /// What ends the stream from elsewhere, for instance while a thread waits for the next change.
    pub fn ender(&self) -> StreamEnd {
        StreamEnd(self.mailbox.clone())
    }
}

impl<C: Told> Stream for ChangeStream<C> {
    type Item = C;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<C>> {
        let told = |gathered: Option<_>| gathered.map(|gathered| C::told(gathered, &self.entity));
        self.mailbox.poll(context).map(told)
    }
}

impl<C: Told> fmt::Debug for ChangeStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStream").field("entity", &self.entity).finish_non_exhaustive()
    }
}

/// Ends a [`ChangeStream`] or a [`Watch`] from elsewhere; dropping it does nothing.
#[derive(Clone)]
pub struct StreamEnd(Arc<dyn End + Send + Sync>);

impl StreamEnd {
    /// Ends the stream: what is gathered already can still be taken, and then nothing comes any more.
    pub fn end(&self) {
        self.0.end();
    }
}

impl fmt::Debug for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamEnd").finish_non_exhaustive()
    }
}

trait End {
    fn end(&self);
}

impl<C: Default> End for Mailbox<C> {
    fn end(&self) {
        Mailbox::end(self);
    }
}

impl Store {
    /// What each commit changes, commits by sync among them, to be received at the receiver's own speed; see [`ChangeStream`].
    pub fn changes(&self) -> ChangeStream<Changes> {
        let mailbox = Arc::new(Mailbox::<GatheredAll>::new());
        let posted = mailbox.clone();
        let subscription = self.observe(move |changes| {
            posted.post(|gathered| {
                gathered.add(changes);
                !gathered.is_empty()
            });
        });
        ChangeStream { mailbox, entity: String::new(), _subscription: subscription }
    }
}

impl<T: Entity> EntityBox<T> {
    /// What each commit changes of the objects of this box; see [`ChangeStream`].
    pub fn changes(&self) -> ChangeStream<EntityChanges> {
        let mailbox = Arc::new(Mailbox::<Gathered>::new());
        let posted = mailbox.clone();
        let subscription = self.observe(move |changes| {
            posted.post(|gathered| {
                gathered.add(changes);
                !gathered.is_empty()
            });
        });
        let entity = self.of().entity.def.name.clone();
        ChangeStream { mailbox, entity, _subscription: subscription }
    }
}
