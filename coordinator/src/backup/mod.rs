//! Owns what keeps the records when the machine is lost: backups, their restoration, and the proof that a store or a
//! backup is whole.
//!
//! ```text
//!   backup ──▶ FILE: the store at one moment + the certificate authority      (while the coordinator runs)
//!   FILE ──▶ restore ──▶ store with the recovery's mark ──▶ recover ──▶ run   (it does not run)
//! ```
//!
//! Must not: let a restored store be run on before the hosts have been asked. It has forgotten what happened since, and
//! would place a second time what has been placed, and start what is over.

mod restoration;
mod saving;
mod verification;

pub use restoration::{RestoreError, Restored, restore};
pub use saving::{SaveError, save};
pub use verification::{Verdict, VerifyError, verify};

/// What a backup says of itself, besides the authority's files.
const MADE_AT: &str = "made-at";
const RELEASE: &str = "release";
