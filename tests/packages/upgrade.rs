//! Owns the upgrade from the version before this one, with a VM running and agents of both versions connected.

use super::built::{CURRENT, NAMES};
use super::life::wait_until_running;
use super::site::Site;

/// Installs this version over the one before it.
pub(crate) fn to_the_next_version(site: &Site) {
    let machine = &site.machine;
    let before = site.running("web-1");
    let processes = ["reeve-agent", "reeve-coordinator"].map(|daemon| machine.main_process(daemon));
    let configured = machine.shell("cat /etc/reeve/*.conf /etc/reeve/realms/*.conf");
    site.unpack(CURRENT);
    for name in NAMES {
        let version = machine.run(&["dpkg-query", "--show", "--showformat=${Version}", name]);
        assert_eq!(version, format!("{CURRENT}-1"), "{name}");
    }
    let after = ["reeve-agent", "reeve-coordinator"].map(|daemon| machine.main_process(daemon));
    assert!(
        after.iter().zip(processes).all(|(new, old)| *new != old && *new != 0),
        "{processes:?} {after:?}"
    );
    assert_eq!(machine.shell("cat /etc/reeve/*.conf /etc/reeve/realms/*.conf"), configured, "conffiles");
    // The agent that was not upgraded comes back as well.
    for host in ["machine", "old"] {
        site.wait_for_connection(host);
    }
    wait_until_running(site, "web-1");
    assert_eq!(site.running("web-1"), before);
}
