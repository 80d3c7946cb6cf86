//! What time it is on the server, as far as this connection can tell.

use std::time::Duration;

/// How far the device's clock and the time that has passed may come apart before neither is believed.
///
/// Well below the drift that servers allow, so that a device which slept for less is not taken for one whose clock is wrong.
const APART_MAX: Duration = Duration::from_secs(10);

/// Server time, counted on from the login by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerTime {
    /// What the server said, in milliseconds since 1970.
    said_ms: u64,
    /// When it arrived, by the clock that nobody sets.
    at: Duration,
    /// When it arrived, by the device's clock, in milliseconds since 1970.
    device_ms: u64,
}

impl ServerTime {
    pub(crate) fn new(said_ms: u64, at: Duration, device_ms: u64) -> Self {
        ServerTime { said_ms, at, device_ms }
    }

    /// Server time in milliseconds since 1970; the time that its word was under way is missing, so it lags behind.
    pub(crate) fn at(&self, now: Duration) -> u64 {
        self.said_ms.saturating_add(millis(now.saturating_sub(self.at)))
    }

    /// Whether the device's clock went on as fast as time did.
    ///
    /// If not, it was set, or the device slept, which many systems do not count as time that passes: what
    /// [`ServerTime::at`] says may be hours old then.
    pub(crate) fn is_steady(&self, now: Duration, device_ms: u64) -> bool {
        let expected = self.device_ms.saturating_add(millis(now.saturating_sub(self.at)));
        device_ms.abs_diff(expected) <= millis(APART_MAX)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: u64 = 1_800_000_000_000;
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;

    #[test]
    fn counts_on_whatever_the_device_says() {
        let time = ServerTime::new(NOON_MS, Duration::from_secs(5), NOON_MS + YEAR_MS);
        assert_eq!(time.at(Duration::from_secs(5)), NOON_MS);
        assert_eq!(time.at(Duration::from_secs(65)), NOON_MS + 60_000);
        assert_eq!(time.at(Duration::ZERO), NOON_MS, "a time before its word came");
    }

    #[test]
    fn a_wrong_clock_is_steady_until_it_is_set_or_the_device_sleeps() {
        let time = ServerTime::new(NOON_MS, Duration::ZERO, NOON_MS + YEAR_MS);
        let later = Duration::from_secs(3600);
        let right = NOON_MS + YEAR_MS + 3_600_000;
        assert!(time.is_steady(later, right) && time.is_steady(later, right + 10_000));
        assert!(!time.is_steady(later, right + 10_001), "slept");
        assert!(!time.is_steady(later, right - 10_001), "set back a little");
        assert!(!time.is_steady(later, NOON_MS + 3_600_000), "set right");
        assert!(!time.is_steady(later, 0), "set to 1970");
    }
}
