//! An embedded object store: typed objects, ACID transactions, indexes, queries, observers and sync metadata.
