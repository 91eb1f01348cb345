//! Certificates that must not pass, and what each side says about it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use reeve_common::ids::HostId;
use reeve_common::quic::client_endpoint;
use reeve_common::tls::{AGENT_ALPN, COORDINATOR_SERVER_NAME, Credentials, Identity, agent_client_config};
use reeve_common::wire::RefusalCode;
use reeve_common::wire::agent_end::AgentEnd;
use reeve_common::wire::coordinator_end::accept;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::restart::open;
use crate::support::{
    AgentPort, Fleet, HOUR, before, clock, dial, dial_refused, hello, host, loopback, now, realm, refused,
    says,
};

/// A client that trusts our authority and shows no certificate, as no agent would.
fn anonymous_client(fleet: &Fleet) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(fleet.authority.certificate_pem().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![AGENT_ALPN.to_vec()];
    quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()))
}

#[tokio::test]
async fn no_certificate() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let endpoint = client_endpoint(loopback()).unwrap();
    let result =
        AgentEnd::connect_with(&endpoint, port.address, anonymous_client(&fleet), hello(&host(1))).await;
    assert!(!result.as_ref().unwrap_err().is_retryable());
    says(&refused(result), &["wants a host certificate", "`reeve-agent join`"]);
    says(&port.refusal().await, &["showed no certificate", "only joined hosts"]);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority() {
    let (fleet, foreign) = (Fleet::new(), Fleet::new());
    let mut port = fleet.agent_port();
    let ours = fleet.authority.certificate_pem();
    let credentials = foreign.host_credentials_trusting(&host(1), now(), ours);
    let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
    says(&agent, &["does not know the authority", "join it again"]);
    says(&port.refusal().await, &["from another authority", "join it again"]);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_that_bears_our_authoritys_name() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let key = KeyPair::generate().unwrap();
    let real = Issuer::from_ca_cert_pem(fleet.authority.certificate_pem(), &key).unwrap();
    // The issuer has the real one's name and the impostor's key.
    let (leaf, certificate) = {
        let leaf = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(host(1).to_string().try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&leaf, &real).unwrap();
        (leaf, certificate)
    };
    let credentials =
        Credentials::from_pem(&certificate.pem(), &leaf.serialize_pem(), fleet.authority.certificate_pem())
            .unwrap();
    let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
    says(&agent, &["does not know the authority"]);
    says(&port.refusal().await, &["from another authority"]);
}

#[tokio::test]
async fn a_coordinator_of_a_foreign_authority() {
    let (fleet, foreign) = (Fleet::new(), Fleet::new());
    let mut port = foreign.agent_port();
    let credentials = fleet.host_credentials(&host(1), now());
    let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
    says(&agent, &["certificate from another authority", "check the address"]);
    says(&port.refusal().await, &["does not trust this coordinator's authority", "`reeve host join-token`"]);
}

#[tokio::test]
async fn an_expired_certificate() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), before(25 * HOUR));
    let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
    says(&agent, &["this host's certificate has expired", "clocks", "`reeve host join-token`"]);
    says(&port.refusal().await, &["certificate has expired", "clocks", "`reeve host join-token`"]);
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), now().after(HOUR));
    let result = dial(port.address, &credentials, hello(&host(1))).await;
    // Clocks are set right without anybody touching the agent.
    assert!(result.as_ref().unwrap_err().is_retryable());
    says(&refused(result), &["not valid yet", "clocks"]);
    says(&port.refusal().await, &["not valid yet", "clocks"]);
}

#[tokio::test]
async fn a_coordinator_whose_certificate_has_expired_or_is_not_valid_yet() {
    let fleet = Fleet::new();
    let credentials = fleet.host_credentials(&host(1), now());
    for (issued, word) in [(before(25 * HOUR), "has expired"), (now().after(HOUR), "not valid yet")] {
        let mut port = AgentPort::open(&fleet.authority.server_credentials(issued).unwrap());
        let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
        says(&agent, &["the coordinator's certificate", word, "clocks"]);
        says(&port.refusal().await, &["coordinator's certificate is not valid now", "clocks"]);
    }
}

#[tokio::test]
async fn the_coordinators_certificate_used_by_a_client() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.authority.server_credentials(now()).unwrap();
    let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
    says(&agent, &["accepts host certificates only"]);
    says(&port.refusal().await, &["is not a host's", "must never leave it"]);
}

#[tokio::test]
async fn a_hosts_certificate_used_by_a_server() {
    let fleet = Fleet::new();
    let mut port = AgentPort::open(&fleet.host_credentials(&host(2), now()));
    let credentials = fleet.host_credentials(&host(1), now());
    let agent = dial_refused(port.address, &credentials, hello(&host(1))).await;
    says(&agent, &["a host's certificate", "poses as the coordinator"]);
    says(&port.refusal().await, &["did not accept the coordinator's certificate"]);
}

/// Certificates that our own authority would never issue, if somebody got it to.
#[tokio::test]
async fn certificates_of_our_authority_that_name_nobody_or_may_do_too_much() {
    let fleet = Fleet::new();
    let key =
        KeyPair::from_pem(&std::fs::read_to_string(fleet.path().join("pki/ca.key.pem")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(fleet.authority.certificate_pem(), &key).unwrap();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let both = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (names, purposes) in
        [(vec![uri("reeve://lab/host/1")], both), (vec![uri("reeve://coordinator")], client)]
    {
        let mut port = fleet.agent_port();
        let leaf = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = purposes;
        let certificate = params.signed_by(&leaf, &issuer).unwrap().pem();
        let authority = fleet.authority.certificate_pem();
        let credentials = Credentials::from_pem(&certificate, &leaf.serialize_pem(), authority).unwrap();
        dial_refused(port.address, &credentials, hello(&host(1))).await;
        says(&port.refusal().await, &["is not a host's"]);
    }
}

/// A host that acts as an authority for another: its certificate may not sign.
#[tokio::test]
async fn a_certificate_signed_by_a_host() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let signer = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&signer).unwrap().pem().unwrap();
    let middle = fleet.authority.issue_host(&request, &host(1), now()).unwrap().pem;
    let leaf = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::default();
    wanted.subject_alt_names = vec![SanType::URI(host(2).to_string().try_into().unwrap())];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = wanted.signed_by(&leaf, &Issuer::from_ca_cert_pem(&middle, &signer).unwrap()).unwrap();
    // The chain sent is the leaf and the host that signed it.
    let credentials = Credentials::from_pem(&certificate.pem(), &leaf.serialize_pem(), &middle);
    let configuration = agent_client_config(&credentials.unwrap(), clock()).unwrap();
    let endpoint = client_endpoint(loopback()).unwrap();
    let _ = AgentEnd::connect_with(&endpoint, port.address, configuration, hello(&host(2))).await;
    port.refusal().await;
}

#[tokio::test]
async fn another_authority_cannot_be_made_to_pass_by_its_constraints() {
    // An authority that anybody could make, with every permission: only the key counts.
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "anybody");
    let issuer = Issuer::new(params, key);
    let leaf = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::default();
    wanted.subject_alt_names = vec![SanType::URI(host(1).to_string().try_into().unwrap())];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = wanted.signed_by(&leaf, &issuer).unwrap().pem();
    let authority = fleet.authority.certificate_pem();
    let credentials = Credentials::from_pem(&certificate, &leaf.serialize_pem(), authority).unwrap();
    says(&dial_refused(port.address, &credentials, hello(&host(1))).await, &["does not know the authority"]);
    says(&port.refusal().await, &["from another authority"]);
}

#[tokio::test]
async fn a_hello_for_another_host() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), now());
    let agent = dial_refused(port.address, &credentials, hello(&host(2))).await;
    says(
        &agent,
        &["another host than its certificate names", "certificate is host 1's", "hello says host 2"],
    );
    says(&port.refusal().await, &["certificate is host 1's", "hello says host 2", "join it again"]);
}

#[tokio::test]
async fn a_hello_for_another_realm() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), now());
    let elsewhere = Identity::Host { realm: realm("production"), host: HostId(1) };
    let agent = dial_refused(port.address, &credentials, hello(&elsewhere)).await;
    says(&agent, &["another realm", "realm lab", "realm production"]);
    says(&port.refusal().await, &["of realm lab", "realm production", "join it again"]);
}

#[tokio::test]
async fn a_host_that_was_removed() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), now());
    let address = port.address;
    let dialling = tokio::spawn(async move { dial(address, &credentials, hello(&host(1))).await });
    let pending = port.next().await.unwrap();
    pending.refuse(RefusalCode::RemovedHost, "host 1 was removed at noon");
    let result = dialling.await.unwrap();
    assert!(!result.as_ref().unwrap_err().is_retryable());
    says(&refused(result), &["has been removed", "removed at noon", "`reeve host join-token`"]);
}

/// Whether a second connection with this configuration could send data before the server has proved itself again.
async fn sends_early(configuration: &quinn::ClientConfig, address: SocketAddr) -> bool {
    let endpoint = client_endpoint(loopback()).unwrap();
    let dial = || endpoint.connect_with(configuration.clone(), address, COORDINATOR_SERVER_NAME).unwrap();
    let connection = dial().await.unwrap();
    // The server answers this by closing; a ticket would have come before.
    let (mut sender, _receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&[0xff; 4]).await.unwrap();
    connection.closed().await;
    dial().into_0rtt().is_ok()
}

/// A server that gives out tickets and takes early data, as the library's own shortcut would make one.
fn eager_server(credentials: &Credentials) -> quinn::Endpoint {
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(credentials.chain(), credentials.clone_key())
            .unwrap();
    tls.max_early_data_size = u32::MAX;
    tls.alpn_protocols = vec![AGENT_ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, loopback()).unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let Ok(connection) = incoming.await else { continue };
            let Ok((_sender, mut receiver)) = connection.accept_bi().await else { continue };
            let _ = receiver.read(&mut [0; 4]).await;
            connection.close(0_u32.into(), b"");
        }
    });
    endpoint
}

#[tokio::test]
async fn there_is_no_early_data_even_if_the_other_side_would() {
    let fleet = Fleet::new();
    let port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), now());
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let eager = {
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(credentials.chain(), credentials.clone_key())
            .unwrap();
        tls.enable_early_data = true;
        tls.alpn_protocols = vec![AGENT_ALPN.to_vec()];
        quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()))
    };
    let careful = agent_client_config(&credentials, clock()).unwrap();
    let server = eager_server(&fleet.authority.server_credentials(now()).unwrap());
    let eager_address = server.local_addr().unwrap();
    // The trap works: two eager sides do send early.
    assert!(sends_early(&eager, eager_address).await);
    assert!(!sends_early(&eager, port.address).await, "the coordinator takes it");
    // With tickets, which the coordinator's own port gives out.
    let lasting = open(&fleet, &fleet.authority.lasting_keys());
    let address = lasting.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = lasting.accept().await {
            drop(tokio::spawn(accept(incoming)));
        }
    });
    assert!(!sends_early(&eager, address).await, "the coordinator takes it with a ticket");
    assert!(!sends_early(&careful, eager_address).await, "the agent sends it");
}

#[tokio::test]
async fn another_protocol_on_the_port_is_told_apart() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let fingerprint = fleet.authority.fingerprint();
    let configuration = reeve_common::tls::join_client_config(fingerprint, clock()).unwrap();
    let endpoint = client_endpoint(loopback()).unwrap();
    let result = AgentEnd::connect_with(&endpoint, port.address, configuration, hello(&host(1))).await;
    says(&refused(result), &["does not speak this protocol", "port"]);
    says(&port.refusal().await, &["speaks another protocol"]);
}
