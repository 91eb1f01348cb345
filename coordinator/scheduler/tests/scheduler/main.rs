//! The scheduler seen from outside: the language, decisions against a naive full scan, reservations, explanations.

// The lints that keep input from ending the program do not bind tests, which end when they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch;
mod choices;
mod constraints;
mod decisions;
mod demands;
mod devices;
mod digest;
mod explanations;
mod expression;
mod fixture;
mod language;
mod measurements;
mod naive;
mod naive_devices;
mod naive_nodes;
mod naive_stranded;
mod nodes;
mod quotas;
mod reservations;
mod simulation;
