//! Owns standing warnings: how what is found wrong again and again becomes one record with a beginning, a count and an end.
//! Pure: findings and the time go in, changes of records come out.
//!
//! ```text
//!              found                       somebody has seen to it
//!   (nothing) ───────▶ open ─────────────────────────────▶ acknowledged
//!                      ▲  │ ◀──── found worse than before ──── │
//!                      │  │ not found any more                 │ not found any more
//!          found again │  ▼                                    ▼
//!          (count + 1) └─ gone ◀────────────────────────────── gone ──▶ forgotten after a week
//! ```
//!
//! Level-triggered: a finding says how things are now, and comes again as long as they are so. What cannot be judged now
//! stays as it was: a host that has not reported since the coordinator started has not been repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// Warnings that are kept at most; of those beyond, the ones that went longest ago are forgotten first.
pub const WARNINGS_MAX: usize = 1_000;
/// Of one kind at most so many subjects stand by themselves; the others are one warning together. A fleet that is cut off
/// is one trouble and not ten thousand.
pub const SUBJECTS_MAX: usize = 50;
/// The subject of those others.
pub const OTHERS: &str = "others";
/// What is gone is remembered for so long: whoever was away for a weekend sees what has been.
const GONE_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How old the moment in the store may be at which a warning was last seen. It is exact in memory, and not worth a write
/// each time.
const LAST_SEEN_AGE: Duration = Duration::from_secs(10 * 60);

macro_rules! kinds {
    ($($kind:ident $name:literal $meaning:literal;)+) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum WarningKind {
            $(#[doc = $meaning] $kind,)+
        }

        impl WarningKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning),+ }
            }
        }
    };
}

kinds! {
    SilentHost "silent-host" "A host that has joined is not heard.";
    AgentRefused "agent-refused" "An agent was turned away when it connected.";
    LibvirtUnreachable "libvirt-unreachable" "A host's agent does not reach its libvirt.";
    PoolUnusable "pool-unusable" "A pool of the realm is missing or not started on a host.";
    ProfileAboveHardware "profile-above-hardware" "A host has less than its hardware profile promises.";
    ProfileUnknown "profile-unknown" "A host's realm or hardware profile is not in the configuration.";
    ClockSkew "clock-skew" "A host's clock differs from the coordinator's.";
    VersionSkew "version-skew" "A host's agent is not of the coordinator's version.";
    HostCertificateEnds "host-certificate-ends" "A host's certificate was not renewed in time.";
    LockManagerOff "lock-manager-off" "A host's libvirt has no lock manager.";
    NoWatchdog "no-watchdog" "No watchdog stands behind a host's lease.";
    UnmanagedVms "unmanaged-vms" "A host runs VMs of reeve that no record knows.";
    LeftoverVms "leftover-vms" "What is left of VMs on a host that they were taken from does not go.";
    DecisionWanted "decision-wanted" "VMs of a lost host wait for a person's decision.";
    FailoverBraked "failover-braked" "So much of a realm is silent that nothing is restarted by itself.";
    AuditContradicted "audit-contradicted" "A host keeps a checkpoint that contradicts the audit log.";
    AuthorityExpires "authority-expires" "The certificate authority nears its end.";
    CertificateNotRenewed "certificate-not-renewed" "The coordinator's own certificate was not renewed in time.";
    StoreNearlyFull "store-nearly-full" "The store's file system is nearly full.";
}

impl fmt::Display for WarningKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It should be seen to, and nothing fails yet.
    Warning,
    /// Something does not work.
    Failure,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// Which warning: what is wrong, and with whom. Written `silent-host/node-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WarningId {
    /// What is wrong.
    pub kind: WarningKind,
    /// With whom: a host, a realm, `coordinator`, or [`OTHERS`].
    pub subject: String,
}

impl fmt::Display for WarningId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.subject)
    }
}

/// A text that names no warning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this names no warning: write KIND/SUBJECT as `reeve warning list` does, such as silent-host/node-1")]
pub struct InvalidWarningId;

impl FromStr for WarningId {
    type Err = InvalidWarningId;

    fn from_str(text: &str) -> Result<Self, InvalidWarningId> {
        let (kind, subject) = text.split_once('/').ok_or(InvalidWarningId)?;
        let kind = WarningKind::ALL.iter().find(|known| known.as_str() == kind).ok_or(InvalidWarningId)?;
        let is_subject = !subject.is_empty()
            && subject.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if is_subject { Ok(Self { kind: *kind, subject: subject.to_owned() }) } else { Err(InvalidWarningId) }
    }
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub id: WarningId,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in words that stay the same as long as it does.
    pub message: String,
    /// What to do about it, with the command that helps.
    pub advice: String,
}

/// Where a warning is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum WarningState {
    /// It is so, and nobody has said that they know.
    Open,
    /// It is so, and somebody knows.
    Acknowledged {
        /// Who.
        by: String,
        /// Since when.
        at: Timestamp,
    },
    /// It is not so any more.
    Gone {
        /// Since when.
        at: Timestamp,
    },
}

/// A standing warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Warning {
    /// What is wrong.
    pub kind: WarningKind,
    /// With whom.
    pub subject: String,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in words.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// How often it has come up: once more each time after it was gone.
    pub count: u64,
    /// When it first came up.
    pub first_seen: Timestamp,
    /// When it was last so.
    pub last_seen: Timestamp,
    /// Where it is in its life.
    #[serde(flatten)]
    pub state: WarningState,
}

impl Warning {
    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> WarningId {
        WarningId { kind: self.kind, subject: self.subject.clone() }
    }

    /// Whether it is so now, as far as can be judged.
    #[must_use]
    pub const fn is_standing(&self) -> bool {
        !matches!(self.state, WarningState::Gone { .. })
    }

    /// Whether it is so now and nobody has said that they know.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, WarningState::Open)
    }

    /// The same when `by` says that they know; none when it is not open.
    #[must_use]
    pub fn acknowledged(&self, by: &str, now: Timestamp) -> Option<Self> {
        let state = WarningState::Acknowledged { by: by.to_owned(), at: now };
        self.is_open().then(|| Self { state, ..self.clone() })
    }

    fn new(finding: Finding, now: Timestamp) -> Self {
        let Finding { id: WarningId { kind, subject }, severity, message, advice } = finding;
        let state = WarningState::Open;
        Self { kind, subject, severity, message, advice, count: 1, first_seen: now, last_seen: now, state }
    }

    fn found_again(&self, finding: Finding, now: Timestamp) -> Self {
        let is_worse = finding.severity > self.severity;
        let (state, count) = match &self.state {
            WarningState::Gone { .. } => (WarningState::Open, self.count.saturating_add(1)),
            WarningState::Acknowledged { .. } if is_worse => (WarningState::Open, self.count),
            state => (state.clone(), self.count),
        };
        Self { state, count, first_seen: self.first_seen, ..Self::new(finding, now) }
    }
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is so in memory from now on; the store need not know yet.
    Show(Warning),
    /// It is to be stored.
    Write(Warning),
    /// It is to be removed.
    Forget(WarningId),
}

/// A warning as it is in memory, and when it was last seen by what the store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As it is.
    pub warning: Warning,
    /// The moment in the store.
    pub stored_last_seen: Timestamp,
}

/// What becomes of the warnings by what is found now. `can_judge` says of a warning that was not found whether that means
/// anything.
pub fn follow(
    kept: &BTreeMap<WarningId, Kept>,
    findings: Vec<Finding>,
    can_judge: impl Fn(&WarningId) -> bool,
    now: Timestamp,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut found = BTreeSet::new();
    let mut room =
        WARNINGS_MAX.saturating_sub(kept.values().filter(|kept| kept.warning.is_standing()).count());
    for finding in gathered(findings, kept) {
        if !found.insert(finding.id.clone()) {
            continue;
        }
        let Some(before) = kept.get(&finding.id) else {
            if room > 0 {
                room -= 1;
                changes.push(Change::Write(Warning::new(finding, now)));
            }
            continue;
        };
        let next = before.warning.found_again(finding, now);
        let only_later = Warning { last_seen: next.last_seen, ..before.warning.clone() } == next;
        let is_recent = now.since(before.stored_last_seen) < LAST_SEEN_AGE;
        changes.push(if only_later && is_recent { Change::Show(next) } else { Change::Write(next) });
    }
    for (id, before) in kept.iter().filter(|(id, _)| !found.contains(*id)) {
        match before.warning.state {
            WarningState::Gone { at } if now.since(at) >= GONE_KEPT => {
                changes.push(Change::Forget(id.clone()))
            }
            WarningState::Gone { .. } => {}
            _ if can_judge(id) => {
                let state = WarningState::Gone { at: now };
                changes.push(Change::Write(Warning { state, ..before.warning.clone() }));
            }
            _ => {}
        }
    }
    forget_excess(kept, &mut changes);
    changes
}

/// Of each kind some subjects, first those that stand already, and one finding for all others.
fn gathered(mut findings: Vec<Finding>, kept: &BTreeMap<WarningId, Kept>) -> Vec<Finding> {
    let stands = |id: &WarningId| kept.get(id).is_some_and(|kept| kept.warning.is_standing());
    findings
        .sort_by_cached_key(|finding| (finding.id.kind, !stands(&finding.id), finding.id.subject.clone()));
    let mut counts: BTreeMap<WarningKind, usize> = BTreeMap::new();
    for finding in &findings {
        *counts.entry(finding.id.kind).or_default() += 1;
    }
    let mut told: BTreeMap<WarningKind, usize> = BTreeMap::new();
    let mut gathered = Vec::new();
    for finding in findings {
        let kind = finding.id.kind;
        let told = told.entry(kind).or_default();
        *told += 1;
        let all = counts.get(&kind).copied().unwrap_or_default();
        if *told <= SUBJECTS_MAX {
            gathered.push(finding);
        } else if *told == SUBJECTS_MAX + 1 {
            // The number in hundreds: a message that changes all the time would be written all the time.
            let others = (all - SUBJECTS_MAX).div_ceil(100) * 100;
            let message = format!("{} The same of up to {others} others.", kind.meaning());
            let id = WarningId { kind, subject: OTHERS.to_owned() };
            gathered.push(Finding { id, message, ..finding });
        }
    }
    gathered
}

/// More gone warnings than there is room for are forgotten, the oldest first.
fn forget_excess(kept: &BTreeMap<WarningId, Kept>, changes: &mut Vec<Change>) {
    let forgotten = changes.iter().filter(|change| matches!(change, Change::Forget(_))).count();
    let new = changes.iter().filter(|change| match change {
        Change::Write(warning) => !kept.contains_key(&warning.id()),
        _ => false,
    });
    let excess = (kept.len() + new.count()).saturating_sub(forgotten + WARNINGS_MAX);
    let named: BTreeSet<WarningId> = changes
        .iter()
        .map(|change| match change {
            Change::Show(warning) | Change::Write(warning) => warning.id(),
            Change::Forget(id) => id.clone(),
        })
        .collect();
    let mut gone: Vec<(Timestamp, &WarningId)> = kept
        .iter()
        .filter(|(id, _)| !named.contains(*id))
        .filter_map(|(id, kept)| match kept.warning.state {
            WarningState::Gone { at } => Some((at, id)),
            _ => None,
        })
        .collect();
    gone.sort_unstable();
    changes.extend(gone.into_iter().take(excess).map(|(_, id)| Change::Forget(id.clone())));
}

#[cfg(test)]
#[path = "warning_tests.rs"]
mod tests;
