//! Devices and a server over real sockets, through a proxy that spoils them.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod clocks;
mod conflicts;
mod copies;
mod divergence;
mod faults;
mod limits;
mod logins;
mod pauses;
mod removals;
mod restores;
mod servers;
mod silence;
mod slow_links;
mod strangers;
mod twins;
mod world;
