//! Removals that the server forgets after some seconds, where real ones keep them for months.

use std::time::Duration;

use super::server::unreadable;
use super::{Event, World, tell};
use crate::audit::truth::Key;
use crate::chance::mix;
use crate::finding::Outcome;
use crate::schema::Kind;

/// One run in so many has a server that forgets.
const RUNS: u64 = 3;

/// How long it keeps removals.
const TERM: Duration = Duration::from_secs(6);

/// How often it looks, in milliseconds.
const PAUSE_MS: u64 = 700;

impl World {
    /// Plans the first look, if this run is one of those.
    pub(super) fn plan_expiry(&mut self) {
        if mix(&[self.scenario.seed, 31]).is_multiple_of(RUNS) {
            self.after(PAUSE_MS, Event::Expire);
        }
    }

    pub(super) fn expire(&mut self) -> Outcome<()> {
        self.after(PAUSE_MS, Event::Expire);
        let Some(store) = &self.server.store else { return Ok(()) };
        let expired = store.sync().expire(TERM).map_err(unreadable)?;
        if expired.removals > 0 {
            self.coverage.fault("server: forgets removals");
            tell!(self, "the server forgets {} removals: {:?}", expired.removals, expired.forgotten);
        }
        for object in expired.forgotten {
            if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.uid() == object.entity) {
                self.truth.forget(Key { kind, gid: object.gid })?;
            }
        }
        Ok(())
    }
}
