//! Records from the outside: what is written is read, by us and by the official FlatBuffers library; damage is an error and
//! never a panic; golden files and the example of `docs/record.md` hold the layout to the byte.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod arbitrary;
mod damage;
mod document;
#[path = "../flex/arbitrary.rs"]
mod flex;
mod golden;
mod headers;
mod official;
mod tables;
