//! Owns what makes a hardware setup contradictory: numbers that no VM can have, and keys that rule each other out.
//!
//! Must not: know the configuration or other records. Whether what a setup names is there is the service's to say.

use reeve_common::device::DeviceAmount;
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::units::Mebibytes;
use reeve_common::vm::{CpuModel, VirtType, limits};
use reeve_scheduler::{Affinity, AffinityRule, Companions, HostLabelRule};

use super::setup::Setup;

/// The least memory a guest can be given: below it no firmware starts.
pub const MEMORY_MIN: Mebibytes = Mebibytes(16);
/// Entries of `devices`: more classes than any host has.
const DEVICE_ENTRIES_MAX: usize = 16;
/// Whole devices of one entry: QEMU's boards have fewer slots.
const DEVICES_MAX: u32 = 32;
/// NUMA nodes of one VM: as many as a guest's topology is good for.
const NUMA_NODES_MAX: u32 = 64;
/// Rules about hosts' labels and about neighbours, each: every rule is asked of every host.
pub const RULES_MAX: usize = 16;
/// Values of one rule about a label.
const LABEL_VALUES_MAX: usize = 64;

/// Why a setup is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupProblem {
    /// A number is outside what can be made.
    #[error("`{key}` is {value}, and must be between {least} and {most}")]
    OutOfRange {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The least allowed.
        least: String,
        /// The most allowed.
        most: String,
    },
    /// Two keys contradict each other, or one itself.
    #[error("{0}")]
    Contradiction(String),
}

impl Setup {
    /// Every contradiction in this setup; empty when it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<SetupProblem> {
        let mut found = Found(Vec::new());
        self.check_amounts(&mut found);
        self.check_devices(&mut found);
        self.check_processor(&mut found);
        self.check_memory_placement(&mut found);
        self.check_host_labels(&mut found);
        self.check_affinity(&mut found);
        found.0
    }

    fn check_amounts(&self, found: &mut Found) {
        found.range("cores", self.cores, 1, limits::VCPUS_MAX);
        found.range("memory", self.memory, MEMORY_MIN, limits::MEMORY_MAX);
        if let Some(networks) = &self.networks {
            found.length("networks", networks.len(), limits::NETWORKS_MAX);
        }
    }

    fn check_devices(&self, found: &mut Found) {
        found.length("devices", self.devices.len(), DEVICE_ENTRIES_MAX);
        for (selector, amount) in &self.devices {
            match amount {
                DeviceAmount::Whole(0) => {
                    found.contradiction(format!("`devices.{selector}` is 0: leave it out instead"));
                }
                DeviceAmount::Whole(count) => {
                    found.range(&format!("devices.{selector}"), *count, 1, DEVICES_MAX);
                }
                // A share cannot be nothing, nor a whole device.
                DeviceAmount::Share(_) => {}
            }
        }
    }

    fn check_processor(&self, found: &mut Found) {
        if self.virt_type == Some(VirtType::Qemu) && self.cpu_model == CpuModel::HostPassthrough {
            found.contradiction(
                "`cpu-model = host-passthrough` needs KVM, and `virt-type = qemu` rules it out: leave one of them out",
            );
        }
        if !self.cpu_features.is_empty() && self.cpu_model == CpuModel::Default {
            found.contradiction(
                "`cpu-features` add to a processor, and `cpu-model` is default, which is QEMU's own choice: write `cpu-model = host-model`, or another",
            );
        }
        found.length("cpu-features", self.cpu_features.len(), limits::CPU_FEATURES_MAX);
    }

    fn check_memory_placement(&self, found: &mut Found) {
        if let Some(nodes) = self.numa_nodes {
            found.range("numa-nodes", nodes, 1, NUMA_NODES_MAX);
            if nodes > self.cores {
                found.contradiction(format!(
                    "`numa-nodes` is {nodes}, and {} cores cannot be spread over so many: write fewer nodes or more cores",
                    self.cores
                ));
            }
        }
        let Some(size) = self.huge_pages else { return };
        if !HugePageSize::ALL.contains(&size) {
            found.contradiction(format!("`huge-pages` is {size}, and must be 2 MiB or 1 GiB"));
        } else if !self.memory.0.is_multiple_of(u64::from(size.0)) {
            found.contradiction(format!(
                "`memory` is {}, which is no whole number of huge pages of {size}: write a multiple",
                self.memory
            ));
        }
    }

    fn check_host_labels(&self, found: &mut Found) {
        found.length("host-labels and avoid-host-labels", self.host_labels.len(), RULES_MAX);
        for rule in &self.host_labels {
            let key = label_path(rule);
            if rule.values.is_empty() {
                found.contradiction(format!("`{key}` has no value: write one, or leave it out"));
            }
            found.length(&key, rule.values.len(), LABEL_VALUES_MAX);
        }
        for wanted in self.host_labels.iter().filter(|rule| rule.wanted) {
            let avoids = |rule: &&HostLabelRule| !rule.wanted && rule.key == wanted.key;
            let Some(avoided) = self.host_labels.iter().find(avoids) else { continue };
            if !wanted.values.is_empty() && wanted.values.is_subset(&avoided.values) {
                found.contradiction(format!(
                    "`{}` and `{}` leave no value: no host could be right",
                    label_path(wanted),
                    label_path(avoided)
                ));
            }
        }
    }

    fn check_affinity(&self, found: &mut Found) {
        found.length("affinity", self.affinity.len(), RULES_MAX);
        for rule in self.affinity.iter().filter(|rule| rule.kind == Affinity::Together) {
            let opposite = AffinityRule { kind: Affinity::Apart, companions: rule.companions.clone() };
            if self.affinity.contains(&opposite) {
                found.contradiction(format!(
                    "`affinity` wants VMs together with {companions} and apart from {companions}: leave one of them out",
                    companions = companions_in_words(&rule.companions)
                ));
            }
        }
    }
}

/// Where a rule about a label stands in a definition.
#[must_use]
pub fn label_path(rule: &HostLabelRule) -> String {
    format!("{}.{}", if rule.wanted { "host-labels" } else { "avoid-host-labels" }, rule.key)
}

/// Whom a rule is about, as in "together with …".
#[must_use]
pub fn companions_in_words(companions: &Companions) -> String {
    match companions {
        Companions::Owner => "those of the same owner".to_owned(),
        Companions::Team => "those of the same team".to_owned(),
        Companions::Label { key, value } => format!("those with the label {key}={value}"),
        Companions::Vm(vm) => format!("VM {vm}"),
    }
}

struct Found(Vec<SetupProblem>);

impl Found {
    fn contradiction(&mut self, text: impl Into<String>) {
        self.0.push(SetupProblem::Contradiction(text.into()));
    }

    fn range<N: Copy + PartialOrd + std::fmt::Display>(&mut self, key: &str, value: N, least: N, most: N) {
        if value < least || value > most {
            self.0.push(SetupProblem::OutOfRange {
                key: key.to_owned(),
                value: value.to_string(),
                least: least.to_string(),
                most: most.to_string(),
            });
        }
    }

    fn length(&mut self, key: &str, length: usize, most: usize) {
        if length > most {
            self.0.push(SetupProblem::OutOfRange {
                key: key.to_owned(),
                value: format!("{length} long"),
                least: "0".to_owned(),
                most: most.to_string(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::ids::VmId;

    use super::*;
    use crate::model::fixture;

    fn problems(change: impl FnOnce(&mut Setup)) -> String {
        let mut setup = fixture::setup();
        change(&mut setup);
        setup.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn label_rule(wanted: bool, values: &[&str]) -> HostLabelRule {
        HostLabelRule {
            key: "rack".to_owned(),
            values: values.iter().map(ToString::to_string).collect(),
            wanted,
        }
    }

    #[test]
    fn a_setup_with_everything_is_good() {
        let said = problems(|setup| {
            setup.devices = [("a|b", "2"), ("gpu", "\"250 permille\""), ("*", "1")]
                .map(|(selector, amount)| (selector.parse().unwrap(), serde_json::from_str(amount).unwrap()))
                .into();
            setup.cpu_model = CpuModel::HostModel;
            setup.cpu_features = ["avx2".parse().unwrap()].into();
            setup.numa_nodes = Some(2);
            setup.huge_pages = Some(HugePageSize(1024));
            setup.host_labels = vec![label_rule(true, &["r1", "r2"]), label_rule(false, &["r2"])];
            setup.affinity = vec![
                AffinityRule { kind: Affinity::Apart, companions: Companions::Owner },
                AffinityRule { kind: Affinity::Together, companions: Companions::Team },
            ];
        });
        assert_eq!(said, "");
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(problems(|setup| setup.cores = 0).contains("`cores` is 0"));
        assert!(problems(|setup| setup.memory = Mebibytes(u64::MAX)).contains("`memory` is"));
        let devices = |count| [("gpu".parse().unwrap(), DeviceAmount::Whole(count))].into();
        assert!(problems(|setup| setup.devices = devices(0)).contains("`devices.gpu` is 0: leave it out"));
        assert!(problems(|setup| setup.devices = devices(33)).contains("`devices.gpu` is 33"));
        assert!(problems(|setup| setup.numa_nodes = Some(0)).contains("`numa-nodes` is 0"));
        assert!(problems(|setup| setup.numa_nodes = Some(u32::MAX)).contains("between 1 and 64"));
        assert!(
            problems(|setup| setup.huge_pages = Some(HugePageSize(4))).contains("must be 2 MiB or 1 GiB")
        );
        let rules = vec![AffinityRule { kind: Affinity::Apart, companions: Companions::Owner }; 17];
        assert!(problems(|setup| setup.affinity = rules).contains("`affinity` is 17 long"));
        assert!(problems(|setup| setup.host_labels = vec![label_rule(false, &[])]).contains("has no value"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_reason() {
        assert!(problems(|setup| setup.numa_nodes = Some(3)).contains("2 cores cannot be spread"));
        let said = problems(|setup| {
            setup.memory = Mebibytes(1536);
            setup.huge_pages = Some(HugePageSize(1024));
        });
        assert!(
            said.contains("`memory` is 1.5 GiB, which is no whole number of huge pages of 1 GiB"),
            "{said}"
        );
        let features = || ["avx2".parse().unwrap()].into();
        assert!(problems(|setup| setup.cpu_features = features()).contains("`cpu-model` is default"));
        let labels = vec![label_rule(true, &["r1"]), label_rule(false, &["r1", "r2"])];
        let said = problems(|setup| setup.host_labels = labels);
        assert!(said.contains("`host-labels.rack` and `avoid-host-labels.rack` leave no value"), "{said}");
        let vm = VmId(uuid::Uuid::from_u128(7));
        let both = [Affinity::Together, Affinity::Apart];
        let said = problems(|setup| {
            setup.affinity = both.map(|kind| AffinityRule { kind, companions: Companions::Vm(vm) }).into();
        });
        assert!(said.contains("together with VM 00000000-"), "{said}");
    }
}
