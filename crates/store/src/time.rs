//! Where the store takes the time from.

use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
///
/// The store's logical clock never goes back, whatever the source says.
pub trait TimeSource: Send + Sync + 'static {
    /// Milliseconds since the beginning of 1970, UTC.
    fn now_ms(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTimeSource;

impl TimeSource for SystemTimeSource {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl<F: Fn() -> u64 + Send + Sync + 'static> TimeSource for F {
    fn now_ms(&self) -> u64 {
        self()
    }
}
