//! What a stranger causes again and again stands in the journal a bounded number of times, and then as a number.

use std::net::{Ipv4Addr, SocketAddr};

use reeve_agent::identity::make_key;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::{Epoch, HostId, OperationId};
use reeve_common::inventory::HostInventory;
use reeve_common::logging::messages;
use reeve_common::protocol::Hello;
use reeve_common::quic::client_endpoint;
use reeve_common::tls::{Credentials, Identity};
use reeve_common::wire::agent_end::AgentEnd;
use reeve_coordinator::pki::Authority;

use super::place::{Place, apart};
use super::stage::{Stage, Words};

/// More than are written within a minute, and few enough that they all come within one.
const ATTEMPTS: usize = 25;
/// So many of a kind are written, and then one with their number.
const WRITTEN: usize = 10;

/// Somebody with a certificate of an authority that the coordinator does not know.
fn stranger(trusted: &str) -> (Credentials, Hello) {
    let (now, elsewhere) = (SystemClock.now(), tempfile::tempdir().unwrap());
    let foreign = Authority::create(&elsewhere.path().join("pki"), now).unwrap();
    let (key, host) = (make_key().unwrap(), HostId(1));
    let realm: reeve_common::ids::RealmName = "lab".parse().unwrap();
    let identity = Identity::Host { realm: realm.clone(), host };
    let issued = foreign.issue_host(&key.signing_request, &identity, now).unwrap();
    let hello = Hello {
        host,
        realm,
        name: "stranger".parse().unwrap(),
        instance: OperationId::random(),
        highest_epoch: Epoch(0),
        inventory: HostInventory::default(),
    };
    (Credentials::from_pem(&issued.pem, &key.key, trusted).unwrap(), hello)
}

#[test]
fn a_stranger_who_comes_again_and_again_is_written_down_a_bounded_number_of_times() {
    apart(|| {
        let place = Place::enter();
        let mut stage = Stage::new(Words::Journal, "");
        stage.start_coordinator();
        let trusted = std::fs::read_to_string(stage.file("coordinator/pki/ca.pem")).unwrap();
        let (credentials, hello) = stranger(&trusted);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.agent_port));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = client_endpoint((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            for _ in 0..ATTEMPTS {
                assert!(AgentEnd::connect(&endpoint, address, &credentials, hello.clone()).await.is_err());
            }
        });
        // What is held is told at the end at the latest.
        stage.stop("reeve-coordinator");
        let entries = place.entries(&[&format!("MESSAGE_ID={}", messages::PEER_REFUSED)]);
        let texts: Vec<&str> = entries.iter().map(|entry| entry["MESSAGE"].as_str().unwrap()).collect();
        assert_eq!(texts.len(), WRITTEN + 1, "{texts:?}");
        let summary = format!("{} more of the same", ATTEMPTS - WRITTEN);
        assert!(texts.last().unwrap().starts_with(&summary), "{texts:?}");
    });
}
