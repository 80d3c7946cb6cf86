//! When a client tries again.

use std::time::Duration;

/// The pauses between attempts, the last one repeated: each is the most that is waited, and half of it the least.
pub const STEPS: [Duration; 9] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Decides when a client that lost its server connects again.
///
/// After every failed attempt the engine calls [`handle_failure`](Self::handle_failure), after every login that the server
/// accepted [`handle_login`](Self::handle_login), and when the application says that the network is back
/// [`network_is_back`](Self::network_is_back). It connects when [`poll_timeout`](Self::poll_timeout) is past.
///
/// ```
/// use std::time::Duration;
/// use reconvene_protocol::Backoff;
///
/// let mut backoff = Backoff::default();
/// let start = Duration::ZERO;
/// assert_eq!(backoff.handle_failure(start, u64::MAX), Duration::from_millis(500));
/// assert_eq!(backoff.handle_failure(start, 0), Duration::from_millis(500));
/// backoff.network_is_back(start);
/// assert_eq!(backoff.poll_timeout(), Some(start));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: usize,
    retry_at: Option<Duration>,
}

impl Backoff {
    /// Plans the next attempt and returns the pause before it.
    ///
    /// `random` is any random number: it spreads the clients of a server that was away over the second half of the step.
    pub fn handle_failure(&mut self, now: Duration, random: u64) -> Duration {
        let step = STEPS[self.failures.min(STEPS.len() - 1)];
        self.failures += 1;
        let half = step / 2;
        let part = random as f64 / u64::MAX as f64;
        let pause = half + half.mul_f64(part);
        self.retry_at = Some(now + pause);
        pause
    }

    /// Starts over with the shortest pause, since the server answers.
    pub fn handle_login(&mut self) {
        *self = Backoff::default();
    }

    /// Makes a waiting attempt due at once and starts over with the shortest pause, since the cause of the failures is gone.
    pub fn network_is_back(&mut self, now: Duration) {
        self.failures = 0;
        if self.retry_at.is_some() {
            self.retry_at = Some(now);
        }
    }

    /// When to connect; `None` while no attempt has failed.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.retry_at
    }

    /// How many attempts have failed in a row.
    pub fn failures(&self) -> usize {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_stay_there() {
        let mut backoff = Backoff::default();
        let now = Duration::from_secs(1000);
        for step in STEPS.iter().chain([STEPS[8]; 3].iter()) {
            assert_eq!(backoff.handle_failure(now, u64::MAX), *step);
            assert_eq!(backoff.poll_timeout(), Some(now + *step));
        }
        backoff.handle_login();
        assert_eq!(backoff.poll_timeout(), None);
        assert_eq!(backoff.handle_failure(now, u64::MAX), STEPS[0]);
    }

    #[test]
    fn jitter_stays_in_the_second_half_of_a_step() {
        for random in [0, 1, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
            let mut backoff = Backoff::default();
            for step in STEPS {
                let pause = backoff.handle_failure(Duration::ZERO, random);
                assert!(step / 2 <= pause && pause <= step, "{random}: {pause:?} of {step:?}");
            }
        }
    }

    #[test]
    fn a_network_that_is_back_is_tried_at_once() {
        let mut backoff = Backoff::default();
        let now = Duration::from_secs(7);
        backoff.network_is_back(now);
        assert_eq!(backoff.poll_timeout(), None, "there was nothing to try again");
        for _ in 0..9 {
            backoff.handle_failure(now, u64::MAX);
        }
        backoff.network_is_back(now);
        assert_eq!(backoff.poll_timeout(), Some(now));
        assert_eq!(backoff.handle_failure(now, u64::MAX), STEPS[0]);
    }
}
