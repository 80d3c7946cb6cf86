//! Reading, the same in snapshots and in write transactions, on disk and in memory.

use super::lmdb_tx::LmdbView;
use super::memory::Version;
use super::{Direction, Entries, Entry, KeyRange, ReadTx, Result, SeamError, TableId, WriteTx, prefix_end};

/// What can be read, in a snapshot and in a write transaction alike.
///
/// Keys order as bytes. Every operation answers [`SeamError::UnknownTable`] for a table that the snapshot does not know.
#[allow(dead_code, reason = "one whole set of operations, whichever of them the rooms above use")]
pub(crate) trait Reader {
    /// The form behind the transaction; callers use the methods below.
    fn view(&self) -> View<'_>;

    /// The value of a key, borrowed from the store.
    #[inline]
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<&[u8]>> {
        match self.view() {
            View::Lmdb(view) => view.get(table, key),
            View::Memory(version) => version.get(table, key),
        }
    }

    /// The number of entries of a table, in constant time.
    fn count(&self, table: TableId) -> Result<u64> {
        match self.view() {
            View::Lmdb(view) => view.count(table),
            View::Memory(version) => version.count(table),
        }
    }

    /// The entries whose keys lie in a range, in key order or against it.
    fn range<'k>(
        &self,
        table: TableId,
        range: impl Into<KeyRange<'k>>,
        direction: Direction,
    ) -> Result<Entries<'_>> {
        let range = range.into().normal();
        Ok(match self.view() {
            View::Lmdb(view) => match range {
                Some(range) => Entries::Lmdb(view.range(table, range, direction)?),
                None => view.check(table).map(|()| Entries::Done)?,
            },
            View::Memory(version) => match range {
                Some(range) => Entries::Memory(version.range(table, range, direction)?),
                None => version.count(table).map(|_| Entries::Done)?,
            },
        })
    }

    /// Calls `take` with each entry of a table, in key order, until it returns an error: cheaper for each than
    /// [`range`](Reader::range).
    #[inline]
    fn each<E: From<SeamError>>(
        &self,
        table: TableId,
        mut take: impl FnMut(&[u8], &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        match self.view() {
            View::Lmdb(view) => view.each(table, take),
            View::Memory(version) => {
                let mut entries = version.range(table, KeyRange::all(), Direction::Forward)?;
                while let Some((key, value)) = entries.next() {
                    take(key, value)?;
                }
                Ok(())
            }
        }
    }

    /// The entries whose keys begin with `prefix`.
    fn prefix(&self, table: TableId, prefix: &[u8], direction: Direction) -> Result<Entries<'_>> {
        match (self.view(), direction) {
            (View::Lmdb(view), Direction::Forward) if !prefix.is_empty() => {
                view.prefix(table, prefix).map(Entries::Lmdb)
            }
            _ => {
                let end = prefix_end(prefix);
                self.range(table, KeyRange::prefix(prefix, end.as_deref()), direction)
            }
        }
    }

    /// The entry with the smallest key.
    fn first(&self, table: TableId) -> Result<Option<Entry<'_>>> {
        match self.view() {
            View::Lmdb(view) => view.first(table),
            View::Memory(_) => self.range(table, KeyRange::all(), Direction::Forward)?.next().transpose(),
        }
    }

    /// The entry with the largest key.
    fn last(&self, table: TableId) -> Result<Option<Entry<'_>>> {
        match self.view() {
            View::Lmdb(view) => view.last(table),
            View::Memory(_) => self.range(table, KeyRange::all(), Direction::Backward)?.next().transpose(),
        }
    }

    /// The first entry whose key is `key` or larger.
    fn first_from(&self, table: TableId, key: &[u8]) -> Result<Option<Entry<'_>>> {
        match self.view() {
            View::Lmdb(view) => view.first_from(table, key),
            View::Memory(_) => self.range(table, KeyRange::from(key), Direction::Forward)?.next().transpose(),
        }
    }

    /// The last entry whose key is smaller than `key`.
    fn last_below(&self, table: TableId, key: &[u8]) -> Result<Option<Entry<'_>>> {
        match self.view() {
            View::Lmdb(view) => view.last_below(table, key),
            View::Memory(_) => {
                self.range(table, KeyRange::below(key), Direction::Backward)?.next().transpose()
            }
        }
    }
}

impl Reader for ReadTx<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        match self {
            ReadTx::Lmdb(tx) => View::Lmdb(tx.view()),
            ReadTx::Memory(version) => View::Memory(version),
        }
    }
}

impl Reader for WriteTx<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        match self {
            WriteTx::Lmdb(tx) => View::Lmdb(tx.view()),
            WriteTx::Memory(tx) => View::Memory(tx.version()),
        }
    }
}

/// A view reads like the transaction that it is of, so that code can take either kind without being made twice.
impl Reader for View<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        *self
    }
}

/// The form behind a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'t> {
    /// LMDB.
    Lmdb(LmdbView<'t>),
    /// A version in memory.
    Memory(&'t Version),
}
