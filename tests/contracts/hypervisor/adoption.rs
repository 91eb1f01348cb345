//! What is promised of domains that somebody else made: taken in and given back as they are.

use reeve_agent::hypervisor::{DomainState, HypervisorError, LedgerEntry};
use reeve_common::clock::Timestamp;
use reeve_common::ids::{Generation, VmId};
use reeve_common::vm::AdoptionObstacle;

use crate::subject::{Subject, ledger, running, spec};

fn entry(generation: u64) -> LedgerEntry {
    LedgerEntry {
        generation: Generation(generation),
        system_disk: None,
        started_at: Some(Timestamp(1)),
        registered_at: Some(Timestamp(1)),
        ..ledger(&spec("adopted"))
    }
}

/// A definition without the metadata in it.
fn bare(document: &str) -> String {
    let document = document.replace("<metadata/>", "");
    let (before, rest) = document.split_once("<metadata>").unwrap_or((document.as_str(), ""));
    let after = rest.split_once("</metadata>").map_or(rest, |(_, after)| after);
    format!("{before}{after}").split_whitespace().collect()
}

pub(crate) fn what_somebody_else_made_is_adopted_and_released(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let id = VmId::random();
    subject.add_foreign(id, "adopted", true);
    let before = subject.document(id).map(|document| bare(&document));
    let (foreign, disks) = hypervisor.describe_foreign(id).unwrap().unwrap();
    assert_eq!((foreign.name.as_str(), foreign.obstacle, disks.len()), ("adopted", None, 0));

    hypervisor.adopt(id, &entry(1)).unwrap();
    hypervisor.adopt(id, &entry(2)).unwrap();
    let own = hypervisor.domain(id).unwrap().expect("it is not ours");
    assert_eq!((own.state, own.ledger), (DomainState::Active, entry(2)));
    assert_eq!(hypervisor.describe_foreign(id).unwrap(), None);
    assert_eq!(
        subject.document(id).map(|document| bare(&document)),
        before,
        "more than its ledger was changed"
    );
    let domains = hypervisor.domains().unwrap();
    assert!(domains.foreign.iter().all(|foreign| foreign.id != id));

    for _ in 0..2 {
        hypervisor.release(id).unwrap();
        assert_eq!(hypervisor.domain(id).unwrap(), None);
    }
    assert_eq!(subject.document(id).map(|document| bare(&document)), before);
    let (foreign, _) = hypervisor.describe_foreign(id).unwrap().unwrap();
    assert!(foreign.active && foreign.obstacle.is_none());

    // What is adopted and off is given back as well, and its definition stays.
    hypervisor.adopt(id, &entry(3)).unwrap();
    hypervisor.destroy(id).unwrap();
    assert_eq!(hypervisor.domain(id).unwrap().unwrap().ledger, entry(3), "the ledger outlives its run");
    hypervisor.release(id).unwrap();
    let (foreign, _) = hypervisor.describe_foreign(id).unwrap().unwrap();
    assert_eq!(foreign.obstacle, Some(AdoptionObstacle::Off));
}

pub(crate) fn what_cannot_be_adopted_is_refused(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let nobody = VmId::random();
    assert_eq!(hypervisor.describe_foreign(nobody).unwrap(), None);
    assert!(matches!(hypervisor.adopt(nobody, &entry(1)), Err(HypervisorError::NotFound { .. })));
    hypervisor.release(nobody).unwrap();
    let idle = VmId::random();
    subject.add_foreign(idle, "adopted-idle", false);
    let spoilt = running(subject, "adopted-spoilt");
    subject.overwrite_ledger(spoilt, "<vm version='999'/>");
    for (id, obstacle) in [(idle, AdoptionObstacle::Off), (spoilt, AdoptionObstacle::SpoiltLedger)] {
        let refused = hypervisor.adopt(id, &entry(1));
        assert!(matches!(&refused, Err(HypervisorError::Refused { .. })), "{refused:?}");
        let (foreign, _) = hypervisor.describe_foreign(id).unwrap().unwrap();
        assert_eq!(foreign.obstacle, Some(obstacle));
    }
    hypervisor.release(spoilt).unwrap();
    let (foreign, _) = hypervisor.describe_foreign(spoilt).unwrap().unwrap();
    assert_eq!(foreign.obstacle, Some(AdoptionObstacle::SpoiltLedger), "what is not ours is left as it is");
}
