//! Owns the faults a test can plan: which call fails next, how, and whether it had its effect before it failed.

use std::collections::VecDeque;

use super::super::HypervisorError;

/// The calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is the method of the same name
pub enum Call {
    Facts,
    Domains,
    Domain,
    Define,
    WriteLedger,
    DescribeForeign,
    Adopt,
    Release,
    Start,
    Shutdown,
    Destroy,
    Undefine,
    GuestPing,
    Statistics,
    Pools,
    Volumes,
    CreateVolume,
    CreateSystemDisk,
    DeleteVolume,
    Console,
}

impl Call {
    /// Whether it may change anything that the state file holds.
    pub(super) const fn changes(self) -> bool {
        !matches!(
            self,
            Self::Facts
                | Self::Domains
                | Self::Domain
                | Self::DescribeForeign
                | Self::GuestPing
                | Self::Statistics
                | Self::Volumes
                | Self::Console
        )
    }
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether the call does its work before it fails: the answer is lost, as when the connection breaks in between.
    pub after_effect: bool,
    /// What the caller is told.
    pub kind: FaultKind,
}

/// What the caller of a failing call is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// [`HypervisorError::Unreachable`].
    Unreachable,
    /// [`HypervisorError::Failed`] with these words.
    Failed(String),
    /// [`HypervisorError::Refused`] with these words.
    Refused(String),
}

impl Fault {
    /// The call fails before it did anything, and may succeed if repeated.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { after_effect: false, kind: FaultKind::Failed(why.into()) }
    }

    /// The call is refused.
    #[must_use]
    pub fn refused(why: impl Into<String>) -> Self {
        Self { after_effect: false, kind: FaultKind::Refused(why.into()) }
    }

    /// The call works, and its answer is lost.
    #[must_use]
    pub const fn answer_lost() -> Self {
        Self { after_effect: true, kind: FaultKind::Unreachable }
    }

    pub(super) fn to_error(&self) -> HypervisorError {
        const DOING: &str = "the simulated call";
        match &self.kind {
            FaultKind::Unreachable => {
                HypervisorError::Unreachable("the simulated connection broke".to_owned())
            }
            FaultKind::Failed(why) => HypervisorError::Failed { doing: DOING, why: why.clone() },
            FaultKind::Refused(why) => HypervisorError::Refused { doing: DOING, why: why.clone() },
        }
    }
}

/// The planned faults, each used once, in the order in which they were planned.
#[derive(Debug, Default)]
pub(super) struct FaultPlan(VecDeque<(Call, Fault)>);

impl FaultPlan {
    pub(super) fn plan(&mut self, call: Call, fault: Fault) {
        self.0.push_back((call, fault));
    }

    /// The fault that this call meets, if any; it is used up.
    pub(super) fn take(&mut self, call: Call) -> Option<Fault> {
        let at = self.0.iter().position(|(planned, _)| *planned == call)?;
        self.0.remove(at).map(|(_, fault)| fault)
    }
}
