//! What the store's tests share: both engines, and a look into the outbox.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use reconvene_model::change::{Op, OpsReader, TxHead, decode_tx};
use reconvene_model::evolve::name_uid;
use reconvene_store::{Durability, Store, StoreBuilder};

/// Runs a test on disk and in memory; it gets the directory to open, which is the same store each time while it is open.
pub(crate) fn on_both(test: impl Fn(&Path)) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let directory = tempfile::tempdir().unwrap();
    test(directory.path());
    let name = format!("memory:both-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    test(Path::new(&name));
}

/// Opens a store whose tests do not wait for the disk.
pub(crate) fn builder(directory: &Path) -> StoreBuilder {
    Store::builder(directory).durability(Durability::Relaxed)
}

/// All undecided transactions, decoded.
pub(crate) fn outbox(store: &Store) -> Vec<(TxHead, Vec<Op<'static>>)> {
    let txs = store.sync().outbox(0, usize::MAX, usize::MAX).unwrap();
    let decoded = txs.iter().map(|tx| {
        let (head, block) = decode_tx(&tx.bytes).unwrap();
        assert_eq!(head.number, tx.number);
        let mut reader = OpsReader::new(head.origin, block).unwrap();
        let (mut op, mut ops) = (Op::default(), Vec::new());
        while reader.read_into(&mut op).unwrap() {
            ops.push(op.clone().into_owned());
        }
        (head, ops)
    });
    decoded.collect()
}

/// The names, among these, of the properties that an op writes.
pub(crate) fn written<'n>(op: &Op<'_>, entity: &str, names: &[&'n str]) -> Vec<&'n str> {
    assert_eq!(op.entity, name_uid(entity));
    let is_written =
        |name: &str| op.cells.iter().any(|cell| cell.uid == name_uid(&format!("{entity}.{name}")));
    let found: Vec<&str> = names.iter().copied().filter(|name| is_written(name)).collect();
    assert_eq!(found.len(), op.cells.len(), "the op writes more than {names:?}");
    found
}
