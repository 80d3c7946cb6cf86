//! Where what happened is gathered until its receiver takes it.
//!
//! Whoever posts never waits for the receiver; whatever came since the receiver last looked, it gets at once.

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::primitives::{Condvar, Mutex, MutexGuard};

/// Contents on their way to one receiver; see the module.
pub(crate) struct Mailbox<C> {
    state: Mutex<State<C>>,
    filled: Condvar,
}

struct State<C> {
    contents: C,
    /// Whether there is something to take.
    full: bool,
    ended: bool,
    waker: Option<Waker>,
    /// How many threads sleep until there is something to take.
    blocked: usize,
}

impl<C: Default> Mailbox<C> {
    pub(crate) fn new() -> Self {
        let contents = C::default();
        let state = State { contents, full: false, ended: false, waker: None, blocked: 0 };
        Mailbox { state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Adds to the contents; `add` says whether there is something to take by then.
    pub(crate) fn post(&self, add: impl FnOnce(&mut C) -> bool) {
        let waker = {
            let mut state = self.lock();
            if state.ended {
                return;
            }
            state.full = add(&mut state.contents);
            if !state.full {
                return;
            }
            self.wake_blocked(&state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The contents, if there are any.
    pub(crate) fn take(&self) -> Option<C> {
        self.lock().take()
    }

    /// The contents, as soon as there are any; `None` once it has ended.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<C>> {
        let mut state = self.lock();
        if let Some(contents) = state.take() {
            return Poll::Ready(Some(contents));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let known = state.waker.as_ref().is_some_and(|known| known.will_wake(context.waker()));
        let former = if known { None } else { state.waker.replace(context.waker().clone()) };
        drop(state);
        // Under no lock: a task may end with its waker, and what it owns with it.
        drop(former);
        Poll::Pending
    }

    /// Blocks until there are contents; `None` once it has ended.
    pub(crate) fn wait(&self) -> Option<C> {
        let mut state = self.lock();
        loop {
            if let Some(contents) = state.take() {
                return Some(contents);
            }
            if state.ended {
                return None;
            }
            state.blocked += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
    }

    /// Takes in no more; what is there can still be taken.
    pub(crate) fn end(&self) {
        let waker = {
            let mut state = self.lock();
            state.ended = true;
            self.wake_blocked(&state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake_blocked(&self, state: &State<C>) {
        if state.blocked > 0 {
            self.filled.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Default> State<C> {
    fn take(&mut self) -> Option<C> {
        std::mem::take(&mut self.full).then(|| std::mem::take(&mut self.contents))
    }
}
