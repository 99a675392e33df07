//! `foobar_fuzz::capture` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foobar_fuzz::capture(bytes));
