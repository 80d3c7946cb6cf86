//! A hash over everything that peers must agree on, in an order that does not depend on local ids.

use reconvene_model::GlobalId;

use crate::error::Result;
use crate::seam::{Direction, Reader};
use crate::sync::SyncState;
use crate::sync::convert::{self, CatalogLookup};
use crate::sync::global_ids;

/// The BLAKE3 hash over all existing objects of all synced entities, entities in order of uid, objects in order of global
/// id: global id, generation, and for each property that was ever written its uid, type, stamp with its rank if that is not 0, and value.
pub(crate) fn content_hash<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    sync: &SyncState,
) -> Result<[u8; 32]> {
    let mut entities: Vec<_> = tx.catalog().entities().filter(|entity| entity.def.is_synced()).collect();
    entities.sort_by_key(|entity| entity.def.uid);
    let mut hasher = Hasher::default();
    for entity in entities {
        let columns = sync.entity(entity.def.id)?;
        let mut objects: Vec<(GlobalId, u64)> = Vec::new();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        for row in reader.range(entity.objects, everything, Direction::Forward)? {
            let (key, _) = row?;
            let id = crate::keys::object_id(key)?;
            objects.push((global_ids::global(tx, entity, id)?, id));
        }
        objects.sort_unstable();
        hasher.number(entity.def.uid.0);
        hasher.number(objects.len() as u64);
        for (gid, id) in objects {
            let Some(record) = reader.get(entity.objects, &crate::keys::object_key(id))? else { continue };
            let (state, _) = convert::state_of_record(tx, columns, record)?;
            hasher.bytes(&gid.to_bytes());
            hasher.number(state.generation);
            for register in &state.registers {
                hasher.number(register.uid.0);
                hasher.bytes(&[register.ty]);
                if register.stamp.rank != 0 {
                    hasher.number(register.stamp.rank);
                }
                hasher.number(register.stamp.hlc);
                hasher.number(register.stamp.peer.0);
                match &register.cell {
                    Some(cell) => {
                        hasher.number(cell.len() as u64 + 1);
                        hasher.bytes(cell);
                    }
                    None => hasher.number(0),
                }
            }
        }
    }
    Ok(hasher.0.finalize())
}

#[derive(Default)]
struct Hasher(reconvene_model::digest::Digest);

impl Hasher {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }
}
