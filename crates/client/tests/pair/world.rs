//! A server, devices, and a faulty proxy before each.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use reconvene_client::{ClientConfig, Closed, Code, Secret, SyncClient, SyncEvent};
use reconvene_server::{Authentication, Server, ServerConfig, ServerLimits};
use reconvene_sim::{Proxy, ProxyHandle};
use reconvene_store::{Entity, EntityBox, Role, Store, ToOne};

/// A shop in a town: a link, a unique code, and two properties to fight over.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Shop {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) stock: i64,
    #[unique]
    pub(crate) code: Option<String>,
    pub(crate) town: ToOne<Town>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Town {
    pub(crate) id: u64,
    pub(crate) name: String,
}

/// How long anything may take on the slowest machine; reached only when something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than any test: a session that only a heartbeat would wake shows as one that never goes on.
const HEARTBEAT: Duration = Duration::from_secs(3600);

pub(crate) struct World {
    pub(crate) server_store: Store,
    server: Option<Server>,
    /// Whether the server takes devices of histories that it knows nothing of.
    pub(crate) takes_over: bool,
    /// For how long the server tells devices of removals.
    pub(crate) removals_kept: Option<Duration>,
    authentication: Authentication,
    /// For servers that are started from here on.
    pub(crate) protocol: ServerConfig,
    pub(crate) limits: ServerLimits,
    proxies: Vec<Proxy>,
}

pub(crate) struct Device {
    pub(crate) store: Store,
    pub(crate) shops: EntityBox<Shop>,
    pub(crate) towns: EntityBox<Town>,
    pub(crate) network: ProxyHandle,
    /// What the client told since it was connected last.
    pub(crate) events: Events,
    /// For clients that are connected from here on.
    pub(crate) protocol: ClientConfig,
    pub(crate) pauses: Vec<Duration>,
    pub(crate) connect_timeout: Duration,
    client: Option<SyncClient>,
    secret: Option<Secret>,
}

/// What a client told, with the time.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<(Mutex<Log>, Condvar)>);

type Log = Vec<(Instant, SyncEvent)>;

impl Events {
    fn push(&self, event: SyncEvent) {
        self.0.0.lock().unwrap().push((Instant::now(), event));
        self.0.1.notify_all();
    }

    pub(crate) fn all(&self) -> Log {
        self.0.0.lock().unwrap().clone()
    }

    /// How many connections were tried.
    pub(crate) fn attempts(&self) -> usize {
        self.all().iter().filter(|(_, event)| matches!(event, SyncEvent::Connecting)).count()
    }

    /// How the connections ended, each with the pause that followed.
    pub(crate) fn ends(&self) -> Vec<(Closed, Duration)> {
        let end = |(_, event)| match event {
            SyncEvent::Disconnected { closed, retry_in } => retry_in.map(|pause| (closed, pause)),
            _ => None,
        };
        self.all().into_iter().filter_map(end).collect()
    }

    /// Waits for an event.
    pub(crate) fn wait(&self, what: &str, is_it: impl Fn(&SyncEvent) -> bool) {
        self.wait_many(what, 1, is_it);
    }

    /// Waits for some number of events.
    pub(crate) fn wait_many(&self, what: &str, count: usize, is_it: impl Fn(&SyncEvent) -> bool) {
        let events = self.0.0.lock().unwrap();
        let missing = |events: &mut Log| events.iter().filter(|(_, event)| is_it(event)).count() < count;
        let (events, waited) = self.0.1.wait_timeout_while(events, PATIENCE, missing).unwrap();
        assert!(!waited.timed_out(), "{what} never came: {events:?}");
    }

    /// Waits until a connection ended with this code.
    pub(crate) fn wait_closed(&self, code: Code) {
        let is_it = |event: &SyncEvent| match event {
            SyncEvent::Disconnected { closed, .. } | SyncEvent::GaveUp { closed } => closed.code == code,
            _ => false,
        };
        self.wait(code.name(), is_it);
    }
}

fn open(role: Role) -> Store {
    open_at("memory:".as_ref(), role)
}

/// A server's store in memory.
pub(crate) fn server_store() -> Store {
    open(Role::Server)
}

/// Opens a directory with the entities of these tests.
pub(crate) fn open_at(directory: &Path, role: Role) -> Store {
    Store::builder(directory).entity::<Shop>().entity::<Town>().role(role).open().unwrap()
}

/// Waits for what no event tells.
pub(crate) fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "this never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Authentication::None)
    }

    pub(crate) fn with(authentication: Authentication) -> World {
        World::build(open(Role::Server), |world| world.authentication = authentication)
    }

    /// A world whose server is set up otherwise.
    pub(crate) fn build(server_store: Store, set_up: impl FnOnce(&mut World)) -> World {
        let mut world = World {
            server_store,
            server: None,
            authentication: Authentication::None,
            takes_over: false,
            removals_kept: None,
            protocol: ServerConfig { heartbeat: HEARTBEAT, ..ServerConfig::default() },
            limits: ServerLimits::default(),
            proxies: Vec::new(),
        };
        set_up(&mut world);
        world.start_server();
        world
    }

    pub(crate) fn start_server(&mut self) {
        let server = Server::builder(&self.server_store)
            .bind("127.0.0.1:0".parse().unwrap())
            .authentication(self.authentication.clone())
            .take_over_devices(self.takes_over)
            .removals_kept(self.removals_kept)
            .protocol(self.protocol.clone())
            .limits(self.limits.clone())
            .start()
            .unwrap();
        for proxy in &self.proxies {
            proxy.handle().set_target(server.local_addr());
        }
        self.server = Some(server);
    }

    pub(crate) fn stop_server(&mut self) {
        self.server.take().unwrap().shutdown(PATIENCE).unwrap();
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// A new device that is not connected yet.
    pub(crate) fn device(&mut self) -> Device {
        self.device_of(open(Role::Device))
    }

    /// A device with this store that is not connected yet.
    pub(crate) fn device_of(&mut self, store: Store) -> Device {
        let (shops, towns) = (store.boxed().unwrap(), store.boxed().unwrap());
        self.device_with(store, shops, towns)
    }

    /// A device whose app has other structs for its entities: those of these tests serve for nothing.
    pub(crate) fn device_of_any(&mut self, store: Store) -> Device {
        let other = open(Role::Device);
        self.device_with(store, other.boxed().unwrap(), other.boxed().unwrap())
    }

    fn device_with(&mut self, store: Store, shops: EntityBox<Shop>, towns: EntityBox<Town>) -> Device {
        let proxy = Proxy::start(self.server().local_addr()).unwrap();
        let network = proxy.handle().clone();
        self.proxies.push(proxy);
        Device {
            store,
            shops,
            towns,
            network,
            events: Events::default(),
            protocol: ClientConfig::default(),
            pauses: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            client: None,
            secret: None,
        }
    }

    /// Waits until all devices have sent and received everything, and checks that all agree.
    pub(crate) fn converge(&self, devices: &[&Device]) {
        let deadline = Instant::now() + PATIENCE;
        for device in devices {
            if let Err(error) = device.client().wait_uploaded(PATIENCE) {
                panic!("{error}: {:?}", device.client().status());
            }
        }
        let head = self.server_store.sync().head().unwrap();
        for device in devices {
            while device.store.sync().cursor().unwrap().seq < head {
                assert!(
                    Instant::now() < deadline,
                    "a device stays behind {head}: {:?}",
                    device.client().status()
                );
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(device.store.sync().undecided().unwrap(), 0);
        }
        let hash = self.server_store.sync().content_hash().unwrap();
        for device in devices {
            assert_eq!(device.store.sync().content_hash().unwrap(), hash, "a device differs from the server");
        }
    }
}

impl Device {
    pub(crate) fn with_secret(mut self, secret: &str) -> Device {
        self.secret = Some(Secret::new(secret));
        self
    }

    pub(crate) fn client(&self) -> &SyncClient {
        self.client.as_ref().expect("the device is connected")
    }

    pub(crate) fn connect(&mut self) {
        let url = format!("ws://{}", self.network.address());
        self.connect_to(&url);
    }

    pub(crate) fn connect_to(&mut self, url: &str) {
        self.events = Events::default();
        let events = self.events.clone();
        let mut builder = SyncClient::builder(&self.store, url)
            .on_event(move |event| events.push(event.clone()))
            .protocol(self.protocol.clone())
            .retry_pauses(&self.pauses)
            .connect_timeout(self.connect_timeout);
        if let Some(secret) = &self.secret {
            builder = builder.shared_secret(secret.clone());
        }
        self.client = Some(builder.start().unwrap());
    }

    pub(crate) fn disconnect(&mut self) {
        self.client.take().expect("the device is connected").stop();
    }

    pub(crate) fn online(&mut self) -> &Device {
        self.connect();
        self.client().wait_downloaded(PATIENCE).unwrap();
        self
    }
}
