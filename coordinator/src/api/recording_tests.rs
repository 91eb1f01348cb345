//! Every route that changes something leaves one record, whatever becomes of it; tried on the table itself, so that a
//! route that will be added is tried as well.

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::*;
use crate::api::access::Role;
use crate::api::routes::{router, table};
use crate::audit::AuditEvent;
use crate::service::{Actor, test_service};

/// Asks as `jane`, or as nobody.
async fn ask(service: &Service, method: &str, path: &str, body: &str, known: bool) -> (StatusCode, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    if known {
        let actor = Actor { uid: 1000, name: "jane".to_owned() };
        request.extensions_mut().insert(Peer { actor, role: Role::Admin });
    }
    let router = TowerToHyperService::new(router(service.clone()));
    let response = hyper::service::Service::call(&router, request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn events(service: &Service) -> Vec<AuditEvent> {
    let (size, records) = service.last_audit_records(500).await.unwrap();
    assert_eq!(size, u64::try_from(records.len()).unwrap());
    records.into_iter().map(|record| record.event).collect()
}

/// Asks, and answers the one record that it left.
async fn one_record(service: &Service, method: &str, path: &str, body: &Value) -> (StatusCode, AuditEvent) {
    let before = events(service).await.len();
    let (status, answer) = ask(service, method, path, &body.to_string(), true).await;
    let mut after = events(service).await;
    assert_eq!(after.len(), before + 1, "{method} {path} left {} records: {answer}", after.len() - before);
    (status, after.pop().unwrap())
}

/// A path with names in it that nothing has.
fn filled_in(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "nothing-there" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_that_changes_something_records_its_refusal_once() {
    let (service, _directory) = test_service().await;
    let names = operation_names();
    let mut tried = 0;
    for route in table().iter().filter(|route| route.changes) {
        let path = filled_in(route.path);
        // A name that nothing has, or a body that is no document: refused by every route there can be.
        let (status, event) = one_record(&service, route.method.as_str(), &path, &json!("no document")).await;
        assert!(status.is_client_error(), "{} {path}: {status}", route.method);
        assert!(matches!(event.outcome, Outcome::Refused { .. }), "{event:?}");
        assert_eq!(event.who, Who::Operator { uid: 1000, name: "jane".to_owned() });
        let name = &names[&(route.path.to_owned(), route.method.to_string())];
        assert_eq!((&event.what, &*event.object), (name, path.trim_start_matches("/v1/")));
        tried += 1;
    }
    assert!(tried >= 12, "{tried}");
}

#[tokio::test]
async fn what_only_reads_is_not_recorded() {
    let (service, _directory) = test_service().await;
    for route in table().iter().filter(|route| !route.changes && !route.path.ends_with("/log")) {
        let path = filled_in(route.path);
        ask(&service, route.method.as_str(), &path, "{}", true).await;
    }
    assert!(events(&service).await.is_empty());
    let reading: Vec<_> = table()
        .into_iter()
        .filter(|route| !route.changes && route.method != "GET")
        .map(|route| route.path)
        .collect();
    assert_eq!(reading, ["/v1/setups/{setup}/simulation"], "does this really change nothing?");
}

#[tokio::test]
async fn a_change_is_recorded_once_in_its_own_transaction() {
    let (service, _directory) = test_service().await;
    let host = json!({"name": "node-1", "realm": "r", "uri": "qemu:///system", "profile": "p"});
    let image =
        json!({"name": "debian", "realm": "r", "volume": "debian.qcow2", "operating-system": "Debian"});
    let setup = json!({"name": "small", "realm": "r", "image": "debian", "cores": 1, "memory": "1 GiB"});
    let configuration = json!({"name": "web", "setup": "small", "owner": "jane", "team": "web"});
    let steps = [
        ("POST", "/v1/hosts", host, "add-host", "host node-1"),
        (
            "PUT",
            "/v1/hosts/node-1/state",
            json!({"state": "no-scheduler"}),
            "set-host-state",
            "hosts/node-1/state",
        ),
        ("POST", "/v1/hosts/node-1/join-token", json!({}), "create-join-token", "host node-1"),
        ("POST", "/v1/images", image, "create-image", "image debian"),
        ("POST", "/v1/setups", setup, "create-setup", "setup small"),
        ("POST", "/v1/configurations", configuration, "create-configuration", "configuration web"),
        ("POST", "/v1/vms", json!({"configuration": "web"}), "start-vm", "vm web"),
        ("POST", "/v1/vms/web/destroy", json!({}), "destroy-vm", "vms/web/destroy"),
        ("DELETE", "/v1/configurations/web", json!({}), "delete-configuration", "configurations/web"),
        ("DELETE", "/v1/setups/small", json!({}), "delete-setup", "setups/small"),
        ("DELETE", "/v1/images/debian", json!({}), "delete-image", "images/debian"),
        ("DELETE", "/v1/hosts/node-1", json!({}), "delete-host", "hosts/node-1"),
    ];
    for (method, path, body, what, object) in steps {
        let (status, event) = one_record(&service, method, path, &body).await;
        assert!(status.is_success(), "{method} {path}: {status} {event:?}");
        assert_eq!((&*event.what, &event.outcome), (what, &Outcome::Done));
        assert!(event.object.starts_with(object), "{} is not about {object}", event.object);
        assert!(!event.changes.is_empty(), "{method} {path} does not say what it changed");
    }
    let (_, records) = service.last_audit_records(1).await.unwrap();
    let removed = &records[0].event.changes[0];
    assert!(removed.removed && removed.before.is_some() && removed.record == "hosts/1", "{removed:?}");
    assert!(service.verify_audit().await.unwrap().report.is_whole());
}

#[tokio::test]
async fn what_changes_nothing_after_all_is_recorded_too() {
    let (service, _directory) = test_service().await;
    let host = json!({"name": "node-1", "realm": "r", "uri": "qemu:///system", "profile": "p"});
    one_record(&service, "POST", "/v1/hosts", &host).await;
    let same = json!({"state": "enabled"});
    let (status, event) = one_record(&service, "PUT", "/v1/hosts/node-1/state", &same).await;
    assert!(status.is_success() && event.outcome == Outcome::Done && event.changes.is_empty(), "{event:?}");
}

#[tokio::test]
async fn who_cannot_be_told_is_recorded_a_few_times_and_then_counted() {
    let (service, _directory) = test_service().await;
    for _ in 0..200 {
        let (status, _) = ask(&service, "DELETE", "/v1/hosts/node-1", "", false).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let events = events(&service).await;
    assert_eq!(events.len(), 60, "{events:?}");
    assert!(
        events
            .iter()
            .all(|event| matches!(&event.outcome, Outcome::Refused { kind, .. } if kind == "denied"))
    );
    assert_eq!(events[0].object, "DELETE hosts/node-1");
}
