//! Owns following which hosts are heard: signs of life, what is shown of it, what the scheduler is told of it, and the
//! question whether what was on a host may still run there.
//!
//! Must not: judge by itself; `model::host_life` does, by the steady clock. Wall time is only shown.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;
use reeve_common::logging::messages;
use reeve_common::quic::KEEP_ALIVE_INTERVAL;
use reeve_scheduler::Contact;

use super::Service;
use super::core::HostEntry;
use crate::agents::AgentHandle;
use crate::config::CoordinatorConfig;
use crate::model::host::Connection;
use crate::model::host_life::{self, Ownership, Patience, Standing};

/// In the time after which a host is suspected it is looked so often whether it is silent, and twice as often in the time after
/// which it is lost. A sign counts from the look that finds it, and silence is found by a look: a host is suspected, or lost, up
/// to two looks later than it could be.
const LOOKS: u32 = 8;
/// Between two looks at least: each takes the lock under which decisions are made.
const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(250);
/// Between two looks at most: people wait for what they find.
const WATCH_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// How often it is looked which hosts are silent.
fn watch_interval(patience: Patience) -> Duration {
    let shortest = patience.suspect_after.min(patience.lost_after / 2);
    (shortest / LOOKS).clamp(WATCH_INTERVAL_MIN, WATCH_INTERVAL_MAX)
}

/// After so much silence a host is asked for a sign: so that one sign may be lost before it is suspected, and three before it
/// counts as lost. None where agents give signs as often by themselves.
fn nudge_after(patience: Patience) -> Option<Duration> {
    let after = (patience.suspect_after / 2).min(patience.lost_after / 4);
    (after < KEEP_ALIVE_INTERVAL).then_some(after)
}

/// The two clocks at one moment: the steady one that decides, and the wall's that is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// What decides.
    pub(super) steady: Timestamp,
    /// What is shown.
    pub(super) wall: Timestamp,
}

impl Now {
    /// What a clock on the wall showed at a moment of the steady clock, as far as it was not set since.
    pub(super) fn shown(self, steady: Timestamp) -> Timestamp {
        let ago = u64::try_from(self.steady.since(steady).as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.wall.0.saturating_sub(ago))
    }
}

impl Service {
    /// Now, by both clocks.
    pub(super) fn both_clocks(&self) -> Now {
        Now { steady: self.steady_now(), wall: self.now() }
    }

    /// A host was heard, whatever it said.
    pub(crate) fn hear(&self, host: HostId) {
        let now = self.steady_now();
        if let Some(entry) = self.core().hosts.get_mut(&host) {
            entry.life.sign(now);
        }
    }

    /// Whether what was on a host may still run there: only [`Ownership::Released`] lets it be started elsewhere. None
    /// when there is no such host.
    #[must_use]
    pub fn ownership(&self, host: HostId) -> Option<Ownership> {
        let now = self.steady_now();
        self.core().hosts.get(&host).map(|entry| host_life::ownership(&entry.life, now))
    }

    /// Watches which hosts are silent; never returns.
    pub async fn keep_watching_hosts(self) {
        loop {
            self.watch_hosts();
            let interval = watch_interval(patience(&self.config()));
            tokio::time::sleep(interval).await;
        }
    }

    /// Looks once at all hosts, has those described anew whose contact has changed, and asks for a sign where there was none
    /// for a while.
    pub(super) fn watch_hosts(&self) {
        let (config, now) = (self.config(), self.steady_now());
        // Whoever said something since the last look is not asked about at its connection. No longer than a look: what came in
        // meanwhile would count from later than it came.
        let (fresh, nudge_after) = (watch_interval(patience(&config)), nudge_after(patience(&config)));
        let (mut changed, mut silent) = (Vec::new(), Vec::new());
        for (id, entry) in &mut self.core().hosts {
            hear_connection(entry, now, fresh);
            let contact = contact(entry, &config, now);
            if entry.contact != contact {
                changed.push((*id, entry.contact, contact));
                entry.contact = contact;
            }
            let is_silent = |after| entry.life.last_sign().is_some_and(|sign| now.since(sign) >= after);
            if let Some(agent) = entry.agent.as_ref().filter(|_| nudge_after.is_some_and(is_silent)) {
                silent.push(agent.clone());
            }
        }
        silent.iter().for_each(AgentHandle::nudge);
        for (host, before, contact) in changed {
            self.describe_host(host);
            let (name, realm) =
                (self.host_label(host), self.realm_of(host).map(String::from).unwrap_or_default());
            match (before, contact) {
                (_, Contact::Lost) => log::warn!(
                    MESSAGE_ID:% = messages::HOST_LOST, REEVE_REALM:% = realm, REEVE_HOST:% = name;
                    "host {name} is lost: nothing was heard of it for longer than lost-after. What runs there is unknown, and \
                     nothing of it is started elsewhere without a proof that it has stopped"
                ),
                (_, Contact::Suspected) => {
                    log::info!(REEVE_REALM:% = realm, REEVE_HOST:% = name;
                        "host {name} is silent; nothing new is placed there");
                }
                (Contact::Suspected, Contact::Connected) => {
                    log::info!(MESSAGE_ID:% = messages::HOST_HEARD_AGAIN, REEVE_REALM:% = realm, REEVE_HOST:% = name;
                        "host {name} is heard again");
                    self.inner.fleet_changed.notify_one();
                }
                (_, Contact::Connected) => {}
            }
        }
    }
}

/// Takes what came in on a host's connection for a sign, be it only that the connection is kept alive.
fn hear_connection(entry: &mut HostEntry, now: Timestamp, fresh: Duration) {
    let Some(agent) = &entry.agent else { return };
    if entry.life.last_sign().is_some_and(|sign| now.since(sign) < fresh) {
        return;
    }
    let received = agent.received();
    if entry.received != received {
        entry.received = received;
        entry.life.sign(now);
    }
}

fn patience(config: &CoordinatorConfig) -> Patience {
    Patience { suspect_after: config.suspect_after, lost_after: config.lost_after }
}

/// Whether a host is heard, for the scheduler.
pub(super) fn contact(entry: &HostEntry, config: &CoordinatorConfig, now: Timestamp) -> Contact {
    match entry.life.standing(patience(config), now) {
        Standing::Connected { .. } => Contact::Connected,
        Standing::Suspected { .. } => Contact::Suspected,
        Standing::Lost { .. } | Standing::Fenced { .. } | Standing::SelfFenced { .. } => Contact::Lost,
    }
}

/// Whether a host is heard, for people.
pub(super) fn connection(entry: &HostEntry, config: &CoordinatorConfig, now: Now) -> Connection {
    match entry.life.standing(patience(config), now.steady) {
        Standing::Connected { since } => Connection::Connected { since: now.shown(since) },
        Standing::Suspected { since } => Connection::Suspected { since: now.shown(since) },
        // A fence outlives the coordinator: its moment is the wall's already.
        Standing::Fenced { at } => Connection::Fenced { at },
        Standing::SelfFenced { at } => Connection::SelfFenced { at: now.shown(at) },
        Standing::Lost { since: None } if entry.kept.value.joined_at.is_none() => Connection::NeverJoined,
        Standing::Lost { since } => Connection::Lost { since: since.map(|since| now.shown(since)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sooner_a_host_is_suspected_or_lost_the_more_often_it_is_looked() {
        let interval = |suspect_after, lost_after| {
            let [suspect_after, lost_after] = [suspect_after, lost_after].map(Duration::from_secs);
            watch_interval(Patience { suspect_after, lost_after }).as_millis()
        };
        assert_eq!([interval(5, 10), interval(4, 4), interval(2, 10)], [625, 250, 250]);
        assert_eq!([interval(2, 2), interval(6, 3600), interval(3600, 3600)], [250, 750, 1000]);
    }
}
