//! The journal as an administrator reads it: a real journald in a place of its own, the product's programs writing into it,
//! and `journalctl` and `reeve` reading it. Run as root, since the place is made of mounts.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod catalogue;
mod flood;
mod hanging;
mod place;
mod secrets;
mod stage;
mod story;
mod two_hosts;
