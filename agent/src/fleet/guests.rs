//! Owns the passing of time for all simulated guests of a fleet, and how their hosts hear of it: one task, instead of two
//! threads for each host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::host::Host;
use crate::hypervisor::EventReceiver;
use crate::hypervisor::simulated::SimulatedHypervisor;

/// How often guests are looked after: one that boots in two seconds is not noticeably late.
const TICK: Duration = Duration::from_millis(100);

/// Hosts that had nothing to do are looked at in turns, each once in so many ticks: most of a large fleet has no guest that
/// is about to do anything, and looking at ten thousand takes some milliseconds.
const TURNS: usize = 5;

/// The guests of all hosts.
#[derive(Default)]
pub(super) struct Guests {
    hosts: Mutex<Vec<Entry>>,
}

struct Entry {
    host: Host,
    hypervisor: Arc<SimulatedHypervisor>,
    events: EventReceiver,
    /// Whether one of its guests will do something by itself, as of the last look.
    is_due: bool,
}

impl Entry {
    fn look(&mut self) {
        self.hypervisor.advance();
        self.events.try_iter().for_each(|event| self.host.hear(&event));
        self.is_due = self.hypervisor.next_transition().is_some();
    }
}

impl Guests {
    /// Looks after a host's guests from now on.
    pub(super) fn look_after(&self, host: Host, hypervisor: Arc<SimulatedHypervisor>, events: EventReceiver) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(Entry {
            host,
            hypervisor,
            events,
            is_due: true,
        });
    }

    /// Lets time pass, for ever.
    pub(super) async fn keep<T>(self: Arc<Self>) -> T {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = 0;
        loop {
            ticks.tick().await;
            self.look(turn);
            turn = (turn + 1) % TURNS;
        }
    }

    /// Looks at the hosts whose turn it is, and at those where something is about to happen.
    fn look(&self, turn: usize) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, entry) in hosts.iter_mut().enumerate() {
            if entry.is_due || number % TURNS == turn {
                entry.look();
            }
        }
    }
}
