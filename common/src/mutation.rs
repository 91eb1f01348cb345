//! Owns the faults that the simulation can put into the product to prove that it would see them: each is one rule that
//! the product breaks when it is told to.
//!
//! In a build without debug assertions, and so in every release, there is nothing to tell: [`Mutation::is_active`] is
//! the constant `false`, and the compiler removes what stands behind it.

/// A rule that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// The agent obeys a coordinator that has been succeeded.
    SkipEpochCheck,
    /// The agent obeys an older generation of a wish.
    ObeyOlderGeneration,
    /// The agent takes a hypervisor that cannot be asked for one that has nothing.
    UnknownIsAbsent,
    /// The agent starts a domain again without finding out whether it has run.
    StartWithoutLooking,
    /// The agent forgets a VM that is gone before the coordinator has recorded it.
    ForgetTombstone,
    /// The agent removes a VM and leaves its disk.
    ForgetDisk,
    /// The agent leaves a wish unanswered by deeds when its call failed once.
    GiveUpSilently,
    /// The coordinator frees a VM's capacity when it is asked to stop it.
    FreeCapacityEarly,
    /// The coordinator keeps what it held for a start that could not be recorded.
    ForgetUndo,
    /// The coordinator says yes before the record is durable.
    AcknowledgeEarly,
    /// The coordinator forgets at its start what its VMs hold.
    ForgetReservations,
    /// The coordinator does not repeat its wishes to a host that comes back.
    ForgetToRepeat,
    /// The coordinator places two writers on one drive.
    ShareDrives,
    /// A coordinator that has been succeeded goes on writing.
    WriteWhenDeposed,
    /// The coordinator takes a fence command's `off` for done without asking for the status.
    FenceWithoutStatus,
    /// The coordinator believes that a host is off whose agent answers.
    BelieveOffThoughItAnswers,
    /// The coordinator starts VMs elsewhere when their host is silent for long enough.
    RestartOnSuspicion,
    /// A proof outlives the return of its host in the store.
    KeepProofOnReturn,
    /// The coordinator restarts VMs although too many hosts are silent at once.
    IgnoreBrake,
    /// The agent's VMs run on when its lease has run out.
    IgnoreLease,
    /// The agent calms its watchdog although VMs run without a lease.
    SignWithoutStopping,
    /// The coordinator takes a lease for a proof although no watchdog stands behind it.
    TrustLeaseWithoutWatchdog,
    /// A drain that is cancelled leaves its host shut.
    ForgetToReopen,
    /// A drain stops VMs and does not start again elsewhere what is to be.
    ForgetToStartAgain,
    /// A drain says that its host is empty without looking for what came meanwhile.
    SkipLastLook,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::SkipEpochCheck,
        Self::ObeyOlderGeneration,
        Self::UnknownIsAbsent,
        Self::StartWithoutLooking,
        Self::ForgetTombstone,
        Self::ForgetDisk,
        Self::GiveUpSilently,
        Self::FreeCapacityEarly,
        Self::ForgetUndo,
        Self::AcknowledgeEarly,
        Self::ForgetReservations,
        Self::ForgetToRepeat,
        Self::ShareDrives,
        Self::WriteWhenDeposed,
        Self::FenceWithoutStatus,
        Self::BelieveOffThoughItAnswers,
        Self::RestartOnSuspicion,
        Self::KeepProofOnReturn,
        Self::IgnoreBrake,
        Self::IgnoreLease,
        Self::SignWithoutStopping,
        Self::TrustLeaseWithoutWatchdog,
        Self::ForgetToReopen,
        Self::ForgetToStartAgain,
        Self::SkipLastLook,
    ];

    /// Whether this rule is to be broken on this thread.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn is_active(self) -> bool {
        ACTIVE.get() == Some(self)
    }

    /// Never.
    #[cfg(not(debug_assertions))]
    #[must_use]
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        false
    }

    /// From now on this rule is broken on this thread; none: no rule is.
    #[cfg(debug_assertions)]
    pub fn activate(mutation: Option<Self>) {
        ACTIVE.set(mutation);
    }
}

#[cfg(debug_assertions)]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}
