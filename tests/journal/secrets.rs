//! Nothing secret is ever said: joins, renewals, refused tokens and fences with passwords, every detail logged, and then
//! every secret that there was is looked for in all that was said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use reeve_agent::identity::{IdentityDirectory, make_key};
use reeve_common::clock::{Clock as _, SystemClock, Timestamp};
use reeve_common::tls::Identity;
use reeve_common::wire::join::Joined;
use reeve_coordinator::pki::Authority;
use reeve_tests::harness::waiting::poll_until;

use super::stage::{PATIENCE, Stage, Words};

const PASSWORD: &str = "correct-horse-battery-staple";
const FILED_PASSWORD: &str = "filed-horse-battery-staple";

/// The body of every PEM file below, line by line: each is long enough to be found by.
fn keys_below(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keys_below(&path, found);
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let private = text
            .split("-----BEGIN ")
            .filter(|part| part.split("-----").next().is_some_and(|kind| kind.ends_with("PRIVATE KEY")));
        for part in private {
            found.extend(
                part.lines().filter(|line| line.len() >= 40 && !line.contains('-')).map(str::to_owned),
            );
        }
    }
}

/// A fence agent that says whatever it is told, password and all, and that the host is off.
fn babbling_fence(path: &Path) {
    let script = "#!/bin/sh\ntold=$(cat)\necho \"I was told: $told\"\necho \"$told\" >&2\ncase \"$told\" in *action=status*) exit 2;; *action=monitor*) exit 0;; esac\nexit 0\n";
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Gives the host a certificate that has an hour left, so that its agent renews it at once.
fn age_certificate(stage: &Stage) {
    let now = SystemClock.now();
    let earlier = Timestamp(now.0 - u64::try_from(Duration::from_secs(23 * 3600).as_millis()).unwrap());
    let directory = IdentityDirectory::within(&stage.file("agent"));
    let held = directory.load().unwrap();
    let authority = Authority::open(&stage.file("coordinator/pki"), now).unwrap();
    let key = make_key().unwrap();
    let identity = Identity::Host { realm: held.realm.clone(), host: held.host };
    let issued = authority.issue_host(&key.signing_request, &identity, earlier).unwrap();
    let joined = Joined {
        certificate: issued.pem,
        authority: authority.certificate_pem().to_owned(),
        agent_address: held.coordinator.clone(),
        realm: held.realm.clone(),
        host: held.host,
        host_name: held.name.clone(),
    };
    directory.store(&joined, key.key.as_ref(), now).unwrap();
}

#[test]
fn no_secret_is_ever_said() {
    let fence = tempfile::tempdir().unwrap();
    let (program, filed) = (fence.path().join("fence_babbling"), fence.path().join("password"));
    babbling_fence(&program);
    fs::write(&filed, format!("{FILED_PASSWORD}\n")).unwrap();
    fs::set_permissions(&filed, fs::Permissions::from_mode(0o600)).unwrap();
    let realm = format!(
        "fence {{ command = \"{}\"\n options {{ password = \"{PASSWORD}\", other {{ file = \"{}\" }} }}\n hosts {{ node-1 {{ options {{ ip = 192.0.2.1 }} }} }} }}",
        program.display(),
        filed.display()
    );
    let mut stage = Stage::new(Words::File, &realm);
    stage.start_coordinator();
    let line = stage.join();
    // Spent, made up, and not a line at all.
    let made_up = "A".repeat(43);
    let (address, secret) = line.rsplit_once(':').unwrap();
    assert!(!stage.join_with(&line) && !stage.join_with(&format!("{address}:{made_up}")));
    assert!(!stage.join_with(&format!("{line}x")));
    age_certificate(&stage);
    let mut secrets = vec![secret.to_owned(), PASSWORD.to_owned(), FILED_PASSWORD.to_owned(), made_up];
    keys_below(stage.path(), &mut secrets);
    stage.start_agent();
    poll_until("the certificate to be renewed", PATIENCE, || {
        Ok(stage.words("reeve-agent").contains("certificate was renewed").then_some(()))
    })
    .unwrap();
    stage.furnish();
    stage.reeve("vm start web");
    let trial = stage.reeve_words("host fence node-1 --dry-run");
    stage.stop("reeve-agent");
    let fenced =
        stage.ask("host fence node-1").map_or_else(|error| error.to_string(), |fence| fence.to_string());
    stage.stop("reeve-coordinator");
    keys_below(stage.path(), &mut secrets);

    assert!(secrets.len() > 8, "the keys were not found: {}", secrets.len());
    let words = [stage.words("reeve-coordinator"), stage.words("reeve-agent"), trial, fenced];
    assert!(words.iter().take(2).all(|words| words.contains("DEBUG")), "not every detail was logged");
    assert!(words[0].contains("is being fenced"), "nothing was fenced: {}", words[0]);
    for secret in &secrets {
        for said in &words {
            let line = said.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "a secret was said: {line:?}");
        }
    }
}
