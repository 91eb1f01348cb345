//! Owns taking sections apart: which keys there are, which are missing, which nobody knows. Every key is asked for by
//! name; what was never asked for is unknown, and the nearest known one is suggested.
//!
//! Must not: know what any key means, or stop at the first mistake.

use std::cell::RefCell;

use hocon::ScalarType;

use super::evaluation::{Field, Kind, Table, Value};
use super::finding::{Findings, Severity};
use super::place::{KeyPath, Place, Sources};

/// Above this likeness, from 0 to 1, an unknown word is taken for a mistyped known one.
const LIKENESS_MIN: f64 = 0.7;
/// Known keys that are listed when none is near.
const LISTED_KEYS_MAX: usize = 20;

/// A reading of one configuration: where its keys stand, and what was found so far.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) sources: &'a Sources,
    pub(super) findings: RefCell<Findings>,
}

impl Reading<'_> {
    /// Adds a finding about a place.
    fn report(&self, severity: Severity, place: Place, path: &[String], message: String) {
        let make = || self.sources.finding(severity, place, path, message);
        self.findings.borrow_mut().push_with(severity, make);
    }
}

/// A section: keys with their values. One that is `null` counts as missing, so that an included value can be taken
/// back.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    path: KeyPath,
    fields: Vec<&'a Field>,
    known: Vec<&'static str>,
    /// Where what is missing would be added.
    home: Place,
    /// It is no section at all, which was reported: nothing in it is missed as well.
    is_bad: bool,
}

impl<'a> Section<'a> {
    /// The whole configuration.
    pub(super) fn root(reading: &'a Reading<'a>, table: &'a Table) -> Self {
        Self::of(reading, Vec::new(), table)
    }

    fn of(reading: &'a Reading<'a>, path: KeyPath, table: &'a Table) -> Self {
        let is_null =
            |field: &&Field| matches!(field.value.kind, Kind::Scalar { kind: ScalarType::Null, .. });
        let fields = table.fields.iter().filter(|field| !is_null(field)).collect();
        Self { reading, path, fields, known: Vec::new(), home: table.home, is_bad: false }
    }

    /// The value of a key that may be missing.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        self.fields.iter().find(|field| field.key == key).map(|field| self.entry_of(field))
    }

    fn entry_of(&self, field: &'a Field) -> Entry<'a> {
        Entry {
            reading: self.reading,
            path: self.path_of(&field.key),
            key: &field.key,
            key_place: field.key_place,
            value: &field.value,
        }
    }

    fn path_of(&self, key: &str) -> KeyPath {
        [self.path.as_slice(), &[key.to_owned()]].concat()
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
        if !self.is_bad {
            let message = format!("this key is required; write for example {key} = {example}");
            self.reading.report(Severity::Error, self.home, &self.path_of(key), message);
        }
        None
    }

    /// A section within this one; one that is missing is like one without keys.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let entry = self.entry(key);
        let is_bad = entry.is_some();
        entry.and_then(|entry| entry.section()).unwrap_or_else(|| Section {
            reading: self.reading,
            path: self.path_of(key),
            fields: Vec::new(),
            known: Vec::new(),
            home: self.home,
            is_bad,
        })
    }

    /// All keys, for sections whose keys are names; those that were asked for before are left out.
    pub(super) fn entries(&self) -> Vec<(String, Entry<'a>)> {
        let fields = self.fields.iter().filter(|field| !self.known.contains(&field.key.as_str()));
        fields.map(|field| (field.key.clone(), self.entry_of(field))).collect()
    }

    /// Says something about the section as a whole.
    pub(super) fn report(&self, severity: Severity, message: String) {
        self.reading.report(severity, self.home, &self.path, message);
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

/// All of them, or nothing when one is bad: each is read, so that every mistake is reported and not only the first.
pub(super) fn all_or_none<T, C: FromIterator<T>>(read: impl Iterator<Item = Option<T>>) -> Option<C> {
    let all: Vec<Option<T>> = read.collect();
    all.into_iter().collect()
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

/// A place within a value that stands in the file as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Lines below the one in which the value begins.
    pub(super) line: usize,
    /// Characters behind where the value begins; on a line below, from the line's beginning.
    pub(super) start: usize,
}

/// A key's value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    reading: &'a Reading<'a>,
    path: KeyPath,
    key: &'a str,
    key_place: Place,
    value: &'a Value,
}

impl<'a> Entry<'a> {
    /// The value as a section; reported when it is none.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        match &self.value.kind {
            Kind::Section(table) => Some(Section::of(self.reading, self.path.clone(), table)),
            kind => {
                let key = self.key;
                self.refuse(format!("a section is expected here, as in {key} {{ … }}, not {}", kind.word()));
                None
            }
        }
    }

    /// Whether it is a section, for a key that may be that or a value.
    pub(super) const fn is_section(&self) -> bool {
        matches!(self.value.kind, Kind::Section(_))
    }

    /// The items of a list, each like the value of a key; reported when it is none. `example` is one.
    pub(super) fn items(&self, example: &str) -> Option<Vec<Entry<'a>>> {
        match &self.value.kind {
            Kind::List(values) => {
                let item = |(index, value): (usize, &'a Value)| {
                    let mut path = self.path.clone();
                    path.push((index + 1).to_string());
                    Entry { reading: self.reading, path, key: self.key, key_place: value.place, value }
                };
                Some(values.iter().enumerate().map(item).collect())
            }
            kind => {
                self.refuse(format!(
                    "a list is expected here, as in {} = {example}, not {}",
                    self.key,
                    kind.word()
                ));
                None
            }
        }
    }

    /// The value as text, whatever kind of scalar it is; reported when it is none. `expected` completes "… is
    /// expected here".
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        match &self.value.kind {
            Kind::Scalar { text, .. } => Some(text),
            kind => {
                self.refuse(format!("{expected} is expected here, not {}", kind.word()));
                None
            }
        }
    }

    /// Reports an error in the value. One that could not be worked out was reported already.
    pub(super) fn refuse(&self, message: String) {
        if !matches!(self.value.kind, Kind::Bad) {
            self.reading.report(Severity::Error, self.place(), &self.path, message);
        }
    }

    /// Reports an error at a place within the value that is `length` characters long.
    pub(super) fn refuse_at(&self, mark: Mark, length: usize, message: String) {
        let mut place = self.place();
        place.column = if mark.line == 0 { place.column + mark.start } else { mark.start + 1 };
        place.line += mark.line;
        let make = || {
            let mut finding = self.reading.sources.finding(Severity::Error, place, &self.path, message);
            if let Some(excerpt) = &mut finding.excerpt {
                excerpt.length = length.max(1);
            }
            finding
        };
        self.reading.findings.borrow_mut().push_with(Severity::Error, make);
    }

    /// Says that something might be meant otherwise.
    pub(super) fn warn(&self, message: String) {
        self.reading.report(Severity::Warning, self.place(), &self.path, message);
    }

    /// Reports something about the key itself.
    pub(super) fn report_key(&self, severity: Severity, message: String) {
        self.reading.report(severity, self.key_place, &self.path, message);
    }

    fn place(&self) -> Place {
        self.value.place
    }

    /// The rest of the file's line from where the value begins.
    pub(super) fn written(&self) -> Option<String> {
        self.reading.sources.written_at(self.place())
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
