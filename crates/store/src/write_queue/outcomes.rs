//! What a run of writes comes to: one thread settles them in order, and each may be awaited by another, by blocking or as a
//! future.
//!
//! The writes of a run share this, so that a small write costs no memory and no wake-up of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::primitives::{Condvar, Mutex, MutexGuard};

/// The values of a run, as far as they are settled; see the module.
pub(crate) struct Outcomes<T> {
    state: Mutex<State<T>>,
    settled: Condvar,
}

struct State<T> {
    /// Those that are settled; `None` once one was taken.
    values: Vec<Option<T>>,
    /// Whether no more will be settled.
    ended: bool,
    wakers: BTreeMap<usize, Waker>,
    /// How many threads sleep until theirs is settled.
    blocked: usize,
}

/// The duty to settle a run; dropping it tells those who still wait that nothing comes.
pub(crate) struct Settling<T>(Arc<Outcomes<T>>);

impl<T> Settling<T> {
    pub(crate) fn new() -> Self {
        let state = State { values: Vec::new(), ended: false, wakers: BTreeMap::new(), blocked: 0 };
        Settling(Arc::new(Outcomes { state: Mutex::new(state), settled: Condvar::new() }))
    }

    /// What awaits values of the run.
    pub(crate) fn outcomes(&self) -> Arc<Outcomes<T>> {
        self.0.clone()
    }

    /// Settles the next ones, and wakes those who wait for them, under no lock.
    pub(crate) fn settle(&self, values: Vec<Option<T>>) {
        let woken = {
            let mut state = self.0.lock();
            if state.values.is_empty() {
                state.values = values;
            } else {
                state.values.extend(values);
            }
            let settled = state.values.len();
            let later = state.wakers.split_off(&settled);
            self.0.wake_blocked(&state);
            std::mem::replace(&mut state.wakers, later)
        };
        woken.into_values().for_each(Waker::wake);
    }
}

impl<T> Drop for Settling<T> {
    fn drop(&mut self) {
        let woken = {
            let mut state = self.0.lock();
            state.ended = true;
            self.0.wake_blocked(&state);
            std::mem::take(&mut state.wakers)
        };
        woken.into_values().for_each(Waker::wake);
    }
}

impl<T> Outcomes<T> {
    /// One value that is known.
    pub(crate) fn of(value: T) -> Arc<Self> {
        let settling = Settling::new();
        settling.settle(vec![Some(value)]);
        settling.outcomes()
    }

    /// Whether the value at this place is known, or will never be.
    pub(crate) fn is_settled(&self, at: usize) -> bool {
        let state = self.lock();
        at < state.values.len() || state.ended
    }

    /// The value at this place, as soon as it is there; `None` if it was taken before or never comes.
    pub(crate) fn poll(&self, at: usize, context: &Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        if let Some(value) = state.values.get_mut(at) {
            return Poll::Ready(value.take());
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let known = state.wakers.get(&at).is_some_and(|known| known.will_wake(context.waker()));
        let former = if known { None } else { state.wakers.insert(at, context.waker().clone()) };
        drop(state);
        // Under no lock: a task may end with its waker, and what it owns with it.
        drop(former);
        Poll::Pending
    }

    /// Blocks until the value at this place is there; `None` if it was taken before or never comes.
    pub(crate) fn wait(&self, at: usize) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.values.get_mut(at) {
                return value.take();
            }
            if state.ended {
                return None;
            }
            state.blocked += 1;
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
    }

    fn wake_blocked(&self, state: &State<T>) {
        if state.blocked > 0 {
            self.settled.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
