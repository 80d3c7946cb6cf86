//! How far this store has heard of other peers' objects, so that new ones need no search.

use reconvene_model::{EntityId, GlobalId, PeerId};

/// How many pairs of entity and origin a transaction remembers.
const HEARD_MAX: usize = 64;

/// Per entity and origin, the largest counter that has a local id; objects beyond it are unheard of.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The pair that was asked for last comes first: objects mostly come in the order in which their origin made them.
    largest: Vec<(EntityId, PeerId, u64)>,
}

impl Heard {
    /// The largest counter, if it is remembered.
    #[inline]
    pub(crate) fn largest(&mut self, entity: EntityId, origin: PeerId) -> Option<u64> {
        let at = self.largest.iter().position(|&(of, peer, _)| (of, peer) == (entity, origin))?;
        self.largest.swap(0, at);
        Some(self.largest[0].2)
    }

    /// Remembers the largest counter.
    pub(crate) fn remember(&mut self, entity: EntityId, origin: PeerId, counter: u64) {
        if self.largest.len() == HEARD_MAX {
            self.largest.pop();
        }
        self.largest.insert(0, (entity, origin, counter));
    }

    /// Notes that an object was given a local id.
    #[inline]
    pub(crate) fn assigned(&mut self, entity: EntityId, gid: GlobalId) {
        for (of, origin, largest) in &mut self.largest {
            if (*of, *origin) == (entity, gid.origin) {
                *largest = gid.counter.max(*largest);
            }
        }
    }
}
