//! What a device's engine does: connect, look at what arrived, apply it together, send, and try again after a pause.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reconvene_client::{Driver, Progress};
use reconvene_protocol::{ClientConfig, Closed, Code, Credential, Message};
use reconvene_store::__private::Image;

use super::device::Conn;
use super::link::Journey;
use super::{ConnId, Event, World, tell};
use crate::audit::truth::TxRecord;
use crate::chance::mix;
use crate::finding::{Finding, Outcome, check};
use crate::scenario::DevicePoint;

/// How long the answer of a server that is down, or of a network that is off, takes in milliseconds.
const REFUSED_MS: u64 = 20;

/// How often a device tells a digest of what it has: runs are short.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

impl World {
    /// Tries to connect, as the engine's thread does.
    pub(super) fn connect(&mut self, index: usize, attempt: u64) -> Outcome<()> {
        let device = &mut self.devices[index];
        if device.attempt != attempt || device.conn.is_some() || device.gave_up.is_some() {
            return Ok(());
        }
        let Some(store) = &device.store else { return Ok(()) };
        if !device.online || !self.server.is_up() {
            self.retry(
                index,
                &Closed {
                    by: reconvene_protocol::ClosedBy::Link,
                    code: Code::LinkLost,
                    reason: "no way to the server".to_owned(),
                },
            );
            return Ok(());
        }
        self.last_conn += 1;
        let id = self.last_conn;
        let now = Duration::from_millis(self.now);
        let mut config = ClientConfig { probe_interval: PROBE_INTERVAL, ..ClientConfig::default() };
        if index.is_multiple_of(2) {
            // Half of the devices upload while they catch up, as other clients may have it.
            config.catch_up_first = Duration::ZERO;
        }
        let driver = Driver::new(store, config, vec![Credential::None], now)
            .map_err(|error| Finding::new("store readable", error.to_string()))?;
        device.link.connect(mix(&[self.scenario.seed, index as u64, attempt]), self.now);
        device.conn =
            Some(Conn { id, driver, inbox: VecDeque::new(), turn_at: None, timer_at: None, moved: 0 });
        tell!(self, "device {index} connects (connection {id})");
        let latency = self.scenario.settings.latency;
        self.after(latency, Event::Accept { device: index, conn: id });
        self.schedule_device_timer(index);
        Ok(())
    }

    fn retry(&mut self, index: usize, closed: &Closed) {
        let now = self.elapsed();
        let device = &mut self.devices[index];
        device.attempt += 1;
        let attempt = device.attempt;
        if !closed.code.retry_helps() {
            device.gave_up = Some(closed.code);
            tell!(self, "device {index} gives up: {closed}");
            return;
        }
        let pause = device.backoff.handle_failure(now, mix(&[self.scenario.seed, index as u64, attempt, 7]));
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(REFUSED_MS);
        self.after(pause, Event::Connect { device: index, attempt });
    }

    /// Whether this is the device's present connection.
    fn is_current(&self, index: usize, conn: ConnId) -> bool {
        self.devices[index].conn.as_ref().is_some_and(|current| current.id == conn)
    }

    pub(super) fn frame_down(&mut self, index: usize, conn: ConnId, frame: Bytes) -> Outcome<()> {
        if !self.is_current(index, conn) {
            return Ok(());
        }
        let pause = self.scenario.settings.device_pause;
        let device = &mut self.devices[index];
        let Some(current) = &mut device.conn else { return Ok(()) };
        current.inbox.push_back(frame);
        let at = (self.now + pause).max(device.busy_until);
        if current.turn_at.is_none() {
            current.turn_at = Some(at);
            self.after(at - self.now, Event::Turn { device: index, conn });
        }
        Ok(())
    }

    /// Looks at everything that arrived and applies it together, as the engine does.
    pub(super) fn turn(&mut self, index: usize, conn: ConnId) -> Outcome<()> {
        if !self.is_current(index, conn) {
            return Ok(());
        }
        let now = self.elapsed();
        let device = &mut self.devices[index];
        let Some(current) = &mut device.conn else { return Ok(()) };
        current.turn_at = None;
        let frames = current.inbox.len();
        // What is pushed is whole, even if a catch-up begins before anybody looks again.
        let pushed = if frames > 1 { last_pushed(&current.inbox) } else { 0 };
        while let Some(frame) = current.inbox.pop_front() {
            current.driver.session().handle_frame(frame, now);
        }
        device.link.down.in_flight = device.link.down.in_flight.saturating_sub(frames);
        device.link.down.moved += frames as u64;
        if frames > 0
            && let Some(down) = device.crashes_at(DevicePoint::BeforeApply)
        {
            self.coverage.fault(DevicePoint::BeforeApply.name());
            self.crash_device(index, None, down);
            return Ok(());
        }
        device.audit.pushed = pushed;
        self.pump_device(index)?;
        self.pump_server(conn)
    }

    pub(super) fn device_timer(&mut self, index: usize, conn: ConnId) -> Outcome<()> {
        if !self.is_current(index, conn) {
            return Ok(());
        }
        let now = self.elapsed();
        let device = &mut self.devices[index];
        let Some(current) = &mut device.conn else { return Ok(()) };
        current.timer_at = None;
        if current.driver.poll_timeout().is_some_and(|due| due <= now) {
            let moved = device.link.signs_of_life(false);
            if std::mem::replace(&mut current.moved, moved) != moved {
                current.driver.session().handle_progress(now);
            }
            current.driver.session().handle_timeout(now);
        }
        self.pump_device(index)
    }

    fn schedule_device_timer(&mut self, index: usize) {
        let Some(current) = &mut self.devices[index].conn else { return };
        let Some(due) = current.driver.poll_timeout() else { return };
        let due = u64::try_from(due.as_millis()).unwrap_or(u64::MAX);
        if current.timer_at.is_none_or(|at| due < at) {
            current.timer_at = Some(due);
            let conn = current.id;
            self.at(due, Event::DeviceTimer { device: index, conn });
        }
    }

    /// Carries out what the session asks for, then sends what it says.
    pub(super) fn pump_device(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        let (Some(store), Some(current)) = (&device.store, &mut device.conn) else { return Ok(()) };
        let conn = current.id;
        let wants_image =
            matches!(device.crash_at, Some((DevicePoint::AfterLogin | DevicePoint::AfterApply, _)));
        let mut progress: Vec<(Progress, Option<Image>)> = Vec::new();
        current.driver.carry_out(Duration::from_millis(self.now), &mut |step| {
            progress.push((step, if wants_image { Image::of(store) } else { None }));
        });
        for (step, image) in progress {
            let point = match step {
                Progress::LoggedIn => {
                    device.backoff.handle_login(Duration::from_millis(self.now));
                    device.audit.caught_up = 0;
                    Some(DevicePoint::AfterLogin)
                }
                Progress::Renewed(renewed) => {
                    self.coverage.fault("device: goes on under another name");
                    let Some(store) = &device.store else { return Ok(()) };
                    device.audit.renamed(&self.truth, store, &renewed).map_err(|finding| {
                        Finding::new(finding.law, format!("device {index}: {}", finding.what))
                    })?;
                    Some(DevicePoint::AfterLogin)
                }
                Progress::CaughtUp(seq) => {
                    device.audit.caught_up = seq.0;
                    None
                }
                Progress::Diverged(range) => {
                    check(self.is_corrupted, "nobody is told to differ who does not", || {
                        format!("device {index}: {range:?}")
                    })?;
                    None
                }
                Progress::Advanced => {
                    device.backoff.handle_progress();
                    None
                }
                Progress::Applied { rejected, conflicts, .. } => {
                    if let Some(store) = device.store.as_ref().filter(|_| !self.is_corrupted) {
                        device.audit.told_rejected(store, &rejected)?;
                        let epoch = store.sync().cursor().map_err(super::server::unreadable)?.epoch;
                        let truth = self.former.get(&epoch).map_or(&self.truth, |former| former);
                        device.audit.told_conflicts(store, truth, epoch, &conflicts)?;
                    }
                    Some(DevicePoint::AfterApply)
                }
                _ => None,
            };
            if let Some(point) = point
                && let Some(down) = device.crashes_at(point)
            {
                self.coverage.fault(point.name());
                self.crash_device(index, image, down);
                return Ok(());
            }
        }
        self.audit_device(index)?;
        self.send_up(index, conn)
    }

    fn send_up(&mut self, index: usize, conn: ConnId) -> Outcome<()> {
        loop {
            let settings = &self.scenario.settings;
            let device = &mut self.devices[index];
            let Some(current) = &mut device.conn else { return Ok(()) };
            let closed = current.driver.closed().cloned();
            // A farewell leaves even if there is no room, as the engine gives it some time.
            if closed.is_none() && !device.link.has_room(true, settings) {
                break;
            }
            let Some(frame) = current.driver.poll_message() else {
                if let Some(closed) = closed {
                    self.device_closed(index, conn, &closed);
                    return Ok(());
                }
                break;
            };
            let message = Message::decode(frame.clone(), usize::MAX);
            // A device ends the session when it is answered more often than it has asked.
            let is_question = matches!(message, Ok(Message::Probe(_)));
            let uploaded = match message {
                Ok(Message::Upload(txs)) => txs,
                _ => Vec::new(),
            };
            let is_upload = !uploaded.is_empty();
            if is_upload && let Some(down) = device.crashes_at(DevicePoint::BeforeSend) {
                self.coverage.fault(DevicePoint::BeforeSend.name());
                self.crash_device(index, None, down);
                return Ok(());
            }
            for tx in &uploaded {
                device.audit.sent(TxRecord::read(tx)?.number);
            }
            let journey = match device.link.send(true, frame.len(), self.now, settings) {
                Journey::Twice(at, _) if is_question => {
                    device.link.up.in_flight -= 1;
                    Journey::Arrives(at)
                }
                journey => journey,
            };
            match journey {
                Journey::Arrives(at) => self.at(at, Event::Up { conn, frame }),
                Journey::Twice(at, again) => {
                    self.coverage.fault("network: a frame arrives twice at the server");
                    self.at(at, Event::Up { conn, frame: frame.clone() });
                    self.at(again, Event::Up { conn, frame });
                }
                Journey::Vanishes => self.coverage.fault("network: a frame to the server is lost"),
            }
            if is_upload && let Some(down) = self.devices[index].crashes_at(DevicePoint::AfterSend) {
                self.coverage.fault(DevicePoint::AfterSend.name());
                self.crash_device(index, None, down);
                return Ok(());
            }
        }
        self.schedule_device_timer(index);
        Ok(())
    }

    fn device_closed(&mut self, index: usize, conn: ConnId, closed: &Closed) {
        tell!(self, "device {index}: connection {conn} has ended: {closed}");
        self.coverage.closed(closed.code);
        self.devices[index].conn = None;
        let latency = self.scenario.settings.latency;
        self.after(latency, Event::EndAtServer { conn });
        self.retry(index, closed);
    }

    pub(super) fn end_at_device(&mut self, index: usize, conn: ConnId) -> Outcome<()> {
        if !self.is_current(index, conn) {
            return Ok(());
        }
        // What arrived before the end is still read.
        self.turn(index, conn)?;
        if !self.is_current(index, conn) {
            return Ok(());
        }
        if let Some(current) = &mut self.devices[index].conn {
            current.driver.session().handle_disconnected("the server closed the connection");
        }
        self.pump_device(index)
    }

    /// Notes a local commit, as the store's listener does.
    pub(super) fn outbox_grew(&mut self, index: usize) -> Outcome<()> {
        if let Some(current) = &mut self.devices[index].conn {
            current.driver.session().handle_local_commit();
        }
        self.pump_device(index)
    }
}

/// The last position that these frames push; 0 if they push nothing.
fn last_pushed(frames: &VecDeque<Bytes>) -> u64 {
    let pushed = frames.iter().filter_map(|frame| match Message::decode(frame.clone(), usize::MAX) {
        Ok(Message::Push(txs)) => txs.last().map(|tx| tx.seq.0),
        _ => None,
    });
    pushed.max().unwrap_or(0)
}
