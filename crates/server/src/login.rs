//! Judging a login: who may come in, and from where the history goes on for him.

use reconvene_model::Seq;
use reconvene_model::digest::Digest;
use reconvene_protocol as wire;
use reconvene_protocol::compare::{CAPABILITY_COMPARE, CAPABILITY_PROBE, CAPABILITY_PROBE_VALUES};
use reconvene_protocol::{Code, LoginAnswer, LoginRequest, Outcome, SchemaHashes};
use reconvene_store::{Claim, StoreError, SyncHandle, Verdict};

use crate::options::Authentication;

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// What devices have to prove.
    pub authentication: Authentication,
    /// Whether devices may come from a history that the server knows nothing of, to be brought to its state.
    pub takes_over: bool,
}

/// Why someone was not let in.
#[derive(Debug)]
pub struct Refusal {
    /// The reason in a word that programs understand.
    pub code: Code,
    /// The reason for people.
    pub message: String,
}

impl Refusal {
    fn new(code: Code, message: &str) -> Self {
        Refusal { code, message: message.to_owned() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::KeyMismatch { .. } => Refusal::new(
                Code::KeyWrong,
                "the server knows this peer with another key; use a new directory",
            ),
            error => {
                tracing::error!(%error, "a login could not be judged");
                Refusal::new(Code::ServerFailed, "something broke on the server; its log says what")
            }
        }
    }
}

/// Judges a login; reads the store, and writes it when a peer comes for the first time.
///
/// # Errors
///
/// The reason why the peer may not come in.
pub fn judge(
    sync: &SyncHandle,
    admission: &Admission,
    request: &LoginRequest,
    session: u64,
    server_time_ms: u64,
) -> Result<LoginAnswer, Refusal> {
    authenticate(&admission.authentication, request)?;
    let login = &request.login;
    let mut origin = sync.register(request.peer, &login.public_key)?;
    let (epoch, head) = (sync.epoch()?, sync.head()?);
    let view = view_key(&login.schema);
    let cursor = &login.cursor;
    let known_history = cursor.epoch == epoch;
    let compares = login.capabilities.iter().any(|name| name == CAPABILITY_COMPARE);
    // Whoever was in another history and can compare is taken as he is; what he says of this one must be true.
    let is_other = cursor.epoch != 0 && !known_history && compares;
    let shared = if known_history || cursor.epoch == 0 { None } else { sync.shared_with(cursor.epoch)? };
    // Most likely the device has the address of another server. All that it has would leave it.
    if is_other && shared.is_none() && !admission.takes_over {
        let message = "this server knows nothing of the history that the device was in: it is another server, or was replaced, or \
                       restored more than once; if the device is to come over and to keep what it had only as rejected, start the \
                       server with --take-over-devices";
        tracing::error!(peer = %request.peer, "a device comes from another history; it was not let in and loses nothing");
        return Err(Refusal::new(Code::HistoryLost, message));
    }
    if (login.confirmed > origin.decided && !is_other) || (known_history && cursor.seq > head) {
        let message = "the server was restored from a backup that is older than what this device has seen; its operator \
                       must decide how to go on, the device loses nothing meanwhile";
        tracing::error!(peer = %request.peer, "a device has seen more of the history than this server holds");
        return Err(Refusal::new(Code::HistoryLost, message));
    }
    let horizon = sync.horizon()?;
    // A copy that left its name at its first login has something confirmed, although no cursor stands for it.
    let has_something = cursor.epoch != 0 || login.catching_up;
    let is_before_horizon = has_something && cursor.seq < horizon;
    if is_before_horizon && !compares {
        let message = "this device was away for longer than the server remembers removals, and cannot compare what it has; \
                       update the app";
        return Err(Refusal::new(Code::HistoryLost, message));
    }
    if login.confirmed < origin.forgotten() && login.confirmed < login.last_number {
        let message = "this device is a copy, or was restored, from so long ago that the server cannot tell any more which of its \
                       unsent writes it has; give it a new directory, they are kept in this one";
        tracing::error!(peer = %request.peer, "a device holds verdicts up to a number that is long forgotten");
        return Err(Refusal::new(Code::IdentityForked, message));
    }
    let mut rebased = None;
    if is_other {
        let claim = Claim { epoch: cursor.epoch, confirmed: login.confirmed, hash: login.confirmed_hash };
        rebased = sync.rebase(request.peer, &claim)?;
        if rebased.is_some() {
            origin = sync.register(request.peer, &login.public_key)?;
            tracing::warn!(peer = %request.peer, known = rebased, now = origin.decided, "a device holds decisions that this server has lost");
        }
    }
    // Of what a catch-up or a compare that was cut off has brought, the cursor says nothing; nor of what lost verdicts told.
    let stands_for_all = !login.catching_up && !login.compare && rebased.is_none();
    let continues = match shared {
        Some(shared) if cursor.seq <= shared && stands_for_all => cursor.epoch,
        _ => 0,
    };
    let same_view = (known_history || continues != 0) && cursor.view == view;
    // What another store wrote under the name after this one had, is none of its business.
    let common = origin.decided.min(login.last_number);
    let refusals = sync.unconfirmed(request.peer, login.confirmed)?.into_iter();
    let refusals = refusals.filter(|(number, _)| *number <= common);
    let compare = compares && (login.compare || (cursor.epoch != 0 && !same_view) || is_before_horizon);
    Ok(LoginAnswer {
        session,
        server_time_ms,
        decided_number: origin.decided,
        decided_hash: origin.hash,
        decided_seq: head,
        refusals: refusals.map(verdict).collect(),
        epoch,
        view,
        catch_up_from: if same_view && !compare { cursor.seq } else { Seq(0) },
        capabilities: granted(login, sync.base_hash()),
        compare,
        continues,
        chain: sync.hashes(request.peer, login.confirmed, common, wire::limits::CHAIN_HASHES_MAX)?,
        rebased,
    })
}

/// Which of a client's capabilities are in force.
fn granted(login: &wire::Login, base_hash: [u8; 32]) -> Vec<String> {
    let names = |name: &str| login.capabilities.iter().any(|offered| offered == name);
    let compares = names(CAPABILITY_COMPARE);
    // What is found by a digest is put right by a compare. Values can be told apart from others only by who reads all of them.
    let probes = compares && names(CAPABILITY_PROBE);
    let values = probes && names(CAPABILITY_PROBE_VALUES) && login.schema.base == base_hash;
    let granted =
        [(CAPABILITY_COMPARE, compares), (CAPABILITY_PROBE, probes), (CAPABILITY_PROBE_VALUES, values)];
    granted.into_iter().filter(|(_, is_granted)| *is_granted).map(|(name, _)| name.to_owned()).collect()
}

fn authenticate(authentication: &Authentication, request: &LoginRequest) -> Result<(), Refusal> {
    match authentication {
        Authentication::None => Ok(()),
        Authentication::SharedSecret(_) if !request.offers_secret() => Err(Refusal::new(
            Code::CredentialsMissing,
            "the server asks for a shared secret; configure the device with it",
        )),
        Authentication::SharedSecret(secret) if !request.verify_secret(secret) => {
            Err(Refusal::new(Code::SecretWrong, "the shared secret of this device is not the server's"))
        }
        Authentication::SharedSecret(_) => Ok(()),
    }
}

/// The key of a view that only the schema narrows: another version of the app sees other properties.
fn view_key(schema: &SchemaHashes) -> u64 {
    let mut digest = Digest::default();
    digest.update(b"reconvene view 1");
    digest.update(&schema.base);
    let hash = digest.finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("a hash has 32 bytes")).max(1)
}

/// A verdict as it travels.
pub(crate) fn verdict((number, verdict): (u64, Verdict)) -> wire::Verdict {
    let lost = |ops: Vec<reconvene_store::LostOp>| -> Vec<wire::LostOp> {
        ops.into_iter()
            .map(|lost| wire::LostOp { op: lost.op, code: Code::ObjectRemoved, generation: lost.generation })
            .collect()
    };
    let outcome = match verdict {
        Verdict::Accepted { seq, lost: ops } => Outcome::Accepted { seq, lost: lost(ops) },
        Verdict::Superseded { lost: ops } => Outcome::Superseded { ops: lost(ops) },
        Verdict::Refused { code, op, message } => {
            Outcome::Refused { code: Code::from_number(code), op, message }
        }
    };
    wire::Verdict { number, outcome }
}
