//! Where links are followed: a store, whose every call is a transaction of its own, or a transaction that is under way.

use std::sync::Arc;

use crate::error::Result;
use crate::seam::Reader;
use crate::store::{Inner, Store};
use crate::txn::{ReadTxn, WriteTxn};

/// What links are followed in: a [`Store`], a [`ReadTxn`] or a [`WriteTxn`], which sees what it wrote so far.
pub trait LinkAccess: sealed::Look {}

impl<A: sealed::Look> LinkAccess for A {}

pub(crate) mod sealed {
    use super::*;
    use crate::index_changes::IndexChanges;
    use crate::seam::View;

    /// One moment of a store, whatever it is looked at through.
    #[derive(Clone, Copy)]
    pub struct Moment<'v> {
        pub(crate) inner: &'v Arc<Inner>,
        pub(crate) view: View<'v>,
        /// What the indexes lack of this moment.
        pub(crate) unapplied: Option<&'v IndexChanges>,
    }

    pub trait Look {
        fn look<R>(&self, look: impl FnOnce(Moment<'_>) -> Result<R>) -> Result<R>;
    }
}

pub(crate) use self::sealed::Moment;

impl sealed::Look for Store {
    fn look<R>(&self, look: impl FnOnce(Moment<'_>) -> Result<R>) -> Result<R> {
        self.read(|tx| tx.look(look))
    }
}

impl sealed::Look for ReadTxn<'_> {
    fn look<R>(&self, look: impl FnOnce(Moment<'_>) -> Result<R>) -> Result<R> {
        look(Moment { inner: self.inner(), view: self.engine_tx().view(), unapplied: None })
    }
}

impl sealed::Look for WriteTxn<'_> {
    fn look<R>(&self, look: impl FnOnce(Moment<'_>) -> Result<R>) -> Result<R> {
        look(self.moment())
    }
}

impl WriteTxn<'_> {
    /// What there is at this point of the transaction.
    pub(crate) fn moment(&self) -> Moment<'_> {
        Moment { inner: self.inner(), view: self.engine_tx().view(), unapplied: Some(self.index_changes()) }
    }
}
