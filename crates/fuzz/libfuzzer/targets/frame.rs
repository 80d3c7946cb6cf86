//! Searches for inputs that break [`reconvene_fuzz::frame::frame`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::frame::frame(bytes));
