//! The content hash, computed from a history of transactions by the merge laws alone.

use std::collections::BTreeMap;

use reconvene_model::change::OpsReader;
use reconvene_model::digest::Digest;
use reconvene_model::merge::merge_op;
use reconvene_model::state::ObjectState;
use reconvene_model::{GlobalId, Stamp, Uid};
use reconvene_store::{PushedTx, Store};

/// The hash that every store must have which holds this history and nothing else.
pub(crate) fn of_history(store: &Store, history: &[PushedTx]) -> [u8; 32] {
    let mut objects: BTreeMap<(Uid, GlobalId), ObjectState<'_>> = BTreeMap::new();
    for tx in history {
        for op in OpsReader::new(tx.origin, &tx.ops).unwrap() {
            let op = op.unwrap();
            merge_op(objects.entry((op.entity, op.gid)).or_default(), &op, Stamp::new(tx.hlc, tx.origin));
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
