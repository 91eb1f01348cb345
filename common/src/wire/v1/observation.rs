//! Owns what a host sees of VMs as it is on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::adoption::AdoptionObstacle;
use super::{
    FreeText, Id, InvalidMessage, Name, from_free_text, from_id, from_name, to_free_text, to_id, to_name,
};
use crate::clock::Timestamp;
use crate::ids::{Epoch, Generation, VmId};
use crate::units::Mebibytes;
use crate::vm as domain;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum StopReason {
    ShutDown,
    DestroyedAfterGrace,
    Destroyed,
    GuestPowerOff,
    Crashed,
    RegistrationTimeout,
    StartFailed(FreeText),
    FoundStopped,
    Released,
}

impl From<domain::StopReason> for StopReason {
    fn from(reason: domain::StopReason) -> Self {
        match reason {
            domain::StopReason::ShutDown => Self::ShutDown,
            domain::StopReason::DestroyedAfterGrace => Self::DestroyedAfterGrace,
            domain::StopReason::Destroyed => Self::Destroyed,
            domain::StopReason::GuestPowerOff => Self::GuestPowerOff,
            domain::StopReason::Crashed => Self::Crashed,
            domain::StopReason::RegistrationTimeout => Self::RegistrationTimeout,
            domain::StopReason::StartFailed(why) => Self::StartFailed(to_free_text(&why)),
            domain::StopReason::FoundStopped => Self::FoundStopped,
            domain::StopReason::Released => Self::Released,
        }
    }
}

impl From<StopReason> for domain::StopReason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::ShutDown => Self::ShutDown,
            StopReason::DestroyedAfterGrace => Self::DestroyedAfterGrace,
            StopReason::Destroyed => Self::Destroyed,
            StopReason::GuestPowerOff => Self::GuestPowerOff,
            StopReason::Crashed => Self::Crashed,
            StopReason::RegistrationTimeout => Self::RegistrationTimeout,
            StopReason::StartFailed(why) => Self::StartFailed(from_free_text(&why)),
            StopReason::FoundStopped => Self::FoundStopped,
            StopReason::Released => Self::Released,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum ObservedVm {
    Defining,
    Starting,
    Registering { started_at: u64, deadline: u64 },
    Running { started_at: u64, registered_at: u64 },
    Paused,
    Stopping,
    Ended(StopReason),
    Gone(StopReason),
    Unknown,
}

impl From<domain::ObservedVm> for ObservedVm {
    fn from(observed: domain::ObservedVm) -> Self {
        match observed {
            domain::ObservedVm::Defining => Self::Defining,
            domain::ObservedVm::Starting => Self::Starting,
            domain::ObservedVm::Registering { started_at, deadline } => {
                Self::Registering { started_at: started_at.0, deadline: deadline.0 }
            }
            domain::ObservedVm::Running { started_at, registered_at } => {
                Self::Running { started_at: started_at.0, registered_at: registered_at.0 }
            }
            domain::ObservedVm::Paused => Self::Paused,
            domain::ObservedVm::Stopping => Self::Stopping,
            domain::ObservedVm::Ended(reason) => Self::Ended(reason.into()),
            domain::ObservedVm::Gone(reason) => Self::Gone(reason.into()),
            domain::ObservedVm::Unknown => Self::Unknown,
        }
    }
}

impl From<ObservedVm> for domain::ObservedVm {
    fn from(observed: ObservedVm) -> Self {
        match observed {
            ObservedVm::Defining => Self::Defining,
            ObservedVm::Starting => Self::Starting,
            ObservedVm::Registering { started_at, deadline } => {
                Self::Registering { started_at: Timestamp(started_at), deadline: Timestamp(deadline) }
            }
            ObservedVm::Running { started_at, registered_at } => {
                Self::Running { started_at: Timestamp(started_at), registered_at: Timestamp(registered_at) }
            }
            ObservedVm::Paused => Self::Paused,
            ObservedVm::Stopping => Self::Stopping,
            ObservedVm::Ended(reason) => Self::Ended(reason.into()),
            ObservedVm::Gone(reason) => Self::Gone(reason.into()),
            ObservedVm::Unknown => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct VmObservation {
    vm: Id,
    generation: u64,
    epoch: u64,
    observed: ObservedVm,
}

impl From<domain::VmObservation> for VmObservation {
    fn from(observation: domain::VmObservation) -> Self {
        Self {
            vm: to_id(observation.vm.0),
            generation: observation.generation.0,
            epoch: observation.epoch.0,
            observed: observation.observed.into(),
        }
    }
}

impl From<VmObservation> for domain::VmObservation {
    fn from(observation: VmObservation) -> Self {
        Self {
            vm: VmId(from_id(observation.vm)),
            generation: Generation(observation.generation),
            epoch: Epoch(observation.epoch),
            observed: observation.observed.into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct ForeignDomain {
    id: Id,
    name: FreeText,
    active: bool,
    vcpus: u32,
    memory_mebibytes: u64,
    paused: bool,
    obstacle: Option<AdoptionObstacle>,
}

impl From<domain::ForeignDomain> for ForeignDomain {
    fn from(foreign: domain::ForeignDomain) -> Self {
        Self {
            id: to_id(foreign.id.0),
            name: to_free_text(&foreign.name),
            active: foreign.active,
            vcpus: foreign.vcpus,
            memory_mebibytes: foreign.memory.0,
            paused: foreign.paused,
            obstacle: foreign.obstacle.map(Into::into),
        }
    }
}

impl From<ForeignDomain> for domain::ForeignDomain {
    fn from(foreign: ForeignDomain) -> Self {
        Self {
            id: VmId(from_id(foreign.id)),
            name: from_free_text(&foreign.name),
            active: foreign.active,
            vcpus: foreign.vcpus,
            memory: Mebibytes(foreign.memory_mebibytes),
            paused: foreign.paused,
            obstacle: foreign.obstacle.map(Into::into),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct DomainSize {
    vm: Id,
    name: Name,
    vcpus: u32,
    memory_mebibytes: u64,
}

impl From<domain::DomainSize> for DomainSize {
    fn from(size: domain::DomainSize) -> Self {
        Self {
            vm: to_id(size.vm.0),
            name: to_name(size.name),
            vcpus: size.vcpus,
            memory_mebibytes: size.memory.0,
        }
    }
}

impl TryFrom<DomainSize> for domain::DomainSize {
    type Error = InvalidMessage;

    fn try_from(size: DomainSize) -> Result<Self, InvalidMessage> {
        Ok(Self {
            vm: VmId(from_id(size.vm)),
            name: from_name(size.name)?,
            vcpus: size.vcpus,
            memory: Mebibytes(size.memory_mebibytes),
        })
    }
}
