//! Owns VMs of the product as tests see them: asked for and looked at through the command line, and checked past it
//! on every host's libvirt.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::waiting::{poll_until, watch_until};
use crate::image::{MEMORY_MIN_MEBIBYTES, Variant};
use crate::lab::{Lab, Place, REALM, image_volume};

/// A start with its boot, a stop with its grace, a recovery after a kill: all take seconds; this is for a busy machine.
pub const VM_PATIENCE: Duration = Duration::from_secs(150);

/// The exit code of a start for which no host has room yet.
const UNPLACEABLE: i32 = 6;

/// A VM of the product.
#[derive(Debug, Clone)]
pub struct Vm<'lab> {
    lab: &'lab Lab,
    id: String,
}

/// Makes an image, a setup and `configurations` VM configurations named `VARIANT-1`, `VARIANT-2`, … whose guests
/// behave like `variant`.
///
/// # Errors
/// When the coordinator refuses one of them.
pub fn define_guests(lab: &Lab, variant: Variant, configurations: usize) -> Result<()> {
    let name = variant.name();
    let volume = image_volume(variant);
    let create = |kind: &str, text: &str| -> Result<()> {
        let file = lab.description().directory.join(format!("{kind}-{name}.conf"));
        std::fs::write(&file, text)?;
        lab.reeve(&[kind, "create", "-f", &file.to_string_lossy()]).map(drop)
    };
    create(
        "image",
        &format!("name = {name}, realm = {REALM}, volume = \"{volume}\", operating-system = \"test guest\""),
    )?;
    create(
        "setup",
        &format!(
            "name = {name}, realm = {REALM}, image = {name}, cores = 1, memory = {MEMORY_MIN_MEBIBYTES} MiB, \
             debug {{ console = on }}"
        ),
    )?;
    let entries: Vec<String> = (1..=configurations)
        .map(|number| format!("{{ name = {name}-{number}, setup = {name}, owner = ann, team = physics }}"))
        .collect();
    create("config", &format!("[ {} ]", entries.join("\n")))
}

impl<'lab> Vm<'lab> {
    /// Asks for a VM of a configuration and does not wait, whether or not a host can take it.
    ///
    /// # Errors
    /// When the coordinator refuses.
    pub fn request(lab: &'lab Lab, configuration: &str) -> Result<Self> {
        let output = lab.try_reeve(&["vm", "start", configuration, "--no-wait", "-o", "json"])?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            matches!(output.status.code(), Some(0 | UNPLACEABLE)),
            "cannot start {configuration}: {words}"
        );
        let started: Value = serde_json::from_slice(&output.stdout)?;
        let id = started[0]["id"].as_str().with_context(|| format!("no id in {started}"))?;
        Ok(Self { lab, id: id.to_owned() })
    }

    /// Asks for a VM and waits until its guest has registered.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn start(lab: &'lab Lab, configuration: &str) -> Result<Self> {
        let vm = Self::request(lab, configuration)?;
        vm.wait_for("running")?;
        Ok(vm)
    }

    /// Its id, which is its domain's UUID too.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// All that the coordinator says of it.
    ///
    /// # Errors
    /// When the coordinator cannot be asked.
    pub fn show(&self) -> Result<Value> {
        self.lab.reeve_json(&["vm", "show", &self.id])
    }

    /// Its state, in the coordinator's word.
    ///
    /// # Errors
    /// When the coordinator cannot be asked.
    pub fn state(&self) -> Result<String> {
        Ok(self.show()?["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Why it is in its state.
    ///
    /// # Errors
    /// When the coordinator cannot be asked.
    pub fn reason(&self) -> Result<String> {
        Ok(self.show()?["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// The host it is placed on.
    ///
    /// # Errors
    /// When the coordinator cannot be asked, or it is placed nowhere.
    pub fn host(&self) -> Result<String> {
        let shown = self.show()?;
        Ok(shown["host"].as_str().with_context(|| format!("{} has no host", self.id))?.to_owned())
    }

    /// Waits until it is in this state.
    ///
    /// # Errors
    /// When it ends in another state, or has not come to this one in time.
    pub fn wait_for(&self, wanted: &str) -> Result<()> {
        poll_until(&format!("VM {} to be {wanted}", self.id), VM_PATIENCE, || {
            let shown = self.show()?;
            if shown["state"] == wanted {
                return Ok(Some(()));
            }
            if matches!(shown["state"].as_str(), Some("stopped" | "failed")) {
                bail!("VM {} is {}, not {wanted}: {}", self.id, shown["state"], shown["reason"]);
            }
            Ok(None)
        })
    }

    /// Waits until it is in one of these states, looking as fast as it can; gives that state.
    ///
    /// # Errors
    /// When it has not come to one in time.
    pub fn catch(&self, wanted: &[&str]) -> Result<String> {
        watch_until(&format!("VM {} to be {}", self.id, wanted.join(" or ")), VM_PATIENCE, || {
            let state = self.state()?;
            Ok(wanted.contains(&state.as_str()).then_some(state))
        })
    }

    /// Asks its guest to shut down and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub fn shut_down(&self) -> Result<()> {
        self.lab.reeve(&["vm", "shutdown", &self.id, "--quiet"]).map(drop)
    }

    /// Destroys it and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub fn destroy(&self) -> Result<()> {
        self.lab.reeve(&["vm", "destroy", &self.id, "--quiet"]).map(drop)
    }

    /// The hosts whose libvirt knows a domain of this VM, running or not; asked past the product.
    ///
    /// # Errors
    /// When a host's libvirt cannot be asked.
    pub fn domains(&self) -> Result<Vec<String>> {
        self.hosts_listing(&["list", "--all", "--uuid"])
    }

    /// The hosts on which a domain of this VM runs; asked past the product.
    ///
    /// # Errors
    /// When a host's libvirt cannot be asked.
    pub fn running_domains(&self) -> Result<Vec<String>> {
        self.hosts_listing(&["list", "--uuid"])
    }

    fn hosts_listing(&self, command: &[&str]) -> Result<Vec<String>> {
        let mut hosts = Vec::new();
        for host in &self.lab.description().hosts {
            let listed = self.lab.virsh(&Place::Host(host.name.clone()), command)?;
            if listed.lines().any(|line| line.trim() == self.id) {
                hosts.push(host.name.clone());
            }
        }
        Ok(hosts)
    }

    /// Checks that it runs once, where the coordinator says it does, and that its guest answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_runs_once(&self) -> Result<()> {
        let (known, running) = (self.domains()?, self.running_domains()?);
        let host = self.host()?;
        ensure!(running == [host.clone()], "VM {} should run on {host} and runs on {running:?}", self.id);
        ensure!(known == running, "VM {} is known on {known:?} and runs on {running:?}", self.id);
        let ping = r#"{"execute": "guest-ping"}"#;
        self.lab
            .virsh(&Place::Host(host), &["qemu-agent-command", "--timeout", "10", &self.id, ping])
            .map(drop)
    }

    /// Checks that nothing is left of it on any host: no domain, and no disk of its own.
    ///
    /// # Errors
    /// When something is.
    pub fn check_gone(&self) -> Result<()> {
        let known = self.domains()?;
        ensure!(known.is_empty(), "VM {} is over, and {known:?} still know it", self.id);
        let disks = std::fs::read_dir(self.lab.description().shared().join("ticrypt-vm"))?;
        for disk in disks {
            let name = disk?.file_name().to_string_lossy().into_owned();
            ensure!(!name.contains(&self.id), "VM {} is over, and its disk {name} is still there", self.id);
        }
        Ok(())
    }
}

/// Checks that nothing of any host is promised to VMs.
///
/// # Errors
/// When something is, or the coordinator cannot be asked.
pub fn check_all_free(lab: &Lab) -> Result<()> {
    let hosts = lab.reeve_json(&["host", "list"])?;
    for host in hosts.as_array().context("no list of hosts")? {
        let used = &host["used"];
        ensure!(
            used["millicores"] == 0
                && used["memory-mib"] == 0
                && host["vms"].as_array().is_some_and(Vec::is_empty),
            "{} should be free: {used}, VMs {}",
            host["name"],
            host["vms"]
        );
    }
    Ok(())
}
