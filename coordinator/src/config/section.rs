//! Owns taking sections apart: which keys there are, which are missing, which nobody knows. Every key is asked for by
//! name; what was never asked for is unknown, and the nearest known one is suggested.
//!
//! Must not: know what any key means, or stop at the first mistake.

use std::cell::RefCell;

use hocon::{Config, HoconValue, ScalarType};

use super::finding::{Findings, Severity};
use super::outline::{KeyPath, Outline, Place};

/// Above this likeness, from 0 to 1, an unknown word is taken for a mistyped known one.
const LIKENESS_MIN: f64 = 0.7;
/// Known keys that are listed when none is near.
const LISTED_KEYS_MAX: usize = 20;

/// A reading of one configuration: where its keys stand, and what was found so far.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) outline: &'a Outline,
    pub(super) findings: RefCell<Findings>,
}

impl Reading<'_> {
    /// Adds a finding about a place.
    pub(super) fn report(&self, severity: Severity, place: Option<Place>, path: &[String], message: String) {
        let finding = self.outline.finding(severity, place, path, message);
        self.findings.borrow_mut().push(finding);
    }
}

/// A section: keys with their values.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    path: KeyPath,
    fields: Vec<(&'a str, &'a HoconValue)>,
    known: Vec<&'static str>,
    /// It is no section at all, which was reported: nothing in it is missed as well.
    is_bad: bool,
}

fn fields_of(value: &HoconValue) -> Vec<(&str, &HoconValue)> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.as_str(), value)).collect()
}

impl<'a> Section<'a> {
    /// The whole configuration.
    pub(super) fn root(reading: &'a Reading<'a>, config: &'a Config) -> Self {
        let field = |key: &'a str| {
            let quoted = key.replace('\\', "\\\\").replace('"', "\\\"");
            config.get(&format!("\"{quoted}\"")).filter(|value| !value.is_null()).map(|value| (key, value))
        };
        let fields = config.keys().into_iter().filter_map(field).collect();
        Self { reading, path: Vec::new(), fields, known: Vec::new(), is_bad: false }
    }

    /// The value of a key that may be missing. One that is `null` counts as missing, so that an included value can be
    /// taken back.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        self.fields.iter().find(|(found, _)| *found == key).map(|(_, value)| self.entry_of(key, value))
    }

    fn entry_of(&self, key: &str, value: &'a HoconValue) -> Entry<'a> {
        let path = [self.path.as_slice(), &[key.to_owned()]].concat();
        Entry { reading: self.reading, path, value }
    }

    /// The value of a key that may be missing; a bad one is reported and counts as missing.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Entry<'a>) -> Option<T>,
    ) -> Option<T> {
        self.entry(key).and_then(|entry| read(&entry))
    }

    /// The value of a key that must be there; `example` is what could be written.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Entry<'a>) -> Option<T>,
    ) -> Option<T> {
        if let Some(entry) = self.entry(key) {
            return read(&entry);
        }
        if self.is_bad {
            return None;
        }
        let path = [self.path.as_slice(), &[key.to_owned()]].concat();
        let place = self.reading.outline.section_place(&self.path);
        self.reading.report(
            Severity::Error,
            place,
            &path,
            format!("this key is required; write for example {key} = {example}"),
        );
        None
    }

    /// A section within this one; one that is missing is like one without keys.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let path = [self.path.as_slice(), &[key.to_owned()]].concat();
        let entry = self.entry(key);
        let is_bad = entry.as_ref().is_some_and(|entry| !entry.expect_section());
        let fields = entry.map_or_else(Vec::new, |entry| fields_of(entry.value));
        Section { reading: self.reading, path, fields, known: Vec::new(), is_bad }
    }

    /// All keys, for sections whose keys are names; those that were asked for before are left out.
    pub(super) fn entries(&self) -> Vec<(String, Entry<'a>)> {
        let fields = self.fields.iter().filter(|(key, _)| !self.known.contains(key));
        fields.map(|(key, value)| ((*key).to_owned(), self.entry_of(key, value))).collect()
    }

    /// Says something about the section as a whole.
    pub(super) fn report(&self, severity: Severity, message: String) {
        self.reading.report(severity, self.reading.outline.section_place(&self.path), &self.path, message);
    }

    /// Reports every key that nobody has asked for.
    pub(super) fn refuse_unknown(&self) {
        for (key, entry) in self.entries() {
            let message = match nearest(&key, self.known.iter().copied()) {
                Some(near) => format!("there is no such key; did you mean {near}?"),
                None => format!("there is no such key; known here are {}", list(&self.known)),
            };
            entry.report_key(Severity::Error, message);
        }
    }
}

fn list(words: &[&str]) -> String {
    let mut listed: Vec<&str> = words.iter().copied().take(LISTED_KEYS_MAX).collect();
    if words.len() > LISTED_KEYS_MAX {
        listed.push("…");
    }
    listed.join(", ")
}

/// The known word most like an unknown one, if it is like enough.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(&word, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, known)| known)
}

/// A key's value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    reading: &'a Reading<'a>,
    path: KeyPath,
    value: &'a HoconValue,
}

impl<'a> Entry<'a> {
    /// The value as a section; reported when it is none.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        self.expect_section().then(|| Section {
            reading: self.reading,
            path: self.path.clone(),
            fields: fields_of(self.value),
            known: Vec::new(),
            is_bad: false,
        })
    }

    fn expect_section(&self) -> bool {
        let is_section = self.value.is_object();
        if !is_section {
            let key = self.path.last().map_or("", String::as_str);
            self.refuse(format!("a section is expected here, as in {key} {{ … }}, not {}", self.kind()));
        }
        is_section
    }

    /// The value as text, whatever kind of scalar it is; reported when it is none. `expected` completes "… is
    /// expected here".
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        if let HoconValue::Scalar(scalar) = self.value {
            return Some(&scalar.raw);
        }
        self.refuse(format!("{expected} is expected here, not {}", self.kind()));
        None
    }

    fn kind(&self) -> &'static str {
        match self.value {
            HoconValue::Object(_) => "a section",
            HoconValue::Array(_) => "a list",
            HoconValue::Scalar(scalar) if scalar.value_type == ScalarType::Number => "a number",
            HoconValue::Scalar(scalar) if scalar.value_type == ScalarType::Boolean => "true or false",
            _ => "a text",
        }
    }

    /// Reports an error in the value.
    pub(super) fn refuse(&self, message: String) {
        self.reading.report(Severity::Error, self.place(), &self.path, message);
    }

    /// Reports an error at a place within the value, `length` characters from `column` on.
    pub(super) fn refuse_at(&self, start: usize, length: usize, message: String) {
        let mut finding = self.reading.outline.finding(Severity::Error, self.place(), &self.path, message);
        if let Some(excerpt) = &mut finding.excerpt {
            let last = excerpt.text.chars().count();
            (excerpt.start, excerpt.length) = ((excerpt.start + start).min(last), length.max(1));
        }
        self.reading.findings.borrow_mut().push(finding);
    }

    /// Says that something might be meant otherwise.
    pub(super) fn warn(&self, message: String) {
        self.reading.report(Severity::Warning, self.place(), &self.path, message);
    }

    /// Reports something about the key itself.
    pub(super) fn report_key(&self, severity: Severity, message: String) {
        self.reading.report(severity, self.reading.outline.key_place(&self.path), &self.path, message);
    }

    /// Where the value stands.
    pub(super) fn place(&self) -> Option<Place> {
        self.reading.outline.value_place(&self.path)
    }

    /// The line of the file on which the value stands, from the value on.
    pub(super) fn written(&self) -> Option<String> {
        let place = self.place()?;
        let line = self.reading.outline.sources.get(place.file)?.line(place.line)?;
        Some(line.chars().skip(place.column.checked_sub(1)?).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_recognised_and_a_strange_one_is_not() {
        let known = ["volumes-pool", "drives-pool", "poll-frequency"];
        assert_eq!(nearest("volume-pool", known.into_iter()), Some("volumes-pool"));
        assert_eq!(nearest("Drives_Pool", known.into_iter()), Some("drives-pool"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
