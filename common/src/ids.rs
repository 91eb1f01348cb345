//! Owns the names and numbers by which things are known, and what a name may look like.
//!
//! Must not: know what the things are. A value of these types has been checked; there is no way to make a bad one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest name accepted: that of a DNS label, so that a name can become a guest's host name.
pub const NAME_LENGTH_MAX: usize = 63;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("a {kind} name may not be empty")]
    Empty {
        /// What the name was for.
        kind: &'static str,
    },
    /// More than [`NAME_LENGTH_MAX`] bytes.
    #[error("a {kind} name has at most {NAME_LENGTH_MAX} characters, this one has {length}")]
    TooLong {
        /// What the name was for.
        kind: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A character that could mean something to a shell, a path, XML or a terminal.
    #[error(
        "a {kind} name is made of letters, digits, '.', '_' and '-', and starts with a letter or digit: {name:?} has {found:?} at position {position}"
    )]
    Character {
        /// What the name was for.
        kind: &'static str,
        /// The name as given, cut to a printable length.
        name: String,
        /// The first character that is not allowed.
        found: char,
        /// Where it stands, counted from 1.
        position: usize,
    },
}

fn check_name(kind: &'static str, text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty { kind });
    }
    if text.len() > NAME_LENGTH_MAX {
        return Err(InvalidName::TooLong { kind, length: text.len() });
    }
    let bad = text.chars().enumerate().find(|(index, character)| {
        let letter = character.is_ascii_alphanumeric();
        !(letter || (*index > 0 && matches!(character, '.' | '_' | '-')))
    });
    match bad {
        None => Ok(()),
        Some((index, found)) => {
            Err(InvalidName::Character { kind, name: text.to_owned(), found, position: index + 1 })
        }
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and takes it as a name.
            ///
            /// # Errors
            /// [`InvalidName`] says which character or length is wrong.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check_name($kind, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name_type!(
    /// The key of a realm in the coordinator's configuration (not its display name).
    RealmName, "realm"
);
name_type!(
    /// A host as the administrator calls it. Unique in the whole service.
    HostName, "host"
);
name_type!(
    /// A hardware profile declared in the configuration.
    ProfileName, "hardware profile"
);
name_type!(
    /// A cost function declared in the configuration, or a preset.
    CostFunctionName, "cost function"
);
name_type!(
    /// A class of devices, such as `nvidia-a100`.
    DeviceClass, "device class"
);
name_type!(
    /// A processor's model as libvirt calls it, such as `Skylake-Server`.
    ProcessorModel, "processor model"
);
name_type!(
    /// A processor's feature as libvirt calls it, such as `avx2`.
    ProcessorFeature, "processor feature"
);
name_type!(
    /// A type of mediated devices as its driver calls it, such as `nvidia-222`.
    MediatedType, "mediated device type"
);
name_type!(
    /// A VM image (brick).
    ImageName, "image"
);
name_type!(
    /// A hardware setup.
    SetupName, "hardware setup"
);
name_type!(
    /// A VM configuration.
    ConfigurationName, "VM configuration"
);
name_type!(
    /// A user's drive.
    DriveName, "drive"
);
name_type!(
    /// A VM as libvirt lists it: its configuration's name and the start of its id.
    VmName, "VM"
);
name_type!(
    /// A libvirt storage pool.
    PoolName, "pool"
);
name_type!(
    /// A volume in a storage pool. Never a path.
    VolumeName, "volume"
);
name_type!(
    /// A libvirt virtual network.
    NetworkName, "network"
);
name_type!(
    /// A libvirt network filter.
    NetworkFilterName, "network filter"
);

/// A host for ever: numbered by the coordinator when it is added, never given out again, and the identity in the
/// host's certificate. A host that is deleted and added anew gets another one, so an old certificate opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub u32);

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for HostId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new random id.
            #[must_use]
            pub fn random() -> Self {
                Self(crate::chance::uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_type!(
    /// One run of a VM configuration. It is the libvirt domain's UUID as well, and never used twice.
    VmId
);
uuid_type!(
    /// One command to an agent; its reply carries the same id. One-shot actions run at most once per id.
    OperationId
);

/// The coordinator's term of office: one number per leader, only ever growing. Agents refuse lower ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The version of what is desired of one object. Repeating one is harmless; a lower one is ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_mean_something_elsewhere_are_refused() {
        for bad in [
            "",
            "-rf",
            ".hidden",
            "../x",
            "a/b",
            "a b",
            "a\0b",
            "a\nb",
            "</name><x/>",
            "]]>",
            "a;b",
            "$(x)",
            "\u{202e}abc",
            "ä",
            "a\"b",
            "a'b",
        ] {
            assert!(HostName::new(bad).is_err(), "{bad:?} was taken as a name");
        }
        assert!(VmName::new("a".repeat(NAME_LENGTH_MAX)).is_ok());
        assert!(VmName::new("a".repeat(NAME_LENGTH_MAX + 1)).is_err());
        assert!(HostName::new("rack-3.node_7").is_ok());
    }

    #[test]
    fn a_refused_name_says_where_it_went_wrong() {
        let error = ImageName::new("a/b").unwrap_err().to_string();
        assert!(error.contains("image name") && error.contains("'/' at position 2"), "{error}");
    }

    #[test]
    fn names_are_checked_when_they_are_read() {
        assert!(serde_json::from_str::<HostName>("\"a b\"").is_err());
        assert_eq!(serde_json::from_str::<HostName>("\"a\"").unwrap().as_str(), "a");
    }
}
