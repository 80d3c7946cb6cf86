//! What befalls a device: cuts, crashes, restored backups, copies and upgrades.

use std::time::Duration;

use reconvene_protocol::Backoff;
use reconvene_store::__private::Image;
use reconvene_store::Store;

use super::device::{Backup, Place};
use super::{Event, World, tell};
use crate::chance::mix;
use crate::finding::{Finding, Outcome};
use crate::schema::NEWEST;

impl World {
    /// Ends the connection; who is not told finds out by himself.
    pub(super) fn cut(&mut self, index: usize, told_server: bool, told_device: bool) {
        let Some(conn) = self.devices[index].conn.as_ref().map(|conn| conn.id) else { return };
        let link = &mut self.devices[index].link;
        (link.up.silent, link.down.silent) = (true, true);
        self.server.break_link(conn);
        if told_server {
            self.after(1, Event::EndAtServer { conn });
        }
        if told_device {
            self.after(1, Event::EndAtDevice { device: index, conn });
        }
    }

    pub(super) fn network(&mut self, index: usize, on: bool) -> Outcome<()> {
        let device = &mut self.devices[index];
        if std::mem::replace(&mut device.online, on) == on {
            return Ok(());
        }
        if !on {
            self.coverage.fault("network: off for a while");
            self.cut(index, false, true);
        } else if device.conn.is_none() {
            // The application says that the network is back.
            device.backoff.network_is_back(Duration::from_millis(self.now));
            device.attempt += 1;
            let attempt = device.attempt;
            self.after(1, Event::Connect { device: index, attempt });
        }
        Ok(())
    }

    /// Ends a device at once; what it has committed, or had when the image was made, stays.
    pub(super) fn crash_device(&mut self, index: usize, image: Option<Image>, down: u64) {
        tell!(self, "device {index} crashes");
        let conn = self.devices[index].conn.as_ref().map(|conn| conn.id);
        let device = &mut self.devices[index];
        device.close();
        if let (Some(image), Place::Memory(place)) = (image, &mut device.place) {
            *place = Some(image);
        }
        device.attempt += 1;
        device.crash_at = None;
        device.audit.forget_told();
        if let Some(conn) = conn {
            // A process that dies resets its connections; a machine that does leaves them half open.
            if mix(&[self.scenario.seed, conn, 3]).is_multiple_of(2) {
                self.after(1, Event::EndAtServer { conn });
            } else {
                self.server.break_link(conn);
            }
        }
        self.after(down.max(1), Event::DeviceUp { device: index });
    }

    pub(super) fn device_up(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        if device.store.is_some() {
            return Ok(());
        }
        device.open()?;
        device.backoff = Backoff::default();
        device.attempt += 1;
        let attempt = device.attempt;
        tell!(self, "device {index} is up again");
        // While it was closed nobody was told anything, but what it shows is what its observers knew.
        self.refresh(index)?;
        self.look(index)?;
        self.after(1, Event::Connect { device: index, attempt });
        Ok(())
    }

    /// After a restart an application reads everything anew.
    fn refresh(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        // What observers were told while the store was being opened concerns nobody: nobody had read anything yet.
        drop(device.take_observed());
        let Some(store) = &device.store else { return Ok(()) };
        device.audit.read_anew(store, &self.births)
    }

    pub(super) fn backup(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        let Some(store) = &device.store else { return Ok(()) };
        let place = match &device.root {
            None => Place::Memory(Image::of(store)),
            Some(root) => {
                device.backups += 1;
                let directory = root.join(format!("backup-{index}-{}", device.backups));
                let failed = |error: &dyn std::fmt::Display| Finding::new("backups", error.to_string());
                std::fs::create_dir_all(&directory).map_err(|error| failed(&error))?;
                store.backup(directory.join(Store::DATA_FILE)).map_err(|error| failed(&error))?;
                Place::Disk(directory)
            }
        };
        device.backup = Some(Backup { place, audit: device.audit.clone() });
        Ok(())
    }

    /// Puts a device back to its last backup.
    pub(super) fn restore(&mut self, index: usize) -> Outcome<()> {
        let Some(backup) = self.devices[index].backup.take() else { return Ok(()) };
        self.coverage.fault("device: restored from a backup");
        self.crash_device(index, None, 500);
        self.devices[index].become_copy(backup);
        Ok(())
    }

    /// Puts a copy of one device's directory in place of another device's.
    pub(super) fn copy(&mut self, index: usize, onto: usize) -> Outcome<()> {
        if index == onto || self.devices[index].store.is_none() {
            return Ok(());
        }
        self.coverage.fault("device: directory copied");
        self.backup(index)?;
        let Some(copy) = self.devices[index].backup.take() else { return Ok(()) };
        self.crash_device(onto, None, 500);
        self.devices[onto].become_copy(copy);
        Ok(())
    }

    pub(super) fn upgrade(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        if device.store.is_none() || device.audit.version == NEWEST {
            return Ok(());
        }
        device.audit.version = NEWEST;
        self.coverage.fault("device: upgraded");
        self.crash_device(index, None, 300);
        Ok(())
    }
}
