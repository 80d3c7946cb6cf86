//! What the conflict policy of an entity puts above time when two writes meet.
//!
//! A policy never changes how states merge: it only gives the stamp of a write its rank, and the larger stamp wins. So all
//! policies are commutative, associative and idempotent for the same reason.

use crate::change::Cell;
use crate::ids::{Seq, Uid};
use crate::schema::{EntityDef, PropertyDef};
use crate::stamp::Stamp;
use crate::types::{ConflictPolicy, PropertyType};

/// The rank of a write that has no place in the history yet, under [`ConflictPolicy::Arrival`]: above all places.
pub const UNDECIDED: u64 = u64::MAX;

/// How the writes to an entity are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// Not at all: the later write wins.
    Time,
    /// By the precedence that the write itself brings in this property.
    Precedence {
        /// The property.
        uid: Uid,
        /// Its type.
        ty: PropertyType,
        /// Whether its numbers are unsigned.
        unsigned: bool,
    },
    /// By the place in the server's history.
    Arrival,
}

impl Ranking {
    /// The ranking of an entity.
    pub fn of(entity: &EntityDef) -> Self {
        match entity.conflict {
            ConflictPolicy::Property | ConflictPolicy::Object => Ranking::Time,
            ConflictPolicy::Arrival => Ranking::Arrival,
            ConflictPolicy::Precedence => entity.precedence_property().map_or(Ranking::Time, |property| {
                Ranking::Precedence { uid: property.uid, ty: property.ty, unsigned: property.is_unsigned() }
            }),
        }
    }

    /// The stamp at which a write of these cells merges; `seq` is its place in the history, if it has one.
    ///
    /// ```
    /// use reconvene_model::change::Cell;
    /// use reconvene_model::ranking::Ranking;
    /// use reconvene_model::{PeerId, PropertyType, Seq, Stamp, Uid};
    ///
    /// let ranking = Ranking::Precedence { uid: Uid(2), ty: PropertyType::Int, unsigned: false };
    /// let manager = [Cell::new(Uid(2), PropertyType::Int, Some(&[10, 0, 0, 0]))];
    /// let clerk = [Cell::new(Uid(2), PropertyType::Int, Some(&[1, 0, 0, 0]))];
    /// let (early, late) = (Stamp::new(5, PeerId(7)), Stamp::new(6, PeerId(8)));
    /// assert!(ranking.stamp(early, &manager, None) > ranking.stamp(late, &clerk, None));
    /// assert!(Ranking::Arrival.stamp(early, &[], Some(Seq(9))) > Ranking::Arrival.stamp(late, &[], Some(Seq(8))));
    /// ```
    pub fn stamp(self, stamp: Stamp, cells: &[Cell<'_>], seq: Option<Seq>) -> Stamp {
        match self {
            Ranking::Time => stamp,
            Ranking::Arrival => stamp.ranked(seq.map_or(UNDECIDED, |seq| seq.0)),
            Ranking::Precedence { uid, ty, unsigned } => {
                let cell = cells.iter().find(|cell| cell.uid == uid && cell.ty == ty as u8);
                stamp.ranked(precedence_rank(cell.and_then(|cell| cell.bytes.as_deref()), unsigned))
            }
        }
    }
}

/// The rank of a precedence by the bytes of its cell: in the order of the numbers, null being the lowest.
pub fn precedence_rank(cell: Option<&[u8]>, unsigned: bool) -> u64 {
    let Some(number) = cell.and_then(|cell| precedence(cell, unsigned)) else { return 0 };
    if unsigned {
        u64::try_from(number).unwrap_or(0)
    } else {
        i64::try_from(number).map_or(0, |number| number.cast_unsigned() ^ (1 << 63))
    }
}

/// The number in a precedence's cell; `None` if it is not that of a whole number.
pub fn precedence(cell: &[u8], unsigned: bool) -> Option<i128> {
    if !matches!(cell.len(), 1 | 2 | 4 | 8) {
        return None;
    }
    let negative = !unsigned && cell.last().is_some_and(|top| top & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    bytes[..cell.len()].copy_from_slice(cell);
    Some(i128::from_le_bytes(bytes))
}

/// Whether a property can hold a precedence.
pub(crate) fn holds_precedence(property: &PropertyDef) -> bool {
    use PropertyType as T;
    !property.is_id() && matches!(property.ty, T::Byte | T::Short | T::Int | T::Long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Reader;
    use crate::stamp::{put_rank, read_rank};

    #[test]
    fn ranks_are_in_the_order_of_the_precedences_whatever_their_width() {
        let numbers = [i64::MIN, -70_000, -129, -1, 0, 1, 200, 70_000, i64::MAX];
        let ranks = numbers.map(|number| precedence_rank(Some(&number.to_le_bytes()), false));
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert_eq!(
            precedence_rank(Some(&(-2_i8).to_le_bytes()), false),
            precedence_rank(Some(&(-2_i64).to_le_bytes()), false)
        );
        assert_eq!(precedence_rank(Some(&[0xfe]), true), 254);
        assert_eq!(precedence_rank(Some(&u64::MAX.to_le_bytes()), true), u64::MAX);
        assert_eq!(precedence_rank(None, false), 0, "null is the lowest");
        assert_eq!(precedence_rank(Some(&[1, 2, 3]), false), 0, "a stranger's cell of another type is none");
    }

    #[test]
    fn ranks_in_use_are_short_and_all_are_read_back() {
        let small = [0, 1, 63, (1 << 63) | 5].map(|rank| {
            let mut bytes = Vec::new();
            put_rank(&mut bytes, rank);
            bytes.len()
        });
        assert_eq!(small, [1; 4]);
        for rank in [0, 1, 300, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX] {
            let mut bytes = Vec::new();
            put_rank(&mut bytes, rank);
            assert_eq!(read_rank(&mut Reader::new(&bytes)), Ok(rank));
        }
    }
}
