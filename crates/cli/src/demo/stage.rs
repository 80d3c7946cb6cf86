//! The set-up: a server and two devices in directories, and a network between them that can be cut.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reconvene::sync::State;
use reconvene::{Role, Store, SyncClient};
use reconvene_server::{Authentication, Server};
use reconvene_sim::Proxy;
use tempfile::TempDir;

use super::cities::{City, Shop};
use super::interrupt::Interrupt;

/// How long the sockets may take to be reset.
const CUT_MAX: Duration = Duration::from_secs(10);

/// How long the server may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Where the three stores lie.
pub(crate) enum Directories {
    /// Removed in the end.
    Temporary(TempDir),
    /// Left to the user.
    Kept(PathBuf),
}

impl Directories {
    pub(crate) fn temporary() -> anyhow::Result<Directories> {
        let directory = tempfile::Builder::new().prefix("reconvene-demo-").tempdir();
        Ok(Directories::Temporary(
            directory.context("there is no room for temporary directories; use --keep")?,
        ))
    }

    /// A directory of the user's, which is created unless it is there and empty.
    pub(crate) fn kept(directory: &Path) -> anyhow::Result<Directories> {
        // An absolute path, because a store takes a name like `memory:` for one that is gone with the process.
        let directory = std::path::absolute(directory)?;
        let failed = || format!("{} cannot be used", directory.display());
        std::fs::create_dir_all(&directory).with_context(failed)?;
        let is_empty = std::fs::read_dir(&directory).with_context(failed)?.next().is_none();
        ensure!(is_empty, "{} is not empty; name a new directory", directory.display());
        Ok(Directories::Kept(directory))
    }

    pub(crate) fn root(&self) -> &Path {
        match self {
            Directories::Temporary(directory) => directory.path(),
            Directories::Kept(directory) => directory,
        }
    }

    /// The directory of the server, of device A and of device B.
    pub(crate) fn all(&self) -> [PathBuf; 3] {
        ["server", "a", "b"].map(|name| self.root().join(name))
    }
}

/// A server and two devices, each behind a network of its own.
pub(crate) struct Stage {
    pub(crate) a: Device,
    pub(crate) b: Device,
    pub(crate) server: Store,
    running: Server,
}

/// A device with its way to the server.
pub(crate) struct Device {
    client: SyncClient,
    pub(crate) network: Proxy,
    pub(crate) store: Store,
}

impl Stage {
    /// Opens everything and waits until both devices are connected.
    pub(crate) fn set(directories: &Directories, interrupt: &Interrupt) -> anyhow::Result<Stage> {
        let [server, a, b] = directories.all();
        let server = Store::builder(server).role(Role::Server).entity::<City>().entity::<Shop>().open()?;
        let running = Server::builder(&server)
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .authentication(Authentication::None)
            .start()?;
        let address = running.local_addr();
        let stage = Stage { a: Device::open(&a, address)?, b: Device::open(&b, address)?, server, running };
        stage.settle(interrupt)?;
        Ok(stage)
    }

    /// Resets every connection and lets none be made; how many there were.
    pub(crate) fn cut(&self) -> anyhow::Result<u64> {
        let mut connections = 0;
        for device in [&self.a, &self.b] {
            let network = device.network.handle();
            connections += network.counters().open;
            network.refuse(true)?;
            network.cut();
            ensure!(
                network.wait_for(CUT_MAX, |counters| counters.open == 0),
                "connections survive being cut"
            );
        }
        Ok(connections)
    }

    /// Lets connections be made again, first A's and when A has sent all, B's; returns when everyone has everything.
    pub(crate) fn reconnect(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        self.a.reconnect()?;
        interrupt.wait_until("A has sent its changes", || self.a.uploaded())?;
        self.b.reconnect()?;
        self.settle(interrupt)
    }

    /// Waits until both devices have sent everything and have everything.
    pub(crate) fn settle(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        interrupt.wait_until("everyone has everything", || {
            let (a, b) = (self.a.uploaded()?, self.b.uploaded()?);
            let head = self.server.sync().head()?;
            let cursors = [self.a.store.sync().cursor()?.seq, self.b.store.sync().cursor()?.seq];
            let live = [&self.a, &self.b].iter().all(|device| device.client.status().state == State::Live);
            Ok((a.0 && b.0 && live && cursors == [head, head], (a.1, b.1, head, cursors)))
        })
    }

    /// Ends the connections and the server, and closes all three stores.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        let Stage { a, b, server, running } = self;
        for device in [a, b] {
            device.client.stop();
            drop(device.network);
        }
        running.shutdown(DRAIN_MAX)?;
        drop(server);
        Ok(())
    }
}

impl Device {
    fn open(directory: &Path, server: SocketAddr) -> anyhow::Result<Device> {
        let store = Store::builder(directory).entity::<City>().entity::<Shop>().open()?;
        let network = Proxy::start(server)?;
        let client = SyncClient::builder(&store, format!("ws://{}", network.address())).start()?;
        Ok(Device { client, network, store })
    }

    fn reconnect(&self) -> anyhow::Result<()> {
        self.network.handle().heal()?;
        self.client.network_is_back();
        Ok(())
    }

    /// Whether the server has decided on everything, and how much it has not.
    fn uploaded(&self) -> anyhow::Result<(bool, u64)> {
        let status = self.client.status();
        if let (State::GaveUp | State::Stopped, Some(closed)) = (status.state, status.last_closed) {
            bail!("a device has given up: {closed}");
        }
        let undecided = self.store.sync().undecided()?;
        Ok((undecided == 0, undecided))
    }
}
