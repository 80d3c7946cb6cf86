//! The login, as the client sees it: answering `Hello`, and believing the answer or not.

use std::time::Duration;

use reconvene_model::{Seq, TxHash};

use crate::PROTOCOL_VERSION;
use crate::client::compare::Comparing;
use crate::client::probe::{Probing, offers_probes};
use crate::client::uploads::UploadWindow;
use crate::client::{ClientEvent, ClientLogin, ClientSession, LoggedIn, State, Violation};
use crate::code::Code;
use crate::compare::CAPABILITY_COMPARE;
use crate::heartbeat::Heartbeat;
use crate::login::sign_login;
use crate::message::{Hello, Login, LoginAccepted, Message};
use crate::timer::Timer;

/// The shortest heartbeat that a client follows, whatever the server asks for.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(50);

/// The longest heartbeat that a client follows, whatever the server asks for.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(3600);

impl ClientSession {
    pub(super) fn answer_hello(&mut self, hello: &Hello) {
        if !hello.versions.contains(&PROTOCOL_VERSION) {
            self.fail(
                Code::VersionUnsupported,
                format!(
                    "the server speaks versions {:?} of the protocol and this client {PROTOCOL_VERSION}; update the \
                     older side",
                    hello.versions
                ),
            );
            return;
        }
        let login = &self.login;
        let public_key = login.key.public();
        let message = Message::Login(Box::new(Login {
            version: PROTOCOL_VERSION,
            public_key,
            signature: sign_login(&login.key, &hello.nonce),
            credentials: login
                .credentials
                .iter()
                .map(|credential| credential.prove(&hello.nonce, &public_key))
                .collect(),
            schema: login.schema,
            cursor: login.cursor,
            last_number: login.last_number,
            last_hash: login.last_hash,
            confirmed: login.confirmed.min(login.last_number),
            confirmed_hash: login.confirmed_hash,
            capabilities: login.capabilities.clone(),
            compare: login.compare,
            catching_up: login.catching_up,
            resume: login.resume.clone(),
        }));
        self.first_out = Some(message.encode());
        self.state = State::AwaitAnswer;
    }

    pub(super) fn log_in(&mut self, accepted: Box<LoginAccepted>, now: Duration) {
        if let Err((code, reason)) = check_answer(&accepted, &self.login) {
            self.fail(code, reason);
            return;
        }
        self.timers.stop(Timer::Login);
        if !accepted.compare && !self.config.catch_up_first.is_zero() {
            self.timers.set(Timer::CatchUp, now + self.config.catch_up_first);
        }
        let idle = Duration::from_millis(accepted.heartbeat_ms).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        if offers_probes(&self.login.capabilities) && offers_probes(&accepted.capabilities) {
            self.timers.set(Timer::Probe, now + self.config.probe_interval / 10);
        }
        self.state = State::LoggedIn(Box::new(LoggedIn {
            heartbeat: Heartbeat::start(idle, self.config.pong_timeout, &mut self.timers, now),
            uploads: UploadWindow::new(accepted.limits, accepted.decided_number),
            told: false,
            seq: accepted.catch_up_from,
            catching_up: true,
            comparing: accepted.compare.then(Comparing::default),
            compare_done: false,
            confirmed: self.login.confirmed,
            confirm: false,
            probing: Probing::new(&accepted.capabilities),
        }));
        self.events.push_back(ClientEvent::LoggedIn(accepted));
    }
}

fn check_answer(accepted: &LoginAccepted, login: &ClientLogin) -> Result<(), Violation> {
    check_identity(accepted, login)?;
    let cursor = login.cursor;
    let from = accepted.catch_up_from;
    let continues = accepted.continues != 0;
    if continues && (accepted.continues != cursor.epoch || accepted.epoch == cursor.epoch) {
        return Err(disorder("the server continues a history that this client does not have"));
    }
    let same_history = (accepted.epoch == cursor.epoch || continues) && accepted.view == cursor.view;
    if same_history && from > cursor.seq {
        return Err(disorder(format!(
            "the server would catch up from Seq {from}, but this client is at {}",
            cursor.seq
        )));
    }
    if !same_history && from != Seq(0) {
        return Err(disorder(format!(
            "the server would catch up from Seq {from} of a history that this client does not have"
        )));
    }
    check_compare(accepted, login)?;
    check_rebased(accepted, login)?;
    let numbers = || accepted.refusals.iter().map(|verdict| verdict.number);
    let news = |number| number > login.confirmed && number <= accepted.decided_number;
    if !numbers().is_sorted_by(|one, next| one < next) || !numbers().all(news) {
        return Err(disorder(
            "the refusals of LoginAccepted are not in the order of their numbers, or confirmed already",
        ));
    }
    if accepted.decided_number == 0 && accepted.decided_hash != TxHash::NONE {
        return Err(disorder("LoginAccepted names the hash of a transaction, but none is decided"));
    }
    Ok(())
}

/// Whether the server compares just when it must, or else may.
fn check_compare(accepted: &LoginAccepted, login: &ClientLogin) -> Result<(), Violation> {
    let able = login.capabilities.iter().any(|name| name == CAPABILITY_COMPARE);
    if accepted.compare && (!able || accepted.catch_up_from != Seq(0)) {
        return Err(disorder(
            "the server begins a compare that this client did not offer, or that is worth too much",
        ));
    }
    if login.compare && !accepted.compare {
        return Err(disorder(
            "the server does not compare, but this client holds objects that no cursor stands for",
        ));
    }
    Ok(())
}

/// Whether a server that claims to have lost decisions may say so: it must have another history, and go on from the client's own.
fn check_rebased(accepted: &LoginAccepted, login: &ClientLogin) -> Result<(), Violation> {
    let Some(known) = accepted.rebased else { return Ok(()) };
    let cursor = login.cursor;
    let is_other = cursor.epoch != 0 && accepted.epoch != cursor.epoch;
    if !is_other || known >= login.confirmed {
        return Err(disorder(format!(
            "the server claims to have lost this client's transactions above {known}, but has no other history than before, or \
             has them"
        )));
    }
    if !accepted.compare || accepted.continues != 0 {
        return Err(disorder(
            "the server has lost decisions that this client holds, and does not compare all that follows from them",
        ));
    }
    Ok(())
}

/// Whether the server still has what it decided; whether that is this client's own, the engine finds by the hashes, which only its
/// store knows.
fn check_identity(accepted: &LoginAccepted, login: &ClientLogin) -> Result<(), Violation> {
    let decided = accepted.decided_number;
    let told = accepted.chain.len() as u64;
    if told > decided.min(login.last_number).saturating_sub(login.confirmed) {
        return Err(disorder("the server names hashes of transactions on which it has not decided"));
    }
    if decided < login.confirmed {
        return Err((
            Code::HistoryLost,
            format!(
                "the server has decided up to transaction {decided} of this client, which holds verdicts up to {}: the \
                 server was restored from a backup or replaced; nothing was changed here",
                login.confirmed
            ),
        ));
    }
    Ok(())
}

fn disorder(what: impl Into<String>) -> Violation {
    (Code::OrderViolated, what.into())
}
