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
/// After every attempt and every session that ended the engine calls [`handle_failure`](Self::handle_failure), after every
/// login that the server accepted [`handle_login`](Self::handle_login), whenever a session has moved the store forward
/// [`handle_progress`](Self::handle_progress), and when the application says that the network is back
/// [`network_is_back`](Self::network_is_back). It connects when [`poll_timeout`](Self::poll_timeout) is past.
///
/// A login alone does not start over with the shortest pause: a server that accepts logins and then breaks would be asked
/// for ever at the highest rate.
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
#[derive(Clone, Debug)]
pub struct Backoff {
    steps: Vec<Duration>,
    failures: usize,
    retry_at: Option<Duration>,
    logged_in_at: Option<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::with_steps(&STEPS)
    }
}

impl Backoff {
    /// A schedule with other pauses than [`STEPS`], the last one repeated; without any it is that one.
    pub fn with_steps(steps: &[Duration]) -> Self {
        let steps = if steps.is_empty() { &STEPS } else { steps };
        Backoff { steps: steps.to_vec(), failures: 0, retry_at: None, logged_in_at: None }
    }

    /// Plans the next attempt and returns the pause before it.
    ///
    /// `random` is any random number: it spreads the clients of a server that was away over the second half of the step.
    pub fn handle_failure(&mut self, now: Duration, random: u64) -> Duration {
        let last = self.steps.len() - 1;
        if let Some(since) = self.logged_in_at.take()
            && now.saturating_sub(since) >= self.steps[last]
        {
            // A session in which nothing had to be done, but which held: what ended it is not what failed before.
            self.failures = 0;
        }
        let step = self.steps[self.failures.min(last)];
        self.failures += 1;
        let half = step / 2;
        let part = random as f64 / u64::MAX as f64;
        let pause = half + half.mul_f64(part);
        self.retry_at = Some(now + pause);
        pause
    }

    /// Notes that the server took a login. A session that holds for as long as the longest pause counts as success.
    pub fn handle_login(&mut self, now: Duration) {
        self.retry_at = None;
        self.logged_in_at = Some(now);
    }

    /// Starts over with the shortest pause, since the session has moved the store's cursor or settled a transaction of it.
    pub fn handle_progress(&mut self) {
        self.failures = 0;
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
        backoff.handle_login(now);
        assert_eq!(backoff.poll_timeout(), None);
        backoff.handle_progress();
        assert_eq!(backoff.handle_failure(now, u64::MAX), STEPS[0]);
    }

    #[test]
    fn a_login_that_leads_nowhere_does_not_shorten_the_pauses() {
        let mut backoff = Backoff::default();
        let mut now = Duration::ZERO;
        for step in STEPS {
            assert_eq!(backoff.handle_failure(now, u64::MAX), step);
            now += step;
            backoff.handle_login(now);
        }
        now += STEPS[8] - Duration::from_millis(1);
        assert_eq!(backoff.handle_failure(now, u64::MAX), STEPS[8], "it did not hold long enough");
        backoff.handle_login(now);
        assert_eq!(backoff.handle_failure(now + STEPS[8], u64::MAX), STEPS[0], "it held");
    }

    #[test]
    fn other_steps_take_the_place_of_the_default_ones() {
        let steps = [Duration::from_millis(1), Duration::from_millis(3)];
        let mut backoff = Backoff::with_steps(&steps);
        let mut pauses = || backoff.handle_failure(Duration::ZERO, u64::MAX);
        assert_eq!([pauses(), pauses(), pauses()], [steps[0], steps[1], steps[1]]);
        assert_eq!(Backoff::with_steps(&[]).handle_failure(Duration::ZERO, u64::MAX), STEPS[0]);
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
