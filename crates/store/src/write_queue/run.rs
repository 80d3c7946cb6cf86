//! Runs: writes of one kind that were queued one after the other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use reconvene_model::ObjectId;
use reconvene_model::record::TableWriter;

use super::outcomes::{Outcomes, Settling};
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::seam::SeamError;
use crate::store::StructRuntime;
use crate::structs::Put;
use crate::sync;
use crate::txn::WriteTxn;

/// How many writes make a run at most: whoever awaits one of them keeps what all of them returned.
const RUN_WRITES_MAX: usize = 1024;

/// Writes in the queue, whatever they write and return.
pub(crate) trait QueuedRun: Send {
    /// How many of its writes are not settled.
    fn left(&self) -> usize;

    /// Runs the next ones, up to this many, as part of a transaction, as often as it takes to commit them; how many went
    /// well, and what stopped them.
    fn run(&mut self, tx: &mut WriteTxn<'_>, writes_max: usize) -> (usize, Option<Stop>);

    /// Settles the next ones: with what they returned when they were run last, or with why they could not be committed.
    fn settle(&mut self, writes: usize, committed: &Result<(), Arc<StoreError>>);

    /// Settles the next one if its last run spoilt the transaction.
    fn settle_failed(&mut self);

    /// The run itself, to add to it.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// What stops a run in its transaction.
pub(crate) enum Stop {
    /// A write failed half-way.
    Half,
    /// The transaction can only be dropped, whoever wrote in it.
    Failed(StoreError),
}

/// What a write comes to, in a form that is small where all goes well.
pub(super) type Outcome<R> = Result<R, Box<StoreError>>;

/// What a run writes.
pub(super) trait Writes: Send + 'static {
    type Returned: Send + 'static;

    fn len(&self) -> usize;

    fn write(&mut self, at: usize, tx: &mut WriteTxn<'_>) -> Result<Self::Returned>;
}

/// Writes, and what they come to.
pub(super) struct Run<W: Writes> {
    writes: W,
    settled: usize,
    /// What the next ones returned when they were run last.
    returned: Vec<Option<Outcome<W::Returned>>>,
    /// The write that spoilt its transaction, and what it said.
    failed: Option<(usize, StoreError)>,
    settling: Settling<Outcome<W::Returned>>,
}

impl<W: Writes> Run<W> {
    pub(super) fn new(writes: W) -> Self {
        Run { writes, settled: 0, returned: Vec::new(), failed: None, settling: Settling::new() }
    }

    /// Where the result of the last write will be.
    pub(super) fn last(&self) -> (Arc<Outcomes<Outcome<W::Returned>>>, usize) {
        (self.settling.outcomes(), self.writes.len() - 1)
    }
}

impl<W: Writes> QueuedRun for Run<W> {
    fn left(&self) -> usize {
        self.writes.len() - self.settled
    }

    fn run(&mut self, tx: &mut WriteTxn<'_>, writes_max: usize) -> (usize, Option<Stop>) {
        let Run { writes, settled, returned, failed, .. } = self;
        let end = writes.len().min(settled.saturating_add(writes_max));
        returned.clear();
        returned.reserve(end - *settled);
        if failed.as_ref().is_some_and(|(at, _)| *at < end) {
            *failed = None;
        }
        let ran = catch_unwind(AssertUnwindSafe(|| {
            for at in *settled..end {
                tx.mark();
                // A transaction of its own for the server: what it says of this write says nothing about the others.
                let wrote = writes.write(at, tx).and_then(|wrote| sync::before_commit(tx).map(|()| wrote));
                match wrote {
                    Err(StoreError::Engine(error)) if spoils_transaction(&error) => {
                        return Some(Stop::Failed(error.into()));
                    }
                    Err(error) if tx.wrote_since_mark() => {
                        *failed = Some((at, error));
                        return Some(Stop::Half);
                    }
                    Err(error) => {
                        sync::forget(tx);
                        returned.push(Some(Err(Box::new(error))));
                    }
                    Ok(wrote) => returned.push(Some(Ok(wrote))),
                }
            }
            None
        }));
        let stop = ran.unwrap_or_else(|panic| {
            *failed = Some((*settled + returned.len(), StoreError::Panicked { what: message(&*panic) }));
            Some(Stop::Half)
        });
        (returned.len(), stop)
    }

    fn settle(&mut self, writes: usize, committed: &Result<(), Arc<StoreError>>) {
        self.settled += writes;
        let values = match committed {
            Ok(()) if self.returned.len() == writes => std::mem::take(&mut self.returned),
            Ok(()) => self.returned.drain(..writes.min(self.returned.len())).collect(),
            Err(why) => {
                let not_committed = || Some(Err(Box::new(StoreError::GroupNotCommitted(why.clone()))));
                std::iter::repeat_with(not_committed).take(writes).collect()
            }
        };
        self.settling.settle(values);
    }

    fn settle_failed(&mut self) {
        if let Some((_, error)) = self.failed.take_if(|(at, _)| *at == self.settled) {
            self.settled += 1;
            self.settling.settle(vec![Some(Err(Box::new(error)))]);
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// A closure that writes.
pub(super) struct Closure<F>(pub(super) F);

impl<F, R> Writes for Closure<F>
where
    F: FnMut(&mut WriteTxn<'_>) -> Result<R> + Send + 'static,
    R: Send + 'static,
{
    type Returned = R;

    fn len(&self) -> usize {
        1
    }

    fn write(&mut self, _at: usize, tx: &mut WriteTxn<'_>) -> Result<R> {
        (self.0)(tx)
    }
}

/// Objects to put.
pub(super) struct Puts<T, P> {
    of: Arc<StructRuntime>,
    objects: Vec<P>,
    /// The ids that they came with: what a run that was undone gave out is void.
    ids: Vec<ObjectId>,
    entity: std::marker::PhantomData<fn() -> T>,
}

impl<T: Entity, P: Put<T> + Send + 'static> Run<Puts<T, P>> {
    /// A run of one object.
    pub(super) fn put(of: Arc<StructRuntime>, object: P) -> Self {
        let mut run =
            Run::new(Puts { of, objects: Vec::new(), ids: Vec::new(), entity: std::marker::PhantomData });
        run.push(object);
        run
    }

    /// Whether there is room for another object.
    pub(super) fn has_room(&self) -> bool {
        self.writes.objects.len() < RUN_WRITES_MAX
    }

    /// Adds an object.
    pub(super) fn push(&mut self, mut object: P) {
        self.writes.ids.push(object.object().id());
        self.writes.objects.push(object);
    }
}

impl<T: Entity, P: Put<T> + Send + 'static> Writes for Puts<T, P> {
    type Returned = ObjectId;

    fn len(&self) -> usize {
        self.objects.len()
    }

    fn write(&mut self, at: usize, tx: &mut WriteTxn<'_>) -> Result<ObjectId> {
        let object = &mut self.objects[at];
        object.object().set_id(self.ids[at]);
        let mut writer = TableWriter::reusing(&self.of.entity.layout, tx.table_room());
        let put = object.put(tx, &self.of, &mut writer);
        tx.keep_table_room(writer.into_room());
        put
    }
}

/// Whether a transaction that met this error can only be dropped, through no fault of who met it.
fn spoils_transaction(error: &SeamError) -> bool {
    use SeamError::{DiskFull, FileTooLarge, Io, MapFull, Spent, TxFailed, TxTooLarge};
    matches!(error, Io { .. } | DiskFull | FileTooLarge | MapFull { .. } | Spent | TxFailed | TxTooLarge)
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
