//! `reeve warning` and `reeve debug bundle`: what is wrong is listed and acknowledged, and what is gathered for whoever
//! helps holds no secret.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use reeve_common::check::Verdict;
use reeve_coordinator::doctor;

use crate::coordinator::Coordinator;

#[tokio::test]
async fn warnings_are_listed_shown_and_acknowledged() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let type_in = async |line: &str| coordinator.reeve(line).await;
    assert_eq!(type_in("warning list --no-header").await.ended(0).out, "");
    type_in("warning show profile-unknown/node-1").await.ended(3);
    type_in("warning ack profile-unknown/node-1").await.ended(3);
    type_in("warning ack nonsense").await.ended(2);
    // The host's profile goes away under it.
    let mut config = (*coordinator.service.config()).clone();
    config.hardware_profiles.clear();
    coordinator.service.reconfigure(config);
    let watching = tokio::spawn(coordinator.service.clone().keep_warnings());
    let found = async {
        while type_in("warning list -q").await.ended(0).out.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), found).await.expect("no warning was raised");
    type_in("warning list").await.ended(0).says(&["profile-unknown/node-1", "warning", "open", "r750"]);
    type_in("warning show profile-unknown/node-1").await.ended(0).says(&["systemctl reload", "Count:"]);
    type_in("status").await.ended(0).says(&["1 warning (`reeve warning list`)"]);
    type_in("host list").await.ended(0).says(&["its hardware profile r750"]);
    type_in("warning ack profile-unknown/node-1").await.ended(0).says(&["acknowledged"]);
    type_in("warning ack profile-unknown/node-1").await.ended(4);
    let listed = type_in("warning list -o json").await.ended(0).json();
    assert_eq!(listed[0]["state"], "acknowledged");
    assert!(listed[0]["acknowledged-by"].is_string() && listed[0]["count"] == 1, "{listed}");
    type_in("audit tail").await.ended(0).says(&["acknowledge-warning", "warning profile-unknown/node-1"]);
    watching.abort();
    let status = type_in("status -o json").await.ended(0).json();
    assert_eq!(status["open-warnings"], serde_json::json!({"failures": 0, "warnings": 0}));
}

#[tokio::test]
async fn a_bundle_has_what_is_asked_for_and_no_secret() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let fence = r#"realms.primary.fence {
      command = /usr/bin/false
      options { username = reeve, password = "hunter2-the-fence-password" }
      hosts { node-1 { options { ip = 10.0.0.1 } } }
    }"#;
    coordinator.reload_with(fence);
    let line = coordinator.reeve("host join-token node-1").await.ended(0).out;
    let secret = line.trim().rsplit(':').next().unwrap().to_owned();
    assert!(secret.len() > 20, "{line}");
    let config = coordinator.service.config();
    let key = std::fs::read_to_string(config.pki_directory().join("ca.key.pem")).unwrap();
    let key_line = key.lines().nth(1).unwrap().to_owned();

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar");
    let typed = format!("debug bundle {}", file.display());
    coordinator.reeve(&typed).await.ended(0);
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    coordinator.reeve(&typed).await.ended(1);
    let bytes = std::fs::read(&file).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for secret in ["hunter2-the-fence-password", &secret, &key_line, "reeve-join:v1"] {
        assert!(!text.contains(secret), "the bundle holds {secret}");
    }
    for part in
        ["versions.txt", "status.json", "configuration.json", "hosts.json", "metrics.txt", "audit.json"]
    {
        assert!(text.contains(&format!("bundle/{part}")), "{part} is missing");
    }
    for known in ["reeve_epoch 1\n", "\"node-1\"", "/usr/bin/false", "create-join-token"] {
        assert!(text.contains(known), "{known} is missing");
    }
    let listed = Command::new("tar").arg("-tf").arg(&file).output().unwrap();
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).lines().count() >= 13);
}

#[tokio::test]
async fn a_bundle_is_made_although_the_coordinator_does_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar");
    let typed = format!("debug bundle {}", file.display());
    crate::typed::reeve(&directory.path().join("no.sock"), &typed).await.ended(0);
    let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
    assert!(text.contains("bundle/versions.txt") && text.contains("status.json: "), "{text}");
}

#[tokio::test]
async fn the_doctor_sees_a_coordinator_that_runs() {
    let coordinator = Coordinator::start().await;
    let config = coordinator.service.config();
    let file = config.state_directory.join("coordinator.conf");
    let clock = reeve_common::clock::SystemClock;
    let facts = tokio::task::spawn_blocking(move || doctor::gather(&file, &clock)).await.unwrap();
    assert!(facts.is_running);
    let checks = doctor::judge(&facts);
    let of = |about: &str| checks.iter().find(|check| check.about == about).unwrap().verdict;
    assert_eq!((of("configuration"), of("authority"), of("files")), (Verdict::Ok, Verdict::Ok, Verdict::Ok));
    // Its store is in memory: on the disk there is none.
    assert_eq!(of("store"), Verdict::Failure);
}
