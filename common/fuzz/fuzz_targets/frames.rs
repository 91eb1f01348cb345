//! Feeds the frame decoder and every message's decoder with whatever the fuzzer comes up with.
//!
//! `cargo +nightly fuzz run frames -- -malloc_limit_mb=64 -timeout=1`, in `common/`. The memory limit is part of the
//! test: no bytes may make a decoder take more. A find is kept by adding its bytes to `common/tests/wire.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_common::wire::arbitrary_bytes::check;

fuzz_target!(|bytes: &[u8]| {
    if let Err(violation) = check(bytes) {
        panic!("{violation}");
    }
});
