//! Stamps: which of two writes to the same register is the later one.

use std::fmt;

use crate::ids::PeerId;

/// The time and author of a write: the larger stamp wins its register.
///
/// `hlc` is a hybrid logical clock reading: 48 bits of milliseconds since 1970 above 16 bits of counter. The default, all
/// zero, means "never written" and loses to every write.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
    pub hlc: u64,
    /// Who wrote; decides between equal clock readings.
    pub peer: PeerId,
}

/// The number of low bits of a clock reading that count events within one millisecond.
pub const COUNTER_BITS: u32 = 16;

impl Stamp {
    /// The stamp of a register that nobody has written.
    pub const NEVER: Stamp = Stamp { hlc: 0, peer: PeerId(0) };

    /// A write by `peer` at clock reading `hlc`.
    pub fn new(hlc: u64, peer: PeerId) -> Self {
        Stamp { hlc, peer }
    }

    /// Whether this register was never written.
    pub fn is_never(self) -> bool {
        self == Self::NEVER
    }

    /// The wall-clock part in milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.hlc >> COUNTER_BITS
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.millis(), self.hlc & ((1 << COUNTER_BITS) - 1), self.peer)
    }
}
