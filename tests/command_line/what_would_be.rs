//! Questions about what would be: simulations of many VMs, on fleets that are not there; a VM and a host compared; a cost
//! function at work.

use serde_json::Value;

use crate::coordinator::Coordinator;

#[tokio::test]
async fn a_simulation_counts_what_fits_and_says_what_stops_the_next_one() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    // The only host has never joined.
    coordinator.reeve("setup simulate small --count 40").await.ended(6).says(&[
        "none of 40 fits",
        "none of 1 hosts can take it",
        "node-1: connection",
    ]);
    let some =
        coordinator.reeve("setup simulate small --count 30 --with-host r750 -o json").await.ended(0).json();
    assert_eq!((&some["asked"], &some["fit"], &some["stopped-by"]), (&30.into(), &30.into(), &Value::Null));
    assert_eq!(some["hosts"][0]["host"], "new-r750-1");
    assert_eq!(some["hosts"][0]["new"], true);
    let full =
        coordinator.reeve("setup simulate small --count 300 --with-host r750=2,rack=r9").await.ended(6);
    full.says(&[
        "new-r750-1",
        "new-r750-2",
        "of 300 fit, on 2 hosts",
        "The next one: none of 3 hosts can take it",
    ]);
    let json = coordinator
        .reeve("setup simulate small --count 300 --with-host r750=2 -o json")
        .await
        .ended(6)
        .json();
    let placed: u64 =
        json["hosts"].as_array().unwrap().iter().map(|host| host["vms"].as_u64().unwrap()).sum();
    assert_eq!(json["fit"], placed);
    assert_eq!(json["stopped-by"]["feasible"], 0);
    // Nothing of it has happened.
    let now = coordinator.reeve("setup simulate small -o json").await.ended(6).json();
    assert_eq!(now["hosts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_vm_on_a_fleet_that_is_not_there_is_explained_as_on_a_real_one() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let line = "setup simulate small --with-host r750=2 --without-host node-1 --cost pack --terms";
    coordinator.reeve(line).await.ended(0).says(&[
        "FEASIBLE",
        "new-r750-2",
        "new-r750-1: cost",
        "EXPRESSION",
    ]);
    let json = coordinator.reeve(&format!("{line} -o json")).await.ended(0).json();
    assert_eq!(json["decision"]["chosen"], "new-r750-1");
    assert_eq!(json["decision"]["hosts"][0]["cost-function"], "pack");
    assert_eq!(json["decision"]["hosts"].as_array().unwrap().len(), 2);
    coordinator.reeve("setup simulate huge --with-host r750").await.ended(6).says(&["memory: 9 TiB asked"]);
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    for (line, code, words) in [
        ("setup simulate nothing --count 2", 3, "reeve setup list"),
        ("setup simulate small --with-host r999", 3, "reeve profile list"),
        ("setup simulate small --without-host node-9", 3, "reeve host list"),
        ("setup simulate small --cost dear", 3, "reeve cost list"),
        ("setup simulate small --count 0", 2, "at least 1"),
        ("setup simulate small --count 10001", 2, "at most 10000"),
        ("setup simulate small --count many", 2, "many"),
        ("setup simulate small --with-host r750=10001", 2, "at most 10000"),
        ("setup simulate small --with-host r750=0", 2, "at least 1"),
        ("setup simulate small --count 2 --terms", 2, "--terms"),
        ("cost explain dear --host node-1 --setup small", 3, "reeve cost list"),
        ("cost explain pack --host node-9 --setup small", 3, "reeve host list"),
        ("cost explain pack --host node-1 --setup nothing", 3, "reeve setup list"),
        ("vm why nothing --host node-1", 3, "reeve vm list"),
    ] {
        let answer = coordinator.reeve(line).await;
        assert_eq!(answer.code, code, "{line}: {}", answer.err);
        answer.complains(&[words]);
    }
}

#[tokio::test]
async fn a_vm_and_a_host_are_compared() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    coordinator.reeve("vm start web-1 --no-wait").await.ended(6);
    coordinator.reeve("vm why web-1 --host node-1").await.ended(0).says(&[
        "has no place",
        "When it found no place",
        "node-1 could not take it: connection",
        "Now, as if it were nowhere:",
        "node-1 cannot take it: connection",
        "EXPRESSION",
    ]);
    let json = coordinator.reeve("vm why web-1 --host node-1 -o json").await.ended(0).json();
    assert_eq!(json["placed-on"], Value::Null);
    assert_eq!(json["now"]["host"]["feasible"], false);
    assert_eq!(json["now"]["chosen"], Value::Null);
    coordinator.reeve("vm why web-1 --host node-9").await.ended(3).complains(&["node-9", "reeve host list"]);
    coordinator.reeve("vm destroy web-1").await.ended(0);
    coordinator.reeve("vm why web-1 --host node-1").await.ended(4).complains(&["is over", "reeve vm show"]);
}

#[tokio::test]
async fn a_cost_function_is_worked_out_for_a_host() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    coordinator.reeve("cost explain opportunity --host node-1 --setup small").await.ended(0).says(&[
        "node-1, as it stands",
        "cores.load",
        "exponential(cores.load, 10)",
        "sum",
    ]);
    let line = "cost explain opportunity --host node-1 --setup small --owner ann --team physics -o json";
    let json = coordinator.reeve(line).await.ended(0).json();
    let terms = json["terms"].as_array().unwrap();
    let sum: f64 = terms.iter().map(|term| term["after"].as_f64().unwrap()).sum();
    assert!((json["after"].as_f64().unwrap() - sum).abs() < 1e-12 && sum > 0.0, "{json}");
    let load = &json["attributes"][0];
    assert_eq!((&load["attribute"], load["before"].as_f64()), (&"cores.load".into(), Some(0.0)));
}
