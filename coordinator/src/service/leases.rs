//! Owns the noting of leases: a host that asks for one gets it, and from then on the coordinator knows when everything on
//! that host must have stopped if it is not heard any more.
//!
//! A lease is noted before it is granted, and only for the connection that is the host's at that moment. Nothing is kept
//! in the store: a coordinator that starts anew knows of no lease, and so proves nothing by one, until the host has asked
//! it for the next. It could keep how long each host's leases are, and count from its own start; but renewals are written
//! nowhere, so it would have to be certain that the coordinator before it grants none any more, and that is what it
//! cannot be when it takes over from one that is cut off. Until the host is back, a fence or a person proves it.

use std::time::Duration;

use reeve_common::ids::HostId;
use reeve_common::mutation::Mutation;

use super::Service;

impl Service {
    /// A host asks for a lease on this connection, or gives its lease up; `watchdog` is the time of the watchdog behind it.
    /// How long a lease it gets; none when it is not to be answered.
    pub(crate) fn note_lease(
        &self,
        host: HostId,
        connection: u64,
        watchdog: Option<Duration>,
    ) -> Option<Duration> {
        let (config, now) = (self.config(), self.steady_now());
        let mut core = self.core();
        let entry = core.hosts.get_mut(&host)?;
        if entry.agent.as_ref().is_none_or(|agent| agent.connection() != connection) {
            return None; // an earlier connection's question, which came late
        }
        let realm = config.realms.get(&entry.kept.value.realm);
        let lease = match (realm.and_then(|realm| realm.lease), watchdog) {
            (Some(lease), _) => lease,
            // It is bound until it hears that it need not be: that is answered.
            (None, None) => Duration::ZERO,
            // It has not heard yet that its realm asks for no leases any more.
            (None, Some(_)) => return None,
        };
        let backing =
            watchdog.or_else(|| Mutation::TrustLeaseWithoutWatchdog.is_active().then_some(Duration::ZERO));
        entry.life.grant(lease, backing, now);
        Some(lease)
    }
}
