//! Owns carrying one HTTP request over the coordinator's UNIX socket and bringing its answer back, and says what to
//! do when the socket does not let us in.
//!
//! Must not: know what is asked.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group};
use tokio::net::UnixStream;

use crate::api::types::{Problem, ProblemReport};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// How long an answer may take. More than the coordinator allows itself, so that its own word on being late arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

/// The largest answer accepted: an explanation over ten thousand hosts is a few MiB.
const ANSWER_SIZE_MAX: usize = 64 << 20;

/// The group of a coordinator that was started by hand.
const ROOT_GROUP: &str = "root";

/// A socket on which a coordinator may listen.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    socket: PathBuf,
}

impl Transport {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sends one request and returns the body of its answer.
    ///
    /// # Errors
    /// The coordinator's own words where it says no; otherwise why it could not be asked.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, Failure> {
        let exchange = self.exchange(method, path, body);
        let (status, body) = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| {
            Failure::new(
                Exit::Unreachable,
                format!(
                    "the coordinator took the request and gave no answer in {} s",
                    ANSWER_TIMEOUT.as_secs()
                ),
            )
            .advise("`journalctl -u reeve-coordinator` may say what it is busy with")
        })??;
        if status.is_success() {
            return Ok(body);
        }
        Err(serde_json::from_slice::<ProblemReport>(&body)
            .map_or_else(|_| unknown_answer(status), |report: ProblemReport| report.error.into()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| not_let_in(&self.socket, &error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // Ends by itself when the sender is dropped.
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, "coordinator");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::new(Exit::Usage, format!("{path:?} cannot be asked for: {error}")))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_SIZE_MAX)
            .collect()
            .await
            .map_err(|error| {
                Failure::new(Exit::Unreachable, format!("the coordinator's answer broke off: {error}"))
                    .advise("ask again; `reeve status` says whether it is well")
            })?
            .to_bytes();
        drop(sender);
        driver.abort();
        Ok((status, body))
    }
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("the connection to the coordinator broke: {error}"))
        .advise("whether it took the request is not known: look before asking again")
}

fn unknown_answer(status: StatusCode) -> Failure {
    Problem {
        kind: crate::api::types::ProblemKind::Internal,
        message: format!("the coordinator answered {status} in words this command does not know"),
        advice: Some(
            "are `reeve` and the coordinator of the same version? `reeve --version`, `reeve status`"
                .to_owned(),
        ),
    }
    .into()
}

fn not_let_in(socket: &Path, error: &io::Error) -> Failure {
    let shown = socket.display();
    let failure = |message: String| Failure::new(Exit::Unreachable, message);
    match error.kind() {
        io::ErrorKind::NotFound => failure(format!("no coordinator listens at {shown}: there is no such socket")).advise(
            "is it running? `systemctl status reeve-coordinator`; another socket is named with --socket or REEVE_SOCKET",
        ),
        io::ErrorKind::ConnectionRefused => failure(format!("nobody answers at {shown}")).advise(
            "the coordinator ended, or is starting: `systemctl status reeve-coordinator`, `journalctl -u reeve-coordinator`",
        ),
        io::ErrorKind::PermissionDenied => {
            let failure = failure(format!("you may not use {shown}"));
            match owning_group(socket) {
                // Nobody is to be made a member of that group for this.
                Some(group) if group == ROOT_GROUP => failure.advise("only root may: try with sudo"),
                Some(group) => failure.advise(format!(
                    "root and members of the group {group} may: `sudo usermod --append --groups {group} \"$USER\"`, then log in again"
                )),
                None => failure.advise("root and members of the socket's group may: `ls -l` on it and on its folder says which"),
            }
        }
        _ => failure(format!("cannot connect to {shown}: {error}"))
            .advise("--socket or REEVE_SOCKET names the coordinator's socket"),
    }
}

/// The group of the socket, or of the folder that hides it.
fn owning_group(socket: &Path) -> Option<String> {
    let metadata =
        socket.metadata().or_else(|error| socket.parent().map_or(Err(error), Path::metadata)).ok()?;
    Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten().map(|group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_not_there_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let transport = Transport::new(directory.path().join("api.sock"));
        let failure = transport.send(Method::GET, "/v1/status", None).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.to_string().contains("is it running?"), "{failure}");
    }

    #[tokio::test]
    async fn a_socket_nobody_listens_on_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let failure = Transport::new(path).send(Method::GET, "/v1/status", None).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.to_string().contains("nobody answers"), "{failure}");
    }

    #[test]
    fn who_may_use_a_socket_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let failure = not_let_in(&directory.path().join("api.sock"), &io::ErrorKind::PermissionDenied.into());
        assert!(failure.to_string().contains("root"), "{failure}");
        assert!(!failure.to_string().contains("--groups root"), "{failure}");
    }
}
