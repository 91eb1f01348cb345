//! Feeds the frame decoder and every message's decoder with whatever the fuzzer comes up with.
//!
//! `cargo +nightly fuzz run frames -- -malloc_limit_mb=64 -timeout=1`, in `common/`. The memory limit is part of the
//! test: no bytes may make a decoder take more. A find is kept by adding its bytes to `common/tests/wire/arbitrary.rs`.
//!
//! Without a nightly compiler, the same without the address sanitizer, in `common/fuzz/`:
//!
//! ```text
//! RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
//!   -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
//!   -Cllvm-args=-sanitizer-coverage-trace-compares" \
//!   cargo run --release --target x86_64-unknown-linux-gnu -- -malloc_limit_mb=64 -timeout=1 corpus
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_common::wire::arbitrary_bytes::check;

fuzz_target!(|bytes: &[u8]| {
    if let Err(violation) = check(bytes) {
        panic!("{violation}");
    }
});
