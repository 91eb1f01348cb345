//! Owns the way from libvirt's callbacks to the agent: each becomes a hint on a channel.
//!
//! Must not: ask libvirt anything; this runs in the event loop's thread.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use reeve_common::ids::VmId;
use uuid::Uuid;

use super::super::{EventSender, HypervisorEvent};
use super::connection::Control;
use super::ffi::Listener;

/// Where events go. Replaced when another agent subscribes; without one they are dropped, as nobody has looked yet.
#[derive(Debug, Default)]
pub(super) struct EventSink(Mutex<Option<EventSender>>);

impl EventSink {
    pub(super) fn subscribe(&self, events: EventSender) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    pub(super) fn send(&self, event: HypervisorEvent) {
        if let Some(events) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            events.send(event);
        }
    }
}

/// What libvirt calls during one session.
pub(super) struct SessionListener {
    session: u64,
    events: Arc<EventSink>,
    control: Mutex<Sender<Control>>,
}

impl SessionListener {
    pub(super) const fn new(session: u64, events: Arc<EventSink>, control: Sender<Control>) -> Self {
        Self { session, events, control: Mutex::new(control) }
    }
}

impl Listener for SessionListener {
    fn domain_changed(&self, domain: Uuid) {
        self.events.send(HypervisorEvent::Domain(VmId(domain)));
    }

    fn guest_agent_changed(&self, domain: Uuid, connected: bool) {
        self.events.send(HypervisorEvent::GuestAgent { vm: VmId(domain), connected });
    }

    fn pools_changed(&self) {
        self.events.send(HypervisorEvent::Pools);
    }

    fn closed(&self) {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = control.send(Control::Closed(self.session));
    }
}
