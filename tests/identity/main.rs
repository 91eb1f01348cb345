//! Identity and the wire over real loopback QUIC: who is let in, who is not, and what each side is told.

mod hostile;
mod joining;
mod refusals;
mod renewal;
mod sessions;
mod support;
