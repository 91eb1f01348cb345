//! Owns what a record may be called: a path of short segments such as `vms/5f0c…`, and the collections that form its
//! first segments.
//!
//! Must not: know what the records hold. A value of these types has been checked.

use std::fmt;

use reeve_common::ids::{
    ConfigurationName, DriveName, HostId, HostName, ImageName, OperationId, RealmName, SetupName, VmId,
};

/// The longest key: four names of the longest kind with their separators.
pub const KEY_LENGTH_MAX: usize = 255;

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// More than [`KEY_LENGTH_MAX`] bytes.
    #[error("a record's key has at most {KEY_LENGTH_MAX} bytes, this one has {length}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Empty, or with nothing between two slashes.
    #[error("a record's key is made of segments divided by '/', none of them empty; got {key:?}")]
    EmptySegment {
        /// The key as given.
        key: String,
    },
    /// A character that is not allowed.
    #[error("a record's key is made of letters, digits, '.', '_', '-' and '/'; {key:?} has {found:?}")]
    Character {
        /// The key as given.
        key: String,
        /// The first bad one.
        found: char,
    },
}

/// The key of one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// Checks `text` and takes it as a key.
    ///
    /// # Errors
    /// [`InvalidKey`] says what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let key = text.into();
        if key.len() > KEY_LENGTH_MAX {
            return Err(InvalidKey::TooLong { length: key.len() });
        }
        if key.split('/').any(str::is_empty) {
            return Err(InvalidKey::EmptySegment { key });
        }
        match key.chars().find(|character| !is_allowed(*character)) {
            Some(found) => Err(InvalidKey::Character { key, found }),
            None => Ok(Self(key)),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key lies under `prefix`: `vms/1` lies under `vms` and under the empty prefix, and `vms-past/1`
    /// does not lie under `vms`. A slash at the prefix's end makes no difference.
    #[must_use]
    pub fn is_under(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        prefix.is_empty() || self.0.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The last segment: what is left of `vms/5f0c…` when the collection is taken away.
    #[must_use]
    pub fn last_segment(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '/')
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A kind of records that lie beside each other, such as `vms`. Made in constants, so that a bad one does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection(&'static str);

impl Collection {
    /// The longest name, so that no id behind it makes the key too long.
    const NAME_LENGTH_MAX: usize = 64;

    /// The collection called `name`: lower-case letters and `-`, at most 64 of them.
    ///
    /// ```
    /// # use reeve_coordinator::store::Collection;
    /// const VMS: Collection = Collection::new("vms");
    /// ```
    ///
    /// # Panics
    /// When the name is not such a one; in a constant that is a compile error.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= Self::NAME_LENGTH_MAX,
            "a collection's name has 1 to 64 letters"
        );
        let mut rest = bytes;
        while let [first, others @ ..] = rest {
            assert!(
                first.is_ascii_lowercase() || *first == b'-',
                "a collection's name has lower-case letters and '-'"
            );
            rest = others;
        }
        Self(name)
    }

    /// The key of one record in it.
    #[must_use]
    pub fn key<I: RecordId>(self, id: &I) -> Key {
        Key(format!("{}/{}", self.0, id.segment()))
    }

    /// What [`super::Store::list`] and [`super::Store::watch`] take.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        self.0
    }
}

/// What identifies a record within its collection. Only for types whose text is always a good segment.
pub trait RecordId: sealed::Sealed {
    /// The last segment of the record's key.
    fn segment(&self) -> String;
}

mod sealed {
    /// Keeps [`super::RecordId`] to types that were checked to make good segments.
    pub trait Sealed {}
}

macro_rules! record_ids {
    ($($name:ty),+) => {$(
        impl sealed::Sealed for $name {}
        impl RecordId for $name {
            fn segment(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

record_ids!(
    ConfigurationName,
    DriveName,
    HostId,
    HostName,
    ImageName,
    OperationId,
    RealmName,
    SetupName,
    VmId
);

impl sealed::Sealed for Collection {}

impl RecordId for Collection {
    /// Its name, for what is kept of a whole collection.
    fn segment(&self) -> String {
        self.0.to_owned()
    }
}

impl sealed::Sealed for u64 {}

impl RecordId for u64 {
    /// With leading zeros, so that records of a sequence are listed in its order.
    fn segment(&self) -> String {
        format!("{self:020}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_of_plain_segments() {
        for good in ["vms/1", "a", "hosts/rack-3.node_7", "a/b/c"] {
            assert!(Key::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "/", "a/", "/a", "a//b", "a b", "ä", "a\0", "a'b", "a%"] {
            assert!(Key::new(bad).is_err(), "{bad:?} was taken as a key");
        }
        assert!(Key::new("a".repeat(KEY_LENGTH_MAX)).is_ok());
        assert!(Key::new("a".repeat(KEY_LENGTH_MAX + 1)).is_err());
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        let key = Key::new("vms-past/1").unwrap();
        assert!(
            !key.is_under("vms") && key.is_under("vms-past") && key.is_under("vms-past/") && key.is_under("")
        );
        assert!(!Key::new("vms").unwrap().is_under("vms"));
    }

    #[test]
    fn numbered_records_sort_by_number() {
        const LINES: Collection = Collection::new("lines");
        assert!(LINES.key(&9_u64) < LINES.key(&10_u64));
        assert_eq!(LINES.key(&HostId(7)).as_str(), "lines/7");
        assert!(Key::new(LINES.key(&u64::MAX).as_str()).is_ok());
    }
}
