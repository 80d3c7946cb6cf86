//! What all sessions of a server share.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reconvene_model::{PeerId, Seq};
use reconvene_protocol::ServerConfig;
use reconvene_store::{Store, StoreError, SyncHandle};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::committer::Job;
use crate::comparing::{Sets, SharedSet};
use crate::login::Admission;
use crate::options::ServerLimits;
use crate::ring::Ring;

/// What all sessions of a server share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) sync: SyncHandle,
    pub(crate) admission: Admission,
    pub(crate) limits: ServerLimits,
    pub(crate) protocol: ServerConfig,
    pub(crate) ring: Arc<Ring>,
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Bounds the snapshots that catch-ups hold open at a time.
    pub(crate) catch_ups: Semaphore,
    /// What sessions compare with; locked while one is built, so that the others wait for it.
    pub(crate) sets: tokio::sync::Mutex<Sets>,
    start: Instant,
    /// Raised once, when the server is to end.
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) stats: Counters,
    peers: Mutex<HashMap<PeerId, Arc<Notify>>>,
}

/// What a server counts since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) verdicts: AtomicU64,
    pub(crate) divergences: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        store: Store,
        admission: Admission,
        limits: ServerLimits,
        protocol: ServerConfig,
        ring: Arc<Ring>,
        jobs: mpsc::Sender<Job>,
    ) -> Self {
        Shared {
            sync: store.sync(),
            store,
            admission,
            catch_ups: Semaphore::new(limits.catch_ups_max.max(1)),
            sets: tokio::sync::Mutex::default(),
            start: Instant::now(),
            limits,
            protocol,
            ring,
            jobs,
            draining: watch::Sender::new(false),
            stats: Counters::default(),
            peers: Mutex::default(),
        }
    }

    /// The server's clock, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.store.now_ms()
    }

    /// For how long the server has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The set that a session begins to compare with, not older than `from`; built on a thread that may block if there is none that is new enough.
    pub(crate) async fn set(self: Arc<Self>, from: Seq) -> Result<Arc<SharedSet>, StoreError> {
        let mut sets = self.sets.lock().await;
        // A set from below the horizon may hold what was removed since, without a trace.
        let from = from.max(self.sync.horizon()?);
        if let Some(set) = sets.find(self.sync.head()?, from, self.elapsed()) {
            return Ok(set);
        }
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|error| StoreError::Randomness { reason: error.to_string() })?;
        let _permit = self.catch_ups.acquire().await;
        let shared = self.clone();
        let built = tokio::task::spawn_blocking(move || {
            let now = shared.elapsed();
            let set = SharedSet::build(&shared.sync, salt, now)?;
            tracing::info!(objects = set.len(), took = ?(shared.elapsed() - now), "a set to compare with was built");
            Ok(set)
        });
        let built: Result<SharedSet, StoreError> =
            built.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let set = Arc::new(built?);
        sets.keep(set.clone());
        Ok(set)
    }

    /// Makes a session the only one of its peer; an older one is told to end.
    pub(crate) fn register(self: &Arc<Self>, peer: PeerId) -> Registration {
        let replaced = Arc::new(Notify::new());
        let older = self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, replaced.clone());
        if let Some(older) = older {
            older.notify_one();
        }
        Registration { shared: self.clone(), peer, replaced }
    }

    /// How many peers are logged in.
    pub(crate) fn sessions(&self) -> usize {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A session's place among the logged-in peers, given up when dropped.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    peer: PeerId,
    replaced: Arc<Notify>,
}

impl Registration {
    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Notified when the peer has logged in again.
    pub(crate) fn replaced(&self) -> Arc<Notify> {
        self.replaced.clone()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.get(&self.peer).is_some_and(|newest| Arc::ptr_eq(newest, &self.replaced)) {
            peers.remove(&self.peer);
        }
    }
}
