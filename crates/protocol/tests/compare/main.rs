//! Compares by ranges: what they find, what they cost, and what a hostile side can do to them.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]
#![allow(clippy::print_stdout, reason = "what a compare costs is printed for its document")]

mod cost;
mod exact;
mod hostile;
mod moving;
mod sessions;
mod support;
