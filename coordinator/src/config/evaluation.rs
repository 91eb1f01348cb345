//! Owns what a key's value is, by HOCON's rules: of several values the last counts, sections are merged, substitutions
//! mean the final value of what they name. Every value keeps the place where it is written.
//!
//! ```text
//!   layers of a key, in order      its value
//!   5, then { a = 1 }              { a = 1 }            the section takes the number's place
//!   { a = 1 }, then { b = 2 }      { a = 1, b = 2 }     sections are merged
//!   ${base}, then { b = 2 }        base with b = 2      also when the section comes from elsewhere
//!   { a = 1 }, 5, { b = 2 }        { b = 2 }            what was before a value is gone
//! ```
//!
//! Must not: take long. Every step and every byte that is made is paid from one budget, so that substitutions which
//! double each other end in an error. Where it is stricter than HOCON: a value that refers to itself is refused.

use std::collections::{BTreeMap, HashMap, HashSet};

use hocon::ScalarType;

use super::finding::{Findings, Severity};
use super::place::{KeyPath, Place, Sources, show_path};
use super::tree::{Expression, Given, Layer, Node, Substitution};

/// What all values may come to, in bytes, with everything substituted: four times the largest files.
const BUDGET_BYTES: usize = 4 << 20;
/// What a key, a part of a value or a look at a layer costs besides its text: about what it takes in memory.
const STEP_BYTES: usize = 32;
/// Substitutions that refer to values with substitutions. Each level takes stack.
const SUBSTITUTION_DEPTH_MAX: usize = 16;

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar {
        text: String,
        kind: ScalarType,
    },
    List(Vec<Value>),
    Section(Table),
    /// Nothing that could be used, which was reported.
    Bad,
}

/// A section's fields, in the order in which they were first mentioned.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) fields: Vec<Field>,
    /// Where what is missing would be added.
    pub(super) home: Place,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Value,
}

/// The values of all keys; `None` when that was more than may be.
pub(super) fn evaluate(root: &Node, sources: &Sources, findings: &mut Findings) -> Option<Table> {
    let mut evaluation = Evaluation { root, sources, findings, open: Vec::new(), budget: BUDGET_BYTES };
    let home = Place::whole(0);
    let result = evaluation.table(root, &Shape { floor: 0, merged: Vec::new(), home });
    match result {
        Ok(table) => Some(table),
        Err(Exhausted { place, message }) => {
            evaluation.report(place, message);
            None
        }
    }
}

/// There is no going on.
struct Exhausted {
    place: Place,
    message: String,
}

/// A section in the making: which of the keys written below it count, and what is merged into it from elsewhere.
struct Shape {
    /// What was written below it before this was replaced by another value since.
    floor: usize,
    /// Sections that came by substitution, each with its place in the order.
    merged: Vec<(usize, Table)>,
    home: Place,
}

/// What a key's layers come to.
enum Outcome {
    Nothing,
    Value(Value),
    Section(Shape),
}

struct Evaluation<'a> {
    root: &'a Node,
    sources: &'a Sources,
    findings: &'a mut Findings,
    /// The layers whose value is being worked out.
    open: Vec<&'a Layer>,
    budget: usize,
}

/// Stands for the node of a key that is only merged in.
static NO_NODE: Node =
    Node { layers: Vec::new(), children: BTreeMap::new(), included: None, first_order: usize::MAX };

impl<'a> Evaluation<'a> {
    fn report(&mut self, place: Place, message: String) {
        let key = self.open.last().map_or(&[][..], |layer| &layer.path);
        self.findings
            .push_with(Severity::Error, || self.sources.finding(Severity::Error, place, key, message));
    }

    fn spend(&mut self, bytes: usize, place: Place) -> Result<(), Exhausted> {
        match self.budget.checked_sub(bytes.saturating_add(STEP_BYTES)) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => {
                let size = BUDGET_BYTES >> 20;
                let message =
                    format!("with everything substituted this configuration has more than {size} MiB");
                Err(Exhausted { place, message })
            }
        }
    }

    /// What the layers of a key from `floor` on come to, together with `merged`, which came by substitution into the
    /// section around it.
    fn outcome(
        &mut self,
        node: &'a Node,
        floor: usize,
        merged: Vec<(usize, Value)>,
    ) -> Result<Outcome, Exhausted> {
        let mut merged = merged.into_iter().peekable();
        let mut outcome = Outcome::Nothing;
        for layer in node.layers.iter().filter(|layer| layer.order >= floor) {
            while let Some((order, value)) = merged.next_if(|(order, _)| *order < layer.order) {
                outcome.add(order, value);
            }
            self.spend(0, layer.value_place)?;
            match &layer.given {
                Given::Section => outcome.open(layer.order, layer.key_place),
                Given::Expression(expression) => {
                    if let Some(value) = self.layer_value(layer, expression)? {
                        outcome.add(layer.order, value);
                    }
                }
            }
        }
        merged.for_each(|(order, value)| outcome.add(order, value));
        if let (Outcome::Section(shape), Some(file)) = (&mut outcome, node.included) {
            shape.home = Place::whole(file);
        }
        Ok(outcome)
    }

    fn layer_value(
        &mut self,
        layer: &'a Layer,
        expression: &'a Expression,
    ) -> Result<Option<Value>, Exhausted> {
        if self.open.iter().any(|open| std::ptr::eq(*open, layer)) {
            let message = "this value refers to itself; give the value it builds on a key of its own";
            self.report(layer.value_place, message.to_owned());
            return Ok(Some(Value { place: layer.value_place, kind: Kind::Bad }));
        }
        if self.open.len() >= SUBSTITUTION_DEPTH_MAX {
            let message =
                format!("substitutions refer to each other more than {SUBSTITUTION_DEPTH_MAX} deep");
            return Err(Exhausted { place: layer.value_place, message });
        }
        self.open.push(layer);
        let value = self.expression(expression, layer.value_place)?;
        // Not reached when there is no going on: what is open then is what is complained about.
        self.open.pop();
        Ok(value)
    }

    /// The value of a key, if it has one.
    fn value(
        &mut self,
        node: &'a Node,
        floor: usize,
        merged: Vec<(usize, Value)>,
    ) -> Result<Option<Value>, Exhausted> {
        match self.outcome(node, floor, merged)? {
            Outcome::Nothing => Ok(None),
            Outcome::Value(value) => Ok(Some(value)),
            Outcome::Section(shape) => {
                let place = node.layers.last().map_or(shape.home, |layer| layer.value_place);
                let table = self.table(node, &shape)?;
                Ok(Some(Value { place, kind: Kind::Section(table) }))
            }
        }
    }

    /// All fields of a section.
    fn table(&mut self, node: &'a Node, shape: &Shape) -> Result<Table, Exhausted> {
        let merged: Vec<_> = shape.merged.iter().map(|(order, table)| (*order, table.by_key())).collect();
        let mut fields = Vec::new();
        for key in keys_in_order(node, shape) {
            self.spend(key.len(), shape.home)?;
            let child = node.children.get(key).unwrap_or(&NO_NODE);
            let from_elsewhere: Vec<(usize, &Field)> =
                merged.iter().filter_map(|(order, fields)| Some((*order, *fields.get(key)?))).collect();
            let written = child.layers.iter().rev().find(|layer| layer.order >= shape.floor);
            let inherited = from_elsewhere.last().map(|(_, field)| field.key_place);
            let key_place = written.map(|layer| layer.key_place).or(inherited);
            let copies = self.copy(&from_elsewhere)?;
            if let (Some(value), Some(key_place)) = (self.value(child, shape.floor, copies)?, key_place) {
                fields.push(Field { key: key.to_owned(), key_place, value });
            }
        }
        Ok(Table { fields, home: shape.home })
    }

    fn copy(&mut self, fields: &[(usize, &Field)]) -> Result<Vec<(usize, Value)>, Exhausted> {
        let copy = |(order, field): &(usize, &Field)| {
            self.spend(field.value.size(), field.key_place)?;
            Ok((*order, field.value.clone()))
        };
        fields.iter().map(copy).collect()
    }

    /// The final value of the key with this path, if it has one. Only what lies on the way is worked out.
    fn look_up(&mut self, path: &[String]) -> Result<Option<Value>, Exhausted> {
        let (mut node, mut merged) = (self.root, Vec::new());
        let mut shape = Shape { floor: 0, merged: Vec::new(), home: Place::whole(0) };
        for (index, segment) in path.iter().enumerate() {
            if index > 0 {
                match self.outcome(node, shape.floor, merged)? {
                    Outcome::Section(below) => shape = below,
                    Outcome::Nothing | Outcome::Value(_) => return Ok(None),
                }
            }
            node = node.children.get(segment).unwrap_or(&NO_NODE);
            let from_elsewhere: Vec<(usize, &Field)> = shape
                .merged
                .iter()
                .filter_map(|(order, table)| Some((*order, table.field(segment)?)))
                .collect();
            merged = self.copy(&from_elsewhere)?;
        }
        self.value(node, shape.floor, merged)
    }

    /// The value of an expression that begins at `place`; `None` for a substitution that names nothing and may.
    fn expression(&mut self, expression: &'a Expression, place: Place) -> Result<Option<Value>, Exhausted> {
        let kind = match expression {
            Expression::Scalar { text, kind } => {
                self.spend(text.len(), place)?;
                Kind::Scalar { text: text.clone(), kind: *kind }
            }
            Expression::Space(text) => Kind::Scalar { text: text.clone(), kind: ScalarType::String },
            Expression::Substitution(substitution) => return self.substitute(substitution, place),
            Expression::List(items) => {
                let mut values = Vec::new();
                for item in items {
                    self.spend(0, place)?;
                    values.extend(self.expression(item, place)?);
                }
                Kind::List(values)
            }
            Expression::Section(node) => {
                Kind::Section(self.table(node, &Shape { floor: 0, merged: Vec::new(), home: place })?)
            }
            Expression::Sequence(parts) => return self.sequence(parts, place),
        };
        Ok(Some(Value { place, kind }))
    }

    fn substitute(
        &mut self,
        substitution: &'a Substitution,
        place: Place,
    ) -> Result<Option<Value>, Exhausted> {
        self.spend(0, substitution.place)?;
        let targets: [Option<&KeyPath>; 2] =
            [substitution.relative_target.as_ref(), Some(&substitution.target)];
        for target in targets.into_iter().flatten() {
            if let Some(value) = self.look_up(target)? {
                self.spend(value.size(), substitution.place)?;
                return Ok(Some(Value { place, ..value }));
            }
        }
        // A variable that is not text cannot be meant.
        if let Ok(text) = std::env::var(substitution.target.join(".")) {
            self.spend(text.len(), substitution.place)?;
            return Ok(Some(Value { place, kind: Kind::Scalar { text, kind: ScalarType::String } }));
        }
        if substitution.is_optional {
            return Ok(None);
        }
        let target = show_path(&substitution.target);
        self.report(
            substitution.place,
            format!(
                "${{{target}}} names no key and no variable of the environment; write ${{?{target}}} if it may be missing"
            ),
        );
        Ok(Some(Value { place, kind: Kind::Bad }))
    }

    /// Parts one after the other: sections are merged, lists joined, everything else is text with the space between.
    fn sequence(&mut self, parts: &'a [Expression], place: Place) -> Result<Option<Value>, Exhausted> {
        let mut values = Vec::new();
        let mut text = String::new();
        for part in parts {
            let Some(value) = self.expression(part, place)? else { continue };
            if let Kind::Scalar { text: part, .. } = &value.kind {
                text.push_str(part);
            }
            if !matches!(part, Expression::Space(_)) {
                values.push(value);
            }
        }
        let Some(first) = values.first() else {
            // Nothing but the space between: HOCON takes that for a text.
            let kind = Kind::Scalar { text, kind: ScalarType::String };
            return Ok(kind.has_text().then_some(Value { place, kind }));
        };
        let word = first.kind.word();
        if let Some(bad) = values.iter().find(|value| matches!(value.kind, Kind::Bad)) {
            return Ok(Some(bad.clone()));
        }
        if let Some(other) = values.iter().find(|value| value.kind.word() != word) {
            let message =
                format!("{word} and {} cannot stand beside each other in one value", other.kind.word());
            self.report(place, message);
            return Ok(Some(Value { place, kind: Kind::Bad }));
        }
        let kind = match &first.kind {
            Kind::Scalar { kind, text: only } => {
                let kind = if *only == text { *kind } else { ScalarType::String };
                Kind::Scalar { text, kind }
            }
            Kind::List(_) => Kind::List(values.into_iter().flat_map(Value::into_items).collect()),
            Kind::Section(_) => {
                let tables = values
                    .into_iter()
                    .enumerate()
                    .filter_map(|(index, value)| Some((index, value.into_table()?)));
                let shape = Shape { floor: 0, merged: tables.collect(), home: place };
                Kind::Section(self.table(&NO_NODE, &shape)?)
            }
            Kind::Bad => Kind::Bad,
        };
        Ok(Some(Value { place, kind }))
    }
}

impl Outcome {
    /// A section begins, or goes on.
    fn open(&mut self, order: usize, home: Place) {
        match self {
            Self::Section(shape) => shape.home = home,
            Self::Nothing | Self::Value(_) => {
                *self = Self::Section(Shape { floor: order, merged: Vec::new(), home });
            }
        }
    }

    /// Another value, which replaces what was before unless both are sections.
    fn add(&mut self, order: usize, value: Value) {
        match value.kind {
            Kind::Section(table) => {
                self.open(order, value.place);
                if let Self::Section(shape) = self {
                    shape.merged.push((order, table));
                }
            }
            _ => *self = Self::Value(value),
        }
    }
}

/// The keys of a section, each once, as they were first mentioned.
fn keys_in_order<'k>(node: &'k Node, shape: &'k Shape) -> Vec<&'k str> {
    let mut keys: Vec<(usize, usize, &str)> = Vec::new();
    keys.extend(node.children.iter().map(|(key, child)| (child.first_order, 0, key.as_str())));
    for (order, table) in &shape.merged {
        keys.extend(
            table.fields.iter().enumerate().map(|(index, field)| (*order, index, field.key.as_str())),
        );
    }
    keys.sort_unstable();
    let mut seen = HashSet::new();
    keys.retain(|(_, _, key)| seen.insert(*key));
    keys.into_iter().map(|(_, _, key)| key).collect()
}

impl Table {
    fn by_key(&self) -> HashMap<&str, &Field> {
        self.fields.iter().map(|field| (field.key.as_str(), field)).collect()
    }

    fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

impl Value {
    /// What it costs to copy.
    fn size(&self) -> usize {
        match &self.kind {
            Kind::Scalar { text, .. } => STEP_BYTES + text.len(),
            Kind::List(items) => items.iter().map(Self::size).sum(),
            Kind::Section(table) => {
                table.fields.iter().map(|field| field.key.len() + field.value.size()).sum()
            }
            Kind::Bad => 0,
        }
    }

    fn into_items(self) -> Vec<Self> {
        match self.kind {
            Kind::List(items) => items,
            _ => Vec::new(),
        }
    }

    fn into_table(self) -> Option<Table> {
        match self.kind {
            Kind::Section(table) => Some(table),
            _ => None,
        }
    }
}

impl Kind {
    fn has_text(&self) -> bool {
        matches!(self, Self::Scalar { text, .. } if !text.is_empty())
    }

    /// What a person would call it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Scalar { .. } => "a text",
            Self::List(_) => "a list",
            Self::Section(_) => "a section",
            Self::Bad => "nothing",
        }
    }
}

#[cfg(test)]
mod tests;
