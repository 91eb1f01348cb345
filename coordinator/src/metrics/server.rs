//! Owns the port where Prometheus reads: plain HTTP, one path, a bounded number of readers.
//!
//! Whoever reaches the port reads names of hosts and realms and no secrets; it is on loopback unless the configuration
//! says otherwise. What is read is gathered at most once a second, however many read.
//!
//! Must not: change anything, or answer any other question.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};

use super::exposition;
use crate::service::Service;

/// Readers at once: two or three Prometheus servers and a person. The next one waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// How long a reader may take to say what it wants, and may stand idle: Prometheus reads every 15 seconds.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);
/// How long one connection may live in all, so that readers who dawdle over the answer do not keep all places.
const CONNECTION_LIFE: Duration = Duration::from_secs(10 * 60);
/// The largest head of a request.
const HEADER_SIZE_MAX: usize = 16 << 10;
/// Younger answers are given again: nobody can make the coordinator walk through its hosts more often than this.
const ANSWER_AGE: Duration = Duration::from_secs(1);
/// How long to pause when the system has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why metrics cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "metrics cannot be served on TCP {address}: choose another address with metrics-listen in the configuration, or end what uses it"
)]
pub struct MetricsListenError {
    /// Where.
    address: SocketAddr,
    /// Why.
    #[source]
    source: std::io::Error,
}

/// Opens the port.
///
/// # Errors
/// [`MetricsListenError`] when it cannot be opened.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, MetricsListenError> {
    TcpListener::bind(address).await.map_err(|source| MetricsListenError { address, source })
}

/// The last answer.
struct Answer {
    made: Instant,
    text: Bytes,
}

/// Answers readers until it is dropped.
pub async fn serve(service: Service, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let last: Arc<Mutex<Option<Answer>>> = Arc::default();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (service, last) = (service.clone(), Arc::clone(&last));
                connections.spawn(async move {
                    // A reader that went away, or speaks no HTTP, is its own trouble.
                    let _ = tokio::time::timeout(CONNECTION_LIFE, converse(stream, service, last)).await;
                    drop(place);
                });
            }
            Err(error) => {
                log::warn!("a reader of metrics could not be taken in: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, service: Service, last: Arc<Mutex<Option<Answer>>>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, last) = (service.clone(), Arc::clone(&last));
        async move { Ok::<_, Infallible>(respond(&request, &service, &last).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_SIZE_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        log::debug!("a reader of metrics ended early: {error}");
    }
}

async fn respond(
    request: &Request<Incoming>,
    service: &Service,
    last: &Mutex<Option<Answer>>,
) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = Full::from("metrics are at /metrics\n");
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    } else {
        let kind = hyper::header::HeaderValue::from_static(exposition::CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        *response.body_mut() = Full::from(text(service, last).await);
    }
    response
}

/// The text, made anew if the last one is too old. Who comes while it is made waits for it.
async fn text(service: &Service, last: &Mutex<Option<Answer>>) -> Bytes {
    let mut last = last.lock().await;
    let now = service.monotonic();
    if let Some(answer) = last.as_ref().filter(|answer| now.duration_since(answer.made) < ANSWER_AGE) {
        return answer.text.clone();
    }
    let gathering = service.clone();
    // It walks through all hosts, some at a time; no other task waits for that.
    let text = tokio::task::spawn_blocking(move || gathering.metrics_text()).await.unwrap_or_default();
    let text = Bytes::from(text);
    *last = Some(Answer { made: now, text: text.clone() });
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_read_over_http_and_nothing_else_is() {
        let (service, _directory) = crate::service::test_service().await;
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(service, listener));
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("\nreeve_epoch 1\n") && answer.contains("\nreeve_realms 1\n"), "{answer}");
        let answer = ask(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        let answer = ask(
            address,
            "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        let answer = ask(address, "nonsense\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
        serving.abort();
    }

    #[tokio::test]
    async fn an_answer_is_given_again_for_a_moment() {
        let (service, _directory) = crate::service::test_service().await;
        let last = Mutex::new(None);
        let first = text(&service, &last).await;
        service.metrics().agent_connected();
        assert_eq!(text(&service, &last).await, first);
        let long_ago = service.monotonic().checked_sub(ANSWER_AGE).unwrap();
        last.lock().await.as_mut().unwrap().made = long_ago;
        assert_ne!(text(&service, &last).await, first);
    }
}
