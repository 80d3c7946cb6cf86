//! The server: a real store, real sessions, and what its engine would do between them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::PeerId;
use reconvene_model::compare::CompareRange;
use reconvene_protocol::{Code, Limits, LoginRequest, ServerConfig};
use reconvene_server::Authentication;
use reconvene_server::committing::{Committing, Upload};
use reconvene_server::comparing::{Sets, SharedSet};
use reconvene_server::conversation::{Conversation, Fed, Wanted};
use reconvene_server::login;
use reconvene_server::login::Admission;
use reconvene_server::ring::Ring;
use reconvene_store::{ChunkStart, Role, Store};

use super::device::Place;
use super::link::Journey;
use super::{ConnId, Event, START_MS, World, tell};
use crate::chance::mix;
use crate::finding::{Finding, Outcome, found};
use crate::scenario::{Scenario, ServerPoint};
use crate::schema::NEWEST;

/// How long judging a login takes, in milliseconds.
const JUDGE_MS: u64 = 2;

/// How long reading a chunk takes, in milliseconds.
const CHUNK_MS: u64 = 1;

/// A session as the server has it.
pub(super) struct Conn {
    pub(super) device: usize,
    pub(super) talk: Conversation,
    peer: Option<PeerId>,
    login: Option<Box<LoginRequest>>,
    chunk: Option<Reading>,
    timer_at: Option<u64>,
    moved: u64,
    /// Whether what is sent still goes anywhere.
    is_broken: bool,
}

/// What a session has the server read for it.
enum Reading {
    Chunk(ChunkStart),
    Fetch(Vec<CompareRange>),
}

pub(crate) struct Server {
    pub(super) place: Place,
    pub(super) store: Option<Store>,
    /// The last backup, with what the auditor knew then.
    pub(super) backup: Option<(Place, crate::audit::truth::Truth)>,
    pub(super) root: Option<std::path::PathBuf>,
    pub(super) backups: u64,
    pub(crate) version: u8,
    config: ServerConfig,
    ring_bytes: usize,
    ring: Arc<Ring>,
    pub(super) committing: Option<Committing>,
    pub(super) uploads: Vec<Upload<ConnId>>,
    /// How often it was started; what was planned before a crash does not happen after it.
    pub(super) boot: u64,
    pub(super) commit_planned: bool,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    sets: Sets,
    registered: HashMap<PeerId, ConnId>,
    clock: Arc<AtomicU64>,
    pub(crate) crash_at: Option<(ServerPoint, u64)>,
}

impl Server {
    pub(crate) fn new(scenario: &Scenario, root: Option<&Path>, clock: Arc<AtomicU64>) -> Outcome<Server> {
        let settings = &scenario.settings;
        let limits = Limits { upload_window_txs: settings.window_txs, ..Limits::default() };
        let config = ServerConfig {
            limits,
            heartbeat: Duration::from_secs(10),
            pong_timeout: Duration::from_secs(5),
            queue_bytes_max: settings.queue_bytes,
            ..ServerConfig::default()
        };
        let mut server = Server {
            place: Place::new(root, "server"),
            store: None,
            backup: None,
            root: root.map(Path::to_owned),
            backups: 0,
            version: settings.server_version,
            config,
            ring_bytes: settings.ring_bytes,
            ring: Arc::new(Ring::new(reconvene_model::Seq(0), settings.ring_bytes)),
            committing: None,
            uploads: Vec::new(),
            boot: 0,
            commit_planned: false,
            conns: BTreeMap::new(),
            sets: Sets::default(),
            registered: HashMap::new(),
            clock,
            crash_at: None,
        };
        server.open()?;
        Ok(server)
    }

    pub(super) fn open(&mut self) -> Outcome<()> {
        let clock = self.clock.clone();
        let store =
            self.place.open(Role::Server, self.version, 1, 0, move || clock.load(Ordering::Relaxed))?;
        let sync = store.sync();
        self.ring = Arc::new(Ring::new(sync.head().map_err(unreadable)?, self.ring_bytes));
        self.committing = Some(Committing::new(sync, self.ring.clone()));
        self.store = Some(store);
        self.boot += 1;
        self.commit_planned = false;
        Ok(())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn store(&self) -> Outcome<&Store> {
        self.store.as_ref().ok_or_else(|| Finding::new("simulator", "a server that is down has no store"))
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.uploads.is_empty()
    }

    pub(crate) fn content_hash(&self) -> Outcome<[u8; 32]> {
        self.store()?.sync().content_hash().map_err(unreadable)
    }

    pub(super) fn crashes_at(&mut self, point: ServerPoint) -> Option<u64> {
        let (_, down) = self.crash_at.filter(|(at, _)| *at == point)?;
        self.crash_at = None;
        Some(down)
    }

    /// From here on nothing that is sent arrives.
    pub(super) fn break_link(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.is_broken = true;
        }
    }
}

pub(super) fn unreadable(error: reconvene_store::StoreError) -> Finding {
    Finding::new("store readable", format!("the server: {error}"))
}

impl World {
    pub(super) fn accept(&mut self, device: usize, conn: ConnId) -> Outcome<()> {
        if !self.server.is_up() {
            self.after(1, Event::EndAtDevice { device, conn });
            return Ok(());
        }
        let mut nonce = [0; 32];
        for (at, byte) in nonce.chunks_mut(8).enumerate() {
            byte.copy_from_slice(&mix(&[self.scenario.seed, conn, at as u64]).to_le_bytes());
        }
        let talk = Conversation::new(self.server.config.clone(), nonce, START_MS + self.now, self.elapsed());
        self.server.conns.insert(
            conn,
            Conn {
                device,
                talk,
                peer: None,
                login: None,
                chunk: None,
                timer_at: None,
                moved: 0,
                is_broken: false,
            },
        );
        self.pump_server(conn)
    }

    pub(super) fn frame_up(&mut self, conn: ConnId, frame: Bytes) -> Outcome<()> {
        let now = self.elapsed();
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        session.talk.session().handle_frame(frame, now);
        let index = session.device;
        let is_current = self.devices[index].is_on(conn);
        if is_current {
            let lane = &mut self.devices[index].link.up;
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.moved += 1;
        }
        self.pump_server(conn)?;
        // There may be room for more.
        if is_current { self.pump_device(index) } else { Ok(()) }
    }

    pub(super) fn end_at_server(&mut self, conn: ConnId) -> Outcome<()> {
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        session.is_broken = true;
        session.talk.session().handle_disconnected("the client closed the connection");
        self.pump_server(conn)
    }

    pub(super) fn server_timer(&mut self, conn: ConnId) -> Outcome<()> {
        let now = self.elapsed();
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        session.timer_at = None;
        if session.talk.poll_timeout().is_some_and(|due| due <= now) {
            let link = &self.devices[session.device].link;
            let moved = link.signs_of_life(true);
            if std::mem::replace(&mut session.moved, moved) != moved
                && self.devices[session.device].is_on(conn)
            {
                session.talk.session().handle_progress(now);
            }
            session.talk.session().handle_timeout(now);
        }
        self.pump_server(conn)
    }

    /// Does what a session wants, feeds it with history, and sends what it says.
    pub(super) fn pump_server(&mut self, conn: ConnId) -> Outcome<()> {
        loop {
            while let Some(wanted) =
                self.server.conns.get_mut(&conn).and_then(|session| session.talk.poll_wanted())
            {
                self.carry_out(conn, wanted)?;
            }
            let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
            let fed = session.talk.follow(&self.server.ring);
            let reading = match &fed {
                Fed::Chunk(start) => Some(Reading::Chunk(*start)),
                Fed::Fetch(ranges) => Some(Reading::Fetch(ranges.clone())),
                Fed::Full | Fed::Empty => None,
            };
            if reading.is_some() {
                session.chunk = reading;
                self.after(CHUNK_MS, Event::Chunk { conn });
            }
            let sent = self.send_down(conn)?;
            let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
            if session.talk.session().is_closed() {
                continue;
            }
            if !(sent && fed == Fed::Full && session.talk.has_room()) {
                break;
            }
        }
        self.schedule_server_timer(conn);
        Ok(())
    }

    /// Does one thing that a session wants, or plans it for when it is done.
    fn carry_out(&mut self, conn: ConnId, wanted: Wanted) -> Outcome<()> {
        match wanted {
            Wanted::Login(request) => {
                if let Some(session) = self.server.conns.get_mut(&conn) {
                    session.login = Some(request);
                }
                self.after(JUDGE_MS, Event::Judge { conn });
            }
            Wanted::Set { from } => self.after(CHUNK_MS, Event::Set { conn, from: from.0 }),
            Wanted::Decide { peer, txs } => {
                self.server.uploads.push(Upload { peer, txs, reply: conn });
                self.plan_commit();
            }
            Wanted::Confirmed { peer, number } => {
                if let Some(committing) = &mut self.server.committing {
                    committing.confirm(peer, number);
                }
            }
            Wanted::Judge(slice) => {
                let judged = self.server.store()?.sync().judge_slice(&slice);
                if let Some(session) = self.server.conns.get_mut(&conn) {
                    session.talk.handle_judged(judged);
                }
            }
            Wanted::Closed(_) => return self.server_closed(conn),
            _ => return found("simulator", "the server wants something that the simulator does not know"),
        }
        Ok(())
    }

    /// Lets the committer have its turn, unless it is going to have one.
    pub(super) fn plan_commit(&mut self) {
        if !std::mem::replace(&mut self.server.commit_planned, true) {
            let boot = self.server.boot;
            self.after(self.scenario.settings.commit_time, Event::Commit { boot });
        }
    }

    /// Sends what the session says, as far as the connection takes it; whether anything left.
    fn send_down(&mut self, conn: ConnId) -> Outcome<bool> {
        let mut any = false;
        loop {
            let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(any) };
            let index = session.device;
            let device = &mut self.devices[index];
            let goes_nowhere = session.is_broken || !device.is_on(conn);
            if goes_nowhere || !device.link.has_room(false, &self.scenario.settings) {
                return Ok(any);
            }
            let Some(frame) = session.talk.poll_message() else { return Ok(any) };
            any = true;
            match device.link.send(false, frame.len(), self.now, &self.scenario.settings) {
                Journey::Arrives(at) => self.at(at, Event::Down { device: index, conn, frame }),
                Journey::Twice(at, again) => {
                    self.coverage.fault("network: a frame arrives twice at a device");
                    self.at(at, Event::Down { device: index, conn, frame: frame.clone() });
                    self.at(again, Event::Down { device: index, conn, frame });
                }
                Journey::Vanishes => self.coverage.fault("network: a frame to a device is lost"),
            }
        }
    }

    fn schedule_server_timer(&mut self, conn: ConnId) {
        let Some(session) = self.server.conns.get_mut(&conn) else { return };
        let Some(due) = session.talk.poll_timeout() else { return };
        let due = u64::try_from(due.as_millis()).unwrap_or(u64::MAX);
        if session.timer_at.is_none_or(|at| due < at) {
            session.timer_at = Some(due);
            self.at(due, Event::ServerTimer { conn });
        }
    }

    /// Sends the farewell, whatever room there is, and forgets the session.
    fn server_closed(&mut self, conn: ConnId) -> Outcome<()> {
        let Some(mut session) = self.server.conns.remove(&conn) else { return Ok(()) };
        let index = session.device;
        if let Some(peer) = session.peer
            && self.server.registered.get(&peer) == Some(&conn)
        {
            self.server.registered.remove(&peer);
        }
        let mut last = self.now;
        while let Some(frame) = session.talk.poll_message() {
            let device = &mut self.devices[index];
            if session.is_broken || !device.is_on(conn) {
                continue;
            }
            if let Journey::Arrives(at) =
                device.link.send(false, frame.len(), self.now, &self.scenario.settings)
            {
                self.at(at, Event::Down { device: index, conn, frame });
                last = at;
            }
        }
        if !session.is_broken {
            self.at(last + 1, Event::EndAtDevice { device: index, conn });
        }
        Ok(())
    }

    pub(super) fn judge(&mut self, conn: ConnId) -> Outcome<()> {
        let (now, now_ms) = (self.elapsed(), START_MS + self.now);
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        let (Some(request), Some(store)) = (session.login.take(), &self.server.store) else { return Ok(()) };
        // The backups of a server know nothing of each other's histories.
        let admission = Admission { authentication: Authentication::None, takes_over: true };
        let answer = login::judge(&store.sync(), &admission, &request, conn, now_ms);
        let is_in = answer.is_ok();
        if let Ok(answer) = &answer {
            let epoch = store.sync().epoch().map_err(unreadable)?;
            self.check_rebased(conn, &request, answer, epoch)?;
        }
        if let Some(down) = self.server.crashes_at(ServerPoint::AfterLogin) {
            self.coverage.fault(ServerPoint::AfterLogin.name());
            self.crash_server(down);
            return Ok(());
        }
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        if is_in {
            session.peer = Some(request.peer);
            if let Some(committing) = &mut self.server.committing {
                committing.confirm(request.peer, request.login.confirmed);
            }
        }
        session.talk.handle_login(answer, now);
        if is_in
            && let Some(older) = self.server.registered.insert(request.peer, conn)
            && older != conn
            && let Some(older_session) = self.server.conns.get_mut(&older)
        {
            older_session
                .talk
                .session()
                .close(Code::Replaced, "this peer has logged in again; only its newest session stays");
            self.pump_server(older)?;
        }
        self.pump_server(conn)
    }

    pub(super) fn chunk(&mut self, conn: ConnId) -> Outcome<()> {
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        let (Some(start), Some(store)) = (session.chunk.take(), &self.server.store) else { return Ok(()) };
        let Some(peer) = session.peer else { return Ok(()) };
        let bytes_max = self.scenario.settings.chunk_bytes;
        let point = match start {
            Reading::Chunk(start) => {
                session.talk.handle_chunk(store.sync().chunk_for(peer, start, bytes_max));
                ServerPoint::WithinCatchUp
            }
            Reading::Fetch(ranges) => {
                session.talk.handle_fetched(store.sync().fetch(&ranges, bytes_max));
                ServerPoint::WithinCompare
            }
        };
        self.pump_server(conn)?;
        if let Some(down) = self.server.crashes_at(point) {
            self.coverage.fault(point.name());
            self.crash_server(down);
        }
        Ok(())
    }

    /// Finds what a session compares with, or makes it.
    pub(super) fn find_set(&mut self, conn: ConnId, from: u64) -> Outcome<()> {
        let now = self.elapsed();
        let Some(session) = self.server.conns.get_mut(&conn) else { return Ok(()) };
        let Some(store) = &self.server.store else { return Ok(()) };
        let sync = store.sync();
        let head = sync.head().map_err(unreadable)?;
        let from = reconvene_model::Seq(from).max(sync.horizon().map_err(unreadable)?);
        let found = match self.server.sets.find(head, from, now) {
            Some(set) => {
                self.coverage.fault("server: compares with a set of before");
                set
            }
            None => {
                let mut salt = [0; 32];
                for (at, byte) in salt.chunks_mut(8).enumerate() {
                    byte.copy_from_slice(&mix(&[self.scenario.seed, conn, at as u64, 9]).to_le_bytes());
                }
                let set = Arc::new(SharedSet::build(&sync, salt, now).map_err(unreadable)?);
                self.server.sets.keep(set.clone());
                set
            }
        };
        self.devices[session.device].audit.compares_in = sync.epoch().map_err(unreadable)?;
        session.talk.handle_set(Ok(found));
        self.pump_server(conn)
    }

    /// Ends the server at once; what it has committed stays.
    pub(super) fn crash_server(&mut self, down: u64) {
        tell!(self, "the server crashes");
        let conns = std::mem::take(&mut self.server.conns);
        for (id, conn) in conns {
            // Whether a device hears of it depends on whether the machine died or the process.
            if !mix(&[self.scenario.seed, id, 5]).is_multiple_of(3) {
                self.after(1, Event::EndAtDevice { device: conn.device, conn: id });
            }
        }
        self.server.uploads.clear();
        self.server.registered.clear();
        self.server.sets = Sets::default();
        self.server.committing = None;
        self.server.crash_at = None;
        if let Some(store) = self.server.store.take() {
            self.server.place.close(store);
        }
        self.after(down.max(1), Event::ServerUp);
    }

    pub(super) fn server_up(&mut self) -> Outcome<()> {
        if self.server.is_up() {
            return Ok(());
        }
        self.server.open()?;
        tell!(self, "the server is up again");
        self.check_server()
    }

    pub(super) fn upgrade_server(&mut self) -> Outcome<()> {
        if self.server.version < NEWEST && self.server.is_up() {
            self.server.version = NEWEST;
            self.coverage.fault("server: upgraded");
            self.crash_server(200);
        }
        Ok(())
    }
}
