//! Owns the way of a line into systemd's journal: its native protocol, one datagram for each entry.
//!
//! ```text
//!             taken                          not taken within PATIENCE
//!   line ──▶ patient socket ──▶ journald        │
//!                                               ▼
//!            taken, and how many were lost   lost: 1, 2, …, each tried once without waiting
//!              ◀────────────────────────────────┘
//! ```
//!
//! A journald that hangs must not hang whoever logs: the first line that it does not take is waited for, a moment; those
//! behind it are not, until it takes one again. Lines that were not taken are counted, and the number is told.
//!
//! Must not: decide which lines are written, or say anything on standard error: under systemd that is journald's, too.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::line::MESSAGE_FIELD;
use super::messages;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// What systemd says of the stream that it made our standard error, as `DEVICE:INODE`.
const STREAM_VARIABLE: &str = "JOURNAL_STREAM";
/// How long a line may wait for room: a burst is taken within milliseconds, and a watchdog has seconds.
const PATIENCE: Duration = Duration::from_millis(250);
/// The longest name of a field that journald takes.
const NAME_LENGTH_MAX: usize = 64;

/// A connection to journald.
#[derive(Debug)]
pub(super) struct Journal {
    /// Waits for room.
    patient: UnixDatagram,
    /// Never waits.
    hasty: UnixDatagram,
    path: PathBuf,
    identifier: String,
    lost: AtomicU64,
}

/// One entry, as syslog and journald call its parts. Priorities are syslog's: 0 is the worst, 7 is for debugging.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) priority: u8,
    pub(super) text: &'a str,
    /// The part of the program that wrote it.
    pub(super) target: &'a str,
    /// File and line in the source.
    pub(super) place: (&'a str, u32),
    pub(super) fields: &'a [(String, String)],
}

impl Journal {
    /// Connects to whoever listens at `path`.
    pub(super) fn open(path: &Path, identifier: &str) -> io::Result<Self> {
        let (patient, hasty) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        patient.set_write_timeout(Some(PATIENCE))?;
        hasty.set_nonblocking(true)?;
        // An empty entry is none, and fails when nobody listens.
        match hasty.send_to(&[], path) {
            Err(error) if !is_full(&error) => return Err(error),
            _ => {}
        }
        let identifier = identifier.to_owned();
        Ok(Self { patient, hasty, path: path.to_owned(), identifier, lost: AtomicU64::new(0) })
    }

    /// Writes an entry, or counts it as lost when journald does not take it in time.
    pub(super) fn write(&self, entry: &Entry<'_>) -> io::Result<()> {
        let flows = self.lost.load(Ordering::Relaxed) == 0;
        let socket = if flows { &self.patient } else { &self.hasty };
        match socket.send_to(&self.encode(entry), &self.path) {
            Ok(_) => {
                if !flows {
                    self.tell_lost();
                }
                Ok(())
            }
            Err(error) if is_full(&error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Says how many lines were not taken, if journald takes that.
    pub(super) fn tell_lost(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let text = format!("{lost} lines were not written: the journal did not take them");
        let fields = [(MESSAGE_FIELD.to_owned(), messages::LINES_LOST.to_string())];
        let place = (file!(), line!());
        let entry = Entry { priority: 4, text: &text, target: module_path!(), place, fields: &fields };
        if self.hasty.send_to(&self.encode(&entry), &self.path).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn encode(&self, entry: &Entry<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        put(&mut bytes, "PRIORITY", &entry.priority.to_string());
        put(&mut bytes, "MESSAGE", entry.text);
        put(&mut bytes, "SYSLOG_IDENTIFIER", &self.identifier);
        put(&mut bytes, "SYSLOG_PID", &std::process::id().to_string());
        put(&mut bytes, "TARGET", entry.target);
        put(&mut bytes, "CODE_FILE", entry.place.0);
        put(&mut bytes, "CODE_LINE", &entry.place.1.to_string());
        for (name, value) in entry.fields {
            if let Some(name) = field_name(name) {
                put(&mut bytes, &name, value);
            }
        }
        bytes
    }
}

/// Whether journald has no room for more now.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Adds a field. Only a value with a line's end needs its length said.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

/// A field's name as journald takes it: capital letters, digits and `_`, and at its start a letter. Libraries have names
/// of their own; none when nothing is left of one.
fn field_name(name: &str) -> Option<String> {
    let allowed = |character: char| match character.to_ascii_uppercase() {
        upper @ ('A'..='Z' | '0'..='9') => upper,
        _ => '_',
    };
    let name: String = name
        .chars()
        .map(allowed)
        .skip_while(|character| !character.is_ascii_alphabetic())
        .take(NAME_LENGTH_MAX)
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Whether this process' standard error goes to the journal.
pub(super) fn is_on_standard_error() -> bool {
    let Some(stream) = std::env::var_os(STREAM_VARIABLE) else { return false };
    standard_error().is_ok_and(|found| stream.to_str() == Some(found.as_str()))
}

fn standard_error() -> io::Result<String> {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    fn entry<'a>(text: &'a str, fields: &'a [(String, String)]) -> Entry<'a> {
        Entry { priority: 6, text, target: "reeve_test", place: ("a.rs", 7), fields }
    }

    fn journald() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listening = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::open(&path, "reeve-test").unwrap();
        assert_eq!(listening.recv(&mut [0; 8]).unwrap(), 0, "whether somebody listens is asked with nothing");
        (directory, listening, journal)
    }

    fn received(listening: &UnixDatagram) -> Option<String> {
        let mut bytes = vec![0; 1 << 16];
        let length = listening.recv(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn an_entry_has_the_form_that_journald_reads() {
        let (_directory, listening, journal) = journald();
        let fields = [("REEVE_VM", "7"), ("quinn.rtt", "3"), ("_PID", "1"), ("9", "x"), ("NOTE", "a\nb=c")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        journal.write(&entry("VM is running", &fields)).unwrap();
        let expected = format!(
            "PRIORITY=6\nMESSAGE=VM is running\nSYSLOG_IDENTIFIER=reeve-test\nSYSLOG_PID={}\nTARGET=reeve_test\n\
             CODE_FILE=a.rs\nCODE_LINE=7\nREEVE_VM=7\nQUINN_RTT=3\nPID=1\nNOTE\n\u{5}\0\0\0\0\0\0\0a\nb=c\n",
            std::process::id()
        );
        assert_eq!(received(&listening).unwrap(), expected);
    }

    #[test]
    fn a_journal_that_hangs_holds_nobody_up_and_what_was_lost_is_told() {
        const LINES: u64 = 20_000;
        let (_directory, listening, journal) = journald();
        let begun = SystemClock.monotonic();
        for number in 0..LINES {
            journal.write(&entry(&number.to_string(), &[])).unwrap();
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "one line waits, and no other: {:?}",
            begun.elapsed()
        );
        let lost = journal.lost.load(Ordering::Relaxed);
        assert!(lost > 0, "nobody reads");
        // It wakes up.
        listening.set_nonblocking(true).unwrap();
        let taken = std::iter::from_fn(|| received(&listening)).count() as u64;
        assert_eq!(taken + lost, LINES, "each line is written or counted");
        journal.write(&entry("again", &[])).unwrap();
        assert!(received(&listening).unwrap().contains("MESSAGE=again\n"));
        let told = received(&listening).unwrap();
        assert!(told.contains(&format!("MESSAGE={lost} lines were not written")), "{told}");
        assert!(told.contains(&format!("MESSAGE_ID={}\n", messages::LINES_LOST)), "{told}");
        journal.write(&entry("once", &[])).unwrap();
        assert!(received(&listening).unwrap().contains("MESSAGE=once\n"));
        assert_eq!(received(&listening), None, "it is told once");
    }

    #[test]
    fn a_burst_is_waited_for() {
        let (_directory, listening, journal) = journald();
        let reading = std::thread::spawn(move || {
            listening.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            (0..5_000).map_while(|_| received(&listening)).count()
        });
        for number in 0..5_000 {
            journal.write(&entry(&number.to_string(), &[])).unwrap();
        }
        assert_eq!((reading.join().unwrap(), journal.lost.load(Ordering::Relaxed)), (5_000, 0));
    }

    #[test]
    fn without_anybody_there_is_no_journal() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::open(&directory.path().join("nobody"), "reeve-test").is_err());
    }
}
