//! A real coordinator, real connections, and the agent's own memory: hosts keep checkpoints of the audit log as witnesses, a
//! coordinator that was set back learns it from them, and who was turned away stands in the log.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use reeve_agent::state_directory::StateDirectory;
use reeve_agent::witness::judge;
use reeve_common::ids::{HostId, HostName};
use reeve_common::protocol::{CommandBody, Reply, ReplyBody};
use reeve_common::tls::{Credentials, Identity};
use reeve_common::wire::agent_end::AgentEnd;
use reeve_coordinator::api::types::{HostState, NewHost};
use reeve_coordinator::audit::{Finding, Outcome, Who};
use reeve_coordinator::cli::client::Client;
use reeve_coordinator::pki::Authority;
use reeve_coordinator::service::{AuditVerification, Service};
use reeve_coordinator::store::{MemoryStore, Store};
use reeve_coordinator::{agents, api, config};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::support::{
    Fleet, PATIENCE, clock, dial, dial_refused, hello, listen_to_log, logged, loopback, now, realm,
};

/// A coordinator with a port for agents.
struct Office {
    service: Service,
    address: SocketAddr,
    endpoint: quinn::Endpoint,
    client: Client,
    _stop: watch::Sender<bool>,
    _directory: TempDir,
}

impl Office {
    async fn open(authority: &Arc<Authority>, store: Arc<dyn Store>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("coordinator.conf");
        let text = format!(
            "state-directory = {:?}\nrealms {{ lab {{ disabled = no, driver = libvirt, name = Lab\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}",
            directory.path()
        );
        std::fs::write(&file, text).unwrap();
        let (config, _) = config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
        let service = Service::open(config, store, clock(), Arc::clone(authority)).await.unwrap();
        let credentials = authority.server_credentials(now()).unwrap();
        let endpoint = agents::listen(loopback(), &credentials, &authority.lasting_keys(), clock()).unwrap();
        tokio::spawn(agents::serve(service.clone(), endpoint.clone()));
        tokio::spawn(service.clone().keep_checkpoints());
        let address = endpoint.local_addr().unwrap();
        let socket = directory.path().join("api.sock");
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(api::serve(service.clone(), socket.clone(), stopping));
        let listening = async {
            while UnixStream::connect(&socket).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.unwrap();
        let client = Client::new(socket);
        Self { service, address, endpoint, client, _stop: stop, _directory: directory }
    }

    fn close(self) {
        self.endpoint.close(0_u32.into(), b"");
    }

    /// Adds a host over the API, which is one record.
    async fn add_host(&self, name: &str) -> HostId {
        let new = NewHost {
            name: HostName::new(name).unwrap(),
            realm: realm("lab"),
            uri: NewHost::URI_DEFAULT.to_owned(),
            profile: "p".parse().unwrap(),
            state: HostState::Enabled,
            labels: std::collections::BTreeMap::new(),
        };
        self.client.add_host(&new).await.unwrap().id
    }

    /// Adds so many hosts, each of which is one record.
    async fn add_hosts(&self, name: &str, count: u32) {
        for number in 0..count {
            self.add_host(&format!("{name}-{number}")).await;
        }
    }

    /// Is dialled by strangers so often.
    async fn be_attacked(&self, records: usize) {
        let nobody = crate::support::host(99_999);
        let stranger = Fleet::new().host_credentials_trusting(
            &nobody,
            now(),
            self.service.authority().certificate_pem(),
        );
        for _ in 0..records {
            dial_refused(self.address, &stranger, hello(&nobody)).await;
        }
    }

    async fn verified(&self) -> AuditVerification {
        self.service.verify_audit().await.unwrap()
    }
}

/// An agent that keeps what it is told to witness, with the agent's own memory and rule.
struct Witness {
    answering: tokio::task::JoinHandle<()>,
    kept: watch::Receiver<u64>,
}

impl Witness {
    async fn connect(
        address: SocketAddr,
        credentials: &Credentials,
        identity: &Identity,
        path: &Path,
    ) -> Self {
        let state = StateDirectory::open(path).unwrap();
        let (mut end, _) = dial(address, credentials, hello(identity)).await.unwrap();
        let (keeps, kept) = watch::channel(0);
        let answering = tokio::spawn(async move {
            while let Ok(command) = end.next_command().await {
                let body = match command.body {
                    CommandBody::Witness { checkpoint } => {
                        let (held, _) = state.witness(checkpoint, judge).unwrap();
                        keeps.send_replace(held.map_or(0, |held| held.head().size));
                        ReplyBody::Witnessed { held }
                    }
                    _ => ReplyBody::Accepted,
                };
                answer(&end, Reply { operation: command.operation, outcome: Ok(body) }).await;
            }
        });
        Self { answering, kept }
    }

    async fn keeps(&mut self, least: u64) {
        let waiting = self.kept.wait_for(|size| *size >= least);
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(found.is_ok_and(|kept| kept.is_ok()), "no checkpoint came");
    }

    async fn leave(self) {
        self.answering.abort();
        let _ = self.answering.await;
    }
}

async fn answer(end: &AgentEnd, reply: Reply) {
    // A coordinator that has gone needs no answer.
    let _ = end.reply(reply).await;
}

/// A store that has the records of another.
async fn copy_of(store: &MemoryStore) -> Arc<MemoryStore> {
    use reeve_coordinator::store::{Batch, Precondition};
    let copy = Arc::new(MemoryStore::new());
    for stored in store.list("").await.unwrap() {
        copy.apply(Batch::new().put(stored.key, Precondition::Any, stored.value)).await.unwrap();
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_restored_from_an_old_backup_learns_it_from_its_witness_and_goes_on() {
    listen_to_log();
    let fleet = Fleet::new();
    let store = Arc::new(MemoryStore::new());
    let office = Office::open(&fleet.authority, Arc::<MemoryStore>::clone(&store)).await;
    let id = office.add_host("node-1").await;
    let identity = Identity::Host { realm: realm("lab"), host: id };
    let credentials = fleet.host_credentials(&identity, now());
    let memory = fleet.path().join("agent");
    let mut witness = Witness::connect(office.address, &credentials, &identity, &memory).await;
    office.add_hosts("first", 99).await;
    witness.keeps(100).await;
    let backup = copy_of(&store).await;
    office.add_hosts("second", 100).await;
    witness.keeps(200).await;
    let verified = office.verified().await;
    assert!(verified.report.is_whole(), "{:?}", verified.report.findings);
    assert_eq!(verified.witnesses[0].held.unwrap().head().size, 200);
    witness.leave().await;
    office.close();

    let restored = Office::open(&fleet.authority, backup).await;
    let witness = Witness::connect(restored.address, &credentials, &identity, &memory).await;
    logged(&[
        "contradicted by a witness",
        "host node-1 keeps a checkpoint of 200 records",
        "restored from an old backup",
    ])
    .await;
    let verified = restored.verified().await;
    assert!(
        matches!(&verified.report.findings[..], [Finding::WitnessAhead { size: 200, .. }]),
        "{:?}",
        verified.report.findings
    );
    // It goes on, and the fork is told when the log has outgrown what the witness keeps.
    restored.add_hosts("other", 120).await;
    let findings = restored.verified().await.report.findings;
    assert!(matches!(&findings[..], [Finding::WitnessDisagrees { size: 200, .. }]), "{findings:?}");
    witness.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_turned_away_stands_in_the_log_and_floods_are_counted() {
    let fleet = Fleet::new();
    let office = Office::open(&fleet.authority, Arc::new(MemoryStore::new())).await;
    // A host that was never added, or was removed.
    let gone = crate::support::host(77);
    dial_refused(office.address, &fleet.host_credentials(&gone, now()), hello(&gone)).await;
    let last = || async { office.service.last_audit_records(500).await.unwrap().1.pop().unwrap().event };
    let event = last().await;
    assert_eq!(event.who, Who::Host { id: HostId(77), name: "77".to_owned() });
    assert!(
        matches!(&event.outcome, Outcome::Refused { reason, .. } if reason.contains("deleted, or never added"))
    );
    // A certificate of another authority, many times.
    office.be_attacked(70).await;
    let event = {
        let records = office.service.last_audit_records(500).await.unwrap().1;
        assert!(records.len() <= 61, "{} records of a flood", records.len());
        records.into_iter().next_back().unwrap().event
    };
    assert!(
        matches!(&event.who, Who::Stranger { address } if address.starts_with("127.0.0.1:")),
        "{event:?}"
    );
    assert!(
        matches!(&event.outcome, Outcome::Refused { reason, .. } if reason.contains("another authority")),
        "{event:?}"
    );
}
