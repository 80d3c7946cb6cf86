//! Searches for inputs that break [`reconvene_fuzz::frame::ranges`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::frame::ranges(bytes));
