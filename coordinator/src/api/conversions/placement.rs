//! Owns how rules about where VMs may live become documents, and documents rules.

use std::collections::{BTreeMap, BTreeSet};

use reeve_scheduler::{Affinity, HostLabelRule};

use crate::api::types::{AffinityRule, Companions};
use crate::service::ServiceError;

/// The rules about hosts' labels: those that are wanted, then those that are avoided, by key.
pub(super) fn host_label_rules(
    wanted: BTreeMap<String, BTreeSet<String>>,
    avoided: BTreeMap<String, BTreeSet<String>>,
) -> Vec<HostLabelRule> {
    let rules = |wanted| move |(key, values)| HostLabelRule { key, values, wanted };
    wanted.into_iter().map(rules(true)).chain(avoided.into_iter().map(rules(false))).collect()
}

/// The labels that are wanted, or avoided.
pub(super) fn label_values(rules: &[HostLabelRule], wanted: bool) -> BTreeMap<String, BTreeSet<String>> {
    let rules = rules.iter().filter(|rule| rule.wanted == wanted);
    rules.map(|rule| (rule.key.clone(), rule.values.clone())).collect()
}

pub(super) fn affinity_rules(
    rules: Vec<AffinityRule>,
) -> Result<Vec<reeve_scheduler::AffinityRule>, ServiceError> {
    rules.into_iter().map(affinity_rule).collect()
}

fn affinity_rule(rule: AffinityRule) -> Result<reeve_scheduler::AffinityRule, ServiceError> {
    let (kind, whom) = match rule {
        AffinityRule::Together(whom) => (Affinity::Together, whom),
        AffinityRule::Apart(whom) => (Affinity::Apart, whom),
    };
    let companions = match whom {
        Companions::Owner => reeve_scheduler::Companions::Owner,
        Companions::Team => reeve_scheduler::Companions::Team,
        Companions::Vm(vm) => reeve_scheduler::Companions::Vm(vm),
        Companions::Label(label) => {
            let mut label = label.into_iter();
            let (Some((key, value)), None) = (label.next(), label.next()) else {
                return Err(ServiceError::invalid(
                    "`affinity`: a rule is about one label, such as { together = { label { app = db } } }; write a rule for each",
                ));
            };
            reeve_scheduler::Companions::Label { key, value }
        }
    };
    Ok(reeve_scheduler::AffinityRule { kind, companions })
}

pub(super) fn affinity_rule_of(rule: &reeve_scheduler::AffinityRule) -> AffinityRule {
    let whom = match &rule.companions {
        reeve_scheduler::Companions::Owner => Companions::Owner,
        reeve_scheduler::Companions::Team => Companions::Team,
        reeve_scheduler::Companions::Vm(vm) => Companions::Vm(*vm),
        reeve_scheduler::Companions::Label { key, value } => {
            Companions::Label([(key.clone(), value.clone())].into())
        }
    };
    match rule.kind {
        Affinity::Together => AffinityRule::Together(whom),
        Affinity::Apart => AffinityRule::Apart(whom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_and_read_as_they_are_written() {
        let text = r#"[{"together":{"label":{"app":"db"}}},{"apart":"owner"},{"apart":"team"},
            {"together":{"vm":"5f0c0000-0000-4000-8000-000000000001"}}]"#;
        let rules: Vec<AffinityRule> = serde_json::from_str(text).unwrap();
        let kept = affinity_rules(rules.clone()).unwrap();
        assert_eq!(kept.iter().map(affinity_rule_of).collect::<Vec<_>>(), rules);
        assert_eq!(
            serde_json::to_value(&rules).unwrap(),
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
    }

    #[test]
    fn a_rule_is_about_one_label() {
        for label in [BTreeMap::new(), ["a", "b"].map(|key| (key.to_owned(), key.to_owned())).into()] {
            let rule = AffinityRule::Apart(Companions::Label(label));
            assert!(affinity_rules(vec![rule]).unwrap_err().message.contains("one label"));
        }
    }

    #[test]
    fn labels_survive() {
        let labels = |value: &str| BTreeMap::from([("rack".to_owned(), BTreeSet::from([value.to_owned()]))]);
        let rules = host_label_rules(labels("r1"), labels("r2"));
        assert_eq!((label_values(&rules, true), label_values(&rules, false)), (labels("r1"), labels("r2")));
    }
}
