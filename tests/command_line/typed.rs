//! Typing a command and looking at what it answered.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use reeve_common::clock::{Clock, SystemClock};
use reeve_coordinator::cli::{Surroundings, Terminal, run};
use serde_json::Value;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// Asserts how it ended.
    #[track_caller]
    pub(crate) fn ended(self, code: u8) -> Self {
        assert_eq!(self.code, code, "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Asserts that standard error says each of `words`.
    #[track_caller]
    pub(crate) fn complains(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not said in:\n{}", self.err);
        }
        self
    }

    /// Asserts that standard output says each of `words`.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out.contains(word), "{word:?} is not said in:\n{}", self.out);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.out))
    }
}

/// Types `reeve --socket SOCKET LINE`, with `input` on standard input. Words are split at spaces.
pub(crate) async fn reeve_with_input(socket: &Path, line: &str, input: &str) -> Answer {
    let mut words: Vec<OsString> = vec!["reeve".into(), "--socket".into(), socket.into()];
    words.extend(line.split_whitespace().map(OsString::from));
    typed(words, input).await
}

/// The same without input.
pub(crate) async fn reeve(socket: &Path, line: &str) -> Answer {
    reeve_with_input(socket, line, "").await
}

/// Types what goes on by itself, read by somebody who goes away after `lines` lines, as `head` does.
pub(crate) async fn reeve_until(socket: &Path, line: &str, lines: usize) -> Answer {
    let mut words: Vec<OsString> = vec!["reeve".into(), "--socket".into(), socket.into()];
    words.extend(line.split_whitespace().map(OsString::from));
    let (mut out, mut err) = (Head { lines, taken: Vec::new() }, Vec::new());
    let surroundings = Surroundings {
        input: &mut io::empty(),
        out: &mut out,
        err: &mut err,
        watched: false,
        terminal: Terminal::default(),
        now: SystemClock.now(),
    };
    let exit = run(words, surroundings).await;
    let (out, err) = (String::from_utf8(out.taken).unwrap(), String::from_utf8(err).unwrap());
    Answer { code: exit.code(), out, err }
}

/// A reader of so many lines.
struct Head {
    lines: usize,
    taken: Vec<u8>,
}

impl io::Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = lines_in(&self.taken);
        if taken >= self.lines && !bytes.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines_in(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Types exactly these words.
pub(crate) async fn typed(words: Vec<OsString>, input: &str) -> Answer {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let surroundings = Surroundings {
        input: &mut input.as_bytes(),
        out: &mut out,
        err: &mut err,
        watched: false,
        terminal: Terminal::default(),
        now: SystemClock.now(),
    };
    let exit = run(words, surroundings).await;
    Answer { code: exit.code(), out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}
