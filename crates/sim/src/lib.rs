//! Test machinery of Reconvene: a simulator that tries to break its promises, and a TCP proxy whose faults are switched
//! while connections run.
//!
//! Nothing in here belongs into a shipped application; tests and the demo use it.
//!
//! The simulator runs many devices and a server in one thread and in virtual time: the real stores, the real sessions, and the
//! engines' own decisions, with a network that it makes up. A run is a [`Scenario`]; [`workload`] invents one from a seed,
//! [`runner`] runs it and makes a failing one shorter.
//!
//! - [`scenario`]: what happens, as data; [`schema`]: the application of the devices
//! - `world`: devices, server, network, users; `audit`: what must hold
//! - [`coverage`]: what the runs came across
//! - [`real`]: real processes, killed and paused, held against the same auditor

mod audit;
pub mod chance;
pub mod coverage;
pub mod finding;
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod real;
pub mod runner;
pub mod scenario;
pub mod schema;
pub mod workload;
mod world;

pub use coverage::Coverage;
pub use finding::Finding;
pub use proxy::{Counters, Direction, Proxy, ProxyHandle};
pub use scenario::Scenario;
