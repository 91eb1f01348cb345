//! A day's work without a connected host: everything that can be made, shown and removed.

use serde_json::{Value, json};

use crate::coordinator::Coordinator;

#[tokio::test]
async fn what_the_configuration_declares_is_shown() {
    let coordinator = Coordinator::start().await;
    coordinator.reeve("realm list").await.ended(0).says(&["primary", "Primary Libvirt Realm"]);
    coordinator.reeve("realm show primary").await.ended(0).says(&["Largest drive", "500 GiB"]);
    coordinator.reeve("profile list").await.ended(0).says(&["r750", "nvidia-a100 4"]);
    coordinator.reeve("cost list").await.ended(0).says(&["balanced", "unfragmented", "cores.load"]);
    let status = coordinator.reeve("status -o json").await.ended(0).json();
    assert_eq!(status["realms"], 2);
    assert_eq!(status["hosts"]["total"], 0);
}

#[tokio::test]
async fn hosts_are_added_changed_and_deleted() {
    let coordinator = Coordinator::start().await;
    let added = coordinator.reeve("host add node-1 --realm primary --profile r750 -o json").await.ended(0);
    assert_eq!(added.json()["connection"], "never-joined");
    let changed = coordinator.reeve("host set-state node-1 no-scheduler -o json").await.ended(0);
    assert_eq!(changed.json()["state"], "no-scheduler");
    coordinator.reeve("host list --no-header").await.ended(0).says(&[
        "node-1",
        "no-scheduler",
        "never-joined",
    ]);
    coordinator.reeve("host add node-1 --realm primary --profile r750").await.ended(4).complains(&["node-1"]);
    coordinator.reeve("host delete node-1").await.ended(0);
    assert_eq!(coordinator.reeve("host list -q").await.ended(0).out, "");
}

#[tokio::test]
async fn a_join_line_is_made_for_one_host() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let token = coordinator.reeve("host join-token node-1 --lifetime 15m -o json").await.ended(0).json();
    assert_eq!(token["host"], "node-1");
    let line = coordinator.reeve("host join-token node-1").await.ended(0);
    // The line alone on standard output, so that it can be piped to the host.
    assert!(line.out.contains("192.0.2.1") && line.out.lines().count() == 1, "{}", line.out);
    assert_ne!(token["line"], line.out.trim());
    line.complains(&["reeve-agent join", "works once", "expires in"]);
    coordinator.reeve("host join-token node-9").await.ended(3).complains(&["node-9", "reeve host list"]);
    coordinator.reeve("host join-token node-1 --lifetime forever").await.ended(2);
}

#[tokio::test]
async fn images_setups_and_configurations_are_made_from_files() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    coordinator.reeve("image show debian").await.ended(0).says(&["Debian 12", "debian.qcow2"]);
    let setup = coordinator.reeve("setup show small -o json").await.ended(0).json();
    assert_eq!(setup["memory-mib"], 2048);
    assert_eq!(setup["machine"], "q35");
    coordinator.reeve("config list").await.ended(0).says(&["web-1", "small", "ann", "physics"]);
    // What is in use stays.
    coordinator.reeve("image delete debian").await.ended(4).complains(&["debian"]);
    coordinator.reeve("setup delete small").await.ended(4).complains(&["small", "web-1"]);
    for line in ["config delete web-1", "setup delete small", "setup delete huge", "image delete debian"] {
        coordinator.reeve(line).await.ended(0);
    }
    for line in ["config list -q", "setup list -q", "image list -q"] {
        assert_eq!(coordinator.reeve(line).await.ended(0).out, "", "{line}");
    }
}

#[tokio::test]
async fn of_several_definitions_those_before_the_refused_one_are_made() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let file = "[{ name = a, setup = small, owner = ann, team = t }\n{ name = b, setup = missing, owner = ann, team = t }\n{ name = c, setup = small, owner = ann, team = t }]";
    coordinator.reeve_with_input("config create -f -", file).await.ended(3).complains(&["missing", "1 of 3"]);
    assert_eq!(coordinator.reeve("config list -q").await.ended(0).out, "a\nweb-1\n");
}

#[tokio::test]
async fn a_simulation_names_every_host_with_its_reason_and_terms() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let simulated = coordinator.reeve("setup simulate small -o json").await.ended(6).json();
    assert_eq!(simulated["chosen"], Value::Null);
    let host = &simulated["hosts"][0];
    assert_eq!(host["host"], "node-1");
    assert_eq!(host["feasible"], false);
    assert!(host["reason"].as_str().unwrap().contains("connect"), "{host}");
    let terms = host["terms"].as_array().unwrap();
    assert!(!terms.is_empty());
    for term in terms {
        let keys: Vec<&String> = term.as_object().unwrap().keys().collect();
        for key in ["before", "after", "term"] {
            assert!(keys.iter().any(|found| *found == key), "{term}");
        }
    }
    coordinator.reeve("setup simulate small --terms").await.ended(6).says(&[
        "FEASIBLE",
        "none of 1 hosts",
        "TERM",
    ]);
    coordinator.reeve("setup simulate small --owner ann").await.ended(2).complains(&["--team"]);
}

#[tokio::test]
async fn several_that_are_started_together_are_told_one_by_one() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let started = coordinator.reeve("vm start web-1 nobody web-1 -o json").await.complains(&[
        "no place",
        "nobody",
        "reeve config list",
    ]);
    assert_eq!(started.json().as_array().unwrap().len(), 2, "the two that there is a configuration for");
    assert_eq!(started.code, 3, "{}", started.err);
    coordinator.reeve("audit tail").await.ended(0).says(&[
        "start-vms",
        "3 VMs together",
        "configuration nobody",
    ]);
}

#[tokio::test]
async fn a_vm_without_a_place_is_kept_until_it_is_given_up() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let started =
        coordinator.reeve("vm start web-1 -o json").await.ended(6).complains(&["no place", "node-1"]);
    let vm = &started.json()[0];
    assert_eq!(vm["state"], "unplaceable");
    assert!(vm["decision"]["explanation"]["hosts"].is_array(), "{vm}");
    let id = vm["id"].as_str().unwrap().to_owned();
    coordinator.reeve("vm list").await.ended(0).says(&["web-1", "unplaceable"]);
    for selector in [&id, &id[..8], "web-1", vm["name"].as_str().unwrap()] {
        let shown = coordinator.reeve(&format!("vm show {selector} -o json")).await.ended(0).json();
        assert_eq!(shown["id"], json!(id), "{selector}");
    }
    coordinator.reeve("vm logs web-1").await.ended(0).says(&["unplaceable", "never on a host"]);
    coordinator.reeve("vm logs web-1 --console").await.ended(3).complains(&["never on a host"]);
    coordinator.reeve("vm destroy web-1").await.ended(0).says(&["stopped"]);
    assert_eq!(coordinator.reeve("vm list -q").await.ended(0).out, "");
    coordinator.reeve("vm past").await.ended(0).says(&["web-1", "stopped"]);
    coordinator.reeve(&format!("vm destroy {id}")).await.ended(4).complains(&["already"]);
}
