//! Owns serving HTTP on the socket: how many connections at once, how long each may dawdle, and the end.
//!
//! Must not: know what is asked.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::access::{Peer, identify};
use super::routes::router;
use super::socket::{BindError, SocketFile, bind};
use crate::service::Service;

/// How many may be connected at once. An administrator's scripts use a handful; beyond this the next one waits in the
/// kernel's queue, and the coordinator's memory stays bounded.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take to say what it wants, and may stand idle afterwards: who holds all places with
/// silence loses them.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEADER_SIZE_MAX: usize = 32 << 10;
/// How long to pause when the system has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way may take when the coordinator goes down. Who waits for a VM asks again by themselves.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// The API's socket: whoever connects waits until it is served.
#[derive(Debug)]
pub struct ApiSocket {
    listener: UnixListener,
    file: SocketFile,
}

impl ApiSocket {
    /// Listens at `path`.
    ///
    /// # Errors
    /// [`ServeError`] says who or what is in the way.
    pub fn open(path: &Path) -> Result<Self, ServeError> {
        let (listener, file) = bind(path)?;
        Ok(Self { listener, file })
    }

    /// Serves the API until `stopping` says true, or whoever could say so is gone.
    pub async fn serve(self, service: Service, mut stopping: watch::Receiver<bool>) {
        answer_all(self.listener, router(service), &mut stopping).await;
        drop(self.file);
    }
}

/// Serves the API on `socket` until `stopping` says true, or whoever could say so is gone.
///
/// # Errors
/// [`ServeError`] when the socket cannot be listened on.
pub async fn serve(
    service: Service,
    socket: PathBuf,
    stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    ApiSocket::open(&socket)?.serve(service, stopping).await;
    Ok(())
}

async fn answer_all(listener: UnixListener, router: Router, stopping: &mut watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let until = stopping.clone();
    let mut stopped = pin!(told_to_stop(stopping));
    loop {
        tokio::select! {
            () = &mut stopped => break,
            accepted = accept(&listener, &places) => {
                let (stream, place) = accepted;
                let connection = converse(stream, router.clone(), until.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // Those that ended are forgotten.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    // Nobody new; those under way get a moment.
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all_ended).await.is_err() {
        connections.abort_all();
    }
}

/// Until `stopping` says true, or whoever could say so is gone.
async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> (UnixStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            // The semaphore is never closed; should it be, nobody is let in.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                log::warn!("the API could not take a connection: {error}");
                drop(place);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers everything that is asked on one connection.
async fn converse(stream: UnixStream, router: Router, mut stopping: watch::Receiver<bool>) {
    let peer = identify(&stream);
    let answer = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        hyper::service::Service::call(&answer, with_peer(request, peer.clone()))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_SIZE_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = told_to_stop(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Whoever asked went away, or speaks no HTTP. It is their trouble, and no reason to fill the log.
        log::debug!("a connection to the API ended early: {error}");
    }
}

fn with_peer(request: Request<Incoming>, peer: Option<Peer>) -> Request<Body> {
    let mut request = request.map(Body::new);
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}
