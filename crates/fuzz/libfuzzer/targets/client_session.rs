//! Searches for inputs that break [`reconvene_fuzz::session::client`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::session::client(bytes));
