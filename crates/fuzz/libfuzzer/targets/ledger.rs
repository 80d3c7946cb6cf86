//! Searches for inputs that break [`reconvene_fuzz::stores::ledger`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::stores::ledger(bytes));
