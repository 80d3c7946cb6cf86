//! Stamps: which of two writes to the same register is the later one.

use std::fmt;

use crate::codec::{DecodeError, Reader, put_varint};
use crate::ids::PeerId;

/// The rank, time and author of a write: the larger stamp wins its register.
///
/// `rank` is what the entity's conflict policy puts above time, see [`Ranking`](crate::ranking::Ranking); most policies put
/// nothing there, and leave it 0. `hlc` is a hybrid logical clock reading: 48 bits of milliseconds since 1970 above 16 bits of
/// counter. The default, all zero, means "never written" and loses to every write.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// What decides before time does.
    pub rank: u64,
    /// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
    pub hlc: u64,
    /// Who wrote; decides between equal clock readings.
    pub peer: PeerId,
}

/// The number of low bits of a clock reading that count events within one millisecond.
pub const COUNTER_BITS: u32 = 16;

impl Stamp {
    /// The stamp of a register that nobody has written.
    pub const NEVER: Stamp = Stamp { rank: 0, hlc: 0, peer: PeerId(0) };

    /// A write by `peer` at clock reading `hlc`, under a policy that ranks nothing above time.
    pub fn new(hlc: u64, peer: PeerId) -> Self {
        Stamp { rank: 0, hlc, peer }
    }

    /// The same write at another rank.
    #[must_use]
    pub fn ranked(self, rank: u64) -> Self {
        Stamp { rank, ..self }
    }

    /// Whether this register was never written: nobody wrote at no time, whatever the rank.
    pub fn is_never(self) -> bool {
        self.hlc == 0 && self.peer == PeerId(0)
    }

    /// The wall-clock part in milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.hlc >> COUNTER_BITS
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rank != 0 {
            write!(f, "#{} ", self.rank)?;
        }
        write!(f, "{}.{}@{}", self.millis(), self.hlc & ((1 << COUNTER_BITS) - 1), self.peer)
    }
}

/// Appends a rank: a varint of the rank with its top bit moved to the bottom, so that small numbers above 0 and around the
/// middle of the range, where precedences lie, both stay short.
pub(crate) fn put_rank(out: &mut Vec<u8>, rank: u64) {
    put_varint(out, rank.rotate_left(1));
}

pub(crate) fn read_rank(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    Ok(reader.varint()?.rotate_right(1))
}
