//! An embedded object store: typed objects, ACID transactions, indexes, queries, observers and sync metadata.

mod lock;
mod os;
mod seam;

pub use seam::{Durability, SeamError};
