#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tallycast::fuzzing::http_connection(data));
