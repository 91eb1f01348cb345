//! Owns amounts and their units: processor time, memory, disk sizes, durations; how they are written and read.
//!
//! Must not: guess. A number without a unit is refused where a unit is needed, and nothing overflows silently.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Thousandths of one processor core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millicores(pub u64);

impl Millicores {
    /// `cores` whole cores.
    #[must_use]
    pub const fn from_cores(cores: u32) -> Self {
        Self(cores as u64 * 1000)
    }

    /// In cores.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // amounts of cores stay far below 2^53
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&trim_zeros(format!("{:.3}", self.cores())))
    }
}

/// Memory in units of 2^20 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mebibytes(pub u64);

impl Mebibytes {
    /// The same amount in bytes; an amount beyond 2^64 bytes becomes the largest there is.
    #[must_use]
    pub const fn bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(1 << 20))
    }
}

impl fmt::Display for Mebibytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(formatter)
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// In whole MiB, rounded down.
    #[must_use]
    pub const fn mebibytes(self) -> Mebibytes {
        Mebibytes(self.0 >> 20)
    }
}

impl fmt::Display for Bytes {
    #[allow(clippy::cast_precision_loss)] // shown with at most two decimals
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 5] = [("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let text = UNITS.iter().find(|(_, shift)| self.0 >> shift > 0).map_or_else(
            || format!("{} B", self.0),
            |(unit, shift)| {
                let value = self.0 as f64 / (1_u64 << shift) as f64;
                format!("{} {unit}", trim_zeros(format!("{value:.2}")))
            },
        );
        formatter.pad(&text)
    }
}

fn trim_zeros(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// No number at the start.
    #[error("{text:?} does not start with a number; write for example {example:?}")]
    Number {
        /// The text as given.
        text: String,
        /// A good one.
        example: &'static str,
    },
    /// The unit is missing or not one of those known.
    #[error("{text:?} has {found}; allowed units are {allowed}; write for example {example:?}")]
    Unit {
        /// The text as given.
        text: String,
        /// What stood where the unit belongs.
        found: String,
        /// The units that are known.
        allowed: &'static str,
        /// A good one.
        example: &'static str,
    },
    /// Larger than can be held, or not a whole number of the smallest unit.
    #[error("{text:?} is out of range")]
    Range {
        /// The text as given.
        text: String,
    },
}

/// A text's number and the unit behind it, both trimmed.
fn split_amount(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end =
        text.find(|character: char| !(character.is_ascii_digit() || character == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Reads `number` as a multiple of `factor`, exactly: `1.5` of 1024 is 1536. Errors on fractions of the smallest unit
/// only when they cannot be rounded down to at least one.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || number.ends_with('.') || fraction.contains('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let whole = whole.checked_mul(factor)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits: u128 = fraction.parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u64::try_from(u128::from(factor) * digits / scale).ok()?;
    whole.checked_add(part)
}

const SIZE_EXAMPLE: &str = "500 GiB";
const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB, PiB (powers of 1024; K, M, G, T, P mean the same) and kB, MB, GB, TB, PB (powers of 1000)";

impl FromStr for Bytes {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let (number, unit) = split_amount(text);
        if number.is_empty() || !number.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(InvalidAmount::Number { text: text.to_owned(), example: SIZE_EXAMPLE });
        }
        let factor = match unit {
            "B" | "byte" | "bytes" => 1,
            "K" | "k" | "KiB" | "Ki" => 1 << 10,
            "M" | "m" | "MiB" | "Mi" => 1 << 20,
            "G" | "g" | "GiB" | "Gi" => 1 << 30,
            "T" | "t" | "TiB" | "Ti" => 1 << 40,
            "P" | "p" | "PiB" | "Pi" => 1 << 50,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "PB" => 1_000_000_000_000_000,
            other => {
                let found =
                    if other.is_empty() { "no unit".to_owned() } else { format!("the unit {other:?}") };
                return Err(InvalidAmount::Unit {
                    text: text.to_owned(),
                    found,
                    allowed: SIZE_UNITS,
                    example: SIZE_EXAMPLE,
                });
            }
        };
        scaled(number, factor).map(Self).ok_or_else(|| InvalidAmount::Range { text: text.to_owned() })
    }
}

const DURATION_EXAMPLE: &str = "5 minutes";
const DURATION_UNITS: &str = "ms, s, m, h, d, or the words milliseconds, seconds, minutes, hours, days";

/// Reads a duration such as `5 minutes`, `30 seconds`, `1.5h` or `250 ms`.
///
/// # Errors
/// [`InvalidAmount`] when the number or the unit is missing, unknown or out of range.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidAmount> {
    let (number, unit) = split_amount(text);
    if number.is_empty() || !number.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(InvalidAmount::Number { text: text.to_owned(), example: DURATION_EXAMPLE });
    }
    let milliseconds = match unit {
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        other => {
            let found = if other.is_empty() { "no unit".to_owned() } else { format!("the unit {other:?}") };
            return Err(InvalidAmount::Unit {
                text: text.to_owned(),
                found,
                allowed: DURATION_UNITS,
                example: DURATION_EXAMPLE,
            });
        }
    };
    scaled(number, milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(|| InvalidAmount::Range { text: text.to_owned() })
}

/// Writes a duration the way people say it: `1d 2h`, `5m`, `4.2s`, `250ms`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..=9 => format!("{}s", trim_zeros(format!("{:.1}", duration.as_secs_f64()))),
        10..=59 => format!("{seconds}s"),
        60..=3599 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..=86_399 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("500 GiB", 500 << 30), ("1G", 1 << 30), ("1.5 KiB", 1536), ("2 GB", 2_000_000_000), ("0 B", 0)]
        {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GiB", "12", "-1 GiB", "1 XiB", "1.2.3 GiB", "99999999 PiB", "1. GiB", "nan GiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?} was taken as a size");
        }
        let error = "12".parse::<Bytes>().unwrap_err().to_string();
        assert!(error.contains("no unit") && error.contains("GiB"), "{error}");
    }

    #[test]
    fn durations_are_read_and_written() {
        assert_eq!(parse_duration("5 minutes"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert!(parse_duration("5").is_err() && parse_duration("5 fortnights").is_err());
        assert_eq!(format_duration(Duration::from_millis(4200)), "4.2s");
        assert_eq!(format_duration(Duration::from_secs(93_600)), "1d 2h");
        assert_eq!(format_duration(Duration::from_secs(300)), "5m");
    }

    #[test]
    fn amounts_are_shown_in_the_unit_a_person_would_use() {
        assert_eq!(Bytes(500 << 30).to_string(), "500 GiB");
        assert_eq!(Mebibytes(1536).to_string(), "1.5 GiB");
        assert_eq!(Millicores(1500).to_string(), "1.5");
        assert_eq!(Millicores::from_cores(64).to_string(), "64");
    }
}
