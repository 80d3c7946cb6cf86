//! Messages as values to and from the generated wire types, which no other module sees.
//!
//! Writing cannot fail. Reading checks the length and range of every field, so that a value of a message type that came from
//! a peer keeps the promises of its documentation.

use bytes::Bytes;
use reconvene_model::compare::{Slice, SliceOutcome};
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};

use crate::code::Code;
use crate::compare::{decode_ranges, encode_ranges};
use crate::frame::MessageError;
use crate::generated::envelope::Kind;
use crate::generated::{self as wire, credential, pushed_tx, verdict};
use crate::limits::{
    CAPABILITIES_MAX, CAPABILITY_BYTES_MAX, CHAIN_HASHES_MAX, Limits, NUMBER_MAX, RESUME_BYTES_MAX,
    TEXT_BYTES_MAX, VERSIONS_MAX,
};
use crate::login::CredentialProof;
use crate::message::{
    CompareBegun, Cursor, Hello, Login, LoginAccepted, LostOp, Message, Outcome, PushedContent, PushedTx,
    SchemaHashes, Verdict,
};

type Result<T> = std::result::Result<T, MessageError>;

pub(crate) fn to_wire(message: &Message) -> Kind {
    match message {
        Message::Hello(hello) => Kind::Hello(wire::Hello {
            versions: hello.versions.clone(),
            nonce: copy(&hello.nonce),
            server_time_ms: hello.server_time_ms,
        }),
        Message::Login(login) => Kind::Login(login_to_wire(login)),
        Message::LoginAccepted(accepted) => Kind::LoginAccepted(accepted_to_wire(accepted)),
        Message::LoginRefused { code, message } => {
            Kind::LoginRefused(wire::LoginRefused { code: code.number(), message: cut(message).into() })
        }
        Message::Upload(txs) => Kind::Upload(wire::Upload { txs: txs.clone() }),
        Message::Verdicts(verdicts) => {
            Kind::Verdicts(wire::Verdicts { verdicts: verdicts.iter().map(verdict_to_wire).collect() })
        }
        Message::Confirm(number) => Kind::Confirm(wire::Confirm { number: *number }),
        Message::CatchUp { states, upto_seq, resume } => Kind::CatchUp(wire::CatchUp {
            states: states.clone(),
            upto_seq: upto_seq.0,
            resume: resume.clone(),
        }),
        Message::CatchUpDone(seq) => Kind::CatchUpDone(wire::CatchUpDone { seq: seq.0 }),
        Message::Push(txs) => Kind::Push(wire::Push { txs: txs.iter().map(pushed_to_wire).collect() }),
        Message::Ping(token) => Kind::Ping(wire::Ping { token: *token }),
        Message::Pong(token) => Kind::Pong(wire::Pong { token: *token }),
        Message::Bye { code, reason } => {
            Kind::Bye(wire::Bye { code: code.number(), reason: cut(reason).into() })
        }
        Message::Compare(ranges) => Kind::Compare(wire::Compare { ranges: ranges.clone() }),
        Message::Compared { begun, answers } => Kind::Compared(wire::Compared {
            begun: begun.map(|begun| wire::CompareBegun { seq: begun.seq.0, salt: copy(&begun.salt) }),
            answers: answers.clone(),
        }),
        Message::Fetch(ranges) => Kind::Fetch(wire::Fetch { ranges: ranges.clone() }),
        Message::Fetched { states, last } => {
            Kind::Fetched(wire::Fetched { states: states.clone(), last: *last })
        }
        Message::CompareDone => Kind::CompareDone(wire::CompareDone {}),
        Message::Probe(slice) => Kind::Probe(wire::Probe {
            seq: slice.seq.0,
            range: encode_ranges(&[slice.range]).into(),
            objects: slice.objects,
            hash: copy(&slice.hash),
            values: slice.values,
        }),
        Message::Probed(outcome) => Kind::Probed(wire::Probed { outcome: *outcome as u32 }),
    }
}

pub(crate) fn from_wire(kind: Kind) -> Result<Message> {
    Ok(match kind {
        Kind::Hello(hello) => Message::Hello(Hello {
            versions: list(hello.versions, VERSIONS_MAX, "protocol versions")?,
            nonce: array(&hello.nonce, "nonce of Hello")?,
            server_time_ms: number(hello.server_time_ms, "server_time_ms of Hello")?,
        }),
        Kind::Login(login) => Message::Login(Box::new(login_from_wire(login)?)),
        Kind::LoginAccepted(accepted) => Message::LoginAccepted(Box::new(accepted_from_wire(accepted)?)),
        Kind::LoginRefused(refused) => Message::LoginRefused {
            code: Code::from_number(refused.code),
            message: cut(&refused.message).into(),
        },
        Kind::Upload(upload) if upload.txs.is_empty() => {
            return Err(MessageError::Invalid { what: "txs of Upload" });
        }
        Kind::Upload(upload) => Message::Upload(upload.txs),
        Kind::Verdicts(verdicts) => Message::Verdicts(verdicts_from_wire(verdicts.verdicts)?),
        Kind::Confirm(confirm) => Message::Confirm(tx_number(confirm.number, "number of Confirm")?),
        Kind::CatchUp(chunk) => Message::CatchUp {
            states: chunk.states,
            upto_seq: Seq(number(chunk.upto_seq, "upto_seq of CatchUp")?),
            resume: resume(chunk.resume, "resume of CatchUp")?,
        },
        Kind::CatchUpDone(done) => Message::CatchUpDone(Seq(number(done.seq, "seq of CatchUpDone")?)),
        Kind::Push(push) => {
            Message::Push(push.txs.into_iter().map(pushed_from_wire).collect::<Result<Vec<_>>>()?)
        }
        Kind::Ping(ping) => Message::Ping(ping.token),
        Kind::Pong(pong) => Message::Pong(pong.token),
        Kind::Bye(bye) => Message::Bye { code: Code::from_number(bye.code), reason: cut(&bye.reason).into() },
        Kind::Compare(compare) => Message::Compare(compare.ranges),
        Kind::Compared(compared) => Message::Compared {
            begun: compared.begun.map(begun_from_wire).transpose()?,
            answers: compared.answers,
        },
        Kind::Fetch(fetch) => Message::Fetch(fetch.ranges),
        Kind::Fetched(fetched) => Message::Fetched { states: fetched.states, last: fetched.last },
        Kind::CompareDone(wire::CompareDone {}) => Message::CompareDone,
        Kind::Probe(probe) => Message::Probe(probe_from_wire(&probe)?),
        Kind::Probed(probed) => Message::Probed(match probed.outcome {
            0 => SliceOutcome::Same,
            1 => SliceOutcome::Unknown,
            2 => SliceOutcome::Differs,
            _ => return Err(MessageError::Invalid { what: "outcome of Probed" }),
        }),
    })
}

fn probe_from_wire(probe: &wire::Probe) -> Result<Slice> {
    let ranges = decode_ranges(&probe.range).unwrap_or_default();
    let &[range] = &ranges[..] else { return Err(MessageError::Invalid { what: "range of Probe" }) };
    Ok(Slice {
        seq: Seq(number(probe.seq, "seq of Probe")?),
        range,
        objects: probe.objects,
        hash: array(&probe.hash, "hash of Probe")?,
        values: probe.values,
    })
}

fn begun_from_wire(begun: wire::CompareBegun) -> Result<CompareBegun> {
    Ok(CompareBegun {
        seq: Seq(number(begun.seq, "seq of CompareBegun")?),
        salt: array(&begun.salt, "salt of CompareBegun")?,
    })
}

fn login_to_wire(login: &Login) -> wire::Login {
    wire::Login {
        version: login.version,
        public_key: copy(&login.public_key),
        signature: copy(&login.signature),
        credentials: login.credentials.iter().map(credential_to_wire).collect(),
        schema_base_hash: copy(&login.schema.base),
        schema_full_hash: copy(&login.schema.full),
        cursor: Some(wire::Cursor {
            epoch: login.cursor.epoch,
            view: login.cursor.view,
            seq: login.cursor.seq.0,
        }),
        last_number: login.last_number,
        last_hash: copy(&login.last_hash.0),
        confirmed: login.confirmed,
        capabilities: login.capabilities.clone(),
        compare: login.compare,
        confirmed_hash: match login.confirmed_hash == TxHash::NONE {
            true => Bytes::new(),
            false => copy(&login.confirmed_hash.0),
        },
        catching_up: login.catching_up,
        resume: login.resume.clone(),
    }
}

fn login_from_wire(login: wire::Login) -> Result<Login> {
    let cursor = login.cursor.unwrap_or_default();
    let last_number = number(login.last_number, "last_number of Login")?;
    if login.confirmed > last_number {
        return Err(MessageError::Invalid { what: "confirmed of Login" });
    }
    Ok(Login {
        version: login.version,
        public_key: array(&login.public_key, "public_key of Login")?,
        signature: array(&login.signature, "signature of Login")?,
        credentials: login.credentials.into_iter().map(credential_from_wire).collect::<Result<_>>()?,
        schema: SchemaHashes {
            base: array(&login.schema_base_hash, "schema_base_hash of Login")?,
            full: array(&login.schema_full_hash, "schema_full_hash of Login")?,
        },
        cursor: Cursor {
            epoch: cursor.epoch,
            view: cursor.view,
            seq: Seq(number(cursor.seq, "seq of a cursor")?),
        },
        last_number,
        last_hash: TxHash(array(&login.last_hash, "last_hash of Login")?),
        confirmed: login.confirmed,
        confirmed_hash: match login.confirmed_hash.is_empty() {
            true => TxHash::NONE,
            false => TxHash(array(&login.confirmed_hash, "confirmed_hash of Login")?),
        },
        capabilities: capabilities(login.capabilities)?,
        compare: login.compare,
        catching_up: login.catching_up,
        resume: resume(login.resume, "resume of Login")?,
    })
}

fn credential_to_wire(proof: &CredentialProof) -> wire::Credential {
    let kind = match proof {
        CredentialProof::None => Some(credential::Kind::None(wire::NoCredential {})),
        CredentialProof::SharedSecret(proof) => {
            Some(credential::Kind::SharedSecret(wire::SharedSecretProof { proof: copy(proof) }))
        }
        CredentialProof::Unknown => None,
    };
    wire::Credential { kind }
}

fn credential_from_wire(credential: wire::Credential) -> Result<CredentialProof> {
    Ok(match credential.kind {
        Some(credential::Kind::None(wire::NoCredential {})) => CredentialProof::None,
        Some(credential::Kind::SharedSecret(secret)) => {
            CredentialProof::SharedSecret(array(&secret.proof, "proof of a shared secret")?)
        }
        None => CredentialProof::Unknown,
    })
}

fn accepted_to_wire(accepted: &LoginAccepted) -> wire::LoginAccepted {
    wire::LoginAccepted {
        session: accepted.session,
        server_time_ms: accepted.server_time_ms,
        decided_number: accepted.decided_number,
        decided_hash: copy(&accepted.decided_hash.0),
        decided_seq: accepted.decided_seq.0,
        refusals: accepted.refusals.iter().map(verdict_to_wire).collect(),
        epoch: accepted.epoch,
        view: accepted.view,
        catch_up_from: accepted.catch_up_from.0,
        limits: Some(wire::Limits {
            message_bytes_max: accepted.limits.message_bytes_max as u64,
            upload_window_txs: accepted.limits.upload_window_txs as u64,
            upload_window_bytes: accepted.limits.upload_window_bytes as u64,
        }),
        heartbeat_ms: accepted.heartbeat_ms,
        capabilities: accepted.capabilities.clone(),
        compare: accepted.compare,
        continues: accepted.continues,
        chain: accepted.chain.iter().flat_map(|hash| hash.0).collect(),
        rebased: accepted.rebased.map(|known| wire::Rebased { known }),
    }
}

fn accepted_from_wire(accepted: wire::LoginAccepted) -> Result<LoginAccepted> {
    let limits = accepted.limits.ok_or(MessageError::Invalid { what: "limits of LoginAccepted" })?;
    if accepted.epoch == 0 {
        return Err(MessageError::Invalid { what: "epoch of LoginAccepted" });
    }
    Ok(LoginAccepted {
        session: accepted.session,
        server_time_ms: number(accepted.server_time_ms, "server_time_ms of LoginAccepted")?,
        decided_number: number(accepted.decided_number, "decided_number of LoginAccepted")?,
        decided_hash: TxHash(array(&accepted.decided_hash, "decided_hash of LoginAccepted")?),
        decided_seq: Seq(number(accepted.decided_seq, "decided_seq of LoginAccepted")?),
        refusals: accepted.refusals.into_iter().map(verdict_from_wire).collect::<Result<_>>()?,
        epoch: accepted.epoch,
        view: accepted.view,
        catch_up_from: Seq(number(accepted.catch_up_from, "catch_up_from of LoginAccepted")?),
        limits: Limits {
            message_bytes_max: limit(limits.message_bytes_max, "message_bytes_max of a limit")?,
            upload_window_txs: limit(limits.upload_window_txs, "upload_window_txs of a limit")?,
            upload_window_bytes: limit(limits.upload_window_bytes, "upload_window_bytes of a limit")?,
        },
        heartbeat_ms: tx_number(accepted.heartbeat_ms, "heartbeat_ms of LoginAccepted")?,
        capabilities: capabilities(accepted.capabilities)?,
        compare: accepted.compare,
        continues: accepted.continues,
        chain: chain_from_wire(&accepted.chain)?,
        rebased: accepted.rebased.map(|rebased| number(rebased.known, "known of Rebased")).transpose()?,
    })
}

fn chain_from_wire(chain: &[u8]) -> Result<Vec<TxHash>> {
    let (hashes, rest) = chain.as_chunks();
    if !rest.is_empty() || hashes.len() > CHAIN_HASHES_MAX {
        return Err(MessageError::Invalid { what: "chain of LoginAccepted" });
    }
    Ok(hashes.iter().map(|&hash| TxHash(hash)).collect())
}

fn verdict_to_wire(verdict: &Verdict) -> wire::Verdict {
    let lost = |ops: &[LostOp]| ops.iter().map(lost_to_wire).collect();
    let outcome = match &verdict.outcome {
        Outcome::Accepted { seq, lost: ops } => {
            verdict::Outcome::Accepted(wire::Accepted { seq: seq.0, lost: lost(ops) })
        }
        Outcome::Refused { code, op, message } => verdict::Outcome::Refused(wire::TxRefused {
            code: code.number(),
            op: *op,
            message: cut(message).into(),
        }),
        Outcome::Superseded { ops } => verdict::Outcome::Superseded(wire::Superseded { ops: lost(ops) }),
    };
    wire::Verdict { number: verdict.number, outcome: Some(outcome) }
}

fn verdicts_from_wire(verdicts: Vec<wire::Verdict>) -> Result<Vec<Verdict>> {
    if verdicts.is_empty() {
        return Err(MessageError::Invalid { what: "verdicts of Verdicts" });
    }
    verdicts.into_iter().map(verdict_from_wire).collect()
}

fn verdict_from_wire(verdict: wire::Verdict) -> Result<Verdict> {
    let lost = |ops: Vec<wire::LostOp>| ops.into_iter().map(lost_from_wire).collect();
    let outcome = match verdict.outcome.ok_or(MessageError::Invalid { what: "outcome of a verdict" })? {
        verdict::Outcome::Accepted(accepted) => {
            Outcome::Accepted { seq: seq(accepted.seq, "seq of a verdict")?, lost: lost(accepted.lost) }
        }
        verdict::Outcome::Refused(refused) => Outcome::Refused {
            code: Code::from_number(refused.code),
            op: refused.op,
            message: cut(&refused.message).into(),
        },
        verdict::Outcome::Superseded(superseded) => Outcome::Superseded { ops: lost(superseded.ops) },
    };
    Ok(Verdict { number: tx_number(verdict.number, "number of a verdict")?, outcome })
}

fn lost_to_wire(lost: &LostOp) -> wire::LostOp {
    wire::LostOp { op: lost.op, code: lost.code.number(), generation: lost.generation }
}

fn lost_from_wire(lost: wire::LostOp) -> LostOp {
    LostOp { op: lost.op, code: Code::from_number(lost.code), generation: lost.generation }
}

fn pushed_to_wire(tx: &PushedTx) -> wire::PushedTx {
    let content = match &tx.content {
        PushedContent::Own { number } => pushed_tx::Content::Own(wire::OwnTx { number: *number }),
        PushedContent::Whole { origin, number, hlc, ops } => pushed_tx::Content::Whole(wire::WholeTx {
            origin: origin.0,
            number: *number,
            hlc: *hlc,
            ops: ops.clone(),
        }),
    };
    wire::PushedTx { seq: tx.seq.0, content: Some(content) }
}

fn pushed_from_wire(tx: wire::PushedTx) -> Result<PushedTx> {
    let content = match tx.content.ok_or(MessageError::Invalid { what: "content of a pushed transaction" })? {
        pushed_tx::Content::Own(own) => {
            PushedContent::Own { number: tx_number(own.number, "number of a pushed transaction")? }
        }
        pushed_tx::Content::Whole(whole) if whole.origin == PeerId::SHARED.0 => {
            return Err(MessageError::Invalid { what: "origin of a pushed transaction" });
        }
        pushed_tx::Content::Whole(whole) => PushedContent::Whole {
            origin: PeerId(whole.origin),
            number: tx_number(whole.number, "number of a pushed transaction")?,
            hlc: whole.hlc,
            ops: whole.ops,
        },
    };
    Ok(PushedTx { seq: seq(tx.seq, "seq of a pushed transaction")?, content })
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// The text, cut between characters to at most [`TEXT_BYTES_MAX`].
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| MessageError::Invalid { what })
}

/// Where a catch-up goes on, which only its server reads.
fn resume(bytes: Bytes, what: &'static str) -> Result<Bytes> {
    if bytes.len() > RESUME_BYTES_MAX { Err(MessageError::Invalid { what }) } else { Ok(bytes) }
}

fn number(value: u64, what: &'static str) -> Result<u64> {
    if value > NUMBER_MAX { Err(MessageError::Invalid { what }) } else { Ok(value) }
}

fn tx_number(value: u64, what: &'static str) -> Result<TxNumber> {
    if value == 0 { Err(MessageError::Invalid { what }) } else { number(value, what) }
}

fn seq(value: u64, what: &'static str) -> Result<Seq> {
    tx_number(value, what).map(Seq)
}

fn limit(value: u64, what: &'static str) -> Result<usize> {
    if value == 0 {
        return Err(MessageError::Invalid { what });
    }
    // A limit beyond what this machine can address is as good as none.
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}

fn list<T>(items: Vec<T>, max: usize, what: &'static str) -> Result<Vec<T>> {
    if items.len() > max { Err(MessageError::TooMany { what, max }) } else { Ok(items) }
}

fn capabilities(names: Vec<String>) -> Result<Vec<String>> {
    if names.iter().any(|name| name.is_empty() || name.len() > CAPABILITY_BYTES_MAX) {
        return Err(MessageError::Invalid { what: "a capability" });
    }
    list(names, CAPABILITIES_MAX, "capabilities")
}
