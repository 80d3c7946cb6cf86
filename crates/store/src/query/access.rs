//! Where a query reads: a store, whose every call is a transaction of its own, or a transaction that is under way.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::seam::{Reader, View};
use crate::store::{Inner, Store};
use crate::txn::{ReadTxn, WriteTxn};

/// What queries and [`ObjectBox`](crate::ObjectBox)es read from: a [`Store`], a [`ReadTxn`] or a [`WriteTxn`].
pub trait ReadAccess: sealed::Read {}

/// What queries and [`ObjectBox`](crate::ObjectBox)es can also write to: a [`Store`] or a [`WriteTxn`].
pub trait WriteAccess: ReadAccess + sealed::Write {}

impl<A: sealed::Read> ReadAccess for A {}

impl<A: sealed::Write> WriteAccess for A {}

/// The write transaction that a query or an [`ObjectBox`](crate::ObjectBox) is part of.
///
/// It is lent out whole, so that nothing is written between the making of a query and its run.
pub struct InWrite<'t, 's>(RefCell<&'t mut WriteTxn<'s>>);

impl<'t, 's> InWrite<'t, 's> {
    pub(crate) fn new(tx: &'t mut WriteTxn<'s>) -> Self {
        InWrite(RefCell::new(tx))
    }
}

impl fmt::Debug for InWrite<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InWrite")
    }
}

pub(crate) mod sealed {
    use super::*;

    /// One moment of a store, whatever it is read through.
    pub struct Snapshot<'v>(pub(crate) View<'v>, pub(crate) &'v Arc<Inner>);

    pub trait Read {
        fn read<R>(&self, read: impl FnOnce(Snapshot<'_>) -> Result<R>) -> Result<R>;
    }

    pub trait Write: Read {
        fn write<R>(&self, write: impl FnOnce(&mut WriteTxn<'_>) -> Result<R>) -> Result<R>;
    }
}

use sealed::Snapshot;

impl sealed::Read for Store {
    fn read<R>(&self, read: impl FnOnce(Snapshot<'_>) -> Result<R>) -> Result<R> {
        Store::read(self, |tx| read(Snapshot(tx.engine_tx().view(), tx.inner())))
    }
}

impl sealed::Write for Store {
    fn write<R>(&self, write: impl FnOnce(&mut WriteTxn<'_>) -> Result<R>) -> Result<R> {
        Store::write(self, write)
    }
}

impl sealed::Read for &ReadTxn<'_> {
    fn read<R>(&self, read: impl FnOnce(Snapshot<'_>) -> Result<R>) -> Result<R> {
        read(Snapshot(self.engine_tx().view(), self.inner()))
    }
}

impl sealed::Read for InWrite<'_, '_> {
    fn read<R>(&self, read: impl FnOnce(Snapshot<'_>) -> Result<R>) -> Result<R> {
        let mut tx = self.0.borrow_mut();
        tx.apply_index_changes()?;
        read(Snapshot(tx.engine_tx().view(), tx.inner()))
    }
}

impl sealed::Write for InWrite<'_, '_> {
    fn write<R>(&self, write: impl FnOnce(&mut WriteTxn<'_>) -> Result<R>) -> Result<R> {
        write(&mut self.0.borrow_mut())
    }
}
