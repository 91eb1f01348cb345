//! Owns checking a tree against what a definition may say. Every mistake is named with its line and what is allowed;
//! what passes comes out as JSON.
//!
//! Must not: know any particular definition.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use hocon::{HoconValue, ScalarType};
use reeve_common::device::{DeviceSelector, Share};
use reeve_common::text::{TEXT_LENGTH_MAX, is_printable};
use reeve_common::units::Bytes;
use serde_json::{Map, Value};

use super::document::{Document, Mistake, child, item};

/// A key that may stand in an object.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Key {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) kind: Kind,
}

/// What a key's value may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Kind {
    /// A name, judged by the type it is for.
    Name(NameCheck),
    /// A list of names.
    Names(NameCheck),
    /// A text of a certain form, judged by the type it is for, and what is expected in words.
    Parsed(NameCheck, &'static str),
    /// Printable text.
    Text,
    /// A whole number.
    Count,
    /// A size with its unit.
    Size,
    /// On or off.
    Switch,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// Selectors of devices with an amount each.
    Devices,
    /// An amount of devices.
    DeviceAmount,
    /// Names of one's own with a text each.
    Labels,
    /// Names of one's own with a text or a list of texts each.
    LabelValues,
    /// One of several things.
    Choice(&'static Choice),
    /// A list of such.
    Choices(&'static Choice),
    /// An object.
    Object(&'static [Key]),
    /// A list of objects.
    Objects(&'static [Key]),
}

/// A word, or an object with exactly one of several keys.
#[derive(Debug)]
pub(in crate::cli) struct Choice {
    pub(super) words: &'static [&'static str],
    pub(super) keys: &'static [Key],
    /// What it looks like.
    pub(super) example: &'static str,
}

/// Says what is wrong with a name.
pub(in crate::cli) type NameCheck = fn(&str) -> Result<(), String>;

/// The check of the name type `N`.
pub(super) fn name<N: FromStr<Err: Display>>(text: &str) -> Result<(), String> {
    text.parse::<N>().map(drop).map_err(|error| error.to_string())
}

/// Checks the object at `path` against `keys`; `what` is what such an object is called.
pub(super) fn check_object(
    document: &Document,
    what: &str,
    keys: &[Key],
    value: &HoconValue,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Value {
    let mut checker = Checker { document, mistakes };
    checker.object(what, keys, value, path)
}

struct Checker<'a> {
    document: &'a Document,
    mistakes: &'a mut Vec<Mistake>,
}

impl Checker<'_> {
    fn wrong(&mut self, path: &str, message: String) -> Value {
        self.mistakes.push(Mistake { line: self.document.line(path), message });
        Value::Null
    }

    fn object(&mut self, what: &str, keys: &[Key], value: &HoconValue, path: &str) -> Value {
        let Some(fields) = value.as_object() else {
            return self.wrong(path, format!("{what} is an object of keys and values, not {}", shape(value)));
        };
        let mut out = Map::new();
        for (name, value) in fields {
            let at = child(path, name);
            match keys.iter().find(|key| key.name == name) {
                None => {
                    let message = unknown_key(what, keys, name);
                    self.wrong(&at, message);
                }
                Some(_) if is_null(value) => {}
                Some(key) => {
                    out.insert(name.clone(), self.value(key, value, &at));
                }
            }
        }
        for key in keys.iter().filter(|key| key.required && fields.get(key.name).is_none_or(is_null)) {
            self.wrong(path, format!("{what} needs `{}`: {}", key.name, expected(key.kind)));
        }
        Value::Object(out)
    }

    fn value(&mut self, key: &Key, value: &HoconValue, path: &str) -> Value {
        let name = key.name;
        match key.kind {
            Kind::Object(keys) => self.object(&format!("`{name}`"), keys, value, path),
            Kind::Objects(keys) => self.items(key, value, path, |checker, value, path| {
                checker.object(&format!("an item of `{name}`"), keys, value, path)
            }),
            Kind::Names(check) => self.items(key, value, path, |checker, value, path| {
                checker.scalar(Kind::Name(check), name, value, path)
            }),
            Kind::Devices => self.devices(key, value, path),
            Kind::Labels => self.entries(key, value, path, label_key, Kind::Text),
            Kind::LabelValues => self.label_values(key, value, path),
            Kind::Choice(choice) => self.choice(name, choice, value, path),
            Kind::Choices(choice) => self.items(key, value, path, |checker, value, path| {
                checker.choice(&format!("an item of `{name}`"), choice, value, path)
            }),
            kind => self.scalar(kind, name, value, path),
        }
    }

    fn items(
        &mut self,
        key: &Key,
        value: &HoconValue,
        path: &str,
        mut each: impl FnMut(&mut Self, &HoconValue, &str) -> Value,
    ) -> Value {
        let Some(items) = value.as_array() else {
            let message = format!("`{}` is {}, and must be {}", key.name, shape(value), expected(key.kind));
            return self.wrong(path, message);
        };
        items.iter().enumerate().map(|(index, value)| each(self, value, &item(path, index))).collect()
    }

    fn entries(&mut self, key: &Key, value: &HoconValue, path: &str, check: NameCheck, kind: Kind) -> Value {
        let Some(fields) = value.as_object() else {
            let message = format!("`{}` is {}, and must be {}", key.name, shape(value), expected(key.kind));
            return self.wrong(path, message);
        };
        let mut out = Map::new();
        for (name, value) in fields {
            let at = child(path, name);
            if let Err(message) = check(name) {
                self.wrong(&at, format!("`{}`: {message}", key.name));
            } else {
                let value = self.scalar(kind, &format!("{}.{name}", key.name), value, &at);
                out.insert(name.clone(), value);
            }
        }
        Value::Object(out)
    }

    /// Two selectors that mean the same devices would be one key of the answer, and one of them would be lost.
    fn devices(&mut self, key: &Key, value: &HoconValue, path: &str) -> Value {
        let checked = self.entries(key, value, path, name::<DeviceSelector>, Kind::DeviceAmount);
        let Value::Object(fields) = &checked else { return checked };
        let mut seen = BTreeSet::new();
        let twice = fields.keys().find(|text| {
            let selector = text.parse::<DeviceSelector>();
            selector.is_ok_and(|selector| !seen.insert(selector))
        });
        match twice {
            None => checked,
            Some(text) => {
                let message =
                    format!("`{}.{text}` means the same devices as another key: write them once", key.name);
                self.wrong(&child(path, text), message)
            }
        }
    }

    /// Each value comes out as a list.
    fn label_values(&mut self, key: &Key, value: &HoconValue, path: &str) -> Value {
        let Some(fields) = value.as_object() else {
            let message = format!("`{}` is {}, and must be {}", key.name, shape(value), expected(key.kind));
            return self.wrong(path, message);
        };
        let mut out = Map::new();
        for (label, value) in fields {
            let at = child(path, label);
            let shown = format!("{}.{label}", key.name);
            if let Err(message) = label_key(label) {
                self.wrong(&at, format!("`{}`: {message}", key.name));
            } else if let Some(items) = value.as_array() {
                let items = items.iter().enumerate();
                let items =
                    items.map(|(index, value)| self.scalar(Kind::Text, &shown, value, &item(&at, index)));
                out.insert(label.clone(), items.collect());
            } else {
                let one = self.scalar(Kind::Text, &shown, value, &at);
                out.insert(label.clone(), Value::Array(vec![one]));
            }
        }
        Value::Object(out)
    }

    /// A word, or an object with exactly one key.
    fn choice(&mut self, name: &str, choice: &'static Choice, value: &HoconValue, path: &str) -> Value {
        let shown = if name.contains('`') { name.to_owned() } else { format!("`{name}`") };
        match value {
            HoconValue::Scalar(scalar) if choice.words.contains(&scalar.raw.as_str()) => {
                scalar.raw.as_str().into()
            }
            HoconValue::Object(fields) if fields.len() == 1 => self.object(&shown, choice.keys, value, path),
            HoconValue::Object(_) => {
                let message =
                    format!("{shown} has exactly one of {}: {}", key_list(choice.keys), choice.example);
                self.wrong(path, message)
            }
            _ => self.wrong(path, format!("{shown} must be {}", choice.example)),
        }
    }

    fn scalar(&mut self, kind: Kind, name: &str, value: &HoconValue, path: &str) -> Value {
        let HoconValue::Scalar(scalar) = value else {
            return self.wrong(path, format!("`{name}` is {}, and must be {}", shape(value), expected(kind)));
        };
        read_scalar(kind, &scalar.raw, value).unwrap_or_else(|problem| {
            let message = match problem {
                Some(problem) => format!("`{name}`: {problem}"),
                None => format!("`{name}` is {:?}, and must be {}", scalar.raw, expected(kind)),
            };
            self.wrong(path, message)
        })
    }
}

/// The JSON of a scalar; or what is wrong with it, none when its kind says enough.
fn read_scalar(kind: Kind, raw: &str, value: &HoconValue) -> Result<Value, Option<String>> {
    match kind {
        Kind::Name(check) => check(raw).map(|()| raw.into()).map_err(Some),
        Kind::Parsed(check, _) => check(raw).map(|()| raw.into()).map_err(|_| None),
        Kind::Text => check_text(raw).map(|()| raw.into()).map_err(Some),
        Kind::Count => raw.parse::<u32>().map(Value::from).map_err(|_| None),
        Kind::DeviceAmount => device_amount(raw),
        Kind::Size => raw.parse::<Bytes>().map(|_| raw.into()).map_err(|error| Some(error.to_string())),
        Kind::Switch => value.as_bool().map(Value::Bool).ok_or(None),
        Kind::Word(words) => words.contains(&raw).then(|| raw.into()).ok_or(None),
        // Not scalars: said by whoever asks.
        Kind::Names(_)
        | Kind::Devices
        | Kind::Labels
        | Kind::LabelValues
        | Kind::Choice(_)
        | Kind::Choices(_)
        | Kind::Object(_)
        | Kind::Objects(_) => Err(None),
    }
}

/// A number of whole devices, or a share of one.
fn device_amount(raw: &str) -> Result<Value, Option<String>> {
    match (raw.parse::<u32>(), raw.parse::<Share>()) {
        (Ok(count), _) => Ok(count.into()),
        (_, Ok(share)) => Ok(share.to_string().into()),
        (_, Err(error)) => Err(Some(error.to_string())),
    }
}

fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("it may not be empty".to_owned());
    }
    if text.len() > TEXT_LENGTH_MAX {
        return Err(format!("it has {} bytes, and may have {TEXT_LENGTH_MAX}", text.len()));
    }
    match text.chars().find(|character| !is_printable(*character)) {
        Some(found) => Err(format!("it holds {found:?}, which is not printable")),
        None => Ok(()),
    }
}

fn label_key(text: &str) -> Result<(), String> {
    check_text(text).map_err(|problem| format!("{text:?} is no label: {problem}"))
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Name(_) => "a name (letters, digits, '.', '_' and '-')".to_owned(),
        Kind::Parsed(_, expected) => expected.to_owned(),
        Kind::Names(_) => "a list of names, such as [ one, two ]".to_owned(),
        Kind::Text => "a text".to_owned(),
        Kind::Count => "a whole number, such as 2".to_owned(),
        Kind::Size => "a size with its unit, such as 2 GiB".to_owned(),
        Kind::Switch => "on or off (or true or false)".to_owned(),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Devices => "classes with an amount each, such as { nvidia-a100 = 2 }".to_owned(),
        Kind::DeviceAmount => "a number of devices, or a share such as \"250 permille\"".to_owned(),
        Kind::Labels => "names with a text each, such as { rack = r3 }".to_owned(),
        Kind::LabelValues => "names with a text or a list each, such as { rack = [ r1, r2 ] }".to_owned(),
        Kind::Choice(choice) => choice.example.to_owned(),
        Kind::Choices(choice) => format!("a list of {}", choice.example),
        Kind::Object(keys) => format!("an object with {}", key_list(keys)),
        Kind::Objects(keys) => format!("a list of objects with {}", key_list(keys)),
    }
}

fn key_list(keys: &[Key]) -> String {
    keys.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ")
}

fn shape(value: &HoconValue) -> &'static str {
    match value {
        HoconValue::Object(_) => "an object",
        HoconValue::Array(_) => "a list",
        HoconValue::Scalar(scalar) => match scalar.value_type {
            ScalarType::Number => "a number",
            ScalarType::Boolean => "true or false",
            ScalarType::Null => "null",
            _ => "a text",
        },
        _ => "something else",
    }
}

fn is_null(value: &HoconValue) -> bool {
    matches!(value, HoconValue::Scalar(scalar) if scalar.value_type == ScalarType::Null)
}

fn unknown_key(what: &str, keys: &[Key], name: &str) -> String {
    let meant = keys.iter().find(|key| differ_little(key.name, name));
    let meant = meant.map_or_else(String::new, |key| format!("; did you mean `{}`?", key.name));
    format!("{name:?} is no key of {what}; allowed are {}{meant}", key_list(keys))
}

/// Whether one is the other with one character more, less or changed, or two neighbours exchanged.
fn differ_little(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let same_start = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let same_end = |skip_one: usize, skip_other: usize| {
        one.get(same_start + skip_one..)
            .is_some_and(|rest| other.get(same_start + skip_other..) == Some(rest))
    };
    let exchanged = one.get(same_start).zip(one.get(same_start + 1)).is_some_and(|(a, b)| {
        other.get(same_start) == Some(b) && other.get(same_start + 1) == Some(a) && same_end(2, 2)
    });
    same_end(1, 1) || same_end(0, 1) || same_end(1, 0) || exchanged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        for slip in ["memroy", "memor", "memoryy", "nemory", "mmory"] {
            assert!(differ_little("memory", slip), "{slip}");
        }
        for other in ["memo", "cores", "", "yromem"] {
            assert!(!differ_little("memory", other), "{other}");
        }
    }
}
