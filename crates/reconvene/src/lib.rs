//! Offline-first object database with sync built in: the crate that applications add.
