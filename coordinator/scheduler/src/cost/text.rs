//! Owns the texts that a term may compare, and what it is to compare two of them.
//!
//! Must not: know where the texts come from.
//!
//! | name | value |
//! |---|---|
//! | `'r1'`, `"r1"` | itself |
//! | `host.label.KEY` | the host's label |
//! | `vm.label.KEY` | the VM's label |
//! | `vm.owner`, `vm.team` | whose it is |
//!
//! Texts are compared by `==` and `!=`, byte by byte, and nothing else. What is missing is as the empty text: it equals
//! only what is missing too, and `vm.owner == ''` asks whether there is none. Placing a VM changes none of them.

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// `'…'`
    Literal(String),
    /// `host.label.KEY`
    HostLabel(String),
    /// `vm.label.KEY`
    VmLabel(String),
    /// `vm.owner`
    VmOwner,
    /// `vm.team`
    VmTeam,
}

impl Text {
    /// The text that the dotted name `parts` means; none when it means something else, or nothing.
    pub(super) fn named(parts: &[&str]) -> Option<Self> {
        match parts {
            ["host", "label", key] => Some(Self::HostLabel((*key).to_owned())),
            ["vm", "label", key] => Some(Self::VmLabel((*key).to_owned())),
            ["vm", "owner"] => Some(Self::VmOwner),
            ["vm", "team"] => Some(Self::VmTeam),
            _ => None,
        }
    }

    /// How it is written.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Literal(text) => quoted(text),
            Self::HostLabel(key) => format!("host.label.{}", part(key)),
            Self::VmLabel(key) => format!("vm.label.{}", part(key)),
            Self::VmOwner => VM_OWNER.to_owned(),
            Self::VmTeam => VM_TEAM.to_owned(),
        }
    }

    /// Whether it is the same for every VM.
    const fn is_of_host(&self) -> bool {
        matches!(self, Self::Literal(_) | Self::HostLabel(_))
    }
}

const VM_OWNER: &str = "vm.owner";
const VM_TEAM: &str = "vm.team";

/// The names of texts; `KEY` stands for a label's key.
pub(super) const TEXT_NAMES: [&str; 4] = [VM_OWNER, VM_TEAM, "vm.label.KEY", "host.label.KEY"];

/// The most different comparisons of texts of one function: a price for each rack of a hall. Each looks up labels for every
/// host, which takes as long as dozens of steps.
pub(super) const TEXT_TESTS_MAX: usize = 256;

/// Whether two texts are the same: a condition that a function is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextTest {
    /// One of them.
    pub(crate) left: Text,
    /// The other.
    pub(crate) right: Text,
}

impl TextTest {
    /// Compares two texts; a literal stands on the right.
    pub(super) fn new(left: Text, right: Text) -> Self {
        if matches!(left, Text::Literal(_)) {
            return Self { left: right, right: left };
        }
        Self { left, right }
    }

    /// The outcome, where it is the same for every host and VM.
    pub(super) fn constant(&self) -> Option<bool> {
        match (&self.left, &self.right) {
            (Text::Literal(left), Text::Literal(right)) => Some(left == right),
            (left, right) => (left == right).then_some(true),
        }
    }

    /// The outcome where every label, owner and team is missing.
    pub(super) fn of_nothing(&self) -> bool {
        let is_nothing = |text: &Text| !matches!(text, Text::Literal(text) if !text.is_empty());
        self.constant().unwrap_or_else(|| is_nothing(&self.left) && is_nothing(&self.right))
    }

    /// Whether its outcome is the same for every VM.
    pub(crate) const fn is_of_host(&self) -> bool {
        self.left.is_of_host() && self.right.is_of_host()
    }

    /// How it is written.
    pub(super) fn name(&self) -> String {
        format!("{} == {}", self.left.name(), self.right.name())
    }
}

/// A part of a name as it must be written: in quotes where it would be read as something else.
pub(super) fn part(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if starts_well && text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

/// In those quotes that are not in it; a text that was read has not both.
fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}
