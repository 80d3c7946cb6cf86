//! Committing queued writes together, so that none of them loses another.
//!
//! A write that fails without having written anything is left out. One that fails half-way, or panics, spoils the
//! transaction: it is undone, the writes before that one are run again and committed, and the rest go on after them. A group
//! that is too large for the room that is left is halved. So a group's writes fare as they would one by one.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Runs;
use super::run::{QueuedRun, Stop, message};
use crate::error::{Result, StoreError};
use crate::seam::SeamError;
use crate::store::Inner;
use crate::txn::WriteTxn;

thread_local! {
    /// The store whose queued writes this thread commits, by address.
    static COMMITS_FOR: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is the one that commits the queued writes of a store.
pub(super) fn is_committer(store: usize) -> bool {
    COMMITS_FOR.get() == store
}

/// Commits writes in their order; all of them are settled when this returns.
pub(super) fn commit(inner: &Arc<Inner>, mut runs: Runs) {
    COMMITS_FOR.set(Arc::as_ptr(inner).addr());
    let mut together = left(&runs);
    // Freed at the end: nobody should wait for that.
    let mut settled = Vec::with_capacity(runs.len());
    while !runs.is_empty() {
        let (ran, committed) = commit_first(inner, &mut runs, together);
        match committed {
            Err(error) if is_full(&error) && ran > 1 => together = ran / 2,
            committed => {
                settle_first(&mut runs, ran, &committed.map_err(Arc::new), &mut settled);
                together = left(&runs);
            }
        }
    }
    settled.into_iter().for_each(|run| guard(|| drop(run)));
    COMMITS_FOR.set(0);
}

fn left(runs: &Runs) -> usize {
    runs.iter().map(|run| run.left()).sum()
}

/// Commits the first writes, up to `together` or to one that fails half-way; how many, and whether they are committed.
fn commit_first(inner: &Arc<Inner>, runs: &mut Runs, mut together: usize) -> (usize, Result<()>) {
    loop {
        let mut failed_at = None;
        let mut outcome = None;
        // What unwinds from here is a panic of an observer, which was reported, after the commit; or a mistake in the store.
        let run = catch_unwind(AssertUnwindSafe(|| {
            WriteTxn::run(inner, |tx| {
                outcome = Some(tx.outcome().clone());
                let mut ran = 0;
                for run in runs.iter_mut() {
                    let (went_well, stop) = run.run(tx, together - ran);
                    ran += went_well;
                    match stop {
                        Some(Stop::Failed(error)) => return Err(error),
                        Some(Stop::Half) => {
                            failed_at = Some(ran);
                            return Err(StoreError::internal(
                                "the transaction of a failed write is run again",
                            ));
                        }
                        None if ran == together => break,
                        None => {}
                    }
                }
                Ok(())
            })
        }));
        match (failed_at, run) {
            (Some(0), _) => return (0, Ok(())),
            (Some(at), _) => together = at,
            (None, Ok(committed)) => return (together, committed),
            (None, Err(_)) if outcome.is_some_and(|outcome| outcome.is_committed()) => {
                return (together, Ok(()));
            }
            (None, Err(panic)) => {
                return (together, Err(StoreError::Panicked { what: message(&*panic) }));
            }
        }
    }
}

/// Settles the first writes, and the one after them if it is what the group ended at.
fn settle_first(
    runs: &mut Runs,
    mut writes: usize,
    committed: &Result<(), Arc<StoreError>>,
    settled: &mut Vec<Box<dyn QueuedRun>>,
) {
    while writes > 0
        && let Some(run) = runs.front_mut()
    {
        let of_run = writes.min(run.left());
        writes -= of_run;
        guard(|| run.settle(of_run, committed));
        settled.extend(runs.pop_front_if(|run| run.left() == 0));
    }
    if let Some(run) = runs.front_mut() {
        guard(|| run.settle_failed());
        settled.extend(runs.pop_front_if(|run| run.left() == 0));
    }
}

/// Keeps what the application's wakers and destructors do from ending the thread.
fn guard(settle: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(settle));
}

/// Whether less of the same may fit.
fn is_full(error: &StoreError) -> bool {
    use SeamError::{DiskFull, FileTooLarge, MapFull, TxTooLarge};
    matches!(error, StoreError::Engine(DiskFull | FileTooLarge | MapFull { .. } | TxTooLarge))
}
