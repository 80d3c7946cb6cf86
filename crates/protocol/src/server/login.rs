//! The login, as the server sees it: what a client asks for, what it is answered, and who is sent away.

use std::time::Duration;

use reconvene_model::identity::peer_of;
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};

use crate::PROTOCOL_VERSION;
use crate::close::Closed;
use crate::code::Code;
use crate::compare::CAPABILITY_COMPARE;
use crate::heartbeat::Heartbeat;
use crate::limits::{CHAIN_HASHES_MAX, CHAIN_SHARE_BYTES};
use crate::login::{CredentialProof, Nonce, Secret, verify_login};
use crate::message::{Login, LoginAccepted, Message, Verdict};
use crate::server::compare::Comparing;
use crate::server::probe::Probing;
use crate::server::uploads::Uploads;
use crate::server::{Judging, LoggedIn, ServerEvent, ServerSession, State};
use crate::timer::Timer;

/// A client's request for a session; its signature was checked.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The name of the client: the hash of its public key.
    pub peer: PeerId,
    /// What the client sent.
    pub login: Login,
    nonce: Nonce,
}

impl LoginRequest {
    /// Whether the client proved that it knows this secret; takes the same time for every wrong proof.
    pub fn verify_secret(&self, secret: &Secret) -> bool {
        self.login.credentials.iter().fold(false, |known, proof| match proof {
            CredentialProof::SharedSecret(proof) => {
                known | secret.proves(&self.nonce, &self.login.public_key, proof)
            }
            _ => known,
        })
    }

    /// Whether the client offered the proof of a shared secret, right or wrong.
    pub fn offers_secret(&self) -> bool {
        self.login.credentials.iter().any(|proof| matches!(proof, CredentialProof::SharedSecret(_)))
    }
}

/// What the engine knows when it accepts a login; the session adds limits and heartbeat.
#[derive(Clone, Debug)]
pub struct LoginAnswer {
    /// The number of this session in the server's logs.
    pub session: u64,
    /// The server's clock in milliseconds since 1970.
    pub server_time_ms: u64,
    /// The highest number of this client that is decided durably; 0 for none.
    pub decided_number: TxNumber,
    /// The hash of that transaction; [`TxHash::NONE`] for none.
    pub decided_hash: TxHash,
    /// The head of the history.
    pub decided_seq: Seq,
    /// The verdicts above the confirmed number that took something back, in the order of their numbers. Those above
    /// `decided_number`, which were decided while the engine judged, are left out: the client gets them for its next upload.
    pub refusals: Vec<Verdict>,
    /// The epoch of the server's history; not 0.
    pub epoch: u64,
    /// The key of the client's view.
    pub view: u64,
    /// Catch-up starts above this Seq: at most the Seq of the client's cursor, or 0 if that is of another view, or of another epoch
    /// that this history does not continue.
    pub catch_up_from: Seq,
    /// Those of the client's capabilities that are in force.
    pub capabilities: Vec<String>,
    /// Whether the client is to compare, and catch up from where that began; only for one that named
    /// [`CAPABILITY_COMPARE`], and with `catch_up_from` 0. Others get a whole catch-up.
    pub compare: bool,
    /// The epoch of the client's cursor, if that is a former one whose history is the beginning of this one at least up to the
    /// cursor's Seq; else 0.
    pub continues: u64,
    /// See [`LoginAccepted::chain`]; what does not fit the limits of a message is left out.
    pub chain: Vec<TxHash>,
    /// The highest number of this client that the server knew before it took over the client's own, if it did; see
    /// [`LoginAccepted::rebased`].
    pub rebased: Option<TxNumber>,
}

impl ServerSession {
    /// Opens the session for the client whose login was requested; without such a request it does nothing.
    pub fn accept_login(&mut self, mut answer: LoginAnswer, now: Duration) {
        let State::Judging(judging) = &self.state else { return };
        answer.compare &= judging.compares;
        if answer.compare && !answer.capabilities.iter().any(|name| name == CAPABILITY_COMPARE) {
            answer.capabilities.push(CAPABILITY_COMPARE.into());
        }
        answer.chain.truncate(CHAIN_HASHES_MAX.min(self.config.limits.message_bytes_max / CHAIN_SHARE_BYTES));
        answer.refusals.retain(|verdict| verdict.number <= answer.decided_number);
        let session = LoggedIn {
            greeted: false,
            heartbeat: Heartbeat::start(
                self.config.heartbeat + self.config.heartbeat / 2,
                self.config.pong_timeout,
                &mut self.timers,
                now,
            ),
            uploads: Uploads::new(judging.peer, self.config.limits, answer.decided_number, judging.confirmed),
            seq: answer.catch_up_from,
            catching_up: true,
            comparing: answer.compare.then(Comparing::default),
            probing: Probing::new(&answer.capabilities),
        };
        let message = Message::LoginAccepted(Box::new(LoginAccepted {
            session: answer.session,
            server_time_ms: answer.server_time_ms,
            decided_number: answer.decided_number,
            decided_hash: answer.decided_hash,
            decided_seq: answer.decided_seq,
            refusals: answer.refusals,
            epoch: answer.epoch,
            view: answer.view,
            catch_up_from: answer.catch_up_from,
            limits: self.config.limits,
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX).max(1),
            capabilities: answer.capabilities,
            compare: answer.compare,
            continues: answer.continues,
            chain: answer.chain,
            rebased: answer.rebased,
        }));
        self.state = State::LoggedIn(Box::new(session));
        self.enqueue(message.encode());
    }

    /// Sends the client away with a reason; without a login that waits for its judgement it does nothing.
    pub fn refuse_login(&mut self, code: Code, message: &str) {
        if matches!(self.state, State::Judging(_)) {
            self.refuse(code, message);
        }
    }

    pub(super) fn judge(&mut self, login: Login) {
        // From here on the engine is awaited, not the client.
        self.timers.stop(Timer::Login);
        if login.version != PROTOCOL_VERSION {
            self.refuse(
                Code::VersionUnsupported,
                &format!(
                    "the client chose version {} of the protocol, which this server does not speak; update the older side",
                    login.version
                ),
            );
        } else if !verify_login(&login.public_key, &self.nonce, &login.signature) {
            self.refuse(
                Code::SignatureWrong,
                "the login is not signed with its own key for this connection; sign the nonce of this Hello",
            );
        } else {
            let peer = peer_of(&login.public_key);
            let compares = login.capabilities.iter().any(|name| name == CAPABILITY_COMPARE);
            let judging = Judging { peer, confirmed: login.confirmed, compares };
            self.state = State::Judging(Box::new(judging));
            let request = LoginRequest { peer, login, nonce: self.nonce };
            self.events.push_back(ServerEvent::LoginRequested(Box::new(request)));
        }
    }

    fn refuse(&mut self, code: Code, message: &str) {
        let farewell = Message::LoginRefused { code, message: message.into() };
        self.end(Closed::us(code, message), Some(&farewell));
    }
}
