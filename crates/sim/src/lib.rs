//! Test machinery: a faulty TCP proxy, and later the simulator.
