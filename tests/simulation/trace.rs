//! Owns what happened in a simulation, in order: what a failed story is told from, and what two runs of one seed are
//! compared by.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reeve_common::ids::{HostId, VmId};
use tokio::time::Instant;

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the coordinator.
    Coordinator,
    /// On a host.
    Host(HostId),
    /// With whoever uses the coordinator.
    User,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Virtual milliseconds since the beginning.
    pub at: u64,
    /// Where.
    pub place: Place,
    /// What.
    pub what: &'static str,
    /// To which VM.
    pub vm: Option<VmId>,
    /// More about it, where that needs words.
    pub note: Option<String>,
}

/// What happened so far. Clones are one.
#[derive(Clone)]
pub struct Trace {
    began: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Trace {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self { began: Instant::now(), entries: Arc::default() }
    }

    /// Virtual milliseconds since the beginning.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something happened.
    pub fn note(&self, place: Place, what: &'static str, vm: Option<VmId>) {
        self.push(place, what, vm, None);
    }

    /// Something happened, in more words.
    pub fn tell(&self, place: Place, what: &'static str, note: impl Into<String>) {
        self.push(place, what, None, Some(note.into()));
    }

    /// Something happened to a VM, in more words.
    pub fn tell_vm(&self, place: Place, what: &'static str, vm: VmId, note: impl Into<String>) {
        self.push(place, what, Some(vm), Some(note.into()));
    }

    fn push(&self, place: Place, what: &'static str, vm: Option<VmId>, note: Option<String>) {
        let entry = Entry { at: self.now(), place, what, vm, note };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// All of it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Trace {
    /// Whether anything is still there that could tell more: after a story nothing may be.
    #[must_use]
    pub fn is_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.entries) > 1
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => formatter.pad("coordinator"),
            Self::Host(host) => formatter.pad(&format!("host {host}")),
            Self::User => formatter.pad("user"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>8.3} s  {:<12} {}", precise(self.at), self.place, self.what)?;
        if let Some(vm) = self.vm {
            write!(formatter, " VM {}", short(vm))?;
        }
        match &self.note {
            Some(note) => write!(formatter, ": {note}"),
            None => Ok(()),
        }
    }
}

#[allow(clippy::cast_precision_loss)] // minutes in milliseconds
fn precise(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Enough of an id to tell a few VMs apart.
#[must_use]
pub fn short(vm: VmId) -> String {
    vm.to_string().chars().take(4).collect()
}

thread_local! {
    static VIOLATIONS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A rule was broken on this thread. The first is what a story is judged by; the rest follow from it, often.
pub fn violated(trace: &Trace, rule: &'static str, how: impl Into<String>) {
    let how = how.into();
    trace.tell(Place::User, "BROKEN", format!("{rule}: {how}"));
    VIOLATIONS.with_borrow_mut(|violations| violations.push(format!("{rule}: {how}")));
}

/// The rules broken on this thread since the last call.
#[must_use]
pub fn take_violations() -> Vec<String> {
    VIOLATIONS.take()
}

/// Whether one was broken.
#[must_use]
pub fn is_broken() -> bool {
    VIOLATIONS.with_borrow(|violations| !violations.is_empty())
}
