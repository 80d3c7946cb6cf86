//! The hybrid logical clock: stamps that grow with every write, follow wall time, and never go back.

use std::time::Duration;

use crate::stamp::COUNTER_BITS;

/// How far ahead of server time a stamp may be before the server refuses it, unless configured otherwise.
pub const DRIFT_MAX: Duration = Duration::from_secs(60);

/// The largest wall-clock reading that fits a stamp, in milliseconds since 1970: the year 10889.
pub const MILLIS_MAX: u64 = (1 << (u64::BITS - COUNTER_BITS)) - 1;

/// The largest of all clock readings so far; hands out larger ones.
///
/// A reading is 48 bits of milliseconds since 1970 above 16 bits of counter. The clock reads no time by itself: wall time
/// comes in with every [`Clock::tick`]. Whoever keeps stamps stores [`Clock::last`] with them and gives it back to
/// [`Clock::new`], so that a restart or a wall clock set back cannot repeat a reading.
///
/// ```
/// use reconvene_model::clock::Clock;
///
/// let mut clock = Clock::new(0);
/// let first = clock.tick(1_000);
/// let second = clock.tick(1_000);
/// let after_set_back = clock.tick(10);
/// assert!(first < second && second < after_set_back);
/// ```
#[derive(Clone, Debug)]
pub struct Clock {
    last: u64,
}

impl Clock {
    /// A clock whose readings will be larger than `last_hlc`; 0 for a clock that never ticked.
    pub fn new(last_hlc: u64) -> Self {
        Clock { last: last_hlc }
    }

    /// The next reading, at wall time `wall_ms` in milliseconds since 1970: strictly greater than all before it.
    ///
    /// It shows wall time where that is ahead; else it counts on from the last reading, into the next millisecond when
    /// the counter is used up. At the end of the 64 bits it stays at `u64::MAX`: it never wraps. Only observing a stamp
    /// without a drift check can bring a clock there.
    pub fn tick(&mut self, wall_ms: u64) -> u64 {
        self.last = from_millis(wall_ms).max(self.last.saturating_add(1));
        self.last
    }

    /// Takes note of a reading of another clock: all later ones are larger.
    ///
    /// Check the drift first, as with [`is_ahead`]: a reading far in the future takes this clock along.
    pub fn observe(&mut self, hlc: u64) {
        self.last = self.last.max(hlc);
    }

    /// The largest reading handed out or observed.
    pub fn last(&self) -> u64 {
        self.last
    }
}

/// The smallest reading at wall time `wall_ms` in milliseconds since 1970; what lies beyond [`MILLIS_MAX`] counts as that.
pub fn from_millis(wall_ms: u64) -> u64 {
    wall_ms.min(MILLIS_MAX) << COUNTER_BITS
}

/// Whether a reading lies more than `drift` beyond wall time `wall_ms` in milliseconds since 1970.
pub fn is_ahead(hlc: u64, wall_ms: u64, drift: Duration) -> bool {
    let drift_ms = u64::try_from(drift.as_millis()).unwrap_or(u64::MAX);
    hlc >> COUNTER_BITS > wall_ms.saturating_add(drift_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;

    #[test]
    fn follows_wall_time() {
        let mut clock = Clock::new(0);
        assert_eq!(clock.tick(5), 5 << COUNTER_BITS);
        assert_eq!(clock.tick(9), 9 << COUNTER_BITS);
    }

    #[test]
    fn counts_on_when_the_wall_clock_is_set_back() {
        let mut clock = Clock::new(0);
        let before = clock.tick(1_000_000);
        assert_eq!(clock.tick(3), before + 1);
        assert_eq!(Clock::new(clock.last()).tick(0), before + 2, "a restart does not forget");
    }

    #[test]
    fn counter_overflows_into_the_next_millisecond() {
        let mut clock = Clock::new((7 << COUNTER_BITS) | COUNTER_MAX);
        assert_eq!(clock.tick(7), 8 << COUNTER_BITS);
        assert_eq!(clock.tick(8), (8 << COUNTER_BITS) + 1);
    }

    #[test]
    fn observed_readings_are_overtaken_and_older_ones_change_nothing() {
        let mut clock = Clock::new(0);
        clock.observe(500 << COUNTER_BITS);
        assert_eq!(clock.tick(100), (500 << COUNTER_BITS) + 1);
        clock.observe(3);
        assert_eq!(clock.last(), (500 << COUNTER_BITS) + 1);
    }

    #[test]
    fn saturates_and_never_wraps() {
        let mut clock = Clock::new(0);
        assert_eq!(clock.tick(u64::MAX), MILLIS_MAX << COUNTER_BITS);
        clock.observe(u64::MAX - 1);
        assert_eq!(clock.tick(0), u64::MAX);
        assert_eq!(clock.tick(0), u64::MAX);
    }

    #[test]
    fn drift_is_measured_in_whole_milliseconds() {
        let server_ms = 1_000;
        let limit_ms = server_ms + 60_000;
        assert!(!is_ahead(from_millis(limit_ms) | COUNTER_MAX, server_ms, DRIFT_MAX));
        assert!(is_ahead(from_millis(limit_ms + 1), server_ms, DRIFT_MAX));
        assert!(!is_ahead(u64::MAX, u64::MAX, Duration::MAX));
    }

    proptest! {
        #[test]
        fn readings_strictly_increase(start in 0..u64::MAX / 2, steps in proptest::collection::vec(
            (0..MILLIS_MAX, proptest::option::of(0..u64::MAX / 2)), 1..50,
        )) {
            let mut clock = Clock::new(start);
            for (wall_ms, observed) in steps {
                let before = clock.last();
                if let Some(hlc) = observed {
                    clock.observe(hlc);
                }
                let reading = clock.tick(wall_ms);
                prop_assert!(reading > before && reading > observed.unwrap_or(0) && reading >= from_millis(wall_ms));
                prop_assert_eq!(reading, clock.last());
            }
        }
    }
}
