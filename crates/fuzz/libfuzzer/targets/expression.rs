//! Searches for inputs that break [`reconvene_fuzz::expression::expression`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::expression::expression(bytes));
