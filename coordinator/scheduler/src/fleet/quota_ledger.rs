//! Owns what the owners and teams of one realm have, counted along from the moment that quotas are set.
//!
//! Must not: be there for realms without quotas; those pay nothing.

use std::collections::{BTreeMap, HashMap};

use reeve_common::ids::RealmName;
use reeve_common::units::{Mebibytes, Millicores};

use super::Fleet;
use super::holding::{Book, Holding, Shape};
use super::interning::Number;
use crate::constraint;
use crate::device_choice;
use crate::quota::{QuotaHolder, QuotaLimits, QuotaStanding, QuotaUsage, Quotas};
use crate::reason::Reason;
use crate::request::Request;

/// The quotas of one realm and what is used of them.
#[derive(Debug, Clone, Default)]
pub(super) struct QuotaLedger {
    quotas: Quotas,
    /// By number in the book. A number is given to another word only when nobody has a VM under it any more.
    owners: HashMap<Number, QuotaUsage>,
    teams: HashMap<Number, QuotaUsage>,
}

impl QuotaLedger {
    /// Replaces the limits; what is used stays counted.
    pub(super) fn set(&mut self, quotas: Quotas) {
        self.quotas = quotas;
    }

    /// Counts a VM.
    pub(super) fn admit(&mut self, holding: Holding, shape: &Shape) {
        let more = shape.quota_usage();
        for usage in [self.owners.entry(holding.owner), self.teams.entry(holding.team)] {
            let usage = usage.or_default();
            usage.cores.0 += more.cores.0;
            usage.memory.0 += more.memory.0;
            usage.devices_permille += more.devices_permille;
            usage.vms += more.vms;
        }
    }

    /// Counts a VM no longer.
    pub(super) fn dismiss(&mut self, holding: Holding, shape: &Shape) {
        let less = shape.quota_usage();
        for (usages, number) in [(&mut self.owners, holding.owner), (&mut self.teams, holding.team)] {
            let Some(usage) = usages.get_mut(&number) else { continue };
            usage.cores.0 = usage.cores.0.saturating_sub(less.cores.0);
            usage.memory.0 = usage.memory.0.saturating_sub(less.memory.0);
            usage.devices_permille = usage.devices_permille.saturating_sub(less.devices_permille);
            usage.vms = usage.vms.saturating_sub(less.vms);
            if usage.vms == 0 {
                usages.remove(&number);
            }
        }
    }

    /// What `holder` has.
    pub(super) fn usage(&self, holder: &QuotaHolder, book: &Book) -> QuotaUsage {
        let (usages, name) = match holder {
            QuotaHolder::Owner(name) => (&self.owners, name),
            QuotaHolder::Team(name) => (&self.teams, name),
        };
        let number = book.words.find(name);
        number.and_then(|number| usages.get(&number)).copied().unwrap_or_default()
    }

    /// Everybody who is held to a limit and either is named or has something, owners first, by name.
    pub(super) fn standings(&self, book: &Book) -> Vec<QuotaStanding> {
        let owners = holders(&self.quotas.owners, &self.owners, book).map(QuotaHolder::Owner);
        let teams = holders(&self.quotas.teams, &self.teams, book).map(QuotaHolder::Team);
        let standing = |holder: QuotaHolder| {
            let limits = self.quotas.limits(&holder);
            let usage = self.usage(&holder, book);
            (!limits.is_nothing()).then_some(QuotaStanding { holder, limits, usage })
        };
        owners.chain(teams).filter_map(standing).collect()
    }

    /// Whether the VM's owner and team may have it.
    pub(super) fn check(&self, request: &Request, book: &Book) -> Result<(), Reason> {
        let asked = Shape::of(request, 0).quota_usage();
        let holders = [QuotaHolder::Owner(request.owner.clone()), QuotaHolder::Team(request.team.clone())];
        let named = holders.into_iter().zip([&request.owner, &request.team]);
        for (holder, _) in named.filter(|(_, name)| !name.is_empty()) {
            let limits = self.quotas.limits(&holder);
            constraint::check_quota(&holder, &limits, &self.usage(&holder, book), &asked)?;
        }
        Ok(())
    }
}

impl Shape {
    /// What a VM counts for in its owner's and its team's quotas. Each amount is capped, so that sums do not overflow.
    fn quota_usage(&self) -> QuotaUsage {
        let devices = self.devices.iter().map(|(_, amount)| device_choice::counted(*amount));
        QuotaUsage {
            cores: Millicores(self.cores),
            memory: Mebibytes(self.memory),
            devices_permille: devices.fold(0, u64::saturating_add).min(super::holding::AMOUNT_MAX),
            vms: 1,
        }
    }
}

/// Those who are named in the quotas and those who have something, each once, by name. Who has no name is held to nothing.
fn holders(
    named: &BTreeMap<String, QuotaLimits>,
    usages: &HashMap<Number, QuotaUsage>,
    book: &Book,
) -> impl Iterator<Item = String> + use<> {
    let using = usages.keys().filter_map(|number| book.words.get(*number));
    let all: std::collections::BTreeSet<String> = named.keys().chain(using).cloned().collect();
    all.into_iter().filter(|name| !name.is_empty())
}

/// A realm's number as shapes keep it.
pub(super) fn shape_realm(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Fleet {
    /// Has a VM counted for the quotas of its realm, if there are any.
    pub(super) fn in_ledger(&mut self, holding: Holding, change: fn(&mut QuotaLedger, Holding, &Shape)) {
        if self.ledgers.is_empty() {
            return;
        }
        let Some(shape) = self.book.shapes.get(holding.shape) else { return };
        if let Some(ledger) = self.ledgers.get_mut(&shape.realm) {
            change(ledger, holding, shape);
        }
    }

    /// Replaces what the owners and teams of a realm may have. What is there already stays, also where it is more.
    pub fn set_quotas(&mut self, realm: &RealmName, quotas: Quotas) {
        let number = shape_realm(self.realm_number(realm));
        if quotas.is_nothing() {
            self.ledgers.remove(&number);
            return;
        }
        let Self { ledgers, vms, book, .. } = self;
        let ledger = ledgers.entry(number).or_insert_with(|| {
            let mut ledger = QuotaLedger::default();
            for (_, holding) in vms.values() {
                if let Some(shape) = book.shapes.get(holding.shape).filter(|shape| shape.realm == number) {
                    ledger.admit(*holding, shape);
                }
            }
            ledger
        });
        ledger.set(quotas);
    }

    /// What an owner or a team has of a realm; none when the realm has no quotas, and then it is not counted.
    #[must_use]
    pub fn quota_usage(&self, realm: &RealmName, holder: &QuotaHolder) -> Option<QuotaUsage> {
        let number = *self.realm_numbers.get(realm)?;
        Some(self.ledgers.get(&shape_realm(number))?.usage(holder, &self.book))
    }

    /// Who is held to a limit in a realm, and what they have: each one who is named in its quotas or has a VM there.
    #[must_use]
    pub fn quota_standings(&self, realm: &RealmName) -> Vec<QuotaStanding> {
        let number = self.realm_numbers.get(realm).copied().map(shape_realm);
        let ledger = number.and_then(|number| self.ledgers.get(&number));
        ledger.map_or_else(Vec::new, |ledger| ledger.standings(&self.book))
    }

    /// Whether the VM's owner and team may have it.
    pub(super) fn check_quota(&self, request: &Request) -> Result<(), Reason> {
        if self.ledgers.is_empty() {
            return Ok(());
        }
        let number = self.realm_numbers.get(&request.realm).copied().map(shape_realm);
        let ledger = number.and_then(|number| self.ledgers.get(&number));
        ledger.map_or(Ok(()), |ledger| ledger.check(request, &self.book))
    }
}
