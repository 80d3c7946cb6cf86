//! The locks, counters and threads that the store's own mechanisms of waiting are made of.
//!
//! Modules that wait for each other name them through here and need nothing else of the crate. So `tests/locks.rs` compiles the
//! same files with the primitives of a model checker in their place, and nothing in the crate has to know about that.

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread;
