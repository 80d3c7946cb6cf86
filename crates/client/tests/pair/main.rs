//! Devices and a server over real sockets, through a proxy that spoils them.

mod conflicts;
mod faults;
mod logins;
mod world;
