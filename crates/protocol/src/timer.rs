//! What a session waits for.

use std::time::Duration;

/// What a session waits for; times are counted from an arbitrary start that the engine chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When the login must be complete, so that a connection that says nothing holds no place.
    Login,
    /// When the other side has been silent for so long that it is asked for a sign of life.
    Idle,
    /// When the answer to that must have come, else the connection is dead.
    Pong,
    /// When a client asks next whether the server has what it has.
    Probe,
    /// Until when a client gives the catch-up precedence over its uploads.
    CatchUp,
}

impl Timer {
    /// All of them, in the order in which they are handled when several are due.
    pub const ALL: [Timer; 5] = [Timer::Login, Timer::Pong, Timer::Idle, Timer::Probe, Timer::CatchUp];
}

/// When each timer is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimerTable {
    due: [Option<Duration>; Timer::ALL.len()],
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, at: Duration) {
        self.due[timer as usize] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    pub(crate) fn stop_all(&mut self) {
        *self = TimerTable::default();
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize].is_some()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.due.iter().flatten().min().copied()
    }

    /// Stops and returns one timer that is due.
    pub(crate) fn expire(&mut self, now: Duration) -> Option<Timer> {
        let timer =
            Timer::ALL.into_iter().find(|timer| self.due[*timer as usize].is_some_and(|due| due <= now))?;
        self.stop(timer);
        Some(timer)
    }
}
