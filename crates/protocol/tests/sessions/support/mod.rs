//! A device and a hub that talk through the two session machines, over a link with delays and cuts, on a virtual clock.
//!
//! What is in the fields of device and hub is what a store would have kept, so it survives a cut; the machines do not.
//! Transactions say in their operations what the hub is to decide.

mod device;
mod engines;
mod hub;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::TxNumber;
use reconvene_protocol::{
    Backoff, ClientConfig, ClientSession, Closed, Code, Nonce, Outcome, ServerConfig, ServerSession,
};

pub(crate) use device::Device;
pub(crate) use hub::Hub;
pub(crate) use wire::Wire;

pub(crate) const EPOCH: u64 = 77;
pub(crate) const VIEW: u64 = 5;
pub(crate) const SECRET: &str = "open sesame";
/// The objects in a chunk of catch-up.
const CHUNK_ROWS: usize = 3;
/// The objects of a transaction whose operations begin with `big`; all others have one.
const BIG_ROWS: u64 = 8;
/// An object in a chunk: its Seq, and which one of that Seq it is.
const ROW_BYTES: usize = 16;

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
    catch_up: Option<(reconvene_model::Seq, u64)>,
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
        let mut config = self.client_config.clone();
        if self.connects.is_multiple_of(2) {
            // Uploads and catch-up at the same time, as other clients may have it.
            config.catch_up_first = Duration::ZERO;
        }
        self.client = Some(ClientSession::new(config, self.device.login(), self.now));
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
}
