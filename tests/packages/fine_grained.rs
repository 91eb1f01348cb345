//! Owns libvirt's own access control: what the agent does is allowed by the rules that are shipped, what it does not do is
//! refused, and a stranger is refused everything that changes something.

use std::time::Duration;

use reeve_tests::harness::waiting::poll_until;
use serde_json::Value;

use super::life::wait_until_running;
use super::machine::words;
use super::site::Site;

/// What happens on a host is known within a second; a busy machine has more time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Actions that the agent has no use for, as `virsh` commands.
const REFUSED: [&[&str]; 6] = [
    &["net-destroy", "default"],
    &["nwfilter-undefine", "clean-traffic"],
    &["pool-destroy", "ticrypt-vm"],
    &["pool-undefine", "ticrypt-vm"],
    &["iface-list"],
    &["suspend", "VM"],
];

/// Turns it on, has the agent start, watch and stop a VM, and tries what it must not do.
pub(crate) fn access(site: &Site) {
    let machine = &site.machine;
    let before = site.running("web-1");
    machine.shell(r#"printf 'access_drivers = [ "polkit" ]\n' >>/etc/libvirt/libvirtd.conf"#);
    machine.run(&["systemctl", "restart", "libvirtd"]);
    machine.run(&["systemctl", "restart", "reeve-agent"]);
    site.wait_for_connection("machine");
    wait_until_running(site, "web-1");
    machine.run(&["reeve", "vm", "start", "web-2"]);
    let second = site.running("web-2");
    machine.run(&["reeve", "vm", "logs", "web-2"]);
    machine.run(&["reeve", "volume", "list", "--realm", "primary"]);
    machine.run(&["reeve", "realm", "fix-vms", "primary", "--dry-run"]);
    machine.run(&["reeve", "vm", "shutdown", "web-2"]);
    adopt_and_release(site);
    examine(site);
    for command in REFUSED {
        let said = refused(site, "reeve-agent", &before.id, command);
        assert!(said.contains("access denied") || said.contains("authentication"), "{command:?}: {said}");
    }
    machine.run(&["useradd", "--groups", "libvirt", "bob"]);
    let said = refused(site, "bob", &before.id, &["destroy", "VM"]);
    assert!(said.contains("access denied"), "{said}");
    assert_ne!(second.process, before.process);
    machine.shell("sed -i /^access_drivers/d /etc/libvirt/libvirtd.conf");
    machine.run(&["systemctl", "restart", "libvirtd"]);
    site.wait_for_connection("machine");
    wait_until_running(site, "web-1");
    assert_eq!(site.running("web-1"), before);
}

/// A domain that the administrator made is adopted where it runs, and given back.
fn adopt_and_release(site: &Site) {
    let machine = &site.machine;
    machine.write(
        "/root/legacy.xml",
        "<domain type='qemu'><name>legacy</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>",
    );
    machine.run(&["virsh", "--quiet", "define", "/root/legacy.xml"]);
    machine.run(&["virsh", "--quiet", "start", "legacy"]);
    poll_until("the domain to be seen", PATIENCE, || {
        let listed = site.ask(&["vm", "list", "--unmanaged"]);
        let legacy = listed.as_array().unwrap().iter().find(|domain| domain["name"] == "legacy").cloned();
        Ok(legacy.filter(|domain| domain["state"] == "running"))
    })
    .unwrap();
    let process = || machine.run(&["cat", "/run/libvirt/qemu/legacy.pid"]);
    let before = process();
    machine.run(&["reeve", "vm", "adopt", "machine/legacy", "--owner", "ann", "--team", "physics"]);
    assert_eq!(site.ask(&["vm", "show", "legacy"])["state"], "running");
    machine.run(&["reeve", "vm", "release", "legacy"]);
    assert_eq!((machine.run(&["virsh", "domstate", "legacy"]), process()), ("running".to_owned(), before));
    machine.run(&["virsh", "--quiet", "destroy", "legacy"]);
    machine.run(&["virsh", "--quiet", "undefine", "legacy"]);
}

/// The doctor sees all of libvirt that it looks for as the agent's user, which also may find out whether there is a lock
/// manager.
fn examine(site: &Site) {
    let doctor = ["runuser", "-u", "reeve-agent", "--", "reeve-agent", "doctor", "-o", "json"];
    let said = words(&site.machine.try_run(&doctor));
    let checks: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let check = |about: &str| {
        let found = checks.as_array().unwrap().iter().find(|check| check["about"] == about);
        found.unwrap_or_else(|| panic!("nothing is said of {about}: {said}")).clone()
    };
    for about in ["libvirt", "pools", "networks", "certificate", "coordinator"] {
        assert_eq!(check(about)["verdict"], "ok", "{said}");
    }
    assert!(check("lock manager")["found"].as_str().unwrap().starts_with("none"), "{said}");
}

fn refused(site: &Site, user: &str, vm: &str, command: &[&str]) -> String {
    let mut words = vec!["runuser", "-u", user, "--", "virsh", "--connect", "qemu:///system"];
    words.extend(command.iter().map(|word| if *word == "VM" { vm } else { *word }));
    site.machine.refuse(&words)
}
