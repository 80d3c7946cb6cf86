//! Everything that makes a store a peer: identity, clock, outbox, confirmed state, and on servers the ledger.
//!
//! Local writes enter by [`local`], what a server sent by [`apply`], what clients sent to a server by [`ledger`]. All three
//! run inside the store's one write transaction, so sync metadata and data are committed together or not at all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use reconvene_model::clock::{Clock, DRIFT_MAX, is_ahead};
use reconvene_model::identity::PeerKey;
use reconvene_model::{EntityId, PeerId, Seq, TxHash, TxNumber};

use crate::catalog::{Catalog, EntityRuntime};
use crate::error::{Result, StoreError};
use crate::seam::TableId;
use crate::store::{Inner, Store};
use crate::txn::WriteTxn;

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod changes;
mod coalesce;
pub(crate) mod columns;
pub(crate) mod compare;
pub(crate) mod conflicts;
pub(crate) mod convert;
pub(crate) mod digest;
pub(crate) mod eras;
pub(crate) mod expiry;
pub(crate) mod global_ids;
pub(crate) mod handle;
pub(crate) mod heard;
mod id_runs;
mod inserts;
pub(crate) mod ledger;
pub(crate) mod local;
pub(crate) mod meta;
pub(crate) mod origins;
pub(crate) mod outbox;
pub(crate) mod overlay;
pub(crate) mod pending;
pub(crate) mod probe;
pub(crate) mod rejected;
pub(crate) mod relink;
pub(crate) mod renew;
pub(crate) mod restamp;
mod touches;
mod updates;

pub use apply::{Applied, Delivery, LostOp, Verdict};
pub use changes::{Chunk, ChunkStart};
pub use compare::Fetched;
pub use conflicts::{CONFLICTS_BYTES_MAX, CONFLICTS_MAX, Conflict, ConflictLaw, Side, Version};
pub use expiry::{EXPIRY_STEP_ROWS, Expired, Expiry};
pub use handle::{LoginState, SyncHandle};
pub use ledger::{Break, Decided, Decision, Incoming, PushedTx, RefusalReason};
pub use meta::Cursor;
pub(crate) use origins::decisions;
pub use origins::{Claim, Origin, Rebased, VERDICTS_KEPT};
pub use outbox::OutboxTx;
pub use rejected::{LOST_BY_SERVER, LOST_OBJECTS_FROM, Rejected, RejectedOp};
pub use renew::{Fork, Kinship, Renewed};
pub use restamp::{Held, Uploads};

use columns::SyncEntity;
use eras::Naming;
use heard::Heard;
use pending::Pending;
use probe::Probing;
use touches::Touches;

/// What a store is to its peers; fixed when the directory is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Writes locally and hands its transactions to a server.
    #[default]
    Device,
    /// Decides on the transactions of devices and keeps their history.
    Server,
}

/// The largest transaction that a store accepts, in bytes as it travels: it must fit one message with room to spare.
pub const TX_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most operations of a transaction: a verdict must be able to name each of them within one message.
pub const TX_OPS_MAX: usize = 1 << 19;

/// The most values of a transaction, null ones included.
///
/// A null takes one bit as it travels and dozens of bytes where a transaction is judged. This keeps what a server holds of one
/// within about 256 MiB beside the stored objects that it changes.
pub const TX_VALUES_MAX: usize = 1 << 22;

/// The tables of sync, opened with the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncTables {
    pub(crate) outbox: TableId,
    pub(crate) confirmed: TableId,
    pub(crate) rejected: TableId,
    pub(crate) changes: TableId,
    pub(crate) origins: TableId,
    pub(crate) decisions: TableId,
    pub(crate) conflicts: TableId,
}

/// The sync half of an open store.
pub(crate) struct SyncState {
    pub(crate) role: Role,
    pub(crate) tables: SyncTables,
    identity: RwLock<Identity>,
    /// From which the secrets of further identities follow; they are random without it.
    renewal_seed: Option<[u8; 32]>,
    /// By entity id less one; `None` for local-only entities.
    entities: Vec<Option<SyncEntity>>,
    writer: Mutex<SyncWriter>,
    /// Accepted transactions that stay in the outbox until the cursor reaches their position. No table holds this: after a
    /// restart the next login tells it again.
    decided: Mutex<BTreeMap<TxNumber, Seq>>,
    /// Server time when an engine last said it, in milliseconds since 1970; 0 before. It lags behind and is never ahead.
    server_ms: AtomicU64,
    /// Whether a peer has spoken of objects of this store's own that it never made, as far as that is known.
    pretended: AtomicU8,
    listeners: Mutex<Vec<Arc<OutboxCallback>>>,
    pub(crate) probing: Probing,
}

/// Who a store is.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) key: PeerKey,
    pub(crate) naming: Arc<Naming>,
}

/// Called when the outbox grew.
type OutboxCallback = dyn Fn() + Send + Sync;

/// A listener's place at the outbox; dropping it ends the calls.
#[must_use = "dropping it ends the calls"]
pub struct OutboxListener {
    store: Store,
    callback: Arc<OutboxCallback>,
}

impl Drop for OutboxListener {
    fn drop(&mut self) {
        let sync = &self.store.inner().sync;
        let mut listeners = sync.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|other| !Arc::ptr_eq(other, &self.callback));
    }
}

/// What only the holder of the store's writer lock reads and changes; all of it can be rebuilt from the tables.
pub(crate) struct SyncWriter {
    pub(crate) clock: Clock,
    pub(crate) last_number: TxNumber,
    pub(crate) last_hash: TxHash,
    /// Up to here transactions may have been sent.
    pub(crate) sent: TxNumber,
    pub(crate) pending: Pending,
    /// Set from the first change in a transaction until its commit, so that an aborted one is noticed and undone.
    stale: bool,
}

/// The sync half of one write transaction.
pub(crate) struct SyncTx {
    /// Who the store is; the transaction that changes it goes on under the new name.
    naming: Arc<Naming>,
    /// The new identity, in the transaction that takes it.
    renewed: Option<Identity>,
    pub(crate) touches: Touches,
    /// How far other peers' objects are known; behind a cell because looking something up may add to it.
    pub(crate) heard: RefCell<Heard>,
    /// Whether this transaction changed the [`SyncWriter`].
    writes: bool,
    /// What this transaction changes of the accepted transactions: their position, or that they are settled.
    decided: BTreeMap<TxNumber, Option<Seq>>,
    /// Whether the outbox grew, so that listeners are told after the commit.
    pub(crate) outbox_grew: bool,
}

impl SyncTx {
    pub(crate) fn new(naming: Arc<Naming>) -> SyncTx {
        SyncTx {
            naming,
            renewed: None,
            touches: Touches::default(),
            heard: RefCell::default(),
            writes: false,
            decided: BTreeMap::new(),
            outbox_grew: false,
        }
    }
}

impl SyncState {
    /// Reads or creates the sync half of a store inside the transaction that opens it.
    pub(crate) fn open(tx: &mut impl meta::MetaTable, options: SyncOpen<'_>) -> Result<SyncState> {
        let role = meta::claim_role(tx, options.role)?;
        let key = match meta::secret(tx)? {
            Some(secret) => PeerKey::from_secret(secret),
            None => {
                let secret = match options.identity_secret {
                    Some(secret) => secret,
                    None => random_bytes()?,
                };
                meta::put_secret(tx, &secret)?;
                PeerKey::from_secret(secret)
            }
        };
        if role == Role::Server && meta::epoch(tx)?.is_none() {
            meta::put_epoch(tx, random_epoch()?)?;
        }
        let naming = Arc::new(Naming::load(tx, key.peer())?);
        let last = options.catalog.entities().map(|e| e.def.id.0).max().unwrap_or(0) as usize;
        let mut entities: Vec<Option<SyncEntity>> = (0..last).map(|_| None).collect();
        for entity in options.catalog.entities().filter(|e| e.def.is_synced()) {
            entities[entity.def.id.0 as usize - 1] = Some(SyncEntity::new(entity, options.catalog));
        }
        Ok(SyncState {
            role,
            tables: options.tables,
            identity: RwLock::new(Identity { key, naming }),
            renewal_seed: options.renewal_seed,
            entities,
            // Stale from the start: the first transaction that needs it reads the tables.
            writer: Mutex::new(SyncWriter {
                clock: Clock::new(0),
                last_number: 0,
                last_hash: TxHash::NONE,
                sent: 0,
                pending: Pending::default(),
                stale: true,
            }),
            decided: Mutex::default(),
            server_ms: AtomicU64::new(0),
            pretended: AtomicU8::new(global_ids::UNKNOWN),
            listeners: Mutex::default(),
            probing: Probing::default(),
        })
    }

    /// Who the store is and was, as of the last commit.
    pub(crate) fn naming(&self) -> Arc<Naming> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).naming.clone()
    }

    /// The key of the present name.
    pub(crate) fn key(&self) -> PeerKey {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).key.clone()
    }

    /// Takes note of server time, in milliseconds since 1970: from here on, commits freeze what a server would take. At 0, which stands
    /// for no server, they freeze nothing.
    pub(crate) fn note_server_time(&self, server_ms: u64) {
        self.server_ms.store(server_ms, Ordering::Relaxed);
    }

    /// Whether a server, as far as its time is known, would not find this reading too far ahead.
    pub(crate) fn may_be_sent(&self, hlc: u64) -> bool {
        let server_ms = self.server_ms.load(Ordering::Relaxed);
        server_ms > 0 && !is_ahead(hlc, server_ms, DRIFT_MAX)
    }

    /// The columns of a synced entity.
    pub(crate) fn entity(&self, id: EntityId) -> Result<&SyncEntity> {
        self.entities
            .get((id.0 as usize).wrapping_sub(1))
            .and_then(Option::as_ref)
            .ok_or_else(|| StoreError::internal("a change names an entity that is not synced"))
    }
}

/// Calls `callback` after each commit that added to the outbox, on the thread that committed and under no lock.
pub(crate) fn on_outbox(store: &Store, callback: Arc<OutboxCallback>) -> OutboxListener {
    let sync = &store.inner().sync;
    sync.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(callback.clone());
    OutboxListener { store: store.clone(), callback }
}

/// What [`SyncState::open`] needs from the store.
pub(crate) struct SyncOpen<'a> {
    pub(crate) role: Role,
    pub(crate) identity_secret: Option<[u8; 32]>,
    pub(crate) renewal_seed: Option<[u8; 32]>,
    pub(crate) tables: SyncTables,
    pub(crate) catalog: &'a Catalog,
}

/// Gives the history of a server another identity.
pub(crate) fn begin_new_history(tx: &mut impl meta::MetaTable) -> Result<()> {
    let Some(former) = meta::epoch(tx)? else { return Err(StoreError::DeviceDirectory) };
    let head = meta::head(tx)?;
    meta::put_former(tx, former, head)?;
    meta::put_epoch(tx, random_epoch()?)
}

/// The identity of a history, never 0.
fn random_epoch() -> Result<u64> {
    Ok(u64::from_le_bytes(random_bytes()?).max(1))
}

fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Randomness { reason: error.to_string() })?;
    Ok(bytes)
}

impl<'s> WriteTxn<'s> {
    /// Who the store is and was.
    #[inline]
    pub(crate) fn naming(&self) -> &Naming {
        &self.sync.naming
    }

    /// Who the store is.
    #[inline]
    pub(crate) fn own_peer(&self) -> PeerId {
        self.sync.naming.peer()
    }

    /// The sync writer, rebuilt from the tables if an earlier transaction changed it and was aborted.
    pub(crate) fn sync_writer(&self) -> Result<MutexGuard<'_, SyncWriter>> {
        let mut writer = self.inner().sync.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.stale && !self.sync.writes {
            *writer = SyncWriter::load(self)?;
        }
        Ok(writer)
    }

    /// As [`WriteTxn::sync_writer`], to change it: only this transaction's commit makes the change stay.
    pub(crate) fn sync_writer_mut<R>(&mut self, change: impl FnOnce(&mut SyncWriter) -> R) -> Result<R> {
        let result = {
            let mut writer = self.sync_writer()?;
            writer.stale = true;
            change(&mut writer)
        };
        self.sync.writes = true;
        Ok(result)
    }

    /// Notes that a transaction of this store has been accepted, and its position; `None` once it has left the outbox.
    pub(crate) fn note_decided(&mut self, number: TxNumber, seq: Option<Seq>) {
        self.sync.decided.insert(number, seq);
    }

    /// The accepted transactions that lie at or before a position and have not left the outbox, ascending.
    pub(crate) fn decided_up_to(&self, seq: Seq) -> Vec<TxNumber> {
        let decided = self.inner().sync.decided.lock().unwrap_or_else(PoisonError::into_inner);
        let before = decided.iter().filter(|(number, _)| !self.sync.decided.contains_key(number));
        let before = before.map(|(&number, &at)| (number, at));
        let here = self.sync.decided.iter().filter_map(|(&number, &at)| Some((number, at?)));
        let mut numbers: Vec<TxNumber> =
            before.chain(here).filter(|&(_, at)| at <= seq).map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Whether a transaction is known to be accepted.
    pub(crate) fn is_decided(&self, number: TxNumber) -> bool {
        match self.sync.decided.get(&number) {
            Some(at) => at.is_some(),
            None => {
                self.inner().sync.decided.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&number)
            }
        }
    }

    /// The columns of a synced entity.
    pub(crate) fn sync_entity(&self, entity: &EntityRuntime) -> Result<&'s SyncEntity> {
        self.inner().sync.entity(entity.def.id)
    }
}

impl SyncWriter {
    fn load(tx: &WriteTxn<'_>) -> Result<SyncWriter> {
        let (last_number, last_hash) = meta::last_tx(tx)?;
        Ok(SyncWriter {
            clock: Clock::new(meta::clock(tx)?),
            last_number,
            last_hash,
            sent: restamp::frozen(tx)?,
            pending: Pending::load(tx)?,
            stale: false,
        })
    }
}

/// Turns the objects touched so far into one outbox transaction, as the last step before the commit, or before a write that
/// is committed together with this one and travels by itself.
pub(crate) fn before_commit(tx: &mut WriteTxn<'_>) -> Result<()> {
    local::finish(tx)
}

/// Forgets a write that failed without having written anything.
pub(crate) fn forget(tx: &mut WriteTxn<'_>) {
    tx.sync.touches = Touches::default();
}

/// Lets the changed writer stay, after the commit and before another transaction can begin.
pub(crate) fn committed(inner: &Inner, tx: &SyncTx) {
    if let Some(identity) = &tx.renewed {
        *inner.sync.identity.write().unwrap_or_else(PoisonError::into_inner) = identity.clone();
        inner.sync.pretended.store(global_ids::UNKNOWN, Ordering::Relaxed);
    }
    if tx.writes {
        inner.sync.writer.lock().unwrap_or_else(PoisonError::into_inner).stale = false;
    }
    if !tx.decided.is_empty() {
        let mut decided = inner.sync.decided.lock().unwrap_or_else(PoisonError::into_inner);
        for (&number, &seq) in &tx.decided {
            match seq {
                Some(seq) => decided.insert(number, seq),
                None => decided.remove(&number),
            };
        }
    }
}

/// Tells the listeners of the outbox, after the commit and under no lock.
pub(crate) fn notify(inner: &Inner, tx: &SyncTx) {
    if tx.outbox_grew {
        let listeners = inner.sync.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for listener in listeners {
            listener();
        }
    }
}
