//! Owns how a ledger entry is written as the `<reeve:vm>` element of a domain's metadata, and read from it.
//!
//! Must not: speak to a hypervisor. What is read was perhaps written by somebody else: anything unexpected makes the
//! element unreadable, never a guess and never a panic.

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, PoolName, VolumeName};
use reeve_common::text::printable;
use reeve_common::vm::StopReason;
use reeve_common::vm::limits::ORIGIN_LENGTH_MAX;

use super::xml::{Element, element};
use super::{LedgerEntry, LedgerWish};

/// The namespace of our metadata. It names the first layout for ever; another layout gets another `version`.
pub const NAMESPACE: &str = "urn:reeve:libvirt:vm";
/// The prefix that goes with it.
pub const PREFIX: &str = "reeve";
/// The layout written today. An entry with another one was written by a newer agent and is not ours to touch.
const VERSION: &str = "1";
/// The longest reason kept in a ledger: a chain of a few errors, and far below libvirt's limit on a definition.
const REASON_LENGTH_MAX: usize = 1024;
/// The largest element that is read: the longest origin with each of its quotes escaped, and the rest below 4 KiB.
/// Whoever writes more has not written ours.
const ELEMENT_LENGTH_MAX: usize = 6 * ORIGIN_LENGTH_MAX + 4 * 1024;

/// Why an element is no ledger entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableLedger {
    /// Not XML, or too much of it.
    #[error("it is not well-formed XML of a sensible size: {0}")]
    Malformed(String),
    /// Another root element, or another version.
    #[error("it is not a version {VERSION} <vm> element")]
    Unknown,
    /// An attribute is missing or holds something else than it should.
    #[error("its attribute {attribute:?} is missing or wrong")]
    Attribute {
        /// Which.
        attribute: &'static str,
    },
}

/// The element as `virDomainSetMetadata` wants it: libvirt adds the prefix and the namespace by itself.
#[must_use]
pub fn to_metadata(ledger: &LedgerEntry) -> String {
    attributes(element("vm"), ledger).to_document()
}

/// The element as it stands inside a domain's definition.
pub(crate) fn to_element(ledger: &LedgerEntry) -> Element {
    attributes(element("reeve:vm").attribute("xmlns:reeve", NAMESPACE), ledger)
}

/// A domain's definition with another ledger entry in the place of the one it has; `None` when it has none.
#[must_use]
pub fn replace_in(definition: &str, ledger: &LedgerEntry) -> Option<String> {
    let document = roxmltree::Document::parse(definition).ok()?;
    let metadata = document.root_element().children().find(|node| node.has_tag_name("metadata"))?;
    let old = metadata.children().find(|node| node.has_tag_name((NAMESPACE, "vm")))?.range();
    let (before, after) = (definition.get(..old.start)?, definition.get(old.end..)?);
    Some(format!("{before}{}{after}", to_element(ledger).to_document()))
}

fn attributes(root: Element, ledger: &LedgerEntry) -> Element {
    let mut root = root
        .attribute("version", VERSION)
        .attribute("generation", ledger.generation)
        .attribute("epoch", ledger.epoch)
        .attribute("registration-timeout-ms", milliseconds(ledger.registration_timeout));
    root = match &ledger.wish {
        LedgerWish::Running => root.attribute("wish", "running"),
        LedgerWish::Stopped { destroy_at, reason } => {
            let root = root.attribute("wish", "stopped").attribute("destroy-at", destroy_at.0);
            match reason {
                None => root,
                Some(reason) => {
                    let root = root.attribute("reason", reason_word(reason));
                    match reason {
                        StopReason::StartFailed(why) => {
                            root.attribute("reason-text", printable(why, REASON_LENGTH_MAX))
                        }
                        _ => root,
                    }
                }
            }
        }
    };
    for (name, moment) in [
        ("registration-deadline", ledger.registration_deadline),
        ("started-at", ledger.started_at),
        ("registered-at", ledger.registered_at),
    ] {
        if let Some(moment) = moment {
            root = root.attribute(name, moment.0);
        }
    }
    if let Some((pool, volume)) = &ledger.system_disk {
        root = root.child(element("disk").attribute("pool", pool).attribute("volume", volume));
    }
    if ledger.origin.is_empty() { root } else { root.child(element("origin").text(&ledger.origin)) }
}

/// Reads the element, with or without its namespace.
///
/// # Errors
/// [`UnreadableLedger`]: then the domain is treated as somebody else's.
pub fn from_metadata(text: &str) -> Result<LedgerEntry, UnreadableLedger> {
    if text.len() > ELEMENT_LENGTH_MAX {
        return Err(UnreadableLedger::Malformed(format!("{} bytes", text.len())));
    }
    let document = roxmltree::Document::parse(text)
        .map_err(|error| UnreadableLedger::Malformed(printable(&error.to_string(), REASON_LENGTH_MAX)))?;
    let root = document.root_element();
    let namespace = root.tag_name().namespace();
    let ours = namespace.is_none_or(|namespace| namespace == NAMESPACE);
    if root.tag_name().name() != "vm" || !ours || root.attribute("version") != Some(VERSION) {
        return Err(UnreadableLedger::Unknown);
    }
    let values = Values(root.attributes().map(|attribute| (attribute.name(), attribute.value())).collect());
    let child = |name| root.children().find(|child| child.is_element() && child.tag_name().name() == name);
    let origin = child("origin").and_then(|origin| origin.text()).unwrap_or_default();
    if origin.len() > ORIGIN_LENGTH_MAX {
        return Err(UnreadableLedger::Malformed(format!("an origin of {} bytes", origin.len())));
    }
    Ok(LedgerEntry {
        generation: Generation(values.number("generation")?),
        epoch: Epoch(values.number("epoch")?),
        wish: wish(&values)?,
        registration_deadline: values.moment("registration-deadline")?,
        started_at: values.moment("started-at")?,
        registered_at: values.moment("registered-at")?,
        system_disk: child("disk").map(system_disk).transpose()?,
        registration_timeout: Duration::from_millis(values.number("registration-timeout-ms")?),
        origin: origin.to_owned(),
    })
}

struct Values<'text>(BTreeMap<&'text str, &'text str>);

impl Values<'_> {
    fn word(&self, attribute: &'static str) -> Result<&str, UnreadableLedger> {
        self.0.get(attribute).copied().ok_or(UnreadableLedger::Attribute { attribute })
    }

    fn number(&self, attribute: &'static str) -> Result<u64, UnreadableLedger> {
        self.word(attribute)?.parse().map_err(|_| UnreadableLedger::Attribute { attribute })
    }

    fn moment(&self, attribute: &'static str) -> Result<Option<Timestamp>, UnreadableLedger> {
        if self.0.contains_key(attribute) {
            self.number(attribute).map(|at| Some(Timestamp(at)))
        } else {
            Ok(None)
        }
    }
}

fn wish(values: &Values<'_>) -> Result<LedgerWish, UnreadableLedger> {
    match values.word("wish")? {
        "running" => Ok(LedgerWish::Running),
        "stopped" => {
            let reason = match values.word("reason") {
                Err(_) => None,
                Ok(word) => Some(reason(word, values)?),
            };
            Ok(LedgerWish::Stopped { destroy_at: Timestamp(values.number("destroy-at")?), reason })
        }
        _ => Err(UnreadableLedger::Attribute { attribute: "wish" }),
    }
}

const fn reason_word(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::ShutDown => "shut-down",
        StopReason::DestroyedAfterGrace => "destroyed-after-grace",
        StopReason::Destroyed => "destroyed",
        StopReason::GuestPowerOff => "guest-power-off",
        StopReason::Crashed => "crashed",
        StopReason::RegistrationTimeout => "registration-timeout",
        StopReason::StartFailed(_) => "start-failed",
        StopReason::FoundStopped => "found-stopped",
        StopReason::Released => "released",
    }
}

fn reason(word: &str, values: &Values<'_>) -> Result<StopReason, UnreadableLedger> {
    Ok(match word {
        "shut-down" => StopReason::ShutDown,
        "destroyed-after-grace" => StopReason::DestroyedAfterGrace,
        "destroyed" => StopReason::Destroyed,
        "guest-power-off" => StopReason::GuestPowerOff,
        "crashed" => StopReason::Crashed,
        "registration-timeout" => StopReason::RegistrationTimeout,
        "start-failed" => StopReason::StartFailed(values.word("reason-text")?.to_owned()),
        "found-stopped" => StopReason::FoundStopped,
        "released" => StopReason::Released,
        _ => return Err(UnreadableLedger::Attribute { attribute: "reason" }),
    })
}

fn system_disk(disk: roxmltree::Node<'_, '_>) -> Result<(PoolName, VolumeName), UnreadableLedger> {
    let value = |attribute| disk.attribute(attribute).ok_or(UnreadableLedger::Attribute { attribute });
    let pool =
        PoolName::new(value("pool")?).map_err(|_| UnreadableLedger::Attribute { attribute: "pool" })?;
    let volume =
        VolumeName::new(value("volume")?).map_err(|_| UnreadableLedger::Attribute { attribute: "volume" })?;
    Ok((pool, volume))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of(any::<u64>().prop_map(Timestamp))
    }

    fn reasons() -> impl Strategy<Value = StopReason> {
        prop_oneof![
            Just(StopReason::ShutDown),
            Just(StopReason::DestroyedAfterGrace),
            Just(StopReason::Destroyed),
            Just(StopReason::GuestPowerOff),
            Just(StopReason::Crashed),
            Just(StopReason::RegistrationTimeout),
            Just(StopReason::FoundStopped),
            Just(StopReason::Released),
            "[ -~]{0,40}".prop_map(StopReason::StartFailed),
        ]
    }

    fn entries() -> impl Strategy<Value = LedgerEntry> {
        let wish = prop_oneof![
            Just(LedgerWish::Running),
            (any::<u64>(), proptest::option::of(reasons()))
                .prop_map(|(at, reason)| LedgerWish::Stopped { destroy_at: Timestamp(at), reason }),
        ];
        let disk = proptest::option::of(("[a-z0-9][a-z._-]{0,20}", "[A-Z0-9][a-z._-]{0,20}"));
        let numbers = ((any::<u64>(), any::<u64>(), any::<u32>()), "[!-~]{0,60}");
        (numbers, wish, moments(), moments(), moments(), disk).prop_map(
            |(
                ((generation, epoch, timeout), origin),
                wish,
                registration_deadline,
                started_at,
                registered_at,
                disk,
            )| {
                LedgerEntry {
                    generation: Generation(generation),
                    epoch: Epoch(epoch),
                    wish,
                    registration_deadline,
                    started_at,
                    registered_at,
                    system_disk: disk.map(|(pool, volume)| {
                        (PoolName::new(pool).unwrap(), VolumeName::new(volume).unwrap())
                    }),
                    registration_timeout: Duration::from_millis(timeout.into()),
                    origin,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(entry in entries()) {
            prop_assert_eq!(from_metadata(&to_metadata(&entry)), Ok(entry.clone()));
            prop_assert_eq!(from_metadata(&to_element(&entry).to_document()), Ok(entry));
        }

        #[test]
        fn an_entry_is_replaced_and_nothing_else(old in entries(), new in entries()) {
            let definition = |ledger: &LedgerEntry| {
                let name = element("name").text("</metadata>");
                let metadata = element("metadata").child(element("other")).child(to_element(ledger));
                element("domain").child(name).child(metadata).child(element("uuid")).to_document()
            };
            let replaced = replace_in(&definition(&old), &new).unwrap();
            let spaceless = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(spaceless(&replaced), spaceless(&definition(&new)));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            prop_assert!(from_metadata(&text).is_err());
        }

        #[test]
        fn no_change_of_one_character_makes_it_panic(
            entry in entries(), at in any::<prop::sample::Index>(), with in any::<char>(),
        ) {
            let mut characters: Vec<char> = to_metadata(&entry).chars().collect();
            let at = at.index(characters.len());
            characters[at] = with;
            let _ = from_metadata(&characters.into_iter().collect::<String>());
        }
    }

    #[test]
    fn what_is_not_ours_is_unreadable() {
        let good = "<vm version='1' generation='1' epoch='1' wish='running' registration-timeout-ms='5'/>";
        assert!(from_metadata(good).is_ok());
        for bad in [
            "<!DOCTYPE vm [<!ENTITY a 'b'>]><vm version='1'/>",
            "<vm version='2' generation='1' epoch='1' wish='running' registration-timeout-ms='5'/>",
            "<vm xmlns='urn:else' version='1' generation='1' epoch='1' wish='running' registration-timeout-ms='5'/>",
            "<vm version='1' generation='-1' epoch='1' wish='running' registration-timeout-ms='5'/>",
            "<vm version='1' generation='1' epoch='1' wish='stopped' registration-timeout-ms='5'/>",
            "<vm version='1' generation='1' epoch='1' wish='paused' registration-timeout-ms='5'/>",
            "<vm version='1' generation='1' epoch='1' wish='running' registration-timeout-ms='5'><disk pool='../x' volume='a'/></vm>",
            "<vm version='1' generation='1' epoch='1' wish='stopped' destroy-at='1' reason='start-failed' registration-timeout-ms='5'/>",
        ] {
            assert!(from_metadata(bad).is_err(), "{bad} was read");
        }
        assert!(from_metadata(&format!("{good}{}", " ".repeat(ELEMENT_LENGTH_MAX))).is_err());
    }
}
