//! Owns how domains that nobody manages become documents, and how an adoption is read.

use reeve_common::units::Mebibytes;

use crate::api::types::{AdoptionRequest, DomainState, UnmanagedDomain};
use crate::model::adoption::NewOwner;
use crate::service;

pub(in crate::api) fn unmanaged_of(unmanaged: &service::UnmanagedDomain) -> UnmanagedDomain {
    let domain = &unmanaged.domain;
    let Mebibytes(memory_mib) = domain.memory;
    UnmanagedDomain {
        host: unmanaged.host.clone(),
        name: domain.name.clone(),
        id: domain.id,
        cores: domain.vcpus,
        memory_mib,
        state: match (domain.active, domain.paused) {
            (false, _) => DomainState::Off,
            (true, true) => DomainState::Paused,
            (true, false) => DomainState::Running,
        },
        obstacle: unmanaged.obstacle.clone(),
    }
}

/// The domain that is meant, and whose it is to be.
pub(in crate::api) fn adoption(request: AdoptionRequest) -> (String, NewOwner) {
    let AdoptionRequest { domain, owner, team, project, title } = request;
    (domain, NewOwner { owner, team, project, title })
}
