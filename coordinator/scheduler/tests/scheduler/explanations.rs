//! Explanations: what they say, as JSON, and that they are what is done.

use std::collections::BTreeMap;

use reeve_common::ids::HostId;
use reeve_scheduler::{ChoiceRule, Contact, Explanation, Fleet, HostState};

use crate::fixture::{compile, devices, function, host, preset, request, vm, whole};

/// Six hosts, each with another answer.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    let terms =
        [("cpu", "2 * power(cores.load, 2)"), ("memory", "memory.load"), ("edge", "1 / (cores.total - 6)")];
    let balanced = function(&terms);
    fleet.upsert_host(host(1, 8, 16, &balanced));
    fleet.upsert_host(host(2, 16, 16, &balanced));
    fleet.upsert_host(host(3, 6, 16, &balanced));
    fleet.upsert_host(host(4, 2, 16, &balanced));
    let mut out = host(5, 8, 16, &balanced);
    out.state = HostState::NoScheduler;
    fleet.upsert_host(out);
    let mut foreign = host(6, 8, 15, &balanced);
    foreign.foreign.memory = reeve_common::units::Mebibytes(11 << 10);
    fleet.upsert_host(foreign);
    fleet.restore(vm(1), HostId(2), &request(8, 4));
    fleet
}

#[test]
fn an_explanation_names_each_host_and_each_term() {
    insta::assert_json_snapshot!(fleet().explain(&request(4, 8)));
}

#[test]
fn numbers_that_are_not_finite_can_be_written_and_read() {
    let explanation = fleet().explain(&request(4, 8));
    let text = serde_json::to_string(&explanation).unwrap();
    let read: Explanation = serde_json::from_str(&text).unwrap();
    let edge = &read.hosts[2];
    assert!(!edge.feasible && edge.after.is_nan() && edge.terms[2].after.is_nan());
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[test]
fn every_constraint_gives_its_numbers() {
    let mut fleet = Fleet::new();
    let balanced = preset("balanced");
    let mut described = host(1, 4, 8, &balanced);
    described.capacity.devices = devices("a100", 2);
    let mut wanted = request(1, 1);
    let mut check = |change: &dyn Fn(&mut reeve_scheduler::HostDescription), wanted: &_, reason: &str| {
        let mut changed = described.clone();
        change(&mut changed);
        fleet.upsert_host(changed);
        assert_eq!(fleet.fits(HostId(1), wanted).map_err(|found| found.to_string()), Err(reason.to_owned()));
        assert_eq!(fleet.explain(wanted).hosts[0].reason.as_deref(), Some(reason));
        assert_eq!(fleet.decide(wanted), None);
    };
    check(
        &|host| host.state = HostState::Disabled,
        &wanted,
        "state: the host is disabled; only enabled hosts are chosen",
    );
    check(&|host| host.draining = true, &wanted, "draining: the host is being emptied");
    check(&|host| host.contact = Contact::Lost, &wanted, "connection: the host's agent is not connected");
    let suspected = "connection: the host's agent has not been heard for a moment";
    check(&|host| host.contact = Contact::Suspected, &wanted, suspected);
    let problem = |host: &mut reeve_scheduler::HostDescription| {
        host.storage_problem = Some("the pool vms is not started".to_owned());
    };
    check(&problem, &wanted, "storage: the pool vms is not started");
    check(&|_| {}, &request(5, 1), "cores: 5 asked, 4 free of 4");
    check(&|_| {}, &request(1, 9), "memory: 9 GiB asked, 8 GiB free of 8 GiB");
    let two_cores = |host: &mut reeve_scheduler::HostDescription| {
        host.foreign.cores = reeve_common::units::Millicores(3500);
    };
    check(&two_cores, &wanted, "cores: 1 asked, 0.5 free of 4");
    wanted.devices = whole("a100", 3);
    check(&|_| {}, &wanted, "devices: 3 a100 asked, 2 free of 2");
    wanted.devices = whole("h100", 1);
    check(&|_| {}, &wanted, "devices: 1 h100 asked, 0 free of 0");
    wanted.devices = BTreeMap::new();
    wanted.realm = reeve_common::ids::RealmName::new("other").unwrap();
    check(&|_| {}, &wanted, "realm: the VM is of other, the host of r");
    assert_eq!(fleet.fits(HostId(7), &wanted).unwrap_err().to_string(), "host 7 is not known");
}

#[test]
fn the_rule_says_which_number_is_compared() {
    // The first host is fuller and cheap to add to; the second is emptier, and its next VM is dearer.
    let terms = [("cost", "table(cores.load, 0, 0, 0.5, 10, 1, 11)")];
    for (rule, chosen) in [(ChoiceRule::Increase, 1), (ChoiceRule::Total, 2)] {
        let cost = std::sync::Arc::new(compile(&terms, rule).unwrap());
        let mut fleet = Fleet::new();
        fleet.upsert_host(host(1, 8, 64, &cost));
        fleet.upsert_host(host(2, 8, 64, &cost));
        fleet.restore(vm(1), HostId(1), &request(4, 1));
        let explanation = fleet.explain(&request(2, 1));
        assert_eq!((explanation.chosen, explanation.rule), (Some(HostId(chosen)), rule));
        assert_eq!(fleet.decide(&request(2, 1)), Some(HostId(chosen)));
    }
}

#[test]
fn a_request_of_a_realm_without_hosts_has_nowhere_to_go() {
    let mut fleet = Fleet::new();
    let explanation = fleet.explain(&request(1, 1));
    assert_eq!((explanation.chosen, explanation.hosts.len()), (None, 0));
    assert_eq!(fleet.decide(&request(1, 1)), None);
}
