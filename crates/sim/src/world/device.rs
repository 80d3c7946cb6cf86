//! A device: a real store, a real session, and what its engine would do between them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reconvene_client::Driver;
use reconvene_protocol::{Backoff, Code};
use reconvene_store::__private::Image;
use reconvene_store::{Changes, Durability, Role, Store, Subscription};

use super::ConnId;
use super::link::Link;
use crate::audit::device::{DeviceAudit, Stand};
use crate::finding::{Finding, Outcome};
use crate::scenario::{DevicePoint, Scenario};
use crate::schema::{self, HeldNote, NEWEST};

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
        openings: u64,
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
            .renewal_seed(renewal_seed(secret, openings))
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

/// What no two openings have in common.
fn renewal_seed(secret: u8, openings: u64) -> [u8; 32] {
    let mut seed = [secret; 32];
    seed[..8].copy_from_slice(&openings.to_be_bytes());
    seed
}

/// A connection as the device has it.
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) driver: Driver,
    /// What arrived and was not looked at.
    pub(super) inbox: VecDeque<Bytes>,
    pub(super) turn_at: Option<u64>,
    pub(super) timer_at: Option<u64>,
    pub(super) moved: u64,
}

/// What is needed to go back to a backup.
#[derive(Clone)]
pub(super) struct Backup {
    pub(super) place: Place,
    pub(super) audit: DeviceAudit,
}

pub(crate) struct Device {
    pub(crate) index: usize,
    pub(super) secret: u8,
    pub(super) place: Place,
    pub(crate) store: Option<Store>,
    subscription: Option<Subscription>,
    observed: Arc<Mutex<Vec<Changes>>>,
    pub(crate) audit: DeviceAudit,
    clock: Arc<AtomicU64>,
    skew: Arc<AtomicI64>,
    pub(crate) link: Link,
    pub(super) conn: Option<Conn>,
    pub(super) backoff: Backoff,
    pub(super) attempt: u64,
    pub(super) online: bool,
    /// Why it does not try any more.
    pub(crate) gave_up: Option<Code>,
    /// How often it was opened.
    openings: u64,
    pub(crate) crash_at: Option<(DevicePoint, u64)>,
    pub(crate) busy_until: u64,
    pub(crate) held: Option<HeldNote>,
    pub(super) backup: Option<Backup>,
    pub(super) root: Option<PathBuf>,
    pub(super) backups: u64,
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
            openings: 0,
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

    pub(super) fn open(&mut self) -> Outcome<()> {
        let (clock, skew) = (self.clock.clone(), self.skew.clone());
        self.openings += 1;
        let store =
            self.place.open(Role::Device, self.audit.version, self.secret, self.openings, move || {
                clock.load(Ordering::Relaxed).saturating_add_signed(skew.load(Ordering::Relaxed))
            })?;
        let observed = self.observed.clone();
        self.subscription = Some(store.observe(move |changes| {
            observed.lock().unwrap_or_else(PoisonError::into_inner).push(changes.clone());
        }));
        self.store = Some(store);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.conn = None;
        self.held = None;
        self.subscription = None;
        self.take_observed();
        if let Some(store) = self.store.take() {
            self.place.close(store);
        }
    }

    pub(super) fn take_observed(&mut self) -> Vec<Changes> {
        std::mem::take(&mut *self.observed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn move_clock(&mut self, by: i64) {
        self.skew.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn crashes_at(&mut self, point: DevicePoint) -> Option<u64> {
        let (_, down) = self.crash_at.filter(|(at, _)| *at == point)?;
        self.crash_at = None;
        Some(down)
    }

    pub(crate) fn is_settled(&self, epoch: u64, head: u64) -> Outcome<bool> {
        if self.gave_up.is_some() {
            return Ok(true);
        }
        let (Some(store), Some(_)) = (&self.store, &self.conn) else { return Ok(false) };
        let stand = Stand::of(store)?;
        Ok(!stand.catching_up
            && stand.login.cursor.epoch == epoch
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

impl Device {
    pub(super) fn become_copy(&mut self, copy: Backup) {
        self.place = copy.place;
        self.audit = copy.audit;
        self.gave_up = None;
    }
}

impl Device {
    /// Whether this is its present connection.
    pub(super) fn is_on(&self, conn: ConnId) -> bool {
        self.conn.as_ref().is_some_and(|current| current.id == conn)
    }
}
