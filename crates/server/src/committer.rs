//! The one thread that writes: it takes what all sessions have queued, decides on it in one durable transaction, and only
//! then answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use reconvene_model::{PeerId, TxNumber};
use reconvene_store::{Decided, Incoming, StoreError, SyncHandle};
use tokio::sync::{mpsc, oneshot};

use crate::ring::{Ring, Run};

/// What one upload message brought.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) peer: PeerId,
    pub(crate) txs: Vec<Bytes>,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// Something for the committer to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Decide on transactions.
    Upload(Upload),
    /// A peer holds its verdicts up to this number. It is written with the next commit: to forget later does no harm.
    Confirmed(PeerId, TxNumber),
    /// Write what is left, then end.
    End,
}

/// What was decided on an upload's transactions, in their order; the failure concerns the store, not the transactions.
pub(crate) type Reply = Result<Vec<Decided>, Arc<StoreError>>;

/// How many jobs may wait; a session that finds the queue full waits and reads no more until there is room.
pub(crate) const JOBS_MAX: usize = 4_096;

/// The most transactions of one commit.
const COMMIT_TXS_MAX: usize = 4_096;

/// The number of bytes after which a commit takes no further job.
const COMMIT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How many peers' confirmations may wait for a commit that has something else to write.
const CONFIRMED_MAX: usize = 10_000;

/// About how long a push frame is; one transaction alone may be longer.
const FRAME_BYTES: usize = 256 * 1024;

/// The queue to the committer, and its thread.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the committer; it ends at [`Job::End`], or when every sender of jobs is gone.
pub(crate) fn start(sync: SyncHandle, ring: Arc<Ring>) -> std::io::Result<Committer> {
    let (jobs, queue) = mpsc::channel(JOBS_MAX);
    let thread = std::thread::Builder::new()
        .name("reconvene-committer".to_owned())
        .spawn(move || run(&sync, &ring, queue))?;
    Ok(Committer { jobs, thread })
}

fn run(sync: &SyncHandle, ring: &Ring, mut queue: mpsc::Receiver<Job>) {
    let mut committing = Committing { sync, ring, confirmed: HashMap::new() };
    let mut ending = false;
    while !ending && let Some(first) = queue.blocking_recv() {
        let mut uploads = Vec::new();
        let (mut txs, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Upload(upload) => {
                    txs += upload.txs.len();
                    bytes += upload.txs.iter().map(Bytes::len).sum::<usize>();
                    uploads.push(upload);
                }
                Job::Confirmed(peer, number) => committing.confirm(peer, number),
                Job::End => ending = true,
            }
            if txs < COMMIT_TXS_MAX && bytes < COMMIT_BYTES_MAX {
                next = queue.try_recv().ok();
            }
        }
        if !uploads.is_empty() || committing.confirmed.len() >= CONFIRMED_MAX {
            committing.commit(uploads);
        }
    }
    committing.commit(Vec::new());
}

struct Committing<'a> {
    sync: &'a SyncHandle,
    ring: &'a Ring,
    /// What peers confirmed since the last commit.
    confirmed: HashMap<PeerId, TxNumber>,
}

impl Committing<'_> {
    fn confirm(&mut self, peer: PeerId, number: TxNumber) {
        let highest = self.confirmed.entry(peer).or_default();
        *highest = number.max(*highest);
    }

    /// Commits uploads together; if the store fails, each alone, so that one cannot take the others down with it.
    fn commit(&mut self, uploads: Vec<Upload>) {
        if uploads.is_empty() && self.confirmed.is_empty() {
            return;
        }
        match self.decide(&uploads) {
            Ok(decided) => self.answer(uploads, decided),
            Err(error) if uploads.len() <= 1 => fail(uploads, error),
            Err(_) => {
                for upload in uploads {
                    let alone = [upload];
                    match self.decide(&alone) {
                        Ok(decided) => self.answer(alone.into(), decided),
                        Err(error) => fail(alone.into(), error),
                    }
                }
            }
        }
    }

    fn decide(&mut self, uploads: &[Upload]) -> Result<Vec<Decided>, StoreError> {
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

    fn answer(&self, uploads: Vec<Upload>, mut decided: Vec<Decided>) {
        let pushes = decided.iter_mut().filter_map(|decided| decided.push.take()).collect();
        for run in Run::encode(pushes, FRAME_BYTES) {
            self.ring.push(run);
        }
        let mut decided = decided.into_iter();
        for upload in uploads {
            let replies = decided.by_ref().take(upload.txs.len()).collect();
            // A session that is gone asks again at its next login.
            drop(upload.reply.send(Ok(replies)));
        }
    }
}

fn fail(uploads: Vec<Upload>, error: StoreError) {
    tracing::error!(%error, "the store could not commit; the sessions concerned end and try again");
    let error = Arc::new(error);
    for upload in uploads {
        drop(upload.reply.send(Err(error.clone())));
    }
}
