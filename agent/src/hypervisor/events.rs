//! Owns what a hypervisor tells by itself, and the queue on which it goes to the agent.
//!
//! The queue is bounded whatever happens on the host: events are hints to look, so a second one about a domain that
//! waits already adds nothing, and when more domains change than are kept, one event says that all must be looked at.
//!
//! ```text
//!   libvirt's callbacks, looks ─▶ EventSender ─▶ what waits: one entry a domain, the newest ─▶ EventReceiver ─▶ host
//! ```
//!
//! Must not: wait for the receiver; the sender is called from threads that must not be held up.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_common::ids::VmId;

/// Events that wait at most: far more domains than a host has. Beyond it one event stands for all.
pub const EVENTS_WAITING_MAX: usize = 4096;

/// What the hypervisor tells by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HypervisorEvent {
    /// Something happened to a domain, ours or not: look at it again.
    Domain(VmId),
    /// The guest agent's channel of a domain opened or closed.
    GuestAgent {
        /// Which.
        vm: VmId,
        /// Whether the guest holds it open.
        connected: bool,
    },
    /// A storage pool was defined, started, stopped or removed: look at the pools again.
    Pools,
    /// The hypervisor is gone.
    Disconnected,
    /// It is back: all that was known must be asked again.
    Connected,
    /// More happened at once than is kept: all that was known must be asked again.
    Overflowed,
}

impl HypervisorEvent {
    /// Whether an event that waits says no more than this newer one.
    fn replaces(&self, waiting: &Self) -> bool {
        match (self, waiting) {
            (Self::GuestAgent { vm, .. }, Self::GuestAgent { vm: other, .. }) => vm == other,
            // The hypervisor's comings and goings before this one are over.
            (Self::Disconnected, Self::Disconnected | Self::Connected) => true,
            (newer, older) => newer == older,
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<HypervisorEvent>,
    senders: usize,
    receiver_is_gone: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is complete before the lock is let go; a panic elsewhere cannot have left it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where events are put.
#[derive(Debug)]
pub struct EventSender(Arc<Queue>);

/// Where they come out. When it is dropped, what is sent is forgotten.
#[derive(Debug)]
pub struct EventReceiver(Arc<Queue>);

/// Why no event was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    /// None came in the time that was waited.
    #[error("no event of the hypervisor came in time")]
    Yet,
    /// Nobody is left who could send one.
    #[error("nobody sends events of the hypervisor any more")]
    Ever,
}

/// A queue for one receiver.
#[must_use]
pub fn event_queue() -> (EventSender, EventReceiver) {
    let queue = Arc::new(Queue::default());
    queue.lock().senders = 1;
    (EventSender(Arc::clone(&queue)), EventReceiver(queue))
}

impl EventSender {
    /// Puts an event where the receiver finds it. Never waits.
    pub fn send(&self, event: HypervisorEvent) {
        let mut waiting = self.0.lock();
        if waiting.receiver_is_gone {
            return;
        }
        if matches!(event, HypervisorEvent::Domain(_) | HypervisorEvent::Pools)
            && waiting.events.contains(&event)
        {
            // It is not looked at yet, and what is seen then is newer than both.
            return;
        }
        waiting.events.retain(|older| !event.replaces(older));
        if waiting.events.len() >= EVENTS_WAITING_MAX {
            let is_hint = |event: &HypervisorEvent| {
                matches!(event, HypervisorEvent::Domain(_) | HypervisorEvent::GuestAgent { .. })
            };
            waiting.events.retain(|older| !is_hint(older) && *older != HypervisorEvent::Overflowed);
            waiting.events.push_back(HypervisorEvent::Overflowed);
            if is_hint(&event) {
                drop(waiting);
                self.0.arrived.notify_one();
                return;
            }
        }
        waiting.events.push_back(event);
        drop(waiting);
        self.0.arrived.notify_one();
    }
}

impl Clone for EventSender {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.arrived.notify_one();
    }
}

impl EventReceiver {
    /// The next event; waits until there is one. None when nobody is left who could send one.
    #[must_use]
    pub fn recv(&self) -> Option<HypervisorEvent> {
        let mut waiting = self.0.lock();
        loop {
            if let Some(event) = waiting.events.pop_front() {
                return Some(event);
            }
            if waiting.senders == 0 {
                return None;
            }
            waiting = self.0.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next event, waited for at most so long.
    ///
    /// # Errors
    /// [`NoEvent`].
    pub fn recv_timeout(&self, at_most: Duration) -> Result<HypervisorEvent, NoEvent> {
        let idle = |waiting: &mut Waiting| waiting.events.is_empty() && waiting.senders > 0;
        let waited = self.0.arrived.wait_timeout_while(self.0.lock(), at_most, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let none = if waiting.senders == 0 { NoEvent::Ever } else { NoEvent::Yet };
        waiting.events.pop_front().ok_or(none)
    }

    /// The next event, if one waits.
    #[must_use]
    pub fn try_recv(&self) -> Option<HypervisorEvent> {
        self.0.lock().events.pop_front()
    }

    /// The events that wait, until there is none.
    pub fn try_iter(&self) -> impl Iterator<Item = HypervisorEvent> + '_ {
        std::iter::from_fn(|| self.try_recv())
    }

    /// All events there will ever be.
    pub fn iter(&self) -> impl Iterator<Item = HypervisorEvent> + '_ {
        std::iter::from_fn(|| self.recv())
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.receiver_is_gone = true;
        waiting.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::sample_values::vm;

    fn all(receiver: &EventReceiver) -> Vec<HypervisorEvent> {
        receiver.try_iter().collect()
    }

    #[test]
    fn what_waits_already_is_not_kept_twice_and_the_newest_word_counts() {
        let (sender, receiver) = event_queue();
        let guest = |connected| HypervisorEvent::GuestAgent { vm: vm(1), connected };
        for event in [
            HypervisorEvent::Domain(vm(1)),
            guest(true),
            HypervisorEvent::Domain(vm(2)),
            HypervisorEvent::Domain(vm(1)),
            guest(false),
            HypervisorEvent::Pools,
            HypervisorEvent::Pools,
        ] {
            sender.send(event);
        }
        let domain = |number| HypervisorEvent::Domain(vm(number));
        assert_eq!(all(&receiver), [domain(1), domain(2), guest(false), HypervisorEvent::Pools]);
        sender.send(HypervisorEvent::Domain(vm(1)));
        assert_eq!(all(&receiver), [domain(1)], "it was looked at in between");
    }

    #[test]
    fn comings_and_goings_are_told_in_order_and_the_last_ones_only() {
        let (sender, receiver) = event_queue();
        for _ in 0..3 {
            sender.send(HypervisorEvent::Disconnected);
            sender.send(HypervisorEvent::Connected);
        }
        assert_eq!(all(&receiver), [HypervisorEvent::Disconnected, HypervisorEvent::Connected]);
    }

    #[test]
    fn a_flood_becomes_one_event_and_takes_no_more_room() {
        let (sender, receiver) = event_queue();
        sender.send(HypervisorEvent::Connected);
        for number in 0..2 * EVENTS_WAITING_MAX {
            sender.send(HypervisorEvent::Domain(vm(number as u128)));
            assert!(sender.0.lock().events.len() <= EVENTS_WAITING_MAX);
        }
        let heard = all(&receiver);
        assert_eq!(heard[..2], [HypervisorEvent::Connected, HypervisorEvent::Overflowed]);
        assert!(heard.len() < EVENTS_WAITING_MAX);
    }

    #[test]
    fn each_side_notices_that_the_other_is_gone() {
        let (sender, receiver) = event_queue();
        let second = sender.clone();
        drop(sender);
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(NoEvent::Yet));
        second.send(HypervisorEvent::Pools);
        drop(second);
        assert_eq!(receiver.recv(), Some(HypervisorEvent::Pools));
        assert_eq!((receiver.recv(), receiver.recv_timeout(Duration::ZERO)), (None, Err(NoEvent::Ever)));
        let (sender, receiver) = event_queue();
        drop(receiver);
        sender.send(HypervisorEvent::Pools);
        assert!(sender.0.lock().events.is_empty(), "nobody will ever take it");
    }

    #[test]
    fn a_receiver_that_waits_is_woken() {
        let (sender, receiver) = event_queue();
        let waiter = std::thread::spawn(move || receiver.iter().collect::<Vec<_>>());
        sender.send(HypervisorEvent::Domain(vm(1)));
        drop(sender);
        assert_eq!(waiter.join().unwrap(), [HypervisorEvent::Domain(vm(1))]);
    }
}
