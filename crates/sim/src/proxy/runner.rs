//! The proxy's own thread: it listens, accepts, cuts and refuses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::link;
use super::shared::{Command, Order, Shared};

/// Connections that a proxy holds at once; further ones are reset as they come in.
pub const LINKS_MAX: usize = 1024;

/// The pause after the system failed to accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// Binds the port and starts the thread; gives the address on which it listens.
pub(super) fn start(
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let port = TcpSocket::new_v4()?;
    port.set_reuseaddr(true)?;
    port.bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into())?;
    let address = port.local_addr()?;
    let door = {
        let _context = runtime.enter();
        Door::open(address)?
    };
    let thread = std::thread::Builder::new().name("faulty-proxy".to_owned()).spawn(move || {
        let runner = Runner { shared, address, door: Some(door), _port: port, links: JoinSet::new() };
        runtime.block_on(runner.run(orders));
    })?;
    Ok((address, thread))
}

struct Runner {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// None while connections are refused.
    door: Option<Door>,
    /// Bound but never listening: it keeps the port ours while the door is shut, and connects are refused meanwhile.
    _port: TcpSocket,
    links: JoinSet<()>,
}

/// The listening socket, twice: for waiting, and for emptying the system's queue of connections without waiting.
struct Door {
    waiting: TcpListener,
    immediate: std::net::TcpListener,
}

impl Runner {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let shared = Arc::clone(&self.shared);
        let stopped = loop {
            tokio::select! {
                order = orders.recv() => {
                    let (command, done) = order.expect("the senders live in `Shared`, which this thread holds too");
                    let stop = matches!(command, Command::Stop);
                    let result = self.obey(command).await;
                    if stop {
                        break done;
                    }
                    done.send(result).expect("who gave the order waits for its result");
                }
                () = shared.cut_due.notified() => if shared.cut_is_due() {
                    self.cut().await;
                },
                accepted = accept(self.door.as_ref()) => match accepted {
                    Ok(stream) => self.welcome(stream),
                    Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
                },
                Some(ended) = self.links.join_next() => pass_panic_on(ended),
            }
        };
        // The port is free when the proxy's drop returns.
        drop(self);
        stopped.send(Ok(())).expect("who gave the order waits for its result");
    }

    async fn obey(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Cut | Command::Stop => self.cut().await,
            Command::Refuse(true) => self.door = None,
            Command::Refuse(false) if self.door.is_none() => self.door = Some(Door::open(self.address)?),
            Command::Refuse(false) => {}
        }
        Ok(())
    }

    fn welcome(&mut self, stream: TcpStream) {
        self.shared.count(|counters| counters.connects += 1);
        // A socket that is dead already refuses this, and is of no use otherwise.
        if stream.set_zero_linger().is_ok() && self.links.len() < LINKS_MAX {
            self.links.spawn(link::run(stream, Arc::clone(&self.shared)));
        }
    }

    /// Resets every connection, those included that the system completed and nobody accepted yet.
    async fn cut(&mut self) {
        self.shared.begin_cut();
        if let Some(door) = &self.door {
            while let Ok((stream, _)) = door.immediate.accept() {
                self.shared.count(|counters| counters.connects += 1);
                // Where the system refuses, the socket is closed in the ordinary way: it ends all the same.
                let _ = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream))
                    .and_then(|stream| stream.set_zero_linger());
            }
        }
        self.links.abort_all();
        while let Some(ended) = self.links.join_next().await {
            pass_panic_on(ended);
        }
        self.shared.end_cut();
    }
}

impl Door {
    /// Listens at `address`; needs the runtime's context.
    fn open(address: SocketAddr) -> io::Result<Self> {
        let immediate = std::net::TcpListener::bind(address)?;
        immediate.set_nonblocking(true)?;
        let waiting = TcpListener::from_std(immediate.try_clone()?)?;
        Ok(Self { waiting, immediate })
    }
}

async fn accept(door: Option<&Door>) -> io::Result<TcpStream> {
    match door {
        Some(door) => Ok(door.waiting.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// A connection that panics is a bug of the proxy, and must not look like a fault that was asked for.
fn pass_panic_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
