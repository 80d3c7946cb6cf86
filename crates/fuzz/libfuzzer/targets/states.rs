//! Searches for inputs that break [`reconvene_fuzz::changes::states`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::changes::states(bytes));
