//! Owns events as they are on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::observation::{DomainSize, ForeignDomain, VmObservation};
use super::storage::PoolReport;
use super::{Id, InvalidMessage, Pem, from_id, from_milliseconds, to_id, to_milliseconds};
use crate::ids::OperationId;
use crate::protocol as domain;
use crate::storage::LockManager;
use crate::wire::bounded::{List, Text};
use crate::wire::limits::{FOREIGN_DOMAINS_MAX, POOLS_MAX, REPORT_ANSWERS_MAX, VMS_MAX, WATCHDOG_MIN};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) enum Event {
    Report(HostReport),
    Vm(VmObservation),
    Hypervisor { reachable: bool },
    Request(AgentRequest),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) enum AgentRequest {
    RenewCertificate { signing_request: Pem },
    RenewLease { number: u64, watchdog_milliseconds: Option<u64> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct HostReport {
    hypervisor_reachable: bool,
    vms: List<VmObservation, VMS_MAX>,
    foreign: List<ForeignDomain, FOREIGN_DOMAINS_MAX>,
    pools: List<PoolReport, POOLS_MAX>,
    sizes: List<DomainSize, VMS_MAX>,
    answers: List<Id, REPORT_ANSWERS_MAX>,
}

impl From<domain::HostReport> for HostReport {
    fn from(report: domain::HostReport) -> Self {
        Self {
            hypervisor_reachable: report.hypervisor_reachable,
            vms: List(report.vms.into_iter().map(Into::into).collect()),
            foreign: List(report.foreign.into_iter().map(Into::into).collect()),
            pools: List(report.pools.into_iter().map(Into::into).collect()),
            sizes: List(report.sizes.into_iter().map(Into::into).collect()),
            answers: List(report.answers.into_iter().map(|operation| to_id(operation.0)).collect()),
        }
    }
}

impl TryFrom<HostReport> for domain::HostReport {
    type Error = InvalidMessage;

    fn try_from(report: HostReport) -> Result<Self, InvalidMessage> {
        Ok(Self {
            hypervisor_reachable: report.hypervisor_reachable,
            vms: report.vms.0.into_iter().map(Into::into).collect(),
            foreign: report.foreign.0.into_iter().map(Into::into).collect(),
            pools: report.pools.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            sizes: report.sizes.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            answers: report.answers.0.into_iter().map(|id| OperationId(from_id(id))).collect(),
            lock_manager: LockManager::Unknown,
        })
    }
}

impl From<domain::Event> for Event {
    fn from(event: domain::Event) -> Self {
        match event {
            domain::Event::Report(report) => Self::Report(report.into()),
            domain::Event::Vm(observation) => Self::Vm(observation.into()),
            domain::Event::Hypervisor { reachable } => Self::Hypervisor { reachable },
            domain::Event::Request(domain::AgentRequest::RenewLease { number, watchdog }) => {
                let watchdog_milliseconds = watchdog.map(to_milliseconds);
                Self::Request(AgentRequest::RenewLease { number, watchdog_milliseconds })
            }
            domain::Event::Request(domain::AgentRequest::RenewCertificate { signing_request }) => {
                Self::Request(AgentRequest::RenewCertificate { signing_request: Text(signing_request) })
            }
        }
    }
}

impl TryFrom<Event> for domain::Event {
    type Error = InvalidMessage;

    fn try_from(event: Event) -> Result<Self, InvalidMessage> {
        Ok(match event {
            Event::Report(report) => Self::Report(report.try_into()?),
            Event::Vm(observation) => Self::Vm(observation.into()),
            Event::Hypervisor { reachable } => Self::Hypervisor { reachable },
            Event::Request(AgentRequest::RenewLease { number, watchdog_milliseconds }) => {
                let limit = |time| from_milliseconds("a watchdog's time in milliseconds", time, WATCHDOG_MIN);
                let watchdog = watchdog_milliseconds.map(limit).transpose()?;
                Self::Request(domain::AgentRequest::RenewLease { number, watchdog })
            }
            Event::Request(AgentRequest::RenewCertificate { signing_request }) => {
                Self::Request(domain::AgentRequest::RenewCertificate { signing_request: signing_request.0 })
            }
        })
    }
}
