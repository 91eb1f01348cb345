//! Owns the way back: how a coordinator that has lost its records, or has had older ones restored, learns from the agents
//! what really is there.
//!
//! ```text
//!   told with each VM:  origin ──▶ ledger on the host
//!   recover:  agents connect ──▶ gathering ──▶ merging with what the store has ──▶ store, in a new epoch ──▶ run
//! ```
//!
//! Must not: start, stop or move a VM. What is wished stays wished, what is over stays over, and nothing that is known
//! only from an old record is ever started: since it was written it may have run and ended, or run elsewhere.

mod command;
mod gathering;
mod merging;
mod origin;
mod telling;
mod writing;

pub use command::{RecoverError, RecoverRequest, Recovered, recover};
pub use gathering::HostAnswer;
pub use merging::{Findings, FoundVm, Known, Merged, merge};
pub use origin::{Origin, origin_text};
pub use writing::{PendingRecovery, WritingError, pending_recovery};

pub(crate) use writing::{EPOCHS_SKIPPED, HOST_NUMBERS_SKIPPED, pending_key};
