//! How far a check is.

use crate::seam::{Reader, TableId};
use crate::sync::Role;
use crate::txn::ReadTxn;

/// After how many rows it is told how far a check is.
const TOLD_AFTER_ROWS: u64 = 1_000;

/// Counts the rows that were visited, for whoever wants to know.
#[derive(Default)]
pub(super) struct Counted<'w> {
    watch: Option<&'w dyn Fn(u64, u64)>,
    done: u64,
    total: u64,
}

impl<'w> Counted<'w> {
    pub(super) fn watched(watch: &'w dyn Fn(u64, u64), total: u64) -> Counted<'w> {
        Counted { watch: Some(watch), done: 0, total }
    }

    pub(super) fn one_more(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(TOLD_AFTER_ROWS)
            && let Some(watch) = self.watch
        {
            watch(self.done.min(self.total), self.total);
        }
    }
}

/// How many rows a check visits where nothing is damaged.
pub(super) fn rows(tx: &ReadTxn<'_>) -> u64 {
    let inner = tx.inner();
    let tables = &inner.sync.tables;
    let mut all = vec![tables.outbox, tables.confirmed, tables.rejected];
    for entity in inner.catalog.entities() {
        all.extend([Some(entity.objects), entity.absent, entity.global_ids].into_iter().flatten());
    }
    all.extend(inner.catalog.relations().iter().map(|relation| relation.forward));
    if inner.sync.role == Role::Server {
        all.extend([tables.changes, tables.origins, tables.decisions]);
    }
    // A table that cannot be counted is found damaged when its rows are visited.
    all.into_iter().map(|table: TableId| tx.engine_tx().count(table).unwrap_or(0)).sum()
}
