//! Deciding on what sessions uploaded: one durable transaction for all of them, and only then the answers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use reconvene_model::{PeerId, TxNumber};
use reconvene_store::{Decided, Incoming, StoreError, SyncHandle};

use crate::ring::{Ring, Run};

/// About how long a push frame is; one transaction alone may be longer.
const FRAME_BYTES: usize = 256 * 1024;

/// What one upload message brought.
#[derive(Debug)]
pub struct Upload<R> {
    /// Who sent it.
    pub peer: PeerId,
    /// The transactions, as they came.
    pub txs: Vec<Bytes>,
    /// Where the answer goes.
    pub reply: R,
}

/// What was decided on an upload's transactions, in their order; the failure concerns the store, not the transactions.
pub type Reply = Result<Vec<Decided>, Arc<StoreError>>;

/// The one place where a server's store is written: decides, commits, and then gives the sessions what to tell.
pub struct Committing {
    sync: SyncHandle,
    ring: Arc<Ring>,
    /// What peers confirmed since the last commit.
    confirmed: HashMap<PeerId, TxNumber>,
}

impl Committing {
    /// Writes to this store and tells this ring.
    pub fn new(sync: SyncHandle, ring: Arc<Ring>) -> Committing {
        Committing { sync, ring, confirmed: HashMap::new() }
    }

    /// Notes that a peer holds its verdicts up to this number; it is written with the next commit.
    pub fn confirm(&mut self, peer: PeerId, number: TxNumber) {
        let highest = self.confirmed.entry(peer).or_default();
        *highest = number.max(*highest);
    }

    /// How many peers' confirmations wait for a commit.
    pub fn confirmations(&self) -> usize {
        self.confirmed.len()
    }

    /// Commits uploads together; if the store fails, each alone, so that one cannot take the others down with it.
    pub fn commit<R>(&mut self, uploads: Vec<Upload<R>>, answer: &mut dyn FnMut(R, Reply)) {
        if uploads.is_empty() && self.confirmed.is_empty() {
            return;
        }
        match self.decide(&uploads) {
            Ok(decided) => self.answer(uploads, decided, answer),
            Err(error) if uploads.len() <= 1 => fail(uploads, error, answer),
            Err(_) => {
                for upload in uploads {
                    let alone = [upload];
                    match self.decide(&alone) {
                        Ok(decided) => self.answer(alone.into(), decided, answer),
                        Err(error) => fail(alone.into(), error, answer),
                    }
                }
            }
        }
    }

    fn decide<R>(&mut self, uploads: &[Upload<R>]) -> Result<Vec<Decided>, StoreError> {
        let incoming: Vec<Incoming<'_>> = uploads
            .iter()
            .flat_map(|upload| upload.txs.iter().map(|bytes| Incoming { peer: upload.peer, bytes }))
            .collect();
        let confirmed: Vec<(PeerId, TxNumber)> =
            self.confirmed.iter().map(|(&peer, &number)| (peer, number)).collect();
        let decided = self.sync.decide(&incoming, &confirmed)?;
        self.confirmed.clear();
        Ok(decided)
    }

    fn answer<R>(
        &self,
        uploads: Vec<Upload<R>>,
        mut decided: Vec<Decided>,
        answer: &mut dyn FnMut(R, Reply),
    ) {
        let pushes = decided.iter_mut().filter_map(|decided| decided.push.take()).collect();
        for run in Run::encode(pushes, FRAME_BYTES) {
            self.ring.push(run);
        }
        let mut decided = decided.into_iter();
        for upload in uploads {
            let replies = decided.by_ref().take(upload.txs.len()).collect();
            answer(upload.reply, Ok(replies));
        }
    }
}

fn fail<R>(uploads: Vec<Upload<R>>, error: StoreError, answer: &mut dyn FnMut(R, Reply)) {
    tracing::error!(%error, "the store could not commit; the sessions concerned end and try again");
    let error = Arc::new(error);
    for upload in uploads {
        answer(upload.reply, Err(error.clone()));
    }
}
