//! What a realm as a whole tells the scheduler, changed while the coordinator runs: quotas by a reload, the catalogue by
//! creating and deleting setups.

use crate::coordinator::Coordinator;

#[tokio::test]
async fn a_reload_brings_quotas_into_force_and_takes_them_away() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let ten = "setup simulate small --count 10 --with-host r750 --owner ann --team blue";
    coordinator.reeve(ten).await.ended(0);
    let free = coordinator.reeve("realm show primary").await.ended(0);
    assert!(!free.out.contains("Quotas"), "{}", free.out);

    let quotas = "quotas { owners { default { vms = 3, memory = 64 GiB }, bob { } }, teams { physics { cores = 8 } } }";
    coordinator.reload(quotas);
    coordinator
        .reeve(ten)
        .await
        .ended(6)
        .says(&["3 of 10 fit", "quota of owner ann: VMs: 1 asked, 3 used of 3 allowed"]);
    coordinator.reeve(&ten.replace("ann", "bob")).await.ended(0);
    coordinator.reeve("realm show primary").await.ended(0).says(&[
        "Quotas:",
        "each other owner",
        "64 GiB",
        "team physics",
        "0 of 8",
    ]);
    let json = coordinator.reeve("realm show primary -o json").await.ended(0).json();
    assert_eq!(json["quotas"]["any-owner"], serde_json::json!({"vms": 3, "memory-mib": 65_536}));
    assert_eq!(json["quotas"]["teams"][0]["used"]["millicores"], 0);
    assert_eq!(json["quotas"]["owners"], serde_json::json!([]), "bob is held to nothing");

    coordinator.reload("");
    coordinator.reeve(ten).await.ended(0);
}

#[tokio::test]
async fn a_setup_that_comes_or_goes_changes_what_counts_as_stranded() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let stranded = async || {
        let line = "cost explain unfragmented --host node-1 --setup small -o json";
        let json = coordinator.reeve(line).await.ended(0).json();
        let attributes = json["attributes"].as_array().unwrap();
        let of_stranded = attributes
            .iter()
            .filter(|value| value["attribute"].as_str().unwrap().starts_with("stranded"))
            .map(|value| value.to_string());
        let told: Vec<String> = of_stranded.collect();
        assert!(!told.is_empty(), "{json}");
        told
    };
    let before = stranded().await;
    let wide = "name = wide, realm = primary, image = debian, cores = 60, memory = 100 GiB, devices { nvidia-a100 = 3 }";
    coordinator.reeve_with_input("setup create -f -", wide).await.ended(0);
    let with_wide = stranded().await;
    assert_ne!(before, with_wide, "a large setup strands what only small ones could use");
    coordinator.reeve("setup delete wide").await.ended(0);
    assert_eq!(stranded().await, before);
}
