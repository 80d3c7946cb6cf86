//! The outbox: the transactions of this store that no server has decided on yet.

use std::ops::Bound;

use reconvene_model::TxNumber;

use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::SyncTables;
use crate::txn::WriteTxn;

/// One undecided transaction, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxTx {
    /// Its number.
    pub number: TxNumber,
    /// Its bytes, frozen once it may have been sent: see [`SyncHandle::uploads`](crate::SyncHandle::uploads).
    pub bytes: Vec<u8>,
}

/// One row of the outbox, borrowed.
pub(crate) struct OutboxRow<'t> {
    pub(crate) number: TxNumber,
    pub(crate) bytes: &'t [u8],
}

/// The rows after `number`, ascending.
pub(crate) fn rows_in<'t, R: Reader>(
    reader: &'t R,
    tables: &SyncTables,
    after: TxNumber,
) -> Result<impl Iterator<Item = Result<OutboxRow<'t>>> + use<'t, R>> {
    let start = keys::number_key(after);
    let range = (Bound::Excluded(&start[..]), Bound::Unbounded);
    let rows = reader.range(tables.outbox, range, Direction::Forward)?;
    Ok(rows.map(|row| {
        let (key, bytes) = row?;
        Ok(OutboxRow { number: keys::number(key)?, bytes })
    }))
}

pub(crate) fn rows<'t>(
    tx: &'t WriteTxn<'_>,
    after: TxNumber,
) -> Result<impl Iterator<Item = Result<OutboxRow<'t>>>> {
    rows_in(tx.engine_tx(), &tx.inner().sync.tables, after)
}

/// The bytes of one undecided transaction, copied because its objects are about to be written.
pub(crate) fn get(tx: &WriteTxn<'_>, number: TxNumber) -> Result<Option<Vec<u8>>> {
    let table = tx.inner().sync.tables.outbox;
    Ok(tx.engine_tx().get(table, &keys::number_key(number))?.map(<[u8]>::to_vec))
}

/// As [`get`], for a number that [`super::pending`] named.
pub(crate) fn expect(tx: &WriteTxn<'_>, number: TxNumber) -> Result<Vec<u8>> {
    get(tx, number)?
        .ok_or_else(|| StoreError::damaged("outbox", format!("transaction {number} is pending but missing")))
}

pub(crate) fn delete(tx: &mut WriteTxn<'_>, number: TxNumber) -> Result<()> {
    let table = tx.inner().sync.tables.outbox;
    tx.delete_raw(table, &keys::number_key(number)).map(|_| ())
}
