//! Devices and a server as stores alone: the histories of sync without sockets, with every loss in between.

mod digest;
mod histories;
mod hostile;
mod named;
mod versions;
mod world;
