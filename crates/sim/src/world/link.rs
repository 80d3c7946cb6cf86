//! The network between one device and the server: one connection at a time, in order, as slow and as broken as it gets.

use crate::chance::mix;
use crate::scenario::Settings;

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// When the last frame arrives; the next one cannot overtake it.
    free_at: u64,
    /// Frames that were sent and have not arrived.
    pub(crate) in_flight: usize,
    /// How many frames were ever sent.
    sent: u64,
    /// How many arrived; the sender sees from this that bytes move.
    pub(crate) moved: u64,
    /// Whether nothing arrives any more.
    pub(crate) silent: bool,
    /// Before this nothing arrives.
    pub(crate) stalled_until: u64,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journey {
    /// It arrives at this time.
    Arrives(u64),
    /// It arrives twice, at these times.
    Twice(u64, u64),
    /// It never arrives, and the sender's window stays narrower.
    Vanishes,
}

/// The link of a device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: Lane,
    pub(crate) down: Lane,
    /// Milliseconds for 100 bytes.
    pub(crate) throttle: u64,
    seed: u64,
}

impl Link {
    /// The link of a new connection; delays depend only on this seed and on how many frames went before.
    pub(crate) fn connect(&mut self, seed: u64, now: u64) {
        *self = Link { throttle: self.throttle, seed, ..Link::default() };
        self.up.free_at = now;
        self.down.free_at = now;
    }

    /// A number that grows with every sign of life of the other side: what came from it, and what it said that it took.
    pub(crate) fn signs_of_life(&self, at_server: bool) -> u64 {
        let (from, to) = if at_server { (&self.up, &self.down) } else { (&self.down, &self.up) };
        from.moved + if from.silent { 0 } else { to.moved }
    }

    /// Whether another frame may be sent in this direction.
    pub(crate) fn has_room(&self, up: bool, settings: &Settings) -> bool {
        let lane = if up { &self.up } else { &self.down };
        lane.in_flight < settings.frames_in_flight
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, up: bool, bytes: usize, now: u64, settings: &Settings) -> Journey {
        let (seed, throttle) = (self.seed, self.throttle);
        let lane = if up { &mut self.up } else { &mut self.down };
        lane.sent += 1;
        lane.in_flight += 1;
        if lane.silent {
            return Journey::Vanishes;
        }
        let dice = mix(&[seed, u64::from(up), lane.sent]);
        let delay = settings.latency + if settings.jitter > 0 { dice % settings.jitter } else { 0 };
        let slow = throttle * bytes as u64 / 100;
        lane.free_at = lane.free_at.max(now + delay).max(lane.stalled_until) + slow;
        let luck = (dice >> 32) % 1000;
        let twice = if up { settings.twice_up } else { settings.twice_down };
        if luck < twice {
            lane.in_flight += 1;
            return Journey::Twice(lane.free_at, lane.free_at + 1);
        }
        Journey::Arrives(lane.free_at)
    }
}
