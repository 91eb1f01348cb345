//! An act leaves one record whatever becomes of it, and the record is in the transaction of what it changed.

use super::super::test_service;
use super::*;
use crate::store::{Key, Precondition, Stored};

fn put(name: &str, precondition: Precondition) -> Batch {
    Batch::new().put(Key::new(name).unwrap(), precondition, "{}")
}

async fn records(service: &Service) -> Vec<crate::audit::AuditRecord> {
    service.last_audit_records(100).await.unwrap().1
}

async fn stored(service: &Service, name: &str) -> Option<Stored> {
    service.store().get(&Key::new(name).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_first_batch_of_an_act_carries_its_record_and_the_others_none() {
    let (service, _directory) = test_service().await;
    let act = service.begin_act(Who::Coordinator, "test", "things");
    act.clone()
        .scope(async {
            acting_on(|| "thing a".to_owned());
            acting_on(|| "another".to_owned());
            service.write(put("things/a", Precondition::Absent)).await.unwrap();
            service.write(put("things/b", Precondition::Absent)).await.unwrap();
        })
        .await;
    act.end(Outcome::Done).await;
    let records = records(&service).await;
    assert_eq!(records.len(), 1);
    assert_eq!((&*records[0].event.object, &records[0].event.outcome), ("thing a", &Outcome::Done));
    assert_eq!(records[0].event.changes[0].record, "things/a");
    assert_eq!(records[0].version, stored(&service, "things/a").await.unwrap().version);
    service.write(put("things/c", Precondition::Absent)).await.unwrap();
    assert_eq!(service.last_audit_records(9).await.unwrap().0, 1, "outside of an act");
}

#[tokio::test]
async fn what_could_not_be_written_is_recorded_as_refused_and_nothing_else() {
    let (service, _directory) = test_service().await;
    service.write(put("things/a", Precondition::Absent)).await.unwrap();
    let act = service.begin_act(Who::Coordinator, "test", "things");
    let error = act.clone().scope(service.write(put("things/a", Precondition::Absent))).await.unwrap_err();
    assert!(records(&service).await.is_empty());
    act.end((&error).into()).await;
    act.end(Outcome::failed("internal", "said twice")).await;
    let records = records(&service).await;
    assert_eq!(records.len(), 1);
    assert!(matches!(&records[0].event.outcome, Outcome::Refused { kind, .. } if kind == "conflict"));
}

#[tokio::test]
async fn what_fails_after_it_began_is_recorded_twice_under_one_operation() {
    let (service, _directory) = test_service().await;
    let act = service.begin_act(Who::Coordinator, "test", "things");
    act.clone().scope(service.write(put("things/a", Precondition::Absent))).await.unwrap();
    act.end(Outcome::failed("unavailable", "the host went away")).await;
    let records = records(&service).await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].event.operation, records[1].event.operation);
    assert!(matches!(records[1].event.outcome, Outcome::Failed { .. }));
}

#[tokio::test]
async fn what_was_left_open_is_still_recorded_when_it_is_done() {
    let (service, _directory) = test_service().await;
    let act = service.begin_act(Who::Coordinator, "test", "things");
    act.leave_open(Outcome::failed("timed-out", "no answer within 60 s")).await;
    act.clone().scope(service.write(put("things/a", Precondition::Absent))).await.unwrap();
    act.leave_open(Outcome::failed("timed-out", "no answer within 60 s")).await;
    let records = records(&service).await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].event.outcome, Outcome::Done);
}

#[tokio::test]
async fn of_what_a_host_reports_only_the_end_of_a_vm_is_recorded() {
    let (service, _directory) = test_service().await;
    let vm = VmId::random();
    let report = service.report_of(HostId(4), vm);
    report.scope(service.write(put(&format!("vms/{vm}"), Precondition::Absent))).await.unwrap();
    assert!(records(&service).await.is_empty());
    let report = service.report_of(HostId(4), vm);
    let end = put(&format!("past-vms/1-{vm}"), Precondition::Absent);
    report.scope(service.write(end)).await.unwrap();
    let records = records(&service).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event.who, Who::Host { id: HostId(4), name: "4".to_owned() });
    assert_eq!((&*records[0].event.what, &*records[0].event.object), ("report-end", &*format!("vms/{vm}")));
}

#[tokio::test]
async fn strangers_and_hosts_have_an_allowance_each() {
    let (service, _directory) = test_service().await;
    for _ in 0..500 {
        let who = Who::Stranger { address: "192.0.2.1:9".to_owned() };
        service.record_stranger(who, "join", "the port for joining", "denied", "no").await;
    }
    let who = Who::Host { id: HostId(4), name: "node-4".to_owned() };
    service.record_stranger(who, "connect", "the port for agents", "denied", "removed").await;
    assert_eq!(records(&service).await.len(), 61);
}
