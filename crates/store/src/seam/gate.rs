//! The gate that readers pass, so that an operation can wait until there are none.
//!
//! Passing an open gate is one atomic addition. A closed gate lets nobody in; whoever closes it waits for those inside
//! to leave. Guards may move between threads, which the locks of the standard library do not allow.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::primitives::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};

/// Counts who is inside and can be closed; see the module.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The number of passes, and [`CLOSED`] while the gate is closed.
    state: AtomicUsize,
    /// Held to change or await [`CLOSED`], so that no wake-up falls between a look at `state` and the wait.
    turning: Mutex<()>,
    turned: Condvar,
}

/// The top bit of the state; the bits below count passes.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Being inside the gate; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Pass<'g>(&'g Gate);

/// Having the gate closed with nobody inside; dropping it opens the gate.
#[derive(Debug)]
pub(crate) struct Closed<'g>(&'g Gate);

impl Gate {
    /// Enters, waiting while the gate is closed.
    pub(crate) fn pass(&self) -> Pass<'_> {
        loop {
            // Counting first and looking after means that a closer either sees this pass or is seen by it.
            if self.state.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
                return Pass(self);
            }
            self.leave();
            let mut turning = self.lock();
            while self.state.load(Ordering::Acquire) & CLOSED != 0 {
                turning = self.turned.wait(turning).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Closes the gate and waits until nobody is inside; gives up after `wait_max` and opens it again.
    ///
    /// Only one caller at a time may close the gate; the engine's writer lock sees to that.
    pub(crate) fn close(&self, wait_max: Duration) -> Option<Closed<'_>> {
        let began = Instant::now();
        let mut turning = self.lock();
        let before = self.state.fetch_or(CLOSED, Ordering::AcqRel);
        debug_assert_eq!(before & CLOSED, 0, "the writer lock admits one closer at a time");
        let closed = Closed(self);
        while self.state.load(Ordering::Acquire) != CLOSED {
            let Some(left) = wait_max.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                // Opening takes the same lock.
                drop(turning);
                drop(closed);
                return None;
            };
            let woken = self.turned.wait_timeout(turning, left);
            turning = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(turning);
        Some(closed)
    }

    fn leave(&self) {
        if self.state.fetch_sub(1, Ordering::AcqRel) & CLOSED != 0 {
            let _turning = self.lock();
            self.turned.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let _turning = self.0.lock();
        self.0.state.fetch_and(!CLOSED, Ordering::AcqRel);
        self.0.turned.notify_all();
    }
}
