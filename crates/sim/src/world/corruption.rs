//! After the end of some runs: a value changes on its own, on a device or at the server, and has to be noticed and put right.

use reconvene_store::__private::corrupt;

use super::{SETTLE_MS, World, tell};
use crate::chance::mix;
use crate::finding::{Finding, Outcome, found};
use crate::schema::{BIRTH, Kind};

/// One run in so many has an end of this kind.
const RUNS: u64 = 4;

/// How long at a time is waited before everybody is looked at, in milliseconds.
const LOOK_MS: u64 = 1_000;

impl World {
    /// Corrupts a value, and waits until all who can see it agree with the server again.
    pub(super) fn corrupt_and_heal(&mut self) -> Outcome<()> {
        let dice = mix(&[self.scenario.seed, 23]);
        let readers = self.readers();
        if !dice.is_multiple_of(RUNS) || readers.is_empty() {
            return Ok(());
        }
        let at_server = (dice / RUNS).is_multiple_of(2);
        let device = readers[usize::try_from(dice / 16 % readers.len() as u64).unwrap_or(0)];
        // What a device has beyond the server it would keep as rejected; the server's value is always the larger one.
        let (store, cell) = match at_server {
            true => (self.server.store()?, [0xff; 8]),
            false => (self.devices[device].store()?, [0; 8]),
        };
        let mut picked = None;
        for kind in Kind::ALL {
            let failed =
                |error: reconvene_store::StoreError| Finding::new("store readable", error.to_string());
            let objects = store.objects(kind.name()).and_then(|objects| objects.all()).map_err(failed)?;
            let at = usize::try_from(dice / 64 % objects.len().max(1) as u64).unwrap_or(0);
            let Some(id) = objects.get(at).map(|object| object.id) else { continue };
            picked = Some((kind, id));
            if dice.is_multiple_of(3) {
                break;
            }
        }
        let Some((kind, id)) = picked else { return Ok(()) };
        let done = corrupt(store, kind.name(), id, BIRTH, &cell);
        if !done.map_err(|error| Finding::new("store readable", error.to_string()))? {
            return Ok(());
        }
        let fault = if at_server { "corruption: at the server" } else { "corruption: on a device" };
        self.coverage.fault(fault);
        tell!(self, "== {} {id} is corrupted: {fault}", kind.name());
        self.is_corrupted = true;
        let end = self.now + SETTLE_MS;
        while self.now < end {
            self.run_until(self.now + LOOK_MS, false)?;
            if self.agree(&readers)? {
                self.coverage.fault("corruption: put right");
                return Ok(());
            }
        }
        found("a divergence is noticed", format!("{} {id} was never put right: {fault}", kind.name()))
    }

    /// The devices that are connected and read all that the server does.
    fn readers(&self) -> Vec<usize> {
        let is_reader = |device: &usize| {
            let device = &self.devices[*device];
            device.conn.is_some() && device.gave_up.is_none() && device.audit.version == self.server.version
        };
        (0..self.devices.len()).filter(is_reader).collect()
    }

    fn agree(&self, readers: &[usize]) -> Outcome<bool> {
        let expected = self.server.content_hash()?;
        for &device in readers {
            let Some(store) = &self.devices[device].store else { return Ok(false) };
            let hash = store.sync().content_hash();
            if hash.map_err(|error| Finding::new("store readable", error.to_string()))? != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
