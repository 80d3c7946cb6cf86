//! Snapshots that nobody reads at the moment, kept for the next reader.
//!
//! Beginning a read transaction costs LMDB a lock between processes and some kilobytes of cleared memory, several times what a
//! look into the cache costs; most begin while nothing was committed since the last one ended. So a snapshot that its reader
//! has left is kept for the next, and dropped with the next commit: it never keeps pages from being used again that would be
//! free without it, for those of the last commit's snapshot are kept anyway.

use std::sync::PoisonError;

use crate::primitives::{Mutex, MutexGuard};

/// How many snapshots are kept at most; more threads seldom read at once, and each takes a place among the readers.
const SNAPSHOTS_MAX: usize = 8;

/// Snapshots of the last commit; see the module.
///
/// Whoever uses it holds a pass of the gate, and whoever closes the gate to change the map or the tables calls
/// [`clear`](IdleSnapshots::clear) before. Whoever asks says which snapshots are of the last commit.
pub(crate) struct IdleSnapshots<S>(Mutex<Vec<S>>);

impl<S> IdleSnapshots<S> {
    pub(crate) fn new() -> Self {
        IdleSnapshots(Mutex::new(Vec::new()))
    }

    /// A snapshot of the last commit, if one is there.
    #[inline]
    pub(crate) fn take(&self, is_last: impl Fn(&S) -> bool) -> Option<S> {
        let mut snapshots = self.lock();
        // A commit that others see already may not have dropped those of before yet.
        if snapshots.last().is_some_and(|snapshot| !is_last(snapshot)) {
            snapshots.clear();
        }
        snapshots.pop()
    }

    /// Keeps a snapshot that is of no use to its reader any more, unless something was committed since.
    #[inline]
    pub(crate) fn give_back(&self, snapshot: S, is_last: impl Fn(&S) -> bool) {
        let mut snapshots = self.lock();
        // Looked at under the lock: the commit that comes next takes it after itself, to drop what is there.
        if snapshots.len() < SNAPSHOTS_MAX && is_last(&snapshot) {
            snapshots.push(snapshot);
        }
    }

    /// Drops all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> std::fmt::Debug for IdleSnapshots<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdleSnapshots").field("kept", &self.lock().len()).finish()
    }
}
