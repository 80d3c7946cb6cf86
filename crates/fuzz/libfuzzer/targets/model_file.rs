//! Searches for inputs that break [`reconvene_fuzz::model_file::model_file`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reconvene_fuzz::model_file::model_file(bytes));
