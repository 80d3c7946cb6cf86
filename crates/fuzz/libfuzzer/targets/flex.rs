//! Searches for inputs that break [`reconvene_fuzz::flex::flex`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::flex::flex(bytes));
