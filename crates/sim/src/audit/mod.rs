//! The auditor: what must hold whatever happens, from a model too simple to be wrong.
//!
//! [`truth`] decides what the server must decide and what its history makes of every object; [`device`] knows what a device
//! must hold and show, given how far it has come; `restamps`, which of its
//! transactions it may date anew, and `coalesced`, which it may leave out; `names`, what becomes of them when it parts from a copy of it; `conflicts`, that what it tells of them is so.

mod coalesced;
mod conflicts;
pub(crate) mod device;
mod lines;
mod names;
mod restamps;
pub(crate) mod truth;
