//! Who a store is, and who it was before it found out that another one goes by its name.
//!
//! An object of a store's own names no origin: its counter is its id, and its origin is whoever the store was when the id was
//! handed out. So what a store keeps of its former names is up to which id of each entity they reach. An object that lies
//! on the wrong side of such a border names its global id, like a foreign one.

use reconvene_model::{EntityId, GlobalId, ObjectId, PeerId, TxNumber};

use crate::error::{Result, StoreError};
use crate::sync::meta::{self, MetaTable};

/// How many former names a store may have: each takes a fork, which a server has to tell of.
pub(crate) const ERAS_MAX: usize = 4_096;

/// The name of a store, and its former ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming {
    peer: PeerId,
    /// The oldest first; what reaches up to an id in one reaches at least as far in the next.
    eras: Vec<Era>,
}

/// The time under one former name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Era {
    pub(crate) peer: PeerId,
    /// How many transactions were issued under the name.
    pub(crate) issued: TxNumber,
    /// Up to which id own objects of an entity belong to this name or an earlier one, ascending by entity.
    pub(crate) upto: Vec<(EntityId, ObjectId)>,
}

impl Era {
    fn upto(&self, entity: EntityId) -> ObjectId {
        self.upto.binary_search_by_key(&entity, |&(of, _)| of).map_or(0, |at| self.upto[at].1)
    }
}

impl Naming {
    /// The naming of a store that has always been `peer`.
    pub(crate) fn new(peer: PeerId) -> Naming {
        Naming { peer, eras: Vec::new() }
    }

    /// The present name.
    #[inline]
    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Whose an object of the store's own is that names no origin.
    #[inline]
    pub(crate) fn origin(&self, entity: EntityId, id: ObjectId) -> PeerId {
        match self.eras.last() {
            Some(last) if id <= last.upto(entity) => {
                let at = self.eras.partition_point(|era| era.upto(entity) < id);
                self.eras.get(at).map_or(self.peer, |era| era.peer)
            }
            _ => self.peer,
        }
    }

    /// The global id of an object of the store's own that names none.
    #[inline]
    pub(crate) fn own(&self, entity: EntityId, id: ObjectId) -> GlobalId {
        GlobalId::new(self.origin(entity, id), id)
    }

    /// Whether this is the global id that an object of the store's own has without naming it.
    #[inline]
    pub(crate) fn is_own(&self, entity: EntityId, gid: GlobalId) -> bool {
        self.origin(entity, gid.counter) == gid.origin
    }

    /// The present name and all former ones.
    pub(crate) fn names(&self) -> impl Iterator<Item = PeerId> + '_ {
        std::iter::once(self.peer).chain(self.eras.iter().map(|era| era.peer))
    }

    /// Whether the store is or was this peer.
    #[inline]
    pub(crate) fn was(&self, peer: PeerId) -> bool {
        peer == self.peer || self.eras.iter().any(|era| era.peer == peer)
    }

    /// How many transactions were issued under all former names: what is added to a number to tell it from theirs.
    pub(crate) fn issued_before(&self) -> TxNumber {
        self.eras.iter().map(|era| era.issued).fold(0, TxNumber::saturating_add)
    }

    /// The naming of this store under another name; `era` is the time that ends with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooManyNames`].
    pub(crate) fn renamed(&self, mut era: Era, peer: PeerId) -> Result<Naming> {
        if self.eras.len() >= ERAS_MAX {
            return Err(StoreError::TooManyNames { max: ERAS_MAX });
        }
        if let Some(last) = self.eras.last() {
            // A border never moves back, not even for an entity that the schema has dropped.
            for &(entity, upto) in &last.upto {
                match era.upto.binary_search_by_key(&entity, |&(of, _)| of) {
                    Ok(at) => era.upto[at].1 = era.upto[at].1.max(upto),
                    Err(at) => era.upto.insert(at, (entity, upto)),
                }
            }
        }
        let mut eras = self.eras.clone();
        eras.push(era);
        Ok(Naming { peer, eras })
    }

    /// The naming that holds in this moment of the store; `known` is that of some other one.
    pub(crate) fn at(tx: &impl MetaTable, known: &Naming) -> Result<Option<Naming>> {
        match meta::eras(tx)? {
            None if known.eras.is_empty() => Ok(None),
            // Before its first other name a store was who it was in its first era.
            None => Ok(known.eras.first().map(|first| Naming::new(first.peer))),
            Some(row) if row.len() == known.row_bytes() => Ok(None),
            Some(row) => Naming::decode(row).map(Some),
        }
    }

    /// Reads the naming of a store whose key is that of `peer`.
    pub(crate) fn load(tx: &impl MetaTable, peer: PeerId) -> Result<Naming> {
        let Some(row) = meta::eras(tx)? else { return Ok(Naming::new(peer)) };
        let naming = Naming::decode(row)?;
        if naming.peer != peer {
            let (named, peer) = (naming.peer, peer);
            return Err(StoreError::damaged("meta", format!("sync/eras is {named}'s, and the key {peer}'s")));
        }
        Ok(naming)
    }

    fn row_bytes(&self) -> usize {
        8 + self.eras.iter().map(|era| 8 + 8 + 4 + 12 * era.upto.len()).sum::<usize>()
    }

    /// As it is stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.row_bytes());
        row.extend_from_slice(&self.peer.0.to_be_bytes());
        for era in &self.eras {
            row.extend_from_slice(&era.peer.0.to_be_bytes());
            row.extend_from_slice(&era.issued.to_be_bytes());
            let count = u32::try_from(era.upto.len()).expect("a model has fewer than 2^32 entities");
            row.extend_from_slice(&count.to_be_bytes());
            for (entity, upto) in &era.upto {
                row.extend_from_slice(&entity.0.to_be_bytes());
                row.extend_from_slice(&upto.to_be_bytes());
            }
        }
        row
    }

    fn decode(row: &[u8]) -> Result<Naming> {
        let mut rest = row;
        let peer = PeerId(u64::from_be_bytes(take(&mut rest)?));
        let mut eras: Vec<Era> = Vec::new();
        while !rest.is_empty() {
            let peer = PeerId(u64::from_be_bytes(take(&mut rest)?));
            let issued = u64::from_be_bytes(take(&mut rest)?);
            let count = u32::from_be_bytes(take(&mut rest)?);
            // Room is taken only for what is there.
            let mut upto = Vec::with_capacity((count as usize).min(rest.len() / 12));
            for _ in 0..count {
                let entity = EntityId(u32::from_be_bytes(take(&mut rest)?));
                upto.push((entity, u64::from_be_bytes(take(&mut rest)?)));
            }
            let is_sorted = upto.is_sorted_by(|one: &(EntityId, ObjectId), next| one.0 < next.0);
            let goes_on = eras.last().is_none_or(|last| {
                let era = |entity| upto.iter().find(|(of, _)| *of == entity).map_or(0, |&(_, upto)| upto);
                last.upto.iter().all(|&(entity, before)| before <= era(entity))
            });
            if !is_sorted || !goes_on {
                return Err(StoreError::damaged("meta", "the borders of sync/eras are out of order"));
            }
            eras.push(Era { peer, issued, upto });
        }
        Ok(Naming { peer, eras })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = rest
        .split_first_chunk()
        .ok_or_else(|| StoreError::damaged("meta", "sync/eras ends in the middle of an era"))?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: EntityId = EntityId(1);
    const TOWN: EntityId = EntityId(2);

    fn era(peer: u64, issued: u64, upto: &[(EntityId, u64)]) -> Era {
        Era { peer: PeerId(peer), issued, upto: upto.to_vec() }
    }

    fn thrice() -> Naming {
        let first = Naming::new(PeerId(7));
        let second = first.renamed(era(7, 10, &[(SHOP, 5)]), PeerId(8)).unwrap();
        second.renamed(era(8, 3, &[(SHOP, 4), (TOWN, 2)]), PeerId(9)).unwrap()
    }

    #[test]
    fn an_id_is_of_the_name_under_which_it_was_handed_out() {
        let naming = thrice();
        let origin = |entity, id| naming.origin(entity, id).0;
        assert_eq!([1, 5, 6].map(|id| origin(SHOP, id)), [7, 7, 9], "a border never moves back");
        assert_eq!([1, 2, 3].map(|id| origin(TOWN, id)), [8, 8, 9]);
        assert_eq!(origin(EntityId(3), 1), 9);
        assert!(naming.is_own(SHOP, GlobalId::new(PeerId(7), 5)));
        assert!(!naming.is_own(SHOP, GlobalId::new(PeerId(7), 6)));
        assert!([7, 8, 9].iter().all(|&peer| naming.was(PeerId(peer))) && !naming.was(PeerId(6)));
        assert_eq!(naming.issued_before(), 13);
    }

    #[test]
    fn names_read_back_and_damage_is_found() {
        let naming = thrice();
        let row = naming.encode();
        assert_eq!(row.len(), naming.row_bytes());
        assert_eq!(Naming::decode(&row).unwrap(), naming);
        assert!(Naming::decode(&row[..row.len() - 1]).is_err());
        assert!(Naming::decode(&[]).is_err());
        let mut back = naming.clone();
        back.eras.swap(0, 1);
        assert!(Naming::decode(&back.encode()).is_err());
    }

    #[test]
    fn names_have_an_end() {
        let mut naming = Naming::new(PeerId(1));
        for next in 0..ERAS_MAX as u64 {
            naming = naming.renamed(era(next + 1, 1, &[]), PeerId(next + 2)).unwrap();
        }
        assert!(matches!(naming.renamed(era(1, 1, &[]), PeerId(1)), Err(StoreError::TooManyNames { .. })));
    }
}
