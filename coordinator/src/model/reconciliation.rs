//! Owns the comparison of the records of one host's VMs with what the host reports: what differs, what repairs it, and
//! what only an administrator can decide. Pure and level-triggered: it takes the whole of both sides each time.
//!
//! ```text
//!   record           report                    class
//!   on this host     as recorded               same
//!   on this host     another state             repaired: recorded as it is there, told its wish if it is behind
//!   on this host     ended                     repaired: what is left is removed, then it is over
//!   on this host     not mentioned             repaired: told its wish; one that has run is recorded as ended
//!   on this host     another size              decision: the domain was reconfigured; the excess counts as used
//!   on this host     unknown, foreign domain   decision: its ledger is gone or spoilt; it is left alone
//!                    of the same id
//!   moved from here  anything                  repaired: what is left of it here is removed
//!   on another host  anything                  decision: one VM in two places
//!   over             gone                      repaired: the host may forget it
//!   over             anything else             decision
//!   none             gone                      repaired: the host may forget it
//!   none             anything else             decision: a ledger of reeve that no record knows
//! ```
//!
//! Must not: change a record. Each repair is applied to the record as it is at that moment, by the rules of `vm_life`.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, VmId};
use reeve_common::protocol::HostReport;
use reeve_common::vm::{DomainSize, ForeignDomain, ObservedVm, VmObservation};

use super::displacement::leftover_wish;
use super::vm::Vm;
use super::vm_life::{self, Outcome};

/// What is done about a difference, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The record follows the report.
    Follow,
    /// The same, and the host is told the wish again though it obeys it: it may have lost the specification.
    FollowAndTell,
    /// The record follows that the host does not mention the VM.
    FollowAbsence,
    /// The host may forget the VM.
    LetForget,
    /// What is left of a VM that was started elsewhere is removed, until the host says that nothing is.
    FollowLeftover,
}

/// What becomes of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// It is repaired by itself.
    Repaired {
        /// How.
        repair: Repair,
        /// The same in words.
        words: String,
    },
    /// The repair could not be recorded; it is tried again with the next report.
    Failed {
        /// Why.
        why: String,
    },
    /// An administrator must decide.
    Decision {
        /// What can be done, one sentence each.
        choices: Vec<String>,
    },
}

/// One thing in which records and report differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which VM.
    pub vm: VmId,
    /// Its name, as far as one is known.
    pub name: Option<String>,
    /// What differs, in words.
    pub words: String,
    /// What becomes of it.
    pub treatment: Treatment,
}

/// What came of comparing one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostComparison {
    /// Whether its libvirt could be asked; if not, nothing is known of its VMs and nothing follows from silence.
    pub hypervisor_reachable: bool,
    /// VMs that are as recorded.
    pub same: usize,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Everyone else's domains. They are counted as used capacity, and left alone.
    pub foreign: Vec<ForeignDomain>,
}

/// One side of a comparison: which host, and what is recorded.
pub struct Recorded<'a, F> {
    /// The host that reports.
    pub host: HostId,
    /// Its name, for the choices.
    pub host_name: &'a str,
    /// The VMs on it that are not over.
    pub here: &'a [VmId],
    /// The VMs that were started elsewhere because it was lost, and of which it has not said that nothing is left.
    pub leftovers: &'a [VmId],
    /// The record of a VM, over or not, on whatever host.
    pub record: F,
}

impl<F: Fn(VmId) -> Option<std::sync::Arc<Vm>>> Recorded<'_, F> {
    /// Compares the records with a host's report at `now`.
    #[must_use]
    pub fn compare(&self, report: &HostReport, now: Timestamp) -> HostComparison {
        let mut result = HostComparison {
            hypervisor_reachable: report.hypervisor_reachable,
            foreign: report.foreign.clone(),
            ..HostComparison::default()
        };
        let sizes: BTreeMap<VmId, &DomainSize> = report.sizes.iter().map(|size| (size.vm, size)).collect();
        let foreign: BTreeSet<VmId> = report.foreign.iter().map(|domain| domain.id).collect();
        for observation in &report.vms {
            let record = (self.record)(observation.vm);
            let mut differences =
                self.judge(record.as_deref(), observation, now).into_iter().collect::<Vec<Difference>>();
            if let Some(vm) =
                record.as_deref().filter(|vm| vm.host == Some(self.host) && !vm.state.is_final())
            {
                differences.extend(sizes.get(&vm.id).and_then(|size| reconfigured(vm, size)));
                let is_gone = matches!(observation.observed, ObservedVm::Gone(_));
                if foreign.contains(&vm.id) && report.hypervisor_reachable && !is_gone {
                    differences.push(without_ledger(vm));
                }
            } else if let (None, Some(first)) = (&record, differences.first_mut()) {
                first.name = sizes.get(&observation.vm).map(|size| size.name.to_string());
            }
            if differences.is_empty() {
                result.same += 1;
            }
            result.differences.append(&mut differences);
        }
        if report.hypervisor_reachable {
            // Only when libvirt could be asked does absence mean anything.
            let mentioned: BTreeSet<VmId> = report.vms.iter().map(|seen| seen.vm).collect();
            let absent = self.here.iter().filter(|vm| !mentioned.contains(vm));
            let absent = absent.filter_map(|vm| (self.record)(*vm));
            result.differences.extend(absent.filter_map(|vm| not_mentioned(&vm, now)));
            // Each is asked about all the same: only its host's answer says that nothing is left.
            let leftovers = self.leftovers.iter().filter(|vm| !mentioned.contains(vm));
            let leftovers = leftovers.filter_map(|vm| (self.record)(*vm));
            result.differences.extend(leftovers.map(|vm| Difference {
                vm: vm.id,
                name: Some(vm.name.to_string()),
                words: "started elsewhere, and not there".to_owned(),
                treatment: follow_leftover("the host is asked whether anything is left"),
            }));
        }
        result
    }

    /// Compares one VM's record with what its host sees; none when they are the same.
    #[must_use]
    pub fn judge(
        &self,
        record: Option<&Vm>,
        observation: &VmObservation,
        now: Timestamp,
    ) -> Option<Difference> {
        let gone = matches!(observation.observed, ObservedVm::Gone(_));
        let name = record.map(|vm| vm.name.to_string());
        let difference = |words: String, treatment| {
            Some(Difference { vm: observation.vm, name: name.clone(), words, treatment })
        };
        let Some(vm) = record else {
            if gone {
                return difference("its end is not recorded here".to_owned(), let_forget());
            }
            let words = format!("{} there, and no record knows it", word(&observation.observed));
            let id = observation.vm;
            return difference(
                words,
                decision([
                    "leave it: it runs on, and what it takes counts as used".to_owned(),
                    format!(
                        "remove it by hand on {}: `virsh destroy {id}`, `virsh undefine {id}`",
                        self.host_name
                    ),
                ]),
            );
        };
        if vm.host != Some(self.host) && leftover_wish(vm, self.host).is_some() {
            let words = format!("started elsewhere, {} there", word(&observation.observed));
            return difference(words, follow_leftover("what is left of it is removed"));
        }
        if vm.host != Some(self.host) && gone {
            // It said so before, and could not be told that it was heard.
            return difference("gone there, and recorded on another host".to_owned(), let_forget());
        }
        if vm.host != Some(self.host) {
            let words = format!("{} there, and recorded on another host", word(&observation.observed));
            return difference(
                words,
                decision([
                    "look at both hosts which of the two is real: one VM must not run twice".to_owned(),
                    format!("remove the wrong one by hand: `virsh destroy {0}`, `virsh undefine {0}`", vm.id),
                ]),
            );
        }
        if vm.state.is_final() {
            if gone {
                return difference("its end is recorded, and its host remembers it".to_owned(), let_forget());
            }
            let words = format!("over ({}), and {} there", vm.state, word(&observation.observed));
            return difference(
                words,
                decision([format!(
                    "remove what came back by hand on {0}: `virsh destroy {1}`, `virsh undefine {1}`",
                    self.host_name, vm.id
                )]),
            );
        }
        let outcome = vm_life::apply_observation(vm, observation, now);
        let again = vm_life::must_hear_again(&observation.observed);
        if outcome.changed.is_none() && !outcome.tell_agent && !outcome.gone && !again {
            return None;
        }
        let repair = if again { Repair::FollowAndTell } else { Repair::Follow };
        let words = format!("recorded as {}, {} there", vm.state, word(&observation.observed));
        difference(words, Treatment::Repaired { repair, words: done(&outcome, again) })
    }
}

fn let_forget() -> Treatment {
    Treatment::Repaired { repair: Repair::LetForget, words: "the host may forget it".to_owned() }
}

fn follow_leftover(words: &str) -> Treatment {
    Treatment::Repaired { repair: Repair::FollowLeftover, words: words.to_owned() }
}

fn decision(choices: impl Into<Vec<String>>) -> Treatment {
    Treatment::Decision { choices: choices.into() }
}

fn not_mentioned(vm: &Vm, now: Timestamp) -> Option<Difference> {
    let outcome = vm_life::apply_absence(vm, now);
    if outcome == Outcome::NOTHING {
        return None;
    }
    let words = format!("recorded as {}, not there", vm.state);
    let treatment =
        Treatment::Repaired { repair: Repair::FollowAbsence, words: done(&outcome, outcome.tell_agent) };
    Some(Difference { vm: vm.id, name: Some(vm.name.to_string()), words, treatment })
}

fn reconfigured(vm: &Vm, size: &DomainSize) -> Option<Difference> {
    let (vcpus, memory) = (vm.definition.vcpus(), vm.definition.memory());
    if (size.vcpus, size.memory) == (vcpus, memory) {
        return None;
    }
    let words = format!(
        "had {vcpus} processors and {memory}, reconfigured there to {} and {}",
        size.vcpus, size.memory
    );
    let treatment = decision([
        "leave it: it runs on, and what it takes beyond its own counts as used".to_owned(),
        format!(
            "set it back by hand: `virsh setvcpus {0} {1}`, `virsh setmaxmem {0} {2}M`",
            vm.id, vcpus, memory.0
        ),
    ]);
    Some(Difference { vm: vm.id, name: Some(vm.name.to_string()), words, treatment })
}

fn without_ledger(vm: &Vm) -> Difference {
    let words = "its domain is there, and reeve's ledger in it is gone or cannot be read".to_owned();
    let treatment = decision([
        "leave it: it is unknown, keeps its capacity, and nothing is done to it".to_owned(),
        format!(
            "stop it by hand with `virsh destroy {0}` and `virsh undefine {0}`: it is then recorded as ended",
            vm.id
        ),
    ]);
    Difference { vm: vm.id, name: Some(vm.name.to_string()), words, treatment }
}

/// What a repair does, in words.
fn done(outcome: &Outcome, tell: bool) -> String {
    let recorded = outcome.changed.as_ref().map(|vm| format!("recorded as {}", vm.state));
    let told = (tell || outcome.tell_agent).then(|| "the host is told its wish".to_owned());
    let forgotten = outcome.gone.then(|| "the host may forget it".to_owned());
    [recorded, told, forgotten].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What a host sees, in a word.
const fn word(observed: &ObservedVm) -> &'static str {
    match observed {
        ObservedVm::Defining => "being defined",
        ObservedVm::Starting => "defined and not started",
        ObservedVm::Registering { .. } => "running and not registered",
        ObservedVm::Running { .. } => "running",
        ObservedVm::Paused => "suspended",
        ObservedVm::Stopping => "stopping",
        ObservedVm::Ended(_) => "ended",
        ObservedVm::Gone(_) => "gone",
        ObservedVm::Unknown => "unknown",
    }
}

#[cfg(test)]
#[path = "reconciliation_tests.rs"]
mod tests;
