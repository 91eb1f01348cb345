//! Owns libvirt's own access control: what the agent does is allowed by the rules that are shipped, what it does not do is
//! refused, and a stranger is refused everything that changes something.

use super::life::wait_until_running;
use super::site::Site;

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

fn refused(site: &Site, user: &str, vm: &str, command: &[&str]) -> String {
    let mut words = vec!["runuser", "-u", user, "--", "virsh", "--connect", "qemu:///system"];
    words.extend(command.iter().map(|word| if *word == "VM" { vm } else { *word }));
    site.machine.refuse(&words)
}
