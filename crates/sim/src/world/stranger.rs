//! A peer of his own making: what he uploads is well formed, and says what no device of ours would say.

use bytes::Bytes;
use reconvene_model::change::{Op, OpKind, OpsWriter, TxHead, encode_tx};
use reconvene_model::identity::PeerKey;
use reconvene_model::{GlobalId, PeerId, PropertyType, TxHash, Uid};
use reconvene_server::committing::Upload;

use super::{ConnId, START_MS, World};
use crate::audit::truth::Key;
use crate::chance::Chance;
use crate::finding::{Finding, Outcome};
use crate::schema::{BIRTH, Kind};

/// Nobody waits for his verdicts.
const NOBODY: ConnId = ConnId::MAX;

/// The most ops of one of his transactions.
const OPS_MAX: u64 = 5;

impl World {
    /// Uploads a transaction that is made up from these dice.
    pub(super) fn stranger(&mut self, dice: u64) -> Outcome<()> {
        if !self.server.is_up() {
            return Ok(());
        }
        self.coverage.fault("peer: says what no device would say");
        let mut chance = Chance::new(dice);
        let key = PeerKey::from_secret([200; 32]);
        let peer = key.peer();
        let failed = |error| Finding::new("store readable", format!("the server: {error}"));
        self.server.store()?.sync().register(peer, &key.public()).map_err(failed)?;
        let mut ops = OpsWriter::new(peer);
        for _ in 0..=chance.below(OPS_MAX) {
            self.odd_op(&mut chance, peer, &mut ops);
        }
        let ops = ops.finish();
        let last = self.truth.decided(peer).last();
        let mut head = TxHead {
            origin: peer,
            number: last.map_or(1, |last| last.tx.number + 1),
            previous: last.map_or(TxHash::NONE, |last| last.tx.hash),
            hlc: (START_MS + self.now - chance.below(5_000).min(self.now)) << 16 | chance.below(16),
        };
        match chance.below(12) {
            0 => head.previous = TxHash([7; 16]),
            1 => head.number += 1,
            2 => head.origin = self.devices[0].audit.peer,
            3 => head.hlc += 100_000 << 16,
            4 => head.number = head.number.saturating_sub(1).max(1),
            _ => {}
        }
        let mut bytes = encode_tx(&head, &ops);
        if chance.percent(8) {
            bytes.truncate(chance.index(bytes.len()));
        }
        self.server.uploads.push(Upload { peer, txs: vec![Bytes::from(bytes)], reply: NOBODY });
        self.plan_commit();
        Ok(())
    }

    fn odd_op(&mut self, chance: &mut Chance, peer: PeerId, ops: &mut OpsWriter) {
        let known: Vec<Key> = self.truth.keys().collect();
        let kind = Kind::ALL[chance.index(Kind::ALL.len())];
        let key = match chance.below(4) {
            0 if kind.has_shared_ids() => {
                Key { kind, gid: GlobalId::new(PeerId::SHARED, 1 + chance.below(6)) }
            }
            0 => Key { kind, gid: GlobalId::new(peer, 1 + chance.below(9)) },
            _ if known.is_empty() => Key { kind, gid: GlobalId::new(peer, 1) },
            1 => Key { kind, gid: GlobalId::new(self.devices[0].audit.peer, 1 + chance.below(300)) },
            _ => known[chance.index(known.len())],
        };
        let generation = self.truth.newest(key).map_or(0, |state| state.generation);
        let generation = match chance.below(8) {
            0 => generation + 1,
            1 => generation.saturating_sub(1),
            _ => generation,
        };
        let op_kind = chance.weighted(&[(3, OpKind::Insert), (4, OpKind::Update), (1, OpKind::Remove)]);
        let mut op = Op::new(key.kind.uid(), key.gid, generation, op_kind);
        let mut numbers: Vec<(u64, PropertyType, Vec<u8>)> = Vec::new();
        for property in key.kind.properties() {
            let uid = self.uids.of(key.kind, property.name);
            let is_birth = property.name == BIRTH;
            if op_kind == OpKind::Remove || (op_kind == OpKind::Update && (is_birth || chance.percent(60))) {
                continue;
            }
            let bytes = match property.ty {
                PropertyType::String => format!("code {}", chance.below(5)).into_bytes(),
                PropertyType::Relation => self.odd_link(chance).to_bytes().to_vec(),
                PropertyType::Int => (chance.below(6) as i32 - 2).to_le_bytes().to_vec(),
                _ => {
                    self.last_value += 1;
                    if is_birth {
                        self.births.insert(self.last_value, key);
                    }
                    self.last_value.to_le_bytes().to_vec()
                }
            };
            numbers.push((uid, property.ty, bytes));
        }
        for (uid, ty, bytes) in &numbers {
            op.cells.push(reconvene_model::change::Cell::new(Uid(*uid), *ty, Some(bytes)));
        }
        ops.push(&op);
    }

    /// A link to a folder that may be anywhere, or nowhere.
    fn odd_link(&self, chance: &mut Chance) -> GlobalId {
        let folders: Vec<Key> = self.truth.keys().filter(|key| key.kind == Kind::Folder).collect();
        match chance.below(3) {
            0 if !folders.is_empty() => folders[chance.index(folders.len())].gid,
            1 => {
                GlobalId::new(self.devices[chance.index(self.devices.len())].audit.peer, 1 + chance.below(20))
            }
            _ => GlobalId::new(PeerId(77), 1 + chance.below(20)),
        }
    }
}
