//! The server, the devices and the network between them, and what the auditor knows of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reconvene_model::PeerId;
use reconvene_store::{Role, Store};

use super::Counts;
use super::actor::Actor;
use super::history::{Followed, History};
use super::words::{DeviceOrders, Orders, Said, ServerOrders, Told, unhex};
use crate::audit::device::{DeviceAudit, Stand, Uids, uid_of};
use crate::audit::truth::TxRecord;
use crate::chance::Chance;
use crate::finding::{Finding, Outcome, check, found};
use crate::proxy::Proxy;
use crate::schema::{Kind, NEWEST};

/// How long anything may take that must come about; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing is done while something is waited for.
const BREATH: Duration = Duration::from_millis(5);

/// The longest time between a transaction's being dated anew and the auditor's hearing of it, in milliseconds.
const REDATED_AGO_MS: u64 = 60_000;

/// One device, whether its process runs or not.
pub(super) struct Device {
    pub(super) orders: DeviceOrders,
    pub(super) actor: Option<Actor>,
    pub(super) proxy: Proxy,
    /// What the application was told to have come back, since it was started.
    told: BTreeSet<u64>,
    /// How often its user has committed, what was left out included.
    commits: u64,
    /// The last transaction that was heard to be dated anew, if nothing else was heard since.
    redated: Option<u64>,
    /// How far it has come since it rests: the place in the history, and how much is undecided.
    stand: Option<(u64, u64)>,
    /// Whether its disk was full since it was started.
    was_full: bool,
    /// Whether it has said that its store is spent.
    is_spent: bool,
}

pub(super) struct Scene {
    program: PathBuf,
    directory: PathBuf,
    pub(super) server: Option<Actor>,
    server_orders: ServerOrders,
    pub(super) devices: Vec<Device>,
    /// Beside the devices, in the same order.
    audits: Vec<DeviceAudit>,
    history: History,
    uids: Uids,
    /// Whether the server's disk was full since it was started.
    server_was_full: bool,
    /// Whether users do nothing, so that everybody can come together.
    rests: bool,
    pub(super) counts: Counts,
}

impl Scene {
    /// Starts everybody in a directory.
    pub(super) fn start(
        program: &Path,
        directory: &Path,
        devices: usize,
        planted: Option<&str>,
        chance: &mut Chance,
    ) -> Outcome<Scene> {
        let version = |chance: &mut Chance| if chance.percent(30) { 1 } else { NEWEST };
        let server_orders = ServerOrders {
            directory: directory.join("server"),
            version: version(chance),
            chunk_bytes: chance.weighted(&[(2, 256 * 1024), (2, 4_000), (1, 300)]),
            ring_bytes: chance.weighted(&[(3, 1 << 20), (2, 20_000), (1, 1)]),
            planted: planted.map(str::to_owned),
        };
        // Nobody listens there until the server says where it does.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let devices = (0..devices).map(|index| {
            let proxy = Proxy::start(nowhere).map_err(|error| broken("the network", &error))?;
            let orders = DeviceOrders {
                index,
                directory: directory.join(format!("device-{index}")),
                url: format!("ws://{}", proxy.address()),
                version: version(chance),
                skew_ms: skew(chance),
                seed: chance.below(u64::MAX),
                planted: planted.map(str::to_owned),
            };
            Ok(Device {
                orders,
                actor: None,
                proxy,
                told: BTreeSet::new(),
                commits: 0,
                redated: None,
                stand: None,
                was_full: false,
                is_spent: false,
            })
        });
        let devices = devices.collect::<Outcome<Vec<_>>>()?;
        let audits =
            devices.iter().map(|device| DeviceAudit::new(PeerId(0), device.orders.version)).collect();
        let mut scene = Scene {
            program: program.to_owned(),
            directory: directory.to_owned(),
            server: None,
            server_orders,
            devices,
            audits,
            history: History::new(uid_of(Kind::Note, "code")),
            uids: Uids::new(),
            server_was_full: false,
            rests: false,
            counts: Counts::default(),
        };
        scene.start_missing()?;
        Ok(scene)
    }

    /// Starts everybody who does not run.
    pub(super) fn start_missing(&mut self) -> Outcome<()> {
        if self.server.is_none() {
            let orders = Orders::Server(self.server_orders.clone());
            let server = Actor::start(&self.program, &orders, &self.directory.join("server.errors"));
            let mut server = server.map_err(|error| broken("a process", &error))?;
            let Some(Said::Listening(address)) = server.hear(PATIENCE) else {
                return found("the server starts", server.ended().unwrap_or_default());
            };
            for device in &self.devices {
                device.proxy.handle().set_target(address);
            }
            (self.server, self.server_was_full) = (Some(server), false);
        }
        for device in self.devices.iter_mut().filter(|device| device.actor.is_none()) {
            let errors = self.directory.join(format!("device-{}.errors", device.orders.index));
            let actor = Actor::start(&self.program, &Orders::Device(device.orders.clone()), &errors);
            let mut actor = actor.map_err(|error| broken("a process", &error))?;
            if self.rests {
                actor.tell(Told::Rest);
            }
            device.actor = Some(actor);
            (device.was_full, device.is_spent) = (false, false);
            (device.told, device.redated, device.stand) = (BTreeSet::new(), None, None);
        }
        Ok(())
    }

    /// Takes in what everybody says, and sees that nobody has ended by himself.
    pub(super) fn attend(&mut self) -> Outcome<()> {
        for index in 0..self.devices.len() {
            while let Some(said) =
                self.devices[index].actor.as_ref().and_then(|actor| actor.hear(Duration::ZERO))
            {
                self.heard(index, said)?;
            }
        }
        self.open_anew_what_is_spent()?;
        let devices = self.devices.iter_mut().filter_map(|device| {
            let name = format!("device {}", device.orders.index);
            Some((name, device.actor.as_mut()?))
        });
        let server = self.server.as_mut().map(|server| ("the server".to_owned(), server));
        for (name, actor) in devices.chain(server) {
            if let Some(how) = actor.ended() {
                return found("processes go on", format!("{name} ended {how}"));
            }
        }
        Ok(())
    }

    /// Notes that a process finds no room from here on.
    pub(super) fn noted_limit(&mut self, who: Option<usize>) {
        match who {
            Some(index) => self.devices[index].was_full = true,
            None => self.server_was_full = true,
        }
    }

    /// Starts those anew whose disk failed. A store that cannot tell a disk that has room again from one that fails must not write any
    /// more: of a write that was cut short the system says no more than that it failed.
    fn open_anew_what_is_spent(&mut self) -> Outcome<()> {
        let mut any = false;
        for index in 0..self.devices.len() {
            if self.devices[index].is_spent {
                self.kill_device(index)?;
                any = true;
            }
        }
        if self.server_was_full && self.server.as_mut().is_some_and(|server| server.ended().is_some()) {
            self.kill_server();
            any = true;
        }
        if any { self.start_missing() } else { Ok(()) }
    }

    fn heard(&mut self, index: usize, said: Said) -> Outcome<()> {
        let (device, audit) = (&mut self.devices[index], &mut self.audits[index]);
        match said {
            Said::Listening(_) => {}
            Said::Peer(peer) => {
                let is_same = audit.peer == PeerId(0) || audit.peer == PeerId(peer);
                check(is_same, "names stay", || {
                    format!("device {index} was {} and is {peer:x}", audit.peer)
                })?;
                audit.peer = PeerId(peer);
                audit.version = device.orders.version;
            }
            Said::Tx(_, bytes) => {
                let bytes = unhex(&bytes).ok_or_else(|| Finding::new("tx readable", "no hexadecimal"))?;
                self.wrote(index, &bytes)?;
            }
            Said::Back(numbers) => {
                for number in numbers {
                    check(device.told.insert(number), "rejections told once", || {
                        format!("device {index} was told twice that transaction {number} came back")
                    })?;
                }
            }
            Said::Full => self.counts.writes_without_room += 1,
            Said::Spent => {
                device.is_spent = true;
                self.counts.spent += 1;
                return check(device.was_full, "nothing goes wrong by itself", || {
                    format!("device {index}: the store is spent, but there was room on its disk")
                });
            }
            Said::Resting { seq, undecided, .. } => device.stand = Some((seq, undecided)),
            Said::Wrong(what) => {
                return found("nothing goes wrong by itself", format!("device {index}: {what}"));
            }
        }
        Ok(())
    }

    /// Notes a transaction as it lies in the outbox of a device.
    fn wrote(&mut self, index: usize, bytes: &[u8]) -> Outcome<()> {
        let tx = TxRecord::read(bytes)?;
        let (device, audit) = (&mut self.devices[index], &mut self.audits[index]);
        let number = tx.number;
        let known = usize::try_from(number).ok().and_then(|number| audit.txs.get(number.checked_sub(1)?));
        let redated = match known {
            None => {
                self.counts.transactions += 1;
                device.commits += 1;
                audit.committed(tx).map(|()| None)
            }
            Some(known) if known.hash == tx.hash => Ok(None),
            Some(known) if known.ops != tx.ops => {
                self.counts.left_out += 1;
                device.commits += 1;
                audit.took_place(tx, true).map(|()| None)
            }
            Some(_) => {
                self.counts.redated += 1;
                let now = now_ms();
                let in_a_row = device.redated == Some(number - 1);
                audit.redate(tx, now.saturating_sub(REDATED_AGO_MS)..=now, in_a_row).map(|_| Some(number))
            }
        };
        device.redated = redated.map_err(|finding| of_device(index, finding))?;
        Ok(())
    }

    /// Kills a device; whatever it said before counts.
    pub(super) fn kill_device(&mut self, index: usize) -> Outcome<()> {
        let Some(mut actor) = self.devices[index].actor.take() else { return Ok(()) };
        actor.kill();
        for said in actor.hear_out() {
            self.heard(index, said)?;
        }
        Ok(())
    }

    /// Holds what a device that was killed left behind against all that is known.
    pub(super) fn look(&mut self, index: usize, is_settled: bool) -> Outcome<()> {
        let directory = self.devices[index].orders.directory.clone();
        if !directory.join(Store::DATA_FILE).exists() || self.audits[index].peer == PeerId(0) {
            return Ok(());
        }
        self.counts.looks += 1;
        let unreadable = |error| of_device(index, Finding::new("store readable", format!("{error}")));
        let store = Store::builder(&directory).read_only().open().map_err(unreadable)?;
        // A commit of which it could not tell any more.
        for row in store.sync().outbox(0, usize::MAX, usize::MAX).map_err(unreadable)? {
            self.wrote(index, &row.bytes)?;
        }
        let stand = Stand::of(&store)?;
        self.follow(index, &stand)?;
        let problems = store.check().map_err(unreadable)?;
        check(problems.is_empty(), "stores are sound", || format!("device {index}: {problems:?}"))?;
        let draft = store.objects("Draft").and_then(|draft| draft.get(1)).map_err(unreadable)?;
        let commits = draft.map_or(reconvene_model::Value::Null, |draft| draft.get("commits").clone());
        let last = stand.login.last_number;
        let all = self.devices[index].commits;
        let is_whole = all == 0 || commits == reconvene_model::Value::Int(all.cast_signed());
        check(is_whole, "all or nothing", || {
            format!(
                "device {index}: {all} commits up to transaction {last}, and what does not travel is of {commits:?}"
            )
        })?;
        let (audit, history) = (&mut self.audits[index], &self.history);
        let told = |finding| of_device(index, finding);
        audit.follows(None, &history.truth, &stand);
        // Since the last look catch-ups may have ended and another one begun.
        audit.unseen = stand.login.cursor.seq.0;
        audit.advanced(&history.truth, &stand).map_err(told)?;
        audit.read_anew(&store, &history.births).map_err(told)?;
        audit.check_all(&store, &history.truth, &history.births, &self.uids, &stand).map_err(told)?;
        if is_settled {
            let is_done = stand.login.decided == last && store.sync().undecided().map_err(unreadable)? == 0;
            check(is_done, "outboxes drain", || format!("device {index}: {stand:?}"))?;
            let expected = self.server_store()?.sync().content_hash().map_err(unreadable)?;
            let hash = store.sync().content_hash().map_err(unreadable)?;
            check(hash == expected, "everyone agrees", || format!("device {index} is not as the server"))?;
        }
        Ok(())
    }

    /// Follows the server at least to where a device has come.
    fn follow(&mut self, index: usize, stand: &Stand) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.history.read(&self.server_orders.directory, &self.audits)?;
            match self.history.follow(&self.audits)? {
                Followed::Up => {
                    // A device that has come further than the server is a finding of the auditor.
                    let decided = self.history.truth.decided(self.audits[index].peer).len() as u64;
                    self.counts.decided = self.history.truth.head;
                    if decided < stand.login.decided || self.history.truth.head < stand.login.cursor.seq.0 {
                        return found(
                            "verdicts are durable",
                            format!(
                                "device {index} is at {stand:?}, the server has decided {decided} of its transactions, up to {}",
                                self.history.truth.head
                            ),
                        );
                    }
                    return Ok(());
                }
                // Its author has said it, or will have when it is heard to the end.
                Followed::Lacks(peer, number) if Instant::now() > deadline => {
                    return found("the journal is complete", format!("nobody has told of {peer} {number}"));
                }
                Followed::Lacks(..) => {
                    self.attend()?;
                    self.look_into_outboxes()?;
                    std::thread::sleep(BREATH);
                }
            }
        }
    }

    /// Hears out the devices that do not run, by what lies in their outboxes.
    fn look_into_outboxes(&mut self) -> Outcome<()> {
        for index in 0..self.devices.len() {
            if self.devices[index].actor.is_some() {
                continue;
            }
            let directory = &self.devices[index].orders.directory;
            let Ok(store) = Store::builder(directory).read_only().open() else { continue };
            let rows = store.sync().outbox(0, usize::MAX, usize::MAX);
            for row in rows.map_err(|error| Finding::new("store readable", format!("{error}")))? {
                self.wrote(index, &row.bytes)?;
            }
        }
        Ok(())
    }

    fn server_store(&self) -> Outcome<Store> {
        let store = Store::builder(&self.server_orders.directory).role(Role::Server).read_only().open();
        store.map_err(|error| Finding::new("store readable", format!("the server: {error}")))
    }

    /// Holds what the server has against its history.
    fn look_at_server(&mut self) -> Outcome<()> {
        let store = self.server_store()?;
        let unreadable = |error| Finding::new("store readable", format!("the server: {error}"));
        let told = |finding: Finding| Finding::new(finding.law, format!("the server: {}", finding.what));
        let truth = &self.history.truth;
        let head = store.sync().head().map_err(unreadable)?.0;
        check(head == truth.head, "verdicts are durable", || {
            format!("the server's history ends at {head}, its verdicts at {}", truth.head)
        })?;
        let problems = store.check().map_err(unreadable)?;
        check(problems.is_empty(), "stores are sound", || format!("the server: {problems:?}"))?;
        let mut audit = DeviceAudit::new(PeerId(0), self.server_orders.version);
        audit.floor = head;
        audit.read_anew(&store, &self.history.births).map_err(told)?;
        let stand = Stand::of(&store)?;
        for key in truth.keys().collect::<Vec<_>>() {
            audit.check_object(&store, truth, &self.history.births, &self.uids, key, &stand).map_err(told)?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more until everybody has come together; then everything is looked at, and all go on.
    pub(super) fn meet(&mut self, goes_on: bool, chance: &mut Chance) -> Outcome<()> {
        self.counts.meetings += 1;
        self.heal()?;
        self.rests = true;
        self.start_missing()?;
        for device in &mut self.devices {
            device.stand = None;
            if let Some(actor) = &mut device.actor {
                actor.tell(Told::Rest);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let server = self.server_store()?;
        loop {
            self.attend()?;
            let head = server.sync().head();
            let head =
                head.map_err(|error| Finding::new("store readable", format!("the server: {error}")))?;
            if self.devices.iter().all(|device| device.stand == Some((head.0, 0))) {
                break;
            }
            if Instant::now() > deadline {
                let stands: Vec<_> = self.devices.iter().map(|device| device.stand).collect();
                return found(
                    "everybody comes together",
                    format!("after {PATIENCE:?}, with a history of {head}: {stands:?}"),
                );
            }
            std::thread::sleep(BREATH);
        }
        drop(server);
        self.rests = false;
        for index in 0..self.devices.len() {
            self.kill_device(index)?;
        }
        for index in 0..self.devices.len() {
            self.look(index, true)?;
        }
        self.kill_server();
        self.look_at_server()?;
        if goes_on {
            self.upgrade(chance);
            self.start_missing()?;
        }
        Ok(())
    }

    pub(super) fn kill_server(&mut self) {
        self.server = None;
    }

    /// Some of those who do not run come back with the newest version.
    pub(super) fn upgrade(&mut self, chance: &mut Chance) {
        if self.server.is_none() && chance.percent(20) {
            self.server_orders.version = NEWEST;
        }
        for device in self.devices.iter_mut().filter(|device| device.actor.is_none()) {
            if chance.percent(20) {
                device.orders.version = NEWEST;
            }
        }
    }

    /// The data file of a process, or where it will be.
    pub(super) fn data_file(&self, device: Option<usize>) -> PathBuf {
        let directory = match device {
            Some(index) => &self.devices[index].orders.directory,
            None => &self.server_orders.directory,
        };
        directory.join(Store::DATA_FILE)
    }

    /// Ends all faults: the network, pauses, disks without room.
    fn heal(&mut self) -> Outcome<()> {
        for device in &self.devices {
            device.proxy.handle().heal().map_err(|error| broken("the network", &error))?;
        }
        let actors = self.devices.iter_mut().filter_map(|device| device.actor.as_mut());
        for actor in actors.chain(&mut self.server) {
            actor.pause(false);
            actor.limit(None).map_err(|error| broken("a limit", &error))?;
        }
        Ok(())
    }
}

/// How far a device's clock is from the machine's: mostly a little, now and then a year.
pub(super) fn skew(chance: &mut Chance) -> i64 {
    const YEAR_MS: i64 = 365 * 86_400_000;
    match chance.below(12) {
        0 => YEAR_MS,
        1 => -YEAR_MS,
        2..=4 => chance.below(600_000).cast_signed() - 300_000,
        _ => chance.below(20_000).cast_signed() - 10_000,
    }
}

pub(super) fn broken(what: &str, error: &dyn std::fmt::Display) -> Finding {
    Finding::new("the machinery works", format!("{what}: {error}"))
}

fn of_device(index: usize, finding: Finding) -> Finding {
    Finding::new(finding.law, format!("device {index}: {}", finding.what))
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}
