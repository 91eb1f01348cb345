//! Checkpoints come when they are due, and a witness that contradicts is heard once, loudly, and shown by a verification.

use reeve_common::checkpoint::{Checkpoint, LogHash, LogHead};

use super::super::test_service;
use super::*;

async fn grow(service: &Service, records: usize) {
    for _ in 0..records {
        service.begin_act(Who::Coordinator, "test", "things").end(Outcome::Done).await;
    }
}

#[tokio::test]
async fn a_checkpoint_is_made_after_a_hundred_records_and_covers_them() {
    let (service, _directory) = test_service().await;
    grow(&service, 99).await;
    assert_eq!(service.checkpoint_if_due().await.unwrap(), None);
    grow(&service, 1).await;
    let signed = service.checkpoint_if_due().await.unwrap().unwrap();
    assert_eq!((signed.head().size, signed.prove()), (100, Ok(())));
    assert_eq!(service.checkpoint_if_due().await.unwrap(), None);
    let verified = service.verify_audit().await.unwrap().report;
    assert!(verified.is_whole());
    assert_eq!(verified.latest, Some(signed));
}

#[tokio::test]
async fn a_question_for_records_to_come_is_answered_when_they_come() {
    let (service, _directory) = test_service().await;
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.audit_records_when_there(1, 10, Duration::from_secs(60)).await.unwrap() }
    });
    tokio::task::yield_now().await;
    grow(&service, 1).await;
    let (size, records) = waiting.await.unwrap();
    assert_eq!((size, records.len()), (1, 1));
    let (size, none) = service.audit_records_when_there(2, 10, Duration::from_millis(1)).await.unwrap();
    assert!((size, none.len()) == (1, 0));
    assert!(service.audit_records(1, 9999).await.unwrap().1.len() <= AUDIT_PAGE_MAX);
}

#[tokio::test]
async fn a_witness_that_knows_a_longer_or_another_log_is_heard_once_and_shown() {
    let (service, _directory) = test_service().await;
    grow(&service, 100).await;
    let good = service.checkpoint_if_due().await.unwrap().unwrap();
    let host = HostId(4);
    service.follow_witness(host, Some(good)).await.unwrap();
    assert!(service.verify_audit().await.unwrap().report.is_whole());
    let signer = &service.inner.audit.signer;
    let ahead =
        signer.sign(Checkpoint { head: LogHead { size: 900, hash: LogHash::of("x") }, ..good.checkpoint });
    for _ in 0..3 {
        service.follow_witness(host, Some(ahead)).await.unwrap();
    }
    let fork =
        signer.sign(Checkpoint { head: LogHead { size: 50, hash: LogHash::of("x") }, ..good.checkpoint });
    service.follow_witness(HostId(5), Some(fork)).await.unwrap();
    let report = service.verify_audit().await.unwrap().report;
    assert!(
        matches!(
            &report.findings[..],
            [Finding::WitnessAhead { size: 900, found: 101, .. }, Finding::WitnessDisagrees { size: 50, .. }]
        ),
        "{:?}",
        report.findings
    );
    // Recorded once each, so that it stands in the log itself.
    let (size, records) = service.last_audit_records(2).await.unwrap();
    assert_eq!(size, 102);
    assert!(records.iter().all(|record| record.event.what == "compare-witness"));
    // A witness that came to agree is no reproach any more.
    service.follow_witness(host, Some(good)).await.unwrap();
    assert_eq!(service.verify_audit().await.unwrap().report.findings.len(), 1);
}
