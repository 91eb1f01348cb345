//! Owns the text that Prometheus reads (format 0.0.4): families with their help and type, series with labels, numbers.
//!
//! Must not: know what is measured. Pure.

use std::fmt::Write as _;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What sort of numbers a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows while the process lives.
    Counter,
    /// Counts of observations below certain bounds.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// Series with one name and one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What sort of numbers.
    pub kind: Kind,
    /// What it means, in one line.
    pub help: &'static str,
}

/// A text that is being written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The series of one family, one after the other.
#[derive(Debug)]
pub struct Series<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Its series follow at once: a family stands in one piece.
    pub fn family(&mut self, family: &Family) -> Series<'_> {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {} {}", family.name, escaped_help(family.help));
        let _ = writeln!(self.text, "# TYPE {} {}", family.name, family.kind.as_str());
        Series { text: &mut self.text, name: family.name }
    }

    /// A family with one series that has no labels.
    pub fn single(&mut self, family: &Family, value: f64) {
        self.family(family).add(&[], value);
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Series<'_> {
    /// One series.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.add_with_suffix("", labels, value);
    }

    /// One of the series of a histogram: `_bucket`, `_sum`, `_count`.
    pub fn add_with_suffix(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (name, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{name}=\"{}\"", escaped_label(text));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", number(value));
    }
}

/// As Go's parser reads it: whole numbers without a fraction.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

fn escaped_help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn escaped_label(text: &str) -> String {
    escaped_help(text).replace('"', "\\\"")
}

/// A count as a series' number. Beyond 2^53 it is rounded, which no count here reaches.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub const fn count(number: u64) -> f64 {
    number as f64
}

/// The same of a length in memory.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub const fn length(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family =
        Family { name: "reeve_things", kind: Kind::Gauge, help: "Things, with a \\ in it." };

    #[test]
    fn a_family_is_written_as_prometheus_reads_it() {
        let mut exposition = Exposition::default();
        let mut series = exposition.family(&FAMILY);
        series.add(&[("realm", "a\"b\\c\nd"), ("state", "on")], 3.0);
        series.add(&[], 0.25);
        series.add_with_suffix("_bucket", &[("le", "+Inf")], f64::INFINITY);
        series.add(&[("x", "y")], f64::NAN);
        assert_eq!(
            exposition.into_text(),
            "# HELP reeve_things Things, with a \\\\ in it.\n# TYPE reeve_things gauge\n\
             reeve_things{realm=\"a\\\"b\\\\c\\nd\",state=\"on\"} 3\nreeve_things 0.25\n\
             reeve_things_bucket{le=\"+Inf\"} +Inf\nreeve_things{x=\"y\"} NaN\n"
        );
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        assert_eq!(number(1e-5), "0.00001");
        assert_eq!(number(1_700_000_000.125), "1700000000.125");
        assert_eq!(number(count(1 << 50)), "1125899906842624");
    }
}
