//! What a reader may allocate: counted, not guessed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

/// Counts every allocation of a program that is linked with this crate.
#[global_allocator]
static COUNTER: PeakAlloc = PeakAlloc;

/// What a reader may take beside a multiple of its input: tables of fixed size, the text of an error, and the little that
/// other threads of a test program allocate meanwhile.
pub const BYTES_FREE: usize = 128 * 1024;

static ALONE: Mutex<()> = Mutex::new(());

/// Keeps other measurements away until it is dropped, since the count is one of the whole process.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a reader and returns what it returned.
///
/// # Panics
///
/// If at any moment it held more than `factor` times the bytes of its input, and [`BYTES_FREE`].
pub fn bounded<T>(what: &str, input_bytes: usize, factor: usize, reader: impl FnOnce() -> T) -> T {
    COUNTER.reset_peak_usage();
    let before = COUNTER.current_usage();
    let result = reader();
    let held = COUNTER.peak_usage().saturating_sub(before);
    let max = input_bytes * factor + BYTES_FREE;
    assert!(held <= max, "{what} held {held} bytes for an input of {input_bytes}; at most {max} are allowed");
    result
}
