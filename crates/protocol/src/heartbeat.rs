//! Signs of life: noticing a connection that died without telling.

use std::time::Duration;

use crate::timer::{Timer, TimerTable};

/// Asks a silent peer for a sign of life and answers when asked.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    idle: Duration,
    patience: Duration,
    asked: u64,
    ping: Option<u64>,
    pong: Option<u64>,
}

impl Heartbeat {
    /// Starts the watch: after `idle` of silence the peer is asked, after another `patience` it is dead.
    pub(crate) fn start(idle: Duration, patience: Duration, timers: &mut TimerTable, now: Duration) -> Self {
        timers.set(Timer::Idle, now + idle);
        Heartbeat { idle, patience, asked: 0, ping: None, pong: None }
    }

    /// The peer said something, or bytes of a long message moved.
    pub(crate) fn heard(&mut self, timers: &mut TimerTable, now: Duration) {
        timers.stop(Timer::Pong);
        timers.set(Timer::Idle, now + self.idle);
    }

    /// The peer was silent for too long.
    pub(crate) fn idle(&mut self, timers: &mut TimerTable, now: Duration) {
        self.asked += 1;
        self.ping = Some(self.asked);
        timers.set(Timer::Pong, now + self.patience);
    }

    /// The peer asks. Only the last question is answered, so that a peer that asks without reading fills no queue.
    pub(crate) fn asked(&mut self, token: u64) {
        self.pong = Some(token);
    }

    pub(crate) fn take_ping(&mut self) -> Option<u64> {
        self.ping.take()
    }

    pub(crate) fn take_pong(&mut self) -> Option<u64> {
        self.pong.take()
    }
}
