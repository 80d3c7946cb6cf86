//! The smallest store of a device that keeps the laws.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use reconvene_model::change::{TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::{PeerId, Seq, TxHash, TxNumber};
use reconvene_protocol::{ClientLogin, Code, Credential, Cursor, Outcome, SchemaHashes, Secret, Verdict};

use crate::support::{BIG_ROWS, ROW_BYTES, SECRET};

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
            compare: false,
            confirmed_hash: self.hashes[&self.durable],
            catching_up: false,
            resume: Bytes::new(),
        }
    }

    pub(crate) fn settle(&mut self, verdict: &Verdict) {
        assert!(verdict.number > self.durable, "verdict {} came twice", verdict.number);
        let code = match &verdict.outcome {
            Outcome::Accepted { lost, .. } => lost.first().map(|lost| lost.code),
            Outcome::Refused { code, .. } => Some(*code),
            Outcome::Superseded { ops } => Some(ops[0].code),
        };
        self.rejected.extend(code.map(|code| (verdict.number, code)));
        self.outbox.remove(&verdict.number).expect("a verdict is on a transaction of the outbox");
    }

    pub(crate) fn apply(&mut self, seq: Seq) {
        assert!(self.seen.insert(seq), "Seq {seq} was applied twice");
    }

    /// Takes the objects of a chunk; those of a Seq that a cut left incomplete come again.
    pub(crate) fn take_states(&mut self, states: &[u8]) {
        for row in states.chunks(ROW_BYTES) {
            let (seq, object) = row.split_at(ROW_BYTES / 2);
            let seq = Seq(u64::from_le_bytes(seq.try_into().unwrap()));
            assert!(seq > self.cursor.seq, "an object of Seq {seq} came after the Seq was complete");
            self.partial.entry(seq).or_default().insert(u64::from_le_bytes(object.try_into().unwrap()));
        }
    }

    /// Everything up to here is complete.
    pub(crate) fn complete(&mut self, upto: Seq) {
        let later = self.partial.split_off(&Seq(upto.0 + 1));
        for (seq, objects) in std::mem::replace(&mut self.partial, later) {
            assert!(objects.len() == 1 || objects.len() as u64 == BIG_ROWS, "Seq {seq} is not complete");
            self.apply(seq);
            self.caught_up += 1;
        }
        self.cursor.seq = upto;
    }
}
