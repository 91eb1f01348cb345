//! Owns finding out whether libvirt's lock manager is on, by trying: its configuration is root's alone, and says nothing of
//! what the running daemon goes by.
//!
//! A tiny guest is started with a lease in a lock space that is not there. Without a lock manager nobody looks at leases and
//! it starts; with one it is refused. So that no other trouble is taken for a lock manager, the same guest is then started
//! without the lease, and only if that works was it the lease.
//!
//! What it costs: one or two transient domains of 32 MiB without a disk, destroyed at once. If the agent dies in between,
//! libvirt ends them with the connection.
//!
//! Must not: believe any words of libvirt's.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use reeve_common::ids::VmId;
use reeve_common::storage::LockManager;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use super::super::xml::{Element, element};
use super::super::{HypervisorEvent, HypervisorResult};
use super::connection::Connection;
use super::failure::{Failure, failed};
use super::lanes::{CallKind, Lane};
use super::{kvm_probe, probe_domain};

/// What the guests are called; a part of each one's own follows.
pub(super) const NAME: &str = "reeve-lock-probe";
/// A lock space that no host has.
const LOCK_SPACE: &str = "reeve-lock-probe";
/// Where that lock space would be.
const LOCK_SPACE_PATH: &str = "/nonexistent/reeve-lock-probe";
/// How long a trial may take: two starts of QEMU on a busy host.
const TRIAL: CallKind =
    CallKind { doing: "looking for a lock manager", lane: Lane::Slow, limit: Duration::from_secs(60) };
/// How often it is seen whether libvirt was restarted, or may now answer what it did not.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Trials without an answer on one connection: a host that cannot start guests is not tried for ever.
const TRIALS_MAX: u32 = 5;

/// What was found out last.
#[derive(Debug, Default)]
pub(super) struct LockVerdict(Mutex<LockManager>);

impl LockVerdict {
    pub(super) fn get(&self) -> LockManager {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, found: LockManager) -> bool {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), found) != found
    }

    /// Finds out again whenever libvirt was restarted, in a thread of its own: only then may its configuration be another.
    pub(super) fn pursue(self: &Arc<Self>, connection: &Arc<Connection>) -> std::io::Result<()> {
        let (verdict, connection) = (Arc::clone(self), Arc::downgrade(connection));
        std::thread::Builder::new()
            .name("lock-probe".to_owned())
            .spawn(move || verdict.keep_finding_out(&connection))?;
        Ok(())
    }

    fn keep_finding_out(&self, connection: &Weak<Connection>) {
        let (mut judged, mut trials) = (None, 0);
        loop {
            // The agent's own start goes first.
            std::thread::sleep(LOOK_INTERVAL);
            let Some(connection) = connection.upgrade() else { return };
            let session = connection.session();
            if session.is_none() || session == judged {
                continue;
            }
            match try_out(&connection) {
                Ok(found) => {
                    if self.set(found) {
                        log::debug!("libvirt's lock manager is found to be {found:?}");
                        // Whoever compares then sees it with the rest.
                        connection.tell(HypervisorEvent::Pools);
                    }
                    (judged, trials) = (session, 0);
                }
                Err(error) => {
                    log::debug!("whether libvirt has a lock manager could not be found out: {error}");
                    trials += 1;
                    if trials >= TRIALS_MAX {
                        (judged, trials) = (session, 0);
                    }
                }
            }
        }
    }
}

/// Tries it once.
pub(super) fn try_out(connection: &Connection) -> HypervisorResult<LockManager> {
    connection.call(TRIAL, trial)
}

fn trial(connect: &Connect) -> Result<LockManager, Failure> {
    let domain_type = if kvm_probe::offer(connect, "kvm").is_ok() { "kvm" } else { "qemu" };
    if run(connect, &domain(VmId::random(), domain_type, true)).is_ok() {
        return Ok(LockManager::Off);
    }
    run(connect, &domain(VmId::random(), domain_type, false))?;
    Ok(LockManager::On)
}

/// Starts a guest and ends it.
fn run(connect: &Connect, domain: &Element) -> Result<(), Failure> {
    let domain = connect.create_domain_xml(&domain.to_document(), sys::VIR_DOMAIN_START_AUTODESTROY)?;
    match domain.destroy().map_err(Failure::from) {
        Err(error) if !error.is(ErrorNumber::NoDomain) => {
            Err(failed("looking for a lock manager", error.to_string()))
        }
        _ => Ok(()),
    }
}

fn domain(vm: VmId, domain_type: &str, with_lease: bool) -> Element {
    let lease = || {
        element("lease")
            .child(element("lockspace").text(LOCK_SPACE))
            .child(element("key").text(vm))
            .child(element("target").attribute("path", LOCK_SPACE_PATH))
    };
    probe_domain::bare(NAME, vm, domain_type, with_lease.then(lease))
}
