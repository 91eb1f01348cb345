//! Owns reading single values: yes or no, amounts with units, names, choices, addresses, paths. Each says what is
//! allowed when it refuses.
//!
//! Must not: guess. A number without a unit is refused where a unit is needed.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reeve_common::text::{TEXT_LENGTH_MAX, is_printable};
use reeve_common::units::{Bytes, format_duration, parse_duration};

use super::section::{Entry, nearest};

/// Two settings on one line without a comma become one text; this is how it shows.
fn run_on_hint(text: &str) -> &'static str {
    if text.contains(" = ") || text.contains(": ") {
        "; if two settings stand on one line, put a comma between them"
    } else {
        ""
    }
}

/// `true` or `false`, `yes` or `no`, `on` or `off`.
pub(super) fn flag(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text("true or false")?;
    match text {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        other => {
            let hint = run_on_hint(other);
            entry.refuse(format!(
                "{other:?} is neither; allowed are true and false, on and off, yes and no{hint}"
            ));
            None
        }
    }
}

/// Text for people: one line, not empty, of bounded length.
pub(super) fn title(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text("a text")?;
    if text.trim().is_empty() {
        entry.refuse("the text is empty; write one for people to read".to_owned());
    } else if text.len() > TEXT_LENGTH_MAX {
        entry.refuse(format!("the text has {} bytes, allowed are {TEXT_LENGTH_MAX}", text.len()));
    } else if let Some(bad) = text.chars().find(|character| !is_printable(*character)) {
        entry.refuse(format!("the text has the invisible character {bad:?}; write it without"));
    } else {
        return Some(text.to_owned());
    }
    None
}

/// A name of one of the checked kinds.
pub(super) fn name<T: FromStr<Err: Display>>(entry: &Entry<'_>) -> Option<T> {
    let text = entry.text("a name")?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            entry.refuse(format!("{error}{}", run_on_hint(text)));
            None
        }
    }
}

/// One of a few words.
pub(super) fn choice<T: Clone>(entry: &Entry<'_>, choices: &[(&str, T)]) -> Option<T> {
    let text = entry.text("a word")?;
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Some(value.clone());
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let meant = nearest(text, words.iter().copied()).map(|near| format!("; did you mean {near}?"));
    let hint = meant.unwrap_or_else(|| run_on_hint(text).to_owned());
    entry.refuse(format!("{text:?} is not known here; allowed: {}{hint}", words.join(", ")));
    None
}

/// A duration within bounds.
pub(super) fn duration(entry: &Entry<'_>, least: Duration, most: Duration) -> Option<Duration> {
    let text = entry.text("a duration, such as \"5 minutes\",")?;
    let duration = match parse_duration(text) {
        Ok(duration) => duration,
        Err(error) => {
            entry.refuse(format!("{error}{}", run_on_hint(text)));
            return None;
        }
    };
    if duration < least || duration > most {
        let (least, most) = (format_duration(least), format_duration(most));
        entry.refuse(format!("{text:?} is out of range; allowed is from {least} to {most}"));
        return None;
    }
    Some(duration)
}

/// A size within bounds.
pub(super) fn size(entry: &Entry<'_>, least: Bytes, most: Bytes) -> Option<Bytes> {
    let text = entry.text("a size, such as \"500 GiB\",")?;
    let size: Bytes = match text.parse() {
        Ok(size) => size,
        Err(error) => {
            entry.refuse(format!("{error}{}", run_on_hint(text)));
            return None;
        }
    };
    if size < least || size > most {
        entry.refuse(format!("{text:?} is out of range; allowed is from {least} to {most}"));
        return None;
    }
    Some(size)
}

/// A number with at most three decimals, in thousandths, within bounds that are in thousandths too.
pub(super) fn thousandths(entry: &Entry<'_>, least: u64, most: u64) -> Option<u64> {
    let text = entry.text("a number")?;
    let Some(number) = parse_thousandths(text) else {
        let hint = run_on_hint(text);
        entry.refuse(format!(
            "{text:?} is not a number with at most three decimals; write for example 4 or 1.5{hint}"
        ));
        return None;
    };
    if number < least || number > most {
        let (least, most) = (show_thousandths(least), show_thousandths(most));
        entry.refuse(format!("{text:?} is out of range; allowed is from {least} to {most}"));
        return None;
    }
    Some(number)
}

/// Exactly: through a floating-point number 0.29 would become 289 thousandths.
fn parse_thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

fn show_thousandths(number: u64) -> String {
    reeve_common::units::Millicores(number).to_string()
}

/// A whole number within bounds.
pub(super) fn count<N: FromStr + PartialOrd + Display + Copy>(
    entry: &Entry<'_>,
    least: N,
    most: N,
) -> Option<N> {
    let text = entry.text("a whole number")?;
    match text.parse::<N>() {
        Ok(number) if number >= least && number <= most => Some(number),
        _ => {
            let hint = run_on_hint(text);
            entry.refuse(format!("{text:?} is not a whole number from {least} to {most}{hint}"));
            None
        }
    }
}

/// An address to listen on.
pub(super) fn listen_address(entry: &Entry<'_>) -> Option<SocketAddr> {
    let text = entry.text("an address and a port")?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            entry.refuse(format!(
                "{text:?} is not an address and a port; write for example \"0.0.0.0:7443\", \"[::]:7443\" or \"192.0.2.7:7443\""
            ));
            None
        }
    }
}

/// The longest host name there is.
const HOST_NAME_LENGTH_MAX: usize = 253;

/// A host name or an address by which others reach this one; without a port.
pub(super) fn host_address(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text("a host name or an address")?;
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = text.len() <= HOST_NAME_LENGTH_MAX && text.trim_end_matches('.').split('.').all(is_label);
    if is_name || text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(text.to_owned());
    }
    entry.refuse(format!(
        "{text:?} is neither a host name nor an address; write it without a port, for example coordinator.example.org"
    ));
    None
}

/// A path from the root of the file system.
pub(super) fn absolute_path(entry: &Entry<'_>) -> Option<PathBuf> {
    let text = entry.text("a path")?;
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') {
        return Some(path);
    }
    entry.refuse(format!("{text:?} is not an absolute path; begin it with /"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_exact() {
        for (text, number) in [("4", 4000), ("4.0", 4000), ("0.29", 290), ("1.005", 1005), ("0", 0)] {
            assert_eq!(parse_thousandths(text), Some(number), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "1e3", "1.0005", "1 000", "+1", "99999999999999999999"] {
            assert_eq!(parse_thousandths(text), None, "{text}");
        }
    }
}
