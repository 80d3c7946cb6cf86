//! The in-memory form of the seam: it serves `memory:` stores and the simulator, and forgets everything when dropped.
//!
//! The state is one immutable version. Readers keep the version they began with; the one writer changes a copy that
//! shares its nodes with the published version, and publishes it at commit.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::table::next_table_serial;
use super::tree::{Gap, Tree};
use super::{Direction, Entry, KeyRange, Result, SeamError, TableId, check_table_name};

/// An in-memory engine; see the module.
#[derive(Debug, Default)]
pub(crate) struct MemoryEngine {
    published: RwLock<Version>,
    writer: Mutex<()>,
}

/// The whole content at one point in history; copies are cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// By the slot of the table's id.
    tables: Arc<Vec<Option<Table>>>,
}

#[derive(Clone, Debug)]
struct Table {
    serial: u64,
    name: Arc<str>,
    tree: Tree,
}

/// The write transaction: a private version, and the right to publish it.
#[derive(Debug)]
pub(crate) struct MemoryWrite<'e> {
    engine: &'e MemoryEngine,
    version: Version,
    _writer: MutexGuard<'e, ()>,
}

/// The entries of a range, in either direction.
#[derive(Debug)]
pub(crate) struct MemoryEntries<'t> {
    next: Gap<'t>,
    /// The number of entries between the gap and the far end is not known, so each key is held against it.
    until: Until,
    direction: Direction,
}

#[derive(Debug)]
enum Until {
    Key { end: Vec<u8>, included: bool },
    End,
}

impl MemoryEngine {
    /// An engine that begins with this content.
    pub(super) fn of(version: Version) -> Self {
        MemoryEngine { published: RwLock::new(version), writer: Mutex::default() }
    }

    pub(super) fn read(&self) -> Version {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn write(&self) -> MemoryWrite<'_> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        MemoryWrite { engine: self, version: self.read(), _writer: writer }
    }
}

impl Version {
    pub(super) fn find(&self, name: &str) -> Option<TableId> {
        let slot =
            self.tables.iter().position(|table| table.as_ref().is_some_and(|table| &*table.name == name))?;
        let serial = self.tables[slot].as_ref().map(|table| table.serial)?;
        Some(TableId::new(serial, slot, None))
    }

    pub(super) fn has_tables(&self) -> bool {
        self.tables.iter().any(Option::is_some)
    }

    fn tree(&self, table: TableId) -> Result<&Tree> {
        match self.tables.get(table.slot()) {
            Some(Some(found)) if found.serial == table.serial() => Ok(&found.tree),
            _ => Err(SeamError::UnknownTable),
        }
    }

    #[inline]
    pub(super) fn get(&self, table: TableId, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.tree(table)?.get(key))
    }

    pub(super) fn count(&self, table: TableId) -> Result<u64> {
        Ok(self.tree(table)?.len())
    }

    pub(super) fn range(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<MemoryEntries<'_>> {
        let tree = self.tree(table)?;
        let (next, far) = match direction {
            Direction::Forward => (tree.gap_before(range.start), range.end),
            Direction::Backward => (tree.gap_after(range.end), range.start),
        };
        Ok(MemoryEntries { next, until: Until::new(far), direction })
    }
}

impl Until {
    fn new(bound: Bound<&[u8]>) -> Until {
        match bound {
            Bound::Included(end) => Until::Key { end: end.to_vec(), included: true },
            Bound::Excluded(end) => Until::Key { end: end.to_vec(), included: false },
            Bound::Unbounded => Until::End,
        }
    }

    fn admits(&self, key: &[u8], direction: Direction) -> bool {
        let Until::Key { end, included } = self else { return true };
        let order = match direction {
            Direction::Forward => key.cmp(end),
            Direction::Backward => end.as_slice().cmp(key),
        };
        order.is_lt() || (*included && order.is_eq())
    }
}

impl<'t> MemoryEntries<'t> {
    #[inline]
    pub(super) fn next(&mut self) -> Option<Entry<'t>> {
        let (key, value) = match self.direction {
            Direction::Forward => self.next.next(),
            Direction::Backward => self.next.previous(),
        }?;
        self.until.admits(key, self.direction).then_some((key, value))
    }
}

impl MemoryWrite<'_> {
    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn commit(self) {
        *self.engine.published.write().unwrap_or_else(PoisonError::into_inner) = self.version;
    }

    pub(super) fn create_table(&mut self, name: &str) -> Result<TableId> {
        check_table_name(name)?;
        if let Some(table) = self.version.find(name) {
            return Ok(table);
        }
        let tables = Arc::make_mut(&mut self.version.tables);
        let slot = tables.iter().position(Option::is_none).unwrap_or(tables.len());
        if slot == tables.len() {
            tables.push(None);
        }
        let serial = next_table_serial();
        tables[slot] = Some(Table { serial, name: name.into(), tree: Tree::default() });
        Ok(TableId::new(serial, slot, None))
    }

    pub(super) fn drop_table(&mut self, table: TableId) -> Result<()> {
        self.version.tree(table)?;
        Arc::make_mut(&mut self.version.tables)[table.slot()] = None;
        Ok(())
    }

    pub(super) fn clear_table(&mut self, table: TableId) -> Result<()> {
        *self.tree_mut(table)? = Tree::default();
        Ok(())
    }

    pub(super) fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        self.tree_mut(table)?.insert(key, value.into());
        Ok(())
    }

    pub(super) fn delete(&mut self, table: TableId, key: &[u8]) -> Result<bool> {
        Ok(self.tree_mut(table)?.remove(key))
    }

    pub(super) fn delete_range(&mut self, table: TableId, range: KeyRange<'_>) -> Result<u64> {
        let mut deleted = 0;
        // Removing reshapes the tree, so the place of the next entry is sought anew each time.
        while let Some((key, _)) = self.version.range(table, range, Direction::Forward)?.next() {
            let key = key.to_vec();
            deleted += u64::from(self.delete(table, &key)?);
        }
        Ok(deleted)
    }

    fn tree_mut(&mut self, table: TableId) -> Result<&mut Tree> {
        // The check comes first so that a wrong handle copies nothing.
        self.version.tree(table)?;
        match &mut Arc::make_mut(&mut self.version.tables)[table.slot()] {
            Some(found) => Ok(&mut found.tree),
            None => Err(SeamError::UnknownTable),
        }
    }
}
