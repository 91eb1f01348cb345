//! The API without its client: what it does with bytes that `reeve` never sends.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use reeve_coordinator::api;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::coordinator::Coordinator;

/// Sends `bytes` and reads the answer up to the end of its document.
async fn ask(coordinator: &Coordinator, bytes: &[u8]) -> (u16, Value) {
    let mut stream = UnixStream::connect(&coordinator.socket).await.unwrap();
    // What is not read is refused; writing the rest of it may then fail, and does not matter.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = async { while stream.read_buf(&mut answer).await.unwrap_or(0) > 0 {} };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("no end of the answer");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn every_refusal_is_a_document() {
    let coordinator = Coordinator::start().await;
    let long = "x".repeat(400);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(1 << 20));
    let markup = r#"{"name":"</name><x/>","realm":"primary","volume":"v","operating-system":"o"}"#;
    let path = r#"{"name":"a","realm":"primary","volume":"../../etc/shadow","operating-system":"o"}"#;
    let unknown =
        r#"{"name":"a","realm":"primary","volume":"v","operating-system":"o","backing":"/etc/shadow"}"#;
    let control =
        "{\"name\":\"a\",\"realm\":\"primary\",\"volume\":\"v\",\"operating-system\":\"\\u001b[2J\"}";
    for (bytes, status, kind, words) in [
        (request("GET", "/v1/nothing", "", ""), 404, "not-found", "there is nothing at /v1/nothing"),
        (request("GET", "/", "", ""), 404, "not-found", "there is nothing"),
        (request("PATCH", "/v1/hosts", "", ""), 405, "invalid", "PATCH cannot be asked"),
        (request("GET", "/v1/hosts/%3C%2Fname%3E", "", ""), 400, "invalid", "'<' at position 1"),
        (request("GET", "/v1/hosts/a%2F..%2Fb", "", ""), 400, "invalid", "'/' at position 2"),
        (request("GET", &format!("/v1/hosts/{long}"), "", ""), 400, "invalid", "at most 63"),
        (request("GET", "/v1/hosts/%ff%fe", "", ""), 400, "invalid", ""),
        (request("GET", "/v1/vms/..%2Fhosts", "", ""), 400, "invalid", "VM name"),
        (request("GET", "/v1/vms/web/changes?after=1", "", ""), 400, "invalid", ""),
        (request("GET", "/v1/setups/s/simulation?owner=a", "", ""), 400, "invalid", "together"),
        (request("GET", "/v1/setups/s/simulation?who=a", "", ""), 400, "invalid", "who"),
        (
            request("GET", "/v1/realms/primary/volumes/tapes", "", ""),
            400,
            "invalid",
            "bricks, volumes, drives",
        ),
        (request("POST", "/v1/images", "", markup), 415, "invalid", "application/json"),
        (request("POST", "/v1/images", JSON, ""), 400, "invalid", "not understood"),
        (request("POST", "/v1/images", JSON, "{"), 400, "invalid", "not understood"),
        (request("POST", "/v1/images", JSON, "[]"), 422, "invalid", "not understood"),
        (request("POST", "/v1/images", JSON, markup), 422, "invalid", "'<' at position 1"),
        (request("POST", "/v1/images", JSON, path), 422, "invalid", "volume"),
        (request("POST", "/v1/images", JSON, unknown), 422, "invalid", "unknown field `backing`"),
        (request("POST", "/v1/images", JSON, control), 400, "invalid", "operating-system"),
        (request("POST", "/v1/images", JSON, &deep), 422, "invalid", "not understood"),
        (request("POST", "/v1/images", JSON, &huge), 413, "invalid", "larger than 256 KiB"),
    ] {
        let asked = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        let (answered, document) = ask(&coordinator, &bytes).await;
        assert_eq!(answered, status, "{asked}: {document}");
        assert_eq!(document["error"]["kind"], kind, "{asked}: {document}");
        assert!(document["error"]["message"].as_str().unwrap().contains(words), "{asked}: {document}");
    }
    coordinator.reeve("status").await.ended(0);
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let coordinator = Coordinator::start().await;
    let mut garbage: Vec<Vec<u8>> = vec![
        b"\0\0\0\0".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"POST /v1/images HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /v1/images HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
    ];
    garbage.push([b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 200_000]].concat());
    for bytes in &garbage {
        let mut stream = UnixStream::connect(&coordinator.socket).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let reading = async { while stream.read_buf(&mut answer).await.unwrap_or(0) > 0 {} };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the connection was held");
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
    }
    coordinator.reeve("status").await.ended(0);
}

#[tokio::test]
async fn the_served_document_is_the_one_the_tests_hold() {
    let coordinator = Coordinator::start().await;
    let (status, served) = ask(&coordinator, &request("GET", "/v1/openapi.json", "", "")).await;
    assert_eq!(status, 200);
    assert_eq!(served, serde_json::to_value(api::document()).unwrap());
}

#[tokio::test]
async fn the_socket_is_the_groups_and_goes_with_the_coordinator() {
    let coordinator = Coordinator::start().await;
    let mode = std::fs::metadata(&coordinator.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (_stop, stopping) = watch::channel(false);
    let second = api::serve(coordinator.service.clone(), coordinator.socket.clone(), stopping).await;
    let refusal = second.unwrap_err().to_string();
    assert!(refusal.contains("is listening at") && refusal.contains("already"), "{refusal}");
    let socket = coordinator.socket.clone();
    // Somebody who says nothing does not hold it up.
    let _silent = UnixStream::connect(&socket).await.unwrap();
    coordinator.stop().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn many_at_once_are_all_answered() {
    let coordinator = Coordinator::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    let socket = coordinator.socket.clone();
    for _ in 0..600 {
        let socket = socket.clone();
        tasks.spawn(async move {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(&request("GET", "/v1/status", "", "")).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer.starts_with(b"HTTP/1.1 200")
        });
    }
    let answered = tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await.unwrap();
    assert!(answered.iter().all(|good| *good));
}
