//! Owns join tokens in the store.
