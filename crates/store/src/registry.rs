//! The stores that this process has open, so that a second open of a directory finds the first.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::store::Inner;

static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Inner>>>> = Mutex::new(None);
static CLOSED: Condvar = Condvar::new();

/// Finds the store that is open under this name, or opens it; other opens wait meanwhile.
///
/// A store that is just being closed is waited for: only then are its files free.
pub(crate) fn find_or_open<E>(
    name: PathBuf,
    open: impl FnOnce(Registration) -> Result<Arc<Inner>, E>,
) -> Result<Found, E> {
    let mut stores = lock();
    while let Some(store) = stores.get_or_insert_default().get(&name) {
        if let Some(inner) = store.upgrade() {
            return Ok(Found::Open(inner));
        }
        stores = CLOSED.wait(stores).unwrap_or_else(PoisonError::into_inner);
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
