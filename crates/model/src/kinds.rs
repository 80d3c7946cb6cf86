//! Kinds that merge: counters and sets, whose concurrent changes all count instead of one winning.
//!
//! A property of such a kind is a register like any other, with a type number of its own. What differs is what its cells hold:
//! in an op a *change* (how much is added, which elements come and go), in a state all that tells how changes merge. A
//! [`Kind`] merges both by the type number alone, so a peer merges what its schema does not know.
//!
//! - A **counter** keeps per author the clock reading of the last change that is included, and the sum of all of them. A change
//!   counts if it is later than that, so it counts once, and the value is the sum over all authors.
//! - A **set** keeps per element the stamp of its last change, and whether that added it. The larger stamp wins.
//!
//! Time alone decides, whatever the conflict policy of the entity. `docs/changes.md` describes the bytes one by one.

use std::borrow::Cow;

use crate::codec::DecodeError;
use crate::stamp::Stamp;
use crate::types::{MergeKind, PropertyType};

mod counter;
mod set;

pub use counter::{counter_change, counter_delta};
pub use set::{Element, SET_BYTES_MAX, set_change, set_elements};

/// The type number of a counter.
pub const COUNTER: u8 = 64;
/// The type number of a set of strings.
pub const STRING_SET: u8 = 65;
/// The type number of a set of integers.
pub const INTEGER_SET: u8 = 66;
/// The type number of a set of links.
pub const LINK_SET: u8 = 67;

/// A kind of register whose changes merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A number to which authors add.
    Counter = COUNTER,
    /// A set of strings; an element is its UTF-8.
    Strings = STRING_SET,
    /// A set of integers; an element is its 8 bytes, big-endian, the top bit turned.
    Integers = INTEGER_SET,
    /// A set of objects; an element is the 16 bytes of a global id.
    Links = LINK_SET,
}

impl Kind {
    /// The kind of a register with this type number, if it is one that merges.
    #[inline]
    pub fn of_type(number: u8) -> Option<Kind> {
        Some(match number {
            COUNTER => Kind::Counter,
            STRING_SET => Kind::Strings,
            INTEGER_SET => Kind::Integers,
            LINK_SET => Kind::Links,
            _ => return None,
        })
    }

    /// The kind's name as it stands in messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "Counter",
            Kind::Strings => "a set of strings",
            Kind::Integers => "a set of integers",
            Kind::Links => "a set of links",
        }
    }

    /// The kind of a property of this type that merges so; `None` for those of which the last write wins, and for types that do not
    /// merge so.
    pub fn of_property(ty: PropertyType, merge: MergeKind) -> Option<Kind> {
        Some(match (merge, ty) {
            (MergeKind::Counter, PropertyType::Int | PropertyType::Long) => Kind::Counter,
            (MergeKind::Set, PropertyType::StringVector) => Kind::Strings,
            (MergeKind::Set, PropertyType::LongVector) => Kind::Integers,
            _ => return None,
        })
    }

    /// Checks the cell of an op.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is not a change in its canonical form.
    pub fn check_change(self, change: &[u8]) -> Result<(), DecodeError> {
        match self {
            Kind::Counter => counter::parse_change(change).map(drop),
            _ => set::parse_change(self, change).map(drop),
        }
    }

    /// Checks the cell of a state.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is not the canonical form of a state.
    pub fn check_state(self, state: &[u8]) -> Result<(), DecodeError> {
        match self {
            Kind::Counter => counter::parse(state).map(drop),
            _ => set::parse(self, state).map(drop),
        }
    }

    /// The state after a change at this stamp, whose rank does not count; `None` if it is as before.
    ///
    /// Changes of one author merge in the order of their stamps, in which they come everywhere; those of several in any order.
    pub fn apply(self, state: Option<&[u8]>, change: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => counter::apply(state, change, stamp),
            _ => set::apply(self, state, change, stamp.ranked(0)),
        }
    }

    /// As [`Kind::apply`], for an author who may have made changes at this stamp before: they add up, and of one element the last one
    /// stands. Only for what has not left its author.
    pub fn amend(self, state: Option<&[u8]>, change: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => counter::amend(state, change, stamp),
            _ => set::amend(self, state, change, stamp.ranked(0)),
        }
    }

    /// The change of a set that was made at this stamp, as its op has it; `None` if there was none. A counter does not tell what was
    /// added last.
    pub fn change_at(self, state: &[u8], stamp: Stamp) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => None,
            _ => set::change_at(self, state, stamp.ranked(0)),
        }
    }

    /// What two states give together.
    pub fn join<'a>(self, left: Cow<'a, [u8]>, right: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        if left == right {
            return left;
        }
        let joined = match self {
            Kind::Counter => counter::join(&left, &right),
            _ => set::join(self, &left, &right),
        };
        Cow::Owned(joined)
    }

    /// The stamp of a register with this state: that of its newest change.
    pub fn newest(self, state: &[u8]) -> Stamp {
        self.stamps(state).into_iter().map(|stamp| stamp.ranked(0)).max().unwrap_or(Stamp::NEVER)
    }

    /// What stands for a state in a fingerprint: per author of a counter its last change, with the sum as rank; per element of a
    /// set its last change, with a hash of the element and of whether it is there as rank.
    pub fn stamps(self, state: &[u8]) -> Vec<Stamp> {
        match self {
            Kind::Counter => counter::stamps(state),
            _ => set::stamps(self, state),
        }
    }

    /// The state in which the changes of one stamp have another clock reading; `None` if there are none.
    pub fn redated(self, state: &[u8], old: Stamp, hlc: u64) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => counter::redated(state, old, hlc),
            _ => set::redated(self, state, old, hlc),
        }
    }

    /// What one state has and another, which takes its place, has not: of a counter how much each author had added, of a set the
    /// changes of elements; `None` if there is nothing.
    pub fn lost(self, before: &[u8], now: &[u8]) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => counter::lost(before, now),
            _ => set::lost(self, before, now),
        }
    }

    /// What a record shows of a state, as a cell of the property's type: the sum, or the elements in ascending order; `None` is null,
    /// what a counter shows to which nobody added, and a set without elements.
    pub fn shown(self, ty: PropertyType, state: Option<&[u8]>) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => state.map(|state| counter::cell(ty, counter::total(state))),
            _ => set::shown(self, state?),
        }
    }

    /// The change from one shown value to another; `None` if they are the same.
    pub fn change_between(self, before: Option<&[u8]>, after: Option<&[u8]>) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => {
                let by = counter::number(after).wrapping_sub(counter::number(before));
                (by != 0).then(|| counter_change(by))
            }
            _ => set::change_between(self, before, after),
        }
    }

    /// The change that makes a new register show this; `None` for null.
    pub fn change_to(self, shown: Option<&[u8]>) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => shown.map(|shown| counter_change(counter::number(Some(shown)))),
            _ => set::change_between(self, None, shown),
        }
    }

    /// What is shown after a change of what is shown, where no state is kept.
    pub fn show_changed(self, ty: PropertyType, shown: Option<&[u8]>, change: &[u8]) -> Option<Vec<u8>> {
        match self {
            Kind::Counter => {
                let by = counter::parse_change(change).unwrap_or_default();
                Some(counter::cell(ty, counter::number(shown).wrapping_add(by)))
            }
            _ => set::show_changed(self, shown, change),
        }
    }
}
