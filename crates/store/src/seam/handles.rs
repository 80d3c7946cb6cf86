//! The open tables of an LMDB environment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use heed::Database;
use heed::types::Bytes;

use super::table::next_table_serial;
use super::{Result, SeamError, TableId};

/// What LMDB keeps of an open table.
pub(super) type Handle = Database<'static, Bytes, Bytes>;

/// The open tables: which handles are in force, and under which names.
///
/// LMDB closes the handle of a table that was not committed, and gives its number to the next table opened. A handle is
/// therefore only used while its serial number stands in its slot.
#[derive(Debug)]
pub(super) struct Tables {
    /// By slot, the serial number of the table there; 0 in a free slot.
    serials: Box<[AtomicU64]>,
    names: Mutex<Vec<(String, TableId)>>,
}

impl Tables {
    pub(super) fn new(tables_max: u32) -> Tables {
        Tables { serials: (0..tables_max).map(|_| AtomicU64::new(0)).collect(), names: Mutex::default() }
    }

    #[inline]
    pub(super) fn handle(&self, table: TableId) -> Result<Handle> {
        match (self.serials.get(table.slot()), table.handle()) {
            (Some(serial), Some(handle)) if serial.load(Ordering::Acquire) == table.serial() => Ok(handle),
            _ => Err(SeamError::UnknownTable),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<TableId> {
        self.lock().iter().find(|(known, _)| known == name).map(|(_, table)| *table)
    }

    /// Gives a slot to a handle. The caller is the writer.
    pub(super) fn admit(&self, handle: Handle) -> Result<TableId> {
        let free = self.serials.iter().position(|serial| serial.load(Ordering::Acquire) == 0);
        let max = u32::try_from(self.serials.len()).unwrap_or(u32::MAX);
        let slot = free.ok_or(SeamError::TooManyTables { max })?;
        let serial = next_table_serial();
        self.serials[slot].store(serial, Ordering::Release);
        Ok(TableId::new(serial, slot, Some(handle)))
    }

    /// Lets the table be found by its name.
    pub(super) fn publish(&self, name: &str, table: TableId) {
        self.lock().push((name.to_owned(), table));
    }

    /// Makes a table's ids void and its slot free.
    pub(super) fn retire(&self, table: TableId) {
        self.lock().retain(|(_, known)| *known != table);
        if let Some(serial) = self.serials.get(table.slot()) {
            serial.store(0, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, TableId)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
