//! How every document looks to people, held by snapshots: documents in, text out, at one fixed moment.

use reeve_common::clock::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{catalogue, cost, explanation, host, realm, simulation, status, vm};
use crate::api::types::{
    Comparison, Configuration, CostEvaluation, CostFunction, Drive, Explanation, Host, Image, JoinToken,
    JournalLine, Profile, Realm, Setup, Simulation, Status, Vm, VmDetail, VmLog, Volumes,
};
use crate::cli::arguments::Format;
use crate::cli::screen::Screen;

/// 2026-03-01T12:00:00Z.
const NOW: Timestamp = Timestamp(1_772_366_400_000);
const SCREEN: Screen = Screen { format: Format::Table, header: true, quiet: false, now: NOW };
const JSON: Screen = Screen { format: Format::Json, ..SCREEN };
const QUIET: Screen = Screen { quiet: true, ..SCREEN };

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn with(mut value: Value, changes: &Value) -> Value {
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    value
}

fn amounts(changes: &Value) -> Value {
    let nothing = json!({
        "millicores": 0, "memory-mib": 0, "devices": {}, "devices-permille": {}, "divisible-devices": [],
        "huge-pages": {}, "numa-nodes": 0
    });
    with(nothing, changes)
}

fn a_host() -> Value {
    json!({
        "id": 1, "name": "node-1", "realm": "primary", "uri": "qemu:///system", "profile": "r750",
        "state": "enabled", "draining": false, "fences": [], "can-be-fenced": false, "stops-by-itself-at": null, "standing-warnings": 0, "labels": {"rack": "r3"},
        "added-at": "2026-02-01T12:00:00.000Z", "joined-at": "2026-02-01T12:05:00.000Z",
        "connection": "connected", "connection-since": "2026-03-01T11:57:00.000Z",
        "capacity": amounts(&json!({
            "millicores": 248_000, "memory-mib": 503_808, "devices": {"nvidia-a100": 4, "nvidia-t4": 2},
            "devices-permille": {"nvidia-a100": 4000, "nvidia-t4": 2000},
            "divisible-devices": ["nvidia-t4"], "huge-pages": {"1024": 64}, "numa-nodes": 2
        })),
        "used": amounts(&json!({
            "millicores": 6000, "memory-mib": 6144, "devices": {"nvidia-a100": 1, "nvidia-t4": 1},
            "devices-permille": {"nvidia-a100": 1000, "nvidia-t4": 250}, "huge-pages": {"1024": 16}
        })),
        "used-by-foreign": amounts(&json!({})),
        "inventory": {
            "hostname": "node-1.example", "architecture": "x86_64", "cpu-model": "AMD EPYC 9354", "logical-cpus": 64,
            "memory-mib": 512_000, "kernel": "6.1.0", "hypervisor": "libvirt 9.0.0, QEMU 7.2.19", "kvm-usable": true,
            "agent-version": "0.1.0", "processor-models": ["EPYC", "qemu64"], "processor-features": ["aes", "avx2", "sse4.1"],
            "numa-nodes": [
                {"node": 0, "logical-cpus": 32, "memory-mib": 256_000, "huge-pages": {"1024": 64}},
                {"node": 1, "logical-cpus": 32, "memory-mib": 256_000, "huge-pages": {}}
            ],
            "huge-pages": {"1024": 64}, "pci-devices": {"10de:20b0": 4}, "mediated-devices": {"nvidia-222": 2},
            "devices": {"nvidia-a100": 4, "nvidia-t4": 2}
        },
        "sample": {
            "at": "2026-03-01T11:59:58.000Z", "cpu-permille": 125, "memory-used-mib": 20_480, "load-permille": 3210,
            "cpu-pressure-permille": 12, "memory-pressure-permille": 0, "io-pressure-permille": null
        },
        "vms": ["0f8fad5b-d9cb-469f-a165-70867728950e"],
        "foreign-domains": [
            {"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "name": "old\u{1b}[31m", "active": true, "vcpus": 2, "memory-mib": 2048}
        ],
        "pools": [
            {"name": "reeve-vm", "state": "active", "capacity-bytes": 1_099_511_627_776_u64, "available-bytes": 549_755_813_888_u64},
            {"name": "reeve-bricks", "state": "missing", "capacity-bytes": null, "available-bytes": null}
        ],
        "hypervisor-reachable": true,
        "warnings": ["pool reeve-bricks is missing"]
    })
}

fn a_lost_host() -> Value {
    with(
        a_host(),
        &json!({
            "id": 2, "name": "node-2", "state": "no-scheduler", "connection": "lost", "connection-since": null,
            "capacity": null, "used": null, "used-by-foreign": null, "inventory": null, "sample": null, "vms": [],
            "foreign-domains": [], "pools": [], "hypervisor-reachable": null, "warnings": [], "joined-at": null,
            "labels": {}
        }),
    )
}

fn a_vm() -> Value {
    json!({
        "id": "0f8fad5b-d9cb-469f-a165-70867728950e", "name": "web-1-0f8fad5b", "title": "Web server",
        "configuration": "web-1", "setup": "small", "adopted": false, "realm": "primary", "owner": "ann",
        "team": "physics",
        "project": null, "cores": 2, "memory-mib": 2048, "state": "running", "reason": null, "decision-wanted": false,
        "state-since": "2026-03-01T11:58:04.200Z", "wish": "run", "host": "node-1",
        "requested-at": "2026-03-01T11:58:00.000Z", "registered-at": "2026-03-01T11:58:04.200Z", "ended-at": null,
        "version": 7
    })
}

fn a_failed_vm() -> Value {
    with(
        a_vm(),
        &json!({
            "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "name": "web-2-7c9e6679", "configuration": "web-2",
            "state": "failed", "reason": "the guest did not register in its time and was terminated",
            "wish": "stop", "registered-at": null, "ended-at": "2026-03-01T10:00:00.000Z", "project": "outreach"
        }),
    )
}

fn an_explanation() -> Value {
    json!({
        "chosen": "node-2", "by": "increase", "considered": 3, "feasible": 2,
        "hosts": [
            {"host": "node-1", "id": 1, "feasible": true, "reason": null, "chosen": false, "cost-function": "balanced",
             "before": 1.25, "after": 1.75, "increase": 0.5,
             "terms": [{"term": "cpu", "expression": "2 * power(cores.load, 2)", "before": 0.25, "after": 0.75},
                       {"term": "memory", "expression": "4 * exponential(memory.load, 8)", "before": 1.0, "after": 1.0}]},
            {"host": "node-2", "id": 2, "feasible": true, "reason": null, "chosen": true, "cost-function": "balanced",
             "before": 0.5, "after": 0.625, "increase": 0.125,
             "terms": [{"term": "cpu", "expression": "2 * power(cores.load, 2)", "before": 0.0, "after": 0.125},
                       {"term": "memory", "expression": "4 * exponential(memory.load, 8)", "before": 0.5, "after": 0.5}]},
            {"host": "node-3", "id": 3, "feasible": false, "reason": "memory: 2 GiB asked, 512 MiB free of 8 GiB",
             "chosen": false, "cost-function": "balanced", "before": 3.0, "after": null, "increase": null,
             "terms": [{"term": "cpu", "expression": "2 * power(cores.load, 2)", "before": 3.0, "after": null}]}
        ],
        "refusals": [{"hosts": 1, "example": "node-3", "reason": "memory: 2 GiB asked, 512 MiB free of 8 GiB"}]
    })
}

fn nowhere() -> Value {
    let mut value = an_explanation();
    value["chosen"] = Value::Null;
    value["feasible"] = 0.into();
    value["refusals"] = json!([{"hosts": 3, "example": "node-1",
        "reason": "connection: the host's agent is not connected"}]);
    for host in value["hosts"].as_array_mut().unwrap() {
        host["feasible"] = false.into();
        host["chosen"] = false.into();
        host["reason"] = "connection: the host's agent is not connected".into();
    }
    value
}

fn a_history() -> Value {
    json!([
        {"at": "2026-03-01T11:58:00.000Z", "state": "requested", "reason": null},
        {"at": "2026-03-01T11:58:00.010Z", "state": "placed", "reason": null},
        {"at": "2026-03-01T11:58:01.500Z", "state": "registering", "reason": null},
        {"at": "2026-03-01T11:58:04.200Z", "state": "running", "reason": "a\u{1b}[2J"}
    ])
}

fn a_detail() -> VmDetail {
    let decision = json!({"at": "2026-03-01T11:58:00.000Z", "explanation": an_explanation()});
    read(with(a_vm(), &json!({"history": a_history(), "decision": decision})))
}

#[test]
fn hosts() {
    let all: Vec<Host> = vec![read(a_host()), read(a_lost_host())];
    insta::assert_snapshot!("host_list", host::hosts(&SCREEN, &all));
    insta::assert_snapshot!("host_show", host::host(&SCREEN, &all[0]));
    insta::assert_snapshot!("host_show_lost", host::host(&SCREEN, &all[1]));
    assert_eq!(host::hosts(&QUIET, &all), "node-1\nnode-2\n");
    // JSON gives back what was read: nothing is lost on the way.
    assert_eq!(serde_json::from_str::<Value>(&host::host(&JSON, &all[0])).unwrap(), a_host());
}

#[test]
fn a_join_line_can_be_piped() {
    let token: JoinToken = read(json!({
        "line": "reeve-join://10.0.0.1:7444/node-1/sha256:00ff/secret", "host": "node-1", "expires-at": "2026-03-01T13:00:00.000Z"
    }));
    let (line, hint) = host::join_token(&SCREEN, &token);
    assert_eq!(line, "reeve-join://10.0.0.1:7444/node-1/sha256:00ff/secret\n");
    assert_eq!(hint, "Give this line to `reeve-agent join` on node-1. It works once, and expires in 1h.\n");
}

#[test]
fn vms() {
    let all: Vec<Vm> = vec![read(a_vm()), read(a_failed_vm())];
    insta::assert_snapshot!("vm_list", vm::vms(&SCREEN, &all));
    insta::assert_snapshot!("vm_past", vm::past_vms(&SCREEN, &all));
    assert_eq!(
        vm::vms(&QUIET, &all),
        "0f8fad5b-d9cb-469f-a165-70867728950e\n7c9e6679-7425-40de-944b-e07fc1f90ae7\n"
    );
    assert_eq!(serde_json::from_str::<Value>(&vm::vms(&JSON, &all)).unwrap(), json!([a_vm(), a_failed_vm()]));
}

#[test]
fn one_vm() {
    insta::assert_snapshot!("vm_show", vm::vm(&SCREEN, &a_detail()));
    insta::assert_snapshot!("vm_show_json", vm::vm(&JSON, &a_detail()));
}

#[test]
fn logs() {
    let log: VmLog = read(json!({
        "vm": a_failed_vm(), "history": a_history(),
        "console": "Linux version 6.1\r\nlogin: \u{1b}]0;evil\u{7}\n", "console-problem": null
    }));
    let journal: Vec<JournalLine> = read(json!([
        {"at": "2026-03-01T12:00:01.000Z", "level": "notice", "source": "reeve-agent", "text": "VM is running",
         "message": null, "fields": {"REEVE_HOST": "node-1"}},
        {"at": "2026-03-01T12:00:09.250Z", "level": "warning", "source": "reeve-agent", "text": "VM has ended: crashed",
         "message": "vm-ended", "fields": {"REEVE_HOST": "node-1"}},
    ]));
    insta::assert_snapshot!("vm_logs", vm::log(&SCREEN, &log, &journal, None));
    let one_away = "the journal of host node-2 cannot be read: its agent does not answer";
    let told = vm::log(&SCREEN, &log, &journal, Some(one_away));
    assert!(told.contains(&format!("Missing in the journal:\n  {one_away}\n")), "{told}");
    assert!(told.contains("reeve-agent: VM is running\n"), "{told}");
    assert_eq!(vm::console(log.console.as_deref().unwrap()), "Linux version 6.1\nlogin: ?]0;evil?\n");
    let silent =
        VmLog { console: None, console_problem: Some("its setup does not keep it".to_owned()), ..log };
    let away = "host node-1 is not connected";
    insta::assert_snapshot!("vm_logs_without_console", vm::log(&SCREEN, &silent, &[], Some(away)));
}

#[test]
fn explanations() {
    let explanation: Explanation = read(an_explanation());
    insta::assert_snapshot!("simulate", explanation::simulation(&SCREEN, &explanation, false));
    insta::assert_snapshot!("simulate_terms", explanation::simulation(&SCREEN, &explanation, true));
    insta::assert_snapshot!("simulate_json", explanation::simulation(&JSON, &explanation, false));
    insta::assert_snapshot!("simulate_nowhere", explanation::simulation(&SCREEN, &read(nowhere()), false));
    assert_eq!(explanation::summary(&explanation), "node-2: cost +0.1250 (runner-up node-1, cost +0.5000)");
    let mut by_total = explanation;
    by_total.by = "total".to_owned();
    assert_eq!(
        explanation::summary(&by_total),
        "node-2: total cost 0.6250 (runner-up node-1, total cost 1.7500)"
    );
}

#[test]
fn simulations() {
    let stopped_by = json!({
        "chosen": null, "by": "increase", "considered": 40, "feasible": 0, "hosts": [],
        "refusals": [
            {"hosts": 38, "example": "node-1", "reason": "memory: 2 GiB asked, 512 MiB free of 8 GiB"},
            {"hosts": 2, "example": "node-7", "reason": "draining: the host is being emptied"}]
    });
    let some: Simulation = read(json!({
        "asked": 40, "fit": 32, "cost-increase": 3.25, "decision": null, "stopped-by": stopped_by,
        "hosts": [{"host": "node-2", "new": false, "vms": 12}, {"host": "new-r750-1", "new": true, "vms": 20}]
    }));
    insta::assert_snapshot!("simulate_count", simulation::simulation(&SCREEN, &some, false));
    insta::assert_snapshot!("simulate_count_json", simulation::simulation(&JSON, &some, false));
    assert_eq!(simulation::simulation(&QUIET, &some, false), "node-2\nnew-r750-1\n");
    let none = Simulation { fit: 0, hosts: Vec::new(), cost_increase: Some(0.0), ..some.clone() };
    insta::assert_snapshot!("simulate_count_none", simulation::simulation(&SCREEN, &none, false));
    let all = Simulation { asked: 32, stopped_by: None, ..some };
    insta::assert_snapshot!("simulate_count_all", simulation::simulation(&SCREEN, &all, false));
    let one = Simulation { asked: 1, fit: 1, decision: Some(read(an_explanation())), ..all };
    assert_eq!(
        simulation::simulation(&SCREEN, &one, true),
        explanation::simulation(&SCREEN, &read(an_explanation()), true)
    );
}

fn a_comparison(host: &str, placed_on: &str, asked: usize, chosen: usize) -> Comparison {
    let hosts = &an_explanation()["hosts"];
    let judgement =
        |at: &str| json!({"at": at, "by": "increase", "host": hosts[asked], "chosen": hosts[chosen]});
    read(json!({
        "vm": "0f8fad5b-d9cb-469f-a165-70867728950e", "name": "web-1-0f8fad5b", "host": host, "placed-on": placed_on,
        "then": judgement("2026-03-01T11:58:00.000Z"), "now": judgement("2026-03-01T12:00:00.000Z")
    }))
}

#[test]
fn comparisons() {
    insta::assert_snapshot!(
        "vm_why_elsewhere",
        simulation::comparison(&SCREEN, &a_comparison("node-1", "node-2", 0, 1))
    );
    insta::assert_snapshot!(
        "vm_why_there",
        simulation::comparison(&SCREEN, &a_comparison("node-2", "node-2", 1, 1))
    );
    let mut waiting = a_comparison("node-3", "node-2", 2, 1);
    waiting.placed_on = None;
    waiting.then = waiting.then.map(|then| crate::api::types::Judgement { host: None, chosen: None, ..then });
    insta::assert_snapshot!("vm_why_nowhere", simulation::comparison(&SCREEN, &waiting));
    insta::assert_snapshot!("vm_why_json", simulation::comparison(&JSON, &waiting));
    // The host asked about costs less, as much, or is judged by its total.
    let told = |change: &dyn Fn(&mut Comparison)| {
        let mut comparison = a_comparison("node-1", "node-2", 0, 1);
        change(&mut comparison);
        simulation::comparison(&SCREEN, &comparison)
    };
    let at_once = told(&|changed| changed.now.host.as_mut().unwrap().increase = Some(0.0625));
    assert!(at_once.contains("several VMs placed at once"), "{at_once}");
    // What is beyond the seventh digit does not count.
    for as_much in [0.125, 0.125 + 1e-10, 0.125 - 1e-10] {
        let tie = told(&|changed| changed.now.host.as_mut().unwrap().increase = Some(as_much));
        assert!(tie.contains("costs as much and has the lower id"), "{tie}");
    }
    let total = told(&|changed| changed.now.by = "total".to_owned());
    assert!(
        total.contains("can take it (total cost 1.7500), but node-2 would be chosen: total cost 0.6250"),
        "{total}"
    );
}

#[test]
fn a_cost_function_at_work() {
    let evaluation: CostEvaluation = read(json!({
        "cost-function": "balanced", "host": "node-1", "setup": "small", "by": "increase",
        "attributes": [
            {"attribute": "cores.load", "before": 0.25, "after": 0.312_512_3},
            {"attribute": "measured.cpu.load", "before": null, "after": null},
            {"attribute": "memory.used", "before": 8192.0, "after": 10_240.0}],
        "terms": [
            {"term": "cpu", "expression": "2 * power(cores.load, 2)", "before": 0.125, "after": 0.1953},
            {"term": "heat", "expression": "measured.cpu.load", "before": 0.0, "after": null}],
        "before": 0.125, "after": null, "increase": null
    }));
    insta::assert_snapshot!("cost_explain", simulation::evaluation(&SCREEN, &evaluation));
    insta::assert_snapshot!("cost_explain_json", simulation::evaluation(&JSON, &evaluation));
}

#[test]
fn realms() {
    let primary: Realm = read(json!({
        "name": "primary", "title": "Primary Libvirt Realm", "disabled": false, "driver": "libvirt",
        "volumes-pool": "reeve-vm", "drives-pool": "reeve-drives", "bricks-pool": "reeve-bricks",
        "registration-timeout-ms": 300_000, "poll-frequency-ms": 30_000, "network-filter": null,
        "virt-type": "auto", "network": "default", "shutdown-timeout-ms": 180_000,
        "when-host-lost": "ask", "failover-brake-percent": 25, "failover-brake-hosts": 2,
        "log-scheduling": false,
        "drives": {"lazy-allocation": true, "cache": "default", "min-size-bytes": null, "max-size-bytes": 536_870_912_000_u64},
        "hosts": 3, "connected-hosts": 2, "vms": 4,
        "quotas": {
            "owners": [{"name": "ann", "limits": {"millicores": 500_000, "devices-permille": 1500},
                "used": {"millicores": 2500, "memory-mib": 4096, "devices-permille": 250, "vms": 2}}],
            "teams": [],
            "any-owner": {"memory-mib": 65_536, "vms": 20},
            "any-team": {}
        }
    }));
    insta::assert_snapshot!("realm_show", realm::realm(&SCREEN, &primary));
    insta::assert_snapshot!("realm_list", realm::realms(&SCREEN, &[primary]));
}

#[test]
fn profiles_and_cost_functions() {
    let profile: Profile = read(json!({
        "name": "r750",
        "whole": {"millicores": 64_000, "memory-mib": 512_000, "devices": {"nvidia-a100": 4, "nvidia-t4": 2},
            "divisible-devices": ["nvidia-t4"], "huge-pages": {"2": 4096, "1024": 64}, "numa-nodes": 2},
        "reserved-millicores": 2000, "reserved-memory-mib": 8192, "cores-overcommit-permille": 4000,
        "memory-overcommit-permille": 1000,
        "capacity": {"millicores": 248_000, "memory-mib": 503_808, "devices": {"nvidia-a100": 4}},
        "cost-function": "balanced", "hosts": ["node-1", "node-2"]
    }));
    insta::assert_snapshot!("profile_list", realm::profiles(&SCREEN, &[profile]));
    let functions: Vec<CostFunction> = read(json!([
        {"name": "balanced", "by": "increase", "terms": [
            {"name": "cpu", "expression": "2 * power(cores.load, 2)"},
            {"name": "memory", "expression": "4 * exponential(memory.load, 8)"}]},
        {"name": "spread", "by": "total", "terms": [{"name": "vms", "expression": "0.01 * power(vms, 2)"}]}
    ]));
    insta::assert_snapshot!("cost_list", cost::cost_functions(&SCREEN, &functions));
    assert_eq!(cost::cost_functions(&QUIET, &functions), "balanced\nspread\n");
}

#[test]
fn volumes() {
    let pools: Vec<Volumes> = read(json!([
        {"realm": "primary", "kind": "bricks", "pool": "reeve-bricks", "host": "node-1", "volumes": [
            {"name": "debian-12.qcow2", "capacity-bytes": 10_737_418_240_u64, "allocation-bytes": 1_073_741_824, "format": "qcow2"}]},
        {"realm": "primary", "kind": "drives", "pool": "reeve-drives", "host": "node-1", "volumes": []}
    ]));
    insta::assert_snapshot!("volume_list", realm::volumes(&SCREEN, &pools));
}

#[test]
fn the_catalogue() {
    let image: Image = read(json!({
        "name": "debian-12", "realm": "primary", "volume": "debian-12.qcow2", "format": "qcow2",
        "operating-system": "Debian 12", "created-at": "2026-02-28T12:00:00.000Z"
    }));
    insta::assert_snapshot!("image_show", catalogue::image(&SCREEN, &image));
    insta::assert_snapshot!("image_list", catalogue::images(&SCREEN, &[image]));
    let setup: Setup = read(json!({
        "name": "small", "realm": "primary", "image": "debian-12", "cores": 2, "memory-mib": 2048,
        "devices": {"nvidia-a100|nvidia-h100": 1, "nvidia-t4": "250 permille"}, "virt-type": null, "machine": "q35",
        "cpu-model": "host-model", "cpu-features": ["avx2", "aes"], "numa-nodes": 2, "huge-pages-mib": 1024,
        "host-labels": {"rack": ["r1", "r2"], "tier": ["web"]}, "avoid-host-labels": {"power": ["battery"]},
        "affinity": [{"together": {"label": {"app": "db"}}}, {"apart": "owner"}, {"apart": "team"},
            {"together": {"vm": "0f8fad5b-d9cb-469f-a165-70867728950e"}}],
        "networks": null,
        "debug": {"console": true, "vnc": false}, "labels": {"tier": "web"}, "created-at": "2026-02-28T12:00:00.000Z"
    }));
    insta::assert_snapshot!("setup_show", catalogue::setup(&SCREEN, &setup));
    insta::assert_snapshot!("setup_list", catalogue::setups(&SCREEN, &[setup]));
    let configuration: Configuration = read(json!({
        "name": "web-1", "title": "Web server", "setup": "small", "owner": "ann", "team": "physics", "project": null,
        "drives": [{"drive": "results", "read-only": true}, {"drive": "scratch", "read-only": false}],
        "when-host-lost": "restart", "priority": 10,
        "created-at": "2026-02-28T12:00:00.000Z"
    }));
    insta::assert_snapshot!("config_show", catalogue::configuration(&SCREEN, &configuration));
    insta::assert_snapshot!("config_list", catalogue::configurations(&SCREEN, &[configuration]));
    let drive: Drive = read(json!({
        "name": "results", "realm": "primary", "owner": "ann", "team": "physics", "size-bytes": 21_474_836_480_u64,
        "format": "qcow2", "volume": "results", "created-at": "2026-02-28T12:00:00.000Z", "ready": false
    }));
    insta::assert_snapshot!("drive_show", catalogue::drive(&SCREEN, &drive));
    insta::assert_snapshot!("drive_list", catalogue::drives(&SCREEN, &[drive]));
}

#[test]
fn the_status() {
    let document: Status = read(json!({
        "version": "0.1.0", "epoch": 12, "started-at": "2026-03-01T09:00:00.000Z", "realms": 1,
        "hosts": {"total": 4, "connected": 3, "reported": 3, "suspected": 0, "lost": 1, "fenced": 0, "never-joined": 0},
        "vms": {"running": 4, "unplaceable": 1}, "warnings": ["host node-2: lost for 5m"]
    }));
    insta::assert_snapshot!("status", status::status(&SCREEN, &document));
}
