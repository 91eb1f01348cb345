//! Comparing a realm's hosts with the records, as far as it shows without an agent: a host that cannot be asked is
//! unknown, and that is said.

use crate::coordinator::Coordinator;

#[tokio::test]
async fn a_host_that_cannot_be_asked_is_unknown_and_never_off() {
    let coordinator = Coordinator::start().await;
    coordinator.reeve("realm fix-vms primary").await.ended(0);
    coordinator.reeve("realm fix-vms nowhere").await.ended(3).complains(&["there is no realm nowhere"]);
    coordinator.reeve("host add node-1 --realm primary --profile r750").await.ended(0);
    coordinator.reeve("host add node-2 --realm other --profile r750").await.ended(0);
    let answer = coordinator.reeve("realm fix-vms primary --dry-run").await.ended(5);
    answer
        .says(&["node-1", "no: unknown", "what its VMs do is unknown"])
        .complains(&["1 of 1 hosts could not be asked: node-1", "keeps its capacity"]);
    let answer = coordinator.reeve("realm fix-vms primary -o json").await.ended(5);
    let asked = answer.json();
    assert_eq!((asked[0]["host"].as_str(), asked.as_array().map(Vec::len)), (Some("node-1"), Some(1)));
    assert!(asked[0]["unknown"].is_string() && asked[0]["comparison"].is_null(), "{asked}");
}
