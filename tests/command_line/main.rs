//! The command line against the API, in one process: `reeve` as a person types it, a real coordinator over a store in
//! memory, and the socket between them. No host is connected here; real guests are the lab's.

// A test's helper fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_alone;
mod audit;
mod catalogue;
mod coordinator;
mod cost_functions;
mod fixing;
mod guide;
mod realm_rules;
mod refusals;
mod replaying;
mod scripted;
mod typed;
mod waiting;
mod watching;
mod what_would_be;
