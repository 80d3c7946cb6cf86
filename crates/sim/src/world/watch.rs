//! When the auditor looks at a device, and at how much of it.

use super::{START_MS, World};
use crate::audit::device::Stand;
use crate::finding::{Finding, Outcome, found};

impl World {
    /// Holds a device against what it must be, as far as something may have changed.
    pub(super) fn audit_device(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        let changes = device.take_observed();
        if self.is_corrupted {
            return Ok(());
        }
        let Some(store) = &device.store else { return Ok(()) };
        let stand = Stand::of(store)?;
        let told = |finding: Finding| Finding::new(finding.law, format!("device {index}: {}", finding.what));
        let before = device.audit.floor;
        let restamped = device.audit.restamped(store, START_MS + self.now).map_err(told)?;
        if !restamped.is_empty() {
            self.coverage.fault("clock: unsent writes are dated anew");
        }
        let from = self.former.get(&device.audit.epoch);
        let to = self.former.get(&stand.login.cursor.epoch).map_or(&self.truth, |former| former);
        let mut elsewhere = device.audit.follows(from, to, &stand);
        device.audit.advanced(to, &stand).map_err(told)?;
        let before = before.min(device.audit.floor);
        if device.audit.check_lost(store, to).map_err(told)? {
            self.coverage.fault("device: has compared with a restored server");
            elsewhere = true;
        }
        if !elsewhere && changes.is_empty() && restamped.is_empty() && before == device.audit.floor {
            return Ok(());
        }
        let mut keys = device.audit.observed(store, &self.births, &changes).map_err(told)?;
        keys.extend(restamped);
        if !stand.catching_up {
            keys.extend(to.touched(before, device.audit.floor));
        }
        if elsewhere {
            keys.extend(to.keys());
        }
        for key in keys {
            device.audit.check_object(store, to, &self.births, &self.uids, key, &stand).map_err(told)?;
        }
        Ok(())
    }

    /// Looks at everything on a device.
    pub(super) fn look(&mut self, index: usize) -> Outcome<()> {
        self.audit_device(index)?;
        let device = &mut self.devices[index];
        let Some(store) = &device.store else { return Ok(()) };
        let stand = Stand::of(store)?;
        let told = |finding: Finding| Finding::new(finding.law, format!("device {index}: {}", finding.what));
        let truth = self.former.get(&device.audit.epoch).map_or(&self.truth, |former| former);
        device.audit.check_all(store, truth, &self.births, &self.uids, &stand).map_err(told)?;
        if let Some(code) = device.gave_up {
            return found("nobody gives up without need", format!("device {index} gave up: {code}"));
        }
        Ok(())
    }
}
