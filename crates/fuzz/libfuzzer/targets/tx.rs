//! Searches for inputs that break [`reconvene_fuzz::changes::tx`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::changes::tx(bytes));
