//! A server and devices as stores, and what goes to and fro between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use reconvene_model::{ObjectId, Seq, TxNumber};
use reconvene_store::__private::Image;
use reconvene_store::{
    ChunkStart, Decision, Delivery, Held, Incoming, PushedTx, Role, Store, Tracked, Verdict,
};

use crate::app::{self, Note};

/// The start of the common clock, in milliseconds.
const START_MS: u64 = 1_800_000_000_000;

/// So small that catch-ups are cut into several chunks.
const CHUNK_BYTES: usize = 200;

/// The people of the stories; each has a device.
pub(crate) const PEOPLE: [&str; 3] = ["ann", "bob", "cid"];

/// Everybody, with what is on the way between them.
pub(crate) struct World {
    pub(crate) server: Store,
    pub(crate) devices: Vec<Device>,
    /// What the server accepted, in order.
    history: Vec<PushedTx>,
    now_ms: Arc<AtomicU64>,
}

/// One person's device.
pub(crate) struct Device {
    pub(crate) store: Store,
    is_old: bool,
    secret: u8,
    skew_ms: Arc<AtomicI64>,
    /// The local ids of what its user has seen, by entity and name.
    pub(crate) names: BTreeMap<(String, String), ObjectId>,
    /// A note that is open in a form.
    pub(crate) form: Option<Tracked<Note>>,
    session: Option<Session>,
}

/// What a connection holds on both of its ends.
struct Session {
    sent: TxNumber,
    following: Following,
    /// Verdicts that are on their way.
    verdicts: Vec<(TxNumber, Verdict)>,
}

#[derive(Clone, Copy)]
enum Following {
    CatchUp(ChunkStart),
    Live(Seq),
}

/// A world at one moment, from which it can go on in several ways.
pub(crate) struct Moment {
    server: Image,
    devices: Vec<(Image, DeviceNotes)>,
    history: Vec<PushedTx>,
    now_ms: u64,
}

/// What of a device does not lie in its store.
#[derive(Clone)]
struct DeviceNotes {
    is_old: bool,
    secret: u8,
    skew_ms: i64,
    names: BTreeMap<(String, String), ObjectId>,
}

fn open(
    image: Option<&Image>,
    role: Role,
    secret: u8,
    is_old: bool,
    now: impl Fn() -> u64 + Send + Sync + 'static,
) -> Store {
    let builder = Store::builder("memory:");
    let builder = match image {
        Some(image) => builder.image(image),
        None => builder,
    };
    let builder = builder.role(role).identity_secret([secret; 32]).time_source(now);
    app::describe(builder, is_old).open().unwrap()
}

fn open_device(image: Option<&Image>, notes: DeviceNotes, now_ms: &Arc<AtomicU64>) -> Device {
    let skew_ms = Arc::new(AtomicI64::new(notes.skew_ms));
    let (now, skew) = (now_ms.clone(), skew_ms.clone());
    let time = move || now.load(Ordering::Relaxed).saturating_add_signed(skew.load(Ordering::Relaxed));
    Device {
        store: open(image, Role::Device, notes.secret, notes.is_old, time),
        is_old: notes.is_old,
        secret: notes.secret,
        skew_ms,
        names: notes.names,
        form: None,
        session: None,
    }
}

impl World {
    /// An empty world; some people may have an old application.
    pub(crate) fn new(people: usize, old: &[usize], server_is_old: bool) -> World {
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        let now = now_ms.clone();
        let server = open(None, Role::Server, 1, server_is_old, move || now.load(Ordering::Relaxed));
        let device = |at: usize| {
            let secret = u8::try_from(at).unwrap() + 2;
            let notes = DeviceNotes { is_old: old.contains(&at), secret, skew_ms: 0, names: BTreeMap::new() };
            open_device(None, notes, &now_ms)
        };
        World { server, devices: (0..people).map(device).collect(), history: Vec::new(), now_ms }
    }

    /// What has come to be so far.
    pub(crate) fn moment(&self) -> Moment {
        let devices = self.devices.iter().map(|device| {
            let notes = DeviceNotes {
                is_old: device.is_old,
                secret: device.secret,
                skew_ms: device.skew_ms.load(Ordering::Relaxed),
                names: device.names.clone(),
            };
            (Image::of(&device.store).unwrap(), notes)
        });
        Moment {
            server: Image::of(&self.server).unwrap(),
            devices: devices.collect(),
            history: self.history.clone(),
            now_ms: self.now_ms.load(Ordering::Relaxed),
        }
    }

    /// A world that goes on from a moment.
    pub(crate) fn from(moment: &Moment, server_is_old: bool) -> World {
        let now_ms = Arc::new(AtomicU64::new(moment.now_ms));
        let now = now_ms.clone();
        let time = move || now.load(Ordering::Relaxed);
        let server = open(Some(&moment.server), Role::Server, 1, server_is_old, time);
        let devices = moment.devices.iter();
        let devices = devices.map(|(image, notes)| open_device(Some(image), notes.clone(), &now_ms));
        World { server, devices: devices.collect(), history: moment.history.clone(), now_ms }
    }

    /// Closes a device's store and opens it again, perhaps with the new application.
    pub(crate) fn restart(&mut self, device: usize, is_old: bool) {
        let old = &self.devices[device];
        let notes = DeviceNotes {
            is_old: old.is_old && is_old,
            secret: old.secret,
            skew_ms: old.skew_ms.load(Ordering::Relaxed),
            names: old.names.clone(),
        };
        let image = Image::of(&old.store).unwrap();
        self.devices[device] = open_device(Some(&image), notes, &self.now_ms);
    }

    /// Lets time pass.
    pub(crate) fn tick(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets a device's clock, to so many milliseconds ahead of the server's.
    pub(crate) fn set_clock(&self, device: usize, ahead_ms: i64) {
        self.devices[device].skew_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// How many of a device's transactions the server has not seen.
    pub(crate) fn unseen(&self, device: usize) -> usize {
        let sync = self.devices[device].store.sync();
        let origin = self.server.sync().register(sync.peer(), &sync.key().public()).unwrap();
        usize::try_from(sync.login_state().unwrap().last_number - origin.decided).unwrap()
    }

    /// Ends the connection: what was on its way is lost.
    pub(crate) fn cut(&mut self, device: usize) {
        let device = &mut self.devices[device];
        device.session = None;
        device.store.sync().note_session_end();
    }

    /// Logs in, unless connected.
    pub(crate) fn connect(&mut self, device: usize) {
        let device = &mut self.devices[device];
        if device.session.is_some() {
            return;
        }
        let (sync, server) = (device.store.sync(), self.server.sync());
        let state = sync.login_state().unwrap();
        let origin = server.register(sync.peer(), &sync.key().public()).unwrap();
        let (epoch, head) = (server.epoch().unwrap(), server.head().unwrap());
        let from = if state.cursor.epoch == epoch { state.cursor.seq } else { Seq(0) };
        if origin.decided > 0 {
            assert_eq!(sync.hash_of(origin.decided).unwrap(), Some(origin.hash), "one chain on both sides");
        }
        let refusals = server.unconfirmed(sync.peer(), state.decided).unwrap();
        let refusals = refusals.into_iter().map(|(number, verdict)| Delivery::Verdict { number, verdict });
        let login = Delivery::Login {
            epoch,
            view: 1,
            decided: origin.decided,
            decided_seq: head,
            rebased: None,
            compare: false,
        };
        sync.apply(&refusals.chain([login]).collect::<Vec<_>>()).unwrap();
        let following = Following::CatchUp(ChunkStart::after(from));
        device.session = Some(Session { sent: origin.decided, following, verdicts: Vec::new() });
    }

    /// Uploads the next transactions; their verdicts are on their way then.
    pub(crate) fn upload(&mut self, device: usize, txs_max: usize) {
        let mut uploads = self.uploads(device, txs_max);
        if uploads.txs.is_empty() && uploads.held != Held::Nothing {
            // What is dated too far ahead waits until all that was sent is decided, and is then dated anew.
            self.take_verdicts(device);
            let server_ms = self.server.now_ms();
            assert!(self.devices[device].store.sync().restamp(server_ms).unwrap() > 0);
            uploads = self.uploads(device, txs_max);
            assert_eq!(uploads.held, Held::Nothing);
        }
        let device = &mut self.devices[device];
        let (sync, session) = (device.store.sync(), device.session.as_mut().unwrap());
        let peer = sync.peer();
        let confirmed = sync.login_state().unwrap().decided;
        for tx in &uploads.txs {
            let incoming = [Incoming { peer, bytes: &tx.bytes }];
            let decided = self.server.sync().decide(&incoming, &[(peer, confirmed)]).unwrap().remove(0);
            session.sent = tx.number;
            match decided.decision {
                Decision::Verdict { number, verdict } => session.verdicts.push((number, verdict)),
                other => panic!("{other:?}"),
            }
            self.history.extend(decided.push);
        }
    }

    fn uploads(&self, device: usize, txs_max: usize) -> reconvene_store::Uploads {
        let device = &self.devices[device];
        let sent = device.session.as_ref().unwrap().sent;
        device.store.sync().uploads(sent, txs_max, 1 << 20, self.server.now_ms()).unwrap()
    }

    /// Delivers the verdicts that are on their way.
    pub(crate) fn take_verdicts(&mut self, device: usize) {
        let device = &mut self.devices[device];
        let verdicts = std::mem::take(&mut device.session.as_mut().unwrap().verdicts);
        let verdicts = verdicts.into_iter().map(|(number, verdict)| Delivery::Verdict { number, verdict });
        let verdicts: Vec<Delivery<'_>> = verdicts.collect();
        if !verdicts.is_empty() {
            device.store.sync().apply(&verdicts).unwrap();
        }
    }

    /// Delivers everything that is on its way to a device: verdicts, the rest of a catch-up, pushes.
    pub(crate) fn receive(&mut self, device: usize) {
        self.take_verdicts(device);
        let device = &mut self.devices[device];
        let (sync, session) = (device.store.sync(), device.session.as_mut().unwrap());
        loop {
            match session.following {
                Following::CatchUp(start) => {
                    let chunk = self.server.sync().chunk(start, CHUNK_BYTES).unwrap();
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
                    let delivery = match tx.origin == sync.peer() {
                        true => Delivery::Own { seq: tx.seq, number: tx.number },
                        false => Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops },
                    };
                    sync.apply(&[delivery]).unwrap();
                    session.following = Following::Live(tx.seq);
                }
            }
        }
    }

    /// Lets everybody send and receive everything.
    pub(crate) fn meet(&mut self) {
        for device in 0..self.devices.len() {
            self.connect(device);
            while self.unseen(device) > 0 {
                self.upload(device, usize::MAX);
            }
            self.take_verdicts(device);
        }
        for device in 0..self.devices.len() {
            self.receive(device);
        }
    }

    /// Lets everybody send and receive everything, and ends all connections.
    pub(crate) fn meet_and_part(&mut self) {
        self.meet();
        (0..self.devices.len()).for_each(|device| self.cut(device));
    }

    /// Connects a device as if it had been connected since it received last: what the others do comes as pushes.
    pub(crate) fn stay_connected(&mut self, device: usize) {
        self.connect(device);
        let device = &mut self.devices[device];
        let cursor = device.store.sync().cursor().unwrap();
        device.session.as_mut().unwrap().following = Following::Live(cursor.seq);
    }
}
