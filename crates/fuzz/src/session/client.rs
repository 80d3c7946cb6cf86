//! The client's machine against a server that says anything.

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::{Seq, TxHash, TxNumber};
use reconvene_protocol::limits::{MESSAGE_BYTES_MIN, UPLOAD_TXS_MAX};
use reconvene_protocol::{
    ClientConfig, ClientEvent, ClientLogin, ClientSession, Code, Credential, Cursor, Message, Outcome,
    PushedContent, PushedTx, SchemaHashes, Secret, TxsError, Verdict,
};

use crate::frame::{accepted, any_message, hello, number, verdict};
use crate::script::Script;
use crate::session::{KEY, NONCE, STEPS_MAX, any_frame, check_closed, check_farewell, pause};

/// More frames than one round of polling may give: answers, a confirmation, and an upload for each place in the window.
const FRAMES_MAX: usize = 8 + UPLOAD_TXS_MAX;

/// What the client's store holds when it logs in.
const LAST: TxNumber = 9;
const CONFIRMED: TxNumber = 2;
const LAST_HASH: TxHash = TxHash([8; 16]);
const CURSOR: Cursor = Cursor { epoch: 1, view: 1, seq: Seq(40) };

struct Driver {
    session: ClientSession,
    now: Duration,
    /// The first number that the session asked for and was not given yet, with the most that it takes.
    asked: Option<(TxNumber, usize)>,
    /// Up to where everything arrived, and whether all of it did.
    seq: Seq,
    catching_up: bool,
    decided: TxNumber,
    closed: bool,
}

/// Any bytes as a script for a client's session.
pub fn client(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let login = ClientLogin {
        key: KEY.clone(),
        credentials: vec![Credential::SharedSecret(Secret::new("open sesame"))],
        schema: SchemaHashes::default(),
        cursor: CURSOR,
        last_number: LAST,
        last_hash: LAST_HASH,
        confirmed: CONFIRMED,
        capabilities: Vec::new(),
        compare: false,
        confirmed_hash: TxHash::NONE,
        catching_up: false,
        resume: Bytes::new(),
    };
    let config = ClientConfig {
        message_bytes_max: MESSAGE_BYTES_MIN,
        catch_up_first: Duration::ZERO,
        ..ClientConfig::default()
    };
    let now = Duration::from_secs(1);
    let session = ClientSession::new(config, login, now);
    let mut driver =
        Driver { session, now, asked: None, seq: Seq(0), catching_up: false, decided: 0, closed: false };
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        driver.step(&mut script);
        driver.check();
    }
    driver.session.handle_disconnected("the script has ended");
    driver.check();
    assert!(driver.closed, "every session ends");
}

impl Driver {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => self.receive(any_frame(script)),
            1 => self.receive(any_message(script).encode()),
            2 => {
                let mut hello = hello(script);
                hello.nonce = NONCE;
                hello.versions.push(1);
                hello.versions.truncate(3);
                self.receive(Message::Hello(hello).encode());
            }
            3 => self.log_in(script),
            4 => self.verdicts(script),
            5 => {
                let states = Bytes::copy_from_slice(script.bytes());
                let upto_seq = self.near_seq(script);
                self.receive(Message::CatchUp { states, upto_seq, resume: Bytes::new() }.encode());
            }
            6 => {
                let seq = self.near_seq(script);
                self.receive(Message::CatchUpDone(seq).encode());
            }
            7 | 8 => self.pushes(script),
            9 => self.receive(Message::Ping(script.number()).encode()),
            10 => {
                self.now += pause(script);
                self.session.handle_timeout(self.now);
            }
            11 => self.session.handle_progress(self.now),
            12 => self.session.handle_local_commit(),
            13 => self.session.handle_durable(script.number()),
            14 => self.give(script),
            _ => match script.byte() {
                0 => self.session.close(Code::Done, "enough"),
                1 => self.session.handle_disconnected("cut"),
                _ => self.give(script),
            },
        }
    }

    fn receive(&mut self, frame: Bytes) {
        self.session.handle_frame(frame, self.now);
    }

    /// An answer to the login, mostly one that a server could give.
    fn log_in(&mut self, script: &mut Script<'_>) {
        let mut accepted = accepted(script);
        if script.below(8) != 0 {
            accepted.decided_number = CONFIRMED + accepted.decided_number % (LAST - CONFIRMED);
            accepted.refusals.clear();
            accepted.catch_up_from = if script.flag() { CURSOR.seq } else { Seq(0) };
            (accepted.epoch, accepted.view) = (CURSOR.epoch, CURSOR.view);
            accepted.chain.truncate((accepted.decided_number - CONFIRMED) as usize);
        }
        self.receive(Message::LoginAccepted(Box::new(accepted)).encode());
    }

    fn verdicts(&mut self, script: &mut Script<'_>) {
        let mut number = self.decided;
        let verdicts = (0..=script.below(3)).map(|_| match script.below(6) {
            0 => verdict(script),
            1 => Verdict { number: number.max(1), outcome: Outcome::Superseded { ops: Vec::new() } },
            _ => {
                number = number.saturating_add(1);
                Verdict { number, outcome: Outcome::Accepted { seq: Seq(number), lost: Vec::new() } }
            }
        });
        let verdicts = verdicts.collect();
        self.receive(Message::Verdicts(verdicts).encode());
    }

    fn pushes(&mut self, script: &mut Script<'_>) {
        let txs = (0..script.below(4)).map(|_| {
            let content = PushedContent::Own { number: script.number_in(1, 12) };
            PushedTx { seq: Seq(self.near_seq(script).0.max(1)), content }
        });
        let txs: Vec<PushedTx> = txs.collect();
        self.receive(Message::Push(txs).encode());
    }

    fn near_seq(&self, script: &mut Script<'_>) -> Seq {
        match script.below(6) {
            0 => Seq(number(script)),
            step => Seq((self.seq.0 + step as u64 - 1).min(i64::MAX as u64)),
        }
    }

    /// What the engine answers to a question for transactions, right or wrong.
    fn give(&mut self, script: &mut Script<'_>) {
        let (from, max) = self.asked.unwrap_or((1, 1));
        let bent = script.below(8) == 0;
        let from = if bent { script.number() } else { from };
        let count = script.below(4).min(if bent { 4 } else { max });
        let txs: Vec<(TxNumber, Bytes)> = (0..count as u64)
            .map(|at| (from.saturating_add(at), Bytes::copy_from_slice(script.bytes())))
            .collect();
        match self.session.handle_txs(txs) {
            Ok(()) => self.asked = None,
            Err(TxsError::NotAsked) => assert!(self.asked.is_none() || !self.session.is_logged_in()),
            // A wrong answer used the question up; the session goes on without it.
            Err(_) => self.asked = None,
        }
    }

    /// What holds after every step, whatever was said.
    fn check(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "{event:?} after the end");
            self.check_event(event);
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.session.poll_message() {
            assert!(frames.len() < FRAMES_MAX, "the session never stops talking");
            let read = Message::decode(frame.clone(), frame.len());
            assert!(read.is_ok(), "{read:?}");
            frames.push(frame);
        }
        let session = &self.session;
        assert_eq!(session.is_closed(), self.closed, "the end is told at once");
        assert_eq!(session.poll_timeout().is_none(), self.closed, "a silent server is found out");
        if session.is_logged_in() {
            assert_eq!(session.is_catching_up(), self.catching_up);
        }
    }

    fn check_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::LoggedIn(accepted) => {
                assert!(accepted.decided_number >= CONFIRMED);
                assert!(accepted.catch_up_from <= CURSOR.seq);
                let told = accepted.decided_number.min(LAST) - CONFIRMED;
                assert!(accepted.chain.len() as u64 <= told);
                let is_other = accepted.decided_number == LAST && accepted.decided_hash != LAST_HASH;
                if accepted.decided_number > LAST || is_other {
                    // The engine has a copy of someone else's store, and goes on under another name.
                    self.session.close(Code::IdentityRenewed, "a copy");
                }
                (self.seq, self.decided) = (accepted.catch_up_from, accepted.decided_number);
                self.catching_up = true;
            }
            ClientEvent::SendTxs { from, txs_max, bytes_max, .. } => {
                assert!(self.asked.is_none(), "one question at a time");
                assert!((1..=UPLOAD_TXS_MAX).contains(&txs_max) && bytes_max > 0 && from > self.decided);
                self.asked = Some((from, txs_max));
            }
            ClientEvent::Verdicts(verdicts) => {
                for verdict in verdicts {
                    assert_eq!(verdict.number, self.decided + 1, "each number comes once, without gaps");
                    self.decided = verdict.number;
                }
            }
            ClientEvent::CatchUp { upto_seq, .. } => {
                assert!(upto_seq >= self.seq);
                (self.seq, self.catching_up) = (upto_seq, true);
            }
            ClientEvent::CatchUpDone(seq) => {
                assert!(self.catching_up && seq >= self.seq);
                (self.seq, self.catching_up) = (seq, false);
            }
            ClientEvent::Pushed(txs) => {
                assert!(!txs.is_empty() && !self.catching_up);
                for tx in txs {
                    assert!(tx.seq > self.seq, "positions rise");
                    self.seq = tx.seq;
                }
            }
            ClientEvent::Compared { .. } | ClientEvent::Fetched { .. } => panic!("no compare was offered"),
            ClientEvent::ProbeDue | ClientEvent::Probed(_) => panic!("no digests were offered"),
            ClientEvent::Closed(closed) => {
                check_closed(&closed);
                self.closed = true;
                let mut frames = Vec::new();
                while let Some(frame) = self.session.poll_message() {
                    frames.push(frame);
                }
                check_farewell(&closed, &frames);
            }
        }
    }
}
