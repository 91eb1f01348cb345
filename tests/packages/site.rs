//! Owns the site that packages are tried at: one machine that is coordinator and KVM host, with a second host whose VMs are
//! simulated. Everything is installed and configured as an administrator would.

use std::time::Duration;

use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::{Builder, Variant};
use reeve_tests::lab::Workspace;
use serde_json::Value;

use super::base;
use super::built::{NAMES, PREVIOUS, deb};
use super::machine::{Machine, words};

/// An agent that was restarted connects at once; its back-off after failures goes to ten seconds.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

const COORDINATOR: &str = r#"agent-listen = "127.0.0.1:7443"
join-listen = "127.0.0.1:7444"
advertised-address = "127.0.0.1"
realms { primary { include "realms/primary.conf" } }
hardware-profiles {
  small { cores = 2, memory = 2 GiB, overcommit { cores = 4.0 } }
}
"#;

const REALM: &str = r#"disabled = false
driver = libvirt
name = "Packages"
volumes-pool = "ticrypt-vm"
drives-pool = "ticrypt-vm-drives"
bricks-pool = "ticrypt-bricks"
registration-timeout = 3 minutes
poll-frequency = 5 seconds
drives.lazy-allocation = on
drives.cache = "default"
drives.max-size = 1 GiB
virt-type = qemu
"#;

/// libvirt as on any host, but for control groups, which are not the machine's to write to, and profiles of a kernel that
/// it shares.
const LIBVIRT: &str = r#"
printf 'security_driver = "none"\ncgroup_controllers = []\n' >>/etc/libvirt/qemu.conf
systemctl restart libvirtd
for pool in ticrypt-vm ticrypt-vm-drives ticrypt-bricks; do
  mkdir -p /var/lib/libvirt/reeve/$pool
  virsh --quiet pool-define-as $pool dir --target /var/lib/libvirt/reeve/$pool
  virsh --quiet pool-start $pool
  virsh --quiet pool-autostart $pool
done
virsh --quiet net-start default
"#;

const CATALOGUE: &str = r#"
cat >/root/image.conf <<END
name = guest, realm = primary, volume = guest-good.qcow2, operating-system = "Linux (test guest)"
END
cat >/root/setup.conf <<END
name = web, realm = primary, image = guest, cores = 1, memory = 128 MiB, debug { console = on }
END
cat >/root/configurations.conf <<END
[ { name = web-1, setup = web, owner = ann, team = physics }
  { name = web-2, setup = web, owner = ann, team = physics } ]
END
reeve image create -f /root/image.conf
reeve setup create -f /root/setup.conf
reeve config create -f /root/configurations.conf
"#;

/// The site. Its first VM runs all the time.
pub(crate) struct Site {
    /// The machine.
    pub(crate) machine: Machine,
}

/// A VM as it was seen to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its id.
    pub(crate) id: String,
    /// Its QEMU's process.
    pub(crate) process: String,
}

impl Site {
    /// Boots the machine, installs the version before this one and configures libvirt. Nothing of the product runs yet.
    pub(crate) fn install() -> Self {
        let machine = Machine::boot(&base::archive());
        let site = Self { machine };
        site.unpack(PREVIOUS);
        site.machine.shell(LIBVIRT);
        let images = Builder::new(&Workspace::locate().unwrap().images());
        let bricks = "/var/lib/libvirt/reeve/ticrypt-bricks";
        site.machine.copy_in(&images.image(Variant::Good).unwrap(), &format!("{bricks}/guest-good.qcow2"));
        site
    }

    /// Installs all packages of a version, over whatever there is.
    pub(crate) fn unpack(&self, version: &str) -> String {
        let files: Vec<String> = NAMES
            .iter()
            .map(|name| {
                let file = format!("/root/{name}_{version}.deb");
                self.machine.copy_in(&deb(name, version), &file);
                file
            })
            .collect();
        let mut command = vec!["dpkg", "--force-confold", "--install"];
        command.extend(files.iter().map(String::as_str));
        self.machine.run(&command)
    }

    /// Configures and starts the coordinator.
    pub(crate) fn found_coordinator(&self) {
        self.machine.write("/etc/reeve/coordinator.conf", COORDINATOR);
        self.machine.write("/etc/reeve/realms/primary.conf", REALM);
        self.machine.run(&["reeve-coordinator", "init"]);
        self.machine.run(&["systemctl", "start", "reeve-coordinator"]);
    }

    /// Adds a host and gives the line it joins by.
    pub(crate) fn join_line(&self, host: &str, state: &str) -> String {
        let add =
            ["reeve", "host", "add", host, "--realm", "primary", "--profile", "small", "--state", state];
        self.machine.run(&add);
        self.machine.run(&["reeve", "--quiet", "host", "join-token", host])
    }

    /// A second host, whose agent is of the version before this one and stays so. No VM is placed there.
    pub(crate) fn add_simulated_host(&self) {
        let line = self.join_line("old", "no-scheduler");
        self.machine
            .shell("cp /usr/bin/reeve-agent /usr/local/bin/old-agent; mkdir -m 700 /var/lib/old-agent");
        self.machine.run(&[
            "/usr/local/bin/old-agent",
            "join",
            "--state-directory",
            "/var/lib/old-agent",
            &line,
        ]);
        self.machine.run(&[
            "systemd-run",
            "--unit=old-agent",
            "/usr/local/bin/old-agent",
            "run",
            "--hypervisor",
            "simulated",
            "--state-directory",
            "/var/lib/old-agent",
        ]);
        self.wait_for_connection("old");
    }

    /// Writes what VMs are made of into the records.
    pub(crate) fn fill_catalogue(&self) {
        self.machine.shell(CATALOGUE);
    }

    /// The answer of `reeve` as JSON.
    pub(crate) fn ask(&self, command: &[&str]) -> Value {
        let mut words = vec!["reeve", "-o", "json"];
        words.extend(command);
        serde_json::from_str(&self.machine.run(&words)).unwrap()
    }

    /// Waits until the coordinator hears a host.
    pub(crate) fn wait_for_connection(&self, host: &str) {
        let heard = poll_until(&format!("{host} to be connected"), CONNECT_PATIENCE, || {
            let output = self.machine.try_run(&["reeve", "-o", "json", "host", "show", host]);
            let shown: Value = serde_json::from_str(&words(&output)).unwrap_or_default();
            Ok((shown["connection"] == "connected").then_some(()))
        });
        heard.unwrap_or_else(|error| {
            panic!("{error}\n{}", self.machine.run(&["journalctl", "--no-pager", "--lines=60"]))
        });
    }

    /// A VM that runs, by its guest's word and libvirt's.
    pub(crate) fn running(&self, configuration: &str) -> Running {
        // A host whose libvirt is being started anew knows nothing of it for a moment, which may begin at any time.
        let shown = poll_until(&format!("{configuration} to run"), CONNECT_PATIENCE, || {
            let shown = self.ask(&["vm", "show", configuration]);
            Ok((shown["state"] == "running").then_some(shown))
        })
        .unwrap();
        let id = shown["id"].as_str().unwrap().to_owned();
        let process = self.machine.run(&["pgrep", "--full", &format!("qemu-system.*{id}")]);
        assert!(!process.is_empty() && !process.contains('\n'), "{process:?}");
        Running { id, process }
    }
}
