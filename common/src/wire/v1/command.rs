//! Owns commands and replies as they are on the wire, protocol version 1.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adoption::DomainDescription;
use super::checkpoint::SignedCheckpoint;
use super::description::VmDescription;
use super::event::HostReport;
use super::hello::RealmSettings;
use super::journal::{JournalPage, JournalQuery};
use super::storage::{NewVolume, Volume};
use super::vm::DesiredVm;
use super::{
    FreeText, Id, InvalidMessage, Name, Pem, from_free_text, from_id, from_milliseconds, from_name,
    to_free_text, to_id, to_milliseconds, to_name,
};
use crate::ids::{Epoch, Generation, OperationId, VmId};
use crate::protocol as domain;
use crate::vm;
use crate::wire::bounded::{Blob, List, Text};
use crate::wire::limits::{CONSOLE_LENGTH_MAX, DESCRIPTIONS_MAX, VOLUMES_MAX};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct Command {
    epoch: u64,
    operation: Id,
    body: CommandBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum CommandBody {
    EnsureVm { vm: Id, generation: u64, desired: DesiredVm },
    ForgetVm { vm: Id, generation: u64 },
    ConfigureRealm(RealmSettings),
    Report,
    ReadConsole { vm: Id, length_max: u32 },
    ListVolumes { pool: Name },
    CreateVolume(NewVolume),
    DeleteVolume { pool: Name, volume: Name },
    InstallCertificate { certificate: Pem },
    GrantLease { number: u64, lease_milliseconds: u64 },
    DescribeVms { after: Option<Id> },
    Witness { checkpoint: Option<SignedCheckpoint> },
    ReadReport,
    DescribeDomain { domain: Id },
    ReadJournal(JournalQuery),
}

impl From<domain::Command> for Command {
    fn from(command: domain::Command) -> Self {
        Self { epoch: command.epoch.0, operation: to_id(command.operation.0), body: command.body.into() }
    }
}

impl TryFrom<Command> for domain::Command {
    type Error = InvalidMessage;

    fn try_from(command: Command) -> Result<Self, InvalidMessage> {
        Ok(Self {
            epoch: Epoch(command.epoch),
            operation: OperationId(from_id(command.operation)),
            body: command.body.try_into()?,
        })
    }
}

impl From<domain::CommandBody> for CommandBody {
    fn from(body: domain::CommandBody) -> Self {
        match body {
            domain::CommandBody::EnsureVm { vm, generation, desired } => {
                Self::EnsureVm { vm: to_id(vm.0), generation: generation.0, desired: desired.into() }
            }
            domain::CommandBody::ForgetVm { vm, generation } => {
                Self::ForgetVm { vm: to_id(vm.0), generation: generation.0 }
            }
            domain::CommandBody::ConfigureRealm(realm) => Self::ConfigureRealm(realm.into()),
            domain::CommandBody::Report => Self::Report,
            domain::CommandBody::ReadConsole { vm, length_max } => {
                Self::ReadConsole { vm: to_id(vm.0), length_max }
            }
            domain::CommandBody::ListVolumes { pool } => Self::ListVolumes { pool: to_name(pool) },
            domain::CommandBody::CreateVolume(volume) => Self::CreateVolume(volume.into()),
            domain::CommandBody::DeleteVolume { pool, volume } => {
                Self::DeleteVolume { pool: to_name(pool), volume: to_name(volume) }
            }
            domain::CommandBody::InstallCertificate { certificate } => {
                Self::InstallCertificate { certificate: Text(certificate) }
            }
            domain::CommandBody::GrantLease { number, lease } => {
                Self::GrantLease { number, lease_milliseconds: to_milliseconds(lease) }
            }
            domain::CommandBody::DescribeVms { after } => {
                Self::DescribeVms { after: after.map(|vm| to_id(vm.0)) }
            }
            domain::CommandBody::Witness { checkpoint } => {
                Self::Witness { checkpoint: checkpoint.map(Into::into) }
            }
            domain::CommandBody::ReadReport => Self::ReadReport,
            domain::CommandBody::DescribeDomain { domain } => {
                Self::DescribeDomain { domain: to_id(domain.0) }
            }
            domain::CommandBody::ReadJournal(query) => Self::ReadJournal(query.into()),
        }
    }
}

impl TryFrom<CommandBody> for domain::CommandBody {
    type Error = InvalidMessage;

    fn try_from(body: CommandBody) -> Result<Self, InvalidMessage> {
        Ok(match body {
            CommandBody::EnsureVm { vm, generation, desired } => Self::EnsureVm {
                vm: VmId(from_id(vm)),
                generation: Generation(generation),
                desired: desired.try_into()?,
            },
            CommandBody::ForgetVm { vm, generation } => {
                Self::ForgetVm { vm: VmId(from_id(vm)), generation: Generation(generation) }
            }
            CommandBody::ConfigureRealm(realm) => Self::ConfigureRealm(realm.try_into()?),
            CommandBody::Report => Self::Report,
            CommandBody::ReadConsole { vm, length_max } => {
                // No answer could carry more, so less is asked for rather than the question refused.
                let most = u32::try_from(CONSOLE_LENGTH_MAX).unwrap_or(u32::MAX);
                Self::ReadConsole { vm: VmId(from_id(vm)), length_max: length_max.min(most) }
            }
            CommandBody::ListVolumes { pool } => Self::ListVolumes { pool: from_name(pool)? },
            CommandBody::CreateVolume(volume) => Self::CreateVolume(volume.try_into()?),
            CommandBody::DeleteVolume { pool, volume } => {
                Self::DeleteVolume { pool: from_name(pool)?, volume: from_name(volume)? }
            }
            CommandBody::InstallCertificate { certificate } => {
                Self::InstallCertificate { certificate: certificate.0 }
            }
            CommandBody::GrantLease { number, lease_milliseconds } => {
                // One that is given up is acknowledged with none.
                let lease = from_milliseconds("a lease in milliseconds", lease_milliseconds, Duration::ZERO)?;
                Self::GrantLease { number, lease }
            }
            CommandBody::DescribeVms { after } => {
                Self::DescribeVms { after: after.map(|vm| VmId(from_id(vm))) }
            }
            CommandBody::Witness { checkpoint } => Self::Witness { checkpoint: checkpoint.map(Into::into) },
            CommandBody::ReadReport => Self::ReadReport,
            CommandBody::DescribeDomain { domain } => Self::DescribeDomain { domain: VmId(from_id(domain)) },
            CommandBody::ReadJournal(query) => Self::ReadJournal(query.try_into()?),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct Reply {
    operation: Id,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Accepted,
    Superseded { current: u64 },
    Console(Blob<CONSOLE_LENGTH_MAX>),
    Volumes(List<Volume, VOLUMES_MAX>),
    StaleEpoch { sent: u64, highest: u64 },
    Invalid(FreeText),
    Failed(FreeText),
    Descriptions { vms: List<VmDescription, DESCRIPTIONS_MAX>, more: bool },
    Witnessed { held: Option<SignedCheckpoint> },
    Report(Box<HostReport>),
    Domain(Option<Box<DomainDescription>>),
    Journal(JournalPage),
}

impl From<domain::Reply> for Reply {
    fn from(reply: domain::Reply) -> Self {
        let outcome = match reply.outcome {
            Ok(domain::ReplyBody::Accepted) => Outcome::Accepted,
            Ok(domain::ReplyBody::Superseded { current }) => Outcome::Superseded { current: current.0 },
            Ok(domain::ReplyBody::Console(bytes)) => Outcome::Console(Blob(bytes)),
            Ok(domain::ReplyBody::Volumes(volumes)) => {
                Outcome::Volumes(List(volumes.into_iter().map(Into::into).collect()))
            }
            Ok(domain::ReplyBody::Descriptions { vms, more }) => {
                Outcome::Descriptions { vms: List(vms.into_iter().map(Into::into).collect()), more }
            }
            Ok(domain::ReplyBody::Witnessed { held }) => Outcome::Witnessed { held: held.map(Into::into) },
            Ok(domain::ReplyBody::Report(report)) => Outcome::Report(Box::new((*report).into())),
            Ok(domain::ReplyBody::Domain(description)) => {
                Outcome::Domain(description.map(|description| Box::new((*description).into())))
            }
            Ok(domain::ReplyBody::Journal(page)) => Outcome::Journal(page.into()),
            Err(domain::Refusal::StaleEpoch { sent, highest }) => {
                Outcome::StaleEpoch { sent: sent.0, highest: highest.0 }
            }
            Err(domain::Refusal::Invalid(why)) => Outcome::Invalid(to_free_text(&why)),
            Err(domain::Refusal::Failed(why)) => Outcome::Failed(to_free_text(&why)),
        };
        Self { operation: to_id(reply.operation.0), outcome }
    }
}

impl TryFrom<Reply> for domain::Reply {
    type Error = InvalidMessage;

    fn try_from(reply: Reply) -> Result<Self, InvalidMessage> {
        let outcome = match reply.outcome {
            Outcome::Accepted => Ok(domain::ReplyBody::Accepted),
            Outcome::Superseded { current } => {
                Ok(domain::ReplyBody::Superseded { current: Generation(current) })
            }
            Outcome::Console(bytes) => Ok(domain::ReplyBody::Console(bytes.0)),
            Outcome::Volumes(volumes) => Ok(domain::ReplyBody::Volumes(
                volumes.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            )),
            Outcome::Descriptions { vms, more } => Ok(domain::ReplyBody::Descriptions {
                vms: vms.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
                more,
            }),
            Outcome::Witnessed { held } => Ok(domain::ReplyBody::Witnessed { held: held.map(Into::into) }),
            Outcome::Report(report) => Ok(domain::ReplyBody::Report(Box::new((*report).try_into()?))),
            Outcome::Domain(description) => {
                let description = description
                    .map(|description| vm::DomainDescription::try_from(*description))
                    .transpose()?;
                Ok(domain::ReplyBody::Domain(description.map(Box::new)))
            }
            Outcome::Journal(page) => Ok(domain::ReplyBody::Journal(page.try_into()?)),
            Outcome::StaleEpoch { sent, highest } => {
                Err(domain::Refusal::StaleEpoch { sent: Epoch(sent), highest: Epoch(highest) })
            }
            Outcome::Invalid(why) => Err(domain::Refusal::Invalid(from_free_text(&why))),
            Outcome::Failed(why) => Err(domain::Refusal::Failed(from_free_text(&why))),
        };
        Ok(Self { operation: OperationId(from_id(reply.operation)), outcome })
    }
}
