//! The wire from outside: exact bytes, every value there and back, and arbitrary bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers beside the tests fail them as tests do

mod wire {
    mod arbitrary;
    mod golden;
    mod handshake;
    mod round_trip;
    mod samples;
}
