//! One session without its socket: what it asks of the server, and how it follows the history.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reconvene_model::compare::{CompareRange, Slice, SliceOutcome};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{PeerId, Seq, TxNumber};
use reconvene_protocol::{
    Closed, Code, Cursor, LoginAnswer, LoginRequest, Nonce, SendError, ServerConfig, ServerEvent,
    ServerSession,
};
use reconvene_store::{Break, Chunk, ChunkStart, Decision, Fetched, StoreError};

use crate::committing::Reply;
use crate::comparing::{Comparing, SharedSet};
use crate::login::{self, Refusal};
use crate::ring::{Next, Ring};

/// The bytes that may wait in a session before the next part of the history is fetched for it.
const QUEUE_BYTES: usize = 512 * 1024;

/// A session with what the server has to do for it: everything but moving bytes, waiting, and reading and writing the store.
///
/// Whoever owns the connection hands in what happens, carries out what [`poll_wanted`](Self::poll_wanted) gives, lets it
/// [`follow`](Self::follow) the history, and sends what [`poll_message`](Self::poll_message) gives. Time is a `Duration` since
/// any start that stays the same for the connection.
pub struct Conversation {
    session: ServerSession,
    following: Following,
    /// Whether a chunk of the history is being read for it.
    reading: bool,
    /// Until the client has completed the compare with which its session began.
    comparing: Comparing,
    /// What the client said at its login, and how far in this history it has been.
    cursor: Cursor,
    seen: Seq,
    /// Where within a position its catch-up was cut off, by its own account.
    resume: Option<ChunkStart>,
    /// The horizon when the session began to read the history with nothing in its hands.
    horizon: Seq,
    has_read: bool,
    /// Uploads without answer.
    undecided: usize,
    /// A chunk that waits for the answers to uploads.
    waiting: Option<Chunk>,
    /// The highest own transaction of whose verdict the client was told.
    told: TxNumber,
    queue_bytes_max: usize,
    verdicts: u64,
}

/// Something that the server has to do for a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Wanted {
    /// To judge a login and answer with [`Conversation::handle_login`].
    Login(Box<LoginRequest>),
    /// To decide on transactions and answer with [`Conversation::handle_decided`]; answers come in the order of the questions.
    Decide {
        /// Who sent them.
        peer: PeerId,
        /// The transactions as they came.
        txs: Vec<Bytes>,
    },
    /// To find or build the set that the client compares with, and answer with [`Conversation::handle_set`].
    Set {
        /// Not one that is older than this.
        from: Seq,
    },
    /// To judge a digest of what the client has, and answer with [`Conversation::handle_judged`].
    Judge(Slice),
    /// To forget verdicts up to this number; that it happens late, or not at all, does no harm.
    Confirmed {
        /// Who holds them.
        peer: PeerId,
        /// Up to which number.
        number: TxNumber,
    },
    /// Nothing more: the session is over. What [`Conversation::poll_message`] still gives is the farewell.
    Closed(Closed),
}

/// How a session follows the history.
#[derive(Clone, Copy)]
enum Following {
    /// Not logged in, or comparing.
    Nothing,
    /// Reading from the store, from here on.
    CatchUp(ChunkStart),
    /// Reading from the ring.
    Live,
}

/// Why no more of the history was fetched for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// What was fetched before has to leave first.
    Full,
    /// There is nothing more at this moment; something will wake the session when there is.
    Empty,
    /// To read a chunk from here and answer with [`Conversation::handle_chunk`].
    Chunk(ChunkStart),
    /// To read the objects in these ranges and answer with [`Conversation::handle_fetched`].
    Fetch(Vec<CompareRange>),
}

impl Conversation {
    /// The session of a connection that has just been opened; see [`ServerSession::new`].
    pub fn new(config: ServerConfig, nonce: Nonce, server_time_ms: u64, now: Duration) -> Conversation {
        Conversation {
            queue_bytes_max: QUEUE_BYTES.min(config.queue_bytes_max),
            session: ServerSession::new(config, nonce, server_time_ms, now),
            following: Following::Nothing,
            reading: false,
            comparing: Comparing::default(),
            cursor: Cursor::default(),
            seen: Seq(0),
            resume: None,
            horizon: Seq(0),
            has_read: false,
            undecided: 0,
            waiting: None,
            told: 0,
            verdicts: 0,
        }
    }

    /// The session, to hand in frames, deadlines and the end of the connection.
    pub fn session(&mut self) -> &mut ServerSession {
        &mut self.session
    }

    /// The next thing to do.
    pub fn poll_wanted(&mut self) -> Option<Wanted> {
        while let Some(event) = self.session.poll_event() {
            match event {
                ServerEvent::LoginRequested(request) => {
                    self.cursor = request.login.cursor;
                    self.resume = ChunkStart::read(&request.login.resume);
                    return Some(Wanted::Login(request));
                }
                ServerEvent::Uploaded(txs) => {
                    let Some(peer) = self.session.peer() else { continue };
                    self.undecided += 1;
                    return Some(Wanted::Decide { peer, txs: txs.into_iter().map(|tx| tx.bytes).collect() });
                }
                ServerEvent::Confirmed(number) => {
                    let Some(peer) = self.session.peer() else { continue };
                    return Some(Wanted::Confirmed { peer, number });
                }
                ServerEvent::Compare { ranges, .. } => {
                    self.comparing.ask(ranges);
                    if self.comparing.needs_set() {
                        return Some(Wanted::Set { from: self.seen });
                    }
                    self.answer_compare();
                }
                ServerEvent::Fetch(ranges) => self.comparing.wish(ranges),
                ServerEvent::CompareDone(seq) => {
                    self.comparing = Comparing::default();
                    self.following = Following::CatchUp(ChunkStart::after(seq));
                }
                ServerEvent::Probe(slice) => return Some(Wanted::Judge(slice)),
                ServerEvent::Closed(closed) => return Some(Wanted::Closed(closed)),
            }
        }
        None
    }

    /// The next frame to send.
    pub fn poll_message(&mut self) -> Option<Bytes> {
        self.session.poll_message()
    }

    /// When to call [`ServerSession::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.session.poll_timeout()
    }

    /// Whether some upload has no answer yet.
    pub fn is_waiting_for_decisions(&self) -> bool {
        self.undecided > 0
    }

    /// Whether the session follows what is committed, so that a commit wakes it.
    pub fn is_live(&self) -> bool {
        matches!(self.following, Following::Live)
    }

    /// How many verdicts were sent.
    pub fn verdicts(&self) -> u64 {
        self.verdicts
    }

    /// Where the catch-up begins: within a position, if the device holds a part of it since an earlier session in the same history and
    /// view.
    fn start(&self, answer: &LoginAnswer) -> ChunkStart {
        let from = answer.catch_up_from;
        let goes_on = self.cursor == (Cursor { epoch: answer.epoch, view: answer.view, seq: from });
        let within =
            self.resume.filter(|start| goes_on && start.seq > from && start.seq <= answer.decided_seq);
        within.unwrap_or(ChunkStart::after(from))
    }

    /// Takes the answer to [`Wanted::Login`].
    pub fn handle_login(&mut self, answer: Result<LoginAnswer, Refusal>, now: Duration) {
        match answer {
            Ok(answer) => {
                self.following = match answer.compare {
                    true => Following::Nothing,
                    false => Following::CatchUp(self.start(&answer)),
                };
                self.seen = if self.cursor.epoch == answer.epoch { self.cursor.seq } else { Seq(0) };
                self.told = answer.decided_number;
                self.session.accept_login(answer, now);
            }
            Err(refusal) => self.session.refuse_login(refusal.code, &refusal.message),
        }
    }

    /// Takes the answer to [`Wanted::Decide`].
    pub fn handle_decided(&mut self, reply: Reply) {
        self.undecided = self.undecided.saturating_sub(1);
        let decided = match reply {
            Ok(decided) => decided,
            Err(_) => {
                let reason = "the server could not store what was uploaded; nothing of it was taken, send it again later";
                self.session.close(Code::ServerFailed, reason);
                return;
            }
        };
        let mut verdicts = Vec::with_capacity(decided.len());
        for decided in decided {
            if decided.repeated {
                self.meet_another_session(decided.peer);
                return;
            }
            match decided.decision {
                Decision::Verdict { number, verdict } => {
                    self.told = self.told.max(number);
                    verdicts.push(login::verdict((number, verdict)));
                }
                Decision::Known { number } => self.told = self.told.max(number),
                Decision::Broken { what, reason } => {
                    tracing::warn!(peer = %decided.peer, reason, "a client uploaded what is no transaction of its own");
                    let code = match what {
                        Break::Chain => Code::TxChainBroken,
                        Break::Gap => Code::TxGap,
                        Break::Content => Code::TxInvalid,
                    };
                    self.session.close(code, &reason);
                    return;
                }
            }
        }
        self.verdicts += verdicts.len() as u64;
        if let Err(error) = self.session.send_verdicts(verdicts) {
            self.send_failed(error);
        }
        if let Some(chunk) = self.waiting.take() {
            self.handle_chunk(Ok(chunk));
        }
    }

    /// Ends the session because a transaction of its peer was decided on that it has not sent.
    ///
    /// An earlier session of the same device may have sent it, or a copy of the device's directory something else under the same
    /// number. The next login tells them apart by the hash; a verdict given here would make the client forget its own write.
    fn meet_another_session(&mut self, peer: PeerId) {
        tracing::info!(%peer, "another session of the peer has written meanwhile");
        let reason =
            "another session of this peer has written meanwhile; the next login says what was decided";
        self.session.close(Code::TxChainBroken, reason);
    }

    /// Takes the answer to [`Wanted::Set`].
    pub fn handle_set(&mut self, set: Result<Arc<SharedSet>, StoreError>) {
        match set {
            Ok(set) => {
                self.comparing.take_set(set);
                self.answer_compare();
            }
            Err(error) => {
                tracing::error!(%error, "the objects could not be read for a compare");
                self.session
                    .close(Code::ServerFailed, "the server could not read its objects; its log says why");
            }
        }
    }

    /// Ends the session if it has compared with one set for so long that its salt may be known to those who write.
    pub fn handle_set_age(&mut self, now: Duration) {
        if self.comparing.is_too_old(now) {
            self.session
                .close(Code::Slow, "the compare took too long; connect again, only the rest is compared");
        }
    }

    /// Takes the answer to [`Wanted::Judge`]; whether the client turned out to have something else.
    pub fn handle_judged(&mut self, judged: Result<SliceOutcome, StoreError>) -> bool {
        let outcome = judged.unwrap_or_else(|error| {
            tracing::error!(%error, "objects could not be read to judge a digest");
            SliceOutcome::Unknown
        });
        let differs = outcome == SliceOutcome::Differs;
        if differs && let Some(peer) = self.session.peer() {
            let code = Code::Diverged.name();
            tracing::warn!(%peer, code, "a device has something else than the server at the same Seq; it compares");
        }
        if let Err(error) = self.session.send_probed(outcome) {
            self.send_failed(error);
        }
        differs
    }

    fn answer_compare(&mut self) {
        let max = self.session.message_bytes_max();
        if let Some((begun, answers)) = self.comparing.answer(max)
            && let Err(error) = self.session.send_compared(begun, answers)
        {
            self.send_failed(error);
        }
    }

    /// Takes the answer to [`Fed::Fetch`].
    pub fn handle_fetched(&mut self, fetched: Result<Fetched, StoreError>) {
        self.reading = false;
        let fetched = match fetched {
            // Read again once there is room.
            Ok(_) if !self.has_room() => return,
            Ok(fetched) => fetched,
            Err(error) => {
                tracing::error!(%error, "objects could not be read for a compare");
                self.session
                    .close(Code::ServerFailed, "the server could not read its objects; its log says why");
                return;
            }
        };
        let last = fetched.rest.is_empty();
        self.comparing.fetched(fetched.rest);
        if let Err(error) = self.session.send_fetched(fetched.block.unwrap_or_default().into(), last) {
            self.send_failed(error);
        }
    }

    /// Takes the answer to [`Fed::Chunk`].
    pub fn handle_chunk(&mut self, chunk: Result<Chunk, StoreError>) {
        self.reading = false;
        let chunk = match chunk {
            // Verdicts have filled the queue meanwhile: the chunk is read again once there is room.
            Ok(_) if !self.has_room() => return,
            Ok(chunk) if chunk.decided > self.told && self.undecided > 0 => {
                self.reading = true;
                self.waiting = Some(chunk);
                return;
            }
            // What it holds of the peer's own objects may be of a copy of its directory, whose ids are the same.
            Ok(chunk) if chunk.decided > self.told => {
                if let Some(peer) = self.session.peer() {
                    self.meet_another_session(peer);
                }
                return;
            }
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::error!(%error, "the history could not be read");
                self.session
                    .close(Code::ServerFailed, "the server could not read its history; its log says why");
                return;
            }
        };
        if self.is_beyond_horizon(&chunk) {
            let reason = "removals were forgotten that the device has not heard of; connect again, what it has is compared";
            self.session.close(Code::Slow, reason);
            return;
        }
        self.following = Following::CatchUp(chunk.next);
        let resume = chunk.resume();
        if let Some(block) = chunk.block
            && let Err(error) = self.session.send_catch_up_within(block.into(), chunk.upto, resume.into())
        {
            self.send_failed(error);
            return;
        }
        if chunk.last || planted(Planted::PushWithinCatchUp) {
            match self.session.send_catch_up_done(chunk.upto) {
                Ok(()) => self.following = Following::Live,
                Err(error) => self.send_failed(error),
            }
        }
    }

    /// Whether the server has forgotten removals that the device, which holds objects from before them, has yet to hear of.
    fn is_beyond_horizon(&mut self, chunk: &Chunk) -> bool {
        let Following::CatchUp(start) = self.following else { return false };
        if !std::mem::replace(&mut self.has_read, true) && self.cursor.epoch == 0 {
            // Who has nothing misses nothing that was removed before.
            self.horizon = chunk.horizon;
        }
        chunk.horizon > start.seq && chunk.horizon > self.horizon
    }

    /// Whether more of the history may be fetched for it.
    pub fn has_room(&self) -> bool {
        self.session.queue_bytes() < self.queue_bytes_max
    }

    /// Fetches what comes next in the history, as long as what was fetched before is on its way.
    pub fn follow(&mut self, ring: &Ring) -> Fed {
        while self.session.is_logged_in() {
            if !self.has_room() {
                return Fed::Full;
            }
            match self.following {
                Following::Nothing if self.reading => return Fed::Empty,
                Following::Nothing => {
                    let Some(ranges) = self.comparing.wished() else { return Fed::Empty };
                    self.reading = true;
                    return Fed::Fetch(ranges);
                }
                Following::CatchUp(_) if self.reading => return Fed::Empty,
                Following::CatchUp(start) => {
                    self.reading = true;
                    return Fed::Chunk(start);
                }
                Following::Live => {
                    let (Some(peer), Some(sent)) = (self.session.peer(), self.session.sent_seq()) else {
                        return Fed::Empty;
                    };
                    match ring.next(sent) {
                        Next::UpToDate => return Fed::Empty,
                        Next::FallenBehind => self.following = Following::CatchUp(ChunkStart::after(sent)),
                        // With its own transaction confirmed, a client forgets what it wrote; the verdict, which may name
                        // ops that were lost, has to come before. It is on its way and wakes the session.
                        Next::Run(run) if run.last_number_of(peer) > Some(self.told) => {
                            if self.undecided == 0 {
                                self.meet_another_session(peer);
                            }
                            return Fed::Empty;
                        }
                        Next::Run(run) => {
                            for frame in run.frames_for(peer, sent) {
                                if let Err(error) = self.session.send_push(&frame) {
                                    self.send_failed(error);
                                    return Fed::Empty;
                                }
                            }
                        }
                    }
                }
            }
        }
        Fed::Empty
    }

    fn send_failed(&mut self, error: SendError) {
        match error {
            // The session is over; what it missed it gets at the next login.
            SendError::NotLoggedIn => {}
            error => {
                tracing::error!(%error, "the server could not send what it should have");
                self.session.close(Code::ServerFailed, &error.to_string());
            }
        }
    }
}
