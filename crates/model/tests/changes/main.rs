//! Changes, states and the merge laws, from the outside: laws, findings, searches, codecs and golden files.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod codec;
mod findings;
mod golden;
mod histories;
mod kinds;
mod laws;
mod refusals;
mod search;
