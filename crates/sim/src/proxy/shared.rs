//! What the handles, the proxy's thread and its connections have in common: faults, counters, commands.

use std::io;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc as ack};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::Direction;

/// What went through a proxy since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that came in, those included that were reset at once because the target was not there.
    pub connects: u64,
    /// Connections that are open.
    pub open: u64,
    /// Bytes handed on to the target.
    pub bytes_up: u64,
    /// Bytes handed on to the side that connected.
    pub bytes_down: u64,
    /// Bytes towards the target that a half-open connection swallowed.
    pub swallowed_up: u64,
    /// Bytes from the target that a half-open connection swallowed.
    pub swallowed_down: u64,
}

/// What the proxy's thread is asked to do, and confirms when it is done.
#[derive(Debug)]
pub(super) enum Command {
    Cut,
    Refuse(bool),
    Stop,
}

/// A command with the place where its result is awaited.
pub(super) type Order = (Command, ack::SyncSender<io::Result<()>>);

/// The faults of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) half_open: bool,
    pub(super) stalled: bool,
    /// 0 is no limit.
    pub(super) bytes_per_second: u64,
    pub(super) delay: Duration,
    /// 0 is no limit.
    pub(super) bytes_each_max: u64,
}

/// The faults of both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AllFaults {
    up: Faults,
    down: Faults,
}

#[derive(Debug)]
pub(super) struct Shared {
    faults: watch::Sender<AllFaults>,
    traffic: Mutex<Traffic>,
    traffic_changed: Condvar,
    target: Mutex<SocketAddr>,
    /// Locked from sending an order until its confirmation, so that at most one is ever under way.
    orders: Mutex<mpsc::Sender<Order>>,
    /// A connection used up the bytes of `cut_after`.
    pub(super) cut_due: Notify,
}

/// The counters and the bytes that may still pass before an armed cut: one lock, so that no byte slips between.
#[derive(Debug, Default)]
struct Traffic {
    counters: Counters,
    until_cut_up: Option<u64>,
    until_cut_down: Option<u64>,
    /// Connections are being closed: nothing passes, whatever is armed meanwhile.
    cutting: bool,
}

/// An armed cut is due: nothing more may pass in this direction.
#[derive(Debug)]
pub(super) struct CutDue;

impl Shared {
    pub(super) fn new(target: SocketAddr) -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(1);
        let shared = Self {
            faults: watch::Sender::new(AllFaults::default()),
            traffic: Mutex::default(),
            traffic_changed: Condvar::new(),
            target: Mutex::new(target),
            orders: Mutex::new(sender),
            cut_due: Notify::new(),
        };
        (shared, receiver)
    }

    /// Has the proxy's thread carry out `command` and waits until it did; a proxy that is gone has nothing to do.
    pub(super) fn command(&self, command: Command) -> io::Result<()> {
        let orders = lock(&self.orders);
        let (done, result) = ack::sync_channel(1);
        match orders.try_send((command, done)) {
            Ok(()) => result.recv().unwrap_or(Ok(())),
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                unreachable!("an order is taken from the queue before its sender gives up the lock")
            }
        }
    }

    pub(super) fn target(&self) -> SocketAddr {
        *lock(&self.target)
    }

    pub(super) fn set_target(&self, target: SocketAddr) {
        *lock(&self.target) = target;
    }

    pub(super) fn faults(&self) -> watch::Receiver<AllFaults> {
        self.faults.subscribe()
    }

    pub(super) fn change_faults(&self, direction: Direction, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(|faults| match direction {
            Direction::Up => change(&mut faults.up),
            Direction::Down => change(&mut faults.down),
        });
    }

    pub(super) fn clear_faults(&self) {
        lock(&self.traffic).disarm();
        self.faults.send_replace(AllFaults::default());
    }

    pub(super) fn arm(&self, direction: Direction, bytes: u64) {
        *lock(&self.traffic).until_cut(direction) = Some(bytes);
        // A connection that waits because an earlier cut was due looks again.
        self.faults.send_modify(|_| {});
    }

    pub(super) fn cut_is_due(&self) -> bool {
        let traffic = lock(&self.traffic);
        traffic.until_cut_up == Some(0) || traffic.until_cut_down == Some(0)
    }

    /// Begins a cut: nothing passes until it has ended, and what was armed before is disarmed.
    ///
    /// The disarming comes first, for whoever sees a reset may arm the next cut before the last connection is closed.
    pub(super) fn begin_cut(&self) {
        let mut traffic = lock(&self.traffic);
        traffic.disarm();
        traffic.cutting = true;
    }

    pub(super) fn end_cut(&self) {
        lock(&self.traffic).cutting = false;
    }

    pub(super) fn counters(&self) -> Counters {
        lock(&self.traffic).counters
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut lock(&self.traffic).counters);
        self.traffic_changed.notify_all();
    }

    pub(super) fn swallowed(&self, direction: Direction, bytes: usize) {
        self.count(|counters| match direction {
            Direction::Up => counters.swallowed_up += bytes as u64,
            Direction::Down => counters.swallowed_down += bytes as u64,
        });
    }

    pub(super) fn wait_for(&self, timeout: Duration, condition: impl Fn(&Counters) -> bool) -> bool {
        let traffic = lock(&self.traffic);
        let waited =
            self.traffic_changed.wait_timeout_while(traffic, timeout, |now| !condition(&now.counters));
        let (traffic, _) = waited.unwrap_or_else(PoisonError::into_inner);
        condition(&traffic.counters)
    }

    /// Hands at most `wanted` bytes on by `write`, fewer if a cut is armed, and counts those that `write` reports.
    pub(super) fn pass(
        &self,
        direction: Direction,
        wanted: usize,
        write: impl FnOnce(usize) -> io::Result<usize>,
    ) -> Result<io::Result<usize>, CutDue> {
        let mut traffic = lock(&self.traffic);
        if traffic.cutting {
            return Err(CutDue);
        }
        let allowed = match *traffic.until_cut(direction) {
            Some(0) => return Err(CutDue),
            Some(left) => wanted.min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => wanted,
        };
        let written = write(allowed);
        if let Ok(bytes) = written {
            let bytes = bytes as u64;
            if let Some(left) = traffic.until_cut(direction) {
                *left -= bytes;
                if *left == 0 {
                    self.cut_due.notify_one();
                }
            }
            match direction {
                Direction::Up => traffic.counters.bytes_up += bytes,
                Direction::Down => traffic.counters.bytes_down += bytes,
            }
            drop(traffic);
            self.traffic_changed.notify_all();
        }
        Ok(written)
    }
}

impl Traffic {
    fn disarm(&mut self) {
        self.until_cut_up = None;
        self.until_cut_down = None;
    }

    fn until_cut(&mut self, direction: Direction) -> &mut Option<u64> {
        match direction {
            Direction::Up => &mut self.until_cut_up,
            Direction::Down => &mut self.until_cut_down,
        }
    }
}

impl AllFaults {
    pub(super) fn of(&self, direction: Direction) -> Faults {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }
}

/// Locks what stays whole even if a holder panicked: a caller's own condition in `wait_for` may.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
