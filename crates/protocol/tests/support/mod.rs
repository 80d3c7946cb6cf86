//! A device and a hub that talk through the two session machines, over a link with delays and cuts, on a virtual clock.
//!
//! Device and hub are the smallest engines that keep the laws: what is in their fields is what a store would have kept, so it
//! survives a cut; the machines do not. Transactions say in their operations what the hub is to decide.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::change::{TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};
use reconvene_protocol::server::UploadedTx;
use reconvene_protocol::{
    Backoff, ClientConfig, ClientEvent, ClientLogin, ClientSession, Closed, Code, Credential, Cursor,
    LoginAnswer, LoginRequest, LostOp, Nonce, Outcome, PushFrame, PushedContent, PushedTx, SchemaHashes,
    Secret, SendError, ServerConfig, ServerEvent, ServerSession, Verdict,
};

pub(crate) const EPOCH: u64 = 77;
pub(crate) const VIEW: u64 = 5;
pub(crate) const SECRET: &str = "open sesame";
/// The objects in a chunk of catch-up.
const CHUNK_ROWS: usize = 3;
/// The objects of a transaction whose operations begin with `big`; all others have one.
const BIG_ROWS: u64 = 8;
const ROW_BYTES: usize = 16;

/// What a device's store keeps.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) key: PeerKey,
    pub(crate) secret: Option<Secret>,
    pub(crate) outbox: BTreeMap<TxNumber, Bytes>,
    pub(crate) hashes: BTreeMap<TxNumber, TxHash>,
    pub(crate) last_number: TxNumber,
    pub(crate) cursor: Cursor,
    /// The highest number whose verdict is stored.
    pub(crate) durable: TxNumber,
    /// The numbers whose writes came back, each with its code, in the order in which they did.
    pub(crate) rejected: Vec<(TxNumber, Code)>,
    /// Every Seq that was applied whole.
    pub(crate) seen: BTreeSet<Seq>,
    /// What came of Seqs that are not complete.
    partial: BTreeMap<Seq, BTreeSet<u64>>,
    pub(crate) wholes: Vec<(PeerId, TxNumber, Bytes)>,
    /// How many Seqs came as states.
    pub(crate) caught_up: usize,
    /// How many chunks completed no Seq.
    pub(crate) split_chunks: usize,
    pub(crate) live: bool,
}

impl Device {
    pub(crate) fn new() -> Self {
        Device {
            key: PeerKey::from_secret([7; 32]),
            secret: Some(Secret::new(SECRET)),
            outbox: BTreeMap::new(),
            hashes: BTreeMap::from([(0, TxHash::NONE)]),
            last_number: 0,
            cursor: Cursor::default(),
            durable: 0,
            rejected: Vec::new(),
            seen: BTreeSet::new(),
            partial: BTreeMap::new(),
            wholes: Vec::new(),
            caught_up: 0,
            split_chunks: 0,
            live: false,
        }
    }

    /// Commits a transaction whose operations are this text.
    pub(crate) fn commit(&mut self, ops: &[u8]) {
        let previous = self.hashes[&self.last_number];
        self.last_number += 1;
        let head = TxHead {
            origin: self.key.peer(),
            number: self.last_number,
            previous,
            hlc: self.last_number << 16,
        };
        let tx = encode_tx(&head, ops);
        self.hashes.insert(self.last_number, TxHash::of(&tx));
        self.outbox.insert(self.last_number, tx.into());
    }

    pub(crate) fn login(&self) -> ClientLogin {
        ClientLogin {
            key: self.key.clone(),
            credentials: match &self.secret {
                Some(secret) => vec![Credential::SharedSecret(secret.clone())],
                None => vec![Credential::None],
            },
            schema: SchemaHashes { base: [1; 32], full: [2; 32] },
            cursor: self.cursor,
            last_number: self.last_number,
            last_hash: self.hashes[&self.last_number],
            confirmed: self.durable,
            capabilities: vec![],
        }
    }

    fn settle(&mut self, verdict: &Verdict) {
        assert!(verdict.number > self.durable, "verdict {} came twice", verdict.number);
        let code = match &verdict.outcome {
            Outcome::Accepted { lost, .. } => lost.first().map(|lost| lost.code),
            Outcome::Refused { code, .. } => Some(*code),
            Outcome::Superseded { ops } => Some(ops[0].code),
            other => panic!("{other:?} is new here"),
        };
        self.rejected.extend(code.map(|code| (verdict.number, code)));
        self.outbox.remove(&verdict.number).expect("a verdict is on a transaction of the outbox");
    }

    fn apply(&mut self, seq: Seq) {
        assert!(self.seen.insert(seq), "Seq {seq} was applied twice");
    }

    /// Takes the objects of a chunk; those of a Seq that a cut left incomplete come again.
    fn take_states(&mut self, states: &[u8]) {
        for row in states.chunks(ROW_BYTES) {
            let (seq, object) = row.split_at(ROW_BYTES / 2);
            let seq = Seq(u64::from_le_bytes(seq.try_into().unwrap()));
            assert!(seq > self.cursor.seq, "an object of Seq {seq} came after the Seq was complete");
            self.partial.entry(seq).or_default().insert(u64::from_le_bytes(object.try_into().unwrap()));
        }
    }

    /// Everything up to here is complete.
    fn complete(&mut self, upto: Seq) {
        let later = self.partial.split_off(&Seq(upto.0 + 1));
        for (seq, objects) in std::mem::replace(&mut self.partial, later) {
            assert!(objects.len() == 1 || objects.len() as u64 == BIG_ROWS, "Seq {seq} is not complete");
            self.apply(seq);
            self.caught_up += 1;
        }
        self.cursor.seq = upto;
    }
}

/// What a server's store keeps, and its committer's queue.
pub(crate) struct Hub {
    pub(crate) history: BTreeMap<Seq, (PeerId, TxNumber, Bytes)>,
    pub(crate) outcomes: BTreeMap<TxNumber, Outcome>,
    pub(crate) decided: TxNumber,
    pub(crate) decided_hash: TxHash,
    pub(crate) confirmed: TxNumber,
    /// Uploaded and not decided; survives the session that brought it.
    pub(crate) queue: VecDeque<UploadedTx>,
    /// How many decisions were made, duplicates not counted.
    pub(crate) decisions: usize,
    pub(crate) duplicates: usize,
    /// The committer does not get its turn.
    pub(crate) stalled: bool,
    pub(crate) secret: Option<Secret>,
    elsewhere: TxNumber,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Hub {
            history: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            decided: 0,
            decided_hash: TxHash::NONE,
            confirmed: 0,
            queue: VecDeque::new(),
            decisions: 0,
            duplicates: 0,
            stalled: false,
            secret: Some(Secret::new(SECRET)),
            elsewhere: 0,
        }
    }

    pub(crate) fn head(&self) -> Seq {
        self.history.keys().next_back().copied().unwrap_or_default()
    }

    /// A transaction of another device arrives in the history.
    pub(crate) fn write_elsewhere(&mut self, ops: &[u8]) {
        self.elsewhere += 1;
        self.history.insert(Seq(self.head().0 + 1), (PeerId(1), self.elsewhere, Bytes::copy_from_slice(ops)));
    }

    /// Decides on everything in the queue and returns the verdicts to be sent.
    fn commit(&mut self) -> Vec<Verdict> {
        if self.stalled {
            return Vec::new();
        }
        let mut verdicts = Vec::new();
        while let Some(tx) = self.queue.pop_front() {
            let number = tx.head.number;
            if number > self.decided {
                self.decide(&tx);
            } else {
                self.duplicates += 1;
            }
            if number > self.confirmed {
                verdicts.push(Verdict { number, outcome: self.outcomes[&number].clone() });
            }
        }
        verdicts
    }

    fn decide(&mut self, tx: &UploadedTx) {
        let number = tx.head.number;
        assert_eq!(number, self.decided + 1, "numbers reach the committer in order");
        assert_eq!(tx.head.previous, self.decided_hash, "the chain holds");
        let ops = tx.bytes.slice(tx.bytes.len() - ops_of(tx).len()..);
        let lost = vec![LostOp { op: 0, code: Code::ObjectRemoved, generation: 1 }];
        let refused = ops.starts_with(b"refuse");
        let outcome = if refused {
            Outcome::Refused { code: Code::NotPermitted, op: Some(0), message: "the rule says no".into() }
        } else if ops.starts_with(b"gone") {
            Outcome::Superseded { ops: lost }
        } else {
            let seq = Seq(self.head().0 + 1);
            self.history.insert(seq, (tx.head.origin, number, ops.clone()));
            Outcome::Accepted { seq, lost: if ops.starts_with(b"half") { lost } else { vec![] } }
        };
        self.outcomes.insert(number, outcome);
        self.decided = number;
        self.decided_hash = TxHash::of(&tx.bytes);
        self.decisions += 1;
    }

    fn confirm(&mut self, number: TxNumber) {
        assert!(number <= self.decided);
        self.confirmed = self.confirmed.max(number);
    }

    fn judge(&mut self, request: &LoginRequest) -> Result<LoginAnswer, Code> {
        if let Some(secret) = &self.secret
            && !request.verify_secret(secret)
        {
            return Err(if request.offers_secret() { Code::SecretWrong } else { Code::CredentialsMissing });
        }
        let login = &request.login;
        if login.confirmed > self.decided {
            return Err(Code::HistoryLost);
        }
        self.confirm(login.confirmed);
        let took_back =
            |outcome: &Outcome| !matches!(outcome, Outcome::Accepted { lost, .. } if lost.is_empty());
        let refusals = self
            .outcomes
            .range(self.confirmed + 1..)
            .filter(|(_, outcome)| took_back(outcome))
            .map(|(number, outcome)| Verdict { number: *number, outcome: outcome.clone() })
            .collect();
        let known = (login.cursor.epoch, login.cursor.view) == (EPOCH, VIEW);
        Ok(LoginAnswer {
            session: 1,
            server_time_ms: 0,
            decided_number: self.decided,
            decided_hash: self.decided_hash,
            decided_seq: self.head(),
            refusals,
            epoch: EPOCH,
            view: VIEW,
            catch_up_from: if known { login.cursor.seq } else { Seq(0) },
            capabilities: vec![],
        })
    }

    /// The objects after this one, by Seq.
    fn rows(&self, (after, object): (Seq, u64)) -> impl Iterator<Item = (Seq, u64)> {
        self.history
            .range(after..)
            .flat_map(|(seq, (_, _, ops))| {
                let rows = if ops.starts_with(b"big") { BIG_ROWS } else { 1 };
                (0..rows).map(|row| (*seq, row))
            })
            .filter(move |row| *row > (after, object))
    }

    fn pushes(&self, after: Seq, to: PeerId) -> Vec<PushedTx> {
        self.history
            .range(Seq(after.0 + 1)..)
            .map(|(seq, (origin, number, ops))| PushedTx {
                seq: *seq,
                content: if *origin == to {
                    PushedContent::Own { number: *number }
                } else {
                    PushedContent::Whole {
                        origin: *origin,
                        number: *number,
                        hlc: seq.0 << 16,
                        ops: ops.clone(),
                    }
                },
            })
            .collect()
    }
}

fn ops_of(tx: &UploadedTx) -> &[u8] {
    reconvene_model::change::decode_tx(&tx.bytes).expect("the session has read it").1
}

/// One direction of the link.
#[derive(Default)]
pub(crate) struct Wire {
    under_way: VecDeque<(Duration, Bytes)>,
    /// Takes frames and never delivers them.
    pub(crate) swallow: bool,
    pub(crate) frames: usize,
    /// When the last frame arrived.
    pub(crate) arrival: Duration,
}

impl Wire {
    fn send(&mut self, frame: Bytes, at: Duration) {
        self.frames += 1;
        if !self.swallow {
            self.under_way.push_back((at, frame));
        }
    }

    fn due(&mut self, now: Duration) -> Option<Bytes> {
        let (_, frame) = self.under_way.pop_front_if(|(at, _)| *at <= now)?;
        self.arrival = now;
        Some(frame)
    }

    fn next(&self) -> Option<Duration> {
        self.under_way.front().map(|(at, _)| *at)
    }
}

/// Device and hub with the connection between them.
pub(crate) struct Pair {
    pub(crate) now: Duration,
    pub(crate) device: Device,
    pub(crate) hub: Hub,
    pub(crate) client: Option<ClientSession>,
    pub(crate) server: Option<ServerSession>,
    pub(crate) up: Wire,
    pub(crate) down: Wire,
    pub(crate) latency: Duration,
    pub(crate) client_config: ClientConfig,
    pub(crate) server_config: ServerConfig,
    pub(crate) backoff: Backoff,
    /// Cuts the connection when this many more frames have arrived.
    pub(crate) cut_after: Option<usize>,
    pub(crate) connects: u64,
    pub(crate) client_closed: Vec<Closed>,
    pub(crate) server_closed: Vec<Closed>,
    pub(crate) most_in_flight: usize,
    /// Where the next chunk of catch-up goes on: after this object of this Seq. `None` while the client is sent pushes.
    catch_up: Option<(Seq, u64)>,
    /// What the client sent, for replays.
    pub(crate) recorded: Vec<Bytes>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Pair {
            now: Duration::from_secs(1000),
            device: Device::new(),
            hub: Hub::new(),
            client: None,
            server: None,
            up: Wire::default(),
            down: Wire::default(),
            latency: Duration::from_millis(20),
            client_config: ClientConfig::default(),
            server_config: ServerConfig::default(),
            backoff: Backoff::default(),
            cut_after: None,
            connects: 0,
            client_closed: Vec::new(),
            server_closed: Vec::new(),
            most_in_flight: 0,
            catch_up: None,
            recorded: Vec::new(),
        }
    }

    pub(crate) fn commit(&mut self, ops: &[u8]) {
        self.device.commit(ops);
        if let Some(client) = &mut self.client {
            client.handle_local_commit();
        }
    }

    pub(crate) fn nonce(&self) -> Nonce {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.connects.to_le_bytes());
        nonce
    }

    pub(crate) fn connect(&mut self) {
        self.connects += 1;
        self.up = Wire::default();
        self.down = Wire::default();
        self.catch_up = None;
        self.client = Some(ClientSession::new(self.client_config.clone(), self.device.login(), self.now));
        self.server = Some(ServerSession::new(self.server_config.clone(), self.nonce(), 0, self.now));
    }

    /// The connection is lost: both sides forget everything but what their stores keep.
    pub(crate) fn cut(&mut self) {
        if let Some(client) = &mut self.client {
            client.handle_disconnected("cut");
        }
        if let Some(server) = &mut self.server {
            server.handle_disconnected("cut");
        }
        self.work();
        self.client = None;
        self.server = None;
    }

    /// Does one thing: lets the engines work, delivers a frame, handles a deadline, or lets time pass until there is one.
    pub(crate) fn step(&mut self) {
        if self.client.is_none() && self.backoff.poll_timeout().is_none_or(|at| at <= self.now) {
            self.connect();
        }
        self.work();
        if let Some(frame) = self.up.due(self.now) {
            if let Some(server) = &mut self.server {
                server.handle_frame(frame, self.now);
            }
            return self.delivered();
        }
        if let Some(frame) = self.down.due(self.now) {
            if let Some(client) = &mut self.client {
                client.handle_frame(frame, self.now);
            }
            return self.delivered();
        }
        let timers = [
            self.client.as_ref().and_then(ClientSession::poll_timeout),
            self.server.as_ref().and_then(ServerSession::poll_timeout),
        ];
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= self.now);
        if timers.into_iter().any(due) {
            if let Some(client) = &mut self.client {
                client.handle_timeout(self.now);
            }
            if let Some(server) = &mut self.server {
                server.handle_timeout(self.now);
            }
            return;
        }
        let client_ended = self.client.as_ref().is_none_or(ClientSession::is_closed);
        if client_ended && self.up.next().is_none() && self.down.next().is_none() {
            self.hang_up();
        }
        let retry = if self.client.is_none() { self.backoff.poll_timeout() } else { None };
        let times = timers.into_iter().chain([self.up.next(), self.down.next(), retry]);
        if let Some(next) = times.flatten().min() {
            self.now = self.now.max(next);
        }
    }

    /// Steps until the condition holds; `false` if it does not within this virtual time.
    pub(crate) fn drive(&mut self, within: Duration, done: impl Fn(&Pair) -> bool) -> bool {
        let end = self.now + within;
        for _ in 0..2_000_000 {
            if done(self) {
                return true;
            }
            if self.now > end {
                return false;
            }
            self.step();
        }
        panic!("the pair does not come to rest");
    }

    /// Everything written anywhere is decided, told and applied.
    pub(crate) fn is_settled(&self) -> bool {
        self.device.outbox.is_empty()
            && self.device.durable == self.device.last_number
            && self.hub.confirmed == self.device.last_number
            && self.device.cursor.seq == self.hub.head()
            && self.device.live
    }

    pub(crate) fn settle(&mut self) {
        assert!(self.drive(Duration::from_secs(3600), Pair::is_settled), "the pair did not settle");
    }

    /// What must hold between a device and its hub once they are settled.
    pub(crate) fn check(&self) {
        assert_eq!(self.hub.decisions as u64, self.device.last_number, "each transaction is decided once");
        let took_back: Vec<(TxNumber, Code)> = self
            .hub
            .outcomes
            .iter()
            .filter_map(|(number, outcome)| match outcome {
                Outcome::Accepted { lost, .. } => lost.first().map(|lost| (*number, lost.code)),
                Outcome::Refused { code, .. } => Some((*number, *code)),
                Outcome::Superseded { ops } => Some((*number, ops[0].code)),
                other => panic!("{other:?} is new here"),
            })
            .collect();
        assert_eq!(self.device.rejected, took_back, "every refusal came back once, in order");
        assert!(self.device.seen.iter().copied().eq(self.hub.history.keys().copied()), "nothing is missing");
    }

    /// The client has left; the server hears of it, unless the link keeps it to itself.
    fn hang_up(&mut self) {
        if let Some(server) = &mut self.server
            && !server.is_closed()
        {
            if self.up.swallow || self.down.swallow {
                return;
            }
            server.handle_disconnected("the client closed the connection");
            self.work();
        }
        self.client = None;
        self.server = None;
    }

    fn delivered(&mut self) {
        if let Some(left) = &mut self.cut_after {
            *left -= 1;
            if *left == 0 {
                self.cut_after = None;
                self.cut();
            }
        }
    }

    fn work(&mut self) {
        self.serve();
        self.run_device();
        self.serve();
    }

    fn run_device(&mut self) {
        let Some(client) = &mut self.client else { return };
        let device = &mut self.device;
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::LoggedIn(answer) => {
                    self.backoff.handle_login();
                    if answer.decided_hash != device.hashes[&answer.decided_number] {
                        client.close(
                            Code::IdentityForked,
                            "the hub decided on other writes under this identity",
                        );
                        continue;
                    }
                    for verdict in &answer.refusals {
                        device.settle(verdict);
                    }
                    device.outbox.retain(|number, _| *number > answer.decided_number);
                    device.durable = device.durable.max(answer.decided_number);
                    device.cursor =
                        Cursor { epoch: answer.epoch, view: answer.view, seq: answer.catch_up_from };
                    client.handle_durable(device.durable);
                }
                ClientEvent::SendTxs { from, txs_max, bytes_max, .. } => {
                    let mut bytes = 0;
                    let txs = device
                        .outbox
                        .range(from..)
                        .take(txs_max)
                        .take_while(|(_, tx)| {
                            let before = bytes;
                            bytes += tx.len();
                            before < bytes_max
                        })
                        .map(|(number, tx)| (*number, tx.clone()))
                        .collect();
                    client.handle_txs(txs).expect("the outbox has no gaps");
                }
                ClientEvent::Verdicts(verdicts) => {
                    for verdict in &verdicts {
                        device.settle(verdict);
                        device.durable = verdict.number;
                    }
                    client.handle_durable(device.durable);
                }
                ClientEvent::CatchUp { states, upto_seq } => {
                    device.live = false;
                    device.split_chunks += usize::from(upto_seq == device.cursor.seq);
                    device.take_states(&states);
                    device.complete(upto_seq);
                }
                ClientEvent::CatchUpDone(seq) => {
                    device.complete(seq);
                    device.live = true;
                }
                ClientEvent::Pushed(txs) => {
                    assert!(device.live);
                    for tx in txs {
                        device.apply(tx.seq);
                        device.cursor.seq = tx.seq;
                        match tx.content {
                            PushedContent::Own { number } => assert!(number <= device.last_number),
                            PushedContent::Whole { origin, number, ops, .. } => {
                                device.wholes.push((origin, number, ops));
                            }
                            other => panic!("{other:?} is new here"),
                        }
                    }
                }
                ClientEvent::Closed(closed) => {
                    device.live = false;
                    // Only a code that says so makes it wait for people; the tests that want more connect themselves.
                    self.backoff.handle_failure(self.now, u64::MAX / 2);
                    self.client_closed.push(closed);
                }
                other => panic!("{other:?} is new here"),
            }
        }
        while let Some(frame) = client.poll_message() {
            self.recorded.push(frame.clone());
            self.up.send(frame, self.now + self.latency);
        }
    }

    fn serve(&mut self) {
        let Some(server) = &mut self.server else { return };
        let hub = &mut self.hub;
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::LoginRequested(request) => match hub.judge(&request) {
                    Ok(answer) => server.accept_login(answer, self.now),
                    Err(code) => server.refuse_login(code, "no"),
                },
                ServerEvent::Uploaded(txs) => {
                    self.most_in_flight = self.most_in_flight.max(server.in_flight());
                    hub.queue.extend(txs);
                }
                ServerEvent::Confirmed(number) => hub.confirm(number),
                ServerEvent::Closed(closed) => self.server_closed.push(closed),
                other => panic!("{other:?} is new here"),
            }
        }
        let verdicts = hub.commit();
        if let Some(peer) = server.peer() {
            server.send_verdicts(verdicts).expect("the session is logged in and the verdicts are short");
            pump(hub, server, peer, &mut self.catch_up);
        }
        while let Some(frame) = server.poll_message() {
            self.down.send(frame, self.now + self.latency);
        }
    }
}

/// Sends what the client lacks: states while it catches up, transactions after, and states again if they overflow the queue.
fn pump(hub: &Hub, server: &mut ServerSession, peer: PeerId, catch_up: &mut Option<(Seq, u64)>) {
    while server.is_catching_up() || catch_up.is_some() {
        let sent = server.sent_seq().unwrap();
        let start = catch_up.unwrap_or((sent, u64::MAX));
        let chunk: Vec<(Seq, u64)> = hub.rows(start).take(CHUNK_ROWS).collect();
        let next = chunk.last().copied();
        let result = match next {
            None => server.send_catch_up_done(hub.head()),
            Some(last) => {
                let split = hub.rows(last).next().is_some_and(|(seq, _)| seq == last.0);
                let upto = Seq(last.0.0 - u64::from(split));
                let states: Bytes = chunk
                    .iter()
                    .flat_map(|(seq, object)| [seq.0.to_le_bytes(), object.to_le_bytes()].concat())
                    .collect();
                server.send_catch_up(states, upto)
            }
        };
        match result {
            Ok(()) => *catch_up = next,
            Err(SendError::QueueFull) => return,
            Err(error) => panic!("{error}"),
        }
    }
    let sent = server.sent_seq().unwrap();
    for push in PushFrame::encode(hub.pushes(sent, peer), 1000) {
        match server.send_push(&push) {
            Ok(()) => {}
            Err(SendError::QueueFull) => {
                *catch_up = Some((server.sent_seq().unwrap(), u64::MAX));
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
