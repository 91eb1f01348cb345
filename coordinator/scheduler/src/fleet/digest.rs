//! Owns the short form of an explanation: the hosts that matter in full, all others counted by what stops them. Every host
//! is looked at, and words are made only of those that are told.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};

use reeve_common::ids::HostId;

use super::Fleet;
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
    best: Vec<(f64, HostId)>,
    /// The first hosts that cannot take the VM, by id.
    refused: BTreeSet<HostId>,
    refusals: Vec<Refusals>,
}

impl Found {
    fn feasible(&mut self, score: f64, host: HostId, best_max: usize) {
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

    fn refused(&mut self, reason: &Reason, host: HostId, refused_max: usize) {
        let kind = discriminant(reason);
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
            found.best.insert(0, (f64::NEG_INFINITY, chosen));
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
            let first = self.places.keys().min()?;
            Some(self.host(*first)?.cost_function.rule())
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
        let scores = realm.scores(request, &self.book);
        let quota = self.check_quota(request).err();
        let inquiry = Inquiry::new(request, &self.book, None);
        // A host that the scan left out though it has room is vetoed by its cost.
        let veto = Reason::Cost { part: CostPart::Sum, value: f64::NAN };
        for (slot, (score, host)) in scores.into_iter().zip(realm.ids()).enumerate() {
            // Descriptions lie far apart in memory: they are looked at only where there is a reason to be found.
            if score != INFEASIBLE && quota.is_none() {
                found.considered += 1;
                found.feasible(score, host, told.feasible.max(1));
            } else if realm.host(slot).is_some() {
                found.considered += 1;
                let reason = quota.clone().or_else(|| realm.check(slot, &inquiry, &self.book).err());
                found.refused(reason.as_ref().unwrap_or(&veto), host, told.refused);
            }
        }
    }
}
