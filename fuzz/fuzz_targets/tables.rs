#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tallycast::fuzzing::tables(data));
