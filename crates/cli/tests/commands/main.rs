//! The everyday commands as people and scripts meet them: the real program on real directories.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod beside;
mod guide;
mod looking;
mod models;
mod moving;
mod safety;
mod support;
