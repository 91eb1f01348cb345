//! Identity and the wire over real loopback QUIC: who is let in, who is not, and what each side is told.

// The helpers beside the tests fail a test the way the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod admission;
mod hostile;
mod joining;
mod refusals;
mod renewal;
mod restart;
mod returning;
mod session_tickets;
mod sessions;
mod signs;
mod support;
mod versions;
mod witnesses;
