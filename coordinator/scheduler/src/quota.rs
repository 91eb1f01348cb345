//! Owns how much of a realm its owners and teams may have, all their VMs together.
//!
//! Must not: count what they have (`fleet/quota_ledger`), or say what exceeds a limit (`constraint/quota`).

use std::collections::BTreeMap;
use std::fmt;

use reeve_common::units::{Mebibytes, Millicores};
use serde::{Deserialize, Serialize};

/// The limits of one realm. A VM without an owner is held to no owner's limits, one without a team to no team's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Quotas {
    /// Limits of single owners, by name.
    pub owners: BTreeMap<String, QuotaLimits>,
    /// Limits of single teams, by name.
    pub teams: BTreeMap<String, QuotaLimits>,
    /// Limits of each owner that is not named.
    pub any_owner: QuotaLimits,
    /// Limits of each team that is not named.
    pub any_team: QuotaLimits,
}

/// What one owner or team may have at most; none where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct QuotaLimits {
    /// Processor time.
    pub cores: Option<Millicores>,
    /// Memory, in huge pages or not.
    pub memory: Option<Mebibytes>,
    /// Devices of all classes, in thousandths of a device.
    pub devices_permille: Option<u64>,
    /// VMs.
    pub vms: Option<u64>,
}

/// What one owner or team has, or what a VM would add to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QuotaUsage {
    /// Processor time.
    pub cores: Millicores,
    /// Memory, in huge pages or not.
    pub memory: Mebibytes,
    /// Devices of all classes, in thousandths of a device.
    pub devices_permille: u64,
    /// VMs.
    pub vms: u64,
}

/// Who is held to a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaHolder {
    /// The owner of this name.
    Owner(String),
    /// The team of this name.
    Team(String),
}

/// What one owner or team may have of a realm, and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaStanding {
    /// Who.
    pub holder: QuotaHolder,
    /// What they may have.
    pub limits: QuotaLimits,
    /// What they have.
    pub usage: QuotaUsage,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaKind {
    /// In thousandths of a core.
    Cores,
    /// In MiB.
    Memory,
    /// In thousandths of a device.
    Devices,
    /// In VMs.
    Vms,
}

impl Quotas {
    /// Whether nobody is limited.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let named = self.owners.values().chain(self.teams.values());
        named.chain([&self.any_owner, &self.any_team]).all(QuotaLimits::is_nothing)
    }

    /// What `holder` may have.
    #[must_use]
    pub fn limits(&self, holder: &QuotaHolder) -> QuotaLimits {
        match holder {
            QuotaHolder::Owner(name) => *self.owners.get(name).unwrap_or(&self.any_owner),
            QuotaHolder::Team(name) => *self.teams.get(name).unwrap_or(&self.any_team),
        }
    }
}

impl QuotaLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The limit on one thing, in the unit of its kind.
    #[must_use]
    pub fn of(&self, kind: QuotaKind) -> Option<u64> {
        match kind {
            QuotaKind::Cores => self.cores.map(|cores| cores.0),
            QuotaKind::Memory => self.memory.map(|memory| memory.0),
            QuotaKind::Devices => self.devices_permille,
            QuotaKind::Vms => self.vms,
        }
    }
}

impl QuotaUsage {
    /// The amount of one thing, in the unit of its kind.
    #[must_use]
    pub const fn of(&self, kind: QuotaKind) -> u64 {
        match kind {
            QuotaKind::Cores => self.cores.0,
            QuotaKind::Memory => self.memory.0,
            QuotaKind::Devices => self.devices_permille,
            QuotaKind::Vms => self.vms,
        }
    }
}

impl QuotaKind {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 4] = [Self::Cores, Self::Memory, Self::Devices, Self::Vms];

    /// `amount` in words.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        match self {
            // Thousandths are written as people count: 1500 as 1.5.
            Self::Cores | Self::Devices => Millicores(amount).to_string(),
            Self::Memory => Mebibytes(amount).to_string(),
            Self::Vms => amount.to_string(),
        }
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Vms => "VMs",
        })
    }
}

impl fmt::Display for QuotaHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(name) => write!(formatter, "owner {name}"),
            Self::Team(name) => write!(formatter, "team {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_named_has_the_limits_of_anybody() {
        let one = QuotaLimits { vms: Some(1), ..QuotaLimits::default() };
        let two = QuotaLimits { vms: Some(2), ..QuotaLimits::default() };
        let quotas = Quotas { owners: [("ann".to_owned(), one)].into(), any_owner: two, ..Quotas::default() };
        assert_eq!(quotas.limits(&QuotaHolder::Owner("ann".into())), one);
        assert_eq!(quotas.limits(&QuotaHolder::Owner("bob".into())), two);
        assert_eq!(quotas.limits(&QuotaHolder::Team("ann".into())), QuotaLimits::default());
        assert!(!quotas.is_nothing() && Quotas::default().is_nothing());
    }

    #[test]
    fn quotas_are_read_as_they_are_written() {
        let text = r#"{"owners":{"ann":{"cores":4000,"vms":3}},"any-team":{"devices-permille":1500}}"#;
        let quotas: Quotas = serde_json::from_str(text).unwrap();
        assert_eq!(quotas.owners["ann"].cores, Some(Millicores(4000)));
        assert_eq!(quotas.any_team.devices_permille, Some(1500));
        assert!(serde_json::from_str::<Quotas>(r#"{"owner":{}}"#).is_err());
        let written = serde_json::to_string(&quotas).unwrap();
        assert_eq!(serde_json::from_str::<Quotas>(&written).unwrap(), quotas);
    }
}
