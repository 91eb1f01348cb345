//! Owns the passing of time for all simulated guests of a fleet, and how their hosts hear of it: one task, instead of two
//! threads for each host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::host::Host;
use crate::hypervisor::EventReceiver;
use crate::hypervisor::simulated::SimulatedHypervisor;

/// How often all guests are looked after: a guest that boots in two seconds is not noticeably late.
const TICK: Duration = Duration::from_millis(100);

/// The guests of all hosts.
#[derive(Default)]
pub(super) struct Guests {
    hosts: Mutex<Vec<Entry>>,
}

struct Entry {
    host: Host,
    hypervisor: Arc<SimulatedHypervisor>,
    events: EventReceiver,
}

impl Guests {
    /// Looks after a host's guests from now on.
    pub(super) fn look_after(&self, host: Host, hypervisor: Arc<SimulatedHypervisor>, events: EventReceiver) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { host, hypervisor, events });
    }

    /// Lets time pass, for ever.
    pub(super) async fn keep<T>(self: Arc<Self>) -> T {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for entry in self.hosts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                entry.hypervisor.advance();
                entry.events.try_iter().for_each(|event| entry.host.hear(&event));
            }
        }
    }
}
