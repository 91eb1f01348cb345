//! Owns what free text from people, guests and peers may be: printable, of bounded length, and harmless to a
//! terminal. Titles, owners and reasons go through here; names have stricter rules in `ids`.

/// The longest free text stored or shown, in bytes.
pub const TEXT_LENGTH_MAX: usize = 1024;

/// Makes foreign text safe to log, store and print: control and direction-changing characters become `?`, and what
/// is longer than `length_max` bytes is cut at a character and marked with `…`.
#[must_use]
pub fn printable(text: &str, length_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(length_max));
    for character in text.chars() {
        let safe = if is_printable(character) { character } else { '?' };
        if out.len() + safe.len_utf8() > length_max {
            out.push('…');
            break;
        }
        out.push(safe);
    }
    out
}

/// Whether a character may stand in free text: no control characters, no Unicode direction overrides and no
/// invisible formatting, which make a terminal show something other than what is stored.
#[must_use]
pub fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// An error with its causes in one line, made printable: how every error is logged and shown.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    printable(&text, CHAIN_LENGTH_MAX)
}

/// A chain of a dozen long causes; what is longer has lost its reader.
const CHAIN_LENGTH_MAX: usize = 4 * TEXT_LENGTH_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c", 100), "a?[2Jb?c");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(printable("äöü", 4), "äö…");
        assert_eq!(printable("äöü", 6), "äöü");
    }
}
