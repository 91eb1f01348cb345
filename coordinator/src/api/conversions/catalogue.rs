//! Owns how images, setups, configurations and drives become documents, and documents those.

use reeve_common::clock::Timestamp;
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::storage;
use reeve_common::text::printable;
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::vm::{self, CpuModel};

use super::workflow::{when_host_lost, when_host_lost_of};
use super::{placement, size};
use crate::api::types::{
    Configuration, DebugOptions, DiskFormat, Drive, DriveUse, Image, Machine, NewConfiguration, NewDrive,
    NewImage, NewSetup, Setup, VirtType,
};
use crate::model;
use crate::service::{self, ServiceError};

/// The longest name of a processor model; libvirt's own are half as long.
const CPU_MODEL_LENGTH_MAX: usize = 63;

impl From<storage::DiskFormat> for DiskFormat {
    fn from(format: storage::DiskFormat) -> Self {
        match format {
            storage::DiskFormat::Raw => Self::Raw,
            storage::DiskFormat::Qcow2 => Self::Qcow2,
        }
    }
}

impl From<DiskFormat> for storage::DiskFormat {
    fn from(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Raw => Self::Raw,
            DiskFormat::Qcow2 => Self::Qcow2,
        }
    }
}

impl From<vm::VirtType> for VirtType {
    fn from(virt_type: vm::VirtType) -> Self {
        match virt_type {
            vm::VirtType::Auto => Self::Auto,
            vm::VirtType::Kvm => Self::Kvm,
            vm::VirtType::Qemu => Self::Qemu,
        }
    }
}

impl From<VirtType> for vm::VirtType {
    fn from(virt_type: VirtType) -> Self {
        match virt_type {
            VirtType::Auto => Self::Auto,
            VirtType::Kvm => Self::Kvm,
            VirtType::Qemu => Self::Qemu,
        }
    }
}

impl From<vm::Machine> for Machine {
    fn from(machine: vm::Machine) -> Self {
        match machine {
            vm::Machine::Q35 => Self::Q35,
            vm::Machine::Pc => Self::Pc,
        }
    }
}

impl From<Machine> for vm::Machine {
    fn from(machine: Machine) -> Self {
        match machine {
            Machine::Q35 => Self::Q35,
            Machine::Pc => Self::Pc,
        }
    }
}

fn cpu_model_word(model: &CpuModel) -> &str {
    match model {
        CpuModel::Default => "default",
        CpuModel::HostPassthrough => "host-passthrough",
        CpuModel::HostModel => "host-model",
        CpuModel::Named(name) => name,
    }
}

fn cpu_model(text: &str) -> Result<CpuModel, ServiceError> {
    let is_name = |text: &str| {
        let allowed =
            |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        text.len() <= CPU_MODEL_LENGTH_MAX
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(allowed)
    };
    match text {
        "default" => Ok(CpuModel::Default),
        "host-passthrough" => Ok(CpuModel::HostPassthrough),
        "host-model" => Ok(CpuModel::HostModel),
        name if is_name(name) => Ok(CpuModel::Named(name.to_owned())),
        other => Err(ServiceError::invalid(format!(
            "`cpu-model` is {:?}, and must be default, host-passthrough, host-model or a model's name such as Haswell-noTSX",
            printable(other, CPU_MODEL_LENGTH_MAX)
        ))),
    }
}

fn huge_pages(text: &str) -> Result<HugePageSize, ServiceError> {
    text.parse().map_err(|error| ServiceError::invalid(format!("`huge-pages`: {error}")))
}

pub(in crate::api) fn image_to_make(new: NewImage, now: Timestamp) -> model::image::Image {
    model::image::Image {
        name: new.name,
        realm: new.realm,
        volume: new.volume,
        format: new.format.into(),
        operating_system: new.operating_system,
        created_at: now,
    }
}

pub(in crate::api) fn image_of(image: &model::image::Image) -> Image {
    Image {
        name: image.name.clone(),
        realm: image.realm.clone(),
        volume: image.volume.clone(),
        format: image.format.into(),
        operating_system: image.operating_system.clone(),
        created_at: image.created_at.into(),
    }
}

pub(in crate::api) fn setup_to_make(
    new: NewSetup,
    now: Timestamp,
) -> Result<model::setup::Setup, ServiceError> {
    let bytes = size("memory", &new.memory)?;
    let memory = bytes.mebibytes();
    if memory.bytes() != bytes {
        return Err(ServiceError::invalid(format!(
            "`memory` is {:?}, and must be a whole number of MiB",
            printable(&new.memory, CPU_MODEL_LENGTH_MAX)
        )));
    }
    Ok(model::setup::Setup {
        name: new.name,
        realm: new.realm,
        image: new.image,
        cores: new.cores,
        memory,
        devices: new.devices,
        virt_type: new.virt_type.map(Into::into),
        machine: new.machine.into(),
        cpu_model: new.cpu_model.as_deref().map_or(Ok(CpuModel::Default), cpu_model)?,
        cpu_features: new.cpu_features,
        numa_nodes: new.numa_nodes,
        huge_pages: new.huge_pages.as_deref().map(huge_pages).transpose()?,
        host_labels: placement::host_label_rules(new.host_labels, new.avoid_host_labels),
        affinity: placement::affinity_rules(new.affinity)?,
        networks: new.networks,
        console: new.debug.console,
        vnc: new.debug.vnc,
        labels: new.labels,
        created_at: now,
    })
}

pub(in crate::api) fn setup_of(setup: &model::setup::Setup) -> Setup {
    let Mebibytes(memory_mib) = setup.memory;
    Setup {
        name: setup.name.clone(),
        realm: setup.realm.clone(),
        image: setup.image.clone(),
        cores: setup.cores,
        memory_mib,
        devices: setup.devices.clone(),
        virt_type: setup.virt_type.map(Into::into),
        machine: setup.machine.into(),
        cpu_model: cpu_model_word(&setup.cpu_model).to_owned(),
        cpu_features: setup.cpu_features.clone(),
        numa_nodes: setup.numa_nodes,
        huge_pages_mib: setup.huge_pages.map(|size| size.0),
        host_labels: placement::label_values(&setup.host_labels, true),
        avoid_host_labels: placement::label_values(&setup.host_labels, false),
        affinity: setup.affinity.iter().map(placement::affinity_rule_of).collect(),
        networks: setup.networks.clone(),
        debug: DebugOptions { console: setup.console, vnc: setup.vnc },
        labels: setup.labels.clone(),
        created_at: setup.created_at.into(),
    }
}

pub(in crate::api) fn configuration_to_make(
    new: NewConfiguration,
    now: Timestamp,
) -> model::configuration::Configuration {
    let title = new.title.unwrap_or_else(|| new.name.to_string());
    model::configuration::Configuration {
        name: new.name,
        title,
        setup: new.setup,
        owner: new.owner,
        team: new.team,
        project: new.project,
        drives: new
            .drives
            .into_iter()
            .map(|used| model::configuration::DriveUse { drive: used.drive, read_only: used.read_only })
            .collect(),
        when_host_lost: new.when_host_lost.map(when_host_lost),
        priority: new.priority,
        created_at: now,
    }
}

pub(in crate::api) fn configuration_of(configuration: &model::configuration::Configuration) -> Configuration {
    Configuration {
        name: configuration.name.clone(),
        title: configuration.title.clone(),
        setup: configuration.setup.clone(),
        owner: configuration.owner.clone(),
        team: configuration.team.clone(),
        project: configuration.project.clone(),
        drives: configuration
            .drives
            .iter()
            .map(|used| DriveUse { drive: used.drive.clone(), read_only: used.read_only })
            .collect(),
        when_host_lost: configuration.when_host_lost.map(when_host_lost_of),
        priority: configuration.priority,
        created_at: configuration.created_at.into(),
    }
}

pub(in crate::api) fn drive_to_make(new: NewDrive) -> Result<service::NewDrive, ServiceError> {
    let size = size("size", &new.size)?;
    Ok(service::NewDrive {
        name: new.name,
        realm: new.realm,
        owner: new.owner,
        team: new.team,
        size,
        format: new.format.into(),
    })
}

pub(in crate::api) fn drive_of(drive: &model::drive::Drive) -> Drive {
    let Bytes(size_bytes) = drive.size;
    Drive {
        name: drive.name.clone(),
        realm: drive.realm.clone(),
        owner: drive.owner.clone(),
        team: drive.team.clone(),
        size_bytes,
        format: drive.format.into(),
        volume: drive.volume.clone(),
        created_at: drive.created_at.into(),
        ready: drive.ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(memory: &str, cpu_model: Option<&str>) -> Result<model::setup::Setup, ServiceError> {
        let text = format!(r#"{{"name":"s","realm":"r","image":"i","cores":1,"memory":{memory:?}}}"#);
        let mut new: NewSetup = serde_json::from_str(&text).unwrap();
        new.cpu_model = cpu_model.map(str::to_owned);
        setup_to_make(new, Timestamp(7))
    }

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!(setup("1.5 GiB", None).unwrap().memory, Mebibytes(1536));
        for bad in ["2", "2 XiB", "1 B", "-1 GiB", "1500 kB"] {
            assert!(setup(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn processor_models_survive_and_markup_does_not() {
        for model in ["default", "host-model", "host-passthrough", "Haswell-noTSX", "EPYC-v4"] {
            assert_eq!(setup_of(&setup("1 GiB", Some(model)).unwrap()).cpu_model, model);
        }
        for bad in ["", "</model><x/>", "a b", "-x", "x\n"] {
            assert!(setup("1 GiB", Some(bad)).is_err(), "{bad:?}");
        }
    }
}
