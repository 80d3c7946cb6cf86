//! Telling what was queued in the order in which it was, one at a time, by whichever thread is at it.
//!
//! A thread that finds another one at it leaves its own to that one, so that nobody waits and nothing overtakes.

use std::collections::VecDeque;
use std::sync::PoisonError;

use crate::primitives::{Mutex, MutexGuard};

/// What is to be told; see the module.
pub(crate) struct InOrder<T>(Mutex<State<T>>);

struct State<T> {
    items: VecDeque<T>,
    /// Whether a thread is telling.
    telling: bool,
}

impl<T> InOrder<T> {
    pub(crate) fn new() -> Self {
        InOrder(Mutex::new(State { items: VecDeque::new(), telling: false }))
    }

    /// Queues an item; with so many of them queued, it is merged into the last one instead.
    ///
    /// It returns what `merge` leaves to be dropped, since that is better done under no lock.
    pub(crate) fn push<D>(&self, item: T, items_max: usize, merge: impl FnOnce(&mut T, T) -> D) -> Option<D> {
        let mut state = self.lock();
        if state.items.len() >= items_max
            && let Some(last) = state.items.back_mut()
        {
            return Some(merge(last, item));
        }
        state.items.push_back(item);
        None
    }

    /// Tells all that is queued, under no lock, unless another thread is doing so, which then tells this as well. `tell` must
    /// not panic.
    pub(crate) fn tell(&self, mut tell: impl FnMut(T)) {
        {
            let mut state = self.lock();
            if state.telling {
                return;
            }
            state.telling = true;
        }
        while let Some(item) = self.next() {
            tell(item);
        }
    }

    fn next(&self) -> Option<T> {
        let mut state = self.lock();
        let next = state.items.pop_front();
        // Under the lock, so that nothing can be queued between the last look and the end.
        state.telling = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
