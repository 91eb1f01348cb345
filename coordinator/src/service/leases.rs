//! Owns the noting of leases: a host that asks for one gets it, and from then on the coordinator knows when everything on
//! that host must have stopped if it is not heard any more.
//!
//! A lease is noted before it is granted, and only for the connection that is the host's at that moment. Nothing is kept
//! in the store: a coordinator that starts anew knows of no lease, and so proves nothing by one, until the host has asked
//! it for the next. There is one coordinator at a time: the store's lock sees to that.

use std::time::Duration;

use reeve_common::ids::HostId;

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
        entry.life.grant(lease, watchdog, now);
        Some(lease)
    }
}
