//! One connection without its socket: frames in, deliveries to the store, frames out.

use std::time::Duration;

use bytes::Bytes;
use reconvene_model::compare::{CompareRange, SliceOutcome};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{Seq, TxHash, TxNumber};
use reconvene_protocol::compare::{
    CAPABILITY_COMPARE, CAPABILITY_PROBE, CAPABILITY_PROBE_VALUES, CompareMessage, CompareProgress,
};
use reconvene_protocol::{
    ClientConfig, ClientEvent, ClientLogin, ClientSession, Closed, ClosedBy, Code, CompareBegun, Credential,
    Cursor, LoginAccepted, SchemaHashes,
};
use reconvene_store::{Fork, Held, Kinship, LoginState, Renewed, Store, StoreError};

use crate::comparing::{Compare, Step};
use crate::delivery::{self, Inbox};
use crate::probing;
use crate::server_time::ServerTime;

/// The bytes of received messages after which they are applied, although more may be ready.
pub const APPLY_BYTES: usize = 8 * 1024 * 1024;

/// The frames after which they are applied, although more may be ready.
pub const APPLY_FRAMES: usize = 256;

/// What became durable in the store; told right after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The server took the login, and what it said about this store's transactions is stored.
    LoggedIn,
    /// The store has taken another name, because a copy of it goes by the present one; a new connection is to be made at once.
    Renewed(Renewed),
    /// The session leads somewhere: the store's cursor has moved, or verdicts became durable in it.
    Advanced,
    /// What the server sent since the last commit is stored.
    Applied {
        /// How many objects it concerned.
        objects: u64,
        /// The transactions that the server did not take, or not whole.
        rejected: Vec<TxNumber>,
        /// The conflicts that were found, in order.
        conflicts: Vec<u64>,
    },
    /// A compare goes on.
    Comparing(CompareProgress),
    /// A catch-up ended here.
    CaughtUp(Seq),
    /// The server has something else than this store at the same Seq; the next session compares and puts it right.
    Diverged(CompareRange),
}

/// A session with the store that it serves: everything a client does on a connection except for moving bytes and waiting.
///
/// Whoever owns the connection hands in what happens, calls [`carry_out`](Self::carry_out), sends what
/// [`poll_message`](Self::poll_message) gives, and waits until [`poll_timeout`](Self::poll_timeout) at most. Time is a
/// `Duration` since any start that stays the same for the connection.
pub struct Driver {
    store: Store,
    session: ClientSession,
    inbox: Inbox,
    /// What the login said.
    said: LoginState,
    /// The cursor's position, and the highest number whose verdict is durable here.
    reached: (Seq, TxNumber),
    /// Since the login.
    server_time: Option<ServerTime>,
    /// Whether transactions wait for verdicts, to be dated anew.
    held: bool,
    /// Until the compare is complete that the login began.
    compare: Option<Compare>,
    /// The range of the digest that the server was sent last.
    probed: Option<CompareRange>,
    closed: Option<Closed>,
}

/// What this client is able to do.
const CAPABILITIES: [&str; 3] = [CAPABILITY_COMPARE, CAPABILITY_PROBE, CAPABILITY_PROBE_VALUES];

impl Driver {
    /// The driver of a connection that has just been opened.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn new(
        store: &Store,
        config: ClientConfig,
        credentials: Vec<Credential>,
        now: Duration,
    ) -> Result<Driver, StoreError> {
        let sync = store.sync();
        let state = sync.login_state()?;
        let schema = store.schema();
        let login = ClientLogin {
            key: sync.key(),
            credentials,
            schema: SchemaHashes { base: schema.base_hash(), full: schema.full_hash() },
            cursor: Cursor { epoch: state.cursor.epoch, view: state.cursor.view, seq: state.cursor.seq },
            last_number: state.last_number,
            last_hash: state.last_hash,
            confirmed: state.decided,
            confirmed_hash: state.decided_hash,
            capabilities: CAPABILITIES.map(str::to_owned).into(),
            compare: state.comparing,
            catching_up: state.catching_up,
            resume: sync.resume()?.into(),
        };
        Ok(Driver {
            store: store.clone(),
            session: ClientSession::new(probing::paced(config, &sync), login, now),
            inbox: Inbox::default(),
            said: state,
            reached: (state.cursor.seq, state.decided),
            server_time: None,
            held: false,
            compare: None,
            probed: None,
            closed: None,
        })
    }

    /// The session, to hand in frames, deadlines, local commits and the end of the connection.
    pub fn session(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// How the session ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// The next frame to send.
    pub fn poll_message(&mut self) -> Option<Bytes> {
        self.session.poll_message()
    }

    /// When to call [`ClientSession::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.session.poll_timeout()
    }

    /// Carries out what the session asks for; everything that came together is applied together.
    ///
    /// `now` counts on by a clock that nobody sets: from it follows what time it is on the server.
    pub fn carry_out(&mut self, now: Duration, tell: &mut dyn FnMut(Progress)) {
        if self.closed.is_some() {
            // What else this session was sent concerns a name that the store may have left.
            return;
        }
        let decided = self.reached.1;
        while let Some(event) = self.session.poll_event() {
            let done = match event {
                ClientEvent::LoggedIn(accepted) => self.logged_in(accepted, now, tell),
                ClientEvent::Verdicts(verdicts) => {
                    self.inbox.verdicts(verdicts);
                    Ok(())
                }
                ClientEvent::CatchUp { states, upto_seq, resume } => {
                    self.inbox.states(states, upto_seq, resume);
                    Ok(())
                }
                ClientEvent::CatchUpDone(seq) => {
                    self.inbox.catch_up_done(seq);
                    self.apply(tell).map(|()| tell(Progress::CaughtUp(seq)))
                }
                ClientEvent::Pushed(txs) => {
                    self.inbox.pushed(txs);
                    Ok(())
                }
                ClientEvent::SendTxs { from, txs_max, bytes_max, .. } => {
                    self.send_txs(now, from, txs_max, bytes_max)
                }
                ClientEvent::Compared { begun, answers } => self.compared(begun, &answers, tell),
                ClientEvent::Fetched { states, last } => self.fetched(states, last, tell),
                ClientEvent::ProbeDue => self.send_probe(tell),
                ClientEvent::Probed(outcome) => self.probed(outcome, tell),
                ClientEvent::Closed(closed) => self.ended(closed, tell),
            };
            let done = done.and_then(|()| match self.inbox.bytes() >= APPLY_BYTES {
                true => self.apply(tell),
                false => Ok(()),
            });
            if let Err(problem) = done {
                self.end(problem);
                return;
            }
        }
        match self.apply(tell) {
            Ok(()) if self.held && self.reached.1 > decided => {
                // The verdicts may be there now for which transactions waited.
                self.session.handle_local_commit();
                self.carry_out(now, tell);
            }
            Ok(()) => {}
            Err(problem) => self.end(problem),
        }
    }

    /// Ends the session from this side and keeps the reason.
    fn end(&mut self, problem: Problem) {
        self.inbox.clear();
        if !problem.code.retry_helps() {
            tracing::error!(code = problem.code.name(), reason = problem.reason, "sync cannot go on");
        }
        self.session.close(problem.code, &problem.reason);
        self.closed = Some(Closed { by: ClosedBy::Us, code: problem.code, reason: problem.reason });
    }

    fn logged_in(
        &mut self,
        accepted: Box<LoginAccepted>,
        now: Duration,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Problem> {
        self.server_time = Some(ServerTime::new(accepted.server_time_ms, now, self.store.now_ms()));
        let sync = self.store.sync();
        if accepted.decided_number > 0 {
            let (decided, hash) = (accepted.decided_number, accepted.decided_hash);
            match sync.kinship(&self.said, decided, hash, &accepted.chain)? {
                Kinship::Same => {}
                _ if planted(Planted::CopyUnnoticed) => {}
                Kinship::Forked { common } => return self.renew(&accepted, common, tell),
                Kinship::Longer { common } => return self.ask_for_more(accepted, common, tell),
                _ => return Err(Problem::copied()),
            }
        } else if sync.outbox(0, 1, 0)?.first().is_some_and(|first| !follows_nothing(first)) {
            return Err(Problem::server_lost(
                "the server does not know this device's earlier writes any more",
            ));
        }
        let compares = accepted.compare;
        self.inbox.login(accepted);
        self.apply(tell)?;
        tell(Progress::LoggedIn);
        if compares {
            self.compare = Some(Compare::default());
            self.go_on_comparing(tell)?;
        }
        Ok(())
    }

    /// Takes note of the end of the session.
    ///
    /// An engine makes one connection after the other. So it is another store that has logged in by this name, a copy; before both
    /// go on to replace each other, one that has nothing under way takes another name.
    fn ended(&mut self, closed: Closed, tell: &mut dyn FnMut(Progress)) -> Result<(), Problem> {
        let is_replaced = closed.by == ClosedBy::Peer && closed.code == Code::Replaced;
        self.closed = Some(closed);
        let sync = self.store.sync();
        if !is_replaced || planted(Planted::CopyUnnoticed) {
            return Ok(());
        }
        self.apply(tell)?;
        if sync.undecided()? > 0 {
            return Ok(());
        }
        let fork = Fork { common: sync.login_state()?.decided, decided_seq: self.reached.0, verdicts: &[] };
        let renewed = sync.renew_identity(&fork)?;
        warn_of(&renewed);
        tell(Progress::Renewed(renewed));
        Ok(())
    }

    /// Goes on under another name with what follows the last transaction that the server has of this store.
    fn renew(
        &mut self,
        accepted: &LoginAccepted,
        common: TxNumber,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Problem> {
        let verdicts: Vec<_> = accepted.refusals.iter().map(delivery::verdict).collect();
        let fork = Fork { common, decided_seq: accepted.decided_seq, verdicts: &verdicts };
        let renewed = self.store.sync().renew_identity(&fork)?;
        warn_of(&renewed);
        let (rejected, conflicts) = (renewed.rejected.clone(), renewed.conflicts.clone());
        tell(Progress::Advanced);
        tell(Progress::Renewed(renewed));
        if !rejected.is_empty() || !conflicts.is_empty() {
            tell(Progress::Applied { objects: 0, rejected, conflicts });
        }
        let reason = "the directory is a copy, or was restored; it logs in again under a new name".to_owned();
        Err(Problem { code: Code::IdentityRenewed, reason })
    }

    /// Settles what the server is known to have of this store, and asks about what follows.
    fn ask_for_more(
        &mut self,
        mut accepted: Box<LoginAccepted>,
        common: TxNumber,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Problem> {
        accepted.decided_number = common;
        accepted.refusals.retain(|verdict| verdict.number <= common);
        self.inbox.login(accepted);
        self.apply(tell)?;
        let reason = "the server is to tell which of the transactions after these it has".to_owned();
        Err(Problem { code: Code::IdentityRenewed, reason })
    }

    fn compared(
        &mut self,
        begun: Option<CompareBegun>,
        answers: &[u8],
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Problem> {
        let Some(compare) = &mut self.compare else { return Err(Problem::failed("no compare is under way")) };
        compare.handle_answers(&self.store.sync(), begun, answers)?;
        tell(Progress::Comparing(compare.progress()));
        self.go_on_comparing(tell)
    }

    fn fetched(&mut self, states: Bytes, last: bool, tell: &mut dyn FnMut(Progress)) -> Result<(), Problem> {
        self.inbox.fetched(states);
        if last {
            self.apply(tell)?;
            if let Some(compare) = &mut self.compare {
                compare.handle_fetched();
            }
            self.go_on_comparing(tell)?;
        }
        Ok(())
    }

    /// Carries out what the compare asks for. What it brought is durable before the server hears that it is complete.
    fn go_on_comparing(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<(), Problem> {
        while let Some(step) = self.compare.as_mut().and_then(Compare::next) {
            match step {
                Step::Extra(range) => self.inbox.extra(range),
                Step::Send(message) => self.send_compare(message)?,
                Step::Done { seq, message } => {
                    self.inbox.compared(seq);
                    self.apply(tell)?;
                    self.compare = None;
                    self.send_compare(message)?;
                }
            }
        }
        Ok(())
    }

    fn send_compare(&mut self, message: CompareMessage) -> Result<(), Problem> {
        self.session.send_compare(message).map_err(|error| Problem::failed(error.to_string()))
    }

    /// Tells the server a digest of some of what is here.
    fn send_probe(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<(), Problem> {
        self.apply(tell)?;
        let values = self.session.probes_values();
        let Some(slice) = self.store.sync().next_slice(values)? else { return Ok(()) };
        self.probed = Some(slice.range);
        self.session.send_probe(slice).map_err(|error| Problem::failed(error.to_string()))
    }

    fn probed(&mut self, outcome: SliceOutcome, tell: &mut dyn FnMut(Progress)) -> Result<(), Problem> {
        let Some(range) = self.probed.take().filter(|_| outcome == SliceOutcome::Differs) else {
            return Ok(());
        };
        self.apply(tell)?;
        self.store.sync().note_divergence(&range)?;
        tracing::warn!(
            code = Code::Diverged.name(), start = %range.start,
            "the server has something else than this device; they compare, and the device takes what the server has"
        );
        tell(Progress::Diverged(range));
        let reason = "the server has something else at the same Seq; the next session compares".to_owned();
        Err(Problem { code: Code::Diverged, reason })
    }

    fn send_txs(
        &mut self,
        now: Duration,
        from: TxNumber,
        txs_max: usize,
        bytes_max: usize,
    ) -> Result<(), Problem> {
        let sync = self.store.sync();
        let Some(time) = self.server_time else {
            return Err(Problem::failed("the session asks for transactions before its login"));
        };
        let mut uploads = sync.uploads(from.saturating_sub(1), txs_max, bytes_max, time.at(now))?;
        if uploads.held == Held::UntilRestamped && uploads.txs.is_empty() {
            if !time.is_steady(now, self.store.now_ms()) {
                let reason = "the clock was set or the device slept, so that server time is asked for again";
                return Err(Problem { code: Code::ClockChanged, reason: reason.to_owned() });
            }
            let count = sync.restamp(time.at(now))?;
            tracing::warn!(
                count,
                "unsent writes were dated too far ahead of server time, and are dated anew"
            );
            uploads = sync.uploads(from.saturating_sub(1), txs_max, bytes_max, time.at(now))?;
        }
        self.held = uploads.held != Held::Nothing;
        let txs = uploads.txs.into_iter().map(|tx| (tx.number, Bytes::from(tx.bytes))).collect();
        self.session.handle_txs(txs).map_err(|error| Problem::failed(error.to_string()))
    }

    fn apply(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<(), Problem> {
        if self.inbox.is_empty() {
            return Ok(());
        }
        let sync = self.store.sync();
        let applied = sync.apply(&self.inbox.deliveries())?;
        self.inbox.clear();
        self.session.handle_durable(applied.decided);
        let reached = (sync.cursor()?.seq, applied.decided);
        if reached.0 > self.reached.0 || reached.1 > self.reached.1 {
            tell(Progress::Advanced);
        }
        self.reached = reached;
        let (rejected, conflicts) = (applied.rejected, applied.conflicts);
        tell(Progress::Applied { objects: applied.objects, rejected, conflicts });
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.store.sync().note_session_end();
    }
}

fn warn_of(renewed: &Renewed) {
    tracing::warn!(
        former = %renewed.former, peer = %renewed.peer, reissued = renewed.reissued,
        "this directory is a copy, or was restored: another one goes by its name, so it goes on under a new one"
    );
}

/// Whether a transaction is the first of its origin.
fn follows_nothing(tx: &reconvene_store::OutboxTx) -> bool {
    reconvene_model::change::decode_tx(&tx.bytes).is_ok_and(|(head, _)| head.previous == TxHash::NONE)
}

/// Why the session cannot go on, seen from this side.
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Problem { code: Code::ClientFailed, reason: reason.into() }
    }

    fn copied() -> Self {
        Problem {
            code: Code::IdentityForked,
            reason: "the server has decided on other writes under this name, and does not say from where on: the directory is a copy, \
                     or was restored; nothing was changed, its unsent writes are kept in it"
                .to_owned(),
        }
    }

    fn server_lost(what: &str) -> Self {
        Problem {
            code: Code::HistoryLost,
            reason: format!("{what}: it was restored from a backup or replaced; nothing was changed here"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::OtherHistory { .. } => Code::HistoryLost,
            StoreError::Disorder { .. } | StoreError::VerdictMissing { .. } => Code::OrderViolated,
            _ => Code::ClientFailed,
        };
        Problem { code, reason: error.to_string() }
    }
}
