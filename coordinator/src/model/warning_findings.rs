//! Owns the judgement what is wrong with the fleet now: facts in, findings out. Each finding says what is wrong in words that
//! stay the same as long as it is so, and the command that helps. Pure.
//!
//! Must not: remember; what was found before is `warning`'s.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::storage::LockManager;

use super::warning::{Finding, Severity, WarningId, WarningKind};

/// A clock that differs by less is of no consequence: certificates are valid five minutes before they are made, and
/// deadlines are counted on clocks that nobody sets. Network and load make a host seem some hundred milliseconds behind.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// From here on a clock is wrong enough for certificates to be refused.
const CLOCK_FAILURE: Duration = Duration::from_secs(240);
/// What is left of a VM goes within seconds of its host's return; after so long something is in its way.
pub const LEFTOVER_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// A new authority means that every host joins anew: to be planned a quarter of a year ahead.
const AUTHORITY_NOTICE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// And to be done by then.
const AUTHORITY_FAILURE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The coordinator renews its own certificate, of a day, eight hours before its end.
const SERVER_NOTICE: Duration = Duration::from_secs(6 * 60 * 60);
/// An agent asks for a new certificate, of a day, eight hours before the end of the old one, and again until it has it.
const HOST_CERTIFICATE_NOTICE: Duration = Duration::from_secs(6 * 60 * 60);
/// From here on it is about to be refused.
const HOST_CERTIFICATE_FAILURE: Duration = Duration::from_secs(60 * 60);
/// The store's file system should have this share left, in percent, …
const STORE_LEFT_PERCENT: u64 = 10;
/// … and at least as much as the database has, since its write-ahead log may grow to that before it is folded in; and
/// below this share changes are about to fail.
const STORE_FAILURE_PERCENT: u64 = 3;
/// Texts of others that stand in a message are cut here.
const CAUSE_LENGTH_MAX: usize = 300;

/// How a host is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hearing {
    /// Its agent is connected.
    Heard,
    /// It has never joined: nothing is expected of it.
    NeverJoined,
    /// Not heard, and not for long enough to say more.
    Awaited,
    /// Lost, since a moment if it was heard since the coordinator started.
    Lost(Option<Timestamp>),
    /// Off, and known to be.
    Fenced,
}

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name.
    pub name: String,
    /// Whether the coordinator has run for so long that whoever is about has tried to connect.
    pub is_settled: bool,
    /// Whether it is left alone: then only what concerns its connection is told.
    pub is_left_alone: bool,
    /// How it is heard.
    pub hearing: Hearing,
    /// Whether it has told all it has since it connected.
    pub has_reported: bool,
    /// Why its agent was last turned away.
    pub refused: Option<String>,
    /// Whether its libvirt answers its agent.
    pub libvirt_answers: bool,
    /// Pools that cannot be used, with the reason.
    pub bad_pools: Vec<String>,
    /// Why it cannot be scheduled: its realm or profile is not configured.
    pub not_configured: Option<String>,
    /// Of what it has less than its profile says.
    pub shortfalls: Vec<String>,
    /// How far its clock is ahead of the coordinator's, in milliseconds; behind when negative.
    pub clock_ahead_ms: Option<i64>,
    /// When its certificate expires, as far as that is known since the coordinator started.
    pub certificate_ends: Option<Timestamp>,
    /// Whether its libvirt has a lock manager.
    pub lock_manager: LockManager,
    /// Its agent's version.
    pub agent_version: Option<String>,
    /// It goes by a lease that no watchdog stands behind.
    pub lacks_watchdog: bool,
    /// VMs under our name that no record knows.
    pub unmanaged: usize,
    /// VMs that were taken off it and have been going for too long.
    pub leftovers: usize,
    /// VMs on it that wait for a person's decision.
    pub decisions: usize,
    /// It contradicts the audit log as a witness.
    pub contradiction: Option<String>,
}

/// What is known of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoordinatorFacts {
    /// The coordinator's version.
    pub version: String,
    /// Now.
    pub now: Timestamp,
    /// When the authority expires.
    pub authority_ends: Timestamp,
    /// When the coordinator's own certificate expires.
    pub server_certificate_ends: Option<Timestamp>,
    /// How long a host's certificate lasts.
    pub certificate_lifetime: Duration,
    /// The store: its database's size, what is free and all of the file system, in bytes.
    pub store: Option<(u64, u64, u64)>,
    /// Realms in which failover is braked, with the reason.
    pub braked: Vec<(String, String)>,
}

/// Whether a warning about a host that is not found means that it is gone: what only the host can say must have been said.
#[must_use]
pub fn can_judge(host: &HostFacts, kind: WarningKind) -> bool {
    match kind {
        WarningKind::SilentHost => host.hearing != Hearing::Awaited,
        WarningKind::DecisionWanted => host.hearing != Hearing::Awaited,
        // That it was not turned away since the coordinator started says nothing before it has had the time to try.
        WarningKind::AgentRefused => host.hearing == Hearing::Heard || host.is_settled,
        // An older agent does not say, and a new one has to find out first.
        WarningKind::LockManagerOff => {
            host.hearing == Hearing::Heard && host.has_reported && host.lock_manager != LockManager::Unknown
        }
        WarningKind::HostCertificateEnds => host.certificate_ends.is_some(),
        WarningKind::ProfileUnknown
        | WarningKind::FailoverBraked
        | WarningKind::AuthorityExpires
        | WarningKind::CertificateNotRenewed
        | WarningKind::StoreNearlyFull => true,
        _ => host.hearing == Hearing::Heard && host.has_reported,
    }
}

/// What is wrong with the coordinator itself and its realms.
#[must_use]
pub fn of_coordinator(facts: &CoordinatorFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    let left = facts.authority_ends.since(facts.now);
    if left < AUTHORITY_NOTICE {
        let severity = if left < AUTHORITY_FAILURE { Severity::Failure } else { Severity::Warning };
        let message = format!(
            "the certificate authority expires at {}; no host can connect from then on",
            facts.authority_ends
        );
        let advice = "plan a day: set the directory pki aside, `reeve-coordinator init`, and join every host anew with \
                      `reeve host join-token` and `reeve-agent join --replace`; VMs run on meanwhile";
        found.push(of(WarningKind::AuthorityExpires, "coordinator", severity, message, advice.to_owned()));
    }
    if let Some(ends) = facts.server_certificate_ends.filter(|ends| ends.since(facts.now) < SERVER_NOTICE) {
        let message = format!(
            "the coordinator's own certificate expires at {ends} and was not renewed; agents refuse it then"
        );
        let advice = "`journalctl -u reeve-coordinator` says why; is the clock right? `systemctl restart reeve-coordinator` makes a new one";
        let kind = WarningKind::CertificateNotRenewed;
        found.push(of(kind, "coordinator", Severity::Failure, message, advice.to_owned()));
    }
    if let Some((database, free, space)) = facts.store {
        let percent = |share: u64| space / 100 * share;
        if free < percent(STORE_FAILURE_PERCENT) || free < percent(STORE_LEFT_PERCENT).max(database) {
            let severity =
                if free < percent(STORE_FAILURE_PERCENT) { Severity::Failure } else { Severity::Warning };
            let message = "the file system of the coordinator's store is nearly full; when it is, nothing can be started \
                           or stopped"
                .to_owned();
            let advice = "make room in the state directory's file system (`df`), or move it to a larger one; VMs run on";
            found.push(of(WarningKind::StoreNearlyFull, "coordinator", severity, message, advice.to_owned()));
        }
    }
    for (realm, why) in &facts.braked {
        let message = format!("nothing is restarted by itself: {}", short(why));
        let advice = "look at the network first; if the hosts are really off: `reeve host confirm-off HOST --yes-it-is-off`";
        found.push(of(WarningKind::FailoverBraked, realm, Severity::Failure, message, advice.to_owned()));
    }
    found
}

/// What is wrong with a host.
#[must_use]
pub fn of_host(host: &HostFacts, coordinator: &CoordinatorFacts) -> Vec<Finding> {
    let mut found = connection(host, coordinator);
    if !host.is_left_alone {
        found.extend(configuration(host));
        if host.hearing == Hearing::Heard {
            found.extend(what_it_says(host, coordinator));
        }
        found.extend(vms(host));
    }
    found
}

fn connection(host: &HostFacts, coordinator: &CoordinatorFacts) -> Vec<Finding> {
    let name = &host.name;
    let mut found = Vec::new();
    if let Some(why) = &host.refused {
        let message = format!("its agent was turned away: {}", short(why));
        let advice = format!(
            "if this machine is to be a host: `reeve host join-token {name}`, and `reeve-agent join --replace` there; \
             otherwise stop its agent"
        );
        found.push(of(WarningKind::AgentRefused, name, Severity::Failure, message, advice));
    }
    if let Hearing::Lost(since) = host.hearing {
        found.push(silence(host, since, coordinator));
    }
    found.extend(certificate(host, coordinator));
    if let Some(why) = &host.contradiction {
        let message = format!("it contradicts the audit log: {}", short(why));
        let advice =
            "`reeve audit verify` says more; a store that was restored from an older backup looks like this";
        found.push(of(WarningKind::AuditContradicted, name, Severity::Failure, message, advice.to_owned()));
    }
    found
}

/// A certificate that goes unrenewed, before it has expired: what has expired is silence.
fn certificate(host: &HostFacts, coordinator: &CoordinatorFacts) -> Option<Finding> {
    let ends = host.certificate_ends?;
    let left = ends.since(coordinator.now);
    if left.is_zero() || left >= HOST_CERTIFICATE_NOTICE {
        return None;
    }
    let name = &host.name;
    let (message, advice) = match host.hearing {
        Hearing::Heard => (
            format!(
                "its certificate expires at {ends} and was not renewed; its agent is refused then, and VMs run on unseen"
            ),
            format!(
                "on {name}: `journalctl -u reeve-agent -p warning`, and `timedatectl`: is the clock right, is the state \
                 directory writable? `systemctl restart reeve-agent` asks anew"
            ),
        ),
        Hearing::Lost(_) | Hearing::Awaited => (
            format!("its certificate expires at {ends}: after that it cannot come back by itself"),
            format!(
                "bring {name} back until then (see silent-host/{name}), or let it join anew later: `reeve host join-token {name}`"
            ),
        ),
        Hearing::NeverJoined | Hearing::Fenced => return None,
    };
    let severity = if left < HOST_CERTIFICATE_FAILURE { Severity::Failure } else { Severity::Warning };
    Some(of(WarningKind::HostCertificateEnds, name, severity, message, advice))
}

/// A lost host, with the cause as far as it is known here.
fn silence(host: &HostFacts, since: Option<Timestamp>, coordinator: &CoordinatorFacts) -> Finding {
    let name = &host.name;
    let heard = since.map_or_else(
        || "it has not been heard since the coordinator started".to_owned(),
        |since| format!("it has not been heard since {since}"),
    );
    let outlived = match host.certificate_ends {
        Some(ends) => ends <= coordinator.now,
        None => since.is_some_and(|since| coordinator.now.since(since) > coordinator.certificate_lifetime),
    };
    let (cause, advice) = if host.refused.is_some() {
        ("; its agent was turned away", format!("see agent-refused/{name}"))
    } else if outlived {
        (
            "; its certificate has expired meanwhile, so that it cannot come back by itself",
            format!(
                "when it is up again: `reeve host join-token {name}`, and `reeve-agent join --replace` there"
            ),
        )
    } else {
        (
            "; the machine, its network or its agent is down",
            format!(
                "on {name}: `systemctl status reeve-agent`, and `reeve-agent doctor`, which tells a firewall from a \
                 coordinator that refuses; here: is UDP to the agents' port let in? If the machine is off for good: \
                 `reeve host fence {name}` or `reeve host confirm-off {name} --yes-it-is-off`"
            ),
        )
    };
    let severity = if host.is_left_alone { Severity::Warning } else { Severity::Failure };
    of(WarningKind::SilentHost, name, severity, format!("{heard}{cause}"), advice)
}

fn configuration(host: &HostFacts) -> Option<Finding> {
    let why = host.not_configured.as_ref()?;
    let advice = "add it to the configuration and `systemctl reload reeve-coordinator`; its VMs are kept, and it gets no new ones";
    Some(of(WarningKind::ProfileUnknown, &host.name, Severity::Warning, why.clone(), advice.to_owned()))
}

fn what_it_says(host: &HostFacts, coordinator: &CoordinatorFacts) -> Vec<Finding> {
    use Severity::{Failure, Warning};
    let name = &host.name;
    let mut found = Vec::new();
    if host.has_reported && !host.libvirt_answers {
        let message =
            "its agent does not reach libvirt: nothing can be started there, and its VMs run on unseen"
                .to_owned();
        let advice = format!("on {name}: `systemctl status libvirtd virtqemud`, and `reeve-agent doctor`");
        found.push(of(WarningKind::LibvirtUnreachable, name, Failure, message, advice));
    }
    if !host.bad_pools.is_empty() {
        let message = format!("pools cannot be used: {}", short(&host.bad_pools.join(", ")));
        let advice = format!(
            "on {name}: `virsh pool-list --all`, `virsh pool-start POOL`, `virsh pool-autostart POOL`"
        );
        found.push(of(WarningKind::PoolUnusable, name, Failure, message, advice));
    }
    if !host.shortfalls.is_empty() {
        let message = format!("{}; the lower number counts", short(&host.shortfalls.join("; ")));
        let advice = "give it a hardware profile that it has, or repair it (a memory module, a GPU); `reeve host show` has the numbers";
        found.push(of(WarningKind::ProfileAboveHardware, name, Warning, message, advice.to_owned()));
    }
    if let Some(ahead) = host.clock_ahead_ms {
        let apart = Duration::from_millis(ahead.unsigned_abs());
        if apart > CLOCK_TOLERANCE {
            let (severity, amount) =
                if apart >= CLOCK_FAILURE { (Failure, "minutes") } else { (Warning, "seconds") };
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            let message = format!("its clock is {amount} {direction} the coordinator's");
            let advice = format!(
                "on both machines: `timedatectl`; on {name}: `systemctl restart systemd-timesyncd` or chrony"
            );
            found.push(of(WarningKind::ClockSkew, name, severity, message, advice));
        }
    }
    if let Some(version) = host.agent_version.as_ref().filter(|version| **version != coordinator.version) {
        let message = format!("its agent is {}, and the coordinator {}", short(version), coordinator.version);
        let advice = format!(
            "upgrade the package on {name} (`apt-get install reeve-agent`, `dnf upgrade reeve-agent`), or finish the upgrade of the \
             coordinator; VMs run on"
        );
        found.push(of(WarningKind::VersionSkew, name, Warning, message, advice));
    }
    if host.lock_manager == LockManager::Off {
        let message = "its libvirt has no lock manager: what is started by hand beside reeve may write a disk that is in use"
            .to_owned();
        let advice = format!(
            "on {name}: set lock_manager = \"lockd\" in /etc/libvirt/qemu.conf, `systemctl restart libvirtd` (or virtqemud); \
             VMs that run are locked from their next start on. If that is not wanted: `reeve warning ack lock-manager-off/{name}`"
        );
        found.push(of(WarningKind::LockManagerOff, name, Warning, message, advice));
    }
    if host.lacks_watchdog {
        let message =
            "no watchdog stands behind its lease, so that its VMs are not started elsewhere by self-fencing"
                .to_owned();
        let advice = format!("on {name}: set watchdog-device in /etc/reeve/agent.conf (`wdctl` lists them)");
        found.push(of(WarningKind::NoWatchdog, name, Warning, message, advice));
    }
    found
}

fn vms(host: &HostFacts) -> Vec<Finding> {
    let name = &host.name;
    let mut found = Vec::new();
    if host.unmanaged > 0 {
        let message = "it runs VMs of reeve that no record knows".to_owned();
        let advice =
            format!("`reeve host show {name}`, and `reeve realm fix-vms REALM --dry-run` says what they are");
        found.push(of(WarningKind::UnmanagedVms, name, Severity::Warning, message, advice));
    }
    if host.leftovers > 0 {
        let message = "what is left of VMs that were started elsewhere does not go".to_owned();
        let advice = format!(
            "on {name}: `virsh list --all` and `journalctl -u reeve-agent`; a QEMU that is stuck in the kernel needs a reboot"
        );
        found.push(of(WarningKind::LeftoverVms, name, Severity::Warning, message, advice));
    }
    if host.decisions > 0 {
        let message = "its VMs wait for your decision: nothing is restarted without it".to_owned();
        let advice = format!(
            "once {name} is off for certain (`reeve host fence {name}`): `reeve vm restart-elsewhere VM`; `reeve vm list` shows them"
        );
        found.push(of(WarningKind::DecisionWanted, name, Severity::Failure, message, advice));
    }
    found
}

fn short(text: &str) -> String {
    reeve_common::text::printable(text, CAUSE_LENGTH_MAX)
}

fn of(kind: WarningKind, subject: &str, severity: Severity, message: String, advice: String) -> Finding {
    Finding { id: WarningId { kind, subject: subject.to_owned() }, severity, message, advice }
}

#[cfg(test)]
#[path = "warning_findings_tests.rs"]
mod tests;
