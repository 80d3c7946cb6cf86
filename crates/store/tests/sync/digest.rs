//! The content hash, computed from a history of transactions by the merge laws alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use reconvene_model::change::OpsReader;
use reconvene_model::digest::Digest;
use reconvene_model::merge::merge_op;
use reconvene_model::ranking::Ranking;
use reconvene_model::state::ObjectState;
use reconvene_model::{GlobalId, Stamp, Uid};
use reconvene_store::{PushedTx, Store};

/// The hash that every store must have which holds this history and nothing else.
pub(crate) fn of_history(store: &Store, history: &[PushedTx]) -> [u8; 32] {
    let mut objects: BTreeMap<(Uid, GlobalId), ObjectState<'_>> = BTreeMap::new();
    for tx in history {
        for op in OpsReader::new(tx.origin, &tx.ops).unwrap() {
            let op = op.unwrap();
            let schema = store.schema();
            let entity = schema.entity_by_uid(op.entity).unwrap();
            let stamp = Stamp::new(tx.hlc, tx.origin);
            let stamp = Ranking::of(entity).stamp(stamp, &op.cells, Some(tx.seq));
            let state = objects.entry((op.entity, op.gid)).or_default();
            merge_op(state, &op, stamp);
            // A visible clock shows the stamp, whatever its author sent.
            let clock = entity.clock_property().map(|clock| clock.uid);
            for register in state.registers.iter_mut().filter(|register| Some(register.uid) == clock) {
                register.cell = Some(Cow::Owned(register.stamp.hlc.to_le_bytes().to_vec()));
            }
        }
    }
    let mut digest = Digest::default();
    let mut uids: Vec<Uid> = store.schema().entities().iter().map(|entity| entity.uid).collect();
    uids.sort();
    for uid in uids {
        let of_entity = objects.iter().filter(|((entity, _), state)| *entity == uid && state.exists);
        let of_entity: Vec<_> = of_entity.collect();
        digest.update(&uid.0.to_le_bytes());
        digest.update(&(of_entity.len() as u64).to_le_bytes());
        for ((_, gid), state) in of_entity {
            digest.update(&gid.to_bytes());
            digest.update(&state.generation.to_le_bytes());
            for register in &state.registers {
                digest.update(&register.uid.0.to_le_bytes());
                digest.update(&[register.ty]);
                if register.stamp.rank != 0 {
                    digest.update(&register.stamp.rank.to_le_bytes());
                }
                digest.update(&register.stamp.hlc.to_le_bytes());
                digest.update(&register.stamp.peer.0.to_le_bytes());
                let cell = register.cell.as_deref();
                digest.update(&cell.map_or(0, |cell| cell.len() as u64 + 1).to_le_bytes());
                digest.update(cell.unwrap_or_default());
            }
        }
    }
    digest.finalize()
}
