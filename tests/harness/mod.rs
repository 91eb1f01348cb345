//! Owns what end-to-end tests are written with, so that they read like prose.

pub mod waiting;
