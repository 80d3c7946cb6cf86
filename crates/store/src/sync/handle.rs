//! The door through which sync engines reach a store; applications use a few of its reads.

use std::sync::Arc;
use std::time::Duration;

use reconvene_model::compare::{CompareRange, Salt, Slice, SliceOutcome, SortedItems};
use reconvene_model::identity::PeerKey;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};

use crate::error::{Result, StoreError};
use crate::seam::Reader;
use crate::store::Store;
use crate::sync::changes::{self, Chunk, ChunkStart};
use crate::sync::compare::{self, Fetched};
use crate::sync::expiry::{self, Expired, Expiry};
use crate::sync::global_ids::Lookup;
use crate::sync::ledger::{self, Decided, Incoming};
use crate::sync::origins::{self, Claim, Origin};
use crate::sync::outbox::{self, OutboxTx};
use crate::sync::renew::{self, Fork, Kinship, Renewed};
use crate::sync::restamp::{self, Uploads};
use crate::sync::{
    Applied, Conflict, Cursor, Delivery, OutboxListener, Rejected, Role, Side, Verdict, apply, conflicts,
    digest, meta, probe, rejected,
};
use crate::txn::ReadTxn;

/// The sync side of a [`Store`]: what engines drive, and what an application may ask about its unsent and rejected writes.
#[derive(Clone)]
pub struct SyncHandle {
    store: Store,
}

/// What a device tells a server at login, read in one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginState {
    /// Up to where the device has everything.
    pub cursor: Cursor,
    /// The number of its newest transaction.
    pub last_number: TxNumber,
    /// That transaction's hash.
    pub last_hash: TxHash,
    /// The highest number whose verdict it holds durably.
    pub decided: TxNumber,
    /// How many transactions it issued under former names; where it numbers those that were rejected, it counts on from there.
    pub issued_before: TxNumber,
    /// The hash of that transaction.
    pub decided_hash: TxHash,
    /// Whether a compare was cut off, so that no cursor stands for what is confirmed.
    pub comparing: bool,
    /// Whether a catch-up was cut off, so that more may be confirmed than the cursor stands for.
    pub catching_up: bool,
}

impl SyncHandle {
    pub(crate) fn new(store: Store) -> Self {
        SyncHandle { store }
    }

    /// Whether this store belongs to a device or to a server.
    pub fn role(&self) -> Role {
        self.store.inner().sync.role
    }

    /// This store's name among its peers; another one after [`SyncHandle::renew_identity`].
    pub fn peer(&self) -> PeerId {
        self.store.inner().sync.naming().peer()
    }

    /// The key that proves this name.
    pub fn key(&self) -> PeerKey {
        self.store.inner().sync.key()
    }

    /// Goes on under a new name, because a server has decided on transactions of the present one that are not this store's: the
    /// directory is a copy, or was restored.
    ///
    /// One durable transaction. What server and store have in common up to the fork is settled; everything after it is issued
    /// again under the new name, with the same contents and dates. Objects that were inserted after the fork are others for
    /// everyone than those of the same id that a copy inserted; here, all ids stay what they are.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooManyNames`], and failures of the storage engine or of the system's random numbers. Nothing has changed
    /// then.
    pub fn renew_identity(&self, fork: &Fork<'_>) -> Result<Renewed> {
        self.store.write(|tx| renew::renew(tx, fork))
    }

    /// The hash of this store's entities, properties and types, by which two stores know that they read the same.
    pub fn base_hash(&self) -> [u8; 32] {
        self.store.schema().base_hash()
    }

    /// The transactions after `after`, ascending, until their bytes exceed `bytes_max` or their number `txs_max`; at least
    /// one if there is any.
    pub fn outbox(&self, after: TxNumber, txs_max: usize, bytes_max: usize) -> Result<Vec<OutboxTx>> {
        self.read(|tx| {
            let mut txs = Vec::new();
            let mut bytes = 0;
            for row in outbox::rows_in(tx.engine_tx(), &self.store.inner().sync.tables, after)? {
                let row = row?;
                bytes += row.bytes.len();
                if txs.len() >= txs_max || (bytes > bytes_max && !txs.is_empty()) {
                    break;
                }
                txs.push(OutboxTx { number: row.number, bytes: row.bytes.to_vec() });
            }
            Ok(txs)
        })
    }

    /// As [`SyncHandle::outbox`], but only what may be sent at this server time, in milliseconds since 1970: a transaction that
    /// is dated more than the drift ahead is held, and so are all after it.
    ///
    /// What it returns is frozen durably, mostly by the commit that wrote it: nothing changes it any more. While
    /// this is called again and again, the store knows server time, and commits freeze what they write at once.
    pub fn uploads(
        &self,
        after: TxNumber,
        txs_max: usize,
        bytes_max: usize,
        server_ms: u64,
    ) -> Result<Uploads> {
        let sync = &self.store.inner().sync;
        sync.note_server_time(server_ms);
        let mut found = self.read(|tx| restamp::progress(tx, tx.engine_tx(), &sync.tables, server_ms))?;
        if found.needs_mark() {
            found = self.store.write(|tx| restamp::mark(tx, server_ms))?;
        }
        let mut txs = self.outbox(after, txs_max, bytes_max)?;
        txs.retain(|tx| tx.number <= found.sane());
        Ok(Uploads { txs, held: found.held() })
    }

    /// Dates the transactions anew that are held by [`SyncHandle::uploads`], in their order, from server time and above all that
    /// the server is known to have accepted; how many.
    ///
    /// One durable transaction. Nothing that the application sees changes, and observers are not told. Nothing happens unless
    /// every transaction that was sent is decided on.
    pub fn restamp(&self, server_ms: u64) -> Result<u64> {
        self.store.write(|tx| restamp::restamp(tx, server_ms))
    }

    /// Takes note that no session is live any more: what is committed from here on is not frozen before the next one, so that a
    /// write may take the place of another that nobody has seen.
    pub fn note_session_end(&self) {
        self.store.inner().sync.note_server_time(0);
    }

    /// How many transactions wait in the outbox.
    pub fn undecided(&self) -> Result<u64> {
        self.read(|tx| Ok(tx.engine_tx().count(self.store.inner().sync.tables.outbox)?))
    }

    /// Calls `listener` after each commit that added to the outbox, on the thread that committed, until the returned place
    /// is dropped.
    pub fn on_outbox(&self, listener: impl Fn() + Send + Sync + 'static) -> OutboxListener {
        super::on_outbox(&self.store, Arc::new(listener))
    }

    /// What a login needs to say.
    pub fn login_state(&self) -> Result<LoginState> {
        self.read(|tx| {
            let (last_number, last_hash) = meta::last_tx(tx)?;
            let issued_before = tx.naming()?.issued_before();
            let decided = meta::decided(tx)?;
            let decided_hash = match decided {
                0 => TxHash::NONE,
                _ => renew::hash_of(tx, decided)?.unwrap_or(TxHash::NONE),
            };
            Ok(LoginState {
                cursor: meta::cursor(tx)?,
                last_number,
                last_hash,
                decided,
                issued_before,
                decided_hash,
                comparing: meta::compare(tx)?.is_some() && !planted(Planted::CompareKeepsCursor),
                catching_up: meta::catching_up(tx)?,
            })
        })
    }

    /// The hash of one of this store's transactions, if it is the newest or still in the outbox.
    pub fn hash_of(&self, number: TxNumber) -> Result<Option<TxHash>> {
        self.read(|tx| renew::hash_of(tx, number))
    }

    /// Holds what a server says at a login against what this store knows of its own transactions: the newest on which the server
    /// has decided, with its hash, and the hashes of those after [`LoginState::decided`], as far as they were told.
    ///
    /// `said` is what the login was made of: more may have been written since.
    pub fn kinship(
        &self,
        said: &LoginState,
        decided: TxNumber,
        decided_hash: TxHash,
        chain: &[TxHash],
    ) -> Result<Kinship> {
        self.read(|tx| renew::kinship(tx, said, decided, decided_hash, chain))
    }

    /// Applies what a server delivered, in order, in one durable transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherHistory`] if the server's history is not the one that the cursor belongs to, and errors for
    /// deliveries that no correct server sends. Nothing is applied then.
    pub fn apply(&self, deliveries: &[Delivery<'_>]) -> Result<Applied> {
        self.store.write(|tx| apply::apply(tx, deliveries))
    }

    /// Up to where this device has everything in its view.
    pub fn cursor(&self) -> Result<Cursor> {
        self.read(|tx| meta::cursor(tx))
    }

    /// Whether a catch-up is under way: objects are whole, transactions may be half visible until it is done.
    pub fn catching_up(&self) -> Result<bool> {
        self.read(|tx| meta::catching_up(tx))
    }

    /// What a server said about where a catch-up goes on that was cut off within a position; empty otherwise.
    pub fn resume(&self) -> Result<Vec<u8>> {
        self.read(|tx| meta::resume(tx).map(<[u8]>::to_vec))
    }

    /// What servers did not take, oldest first, with reasons and data.
    pub fn rejected(&self) -> Result<Vec<Rejected>> {
        self.read(|tx| rejected::all(tx, tx.engine_tx(), self.store.inner().sync.tables.rejected))
    }

    /// Forgets a rejected transaction; whether it was there.
    pub fn dismiss_rejected(&self, number: TxNumber) -> Result<bool> {
        self.store.write(|tx| rejected::dismiss(tx, number))
    }

    /// What of this store met concurrent writes of others, oldest first: both versions, and which of them stands by which law.
    ///
    /// At most [`CONFLICTS_MAX`](crate::CONFLICTS_MAX) in at most [`CONFLICTS_BYTES_MAX`](crate::CONFLICTS_BYTES_MAX) are kept.
    pub fn conflicts(&self) -> Result<Vec<Conflict>> {
        self.read(|tx| conflicts::all(tx, tx.engine_tx(), self.store.inner().sync.tables.conflicts))
    }

    /// One conflict, if it is still kept.
    pub fn conflict(&self, number: u64) -> Result<Option<Conflict>> {
        self.read(|tx| conflicts::one(tx, tx.engine_tx(), self.store.inner().sync.tables.conflicts, number))
    }

    /// Forgets a conflict; whether it was there.
    pub fn dismiss_conflict(&self, number: u64) -> Result<bool> {
        self.store.write(|tx| conflicts::dismiss(tx, number))
    }

    /// Lets one side of a conflict stand: writes its values again as a new write of this store, or removes the object anew, and
    /// forgets the conflict, in one transaction; whether the conflict was there.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if the object was removed: under an id that the store chose, it is only to be put as a new one.
    /// [`StoreError::PrecedenceTooLow`] for a version of lower precedence than the one that stands, and all else that a put
    /// may meet. Nothing has changed then, and the conflict stays.
    pub fn take_version(&self, number: u64, side: Side) -> Result<bool> {
        self.store.write(|tx| conflicts::take(tx, number, side))
    }

    /// A hash over all synced objects; equal on stores that agree.
    pub fn content_hash(&self) -> Result<[u8; 32]> {
        self.read(|tx| digest::content_hash(tx, tx.engine_tx(), &self.store.inner().sync))
    }

    /// On a server: the random identity of its history.
    pub fn epoch(&self) -> Result<u64> {
        self.read(|tx| meta::epoch(tx)?.ok_or(StoreError::DeviceDirectory))
    }

    /// On a server that was restored: up to which position the history of a former epoch is also the beginning of the present one;
    /// `None` if it never was.
    pub fn shared_with(&self, former: u64) -> Result<Option<Seq>> {
        self.read(|tx| meta::shared_with(tx, former))
    }

    /// On a server: the newest position.
    pub fn head(&self) -> Result<Seq> {
        self.read(|tx| meta::head(tx))
    }

    /// On a server: binds a peer to its key, or checks the binding; what is known of the peer.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyMismatch`] if the peer is bound to another key.
    pub fn register(&self, peer: PeerId, public_key: &[u8; 32]) -> Result<Origin> {
        self.server()?;
        let known = self.read(|tx| origins::get(tx.engine_tx(), &self.store.inner().sync.tables, peer))?;
        match known {
            Some(origin) if origin.public_key == *public_key => Ok(origin),
            _ => self.store.write(|tx| origins::register(tx, peer, public_key)),
        }
    }

    /// On a server: takes over what a peer of another history says of its own chain, if it is ahead of what was decided here. Then it
    /// returns the highest number that was: the peer's transactions above it are lost. One durable transaction, and none if
    /// nothing is to be taken over.
    pub fn rebase(&self, peer: PeerId, claim: &Claim) -> Result<Option<TxNumber>> {
        self.server()?;
        let known = self.read(|tx| origins::get(tx.engine_tx(), &self.store.inner().sync.tables, peer))?;
        match known {
            Some(origin) if claim.confirmed <= origin.decided => Ok(origins::told(&origin, claim)),
            _ => self.store.write(|tx| origins::rebase(tx, peer, claim)),
        }
    }

    /// On a server: the refusals and lost ops after `confirmed` that the peer must not miss.
    pub fn unconfirmed(&self, peer: PeerId, confirmed: TxNumber) -> Result<Vec<(TxNumber, Verdict)>> {
        self.read(|tx| origins::unconfirmed(tx.engine_tx(), &self.store.inner().sync.tables, peer, confirmed))
    }

    /// On a server: the hashes of a peer's transactions after `after` up to `upto`, at most `max` of them; it ends where they are
    /// [forgotten](Origin::forgotten).
    pub fn hashes(&self, peer: PeerId, after: TxNumber, upto: TxNumber, max: usize) -> Result<Vec<TxHash>> {
        let tables = &self.store.inner().sync.tables;
        self.read(|tx| origins::hashes(tx.engine_tx(), tables, peer, after, upto, max))
    }

    /// On a server: decides on a batch of transactions and on what peers confirmed, in one durable transaction.
    pub fn decide(&self, batch: &[Incoming<'_>], confirmed: &[(PeerId, TxNumber)]) -> Result<Vec<Decided>> {
        self.server()?;
        let mut early = None;
        let decided = self.store.write(|tx| {
            for &(peer, number) in confirmed {
                origins::confirm(tx, peer, number)?;
            }
            let decided: Result<Vec<Decided>> =
                batch.iter().map(|&incoming| ledger::decide(tx, incoming)).collect();
            if planted(Planted::VerdictBeforeCommit) && batch.len() > 1 {
                early = Some(decided?);
                return Err(StoreError::internal("planted"));
            }
            decided
        });
        early.map_or(decided, Ok)
    }

    /// On a server: the next chunk of a catch-up, from a short snapshot of its own.
    pub fn chunk(&self, start: ChunkStart, bytes_max: usize) -> Result<Chunk> {
        self.server()?;
        self.read(|tx| {
            let head = meta::head(tx)?;
            let chunk = changes::chunk(tx, tx.engine_tx(), &self.store.inner().sync, head, start, bytes_max)?;
            Ok(Chunk { horizon: meta::horizon(tx)?, ..chunk })
        })
    }

    /// As [`SyncHandle::chunk`], for this peer: it says up to which number the peer's transactions were decided on by then.
    pub fn chunk_for(&self, peer: PeerId, start: ChunkStart, bytes_max: usize) -> Result<Chunk> {
        self.server()?;
        let sync = &self.store.inner().sync;
        self.read(|tx| {
            let origin = origins::get(tx.engine_tx(), &sync.tables, peer)?;
            let chunk = changes::chunk(tx, tx.engine_tx(), sync, meta::head(tx)?, start, bytes_max)?;
            let decided = origin.map_or(0, |origin| origin.decided);
            Ok(Chunk { decided, horizon: meta::horizon(tx)?, ..chunk })
        })
    }

    /// What this store has, for a compare: the fingerprints of all objects that exist, on a device of what is confirmed of them.
    ///
    /// Reads the header of every record in one snapshot and takes
    /// [`BYTES_PER_ITEM`](reconvene_model::compare::SortedItems::BYTES_PER_ITEM) in memory for each. On a server the Seq is the
    /// head of that snapshot, which is what the compare is worth; on a device it is that of the cursor.
    pub fn compare_items(&self, salt: &Salt) -> Result<(SortedItems, Seq)> {
        self.read(|tx| {
            let seq = match self.role() {
                Role::Server => meta::head(tx)?,
                Role::Device => meta::cursor(tx)?.seq,
            };
            Ok((compare::items(tx, tx.engine_tx(), &self.store.inner().sync, salt)?, seq))
        })
    }

    /// On a device: a digest of the next objects that are confirmed, from one end of the keys to the other and again, for a server to
    /// [judge](Self::judge_slice); `None` while there are undecided writes, or a catch-up or compare is under way.
    ///
    /// Reads at most some hundred objects in one snapshot. With `values` it covers these as well, which only a server with the
    /// same schema can judge.
    pub fn next_slice(&self, values: bool) -> Result<Option<Slice>> {
        let sync = &self.store.inner().sync;
        self.read(|tx| probe::slice(tx, tx.engine_tx(), sync, values))
    }

    /// On a server: whether it had the same at the Seq of a slice. Reads about as much as the device did, in one snapshot.
    pub fn judge_slice(&self, slice: &Slice) -> Result<SliceOutcome> {
        self.server()?;
        self.read(|tx| probe::judge(tx, tx.engine_tx(), &self.store.inner().sync, slice))
    }

    /// On a device: notes durably that the server has something else in this range. No cursor stands for what is confirmed from here
    /// on; the next login asks for a compare, which takes all of the range from the server. What it undoes is kept for the application.
    pub fn note_divergence(&self, range: &CompareRange) -> Result<()> {
        self.store.write(|tx| probe::diverged(tx, range))
    }

    /// How often this was noted since the store was opened, or since all that is here was last found to be the same as on the server.
    pub fn divergences(&self) -> u32 {
        self.store.inner().sync.probing.diverged()
    }

    /// On a server: the objects in these ranges, ascending and disjoint, from a short snapshot of its own; about `bytes_max` of
    /// them, and what is left.
    pub fn fetch(&self, ranges: &[CompareRange], bytes_max: usize) -> Result<Fetched> {
        self.server()?;
        self.read(|tx| compare::fetch(tx, tx.engine_tx(), &self.store.inner().sync, ranges, bytes_max))
    }

    /// On a server: forgets removals that are older than `term`, by the store's clock; looks at no more than [`EXPIRY_STEP_ROWS`](crate::EXPIRY_STEP_ROWS)
    /// rows of the history in one durable transaction, and writes none if nothing is due. To be called now and then, and again while
    /// there is more.
    ///
    /// The age of a removal is known to one part in 64 of the term, and counts at the earliest from the first call.
    /// Where ids can be given again, generations are kept for ever.
    pub fn expire(&self, term: Duration) -> Result<Expired> {
        self.server()?;
        let term_ms = u64::try_from(term.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.store.now_ms();
        if !self.read(|tx| expiry::is_due(tx, now_ms, term_ms))? {
            return Ok(Expired::default());
        }
        self.store.write(|tx| expiry::step(tx, now_ms, term_ms))
    }

    /// On a server: which removals it has forgotten, and how many it keeps.
    pub fn expiry(&self) -> Result<Expiry> {
        self.server()?;
        self.read(|tx| expiry::expiry(tx, tx.engine_tx(), &self.store.inner().sync))
    }

    /// On a server: the highest position of a removal that it has forgotten. Who has seen less must compare.
    pub fn horizon(&self) -> Result<Seq> {
        self.read(|tx| meta::horizon(tx))
    }

    fn server(&self) -> Result<()> {
        match self.role() {
            Role::Server => Ok(()),
            Role::Device => Err(StoreError::DeviceDirectory),
        }
    }

    fn read<R>(&self, read: impl FnOnce(&ReadTxn<'_>) -> Result<R>) -> Result<R> {
        self.store.read(read)
    }
}
