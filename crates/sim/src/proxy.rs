//! A TCP proxy with faults: what a bad network does to a connection, done on purpose and on command.
//!
//! `Proxy` and `ProxyHandle` are the whole surface. `runner` is the proxy's own thread: it listens, accepts and cuts;
//! `link` is one connection: two pumps that obey the faults; `shared` is what both and the handles have in common.

mod link;
mod runner;
mod shared;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use link::{CHUNK_BYTES_MAX, CHUNKS_QUEUED_MAX, DELAY_MAX};
pub use runner::LINKS_MAX;
pub use shared::Counters;

use shared::{Command, Shared};

/// A running proxy: it listens on a free port of 127.0.0.1, forwards every connection to its target, and stops when
/// dropped.
///
/// It runs on its own thread with its own runtime, so that code without any runtime can use it. A fresh proxy has no
/// faults; they are switched through [`ProxyHandle`].
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
///
/// let target = TcpListener::bind("127.0.0.1:0")?;
/// let proxy = reconvene_sim::Proxy::start(target.local_addr()?)?;
///
/// let mut near = TcpStream::connect(proxy.address())?;
/// let (mut far, _) = target.accept()?;
/// near.write_all(b"hello")?;
/// let mut heard = [0; 5];
/// far.read_exact(&mut heard)?;
/// assert_eq!(&heard, b"hello");
///
/// proxy.handle().cut();
/// assert!(near.read(&mut heard).is_err(), "the connection was reset");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    handle: ProxyHandle,
    thread: Option<JoinHandle<()>>,
}

/// One of the two ways that bytes take through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the side that connected to the proxy towards the target.
    Up,
    /// From the target towards the side that connected to the proxy.
    Down,
}

/// Switches the faults of a [`Proxy`] and reads its counters, from any thread, with or without a runtime.
///
/// Faults hold for the connections that are open and for later ones, until they are switched off or [`heal`] is called.
/// Several can be on at once. On a proxy that was dropped every method does nothing.
///
/// [`heal`]: ProxyHandle::heal
#[derive(Clone, Debug)]
pub struct ProxyHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    ///
    /// The target need not listen yet: it is connected to once per accepted connection, and a connection whose target
    /// cannot be reached is reset.
    ///
    /// # Errors
    ///
    /// When `target` names no address, or when the system gives no port, thread or runtime.
    pub fn start(target: impl ToSocketAddrs) -> io::Result<Self> {
        let target = target.to_socket_addrs()?.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the target names no address: give one as host:port")
        })?;
        let (shared, commands) = Shared::new(target);
        let shared = Arc::new(shared);
        let (address, thread) = runner::start(Arc::clone(&shared), commands)?;
        Ok(Self { handle: ProxyHandle { address, shared }, thread: Some(thread) })
    }

    /// The address on which the proxy listens; it stays the same for the proxy's whole life.
    pub fn address(&self) -> SocketAddr {
        self.handle.address
    }

    /// The handle that switches faults and reads counters; clone it to use it elsewhere.
    pub fn handle(&self) -> &ProxyHandle {
        &self.handle
    }
}

impl Drop for Proxy {
    /// Resets every connection, frees the port and ends the thread.
    fn drop(&mut self) {
        let stopped = self.handle.shared.command(Command::Stop);
        let joined = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            stopped.expect("stopping cannot fail: it only closes sockets");
            assert!(!matches!(joined, Some(Err(_))), "the proxy's thread panicked; its message stands above");
        }
    }
}

impl ProxyHandle {
    /// The address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends later connections to another target, such as a server that was started again on another port.
    ///
    /// Open connections stay with the target that they have.
    pub fn set_target(&self, target: SocketAddr) {
        self.shared.set_target(target);
    }

    /// Closes every connection at once, both ends, with a reset; what was on its way is lost.
    ///
    /// When this returns, all connections that were made before are closed; new ones are accepted.
    pub fn cut(&self) {
        self.shared.command(Command::Cut).expect("cutting cannot fail: it only closes sockets");
    }

    /// Cuts, as by [`cut`](Self::cut), when `bytes` more bytes went in `direction`, over all connections together.
    ///
    /// Not one byte more is passed on before the cut. The receiver may see fewer: a reset discards what is still
    /// under way. With 0 the next byte cuts. The cut happens once; any cut disarms it, in both directions.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.shared.arm(direction, bytes);
    }

    /// Cuts each connection, an open one or a later one, when it has passed on `bytes` in `direction`; 0 lifts the limit.
    ///
    /// Unlike [`cut_after`](Self::cut_after) this is no single event: no connection ever carries more. The receiver may see
    /// fewer bytes, for a reset discards what is still under way.
    pub fn cut_each_after(&self, direction: Direction, bytes: u64) {
        self.shared.change_faults(direction, |faults| faults.bytes_each_max = bytes);
    }

    /// Refuses connections (`true`), as if nothing listened on the port, or accepts them again (`false`).
    ///
    /// Open connections stay. When this returns, the change holds.
    ///
    /// # Errors
    ///
    /// When the system does not let the proxy listen on its port again; it then goes on refusing.
    pub fn refuse(&self, on: bool) -> io::Result<()> {
        self.shared.command(Command::Refuse(on))
    }

    /// Swallows all bytes that go in `direction`, keeps the sockets open and tells nobody, not even that a side closed.
    ///
    /// Switched off, connections that lost something are reset, for a stream never arrives with a hole; the others
    /// go on.
    pub fn half_open(&self, direction: Direction, on: bool) {
        self.shared.change_faults(direction, |faults| faults.half_open = on);
    }

    /// Holds back all bytes that go in `direction` (`true`), or lets them go on (`false`); none are lost.
    ///
    /// A stalled connection takes some [`CHUNKS_QUEUED_MAX`] × [`CHUNK_BYTES_MAX`] bytes and what the system buffers,
    /// and then no more.
    pub fn stall(&self, direction: Direction, on: bool) {
        self.shared.change_faults(direction, |faults| faults.stalled = on);
    }

    /// Passes on at most `bytes_per_second` in `direction`, for each connection; 0 lifts the limit.
    pub fn throttle(&self, direction: Direction, bytes_per_second: u64) {
        self.shared.change_faults(direction, |faults| faults.bytes_per_second = bytes_per_second);
    }

    /// Passes on every byte, and the end of a stream, no earlier than `delay` after it came in, at most
    /// [`DELAY_MAX`].
    ///
    /// This is latency, not a limit of the rate: as long as the buffers of [`stall`](Self::stall) suffice, bytes
    /// follow each other as they came.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.change_faults(direction, |faults| faults.delay = delay);
    }

    /// Switches off every fault: refusing, half-open, stall, throttle, delay, the limit of each connection and an armed cut.
    ///
    /// # Errors
    ///
    /// As [`refuse`](Self::refuse); the other faults are off even then.
    pub fn heal(&self) -> io::Result<()> {
        self.shared.clear_faults();
        self.refuse(false)
    }

    /// What went through the proxy since its start.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Waits until the counters fulfil `condition`, at most for `timeout`, and tells whether they do.
    ///
    /// A condition that holds already returns at once. It is called with a lock held and must not use the handle.
    pub fn wait_for(&self, timeout: Duration, condition: impl Fn(&Counters) -> bool) -> bool {
        self.shared.wait_for(timeout, condition)
    }
}

impl Direction {
    /// The other direction.
    pub fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}
