//! Searches for inputs that break [`reconvene_fuzz::record::record`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::record::record(bytes));
