//! Owns the simulated network: which directions of which host's path are open, how long a message takes, and the
//! connections that stand. A connection behaves as a QUIC connection does: streams lose nothing in the middle and keep
//! their order, each its own; what is under way when it ends is lost; who hears nothing for the idle timeout gives up.
//!
//! Must not: know what a message means. Messages go through the product's own codec on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use reeve_common::ids::{HostId, VmId};
use reeve_common::quic::IDLE_TIMEOUT;
use reeve_common::wire::message::Message;
use reeve_common::wire::version::CURRENT;
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::coordinator_side::Greeting;
use super::obedience::Obedience;
use super::signal::Signal;
use super::trace::{Place, Trace, violated};

/// Messages on their way on one stream; who sends more waits.
const UNDER_WAY_MAX: usize = 64;
/// How often it is looked whether a side has heard nothing for too long.
const IDLE_CHECK: Duration = Duration::from_millis(500);

/// A side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The agent.
    Agent,
    /// The coordinator.
    Coordinator,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Agent => Self::Coordinator,
            Self::Coordinator => Self::Agent,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Line {
    cut_toward_agent: bool,
    cut_toward_coordinator: bool,
    slow: bool,
}

/// Which of the coordinators that there are: the first is number 0, the one that follows it number 1.
pub type Number = u32;

struct State {
    chance: Chance,
    lines: BTreeMap<HostId, Line>,
    /// Coordinators whose process is stopped.
    frozen: BTreeSet<Number>,
    /// Agents whose process is stopped.
    frozen_agents: BTreeSet<HostId>,
    listeners: BTreeMap<Number, mpsc::UnboundedSender<Greeting>>,
    /// Where the coordinator's address leads from a host; to the first unless it is said otherwise.
    routes: BTreeMap<HostId, Number>,
    wires: Vec<Weak<Wire>>,
}

/// The network.
pub struct Network {
    state: Mutex<State>,
    changed: Signal<u64>,
    pub(super) trace: Trace,
    /// What was said on it.
    pub obedience: Arc<Obedience>,
}

impl Network {
    /// One on which all is well and nobody listens.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Arc<Self> {
        let state = State {
            chance: Chance::new(seed, 1),
            lines: BTreeMap::new(),
            frozen: BTreeSet::new(),
            frozen_agents: BTreeSet::new(),
            listeners: BTreeMap::new(),
            routes: BTreeMap::new(),
            wires: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Signal::new(0),
            obedience: Obedience::new(trace.clone()),
            trace,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.change(|count| *count += 1);
    }

    /// Cuts or mends one direction of a host's path.
    pub fn set_cut(&self, host: HostId, toward: Side, cut: bool) {
        self.change(|state| {
            let line = state.lines.entry(host).or_default();
            match toward {
                Side::Agent => line.cut_toward_agent = cut,
                Side::Coordinator => line.cut_toward_coordinator = cut,
            }
        });
    }

    /// Makes a host's path slow and uneven, or quick again.
    pub fn set_slow(&self, host: HostId, slow: bool) {
        self.change(|state| state.lines.entry(host).or_default().slow = slow);
    }

    /// Holds up everything to and from a coordinator, as when its process is stopped.
    pub fn set_frozen(&self, coordinator: Number, frozen: bool) {
        self.change(|state| set(&mut state.frozen, coordinator, frozen));
    }

    /// The same for an agent.
    pub fn set_agent_frozen(&self, host: HostId, frozen: bool) {
        self.change(|state| set(&mut state.frozen_agents, host, frozen));
    }

    /// Who answers agents that dial this coordinator; none while it does not run.
    pub fn set_listener(&self, coordinator: Number, listener: Option<mpsc::UnboundedSender<Greeting>>) {
        self.change(|state| match listener {
            Some(listener) => drop(state.listeners.insert(coordinator, listener)),
            None => drop(state.listeners.remove(&coordinator)),
        });
    }

    /// From now on the coordinator's address leads a host there.
    pub fn set_route(&self, host: HostId, coordinator: Number) {
        self.change(|state| {
            state.routes.insert(host, coordinator);
        });
    }

    /// The same, and what the host has with another coordinator breaks.
    pub fn lead(&self, host: HostId, coordinator: Number) {
        if self.route(host) != coordinator {
            self.set_route(host, coordinator);
            self.break_connections(host);
        }
    }

    /// Where it leads now.
    #[must_use]
    pub fn route(&self, host: HostId) -> Number {
        self.state().routes.get(&host).copied().unwrap_or_default()
    }

    /// Whether a host's agent and this coordinator have a connection on which nothing is in the way.
    #[must_use]
    pub fn is_well_connected(&self, host: HostId, coordinator: Number) -> bool {
        let line = self.state().lines.get(&host).copied().unwrap_or_default();
        let is_open = |side| self.is_open(host, coordinator, side);
        let has_wire = || {
            let mut between =
                self.wires().into_iter().filter(|wire| wire.host == host && wire.coordinator == coordinator);
            between.any(|wire| !wire.has_ended(Side::Agent) && !wire.has_ended(Side::Coordinator))
        };
        !line.slow && is_open(Side::Agent) && is_open(Side::Coordinator) && has_wire()
    }

    /// An agent is gone without a word.
    pub fn vanish_agent(&self, host: HostId) {
        for wire in self.wires().into_iter().filter(|wire| wire.host == host) {
            wire.vanish(Side::Agent);
        }
    }

    /// A coordinator is gone without a word.
    pub fn vanish_coordinator(&self, coordinator: Number) {
        for wire in self.wires().into_iter().filter(|wire| wire.coordinator == coordinator) {
            wire.vanish(Side::Coordinator);
        }
    }

    /// A coordinator runs again and knows nothing of connections with its life before: it says so.
    pub fn disown(&self, coordinator: Number) {
        for wire in self.wires().into_iter().filter(|wire| wire.coordinator == coordinator) {
            if wire.has_ended(Side::Coordinator) && self.is_open(wire.host, coordinator, Side::Agent) {
                wire.end(Side::Agent, CloseReason::Forgotten);
            }
        }
    }

    /// Breaks a host's connections, as when a middle box forgets them: both sides notice.
    pub fn break_connections(&self, host: HostId) {
        for wire in self.wires().into_iter().filter(|wire| wire.host == host) {
            wire.end(Side::Agent, CloseReason::Transport("broken by the simulation".to_owned()));
            wire.end(Side::Coordinator, CloseReason::Transport("broken by the simulation".to_owned()));
        }
    }

    fn wires(&self) -> Vec<Arc<Wire>> {
        let mut state = self.state();
        state.wires.retain(|wire| wire.strong_count() > 0);
        state.wires.iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether a message toward this side of a host's path to a coordinator gets through now.
    pub(super) fn is_open(&self, host: HostId, coordinator: Number, toward: Side) -> bool {
        let state = self.state();
        let line = state.lines.get(&host).copied().unwrap_or_default();
        let cut = match toward {
            Side::Agent => line.cut_toward_agent,
            Side::Coordinator => line.cut_toward_coordinator,
        };
        !cut && !state.frozen.contains(&coordinator) && !state.frozen_agents.contains(&host)
    }

    /// Waits until a message toward this side gets through.
    pub(super) async fn until_open(&self, host: HostId, coordinator: Number, toward: Side) {
        self.changed.until(|_| self.is_open(host, coordinator, toward)).await;
    }

    /// Waits until somebody listens at a coordinator, and says who.
    pub(super) async fn until_listened(
        &self,
        coordinator: Number,
    ) -> Option<mpsc::UnboundedSender<Greeting>> {
        let listening = || {
            let state = self.state();
            let listener = state.listeners.get(&coordinator).cloned();
            listener.filter(|_| !state.frozen.contains(&coordinator))
        };
        self.changed.until(|_| listening().is_some()).await;
        listening()
    }

    /// How long the next message of a host takes.
    pub(super) fn delay(&self, host: HostId) -> Duration {
        let mut state = self.state();
        let slow = state.lines.get(&host).is_some_and(|line| line.slow);
        let chance = &mut state.chance;
        if slow {
            chance.milliseconds(50..=2500)
        } else if chance.permille(40) {
            chance.milliseconds(10..=400)
        } else {
            chance.milliseconds(1..=4)
        }
    }

    /// A new connection of a host with a coordinator.
    pub(super) fn connect(self: &Arc<Self>, host: HostId, coordinator: Number) -> Arc<Wire> {
        let ends = [Signal::new(None), Signal::new(None)];
        let wire = Arc::new(Wire {
            network: Arc::clone(self),
            host,
            coordinator,
            ends,
            received: AtomicU64::new(1),
        });
        self.state().wires.push(Arc::downgrade(&wire));
        tokio::spawn(watch_silence(Arc::downgrade(&wire)));
        wire
    }
}

/// A connection with a host, as both sides see it.
pub(super) struct Wire {
    pub(super) network: Arc<Network>,
    pub(super) host: HostId,
    pub(super) coordinator: Number,
    ends: [Signal<Option<CloseReason>>; 2],
    received: AtomicU64,
}

impl Wire {
    const fn own(&self, side: Side) -> &Signal<Option<CloseReason>> {
        match side {
            Side::Agent => &self.ends[0],
            Side::Coordinator => &self.ends[1],
        }
    }

    /// How much the coordinator has received of the host.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn has_ended(&self, side: Side) -> bool {
        self.own(side).get().is_some()
    }

    /// Whether a message toward this side gets through now.
    fn is_open(&self, toward: Side) -> bool {
        self.network.is_open(self.host, self.coordinator, toward)
    }

    /// A process that is stopped notices nothing until it goes on.
    fn notices(&self, side: Side) -> bool {
        let state = self.network.state();
        match side {
            Side::Agent => !state.frozen_agents.contains(&self.host),
            Side::Coordinator => !state.frozen.contains(&self.coordinator),
        }
    }

    /// How the connection ended for this side; waits for it.
    pub(super) async fn closed(&self, side: Side) -> CloseReason {
        self.own(side).until(Option::is_some).await.unwrap_or(CloseReason::Silent)
    }

    fn end(&self, side: Side, reason: CloseReason) {
        self.own(side).change(|end| {
            end.get_or_insert(reason);
        });
    }

    /// The process of this side is gone: it says nothing any more, and hears nothing.
    fn vanish(&self, side: Side) {
        self.end(side, CloseReason::Transport("the process is gone".to_owned()));
    }

    /// This side closes the connection; the other hears it, if it hears anything.
    pub(super) fn close(self: &Arc<Self>, side: Side, code: RefusalCode, text: &str) {
        if self.has_ended(side) {
            return;
        }
        self.end(side, CloseReason::Here { code, text: text.to_owned() });
        let (wire, text, other) = (Arc::clone(self), text.to_owned(), side.other());
        let delay = self.network.delay(self.host);
        tokio::spawn(async move {
            sleep(delay).await;
            // A word of farewell is sent once.
            if wire.is_open(other) {
                wire.end(other, CloseReason::ByPeer { code, text });
            }
        });
    }

    /// A stream of messages toward `to`. What arrives is handed to `deliver`.
    pub(super) fn stream<M: Message + Send + 'static>(
        self: &Arc<Self>,
        to: Side,
        name: fn(&M) -> (&'static str, Option<VmId>),
        arrived: mpsc::Sender<M>,
    ) -> Stream {
        let (sender, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY_MAX);
        let wire = Arc::clone(self);
        tokio::spawn(async move {
            while let Some((at, bytes)) = queue.recv().await {
                sleep_until(at).await;
                let arrival = async {
                    wire.network.until_open(wire.host, wire.coordinator, to).await;
                };
                tokio::select! {
                    biased;
                    _ = wire.closed(to) => return,
                    () = arrival => {}
                }
                match M::decode(CURRENT, &bytes) {
                    Ok(message) => {
                        let (what, vm) = name(&message);
                        wire.network.trace.note(Place::Host(wire.host), what, vm);
                        if arrived.send(message).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        violated(&wire.network.trace, "what is said is understood", error.to_string());
                        return;
                    }
                }
            }
        });
        Stream { wire: Arc::clone(self), to, sender }
    }
}

/// The sending half of a stream.
#[derive(Clone)]
pub(super) struct Stream {
    wire: Arc<Wire>,
    to: Side,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
}

impl Stream {
    /// Sends one message; waits while too many are under way.
    pub(super) async fn send<M: Message>(&self, message: M) -> Result<(), LinkError> {
        let bytes = message.encode(CURRENT).map_err(LinkError::TooLarge)?;
        let own = self.to.other();
        if self.wire.has_ended(own) {
            return Err(LinkError::Closed(self.wire.closed(own).await));
        }
        let at = Instant::now() + self.wire.network.delay(self.wire.host);
        tokio::select! {
            biased;
            reason = self.wire.closed(own) => Err(LinkError::Closed(reason)),
            sent = self.sender.send((at, bytes)) => match sent {
                Ok(()) => Ok(()),
                Err(_) => Err(LinkError::Closed(self.wire.closed(own).await)),
            },
        }
    }
}

fn set<T: Ord>(several: &mut BTreeSet<T>, one: T, is_in: bool) {
    if is_in {
        several.insert(one);
    } else {
        several.remove(&one);
    }
}

/// Lets each side give up when it has heard nothing for too long. Both sides send keep-alives as long as they are there.
async fn watch_silence(wire: Weak<Wire>) {
    let mut heard = [Instant::now(); 2];
    loop {
        sleep(IDLE_CHECK).await;
        let Some(wire) = wire.upgrade() else { return };
        let now = Instant::now();
        for (index, side) in [Side::Agent, Side::Coordinator].into_iter().enumerate() {
            if !wire.has_ended(side.other()) && wire.is_open(side) {
                heard[index] = now;
                if side == Side::Coordinator {
                    wire.received.fetch_add(1, Ordering::Relaxed);
                }
            }
            if wire.notices(side) && now.duration_since(heard[index]) >= IDLE_TIMEOUT {
                wire.end(side, CloseReason::Silent);
            }
        }
        if wire.has_ended(Side::Agent) && wire.has_ended(Side::Coordinator) {
            return;
        }
    }
}
