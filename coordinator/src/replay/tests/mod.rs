//! Tests of whole traces: what is refused of a file, and what a replay comes to.

mod reading;
mod replaying;
