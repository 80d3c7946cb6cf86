//! Stores that stand for devices and a server, and the steps that happen between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use reconvene_model::{PeerId, Seq, TxNumber};
use reconvene_store::__private::Image;
use reconvene_store::{
    ChunkStart, Counter, Decision, Delivery, Durability, Entity, EntityBox, Fork, Held, Incoming, Kinship,
    PushedTx, Role, Store, ToOne, ValueSet, Verdict,
};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Shop {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) stock: i64,
    #[unique]
    pub(crate) code: Option<String>,
    pub(crate) town: ToOne<Town>,
    pub(crate) tags: Vec<String>,
    pub(crate) visits: Counter,
    pub(crate) labels: ValueSet<String>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, conflict = "object", crate = "reconvene_store")]
pub(crate) struct Town {
    pub(crate) id: u64,
    #[index]
    pub(crate) name: String,
    pub(crate) people: u32,
}

/// An order whose stage only goes on, unless someone of a higher stage sets it back by removing it.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
pub(crate) struct Order {
    pub(crate) id: u64,
    #[sync_precedence]
    pub(crate) stage: i32,
    pub(crate) note: String,
    #[sync_clock]
    #[index]
    pub(crate) clock: i64,
}

/// What was seen last at a place; the ids are those of the places.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, shared_ids, conflict = "arrival", crate = "reconvene_store")]
pub(crate) struct Sighting {
    pub(crate) id: u64,
    pub(crate) by: u32,
    #[index]
    pub(crate) what: String,
    #[index]
    pub(crate) times: Counter,
    pub(crate) seen_by: ValueSet<i64>,
}

/// A report that only its author makes, and others correct; the one that arrives last counts.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, conflict = "arrival", crate = "reconvene_store")]
pub(crate) struct Report {
    pub(crate) id: u64,
    pub(crate) text: String,
    #[sync_clock]
    pub(crate) clock: i64,
}

/// The start of the common clock, in milliseconds.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// The largest difference between two devices' clocks, in milliseconds; far below what the server refuses.
const SKEW_MS: i64 = 5_000;

/// The code with which a server refuses what is dated too far ahead.
pub(crate) const CLOCK_AHEAD: u32 = 604;

/// So small that catch-ups are cut into many chunks, within a position too.
const CHUNK_BYTES: usize = 200;

pub(crate) struct World {
    pub(crate) server: Peer,
    pub(crate) devices: Vec<Device>,
    /// What the server accepted, in order.
    pub(crate) history: Vec<PushedTx>,
    /// How often a device went on under another name.
    pub(crate) renewals: usize,
    /// How many hashes the server tells at a login.
    pub(crate) chain_max: usize,
    now_ms: Arc<AtomicU64>,
    _directory: Option<tempfile::TempDir>,
}

/// A store that can be closed and opened again.
pub(crate) struct Peer {
    pub(crate) store: Option<Store>,
    /// Where it lies; in memory it cannot be reopened.
    pub(crate) directory: Option<PathBuf>,
    /// What a store in memory begins with.
    pub(crate) image: Option<Image>,
    role: Role,
    secret: u8,
    /// How often it was opened.
    openings: u64,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

pub(crate) struct Device {
    pub(crate) peer: Peer,
    /// How far its clock is ahead, in milliseconds.
    skew_ms: Arc<AtomicI64>,
    session: Option<Session>,
}

/// What a connection holds on both of its ends.
struct Session {
    sent: TxNumber,
    /// Up to where the server has sent the history.
    following: Following,
    /// Verdicts that are on their way.
    verdicts: Vec<(TxNumber, Verdict)>,
}

enum Following {
    CatchUp(ChunkStart),
    Live(Seq),
}

impl Peer {
    pub(crate) fn open(&mut self) {
        self.openings += 1;
        let mut seed = [self.secret; 32];
        seed[..8].copy_from_slice(&self.openings.to_be_bytes());
        let place = self.directory.clone().unwrap_or_else(|| "memory:".into());
        let clock = self.clock.clone();
        let builder = Store::builder(place);
        let builder = match &self.image {
            Some(image) => builder.image(image),
            None => builder,
        };
        let store = builder
            .entity::<Shop>()
            .entity::<Town>()
            .entity::<Order>()
            .entity::<Sighting>()
            .entity::<Report>()
            .role(self.role)
            .durability(Durability::Relaxed)
            .identity_secret([self.secret; 32])
            .renewal_seed(seed)
            .time_source(move || clock())
            .open()
            .unwrap();
        self.store = Some(store);
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn restart(&mut self) {
        if self.directory.is_some() {
            self.store = None;
            self.open();
        }
    }
}

impl Device {
    pub(crate) fn store(&self) -> &Store {
        self.peer.store()
    }

    pub(crate) fn shops(&self) -> EntityBox<Shop> {
        self.store().boxed().unwrap()
    }

    pub(crate) fn towns(&self) -> EntityBox<Town> {
        self.store().boxed().unwrap()
    }

    pub(crate) fn orders(&self) -> EntityBox<Order> {
        self.store().boxed().unwrap()
    }

    pub(crate) fn id(&self) -> PeerId {
        self.store().sync().peer()
    }
}

/// Lets a device date its unsent writes anew: what the application sees must not change.
fn restamp(store: &Store, server_ms: u64) {
    let values = || {
        let (shops, towns) = (store.boxed::<Shop>().unwrap(), store.boxed::<Town>().unwrap());
        let shops: Vec<Shop> = shops.all().unwrap().into_iter().map(|shop| shop.into_inner()).collect();
        let towns: Vec<Town> = towns.all().unwrap().into_iter().map(|town| town.into_inner()).collect();
        (shops, towns)
    };
    let before = values();
    assert!(store.sync().restamp(server_ms).unwrap() > 0);
    assert_eq!(values(), before);
    assert_eq!(store.check().unwrap(), []);
    assert_eq!(store.sync().restamp(server_ms).unwrap(), 0, "what may be sent stays as it is");
}

impl World {
    pub(crate) fn new(devices: u8, on_disk: bool) -> World {
        let directory = on_disk.then(|| tempfile::tempdir().unwrap());
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        let skew = |number: u8| Arc::new(AtomicI64::new(i64::from(number) * 7919 % SKEW_MS));
        let peer = |number: u8, role: Role, skew: &Arc<AtomicI64>| {
            let (now_ms, skew) = (now_ms.clone(), skew.clone());
            let mut peer = Peer {
                store: None,
                directory: directory.as_ref().map(|directory| directory.path().join(number.to_string())),
                image: None,
                role,
                secret: number + 1,
                openings: 0,
                clock: Arc::new(move || {
                    now_ms.load(Ordering::Relaxed).saturating_add_signed(skew.load(Ordering::Relaxed))
                }),
            };
            peer.open();
            peer
        };
        World {
            server: peer(0, Role::Server, &Arc::default()),
            devices: (1..=devices)
                .map(|number| {
                    let skew_ms = skew(number);
                    Device { peer: peer(number, Role::Device, &skew_ms), skew_ms, session: None }
                })
                .collect(),
            history: Vec::new(),
            renewals: 0,
            chain_max: 100,
            now_ms,
            _directory: directory,
        }
    }

    /// Lets time pass.
    pub(crate) fn tick(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets everyone's clock back.
    pub(crate) fn set_back(&self, ms: u64) {
        self.now_ms.fetch_sub(ms, Ordering::Relaxed);
    }

    /// Sets a device's clock, to so many milliseconds ahead of the server's.
    pub(crate) fn set_clock(&self, device: usize, ahead_ms: i64) {
        self.devices[device].skew_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Cuts the connection: what was on its way is lost.
    pub(crate) fn cut(&mut self, device: usize) {
        let device = &mut self.devices[device];
        device.session = None;
        device.store().sync().note_session_end();
    }

    /// Closes and opens a device's store, and its connection with it.
    pub(crate) fn restart(&mut self, device: usize) {
        self.cut(device);
        self.devices[device].peer.restart();
    }

    /// Closes and opens the server's store, and with it all connections.
    pub(crate) fn restart_server(&mut self) {
        for device in 0..self.devices.len() {
            self.cut(device);
        }
        self.server.restart();
    }

    /// Logs in, unless connected; `lost` loses the answer.
    pub(crate) fn connect(&mut self, device: usize, lost: bool) {
        while self.devices[device].session.is_none() && self.try_connect(device, lost) {}
    }

    /// Logs in; whether it is to be tried once more.
    fn try_connect(&mut self, device: usize, lost: bool) -> bool {
        let peer = self.devices[device].id();
        // Only the newest session of a peer stays.
        self.devices.iter_mut().filter(|other| other.id() == peer).for_each(|other| other.session = None);
        let device = &mut self.devices[device];
        let (sync, server) = (device.peer.store().sync(), self.server.store().sync());
        let state = sync.login_state().unwrap();
        let origin = server.register(peer, &sync.key().public()).unwrap();
        let epoch = server.epoch().unwrap();
        let from = if state.cursor.epoch == epoch { state.cursor.seq } else { Seq(0) };
        let head = server.head().unwrap();
        if lost {
            return false;
        }
        let upto = origin.decided.min(state.last_number);
        let chain = server.hashes(peer, state.decided, upto, self.chain_max).unwrap();
        let verdicts = server.unconfirmed(peer, state.decided).unwrap();
        match sync.kinship(&state, origin.decided, origin.hash, &chain).unwrap() {
            Kinship::Same => {}
            Kinship::Longer { common } => {
                let mut deliveries: Vec<Delivery<'_>> = Vec::new();
                for (number, verdict) in verdicts.into_iter().filter(|(number, _)| *number <= common) {
                    deliveries.push(Delivery::Verdict { number, verdict });
                }
                deliveries.push(Delivery::Login {
                    epoch,
                    view: 1,
                    decided: common,
                    decided_seq: head,
                    rebased: None,
                    compare: false,
                });
                sync.apply(&deliveries).unwrap();
                return true;
            }
            Kinship::Forked { common } => {
                let fork = Fork { common, decided_seq: head, verdicts: &verdicts };
                crate::copies::renew(device.peer.store(), &fork);
                self.renewals += 1;
                return true;
            }
            other => panic!("{other:?}"),
        }
        let mut deliveries: Vec<Delivery<'_>> =
            verdicts.into_iter().map(|(number, verdict)| Delivery::Verdict { number, verdict }).collect();
        deliveries.push(Delivery::Login {
            epoch,
            view: 1,
            decided: origin.decided,
            decided_seq: head,
            rebased: None,
            compare: false,
        });
        sync.apply(&deliveries).unwrap();
        device.session = Some(Session {
            sent: origin.decided,
            following: Following::CatchUp(ChunkStart::after(from)),
            verdicts: Vec::new(),
        });
        false
    }

    /// Uploads some transactions; the verdicts are on their way then.
    pub(crate) fn upload(&mut self, device: usize, txs_max: usize) {
        let device = &mut self.devices[device];
        let peer = device.peer.store().sync().peer();
        let Some(session) = &mut device.session else { return };
        let server_ms = self.server.store().now_ms();
        let sync = device.peer.store().sync();
        let mut uploads = sync.uploads(session.sent, txs_max, 1 << 20, server_ms).unwrap();
        if uploads.held == Held::UntilRestamped {
            assert!(uploads.txs.is_empty(), "what was sent is decided on");
            restamp(device.peer.store(), server_ms);
            uploads = sync.uploads(session.sent, txs_max, 1 << 20, server_ms).unwrap();
            assert_eq!(uploads.held, Held::Nothing);
        }
        let txs = uploads.txs;
        let incoming: Vec<Incoming<'_>> = txs.iter().map(|tx| Incoming { peer, bytes: &tx.bytes }).collect();
        let confirmed = device.peer.store().sync().login_state().unwrap().decided;
        let decided = self.server.store().sync().decide(&incoming, &[(peer, confirmed)]).unwrap();
        for (tx, decided) in txs.iter().zip(decided) {
            session.sent = tx.number;
            match decided.decision {
                Decision::Verdict { number, verdict } => session.verdicts.push((number, verdict)),
                Decision::Known { .. } => {}
                other => panic!("{other:?}"),
            }
            self.history.extend(decided.push);
        }
    }

    /// Uploads a transaction that the server has decided on: its verdict must be the one that it got at first.
    pub(crate) fn upload_again(&mut self, device: usize) {
        let device = &self.devices[device];
        let (sync, server) = (device.store().sync(), self.server.store().sync());
        let Ok(origin) = server.register(sync.peer(), &sync.key().public()) else { return };
        for tx in sync.outbox(0, 8, 1 << 20).unwrap().into_iter().filter(|tx| tx.number <= origin.decided) {
            let again =
                || server.decide(&[Incoming { peer: sync.peer(), bytes: &tx.bytes }], &[]).unwrap().remove(0);
            let (first, second) = (again(), again());
            assert_eq!(first, second);
            assert!(first.push.is_none(), "a duplicate is told nobody");
        }
    }

    /// Delivers what is on its way to a device: verdicts, unless they are `late`, then `count` steps of the history.
    ///
    /// An own transaction's place never comes before its verdict, as the protocol has it; whole objects may.
    pub(crate) fn receive(&mut self, device: usize, count: usize, late: bool) {
        let device = &mut self.devices[device];
        let sync = device.peer.store().sync();
        let Some(session) = &mut device.session else { return };
        let first_waiting = session.verdicts.first().map_or(TxNumber::MAX, |&(number, _)| number);
        let told = if late { first_waiting } else { TxNumber::MAX };
        let verdicts = if late { Vec::new() } else { std::mem::take(&mut session.verdicts) };
        if !verdicts.is_empty() {
            let verdicts =
                verdicts.into_iter().map(|(number, verdict)| Delivery::Verdict { number, verdict });
            sync.apply(&verdicts.collect::<Vec<_>>()).unwrap();
        }
        for _ in 0..count {
            match session.following {
                Following::CatchUp(start) => {
                    let chunk = self.server.store().sync().chunk(start, CHUNK_BYTES).unwrap();
                    let mut deliveries = Vec::new();
                    if let Some(block) = &chunk.block {
                        deliveries.push(Delivery::States { block, upto: chunk.upto });
                    }
                    session.following = Following::CatchUp(chunk.next);
                    if chunk.last {
                        deliveries.push(Delivery::CatchUpDone { seq: chunk.upto });
                        session.following = Following::Live(chunk.upto);
                    }
                    sync.apply(&deliveries).unwrap();
                }
                Following::Live(sent) => {
                    let Some(tx) = self.history.get(usize::try_from(sent.0).unwrap()) else { return };
                    assert_eq!(tx.seq.0, sent.0 + 1, "positions have no gaps");
                    let own = tx.origin == sync.peer();
                    if own && tx.number >= told {
                        return;
                    }
                    let delivery = match own {
                        true => Delivery::Own { seq: tx.seq, number: tx.number },
                        false => Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops },
                    };
                    sync.apply(&[delivery]).unwrap();
                    session.following = Following::Live(tx.seq);
                }
            }
        }
    }

    /// Connects everyone and lets everything arrive.
    pub(crate) fn settle(&mut self) {
        // Of stores with one name only one is connected at a time, and one that goes on under another has to upload once more.
        for _ in 0..self.devices.len() + 1 {
            for device in 0..self.devices.len() {
                self.connect(device, false);
                self.upload(device, usize::MAX);
                // What was dated too far ahead follows when the rest is decided on.
                self.receive(device, 0, false);
                self.upload(device, usize::MAX);
                self.receive(device, 0, false);
            }
            for device in 0..self.devices.len() {
                self.connect(device, false);
                while self.is_behind(device) {
                    self.receive(device, 10, false);
                }
                self.receive(device, 1, false);
            }
            let undecided = |device: &Device| device.store().sync().undecided().unwrap();
            if (0..self.devices.len()).all(|device| !self.is_behind(device))
                && self.devices.iter().all(|device| undecided(device) == 0)
            {
                return;
            }
        }
    }

    fn is_behind(&self, device: usize) -> bool {
        let sync = self.devices[device].store().sync();
        sync.cursor().unwrap().seq < self.server.store().sync().head().unwrap() || sync.catching_up().unwrap()
    }

    /// Checks that no write was refused because of its date: wrong clocks cost nobody his writes.
    pub(crate) fn check_no_clock_refused(&self) {
        for device in &self.devices {
            let rejected = device.store().sync().rejected().unwrap();
            assert!(rejected.iter().all(|rejected| rejected.code != CLOCK_AHEAD), "{rejected:?}");
        }
    }

    /// Checks that everyone agrees with the history, and that no transaction is lost or doubled.
    pub(crate) fn check(&self) {
        let expected = crate::digest::of_history(self.server.store(), &self.history);
        assert_eq!(
            self.server.store().sync().content_hash().unwrap(),
            expected,
            "the server differs from its history"
        );
        for device in &self.devices {
            let sync = device.store().sync();
            assert_eq!(sync.undecided().unwrap(), 0, "{} has an outbox", device.id());
            assert_eq!(sync.content_hash().unwrap(), expected, "{} differs from the history", device.id());
            let mut fates: BTreeMap<TxNumber, usize> = BTreeMap::new();
            for tx in self.history.iter().filter(|tx| tx.origin == device.id()) {
                *fates.entry(tx.number).or_default() += 1;
            }
            let state = sync.login_state().unwrap();
            for rejected in sync.rejected().unwrap() {
                // A transaction that lost some of its ops is accepted and rejected in part.
                if rejected.number > state.issued_before {
                    fates.entry(rejected.number - state.issued_before).or_insert(1);
                }
            }
            let last = state.last_number;
            let all: Vec<TxNumber> = fates.keys().copied().collect();
            assert_eq!(
                all,
                (1..=last).collect::<Vec<_>>(),
                "every transaction of {} has a fate",
                device.id()
            );
            assert!(fates.values().all(|&times| times == 1), "no transaction counts twice");
        }
    }
}
