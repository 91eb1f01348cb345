//! Owns the end: removal keeps the state and harms no VM, and purging says what it removes.

use super::life::wait_until_running;
use super::site::Site;

/// Removes and purges everything.
pub(crate) fn remove_and_purge(site: &Site) {
    let machine = &site.machine;
    wait_until_running(site, "web-1");
    let before = site.running("web-1");
    let said = machine.run(&["dpkg", "--remove", "reeve-agent", "reeve-coordinator", "reeve"]);
    assert!(said.contains("VMs of this host run on"), "{said}");
    machine.run(&["test", "-s", "/var/lib/reeve-agent/identity/key.pem"]);
    machine.run(&["test", "-s", "/var/lib/reeve-coordinator/pki/ca.pem"]);
    let said = machine.run(&["dpkg", "--purge", "reeve-agent", "reeve-coordinator", "reeve"]);
    assert!(
        said.contains("removing /var/lib/reeve-agent")
            && said.contains("removing /var/lib/reeve-coordinator"),
        "{said}"
    );
    for gone in ["/var/lib/reeve-agent", "/var/lib/reeve-coordinator", "/etc/reeve", "/usr/bin/reeve-agent"] {
        machine.run(&["test", "!", "-e", gone]);
    }
    // Users stay: what else they may own would become somebody else's.
    machine.run(&["id", "reeve-agent"]);
    assert_eq!(machine.run(&["pgrep", "--full", &format!("qemu-system.*{}", before.id)]), before.process);
    assert_eq!(machine.run(&["virsh", "domstate", &before.id]), "running");
}
