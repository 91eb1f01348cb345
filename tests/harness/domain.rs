//! Owns domains that are made by hand, past the product: to prove that the lab and its guests are sound, to stand for
//! somebody else's VMs on a host, and as what the benchmarks compare with.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::waiting::poll_until;
use crate::image::{MEMORY_MIN_MEBIBYTES, Variant};
use crate::lab::{Lab, Place, image_volume};

/// A guest boots in some 4 s; this is for many at once on few processors.
pub const BOOT_PATIENCE: Duration = Duration::from_secs(120);

/// The good guest powers off within a second of being asked.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(30);

const IMAGES: &str = "/var/lib/libvirt/reeve/ticrypt-bricks";
const VOLUMES: &str = "/var/lib/libvirt/reeve/ticrypt-vm";

/// A domain made by hand on one host.
#[derive(Debug)]
pub struct HandmadeDomain<'lab> {
    lab: &'lab Lab,
    place: Place,
    name: String,
}

impl<'lab> HandmadeDomain<'lab> {
    /// Defines a domain with a disk of its own over the image of `variant`. It is not started.
    ///
    /// # Errors
    /// When libvirt or qemu-img refuses.
    pub fn define(lab: &'lab Lab, place: &Place, name: &str, variant: Variant) -> Result<Self> {
        let disk = format!("{VOLUMES}/{name}.qcow2");
        let image = format!("{IMAGES}/{}", image_volume(variant));
        lab.run(place, &["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &image, &disk])?;
        let define = ["virsh", "--quiet", "--connect", "qemu:///system", "define", "/dev/stdin"];
        lab.run_with_input(place, &define, &definition(name, &disk))?;
        Ok(Self { lab, place: place.clone(), name: name.to_owned() })
    }

    /// Starts it; returns when libvirt says that it runs.
    ///
    /// # Errors
    /// When libvirt cannot start it.
    pub fn start(&self) -> Result<()> {
        self.virsh(&["start", &self.name]).map(drop)
    }

    /// Whether its guest agent answers a ping rightly now.
    #[must_use]
    pub fn answers(&self) -> bool {
        let ping = r#"{"execute": "guest-ping"}"#;
        self.virsh(&["qemu-agent-command", "--timeout", "1", &self.name, ping])
            .is_ok_and(|answer| answer.trim() == r#"{"return":{}}"#)
    }

    /// Waits until its guest agent answers.
    ///
    /// # Errors
    /// When it does not within [`BOOT_PATIENCE`].
    pub fn wait_to_answer(&self) -> Result<()> {
        poll_until(&format!("the guest agent of {}", self.name), BOOT_PATIENCE, || {
            Ok(self.answers().then_some(()))
        })
    }

    /// Waits until its console has shown `text`.
    ///
    /// # Errors
    /// When it has not within [`BOOT_PATIENCE`].
    pub fn wait_for_console(&self, text: &str) -> Result<()> {
        poll_until(&format!("{text:?} on the console of {}", self.name), BOOT_PATIENCE, || {
            Ok(self.console()?.contains(text).then_some(()))
        })
    }

    /// What its console has shown.
    ///
    /// # Errors
    /// When the host is not up.
    pub fn console(&self) -> Result<String> {
        let log = format!("/var/log/libvirt/qemu/{}-console.log", self.name);
        self.lab.run(&self.place, &["sh", "-c", "cat \"$1\" 2>/dev/null || true", "sh", &log])
    }

    /// Presses its power button.
    ///
    /// # Errors
    /// When it does not run.
    pub fn press_power_button(&self) -> Result<()> {
        self.virsh(&["shutdown", &self.name, "--mode", "acpi"]).map(drop)
    }

    /// Asks its guest agent to power off.
    ///
    /// # Errors
    /// When the guest agent is not connected.
    pub fn ask_agent_to_power_off(&self) -> Result<()> {
        self.virsh(&["shutdown", &self.name, "--mode", "agent"]).map(drop)
    }

    /// libvirt's word for its state.
    ///
    /// # Errors
    /// When libvirt cannot be asked.
    pub fn state(&self) -> Result<String> {
        Ok(self.virsh(&["domstate", &self.name])?.trim().to_owned())
    }

    /// Waits until it is off.
    ///
    /// # Errors
    /// When it is not within [`SHUTDOWN_PATIENCE`].
    pub fn wait_to_end(&self) -> Result<()> {
        poll_until(&format!("{} to power off", self.name), SHUTDOWN_PATIENCE, || {
            Ok((self.state()? == "shut off").then_some(()))
        })
    }

    /// Ends it if it runs, and removes it with its disk.
    ///
    /// # Errors
    /// When libvirt cannot.
    pub fn remove(self) -> Result<()> {
        if self.state()? != "shut off" {
            self.virsh(&["destroy", &self.name])?;
        }
        self.virsh(&["undefine", &self.name])?;
        self.lab.run(&self.place, &["rm", &format!("{VOLUMES}/{}.qcow2", self.name)])?;
        ensure!(self.state().is_err(), "{} is still there", self.name);
        Ok(())
    }

    fn virsh(&self, arguments: &[&str]) -> Result<String> {
        self.lab.virsh(&self.place, arguments)
    }
}

/// Much like the product's own domains: q35, virtio, a console that is kept, a filtered network interface.
fn definition(name: &str, disk: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{MEMORY_MIN_MEBIBYTES}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'>
      <source network='default'/>
      <model type='virtio'/>
      <filterref filter='clean-traffic'/>
    </interface>
    <serial type='pty'>
      <log file='/var/log/libvirt/qemu/{name}-console.log' append='off'/>
      <target port='0'/>
    </serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='none'/>
  </devices>
</domain>
"
    )
}
