//! Whether libvirt has a lock manager, found out on a real one with and without.

use std::sync::Arc;

use reeve_agent::hypervisor::libvirt::{LibvirtHypervisor, LibvirtSettings};
use reeve_agent::hypervisor::{Hypervisor as _, event_queue};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::VmId;
use reeve_common::storage::LockManager;
use reeve_tests::harness::waiting::poll_until;

use crate::subject::{PATIENCE, Subject as _, libvirt_alone, settings};

/// Whether there is a lock manager is found by trying, and again when libvirt was restarted; nothing is left of it, and a
/// guest of somebody's that runs meanwhile is not touched.
#[test]
fn a_lock_manager_is_found_out_by_trying() {
    let mut subject = libvirt_alone();
    let foreign = VmId::random();
    subject.add_foreign(foreign, "somebody", true);
    assert_eq!(subject.hypervisor.lock_manager(), LockManager::Unknown, "nobody has looked");
    assert_eq!(subject.hypervisor.try_lock_manager().unwrap(), LockManager::Off);

    // As the agent does it: by itself, told as whatever else changed.
    let settings = LibvirtSettings { looks_for_lock_manager: true, ..settings(&subject.daemon) };
    let watching = LibvirtHypervisor::start(&settings, Arc::new(SystemClock)).unwrap();
    let (sender, events) = event_queue();
    watching.subscribe(sender);
    let told = |wanted: LockManager| {
        let until = SystemClock.monotonic() + PATIENCE;
        while watching.lock_manager() != wanted {
            let left = until.saturating_duration_since(SystemClock.monotonic());
            events
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("it is not found to be {wanted:?}: {error:?}"));
        }
    };
    told(LockManager::Off);
    subject.daemon.configure_lock_manager(true).unwrap();
    subject.daemon.kill().unwrap();
    subject.daemon.revive().unwrap();
    told(LockManager::On);
    poll_until("the connection to be back", PATIENCE, || Ok(subject.hypervisor.domains().ok())).unwrap();
    assert_eq!(subject.hypervisor.try_lock_manager().unwrap(), LockManager::On);
    let domains = subject.hypervisor.domains().unwrap();
    assert!(domains.own.is_empty() && domains.foreign.len() == 1 && domains.foreign[0].active, "{domains:?}");
    let listed = subject.daemon.virsh(&["list", "--all", "--name"]).unwrap();
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["somebody"]);
}
