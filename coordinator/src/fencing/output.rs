//! Owns what is kept of what a command writes: the end of it, however much it was.

use std::collections::VecDeque;

use reeve_common::text::printable;
use zeroize::Zeroizing;

/// The end that is kept: an error message with what led to it.
pub(super) const OUTPUT_LENGTH_MAX: usize = 4 << 10;

/// The end of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    /// Takes more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(bytes.len().saturating_sub(OUTPUT_LENGTH_MAX)..).unwrap_or_default();
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(OUTPUT_LENGTH_MAX);
        self.cut |= excess > 0;
        self.bytes.drain(..excess);
    }

    /// What is kept, made safe for logs and terminals line by line, without secrets.
    pub(super) fn text(&self, secrets: &[Zeroizing<String>]) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for secret in secrets {
            text = text.replace(secret.as_str(), "***");
        }
        if self.cut && !secrets.is_empty() {
            // The cut may have gone through a secret: what is left of its line is not shown.
            text = text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        }
        let lines: Vec<String> =
            text.trim_end().lines().map(|line| printable(line, OUTPUT_LENGTH_MAX)).collect();
        let start = if self.cut { "…\n" } else { "" };
        format!("{start}{}", lines.join("\n"))
    }
}

/// Two outputs, one after the other.
pub(super) fn joined(first: &str, second: &str) -> String {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second.to_owned(),
        (_, true) => first.to_owned(),
        _ => format!("{first}\n{second}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_no_more() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push(&[b'x'; 100]);
        }
        tail.push(b"\nthe end\n");
        let text = tail.text(&[]);
        assert!(text.starts_with("…\n") && text.ends_with("the end") && text.len() <= OUTPUT_LENGTH_MAX + 8);
    }

    #[test]
    fn secrets_and_control_characters_are_not_shown() {
        let secrets = [Zeroizing::new("s3cret".to_owned())];
        let mut tail = Tail::default();
        tail.push(b"login with s3cret\x1b[2J failed\n");
        let text = tail.text(&secrets);
        assert!(!text.contains("s3cret") && !text.contains('\x1b'), "{text:?}");
        tail.push(&[b'a'; OUTPUT_LENGTH_MAX - 3]);
        assert!(!tail.text(&secrets).contains("ret"), "half a secret is one too");
    }
}
