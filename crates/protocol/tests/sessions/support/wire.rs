//! A link with delays, cuts and silence.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// One direction of the link.
#[derive(Default)]
pub(crate) struct Wire {
    under_way: VecDeque<(Duration, Bytes)>,
    /// Takes frames and never delivers them.
    pub(crate) swallow: bool,
    pub(crate) frames: usize,
    /// When the last frame arrived.
    pub(crate) arrival: Duration,
}

impl Wire {
    pub(crate) fn send(&mut self, frame: Bytes, at: Duration) {
        self.frames += 1;
        if !self.swallow {
            self.under_way.push_back((at, frame));
        }
    }

    pub(crate) fn due(&mut self, now: Duration) -> Option<Bytes> {
        let (_, frame) = self.under_way.pop_front_if(|(at, _)| *at <= now)?;
        self.arrival = now;
        Some(frame)
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.under_way.front().map(|(at, _)| *at)
    }
}
