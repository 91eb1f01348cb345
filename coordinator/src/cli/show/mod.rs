//! Owns how each document is shown to people: which columns, which keys, in which order. Pure: a document and the
//! moment in, text out.

pub(super) mod adoption;
pub(super) mod audit;
pub(super) mod catalogue;
pub(super) mod cost;
pub(super) mod explanation;
pub(super) mod fence;
pub(super) mod fix_vms;
pub(super) mod host;
pub(super) mod journal;
pub(super) mod realm;
pub(super) mod replay;
pub(super) mod simulation;
pub(super) mod status;
pub(super) mod vm;
pub(super) mod warning;
pub(super) mod workflow;

#[cfg(test)]
mod tests;
