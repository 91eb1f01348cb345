//! A coordinator that plays a part: each answer is what the test says it is. For what a real one shows only with real
//! hosts, or by going away.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What is answered to a method and a path: a status and a document; or silence, and the connection is closed.
pub(crate) type Part = Arc<dyn Fn(&str, &str) -> Option<(u16, Value)> + Send + Sync>;

pub(crate) struct Scripted {
    pub(crate) socket: PathBuf,
    task: JoinHandle<()>,
    _directory: TempDir,
}

impl Scripted {
    pub(crate) fn play(part: impl Fn(&str, &str) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let part: Part = Arc::new(part);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&part)));
            }
        });
        Self { socket, task, _directory: directory }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: UnixStream, part: Part) {
    let mut asked = Vec::new();
    let head_end = loop {
        if let Some(end) = asked.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8_lossy(&asked[..head_end]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
    while asked.len() < head_end + length {
        if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let text = String::from_utf8_lossy(&asked[..head_end]).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let Some((status, document)) = part(method, path) else { return };
    let body = document.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

/// A VM's document in `state`, with `more` in it.
pub(crate) fn vm(state: &str, version: u64, more: &Value) -> Value {
    let mut document = json!({
        "id": "0f8fad5b-d9cb-469f-a165-70867728950e", "name": "web-1-0f8fad5b", "title": "web-1",
        "configuration": "web-1", "setup": "small", "realm": "primary", "owner": "ann", "team": "physics",
        "project": null, "cores": 2, "memory-mib": 2048, "state": state, "reason": null,
        "state-since": "2026-03-01T11:58:00.000Z", "wish": "run", "host": "node-2",
        "requested-at": "2026-03-01T11:58:00.000Z", "registered-at": null, "ended-at": null, "version": version,
        "history": [{"at": "2026-03-01T11:58:00.000Z", "state": state, "reason": null}],
        "decision": {"at": "2026-03-01T11:58:00.000Z", "explanation": {"chosen": "node-2", "by": "increase", "hosts": [
            {"host": "node-1", "id": 1, "feasible": true, "reason": null, "chosen": false, "cost-function": "balanced",
             "before": 1.0, "after": 1.5, "increase": 0.5, "terms": []},
            {"host": "node-2", "id": 2, "feasible": true, "reason": null, "chosen": true, "cost-function": "balanced",
             "before": 0.0, "after": 0.25, "increase": 0.25, "terms": []}
        ]}}
    });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}
