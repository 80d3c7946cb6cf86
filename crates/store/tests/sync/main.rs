//! Devices and a server as stores alone: the histories of sync without sockets, with every loss in between.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod clocks;
mod coalescing;
mod compare;
mod conflicts;
mod copies;
mod digest;
mod expiry;
mod findings;
mod histories;
mod hostile;
mod named;
mod policies;
mod renewals;
mod restores;
mod room;
mod seats;
mod versions;
mod world;
