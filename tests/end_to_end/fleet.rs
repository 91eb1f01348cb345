//! Owns a fleet in the lab as these tests speak of it: what is started, what is seen, what libvirt itself says.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reeve_tests::harness::TestLab;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::{MEMORY_MIN_MEBIBYTES, Variant};
use reeve_tests::lab::{CoordinatorSettings, Place, image_volume};
use serde_json::Value;

/// Guests boot one after the other on few processors: a whole fleet takes a while.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Labs share two processors: one at a time boots its guests faster than two together.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A coordinator and its connected hosts.
pub(crate) struct Fleet {
    pub(crate) lab: TestLab,
    _alone: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Brings up `hosts` hosts with the product running, and the catalogue's first entries: for each guest variant an
    /// image and a setup of its name.
    pub(crate) fn new(
        name: &str,
        hosts: usize,
        variants: &[Variant],
        settings: &CoordinatorSettings,
    ) -> Result<Self> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = TestLab::with_product(name, hosts, variants, settings)?;
        let fleet = Self { lab, _alone: alone };
        for host in 1..=hosts {
            fleet.wait_for_host(&format!("host{host}"))?;
        }
        for variant in variants {
            let (name, volume) = (variant.name(), image_volume(*variant));
            fleet.create(
                "image",
                &format!(
                    r#"{{"name":"{name}","realm":"lab","volume":"{volume}","operating-system":"busybox"}}"#
                ),
            )?;
            fleet.create("setup", &format!(
                r#"{{"name":"{name}","realm":"lab","image":"{name}","cores":1,"memory":"{MEMORY_MIN_MEBIBYTES} MiB","debug":{{"console":true}}}}"#
            ))?;
        }
        Ok(fleet)
    }

    /// Makes one thing of the catalogue.
    pub(crate) fn create(&self, kind: &str, definition: &str) -> Result<()> {
        let file = self.lab.description().directory.join(format!("{kind}.json"));
        std::fs::write(&file, definition)?;
        let file = file.to_string_lossy().into_owned();
        self.lab.reeve(&[kind, "create", "-f", &file]).map(drop)
    }

    /// Makes a configuration of the setup called `setup`.
    pub(crate) fn configure(&self, name: &str, setup: &str) -> Result<()> {
        self.create(
            "config",
            &format!(r#"{{"name":"{name}","setup":"{setup}","owner":"ada","team":"engines"}}"#),
        )
    }

    /// Waits until a host takes VMs: it has reported, and libvirt answers its agent.
    pub(crate) fn wait_for_host(&self, host: &str) -> Result<()> {
        poll_until(&format!("{host} to be of use"), PATIENCE, || {
            let shown = self.lab.reeve_json(&["host", "show", host])?;
            let pools = shown["pools"].as_array().map_or(0, Vec::len);
            Ok((shown["connection"] == "connected" && pools == 3).then_some(()))
        })
    }

    /// The VM that is meant by `selector`.
    pub(crate) fn vm(&self, selector: &str) -> Result<Value> {
        self.lab.reeve_json(&["vm", "show", selector])
    }

    /// Waits until a VM is in one of these states, and gives its record.
    pub(crate) fn wait_for_state(&self, selector: &str, wanted: &[&str]) -> Result<Value> {
        poll_until(&format!("{selector} to be {}", wanted.join(" or ")), PATIENCE, || {
            let vm = self.vm(selector)?;
            Ok(wanted.iter().any(|state| vm["state"] == *state).then_some(vm))
        })
    }

    /// On which hosts libvirt has a domain with this id, and whether it runs there.
    pub(crate) fn domains(&self, id: &str) -> Result<Vec<(String, bool)>> {
        let mut found = Vec::new();
        for host in &self.lab.description().hosts {
            let place = Place::Host(host.name.clone());
            let listed = |which: &str| self.lab.virsh(&place, &["list", which, "--uuid"]);
            if listed("--all")?.contains(id) {
                found.push((host.name.clone(), listed("--state-running")?.contains(id)));
            }
        }
        Ok(found)
    }

    /// What libvirt lists in the volumes pool.
    pub(crate) fn volumes(&self) -> Result<String> {
        let first = self.lab.host(1);
        self.lab.virsh(&first, &["pool-refresh", "ticrypt-vm"])?;
        self.lab.virsh(&first, &["vol-list", "ticrypt-vm"])
    }

    /// Processor time promised to VMs on a host, in thousandths of a core.
    pub(crate) fn promised(&self, host: &str) -> Result<u64> {
        self.lab.reeve_json(&["host", "show", host])?["used"]["millicores"].as_u64().context("no usage")
    }

    /// Holds after a start that was disturbed: the VM runs on exactly one host, or nothing of it is left and its
    /// capacity is free.
    pub(crate) fn there_once_or_gone(&self, vm: &Value) -> Result<()> {
        let (id, name) = (vm["id"].as_str().context("no id")?, vm["name"].as_str().context("no name")?);
        let domains = self.domains(id)?;
        if vm["state"] == "running" {
            ensure!(domains.len() == 1 && domains[0].1, "{name} is running, and libvirt says {domains:?}");
            ensure!(
                vm["host"] == domains[0].0.as_str(),
                "{name} is on {domains:?}, and the record says {}",
                vm["host"]
            );
            return Ok(());
        }
        ensure!(domains.is_empty(), "{name} is {}, and libvirt says {domains:?}", vm["state"]);
        ensure!(vm["reason"].is_string(), "{name} failed without a reason");
        ensure!(!self.volumes()?.contains(name), "a volume of {name} is left");
        if let Some(host) = vm["host"].as_str() {
            ensure!(self.promised(host)? == 0, "the capacity of {name} is not free on {host}");
        }
        Ok(())
    }
}
