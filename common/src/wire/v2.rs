//! Owns what protocol version 2 says otherwise than version 1: behind each event and each reply stands what a report in it
//! has learned to say. All other messages are version 1's. **Frozen** as those are; `tests/golden.rs` holds the exact bytes.
//!
//! ```text
//!   version 1:  event, or reply
//!   version 2:  event, or reply; lock manager (with a report; otherwise nothing)
//! ```
//!
//! Must not: hold a domain type, recurse, or have a type without size.

use serde::{Deserialize, Serialize};

use super::v1::{self, InvalidMessage};
use crate::protocol as domain;
use crate::storage::LockManager as DomainLockManager;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Event {
    event: v1::Event,
    lock_manager: Option<LockManager>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reply {
    reply: v1::Reply,
    lock_manager: Option<LockManager>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum LockManager {
    Unknown,
    Off,
    On,
}

impl From<domain::Event> for Event {
    fn from(event: domain::Event) -> Self {
        let lock_manager = match &event {
            domain::Event::Report(report) => Some(report.lock_manager.into()),
            _ => None,
        };
        Self { event: event.into(), lock_manager }
    }
}

impl TryFrom<Event> for domain::Event {
    type Error = InvalidMessage;

    fn try_from(event: Event) -> Result<Self, InvalidMessage> {
        let Event { event, lock_manager } = event;
        let mut event = Self::try_from(event)?;
        // Behind anything else it says nothing.
        if let (Self::Report(report), Some(lock_manager)) = (&mut event, lock_manager) {
            report.lock_manager = lock_manager.into();
        }
        Ok(event)
    }
}

impl From<domain::Reply> for Reply {
    fn from(reply: domain::Reply) -> Self {
        let lock_manager = match &reply.outcome {
            Ok(domain::ReplyBody::Report(report)) => Some(report.lock_manager.into()),
            _ => None,
        };
        Self { reply: reply.into(), lock_manager }
    }
}

impl TryFrom<Reply> for domain::Reply {
    type Error = InvalidMessage;

    fn try_from(reply: Reply) -> Result<Self, InvalidMessage> {
        let Reply { reply, lock_manager } = reply;
        let mut reply = Self::try_from(reply)?;
        if let (Ok(domain::ReplyBody::Report(report)), Some(lock_manager)) =
            (&mut reply.outcome, lock_manager)
        {
            report.lock_manager = lock_manager.into();
        }
        Ok(reply)
    }
}

impl From<DomainLockManager> for LockManager {
    fn from(lock_manager: DomainLockManager) -> Self {
        match lock_manager {
            DomainLockManager::Unknown => Self::Unknown,
            DomainLockManager::Off => Self::Off,
            DomainLockManager::On => Self::On,
        }
    }
}

impl From<LockManager> for DomainLockManager {
    fn from(lock_manager: LockManager) -> Self {
        match lock_manager {
            LockManager::Unknown => Self::Unknown,
            LockManager::Off => Self::Off,
            LockManager::On => Self::On,
        }
    }
}
