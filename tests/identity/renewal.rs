//! How a host's certificate is renewed, and what is on the disk whenever the machine dies.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::CertificateParams;
use reeve_agent::identity::{IdentityDirectory, IdentityError, make_key};
use reeve_common::clock::{Clock, Timestamp};
use reeve_common::ids::{Epoch, OperationId};
use reeve_common::lasting_keys::LastingKeys;
use reeve_common::protocol::{AgentRequest, Command, CommandBody, Event, Reply, ReplyBody};
use reeve_common::quic::client_endpoint;
use reeve_common::text::chain;
use reeve_common::tls::Identity;
use reeve_common::tls::{CertificateFacts, Credentials, agent_client_config};
use reeve_common::wire::agent_end::AgentEnd;
use reeve_common::wire::join::Joined;
use reeve_coordinator::pki::{
    Authority, AuthorityError, HOST_CERTIFICATE_LIFETIME, IssueError, ServedPort, ServerCertificate,
};

use crate::support::{
    AgentPort, Fleet, HOUR, HandSetClock, PATIENCE, before, connected, dial, hello, host, joining_host,
    loopback, now, says, signing_request, welcome,
};

/// What a host was given that joined at `issued`, and its key.
pub(crate) fn joined(fleet: &Fleet, number: u32, issued: Timestamp) -> (Joined, String) {
    let new = make_key().unwrap();
    let certificate = fleet.authority.issue_host(&new.signing_request, &host(number), issued).unwrap();
    let joining = joining_host(number);
    let joined = Joined {
        certificate: certificate.pem,
        authority: fleet.authority.certificate_pem().to_owned(),
        agent_address: "coordinator.example.net:7443".to_owned(),
        realm: joining.realm,
        host: joining.host,
        host_name: joining.name,
    };
    (joined, new.key.to_string())
}

fn host_directory(fleet: &Fleet) -> IdentityDirectory {
    let state = fleet.path().join("state");
    fs::create_dir(&state).unwrap();
    let directory = IdentityDirectory::within(&state);
    let (joined, key) = joined(fleet, 1, now());
    directory.store(&joined, &key, now()).unwrap();
    directory
}

#[test]
fn certificates_live_for_a_day_and_are_renewed_after_two_thirds() {
    let fleet = Fleet::new();
    let issued = Timestamp(1_800_000_000_500);
    let facts = fleet.host_credentials(&host(1), issued).facts().clone();
    assert_eq!(facts.not_after.since(facts.not_before), HOST_CERTIFICATE_LIFETIME);
    assert_eq!(HOST_CERTIFICATE_LIFETIME, 24 * HOUR);
    assert!(facts.not_before < issued, "a host whose clock is behind could not use it");
    assert!(!facts.needs_renewal(issued));
    assert!(!facts.needs_renewal(facts.not_before.after(16 * HOUR - Duration::from_secs(1))));
    assert!(facts.needs_renewal(facts.not_before.after(16 * HOUR)));
    assert!(facts.needs_renewal(facts.not_after.after(HOUR)));
    let server = fleet.authority.server_credentials(issued).unwrap();
    assert!(server.facts().not_after.since(server.facts().not_before) <= 24 * HOUR);
    assert!(server.facts().for_servers && !server.facts().for_clients);
}

#[test]
fn every_certificate_has_a_number_of_its_own_and_says_it() {
    let fleet = Fleet::new();
    let request = signing_request(CertificateParams::default()).1;
    let mut numbers = std::collections::HashSet::new();
    for _ in 0..20 {
        let issued = fleet.authority.issue_host(&request, &host(1), now()).unwrap();
        let facts = CertificateFacts::read_pem(&issued.pem).unwrap();
        assert_eq!((&facts.serial, facts.not_after), (&issued.serial, issued.not_after));
        assert_eq!(facts.identity, issued.identity);
        assert!(numbers.insert(issued.serial.to_string()));
    }
    let refused = fleet.authority.issue_host(&request, &Identity::Coordinator, now());
    assert!(matches!(refused, Err(IssueError::NotAHost(_))));
}

#[test]
fn the_authority_is_made_once_and_opened_with_care() {
    let fleet = Fleet::new();
    let directory = fleet.path().join("pki");
    let error = Authority::create(&directory, now()).unwrap_err();
    says(&chain(&error), &["an authority is made once"]);
    assert_eq!(Authority::open(&directory, now()).unwrap().fingerprint(), fleet.authority.fingerprint());
    let error = Authority::open(&fleet.path().join("none"), now()).unwrap_err();
    says(&chain(&error), &["`reeve-coordinator init`"]);
    let error = Authority::open(&directory, now().after(11 * 365 * 24 * HOUR)).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired { .. }), "{error}");
    // A key that others could read is a key that others have.
    set_mode(&directory.join("ca.key.pem"), 0o644);
    says(&chain(&Authority::open(&directory, now()).unwrap_err()), &["ca.key.pem", "chmod 0600"]);
    set_mode(&directory.join("ca.key.pem"), 0o600);
    let other = Fleet::new();
    fs::copy(other.path().join("pki/ca.pem"), directory.join("ca.pem")).unwrap();
    let error = Authority::open(&directory, now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Mismatch { .. }), "{error}");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_over_the_link() {
    let fleet = Fleet::new();
    let directory = host_directory(&fleet);
    let old = directory.load().unwrap();
    let mut port = fleet.agent_port();
    let (mut agent, mut coordinator) = connected(&fleet, &mut port, 1).await;
    let signing_request = directory.begin_renewal().unwrap();
    agent.send_event(Event::Request(AgentRequest::RenewCertificate { signing_request })).await.unwrap();
    let event = coordinator.take_events().unwrap().recv().await.unwrap();
    let Event::Request(AgentRequest::RenewCertificate { signing_request }) = *event else {
        panic!("{event:?}")
    };
    let certificate = fleet.authority.issue_host(&signing_request, &host(1), now()).unwrap().pem;
    let body = CommandBody::InstallCertificate { certificate };
    let command = Command { epoch: Epoch(3), operation: OperationId::random(), body };
    let asking = tokio::spawn(async move { coordinator.request(command, PATIENCE).await });
    let command = agent.next_command().await.unwrap();
    let CommandBody::InstallCertificate { certificate } = command.body else { panic!("{command:?}") };
    let renewed = directory.install_renewed(&certificate, now()).unwrap();
    agent.reply(Reply { operation: command.operation, outcome: Ok(ReplyBody::Accepted) }).await.unwrap();
    asking.await.unwrap().unwrap();
    assert_ne!(renewed.credentials.facts().key, old.credentials.facts().key, "a new certificate, a new key");
    let address = port.address;
    let dialling = tokio::spawn(async move { dial(address, &renewed.credentials, hello(&host(1))).await });
    let _coordinator = port.next().await.unwrap().welcome(welcome(), now()).await.unwrap();
    dialling.await.unwrap().unwrap();
}

/// Dials with certificates of any age, on a clock of the test's.
async fn reaches(
    port: &mut AgentPort,
    credentials: &Credentials,
    clock: &Arc<HandSetClock>,
) -> Result<(), String> {
    let configuration = agent_client_config(credentials, Arc::clone(clock) as Arc<dyn Clock>).unwrap();
    let endpoint = client_endpoint(loopback()).unwrap();
    let dialling = AgentEnd::connect_with(&endpoint, port.address, configuration, hello(&host(1)));
    let answering = async {
        let Ok(pending) = port.next().await else { return None };
        pending.welcome(welcome(), clock.now()).await.ok()
    };
    let (dialled, _coordinator) = tokio::join!(dialling, answering);
    dialled.map(|_| ()).map_err(|error| chain(&error))
}

#[tokio::test]
async fn a_fleet_whose_certificates_are_renewed_lives_on_and_one_whose_are_not_is_shut_out() {
    let fleet = Fleet::new();
    let clock = HandSetClock::at(now());
    let shared = Arc::clone(&clock) as Arc<dyn Clock>;
    let first = fleet.authority.server_credentials(clock.now()).unwrap();
    let mut port = AgentPort::open_at(&first, Arc::clone(&shared));
    let ports = vec![ServedPort::Agents(port.endpoint.clone(), LastingKeys::of(b"secret"))];
    let mut server = ServerCertificate::new(Arc::clone(&fleet.authority), ports, first, shared);
    let mut credentials = fleet.host_credentials(&host(1), clock.now());
    let never_renewed = credentials.clone();
    // A week, looked at every hour.
    for hour in 0..7 * 24 {
        server.renew_when_due().unwrap();
        if credentials.facts().needs_renewal(clock.now()) {
            credentials = fleet.host_credentials(&host(1), clock.now());
        }
        if hour % 8 == 0 {
            reaches(&mut port, &credentials, &clock).await.unwrap();
        }
        clock.advance(HOUR);
    }
    // Failing closed: without renewal there is no way in.
    says(&reaches(&mut port, &never_renewed, &clock).await.unwrap_err(), &["has expired"]);
    clock.advance(25 * HOUR);
    let fresh = fleet.host_credentials(&host(1), clock.now());
    says(
        &reaches(&mut port, &fresh, &clock).await.unwrap_err(),
        &["the coordinator's certificate has expired"],
    );
}

#[test]
fn asking_twice_is_asking_for_the_same_key_and_installing_twice_is_harmless() {
    let fleet = Fleet::new();
    let directory = host_directory(&fleet);
    let first = directory.begin_renewal().unwrap();
    let second = directory.begin_renewal().unwrap();
    let issue = |request: &str| fleet.authority.issue_host(request, &host(1), now()).unwrap().pem;
    // Both answers are good for whichever comes first; the other comes too late.
    let (one, other) = (issue(&first), issue(&second));
    let installed = directory.install_renewed(&other, now()).unwrap();
    let again = directory.install_renewed(&other, now()).unwrap();
    assert_eq!(installed.credentials.facts(), again.credentials.facts());
    assert!(matches!(directory.install_renewed(&one, now()), Err(IdentityError::Unasked)));
    assert_eq!(directory.load().unwrap().credentials.facts(), installed.credentials.facts());
}

#[test]
fn a_certificate_that_was_not_asked_for_changes_nothing() {
    let (fleet, foreign) = (Fleet::new(), Fleet::new());
    let directory = host_directory(&fleet);
    let before_renewal = directory.load().unwrap();
    let unasked =
        fleet.authority.issue_host(&signing_request(CertificateParams::default()).1, &host(1), now());
    let unasked = unasked.unwrap().pem;
    assert!(matches!(directory.install_renewed(&unasked, now()), Err(IdentityError::Unasked)));
    let request = directory.begin_renewal().unwrap();
    let issue = |fleet: &Fleet, number: u32, at: Timestamp| {
        fleet.authority.issue_host(&request, &host(number), at).unwrap().pem
    };
    for (what, certificate, words) in [
        ("garbage", "certificate".to_owned(), "cannot be read"),
        ("another key's", unasked, "not for a key that was sent"),
        ("another host's", issue(&fleet, 2, now()), "reeve://lab/host/2"),
        ("a foreign authority's", issue(&foreign, 1, now()), "another authority"),
        ("an expired one", issue(&fleet, 1, before(25 * HOUR)), "has expired"),
        ("one for later", issue(&fleet, 1, now().after(HOUR)), "not valid yet"),
    ] {
        let error = directory.install_renewed(&certificate, now()).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(words) && text.contains("stays in use"), "{what}: {text}");
        assert_eq!(
            directory.load().unwrap().credentials.facts(),
            before_renewal.credentials.facts(),
            "{what}"
        );
    }
    // And the right one still works.
    directory.install_renewed(&issue(&fleet, 1, now()), now()).unwrap();
}

/// Copies a directory tree, as a machine's disk at one moment.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    set_mode(to, 0o700);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn whenever_the_machine_dies_there_is_one_whole_identity() {
    let fleet = Fleet::new();
    let directory = host_directory(&fleet);
    let old_set = fleet.path().join("old-set");
    let request = directory.begin_renewal().unwrap();
    copy(directory.path(), &old_set);
    let old = directory.load().unwrap();
    let certificate = fleet.authority.issue_host(&request, &host(1), now()).unwrap().pem;
    let new = directory.install_renewed(&certificate, now()).unwrap();
    let new_set = fleet.path().join("new-set");
    copy(directory.path(), &new_set);
    let half_set = fleet.path().join("half-set");
    fs::create_dir(&half_set).unwrap();
    fs::copy(new_set.join("key.pem"), half_set.join("key.pem")).unwrap();
    // What may stand at identity, identity.new and identity.old, and whose certificate must be in use after it.
    for (number, (present, beside, moved_away, expected)) in [
        (Some(&old_set), None, None, &old),
        (Some(&old_set), Some(&half_set), None, &old),
        (Some(&old_set), Some(&new_set), None, &old),
        (None, Some(&new_set), Some(&old_set), &new),
        (Some(&new_set), None, Some(&old_set), &new),
        (Some(&new_set), None, None, &new),
        // Cannot come about by dying, only by an administrator's hand: the old one is better than none.
        (None, None, Some(&old_set), &old),
    ]
    .into_iter()
    .enumerate()
    {
        let state = fleet.path().join(format!("state-{number}"));
        fs::create_dir(&state).unwrap();
        for (set, name) in [(present, "identity"), (beside, "identity.new"), (moved_away, "identity.old")] {
            if let Some(set) = set {
                copy(set, &state.join(name));
            }
        }
        let found = IdentityDirectory::within(&state).load().unwrap();
        assert_eq!(found.credentials.facts(), expected.credentials.facts(), "case {number}");
        let left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["identity"], "case {number}");
    }
}

#[test]
fn an_identity_that_is_damaged_says_how_and_what_to_do() {
    let fleet = Fleet::new();
    let directory = host_directory(&fleet);
    let path = directory.path().to_owned();
    let whole = fleet.path().join("whole");
    copy(&path, &whole);
    let other = joined(&fleet, 1, now());
    let damage = |name: &str, contents: &str, mode: u32| {
        fs::remove_dir_all(&path).unwrap();
        copy(&whole, &path);
        fs::write(path.join(name), contents).unwrap();
        set_mode(&path.join(name), mode);
        chain(&directory.load().unwrap_err())
    };
    says(&damage("key.pem", &other.1, 0o600), &["do not belong together", "`reeve-agent join`"]);
    says(&damage("key.pem", &other.1, 0o640), &["key.pem", "chmod 0600"]);
    says(&damage("key.pem", "", 0o600), &["private key", "`reeve-agent join`"]);
    says(&damage("certificate.pem", "x", 0o600), &["certificate", "`reeve-agent join`"]);
    says(&damage("ca.pem", "x", 0o600), &["authority", "`reeve-agent join`"]);
    says(&damage("host.json", "{", 0o600), &["host.json is not readable"]);
    let elsewhere = r#"{"realm":"lab","host":2,"name":"host-2","coordinator":"a:1"}"#;
    says(&damage("host.json", elsewhere, 0o600), &["reeve://lab/host/2", "reeve://lab/host/1"]);
    fs::remove_dir_all(&path).unwrap();
    copy(&whole, &path);
    set_mode(&path, 0o755);
    says(&chain(&directory.load().unwrap_err()), &["chmod 0700"]);
    fs::remove_dir_all(&path).unwrap();
    says(&chain(&directory.load().unwrap_err()), &["has not joined", "`reeve host join-token NAME`"]);
}

#[test]
fn secrets_are_not_formatted() {
    let fleet = Fleet::new();
    let directory = host_directory(&fleet);
    let key = fs::read_to_string(directory.path().join("key.pem")).unwrap();
    let secret_line = key.lines().nth(1).unwrap().to_owned();
    let shown = format!("{:?} {:?}", directory.load().unwrap(), fleet.authority);
    assert!(!shown.contains(&secret_line));
    let credentials: Credentials = directory.load().unwrap().credentials;
    assert!(!format!("{credentials:?}").contains("PRIVATE"));
}
