//! A server, devices, and a faulty proxy before each.

use std::time::{Duration, Instant};

use reconvene_client::{Secret, SyncClient};
use reconvene_server::{Authentication, Server, ServerConfig};
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
    authentication: Authentication,
    proxies: Vec<Proxy>,
}

pub(crate) struct Device {
    pub(crate) store: Store,
    pub(crate) shops: EntityBox<Shop>,
    pub(crate) towns: EntityBox<Town>,
    pub(crate) network: ProxyHandle,
    client: Option<SyncClient>,
    secret: Option<Secret>,
}

fn open(role: Role) -> Store {
    Store::builder("memory:").entity::<Shop>().entity::<Town>().role(role).open().unwrap()
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Authentication::None)
    }

    pub(crate) fn with(authentication: Authentication) -> World {
        let server_store = open(Role::Server);
        let mut world = World { server_store, server: None, authentication, proxies: Vec::new() };
        world.start_server();
        world
    }

    pub(crate) fn start_server(&mut self) {
        let server = Server::builder(&self.server_store)
            .bind("127.0.0.1:0".parse().unwrap())
            .authentication(self.authentication.clone())
            .protocol(ServerConfig { heartbeat: HEARTBEAT, ..ServerConfig::default() })
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
        let proxy = Proxy::start(self.server().local_addr()).unwrap();
        let network = proxy.handle().clone();
        self.proxies.push(proxy);
        let store = open(Role::Device);
        let (shops, towns) = (store.boxed().unwrap(), store.boxed().unwrap());
        Device { store, shops, towns, network, client: None, secret: None }
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
        let mut builder = SyncClient::builder(&self.store, url);
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
