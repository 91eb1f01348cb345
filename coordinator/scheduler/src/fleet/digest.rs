//! Owns the short form of an explanation: the hosts that matter in full, all others counted by what stops them. Every host
//! is looked at, and words are made only of those that are told.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};

use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::ids::HostId;
use reeve_common::units::{Mebibytes, Millicores};

use super::Fleet;
use super::columns::Vital;
use super::realm::{Inquiry, Realm};
use super::tournament::INFEASIBLE;
use crate::explanation::{Explanation, ExplanationDigest, HostExplanation, HostsTold, RefusalCount};
use crate::reason::{CostPart, Reason};
use crate::request::Request;

/// Hosts that cannot take the VM for the same kind of reason.
struct Refusals {
    kind: Discriminant<Reason>,
    count: usize,
    first: HostId,
}

/// What is found while all hosts are looked at.
#[derive(Default)]
struct Found {
    considered: usize,
    feasible: usize,
    /// The best so far, best first.
    best: Vec<(f32, HostId)>,
    /// The first hosts that cannot take the VM, by id.
    refused: BTreeSet<HostId>,
    refusals: Vec<Refusals>,
}

impl Found {
    fn feasible(&mut self, score: f32, host: HostId, best_max: usize) {
        self.feasible += 1;
        let place = self.best.partition_point(|(other, id)| {
            // Finite, so that they can be compared; and zero is no more than minus zero.
            *other < score || (*other == score && *id < host)
        });
        if place < best_max {
            self.best.truncate(best_max - 1);
            self.best.insert(place, (score, host));
        }
    }

    fn refused(&mut self, kind: Discriminant<Reason>, host: HostId, refused_max: usize) {
        match self.refusals.iter_mut().find(|known| known.kind == kind) {
            Some(known) => {
                known.count += 1;
                known.first = known.first.min(host);
            }
            None => self.refusals.push(Refusals { kind, count: 1, first: host }),
        }
        if self.refused.len() < refused_max || self.refused.last().is_some_and(|last| host < *last) {
            self.refused.insert(host);
            while self.refused.len() > refused_max {
                self.refused.pop_last();
            }
        }
    }
}

impl Fleet {
    /// What [`Fleet::explain`] says, in short: the best hosts and some that cannot take the VM, at least one for each kind
    /// of reason, and how many hosts there are of each kind.
    #[must_use]
    pub fn digest(&self, request: &Request, told: HostsTold) -> ExplanationDigest {
        self.digest_of(request, None, told)
    }

    /// The same where `chosen` takes the VM, whichever host is the best: as part of a plan for several VMs.
    #[must_use]
    pub fn digest_choosing(&self, request: &Request, chosen: HostId, told: HostsTold) -> ExplanationDigest {
        self.digest_of(request, Some(chosen), told)
    }

    fn digest_of(&self, request: &Request, chosen: Option<HostId>, told: HostsTold) -> ExplanationDigest {
        let mut found = Found::default();
        for realm in &self.realms {
            self.look_through(realm, request, told, &mut found);
        }
        if let Some(chosen) = chosen {
            found.best.retain(|(_, host)| *host != chosen);
            found.best.insert(0, (f32::NEG_INFINITY, chosen));
            found.best.truncate(told.feasible.max(1));
        }
        let mut hosts: Vec<HostExplanation> =
            found.best.iter().filter_map(|(_, host)| self.explain_host(*host, request)).collect();
        // By the first host, so that the order is the same however the hosts became known.
        found.refusals.sort_by_key(|refusals| refusals.first);
        let mut refused: BTreeSet<HostId> =
            found.refusals.iter().map(|refusals| refusals.first).take(told.refused).collect();
        for host in &found.refused {
            if refused.len() < told.refused {
                refused.insert(*host);
            }
        }
        let refusals = found.refusals.iter().filter_map(|refusals| {
            let example = self.explain_host(refusals.first, request)?;
            let reason = example.reason.unwrap_or_default();
            Some(RefusalCount { hosts: refusals.count, example: example.name, reason })
        });
        let refusals = refusals.collect();
        let best = hosts.first().map(|host| (host.host, host.rule));
        hosts.extend(refused.iter().filter_map(|host| self.explain_host(*host, request)));
        let rule = best.map(|(_, rule)| rule).or_else(|| {
            let first = self.places.hosts().min()?;
            Some(self.host(first)?.cost_function.rule())
        });
        ExplanationDigest {
            considered: found.considered,
            feasible: found.feasible,
            refusals,
            explanation: Explanation {
                request: request.clone(),
                chosen: best.map(|(host, _)| host),
                rule: rule.unwrap_or_default(),
                hosts,
            },
        }
    }

    fn look_through(&self, realm: &Realm, request: &Request, told: HostsTold, found: &mut Found) {
        found.considered += realm.host_count();
        let quota = self.check_quota(request).err();
        let of_realm = || Reason::Realm { asked: request.realm.clone(), host: request.realm.clone() };
        if let Some(reason) = quota.or_else(|| (!realm.is_of(request)).then(of_realm)) {
            for (slot, host) in realm.ids().enumerate() {
                if realm.host(slot).is_some() {
                    found.refused(discriminant(&reason), host, told.refused);
                }
            }
            return;
        }
        let best_max = told.feasible.max(1);
        if let Some(kept) = realm.kept_scores(request, &self.book) {
            let feasible = found.feasible + kept.feasible();
            for (slot, score) in kept.best(best_max) {
                found.feasible(score, realm.columns().id(slot), best_max);
            }
            found.feasible = feasible;
            self.refuse(realm, request, kept.feasible(), |slot| kept.of(slot), told, found);
        } else {
            let scores = realm.scores(request, &self.book);
            let mut feasible = 0;
            for (score, host) in scores.iter().zip(realm.ids()) {
                if *score != INFEASIBLE {
                    found.feasible(*score, host, best_max);
                    feasible += 1;
                }
            }
            self.refuse(realm, request, feasible, |slot| scores[slot], told, found);
        }
    }

    /// Counts the hosts that cannot take the VM, where `feasible` of the realm's hosts can and `score` tells which. The
    /// columns say of most what is short, so that few descriptions are looked at: those lie far apart in memory.
    fn refuse(
        &self,
        realm: &Realm,
        request: &Request,
        feasible: usize,
        score: impl Fn(usize) -> f32,
        told: HostsTold,
        found: &mut Found,
    ) {
        let columns = realm.columns();
        let asked = realm.asked(request);
        let inquiry = Inquiry::new(request, &self.book, None);
        let is_demanding = realm.is_demanding(request);
        let asks_whole = asked.devices.iter().all(|entry| matches!(entry.amount, DeviceAmount::Whole(_)));
        let kinds = Kinds::new();
        // In the order in which constraints are asked; none for a slot without a host, which is never open.
        let kind_of = |slot: usize, vital: &Vital| {
            if vital.is_open() && !is_demanding {
                if !vital.cores.fits(asked.cores) {
                    return Some(kinds.cores);
                }
                if !vital.memory.fits(asked.memory) {
                    return Some(kinds.memory);
                }
                // Where parts of devices are asked for, there are several reasons.
                if asks_whole {
                    return Some(if asked.fits(columns, slot) { kinds.veto } else { kinds.devices });
                }
            }
            realm.host(slot)?;
            let reason = realm.check(slot, &inquiry, &self.book).err();
            // A host without a score that has room and meets all demands is vetoed by its cost.
            Some(reason.as_ref().map_or(kinds.veto, discriminant))
        };
        let is_plain = asked.devices.is_empty();
        let fits = |slot: usize, vital: &Vital| {
            if is_plain { asked.has_room(vital) } else { asked.fits(columns, slot) }
        };
        let mut refused = 0;
        for (slot, vital) in columns.vitals() {
            if !fits(slot, vital)
                && let Some(kind) = kind_of(slot, vital)
            {
                found.refused(kind, columns.id(slot), told.refused);
                refused += 1;
            }
        }
        // Where all others can take the VM, nobody's score has to be looked at.
        if feasible + refused == realm.host_count() {
            return;
        }
        for (slot, vital) in columns.vitals() {
            if fits(slot, vital)
                && score(slot) == INFEASIBLE
                && let Some(kind) = kind_of(slot, vital)
            {
                found.refused(kind, columns.id(slot), told.refused);
            }
        }
    }
}

/// Reasons that need no description.
struct Kinds {
    cores: Discriminant<Reason>,
    memory: Discriminant<Reason>,
    /// Whole devices.
    devices: Discriminant<Reason>,
    /// By the cost.
    veto: Discriminant<Reason>,
}

impl Kinds {
    fn new() -> Self {
        let (asked, free, total) = (Millicores(0), Millicores(0), Millicores(0));
        let cores = discriminant(&Reason::Cores { asked, free, total });
        let (asked, free, total) = (Mebibytes(0), Mebibytes(0), Mebibytes(0));
        let memory = discriminant(&Reason::Memory { asked, free, total });
        let (selector, asked, free, free_of_one, total) = (DeviceSelector::default(), 0, 0, 0, 0);
        let devices = discriminant(&Reason::Devices { selector, asked, free, free_of_one, total });
        let veto = discriminant(&Reason::Cost { part: CostPart::Sum, value: f64::NAN });
        Self { cores, memory, devices, veto }
    }
}
