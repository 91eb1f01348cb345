//! How a machine becomes a host, and how it does not.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use reeve_agent::enrolment::{JoinError, join};
use reeve_agent::identity::{HostIdentity, IdentityDirectory};
use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;
use reeve_common::quic::{client_endpoint, server_endpoint};
use reeve_common::text::chain;
use reeve_common::tls::{
    COORDINATOR_SERVER_NAME, Credentials, JoinLine, JoinSecret, join_client_config, join_server_config,
};
use reeve_common::wire::frame::{FrameReader, write_frame};
use reeve_common::wire::join::{JoinAnswer, JoinRefusal, JoinRequest, decode_answer, encode_request};
use reeve_common::wire::limits::JOIN_FRAME_MAX;
use reeve_coordinator::enrolment::Enrolment;
use reeve_coordinator::pki::{JOIN_TOKEN_LIFETIME, JoinToken, MemoryTokenBook};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{
    Fleet, HOUR, PATIENCE, before, clock, dial, hello, joining_host, listen_to_log, logged, loopback, now,
    says, signing_request, welcome,
};

/// A fleet with its join port open.
struct JoinPort {
    fleet: Fleet,
    book: Arc<MemoryTokenBook>,
    address: String,
}

impl JoinPort {
    fn open() -> Self {
        let fleet = Fleet::new();
        let config =
            join_server_config(&fleet.authority.server_credentials(now()).unwrap(), clock()).unwrap();
        let endpoint = server_endpoint(loopback(), config).unwrap();
        let address = endpoint.local_addr().unwrap().to_string();
        let book = Arc::new(MemoryTokenBook::default());
        let agents = "coordinator.example.net:7443".to_owned();
        let enrolment =
            Arc::new(Enrolment::new(Arc::clone(&fleet.authority), Arc::clone(&book), clock(), agents));
        tokio::spawn(enrolment.serve(endpoint));
        Self { fleet, book, address }
    }

    /// A line for host `number`, as printed at `made`.
    fn line(&self, number: u32, made: Timestamp) -> JoinLine {
        let secret = JoinSecret::generate().unwrap();
        self.book.add(secret.hash(), JoinToken::new(HostId(number), made), joining_host(number));
        JoinLine { address: self.address.clone(), fingerprint: self.fleet.authority.fingerprint(), secret }
    }
}

async fn join_in(directory: &TempDir, line: &JoinLine) -> Result<HostIdentity, JoinError> {
    // Through its text, as an administrator carries it.
    let line = line.to_string().parse().unwrap();
    timeout(PATIENCE, join(&line, &IdentityDirectory::within(directory.path()), false, clock()))
        .await
        .unwrap()
}

async fn refusal(line: &JoinLine) -> String {
    let directory = tempfile::tempdir().unwrap();
    let error = join_in(&directory, line).await.unwrap_err();
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "a join that failed left {left:?}");
    chain(&error)
}

#[tokio::test]
async fn a_machine_becomes_a_host() {
    let port = JoinPort::open();
    let state = tempfile::tempdir().unwrap();
    let identity = join_in(&state, &port.line(7, now())).await.unwrap();
    assert_eq!((identity.host, identity.name.as_str()), (HostId(7), "host-7"));
    assert_eq!(identity.coordinator, "coordinator.example.net:7443");
    assert!(identity.credentials.facts().for_clients && !identity.credentials.facts().for_servers);
    let directory = state.path().join("identity");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in ["key.pem", "certificate.pem", "ca.pem", "host.json"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    // What is on the disk after a restart opens the coordinator's door.
    let again = IdentityDirectory::within(state.path()).load().unwrap();
    let mut agents = port.fleet.agent_port();
    let address = agents.address;
    let said = hello(&again.identity());
    let dialling = tokio::spawn(async move { dial(address, &again.credentials, said).await });
    let pending = agents.next().await.unwrap();
    assert_eq!(pending.identity, identity.identity());
    let _coordinator = pending.welcome(welcome(), now()).await.unwrap();
    dialling.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_line_works_once() {
    listen_to_log();
    let port = JoinPort::open();
    let line = port.line(1, now());
    join_in(&tempfile::tempdir().unwrap(), &line).await.unwrap();
    says(&refusal(&line).await, &["was used already", "`reeve host join-token NAME`", "not you who used it"]);
    logged(&["a join from", "was refused", "was used already", "somebody else did"]).await;
}

#[tokio::test]
async fn a_line_does_not_work_for_long() {
    let port = JoinPort::open();
    listen_to_log();
    let line = port.line(1, before(JOIN_TOKEN_LIFETIME));
    says(&refusal(&line).await, &["expired at", "`reeve host join-token NAME`"]);
    logged(&["a join from", "was refused", "expired at"]).await;
}

#[tokio::test]
async fn a_line_that_nobody_printed_does_not_work() {
    let port = JoinPort::open();
    let mut line = port.line(1, now());
    line.secret = JoinSecret::generate().unwrap();
    listen_to_log();
    says(&refusal(&line).await, &["does not know this join line"]);
    logged(&["a join from", "was refused", "no join line has this secret"]).await;
}

#[tokio::test]
async fn of_a_hundred_at_once_exactly_one_wins() {
    let port = JoinPort::open();
    let line = port.line(1, now());
    let attempts: Vec<_> = (0..100)
        .map(|_| {
            let line = line.clone();
            tokio::spawn(async move {
                let directory = tempfile::tempdir().unwrap();
                // The gate may turn some away under load; they come again, as a person would.
                loop {
                    match join_in(&directory, &line).await {
                        Ok(_) => return true,
                        Err(JoinError::Refused(JoinRefusal::UsedToken { .. })) => return false,
                        Err(error) => println!("again after: {}", chain(&error)),
                    }
                }
            })
        })
        .collect();
    let mut winners = 0;
    for attempt in attempts {
        winners += u32::from(attempt.await.unwrap());
    }
    assert_eq!(winners, 1);
}

/// A server that takes whatever it is sent, under these credentials. Gives back all bytes of all streams.
async fn rogue(credentials: &Credentials) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let endpoint = server_endpoint(loopback(), join_server_config(credentials, clock()).unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let capturing = tokio::spawn(async move {
        let mut captured = Vec::new();
        let Ok(connection) = endpoint.accept().await.unwrap().await else { return captured };
        while let Ok((_, mut receiver)) = connection.accept_bi().await {
            while let Ok(Some(chunk)) = receiver.read_chunk(1 << 16, true).await {
                captured.extend_from_slice(&chunk.bytes);
            }
        }
        captured
    });
    (address, capturing)
}

#[tokio::test]
async fn a_rogue_server_captures_no_token_byte() {
    let (port, rogue_fleet) = (JoinPort::open(), Fleet::new());
    let genuine = port.fleet.authority.certificate_pem();
    // One with an authority of its own; one that shows the genuine authority beside its own leaf; a host of the fleet.
    let own = rogue_fleet.authority.server_credentials(now()).unwrap();
    let (key, _) = signing_request(CertificateParams::default());
    let mut pretended = CertificateParams::default();
    pretended.subject_alt_names = vec![
        SanType::URI("reeve://coordinator".try_into().unwrap()),
        SanType::DnsName(COORDINATOR_SERVER_NAME.try_into().unwrap()),
    ];
    pretended.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = pretended.self_signed(&key).unwrap().pem();
    let borrowed = Credentials::from_pem(&leaf, &key.serialize_pem(), genuine).unwrap();
    let host = port.fleet.host_credentials(&crate::support::host(3), now());
    for (credentials, words) in [
        (own, "is not the coordinator that the join line was printed by"),
        (borrowed, "certificate from another authority"),
        (host, "showed a host's certificate"),
    ] {
        let (address, captured) = rogue(&credentials).await;
        let mut line = port.line(1, now());
        line.address = address;
        says(&refusal(&line).await, &[words]);
        assert_eq!(timeout(PATIENCE, captured).await.unwrap().unwrap(), Vec::<u8>::new());
        // The line is as good as before.
        line.address.clone_from(&port.address);
        join_in(&tempfile::tempdir().unwrap(), &line).await.unwrap();
    }
    // To be sure that the trap works: one with the genuine authority does capture the secret.
    let (address, captured) = rogue(&port.fleet.authority.server_credentials(now()).unwrap()).await;
    let mut line = port.line(1, now());
    line.address = address;
    let secret = *line.secret.reveal();
    let directory = tempfile::tempdir().unwrap();
    let path = IdentityDirectory::within(directory.path());
    let joining = tokio::spawn(async move { join(&line, &path, false, clock()).await });
    let captured = timeout(PATIENCE, captured).await.unwrap().unwrap();
    assert!(captured.windows(secret.len()).any(|window| window == secret));
    joining.abort();
}

#[tokio::test]
async fn a_wrong_fingerprint_is_said_on_both_sides_and_costs_nothing() {
    let port = JoinPort::open();
    let mut line = port.line(1, now());
    let right = line.fingerprint;
    line.fingerprint = reeve_common::tls::CaFingerprint::of_public_key(b"another key");
    says(
        &refusal(&line).await,
        &["not the coordinator that the join line was printed by", "no secret was sent"],
    );
    line.fingerprint = right;
    join_in(&tempfile::tempdir().unwrap(), &line).await.unwrap();
}

/// Asks to join as `reeve-agent join` never would.
async fn ask(port: &JoinPort, request: JoinRequest) -> JoinAnswer {
    let configuration = join_client_config(port.fleet.authority.fingerprint(), clock()).unwrap();
    let endpoint = client_endpoint(loopback()).unwrap();
    let address = port.address.parse().unwrap();
    let connection =
        endpoint.connect_with(configuration, address, COORDINATOR_SERVER_NAME).unwrap().await.unwrap();
    let (mut sender, receiver) = connection.open_bi().await.unwrap();
    write_frame(&mut sender, &encode_request(request).unwrap(), JOIN_FRAME_MAX).await.unwrap();
    decode_answer(&FrameReader::new(receiver, JOIN_FRAME_MAX).next().await.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn a_signing_request_gets_no_other_name_than_the_tokens() {
    let port = JoinPort::open();
    let with_names = |names: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        signing_request(params).1
    };
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    for names in [
        vec![uri("reeve://lab/host/2")],
        vec![uri("reeve://lab/host/1"), uri("reeve://lab/host/2")],
        vec![uri("reeve://coordinator")],
        vec![SanType::DnsName(COORDINATOR_SERVER_NAME.try_into().unwrap())],
    ] {
        let line = port.line(1, now());
        let request = JoinRequest { secret: line.secret, signing_request: with_names(names.clone()) };
        let answer = ask(&port, request).await;
        let Err(JoinRefusal::SigningRequest(why)) = answer else { panic!("{names:?} got {answer:?}") };
        says(&why, &["asks for the name", "reeve://lab/host/1"]);
    }
    // Its own name it may say, though nobody asked.
    let line = port.line(1, now());
    let request =
        JoinRequest { secret: line.secret, signing_request: with_names(vec![uri("reeve://lab/host/1")]) };
    ask(&port, request).await.unwrap();
}

#[tokio::test]
async fn a_bad_signing_request_does_not_spend_the_line() {
    let port = JoinPort::open();
    let line = port.line(1, now());
    let mut as_server = CertificateParams::default();
    as_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut as_authority = CertificateParams::default();
    as_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let good = signing_request(CertificateParams::default()).1;
    for bad in [
        String::new(),
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned(),
        good.replacen("MI", "MJ", 1),
        signing_request(as_server).1,
        signing_request(as_authority).1,
        port.fleet.authority.certificate_pem().to_owned(),
    ] {
        let request = JoinRequest { secret: line.secret.clone(), signing_request: bad.clone() };
        let answer = ask(&port, request).await;
        assert!(matches!(answer, Err(JoinRefusal::SigningRequest(_))), "{bad}: {answer:?}");
    }
    join_in(&tempfile::tempdir().unwrap(), &line).await.unwrap();
}

#[tokio::test]
async fn garbage_and_silence_on_the_join_port_harm_nobody() {
    let port = JoinPort::open();
    let configuration = join_client_config(port.fleet.authority.fingerprint(), clock()).unwrap();
    let endpoint = client_endpoint(loopback()).unwrap();
    let address = port.address.parse().unwrap();
    let mut kept = Vec::new();
    for bytes in [vec![0xff; 4], vec![0; 4], vec![0, 0, 0, 9, 1], vec![0, 0, 0, 2, 0xff, 0xff]] {
        let connecting =
            endpoint.connect_with(configuration.clone(), address, COORDINATOR_SERVER_NAME).unwrap();
        let connection = connecting.await.unwrap();
        let (mut sender, receiver) = connection.open_bi().await.unwrap();
        sender.write_all(&bytes).await.unwrap();
        kept.push((connection, sender, receiver));
    }
    join_in(&tempfile::tempdir().unwrap(), &port.line(1, now())).await.unwrap();
    // None of them is kept for longer than the join port's patience.
    for (connection, ..) in kept {
        timeout(PATIENCE, connection.closed()).await.expect("a useless connection is kept");
    }
}

#[tokio::test]
async fn a_host_is_not_made_another_by_mistake() {
    let port = JoinPort::open();
    let state = tempfile::tempdir().unwrap();
    join_in(&state, &port.line(1, now())).await.unwrap();
    let line = port.line(2, now());
    let error = join_in(&state, &line).await.unwrap_err();
    says(&chain(&error), &["host host-1 already", "--replace"]);
    let directory = IdentityDirectory::within(state.path());
    assert_eq!(directory.load().unwrap().host, HostId(1));
    // The line was not spent on the refusal.
    assert_eq!(join(&line, &directory, true, clock()).await.unwrap().host, HostId(2));
    assert_eq!(directory.load().unwrap().host, HostId(2));
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_or_has_no_address() {
    let port = JoinPort::open();
    let mut line = port.line(1, now());
    line.address = "no-such-host.invalid:7444".to_owned();
    says(&refusal(&line).await, &["no-such-host.invalid:7444 cannot be resolved"]);
    let nobody = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    line.address = nobody.local_addr().unwrap().to_string();
    says(&refusal(&line).await, &["no answer from the coordinator", "the join line is unused"]);
}

#[tokio::test]
async fn a_host_whose_certificate_ran_out_joins_again_without_being_forced() {
    let port = JoinPort::open();
    let state = tempfile::tempdir().unwrap();
    let directory = IdentityDirectory::within(state.path());
    let expired = crate::renewal::joined(&port.fleet, 1, before(30 * HOUR));
    directory.store(&expired.0, &expired.1, before(29 * HOUR)).unwrap();
    assert_eq!(join_in(&state, &port.line(1, now())).await.unwrap().host, HostId(1));
}
