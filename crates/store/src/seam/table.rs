//! The handles of tables.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{self, AtomicU64};

use super::handles::Handle;

/// The handle of an open table: small, copied freely, good for the engine that gave it.
#[derive(Clone, Copy)]
pub(crate) struct TableId {
    /// Unique in the process; a table that is opened anew gets a new one.
    serial: u64,
    /// Where the engine keeps what belongs to the table.
    slot: u32,
    /// What LMDB needs to find the table without a search; `None` in memory.
    handle: Option<Handle>,
}

impl TableId {
    pub(super) fn new(serial: u64, slot: usize, handle: Option<Handle>) -> TableId {
        let slot = u32::try_from(slot).expect("a process cannot hold four thousand million open tables");
        TableId { serial, slot, handle }
    }

    pub(super) fn serial(self) -> u64 {
        self.serial
    }

    pub(super) fn slot(self) -> usize {
        self.slot as usize
    }

    pub(super) fn handle(self) -> Option<Handle> {
        self.handle
    }
}

impl PartialEq for TableId {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for TableId {}

impl PartialOrd for TableId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TableId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.serial.cmp(&other.serial)
    }
}

impl Hash for TableId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.serial.hash(state);
    }
}

impl fmt::Debug for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableId({})", self.serial)
    }
}

/// A number that no table of this process has had; never 0.
pub(super) fn next_table_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, atomic::Ordering::Relaxed)
}
