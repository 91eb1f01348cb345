//! Owns one run of a program in a process group of its own: fed, listened to, and ended with all its children when its
//! time is over or it leaves any behind.
//!
//! A child that makes a session of its own escapes; it is not waited for.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::FenceRun;
use super::options::Input;
use super::output::{Tail, joined};
use crate::model::fence::Ended;

/// Where the programs are that fence agents call.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long output is waited for that children of a program which has ended hold open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Read at once; a program that writes a gigabyte costs no more memory than this.
const BLOCK: usize = 16 << 10;

/// Runs it for `limit` at most.
pub(super) async fn run(program: &Path, input: Input, limit: Duration) -> FenceRun {
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let why = format!("{} cannot be run: {error}", program.display());
            return FenceRun { ended: Ended::NotStarted(why), output: String::new() };
        }
    };
    let mut group = Group::of(&child);
    let (mut out, mut err) = (Tail::default(), Tail::default());
    let ended = {
        let stdin = child.stdin.take();
        let text = input.text;
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // Whoever does not read what it is told says so by how it ends.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let listen = {
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let (out, err) = (&mut out, &mut err);
            async move { tokio::join!(feed, drain(stdout, out), drain(stderr, err)) }
        };
        tokio::pin!(listen);
        let mut heard_all = false;
        let waited = timeout_at(deadline, async {
            tokio::select! {
                status = child.wait() => status,
                _ = &mut listen => {
                    heard_all = true;
                    child.wait().await
                }
            }
        })
        .await;
        // From here on nothing of it may go on, whether it ended or not.
        group.kill();
        if !heard_all {
            // Those who were killed have closed their ends; what they wrote before is still there.
            let _ = timeout(LAST_WORDS, &mut listen).await;
        }
        match waited {
            Err(_) => Ended::TimedOut,
            Ok(Err(error)) => {
                Ended::NotStarted(format!("{} cannot be waited for: {error}", program.display()))
            }
            Ok(Ok(status)) => status.code().map_or(Ended::Signal, Ended::Exit),
        }
    };
    if ended == Ended::TimedOut {
        // It has been killed, so this takes a moment; it must not be left unburied.
        let _ = timeout(LAST_WORDS, child.wait()).await;
    }
    let output = joined(&out.text(&input.secrets), &err.text(&input.secrets));
    FenceRun { ended, output }
}

async fn drain(stream: Option<impl AsyncRead + Unpin>, tail: &mut Tail) {
    let Some(mut stream) = stream else { return };
    let mut block = vec![0; BLOCK];
    while let Ok(read @ 1..) = stream.read(&mut block).await {
        tail.push(block.get(..read).unwrap_or_default());
    }
}

/// The process group of a child; killed when it goes out of use, so that a run that is given up leaves nothing behind.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may be gone already. Its number was given out moments ago and is not given out again so soon.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
