//! Transactions of the LMDB form, and the cursors over their tables.

use std::fmt;
use std::sync::MutexGuard;

use heed::types::Bytes;
use heed::{
    CommitOrAbort, CommitToken, Database, DatabaseOpener, MdbError, OnCommit, RoPrefix, RoRange, RoRevRange,
    RoTxn, RwTxn, WithoutTls,
};

use super::gate::Pass;
use super::handles::Handle;
use super::lmdb::LmdbEngine;
use super::lmdb_append::Appenders;
use super::{Direction, Entry, KeyRange, Result, SeamError, TableId, check_table_name};

/// A snapshot of the environment.
pub(crate) struct LmdbRead<'e> {
    /// Taken when the reader ends only.
    txn: Option<RoTxn<'static, WithoutTls>>,
    engine: &'e LmdbEngine,
    /// Left after the transaction ended: a drop comes before those of the fields.
    pass: Pass<'e>,
}

impl<'e> LmdbRead<'e> {
    pub(super) fn new(
        txn: RoTxn<'static, WithoutTls>,
        engine: &'e LmdbEngine,
        pass: Pass<'e>,
    ) -> LmdbRead<'e> {
        LmdbRead { txn: Some(txn), engine, pass }
    }

    #[inline]
    pub(super) fn view(&self) -> LmdbView<'_> {
        LmdbView { txn: self.txn(), engine: self.engine }
    }

    pub(super) fn transaction(&self) -> u64 {
        self.txn().id() as u64
    }

    #[inline]
    fn txn(&self) -> &RoTxn<'static, WithoutTls> {
        self.txn.as_ref().expect(TXN_OPEN)
    }
}

impl Drop for LmdbRead<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(txn) = self.txn.take() {
            self.engine.end_read(txn);
        }
    }
}

impl fmt::Debug for LmdbRead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LmdbRead").field("snapshot", &self.txn().id()).field("pass", &self.pass).finish()
    }
}

/// The write transaction of the environment.
pub(crate) struct LmdbWrite<'e> {
    /// Without cursors whenever the transaction ends.
    appenders: Appenders,
    /// Taken by commit and drop only.
    txn: Option<RwTxn<'e>>,
    engine: &'e LmdbEngine,
    /// Tables that this transaction opened; LMDB closes them if it does not commit.
    opened: Vec<(String, TableId)>,
    /// Given back after the transaction ended: fields are dropped in this order.
    _writer: MutexGuard<'e, ()>,
}

impl<'e> LmdbWrite<'e> {
    pub(super) fn new(txn: RwTxn<'e>, engine: &'e LmdbEngine, writer: MutexGuard<'e, ()>) -> LmdbWrite<'e> {
        LmdbWrite {
            appenders: Appenders::default(),
            txn: Some(txn),
            engine,
            opened: Vec::new(),
            _writer: writer,
        }
    }

    #[inline]
    pub(super) fn view(&self) -> LmdbView<'_> {
        let txn = self.txn.as_ref().expect(TXN_OPEN);
        LmdbView { txn, engine: self.engine }
    }

    pub(super) fn commit(mut self) -> Result<()> {
        self.appenders.close();
        let txn = self.txn.take().expect(TXN_OPEN);
        self.engine.commit(txn)?;
        for (name, table) in self.opened.drain(..) {
            self.engine.tables.publish(&name, table);
        }
        Ok(())
    }

    pub(super) fn create_tables(&mut self, names: &[&str]) -> Result<Vec<TableId>> {
        let missing: Vec<&str> = names.iter().copied().filter(|name| self.find(name).is_none()).collect();
        for name in &missing {
            check_table_name(name)?;
        }
        if !missing.is_empty() {
            self.open_tables(&missing, |opener, txn, name| {
                opener.create_database(txn, Some(name)).map(Some)
            })?;
        }
        names.iter().map(|name| self.find(name).ok_or(SeamError::UnknownTable)).collect()
    }

    pub(super) fn table_if_exists(&mut self, name: &str) -> Result<Option<TableId>> {
        if let Some(table) = self.find(name) {
            return Ok(Some(table));
        }
        check_table_name(name)?;
        self.open_tables(&[name], |opener, txn, name| opener.open_database(txn, Some(name)))?;
        Ok(self.find(name))
    }

    pub(super) fn has_tables(&self) -> bool {
        self.engine.env.unnamed_database_stat().entries > 0
    }

    fn find(&self, name: &str) -> Option<TableId> {
        let here = self.opened.iter().find(|(opened, _)| opened == name).map(|(_, table)| *table);
        here.or_else(|| self.engine.tables.find(name))
    }

    /// Opens tables in a nested transaction: heed gives out lasting handles only of one that has committed. The handles
    /// still fall with this transaction, as LMDB hands them from the child to its parent.
    fn open_tables(
        &mut self,
        names: &[&str],
        open: impl for<'o> Fn(
            &DatabaseOpener<'o, WithoutTls>,
            &mut RwTxn<'o>,
            &str,
        ) -> heed::Result<Option<Database<'o, Bytes, Bytes>>>,
    ) -> Result<()> {
        self.appenders.close();
        let failed = |error| self.engine.describe(error, "opening a table");
        let env = &self.engine.env;
        let nested = env.nested_write_txn(self.txn.as_mut().expect(TXN_OPEN)).map_err(failed)?;
        let opened = env
            .create_databases_and_commit(nested, |opener, txn| {
                let tables: heed::Result<Vec<_>> = names.iter().map(|name| open(opener, txn, name)).collect();
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(OpenedTables(tables?)))
            })
            .map_err(failed)?
            .unwrap_commit();
        for (name, handle) in names.iter().zip(opened) {
            if let (Some(handle), None) = (handle, self.find(name)) {
                let table = self.engine.tables.admit(handle)?;
                self.opened.push(((*name).to_owned(), table));
            }
        }
        Ok(())
    }

    pub(super) fn clear_table(&mut self, table: TableId) -> Result<()> {
        self.change(table, |handle, txn| handle.clear(txn))
    }

    #[inline]
    pub(super) fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        self.change(table, |handle, txn| handle.put(txn, key, value))
    }

    #[inline]
    pub(super) fn append(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        let handle = self.engine.tables.handle(table)?;
        let txn = self.txn.as_mut().expect(TXN_OPEN);
        let appended = match self.appenders.append((table, handle), txn, key, value) {
            // The hint was wrong: some key is as large or larger.
            Err(heed::Error::Mdb(MdbError::KeyExist)) => handle.put(txn, key, value),
            appended => appended,
        };
        appended.map_err(|error| self.engine.describe(error, "changing a table"))
    }

    pub(super) fn reserve(
        &mut self,
        table: TableId,
        key: &[u8],
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        self.change(table, |handle, txn| {
            handle.put_reserved(txn, key, len, |space| {
                space.fill_zeroes();
                fill(space.written_mut());
                Ok(())
            })
        })
    }

    pub(super) fn delete(&mut self, table: TableId, key: &[u8]) -> Result<bool> {
        if key.is_empty() {
            return self.view().check(table).map(|()| false);
        }
        self.change(table, |handle, txn| handle.delete(txn, key))
    }

    pub(super) fn delete_range(&mut self, table: TableId, range: KeyRange<'_>) -> Result<u64> {
        self.change(table, |handle, txn| {
            handle.delete_range(txn, &(range.start, range.end)).map(|len| len as u64)
        })
    }

    #[inline]
    fn change<R>(
        &mut self,
        table: TableId,
        change: impl FnOnce(Handle, &mut RwTxn<'e>) -> heed::Result<R>,
    ) -> Result<R> {
        let handle = self.engine.tables.handle(table)?;
        self.appenders.changed(table);
        let txn = self.txn.as_mut().expect(TXN_OPEN);
        change(handle, txn).map_err(|error| self.engine.describe(error, "changing a table"))
    }
}

/// Why a write transaction always has its LMDB transaction.
const TXN_OPEN: &str = "commit and drop, which take the transaction, are the last to use it";

impl Drop for LmdbWrite<'_> {
    fn drop(&mut self) {
        self.appenders.close();
        drop(self.txn.take());
        for (_, table) in self.opened.drain(..) {
            self.engine.tables.retire(table);
        }
    }
}

impl fmt::Debug for LmdbWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LmdbWrite").field("opened", &self.opened).finish_non_exhaustive()
    }
}

/// Handles on their way out of the transaction that opened them.
struct OpenedTables<'o>(Vec<Option<Database<'o, Bytes, Bytes>>>);

impl OnCommit for OpenedTables<'_> {
    type Committed = Vec<Option<Handle>>;

    fn on_commit(self, token: &CommitToken) -> Self::Committed {
        self.0.into_iter().map(|table| table.on_commit(token)).collect()
    }
}

/// The reading side of both transactions.
#[derive(Clone, Copy)]
pub(crate) struct LmdbView<'t> {
    txn: &'t RoTxn<'t>,
    engine: &'t LmdbEngine,
}

impl<'t> LmdbView<'t> {
    #[inline]
    pub(super) fn get(self, table: TableId, key: &[u8]) -> Result<Option<&'t [u8]>> {
        if key.is_empty() {
            return self.check(table).map(|()| None);
        }
        self.look(table, |handle| handle.get(self.txn, key))
    }

    pub(super) fn count(self, table: TableId) -> Result<u64> {
        self.look(table, |handle| handle.len(self.txn))
    }

    pub(super) fn first(self, table: TableId) -> Result<Option<Entry<'t>>> {
        self.look(table, |handle| handle.first(self.txn))
    }

    pub(super) fn last(self, table: TableId) -> Result<Option<Entry<'t>>> {
        self.look(table, |handle| handle.last(self.txn))
    }

    pub(super) fn first_from(self, table: TableId, key: &[u8]) -> Result<Option<Entry<'t>>> {
        if key.is_empty() {
            return self.first(table);
        }
        self.look(table, |handle| handle.get_greater_than_or_equal_to(self.txn, key))
    }

    pub(super) fn last_below(self, table: TableId, key: &[u8]) -> Result<Option<Entry<'t>>> {
        if key.is_empty() {
            return self.check(table).map(|()| None);
        }
        self.look(table, |handle| handle.get_lower_than(self.txn, key))
    }

    pub(super) fn range(
        self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<LmdbEntries<'t>> {
        let bounds = (range.start, range.end);
        let cursor = self.look(table, |handle| match direction {
            Direction::Forward => handle.range(self.txn, &bounds).map(LmdbCursor::Forward),
            Direction::Backward => handle.rev_range(self.txn, &bounds).map(LmdbCursor::Backward),
        })?;
        Ok(LmdbEntries { cursor, engine: self.engine })
    }

    #[inline]
    pub(super) fn each<E: From<SeamError>>(
        self,
        table: TableId,
        mut take: impl FnMut(&[u8], &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for entry in self.look(table, |handle| handle.iter(self.txn))? {
            match entry {
                Ok((key, value)) => take(key, value)?,
                Err(error) => return Err(self.engine.describe_read(error).into()),
            }
        }
        Ok(())
    }

    pub(super) fn prefix(self, table: TableId, prefix: &[u8]) -> Result<LmdbEntries<'t>> {
        let cursor =
            self.look(table, |handle| handle.prefix_iter(self.txn, prefix).map(LmdbCursor::Prefix))?;
        Ok(LmdbEntries { cursor, engine: self.engine })
    }

    /// Checks that the snapshot knows the table.
    pub(super) fn check(self, table: TableId) -> Result<()> {
        self.count(table).map(|_| ())
    }

    #[inline]
    fn look<R>(self, table: TableId, look: impl FnOnce(Handle) -> heed::Result<R>) -> Result<R> {
        let handle = self.engine.tables.handle(table)?;
        look(handle).map_err(|error| self.engine.describe_read(error))
    }
}

impl fmt::Debug for LmdbView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LmdbView").field("snapshot", &self.txn.id()).finish()
    }
}

/// The entries of a range.
#[derive(Debug)]
pub(crate) struct LmdbEntries<'t> {
    cursor: LmdbCursor<'t>,
    engine: &'t LmdbEngine,
}

#[derive(Debug)]
enum LmdbCursor<'t> {
    Forward(RoRange<'t, Bytes, Bytes>),
    Backward(RoRevRange<'t, Bytes, Bytes>),
    Prefix(RoPrefix<'t, Bytes, Bytes>),
}

impl<'t> LmdbEntries<'t> {
    #[inline]
    pub(super) fn next(&mut self) -> Option<Result<Entry<'t>>> {
        let next = match &mut self.cursor {
            LmdbCursor::Forward(cursor) => cursor.next(),
            LmdbCursor::Backward(cursor) => cursor.next(),
            LmdbCursor::Prefix(cursor) => cursor.next(),
        }?;
        Some(next.map_err(|error| self.engine.describe_read(error)))
    }
}
