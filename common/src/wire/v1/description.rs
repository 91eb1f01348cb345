//! Owns VMs as a host's ledgers tell them, on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::observation::VmObservation;
use super::vm::origin;
use super::{InvalidMessage, from_milliseconds, to_milliseconds};
use crate::vm as domain;
use crate::vm::limits::ORIGIN_LENGTH_MAX;
use crate::wire::bounded::Text;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct VmDescription {
    observation: VmObservation,
    stopping_within_milliseconds: Option<u64>,
    origin: Text<ORIGIN_LENGTH_MAX>,
}

impl From<domain::VmDescription> for VmDescription {
    fn from(description: domain::VmDescription) -> Self {
        Self {
            observation: description.observation.into(),
            stopping_within_milliseconds: description.stopping_within.map(to_milliseconds),
            origin: Text(description.origin),
        }
    }
}

impl TryFrom<VmDescription> for domain::VmDescription {
    type Error = InvalidMessage;

    fn try_from(description: VmDescription) -> Result<Self, InvalidMessage> {
        let within = |milliseconds| {
            from_milliseconds("a time until the end in milliseconds", milliseconds, std::time::Duration::ZERO)
        };
        Ok(Self {
            observation: description.observation.into(),
            stopping_within: description.stopping_within_milliseconds.map(within).transpose()?,
            origin: origin(description.origin)?,
        })
    }
}
