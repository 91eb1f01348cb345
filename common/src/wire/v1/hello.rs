//! Owns the first words as they are on the wire, protocol version 1.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::inventory::HostInventory;
use super::vm::VirtType;
use super::{
    Id, InvalidMessage, Name, from_id, from_milliseconds, from_name, to_id, to_milliseconds, to_name,
};
use crate::ids::{Epoch, HostId, OperationId};
use crate::protocol as domain;
use crate::realm::RealmSettings as DomainRealmSettings;
use crate::wire::limits::{INTERVAL_MIN, LEASE_MIN};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct Hello {
    host: u32,
    realm: Name,
    instance: Id,
    highest_epoch: u64,
    inventory: HostInventory,
    name: Name,
}

impl From<domain::Hello> for Hello {
    fn from(hello: domain::Hello) -> Self {
        Self {
            host: hello.host.0,
            realm: to_name(hello.realm),
            instance: to_id(hello.instance.0),
            highest_epoch: hello.highest_epoch.0,
            inventory: hello.inventory.into(),
            name: to_name(hello.name),
        }
    }
}

impl TryFrom<Hello> for domain::Hello {
    type Error = InvalidMessage;

    fn try_from(hello: Hello) -> Result<Self, InvalidMessage> {
        Ok(Self {
            host: HostId(hello.host),
            realm: from_name(hello.realm)?,
            instance: OperationId(from_id(hello.instance)),
            highest_epoch: Epoch(hello.highest_epoch),
            inventory: hello.inventory.try_into()?,
            name: from_name(hello.name)?,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct Welcome {
    epoch: u64,
    realm: RealmSettings,
}

impl From<domain::Welcome> for Welcome {
    fn from(welcome: domain::Welcome) -> Self {
        Self { epoch: welcome.epoch.0, realm: welcome.realm.into() }
    }
}

impl TryFrom<Welcome> for domain::Welcome {
    type Error = InvalidMessage;

    fn try_from(welcome: Welcome) -> Result<Self, InvalidMessage> {
        Ok(Self { epoch: Epoch(welcome.epoch), realm: welcome.realm.try_into()? })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct RealmSettings {
    volumes_pool: Name,
    drives_pool: Name,
    bricks_pool: Name,
    poll_milliseconds: u64,
    sample_milliseconds: u64,
    virt_type: VirtType,
    lease_milliseconds: Option<u64>,
}

impl From<DomainRealmSettings> for RealmSettings {
    fn from(realm: DomainRealmSettings) -> Self {
        Self {
            volumes_pool: to_name(realm.volumes_pool),
            drives_pool: to_name(realm.drives_pool),
            bricks_pool: to_name(realm.bricks_pool),
            poll_milliseconds: to_milliseconds(realm.poll_frequency),
            sample_milliseconds: to_milliseconds(realm.sample_interval),
            virt_type: realm.virt_type.into(),
            lease_milliseconds: realm.lease.map(to_milliseconds),
        }
    }
}

/// A lease of no time at all would stop every VM.
fn from_lease(milliseconds: u64) -> Result<Duration, InvalidMessage> {
    from_milliseconds("a lease in milliseconds", milliseconds, LEASE_MIN)
}

impl TryFrom<RealmSettings> for DomainRealmSettings {
    type Error = InvalidMessage;

    fn try_from(realm: RealmSettings) -> Result<Self, InvalidMessage> {
        let poll = realm.poll_milliseconds;
        let sample = realm.sample_milliseconds;
        Ok(Self {
            volumes_pool: from_name(realm.volumes_pool)?,
            drives_pool: from_name(realm.drives_pool)?,
            bricks_pool: from_name(realm.bricks_pool)?,
            poll_frequency: from_milliseconds("the poll frequency in milliseconds", poll, INTERVAL_MIN)?,
            sample_interval: from_milliseconds("the sample interval in milliseconds", sample, INTERVAL_MIN)?,
            virt_type: realm.virt_type.into(),
            lease: realm.lease_milliseconds.map(from_lease).transpose()?,
        })
    }
}
