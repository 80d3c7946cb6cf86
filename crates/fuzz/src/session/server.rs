//! The server's machine against a client that says anything.

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::change::{TxHead, encode_tx};
use reconvene_model::{PeerId, Seq, TxHash};
use reconvene_protocol::limits::{ENVELOPE_BYTES_MAX, MESSAGE_BYTES_MIN};
use reconvene_protocol::{
    Code, Limits, LoginAnswer, Message, Outcome, PushFrame, PushedContent, PushedTx, SendError, ServerConfig,
    ServerEvent, ServerSession, Verdict,
};

use crate::frame::{any_message, login, number, verdict};
use crate::script::Script;
use crate::session::{KEY, NONCE, SIGNATURE, STEPS_MAX, any_frame, check_closed, check_farewell, pause};

/// Narrow enough that scripts reach every limit.
const WINDOW_TXS: usize = 4;
const WINDOW_BYTES: usize = 1000;
const QUEUE_BYTES: usize = 2000;

struct Driver {
    session: ServerSession,
    now: Duration,
    /// Whether the engine still owes an answer to the login.
    asked: bool,
    /// The highest number that was uploaded or decided at the login, and the highest one with a verdict.
    uploaded: u64,
    decided: u64,
    confirmed: u64,
    closed: bool,
}

/// Any bytes as a script for a server's session.
pub fn server(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let limits = Limits {
        message_bytes_max: MESSAGE_BYTES_MIN,
        upload_window_txs: WINDOW_TXS,
        upload_window_bytes: WINDOW_BYTES,
    };
    let config = ServerConfig { limits, queue_bytes_max: QUEUE_BYTES, ..ServerConfig::default() };
    let now = Duration::from_secs(1);
    let session = ServerSession::new(config, NONCE, 5, now);
    let mut driver =
        Driver { session, now, asked: false, uploaded: 0, decided: 0, confirmed: 0, closed: false };
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
                let mut login = login(script);
                login.version = 1;
                (login.public_key, login.signature) = (KEY.public(), *SIGNATURE);
                self.receive(Message::Login(Box::new(login)).encode());
            }
            3 => self.answer(script),
            4 => self.upload(script),
            5 => self.receive(Message::Confirm(number(script).max(1)).encode()),
            6 => self.receive(Message::Ping(script.number()).encode()),
            7 => self.decide(script),
            8 => self.catch_up(script),
            9 => self.push(script),
            10 => {
                self.now += pause(script);
                self.session.handle_timeout(self.now);
            }
            11 => self.session.handle_progress(self.now),
            12 => {
                for _ in 0..=script.below(4) {
                    if let Some(frame) = self.session.poll_message() {
                        self.check_frame(&frame);
                    }
                }
            }
            13 if script.byte() == 0 => match script.below(4) {
                0 => self.session.drain(),
                1 => self.session.handle_disconnected("cut"),
                2 => self.session.refuse_login(Code::Busy, "too many"),
                _ => self.session.close(Code::ServerFailed, "broken"),
            },
            _ => self.upload(script),
        }
    }

    fn receive(&mut self, frame: Bytes) {
        self.session.handle_frame(frame, self.now);
    }

    fn answer(&mut self, script: &mut Script<'_>) {
        let answer = LoginAnswer {
            session: 1,
            server_time_ms: 5,
            decided_number: number(script),
            decided_hash: TxHash::NONE,
            decided_seq: Seq(number(script)),
            refusals: (0..script.below(3)).map(|_| verdict(script)).collect(),
            epoch: 1,
            view: 1,
            catch_up_from: Seq(number(script)),
            capabilities: Vec::new(),
            compare: false,
            continues: 0,
            chain: Vec::new(),
            rebased: None,
        };
        let (decided, from) = (answer.decided_number, answer.catch_up_from);
        self.session.accept_login(answer, self.now);
        if std::mem::take(&mut self.asked) && self.session.is_logged_in() {
            (self.uploaded, self.decided) = (decided, decided);
            assert_eq!(self.session.peer(), Some(KEY.peer()));
            assert_eq!(self.session.sent_seq(), Some(from));
        }
    }

    /// Transactions, most of them the next ones of this client.
    fn upload(&mut self, script: &mut Script<'_>) {
        let mut number = self.uploaded;
        let txs = (0..=script.below(3)).map(|_| {
            number = match script.below(8) {
                0 => script.number().max(1),
                _ => number.saturating_add(1),
            };
            let origin = if script.byte() == 0xff { PeerId(script.number().max(1)) } else { KEY.peer() };
            let head = TxHead { origin, number, previous: TxHash([1; 16]), hlc: 1 };
            Bytes::from(encode_tx(&head, script.bytes()))
        });
        let txs: Vec<Bytes> = txs.collect();
        self.receive(Message::Upload(txs).encode());
    }

    /// Verdicts on what is in flight, and on anything else.
    fn decide(&mut self, script: &mut Script<'_>) {
        let verdicts: Vec<Verdict> = (0..script.below(3))
            .map(|_| match script.below(4) {
                0 => verdict(script),
                _ => Verdict {
                    number: self.decided.saturating_add(1).min(self.uploaded).max(1),
                    outcome: Outcome::Accepted { seq: Seq(1), lost: Vec::new() },
                },
            })
            .collect();
        let highest = verdicts.iter().map(|verdict| verdict.number).max().unwrap_or(0);
        match self.session.send_verdicts(verdicts) {
            Ok(()) => self.decided = self.decided.max(highest),
            Err(error) => assert_eq!(error, SendError::NotLoggedIn),
        }
    }

    fn catch_up(&mut self, script: &mut Script<'_>) {
        let before = self.session.queue_bytes();
        let seq = Seq(number(script));
        let sent = if script.flag() {
            self.session.send_catch_up_done(seq)
        } else {
            let states = Bytes::copy_from_slice(script.bytes());
            let sent = self.session.send_catch_up(states, seq);
            assert!(sent.is_err() || before < QUEUE_BYTES, "a full queue took a chunk");
            sent
        };
        self.check_sent(sent, before, seq);
    }

    fn push(&mut self, script: &mut Script<'_>) {
        let before = self.session.queue_bytes();
        let seq = Seq(number(script));
        let content = PushedContent::Whole {
            origin: PeerId(3),
            number: 1,
            hlc: 1,
            ops: Bytes::copy_from_slice(script.bytes()),
        };
        for frame in PushFrame::encode(vec![PushedTx { seq, content }], QUEUE_BYTES) {
            let sent = self.session.send_push(&frame);
            assert!(sent.is_err() || before < QUEUE_BYTES, "a full queue took a push");
            self.check_sent(sent, before, seq);
        }
    }

    fn check_sent(&self, sent: Result<(), SendError>, before: usize, seq: Seq) {
        match sent {
            Ok(()) => assert_eq!(self.session.sent_seq(), Some(seq)),
            Err(_) => assert_eq!(self.session.queue_bytes(), before, "what is refused is not queued"),
        }
    }

    /// What holds after every step, whatever was said.
    fn check(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "{event:?} after the end");
            match event {
                ServerEvent::LoginRequested(request) => {
                    assert_eq!(request.peer, KEY.peer());
                    assert!(!self.asked, "one login a session");
                    (self.asked, self.confirmed) = (true, request.login.confirmed);
                }
                ServerEvent::Uploaded(txs) => {
                    for tx in txs {
                        assert!(tx.head.origin == KEY.peer() && tx.head.number <= self.uploaded + 1);
                        self.uploaded = self.uploaded.max(tx.head.number);
                    }
                }
                ServerEvent::Confirmed(number) => {
                    assert!(number > self.confirmed && number <= self.decided);
                    self.confirmed = number;
                }
                ServerEvent::Compare { .. } | ServerEvent::Fetch(_) | ServerEvent::CompareDone(_) => {
                    panic!("no compare was offered")
                }
                ServerEvent::Probe(_) => panic!("no digests were offered"),
                ServerEvent::Closed(closed) => {
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
        let session = &self.session;
        assert_eq!(session.is_closed(), self.closed, "the end is told at once");
        assert!(!self.closed || (session.poll_timeout().is_none() && session.queue_bytes() == 0));
        assert!(session.in_flight() <= WINDOW_TXS);
        if !self.closed && !self.asked {
            assert!(session.poll_timeout().is_some(), "a silent client is found out");
        }
    }

    fn check_frame(&self, frame: &Bytes) {
        assert!(frame.len() <= MESSAGE_BYTES_MIN + ENVELOPE_BYTES_MAX, "a frame of {} bytes", frame.len());
        let read = Message::decode(frame.clone(), frame.len());
        assert!(read.is_ok(), "{read:?}");
    }
}
