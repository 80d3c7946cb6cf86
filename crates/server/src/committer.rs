//! The one thread that writes: it takes what all sessions have queued, decides on it in one durable transaction, and only
//! then answers.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use reconvene_model::{PeerId, TxNumber};
use reconvene_store::SyncHandle;
use tokio::sync::{mpsc, oneshot};

use crate::committing::{Committing, Reply, Upload};
use crate::ring::Ring;

/// Something for the committer to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Decide on transactions.
    Upload(Upload<oneshot::Sender<Reply>>),
    /// A peer holds its verdicts up to this number. It is written with the next commit: to forget later does no harm.
    Confirmed(PeerId, TxNumber),
    /// Write what is left, then end.
    End,
}

/// How many jobs may wait; a session that finds the queue full waits and reads no more until there is room.
pub(crate) const JOBS_MAX: usize = 4_096;

/// The most transactions of one commit.
const COMMIT_TXS_MAX: usize = 4_096;

/// The number of bytes after which a commit takes no further job.
const COMMIT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How many peers' confirmations may wait for a commit that has something else to write.
const CONFIRMED_MAX: usize = 10_000;

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
        .spawn(move || run(Committing::new(sync, ring), queue))?;
    Ok(Committer { jobs, thread })
}

fn run(mut committing: Committing, mut queue: mpsc::Receiver<Job>) {
    // A session that is gone asks again at its next login.
    let mut answer = |sender: oneshot::Sender<Reply>, reply: Reply| drop(sender.send(reply));
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
        if !uploads.is_empty() || committing.confirmations() >= CONFIRMED_MAX {
            committing.commit(uploads, &mut answer);
        }
    }
    committing.commit(Vec::new(), &mut answer);
}
