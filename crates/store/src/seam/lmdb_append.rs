//! Appending many entries through cursors that stay open.
//!
//! LMDB's append walks from the root to the end of the table each time. A cursor that stands where the last entry went is
//! there already, but LMDB walks all the same when it is told to append, and only then starts a new page without moving half
//! of the full one. So an entry that fits on the last page is put through the cursor as any other, and one that does not is
//! appended. How full the page is follows from where LMDB put the values: entries fill a page from its end to its beginning. Were
//! that wrong, a page would be split unevenly, and nothing else.

use std::io::Write;

use heed::types::Bytes;
use heed::{PutFlags, RwIter, RwTxn};

use super::TableId;
use super::handles::Handle;

/// To how many tables of one transaction cursors stay open; entries of others are appended without.
const APPENDERS_MAX: usize = 8;

/// What a page has before its entries.
const PAGE_HEAD_BYTES: usize = 16;

/// What an entry has on its page beside key and value: its head, and its place in the list of entries.
const ENTRY_HEAD_BYTES: usize = 8;
const ENTRY_PLACE_BYTES: usize = 2;

/// The cursors of one write transaction that append; they are closed before it ends.
#[derive(Default)]
pub(super) struct Appenders(Vec<Appender>);

struct Appender {
    table: TableId,
    /// Opened with the second entry: most transactions append only one to a table.
    cursor: Option<RwIter<'static, Bytes, Bytes>>,
    page_bytes: usize,
    /// The address of the value that was written last, while nothing else changed the table.
    last_value: Option<usize>,
    /// How much is free on the last page, once it is known.
    free_bytes: Option<usize>,
}

impl Appenders {
    /// Puts an entry whose key is probably the largest of its table; `KeyExist` if it is not.
    #[inline]
    pub(super) fn append(
        &mut self,
        (table, handle): (TableId, Handle),
        txn: &mut RwTxn<'_>,
        key: &[u8],
        value: &[u8],
    ) -> heed::Result<()> {
        match self.0.iter_mut().find(|appender| appender.table == table) {
            Some(Appender { cursor: None, .. }) => {
                self.open(table, handle, txn)?;
                self.append((table, handle), txn, key, value)
            }
            Some(appender) => appender.append(key, value),
            None => {
                if self.0.len() < APPENDERS_MAX {
                    let page_bytes = 0;
                    let (cursor, last_value, free_bytes) = (None, None, None);
                    self.0.push(Appender { table, cursor, page_bytes, last_value, free_bytes });
                }
                handle.put_with_flags(txn, PutFlags::APPEND, key, value)
            }
        }
    }

    /// Notes that a table was changed in another way than by [`Appenders::append`].
    #[inline]
    pub(super) fn changed(&mut self, table: TableId) {
        if let Some(appender) = self.0.iter_mut().find(|appender| appender.table == table) {
            (appender.last_value, appender.free_bytes) = (None, None);
        }
    }

    /// Closes all cursors.
    #[inline]
    pub(super) fn close(&mut self) {
        self.0.clear();
    }

    #[cold]
    fn open(&mut self, table: TableId, handle: Handle, txn: &mut RwTxn<'_>) -> heed::Result<()> {
        let page_bytes = handle.stat(txn)?.page_size as usize;
        let cursor = handle.iter_mut(txn)?;
        #[expect(unsafe_code, reason = "heed lets a cursor borrow the whole transaction")]
        // SAFETY: only the lifetime changes. What it stands for is that the cursor, which refers to nothing but LMDB's own
        // cursor, is closed before its transaction ends: `LmdbWrite` closes all before it commits, aborts or begins a nested
        // transaction. That heed would let nobody else use the transaction meanwhile is more than LMDB asks for: it brings
        // the open cursors of a transaction along with every change of their table. No entry is ever read from this one.
        let cursor =
            unsafe { std::mem::transmute::<RwIter<'_, Bytes, Bytes>, RwIter<'static, Bytes, Bytes>>(cursor) };
        if let Some(appender) = self.0.iter_mut().find(|appender| appender.table == table) {
            (appender.cursor, appender.page_bytes) = (Some(cursor), page_bytes);
        }
        Ok(())
    }
}

impl Appender {
    #[inline]
    fn append(&mut self, key: &[u8], value: &[u8]) -> heed::Result<()> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        let entry_bytes =
            (ENTRY_HEAD_BYTES + key.len() + value.len() + ENTRY_PLACE_BYTES).next_multiple_of(2);
        let free_bytes = self.free_bytes.and_then(|free| free.checked_sub(entry_bytes));
        let flags = if free_bytes.is_some() { PutFlags::empty() } else { PutFlags::APPEND };
        let mut place = 0;
        #[expect(unsafe_code, reason = "a cursor cannot know who has read from the table")]
        // SAFETY: neither key nor value may lie in the table that is changed, and nobody may keep what was read from it. Both
        // follow from `LmdbWrite::append`, which borrows the transaction alone and so has neither from it.
        let put = unsafe {
            cursor.put_current_reserved_with_flags(flags, key, value.len(), |space| {
                place = space.as_uninit_mut().as_ptr().addr();
                space.write_all(value)
            })
        };
        if put.is_err() {
            (self.last_value, self.free_bytes) = (None, None);
            return put.map(|_| ());
        }
        self.free_bytes = free_bytes;
        if flags.contains(PutFlags::APPEND) {
            let beside = self.last_value.map(|last| last.wrapping_sub(entry_bytes - ENTRY_PLACE_BYTES));
            // An entry that went elsewhere than beside the one before has begun a page; one with a page of its own, which is
            // for large values, says nothing.
            let is_large = entry_bytes > (self.page_bytes - PAGE_HEAD_BYTES) / 2 - ENTRY_PLACE_BYTES;
            if is_large {
                (self.last_value, self.free_bytes) = (None, None);
                return Ok(());
            }
            if beside.is_some_and(|beside| beside != place) {
                self.free_bytes = Some(self.page_bytes - PAGE_HEAD_BYTES - entry_bytes);
            }
        }
        self.last_value = Some(place);
        Ok(())
    }
}
