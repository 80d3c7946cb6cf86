//! Queries find what a plain look at every object finds, whatever the plan, on disk and in memory, inside and outside of
//! transactions.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod linking;
mod plans;
mod random;
mod running;
mod tree;
mod world;
