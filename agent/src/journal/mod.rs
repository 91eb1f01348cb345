//! Owns reading this host's journal for the coordinator: `journalctl` is run, bounded in time, bytes and lines, and
//! leaves nothing behind.
//!
//! ```text
//!   question ─▶ entry.rs ─▶ journalctl ─▶ lines of JSON ─▶ entry.rs ─▶ answer
//!                              └── ended as soon as there are enough, or after PATIENCE
//! ```
//!
//! A program and not a library: the journal's files are read in one way alone, by systemd's own code, and whoever may
//! read them is the system's to say.
//!
//! Must not: decide whose lines are asked for.

mod entry;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use reeve_common::journal::{JournalCursor, JournalPage, JournalQuery, JournalStart};
use reeve_common::protocol::{Refusal, ReplyBody};
use reeve_common::text::{TEXT_LENGTH_MAX, chain, printable};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdout, Command};

/// Where systemd's own is. Not looked for in the path, which is none of ours.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// How long it may take. The coordinator waits a little longer; a journal of gigabytes is searched within a second.
const PATIENCE: Duration = Duration::from_secs(8);
/// What is read of its answer: 500 entries have a tenth of it.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// What is read of its complaint.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;
/// What it says when it shows nothing, or not everything, since it may not.
const NOT_PERMITTED_WORDS: [&str; 2] = ["insufficient permissions", "not seeing messages from other users"];
/// What it says of a place that is none.
const CURSOR_WORDS: &str = "seek to cursor";

/// Why the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadJournalError {
    /// It cannot be run.
    #[error("{} cannot be run; it is part of systemd, which keeps this host's journal", program.display())]
    Start {
        /// What was to be run.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its answer cannot be read.
    #[error("what journalctl answers cannot be read")]
    Answer(#[source] io::Error),
    /// The agent's user may not read the journal.
    #[error(
        "the agent's user may not read this host's journal: add it to the group systemd-journal (`usermod -a -G systemd-journal reeve-agent`) and restart the agent"
    )]
    NotPermitted,
    /// It took too long.
    #[error("the journal could not be searched within {} s; ask for a shorter time", PATIENCE.as_secs())]
    TooSlow,
    /// The place from which on lines were asked for is none of this journal.
    #[error("this journal does not know the place {}: ask from a time on instead", cursor.as_str())]
    Cursor {
        /// The place.
        cursor: JournalCursor,
    },
    /// It failed.
    #[error("journalctl failed ({status}): {complaint}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        complaint: String,
    },
}

impl ReadJournalError {
    /// Whether the same question may be answered later.
    #[must_use]
    pub(crate) const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Cursor { .. })
    }
}

/// Answers the coordinator's question.
pub(crate) async fn answer(query: &JournalQuery) -> Result<ReplyBody, Refusal> {
    match read(Path::new(JOURNALCTL), query).await {
        Ok(page) => Ok(ReplyBody::Journal(page)),
        Err(error) if error.is_retryable() => Err(Refusal::Failed(chain(&error))),
        Err(error) => Err(Refusal::Invalid(chain(&error))),
    }
}

async fn read(program: &Path, query: &JournalQuery) -> Result<JournalPage, ReadJournalError> {
    let reading = async {
        // Looked at before: what comes while the lines are searched for must not be missed by whoever goes on from here.
        let end = match query.start {
            JournalStart::Behind(_) => None,
            JournalStart::Latest | JournalStart::Since(_) => {
                run(program, &entry::arguments_for_end(), 1).await?.cursor
            }
        };
        let mut page = run(program, &entry::arguments(query), query.lines_max).await?;
        page.cursor = page.cursor.or(end).or_else(|| match &query.start {
            JournalStart::Behind(cursor) => Some(cursor.clone()),
            _ => None,
        });
        Ok::<_, ReadJournalError>(page)
    };
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Err(ReadJournalError::Failed { complaint, .. })) if complaint.contains(CURSOR_WORDS) => {
            match &query.start {
                JournalStart::Behind(cursor) => Err(ReadJournalError::Cursor { cursor: cursor.clone() }),
                _ => Err(ReadJournalError::NotPermitted),
            }
        }
        Ok(read) => read,
        Err(_) => Err(ReadJournalError::TooSlow),
    }
}

/// Runs it until it ends or has said `lines_max` lines. It is ended when this is dropped.
async fn run(program: &Path, arguments: &[String], lines_max: u32) -> Result<JournalPage, ReadJournalError> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ReadJournalError::Start { program: program.to_owned(), source })?;
    let page = lines(child.stdout.take(), lines_max).await.map_err(ReadJournalError::Answer)?;
    if page.more {
        let _ = child.start_kill(); // it has said enough
    }
    let complaint = complaint(child.stderr.take()).await;
    let status = child.wait().await.map_err(ReadJournalError::Answer)?;
    if NOT_PERMITTED_WORDS.iter().any(|words| complaint.contains(words)) {
        return Err(ReadJournalError::NotPermitted);
    }
    if !status.success() && !page.more {
        return Err(ReadJournalError::Failed { status, complaint });
    }
    Ok(page)
}

/// Reads lines until there are enough, or no more.
async fn lines(output: Option<ChildStdout>, lines_max: u32) -> io::Result<JournalPage> {
    let Some(output) = output else { return Ok(JournalPage::default()) };
    let mut output = BufReader::new(output.take(ANSWER_BYTES_MAX));
    let mut page = JournalPage::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if output.read_until(b'\n', &mut line).await? == 0 {
            return Ok(page);
        }
        if line.last() != Some(&b'\n') {
            page.more = true; // cut off where the limit is
            return Ok(page);
        }
        let Some(entry) = entry::read(&line) else { continue };
        if page.lines.len() >= usize::try_from(lines_max).unwrap_or(usize::MAX) {
            page.more = true;
            return Ok(page);
        }
        page.lines.push(entry.line);
        page.cursor = Some(entry.cursor);
    }
}

async fn complaint(errors: Option<ChildStderr>) -> String {
    let Some(errors) = errors else { return String::new() };
    let mut bytes = Vec::new();
    // What cannot be read of a complaint is not missed.
    let _ = errors.take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes).await;
    printable(String::from_utf8_lossy(&bytes).trim(), TEXT_LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use reeve_common::clock::Timestamp;
    use reeve_common::journal::JournalSubject;

    use super::*;

    fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    fn query(lines_max: u32) -> JournalQuery {
        let start = JournalStart::Since(Timestamp(1));
        JournalQuery { subject: JournalSubject::Host, start, lines_max }
    }

    #[tokio::test]
    async fn whatever_the_program_does_the_answer_comes_and_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let entry = r#"{"__CURSOR":"s=a;i=1","__REALTIME_TIMESTAMP":"1000","MESSAGE":"again"}"#;
        let endless = program(directory.path(), "endless", &format!("while :; do echo '{entry}'; done"));
        let quiet = program(directory.path(), "quiet", "exec sleep 1000");
        let denied = "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1";
        let denied = program(directory.path(), "denied", denied);
        let broken = program(directory.path(), "broken", "echo 'the disk is on fire' >&2; exit 3");
        let unknown = program(
            directory.path(),
            "unknown",
            "echo 'Failed to seek to cursor: Invalid argument' >&2; exit 1",
        );
        let long = program(directory.path(), "long", "exec tr '\\0' x </dev/zero");

        let page = run(&endless, &[], 7).await.unwrap();
        assert!(page.lines.len() == 7 && page.more, "{page:?}");
        let page = run(&long, &[], 7).await.unwrap();
        assert!(page.lines.is_empty() && page.more, "a line without end is cut");
        // Time stands still but for waiting: one that hangs is waited for as long as it takes to see that nothing moves.
        tokio::time::pause();
        assert!(matches!(read(&quiet, &query(7)).await, Err(ReadJournalError::TooSlow)));
        tokio::time::resume();
        let error = read(&denied, &query(7)).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("group systemd-journal"), "{error}");
        let error = read(&broken, &query(7)).await.unwrap_err();
        assert!(error.to_string().contains("the disk is on fire"), "{error}");
        let behind = JournalStart::Behind(JournalCursor::new("s=b").unwrap());
        let error = read(&unknown, &JournalQuery { start: behind, ..query(7) }).await.unwrap_err();
        assert!(matches!(error, ReadJournalError::Cursor { .. }) && !error.is_retryable(), "{error}");
        let nothing = read(&directory.path().join("nothing"), &query(7)).await;
        assert!(matches!(nothing, Err(ReadJournalError::Start { .. })));
    }
}
