//! The stores that this process has open, so that a second open of a directory finds the first.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::store::Inner;

static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Inner>>>> = Mutex::new(None);
static CLOSED: Condvar = Condvar::new();

/// How long to wait before another look at a store that nobody uses any more and that is not closed yet.
const CLOSING_POLL: Duration = Duration::from_micros(500);

/// Finds the store that is open under this name, or opens it; other opens wait meanwhile.
///
/// A store that is just being closed is waited for: only then are its files free.
pub(crate) fn find_or_open<E>(
    name: PathBuf,
    open: impl FnOnce(Registration) -> Result<Arc<Inner>, E>,
) -> Result<Found, E> {
    let mut stores = lock();
    while let Some(store) = stores.get_or_insert_default().get(&name) {
        match store.upgrade() {
            Some(inner) if inner.handles.load(Ordering::Acquire) > 0 => return Ok(Found::Open(inner)),
            // Another open is about to hand it out, or what builds its indexes is about to let go of it.
            Some(inner) => {
                // Closing it asks for the lock.
                drop(stores);
                drop(inner);
                std::thread::sleep(CLOSING_POLL);
                stores = lock();
            }
            None => stores = CLOSED.wait(stores).unwrap_or_else(PoisonError::into_inner),
        }
    }
    // The name is taken while the store opens, without the lock: opening takes time, and other stores need not wait for it.
    stores.get_or_insert_default().insert(name.clone(), Weak::new());
    drop(stores);
    // Dropped with a failed open, which gives the name back.
    let inner = open(Registration { name: name.clone() })?;
    lock().get_or_insert_default().insert(name, Arc::downgrade(&inner));
    CLOSED.notify_all();
    Ok(Found::New(inner))
}

/// The answer to asking for a store.
pub(crate) enum Found {
    /// It was open already.
    Open(Arc<Inner>),
    /// It was opened.
    New(Arc<Inner>),
}

/// The place of a store among the open ones; given back when the store has closed its files.
pub(crate) struct Registration {
    name: PathBuf,
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock().get_or_insert_default().remove(&self.name);
        CLOSED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, Option<HashMap<PathBuf, Weak<Inner>>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
