//! A device: a real store, a real session, and what its engine would do between them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reconvene_client::{Driver, Progress};
use reconvene_protocol::{Backoff, ClientConfig, Closed, Code, Credential};
use reconvene_store::__private::Image;
use reconvene_store::{Changes, Durability, Role, Store, Subscription};

use super::link::{Journey, Link};
use super::{ConnId, Event, World, tell};
use crate::audit::device::{DeviceAudit, Stand};
use crate::chance::mix;
use crate::finding::{Finding, Outcome, check};
use crate::scenario::{DevicePoint, Scenario};
use crate::schema::{self, HeldNote, NEWEST};

/// How long the answer of a server that is down, or of a network that is off, takes in milliseconds.
const REFUSED_MS: u64 = 20;

/// Where a store lies while it is closed.
#[derive(Clone)]
pub(crate) enum Place {
    /// Nowhere yet, or in memory as it was when it was closed.
    Memory(Option<Image>),
    /// In this directory.
    Disk(PathBuf),
}

impl Place {
    pub(crate) fn new(root: Option<&Path>, name: &str) -> Place {
        root.map_or(Place::Memory(None), |root| Place::Disk(root.join(name)))
    }

    /// Opens the store that lies here.
    pub(crate) fn open(
        &self,
        role: Role,
        version: u8,
        secret: u8,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Outcome<Store> {
        let builder = match self {
            Place::Memory(None) => Store::builder("memory:"),
            Place::Memory(Some(image)) => Store::builder("memory:").image(image),
            Place::Disk(directory) => Store::builder(directory),
        };
        let builder = builder
            .role(role)
            .durability(Durability::Relaxed)
            .identity_secret([secret; 32])
            .time_source(clock);
        schema::describe(builder, version)
            .open()
            .map_err(|error| Finding::new("stores open", format!("a store does not open: {error}")))
    }

    /// Closes a store as a crash does: what is committed stays.
    pub(crate) fn close(&mut self, store: Store) {
        if let Place::Memory(image) = self {
            *image = Image::of(&store);
        }
    }
}

/// A connection as the device has it.
struct Conn {
    id: ConnId,
    driver: Driver,
    /// What arrived and was not looked at.
    inbox: VecDeque<Bytes>,
    turn_at: Option<u64>,
    timer_at: Option<u64>,
    moved: u64,
}

/// What is needed to go back to a backup.
#[derive(Clone)]
struct Backup {
    place: Place,
    audit: DeviceAudit,
}

pub(crate) struct Device {
    pub(crate) index: usize,
    secret: u8,
    place: Place,
    pub(crate) store: Option<Store>,
    subscription: Option<Subscription>,
    observed: Arc<Mutex<Vec<Changes>>>,
    pub(crate) audit: DeviceAudit,
    clock: Arc<AtomicU64>,
    skew: Arc<AtomicI64>,
    pub(crate) link: Link,
    conn: Option<Conn>,
    backoff: Backoff,
    attempt: u64,
    online: bool,
    /// Why it does not try any more.
    pub(crate) gave_up: Option<Code>,
    /// Whether it was copied or restored, so that it may have to give up.
    pub(crate) is_forked: bool,
    pub(crate) crash_at: Option<(DevicePoint, u64)>,
    pub(crate) busy_until: u64,
    pub(crate) held: Option<HeldNote>,
    backup: Option<Backup>,
    root: Option<PathBuf>,
    backups: u64,
}

impl Device {
    pub(crate) fn new(
        index: usize,
        scenario: &Scenario,
        root: Option<&Path>,
        clock: Arc<AtomicU64>,
    ) -> Outcome<Device> {
        let settings = &scenario.settings;
        let secret = u8::try_from(index + 2).expect("there are few devices");
        let skew = settings.skews.get(index).copied().unwrap_or(0);
        let version = settings.versions.get(index).copied().unwrap_or(NEWEST);
        let mut device = Device {
            index,
            secret,
            place: Place::new(root, &format!("device-{index}")),
            store: None,
            subscription: None,
            observed: Arc::default(),
            audit: DeviceAudit::new(reconvene_model::PeerId(0), version),
            clock,
            skew: Arc::new(AtomicI64::new(skew)),
            link: Link::default(),
            conn: None,
            backoff: Backoff::default(),
            attempt: 0,
            online: true,
            gave_up: None,
            is_forked: false,
            crash_at: None,
            busy_until: 0,
            held: None,
            backup: None,
            root: root.map(Path::to_owned),
            backups: 0,
        };
        device.open()?;
        device.audit.peer = device.store()?.sync().peer();
        Ok(device)
    }

    pub(crate) fn store(&self) -> Outcome<&Store> {
        self.store.as_ref().ok_or_else(|| Finding::new("simulator", "a device that is down has no store"))
    }

    fn open(&mut self) -> Outcome<()> {
        let (clock, skew) = (self.clock.clone(), self.skew.clone());
        let store = self.place.open(Role::Device, self.audit.version, self.secret, move || {
            clock.load(Ordering::Relaxed).saturating_add_signed(skew.load(Ordering::Relaxed))
        })?;
        let observed = self.observed.clone();
        self.subscription = Some(store.observe(move |changes| {
            observed.lock().unwrap_or_else(PoisonError::into_inner).push(changes.clone());
        }));
        self.store = Some(store);
        Ok(())
    }

    fn close(&mut self) {
        self.conn = None;
        self.held = None;
        self.subscription = None;
        self.take_observed();
        if let Some(store) = self.store.take() {
            self.place.close(store);
        }
    }

    fn take_observed(&mut self) -> Vec<Changes> {
        std::mem::take(&mut *self.observed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn move_clock(&mut self, by: i64) {
        self.skew.fetch_add(by, Ordering::Relaxed);
    }

    fn crashes_at(&mut self, point: DevicePoint) -> Option<u64> {
        let (_, down) = self.crash_at.filter(|(at, _)| *at == point)?;
        self.crash_at = None;
        Some(down)
    }

    pub(crate) fn is_settled(&self, head: u64) -> Outcome<bool> {
        if self.gave_up.is_some() {
            return Ok(true);
        }
        let (Some(store), Some(_)) = (&self.store, &self.conn) else { return Ok(false) };
        let stand = Stand::of(store)?;
        Ok(!stand.catching_up
            && stand.login.cursor.seq.0 == head
            && stand.login.decided == self.audit.txs.len() as u64)
    }

    pub(crate) fn describe(&self) -> String {
        let stand = self.store.as_ref().map(Stand::of);
        let connection = match (&self.conn, self.gave_up) {
            (_, Some(code)) => format!("gave up ({code})"),
            (Some(_), _) => "connected".to_owned(),
            (None, _) => "without connection".to_owned(),
        };
        match stand {
            Some(Ok(stand)) => format!(
                "device {}: {connection}, cursor {}, catching up {}, {} of {} decided",
                self.index,
                stand.login.cursor.seq,
                stand.catching_up,
                stand.login.decided,
                self.audit.txs.len()
            ),
            _ => format!("device {}: {connection}, closed", self.index),
        }
    }
}

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
        let driver = Driver::new(store, ClientConfig::default(), vec![Credential::None], now)
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
        current.driver.carry_out(&mut |step| {
            progress.push((step, if wants_image { Image::of(store) } else { None }));
        });
        for (step, image) in progress {
            let point = match step {
                Progress::LoggedIn => {
                    device.backoff.handle_login(Duration::from_millis(self.now));
                    Some(DevicePoint::AfterLogin)
                }
                Progress::Advanced => {
                    device.backoff.handle_progress();
                    None
                }
                Progress::Applied { rejected, .. } => {
                    device.audit.told_rejected(&rejected)?;
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
            let is_upload = matches!(
                reconvene_protocol::Message::decode(frame.clone(), usize::MAX),
                Ok(reconvene_protocol::Message::Upload(_))
            );
            if is_upload && let Some(down) = device.crashes_at(DevicePoint::BeforeSend) {
                self.coverage.fault(DevicePoint::BeforeSend.name());
                self.crash_device(index, None, down);
                return Ok(());
            }
            let journey = device.link.send(true, frame.len(), self.now, settings);
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

    /// Notes a local commit, as the store's listener does.
    pub(super) fn outbox_grew(&mut self, index: usize) -> Outcome<()> {
        if let Some(current) = &mut self.devices[index].conn {
            current.driver.session().handle_local_commit();
        }
        self.pump_device(index)
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

    /// Holds a device against what it must be, as far as something may have changed.
    pub(super) fn audit_device(&mut self, index: usize) -> Outcome<()> {
        let device = &mut self.devices[index];
        let changes = device.take_observed();
        let Some(store) = &device.store else { return Ok(()) };
        let stand = Stand::of(store)?;
        let told = |finding: Finding| Finding::new(finding.law, format!("device {index}: {}", finding.what));
        let before = device.audit.floor;
        device.audit.advanced(&self.truth, &stand).map_err(told)?;
        if changes.is_empty() && before == device.audit.floor {
            return Ok(());
        }
        let mut keys = device.audit.observed(store, &self.births, &changes).map_err(told)?;
        if !stand.catching_up {
            keys.extend(self.truth.touched(before, device.audit.floor));
        }
        for key in keys {
            device
                .audit
                .check_object(store, &self.truth, &self.births, &self.uids, key, &stand)
                .map_err(told)?;
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
        device.audit.check_all(store, &self.truth, &self.births, &self.uids, &stand).map_err(told)?;
        if let Some(code) = device.gave_up {
            let is_fork = matches!(code, Code::IdentityForked | Code::HistoryLost | Code::Replaced);
            check(device.is_forked && is_fork, "nobody gives up without need", || {
                format!("device {index} gave up: {code}")
            })?;
        }
        Ok(())
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
        let secret = self.devices[index].secret;
        self.crash_device(onto, None, 500);
        self.devices[index].is_forked = true;
        self.devices[onto].become_copy(copy);
        self.devices[onto].secret = secret;
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

impl Device {
    fn become_copy(&mut self, copy: Backup) {
        self.place = copy.place;
        self.audit = copy.audit;
        self.is_forked = true;
        self.gave_up = None;
    }
}

impl Device {
    /// Whether this is its present connection.
    pub(super) fn is_on(&self, conn: ConnId) -> bool {
        self.conn.as_ref().is_some_and(|current| current.id == conn)
    }
}
