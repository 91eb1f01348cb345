//! Owns what is known of one VM at one moment: what is wished, what was last seen, and how far this life of the agent
//! has come with it. Everything else about a VM follows from this and the time.
//!
//! Must not: act, or read a clock. What survives the agent is the ledger in the domain's definition, a preparation
//! (before there is a domain) and a tombstone (after); the rest is here and may be lost at any moment.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, PoolName, VmId, VolumeName};
use reeve_common::vm::{DesiredVm, StopReason, VmSpec};

use crate::hypervisor::{DomainState, InactiveCause, LedgerEntry, LedgerWish, OwnDomain};

/// A volume by its pool and name.
pub type Disk = (PoolName, VolumeName);

/// The durable notice that a VM is gone and for what reason. As long as it stands, nothing starts this VM again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Which.
    pub vm: VmId,
    /// The highest generation obeyed for it.
    pub generation: Generation,
    /// The epoch that came with it.
    pub epoch: Epoch,
    /// Why it is gone.
    pub reason: StopReason,
}

/// The durable notice that a disk is about to be made for a VM that has no domain yet; without it a crash between the
/// two would leave a disk that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// Which.
    pub vm: VmId,
    /// The generation being obeyed.
    pub generation: Generation,
    /// The epoch that came with it.
    pub epoch: Epoch,
    /// The disk that may be there.
    pub disk: Disk,
}

/// What is wished for a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To run.
    Running {
        /// The whole specification; none after a restart of the agent until the coordinator repeats its wish.
        spec: Option<Box<VmSpec>>,
    },
    /// Not to run, and to be removed. Final: nothing leads from here back to running.
    Stopped {
        /// When patience ends.
        destroy_at: Timestamp,
        /// Why it stops, once that is settled. A settled reason ends all patience.
        reason: Option<StopReason>,
    },
}

/// What the hypervisor last said of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It could not be asked. Never to be read as "off".
    Unknown,
    /// There is a domain with the VM's id, and it carries no ledger of ours that can be read: somebody removed or spoilt
    /// it, or it is somebody else's. Whatever it is, it is left alone.
    NotOurs,
    /// There is no such domain.
    Absent,
    /// There is.
    Present {
        /// Whether it runs.
        state: DomainState,
        /// What is written in it.
        ledger: LedgerEntry,
    },
}

impl Seen {
    /// Whether a QEMU exists for it, whatever it is doing: running, paused or on its way down.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(
            self,
            Self::Present {
                state: DomainState::Active | DomainState::Paused | DomainState::ShuttingDown,
                ..
            }
        )
    }

    /// The state of the domain, if there is one.
    #[must_use]
    pub const fn state(&self) -> Option<DomainState> {
        match self {
            Self::Present { state, .. } => Some(*state),
            Self::Unknown | Self::NotOurs | Self::Absent => None,
        }
    }
}

/// How far this life of the agent has come with starting it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartPhase {
    /// No attempt in this life. If the ledger names an attempt, it was an earlier life's.
    #[default]
    None,
    /// The ledger says that it is being started: the next act is to start it.
    Armed,
    /// The last attempt failed.
    Failed,
    /// It was started, or was seen running.
    Done,
}

/// What this life of the agent remembers of its own doings with the VM; none of it survives a restart, and nothing
/// goes wrong when it is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The preparation is recorded.
    pub prepared: bool,
    /// The system disk was made.
    pub disk_made: bool,
    /// The domain was defined from the specification at hand.
    pub defined: bool,
    /// A domain was seen at least once.
    pub was_present: bool,
    /// See [`StartPhase`].
    pub start: StartPhase,
    /// Failed attempts at any step of the start; never forgotten, so that a start ends.
    pub start_failures: u32,
    /// Why the start is given up, as soon as a fresh look confirms that the VM does not run.
    pub give_up: Option<StopReason>,
    /// Failures in a row of whatever is being tried.
    pub failures: u32,
    /// Nothing is tried before this moment.
    pub retry_at: Option<Timestamp>,
    /// Since when an end that might be a misunderstanding has been seen.
    pub doubtful_since: Option<Timestamp>,
    /// Why it ended without having been asked to.
    pub ended: Option<StopReason>,
    /// When the guest first answered, until the ledger says so.
    pub registered_at: Option<Timestamp>,
    /// When the guest was last asked for a sign of life.
    pub last_ping: Option<Timestamp>,
    /// Times in a row that it did not answer.
    pub pings_unanswered: u32,
    /// Whether the guest holds its agent's channel open, as far as events said.
    pub guest_agent_connected: Option<bool>,
    /// When it was last destroyed.
    pub destroyed_at: Option<Timestamp>,
    /// When the guest was first asked to shut down.
    pub stop_asked_at: Option<Timestamp>,
    /// It has been asked a second time.
    pub stop_asked_again: bool,
    /// The console's output was kept, or there is none to keep.
    pub console_saved: bool,
    /// The system disk was removed.
    pub disk_deleted: bool,
    /// Its domain was seen to be one that somebody else made and that was adopted.
    pub adopted: bool,
}

/// All that is known of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub vm: VmId,
    /// The highest generation accepted.
    pub generation: Generation,
    /// The epoch that came with it.
    pub epoch: Epoch,
    /// What is wished.
    pub wish: Wish,
    /// What was last seen.
    pub seen: Seen,
    /// The disk that was or will be made for it and goes with it.
    pub disk: Option<Disk>,
    /// The reason on its tombstone, once that is written.
    pub buried: Option<StopReason>,
    /// What this life of the agent remembers.
    pub progress: Progress,
}

impl Known {
    /// A VM that was unknown here until a command named it.
    #[must_use]
    pub fn wished(
        vm: VmId,
        generation: Generation,
        epoch: Epoch,
        desired: DesiredVm,
        now: Timestamp,
    ) -> Self {
        let mut known = Self {
            vm,
            generation,
            epoch,
            wish: Wish::Running { spec: None },
            seen: Seen::Unknown,
            disk: None,
            buried: None,
            progress: Progress::default(),
        };
        known.adopt(generation, epoch, desired, now);
        known
    }

    /// A VM found in libvirt by its ledger.
    #[must_use]
    pub fn found(domain: OwnDomain, now: Timestamp) -> Self {
        let OwnDomain { vm, state, ledger, .. } = domain;
        let wish = match &ledger.wish {
            LedgerWish::Running => Wish::Running { spec: None },
            LedgerWish::Stopped { destroy_at, reason } => {
                Wish::Stopped { destroy_at: *destroy_at, reason: reason.clone() }
            }
        };
        let mut known = Self {
            vm,
            generation: ledger.generation,
            epoch: ledger.epoch,
            wish,
            seen: Seen::Unknown,
            disk: ledger.system_disk.clone(),
            buried: None,
            progress: Progress { prepared: true, ..Progress::default() },
        };
        known.see(Seen::Present { state, ledger }, now);
        known
    }

    /// A VM of which only the preparation is left: its disk may be there, its domain is not.
    #[must_use]
    pub fn prepared(preparation: Preparation) -> Self {
        Self {
            vm: preparation.vm,
            generation: preparation.generation,
            epoch: preparation.epoch,
            wish: Wish::Running { spec: None },
            seen: Seen::Unknown,
            disk: Some(preparation.disk),
            buried: None,
            progress: Progress { prepared: true, ..Progress::default() },
        }
    }

    /// The same VM with a tombstone already written: what is left of it has only to be removed.
    #[must_use]
    pub fn buried(mut self, tombstone: Tombstone) -> Self {
        self.generation = self.generation.max(tombstone.generation);
        self.epoch = self.epoch.max(tombstone.epoch);
        self.buried = Some(tombstone.reason);
        self
    }

    /// Takes over what was seen, and draws the conclusions that would be lost by the next look.
    pub fn see(&mut self, seen: Seen, now: Timestamp) {
        if let Seen::Present { ledger, .. } = &seen {
            self.progress.was_present = true;
            self.progress.adopted = ledger.is_adopted();
            if self.disk.is_none() {
                self.disk.clone_from(&ledger.system_disk);
            }
        }
        self.seen = seen;
        if self.seen.is_active() {
            self.progress.start = StartPhase::Done;
            self.progress.give_up = None;
            self.progress.ended = None;
            self.progress.doubtful_since = None;
            return;
        }
        if matches!(self.seen, Seen::Unknown | Seen::NotOurs) {
            return;
        }
        self.progress.guest_agent_connected = None;
        if self.is_doubtful() {
            self.progress.doubtful_since.get_or_insert(now);
        } else {
            self.progress.doubtful_since = None;
        }
        if self.progress.ended.is_none() && matches!(self.wish, Wish::Running { .. }) {
            self.progress.ended = self.unasked_end();
        }
    }

    /// Takes over a wish that the request policy let through. Safe by itself: what is older changes nothing, and what
    /// is being stopped is never started.
    pub fn adopt(&mut self, generation: Generation, epoch: Epoch, desired: DesiredVm, now: Timestamp) {
        if generation < self.generation {
            return;
        }
        let repeated = generation == self.generation;
        self.generation = generation;
        self.epoch = self.epoch.max(epoch);
        match (&mut self.wish, desired) {
            (Wish::Stopped { .. }, DesiredVm::Running(_) | DesiredVm::Adopted(_) | DesiredVm::Released)
            | (Wish::Running { .. }, DesiredVm::Adopted(_)) => {}
            (Wish::Running { .. }, DesiredVm::Released) => {
                self.wish = Wish::Stopped { destroy_at: now, reason: Some(StopReason::Released) };
                self.progress.retry_at = None;
                self.progress.failures = 0;
            }
            (Wish::Running { spec }, DesiredVm::Running(wished)) => {
                if self.disk.is_none() {
                    self.disk = Some((wished.system_disk.pool.clone(), wished.system_disk.volume.clone()));
                }
                if spec.as_ref() != Some(&wished) {
                    self.progress.defined = false;
                    *spec = Some(wished);
                }
            }
            (Wish::Running { .. }, DesiredVm::Stopped { grace }) => {
                let at_once = grace.is_zero().then_some(StopReason::Destroyed);
                let reason = self.progress.ended.clone().or(at_once);
                self.wish = Wish::Stopped { destroy_at: now.after(grace), reason };
                self.progress.retry_at = None;
                self.progress.failures = 0;
            }
            (Wish::Stopped { destroy_at, reason }, DesiredVm::Stopped { grace }) => {
                if !repeated && reason.is_none() {
                    *destroy_at = now.after(grace);
                    *reason = grace.is_zero().then_some(StopReason::Destroyed);
                }
                self.progress.retry_at = None;
            }
        }
    }

    /// Whether what is seen might be a misunderstanding, so that it is looked at again before anything is given up:
    /// a start that an earlier life of the agent began and nobody knows the end of, or a domain that vanished.
    fn is_doubtful(&self) -> bool {
        if !matches!(self.wish, Wish::Running { .. }) {
            return false;
        }
        match &self.seen {
            Seen::Unknown | Seen::NotOurs => false,
            Seen::Absent => self.progress.was_present,
            Seen::Present { .. } => self.is_interrupted_start(),
        }
    }

    /// Whether an earlier life of the agent meant to start it, and neither the guest nor libvirt can say that it ran.
    #[must_use]
    pub fn is_interrupted_start(&self) -> bool {
        let Seen::Present { state: DomainState::Inactive(cause), ledger } = &self.seen else { return false };
        matches!(cause, InactiveCause::Unknown | InactiveCause::Failed)
            && ledger.started_at.is_some()
            && ledger.registered_at.is_none()
            && self.progress.start == StartPhase::None
    }

    /// Why a VM that should run has ended; none as long as it has not run, or might still be started.
    fn unasked_end(&self) -> Option<StopReason> {
        let Seen::Present { state: DomainState::Inactive(cause), ledger } = &self.seen else { return None };
        // Somebody destroyed it while it was being started: that is not tried again against their will.
        let may_still_start = matches!(self.progress.start, StartPhase::Armed | StartPhase::Failed)
            && *cause != InactiveCause::Destroyed;
        if ledger.started_at.is_none() || may_still_start || self.is_interrupted_start() {
            return None;
        }
        Some(match cause {
            InactiveCause::ShutDown => StopReason::GuestPowerOff,
            InactiveCause::Destroyed => StopReason::Destroyed,
            InactiveCause::Crashed | InactiveCause::Failed => StopReason::Crashed,
            InactiveCause::Unknown => StopReason::FoundStopped,
        })
    }

    /// Whether it is given back as it is, and so never stopped.
    #[must_use]
    pub const fn is_released(&self) -> bool {
        let wished = matches!(self.wish, Wish::Stopped { reason: Some(StopReason::Released), .. });
        wished || matches!(self.buried, Some(StopReason::Released))
    }

    /// Whether its end is recorded and what is there is somebody else's again: nothing of it is left that is ours.
    #[must_use]
    pub const fn is_theirs_again(&self) -> bool {
        let is_there = matches!(self.seen, Seen::NotOurs) && self.buried.is_some();
        is_there && (self.progress.adopted || self.is_released())
    }

    /// Whether the wish is that it stops, or is ours no longer.
    #[must_use]
    pub const fn is_stopping(&self) -> bool {
        matches!(self.wish, Wish::Stopped { .. }) || self.buried.is_some()
    }

    /// When the guest first answered, from the ledger or from memory.
    #[must_use]
    pub fn registered_at(&self) -> Option<Timestamp> {
        let written = match &self.seen {
            Seen::Present { ledger, .. } => ledger.registered_at,
            Seen::Unknown | Seen::NotOurs | Seen::Absent => None,
        };
        written.or(self.progress.registered_at)
    }
}
