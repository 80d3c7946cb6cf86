//! A bounded queue that one background thread empties, batch by batch.
//!
//! The thread is started by the first item and stays until the queue is closed. What was taken in is always handed to the
//! thread, also when the queue is closed meanwhile.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, PoisonError};

use crate::primitives::{Condvar, Mutex, MutexGuard, thread};

/// Items on their way to one thread; see the module.
pub(crate) struct WorkQueue<T> {
    state: Mutex<State<T>>,
    /// The thread waits here for items, or for the queue to be closed.
    filled: Condvar,
    /// Whoever has an item for a full queue waits here.
    emptied: Condvar,
    pieces_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// How many pieces of work the items hold.
    pieces: usize,
    /// How many wait for room.
    blocked: usize,
    worker: Worker,
    /// Kept apart from `worker`, which may have ended by the time that somebody waits for it.
    handle: Option<thread::JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Worker {
    /// There is no thread.
    None,
    /// The thread handles a batch, or is about to look for one.
    Busy,
    /// The thread sleeps until there is an item.
    Idle,
    /// The thread ends as soon as the queue is empty.
    Ending,
}

/// Why a piece of work was not taken in.
pub(crate) enum Refused {
    /// The queue is full and the caller must not wait.
    Full,
    /// The thread could not be started.
    NoThread(io::Error),
}

impl<T: Send + 'static> WorkQueue<T> {
    /// A queue that holds up to this many pieces of work; as many again may be in the hands of its thread.
    pub(crate) fn new(pieces_max: usize) -> Arc<Self> {
        let state =
            State { items: VecDeque::new(), pieces: 0, blocked: 0, worker: Worker::None, handle: None };
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        Arc::new(WorkQueue { state: Mutex::new(state), filled, emptied, pieces_max })
    }

    /// Adds a piece of work: `add` puts it at the end of the items, or into the last one. If the queue is full, it waits for
    /// room where it may.
    ///
    /// `start` makes what the thread does with each batch, in case that it has to be started.
    pub(crate) fn push<R, W: FnMut(VecDeque<T>) + Send + 'static>(
        self: &Arc<Self>,
        may_wait: bool,
        start: impl FnOnce() -> W,
        add: impl FnOnce(&mut VecDeque<T>) -> R,
    ) -> Result<R, Refused> {
        let mut state = self.lock();
        while state.pieces >= self.pieces_max {
            if !may_wait {
                return Err(Refused::Full);
            }
            state.blocked += 1;
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
        match state.worker {
            Worker::None => {
                let (queue, mut work) = (self.clone(), start());
                let builder = thread::Builder::new().name("reconvene-writes".to_owned());
                let spawned = builder.spawn(move || {
                    while let Some(batch) = queue.next_batch() {
                        work(batch);
                    }
                });
                state.handle = Some(spawned.map_err(Refused::NoThread)?);
                state.worker = Worker::Busy;
            }
            Worker::Idle => {
                state.worker = Worker::Busy;
                self.filled.notify_one();
            }
            Worker::Busy | Worker::Ending => {}
        }
        state.pieces += 1;
        Ok(add(&mut state.items))
    }

    /// Has the thread end once the queue is empty, and waits for that, unless this is the thread.
    pub(crate) fn close(&self) {
        let handle = {
            let mut state = self.lock();
            if state.worker == Worker::None {
                return;
            }
            state.worker = Worker::Ending;
            self.filled.notify_one();
            state.handle.take()
        };
        if let Some(handle) = handle
            && handle.thread().id() != thread::current().id()
        {
            // Only a panic in the work could have ended the thread early, and its report was given.
            let _ = handle.join();
        }
    }

    /// All that is queued, as soon as there is something; `None` if the thread is to end.
    fn next_batch(&self) -> Option<VecDeque<T>> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.worker == Worker::Ending {
                state.worker = Worker::None;
                return None;
            }
            state.worker = Worker::Idle;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.worker == Worker::Idle {
            state.worker = Worker::Busy;
        }
        let batch = std::mem::take(&mut state.items);
        state.pieces = 0;
        if state.blocked > 0 {
            self.emptied.notify_all();
        }
        Some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
