//! Test machinery of Reconvene: a TCP proxy whose faults are switched while connections run.
//!
//! Nothing in here belongs into a shipped application; tests and the demo use it.

pub mod proxy;

pub use proxy::{Counters, Direction, Proxy, ProxyHandle};
