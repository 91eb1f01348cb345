//! Owns the envelope around every stored record: JSON that names its kind and its format's version, so that a record
//! can be read with any tool and is never taken for something else.
//!
//! ```json
//! {"version":1,"kind":"host","record":{"name":"rack-3"}}
//! ```
//!
//! Must not: know the kinds, or guess. A record of another kind, of a newer version or with unreadable JSON is an error
//! that names its key.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Stored;
use super::key::Key;

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or not an envelope.
    #[error("the record {key} is not a record of this service; restore the store from a backup")]
    Envelope {
        /// Which.
        key: Key,
        /// Where the JSON goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Another kind than its key says.
    #[error(
        "the record {key} is of the kind {found:?}, and {expected:?} belongs there; restore the store from a backup"
    )]
    Kind {
        /// Which.
        key: Key,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Written by a later release.
    #[error(
        "the record {key} has version {found} of {kind:?}, and this release reads versions up to {newest}; run the release that wrote it, or a later one"
    )]
    NewerVersion {
        /// Which.
        key: Key,
        /// Its kind.
        kind: &'static str,
        /// Its version.
        found: u32,
        /// The newest one known.
        newest: u32,
    },
    /// Written by an earlier release in a form that is not read any more.
    #[error(
        "the record {key} has version {found} of {kind:?}, and this release reads version {newest}; run the release before this one once, which renews it"
    )]
    OlderVersion {
        /// Which.
        key: Key,
        /// Its kind.
        kind: &'static str,
        /// Its version.
        found: u32,
        /// The one that is read.
        newest: u32,
    },
    /// The envelope is good and the record in it is not.
    #[error(
        "the record {key} of the kind {kind:?} has a content that cannot be read; restore the store from a backup"
    )]
    Content {
        /// Which.
        key: Key,
        /// Its kind.
        kind: &'static str,
        /// Where the JSON goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It can be read, and is not letter by letter as it was written.
    #[error(
        "the record {key} of the kind {kind:?} is not as it was written; restore the store from a backup"
    )]
    Frame {
        /// Which.
        key: Key,
        /// Its kind.
        kind: &'static str,
    },
    /// A value that JSON cannot say.
    #[error("a record of the kind {kind:?} cannot be written as JSON")]
    Unwritable {
        /// Its kind.
        kind: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
struct EnvelopeOut<'a, T> {
    version: u32,
    kind: &'a str,
    record: &'a T,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
    kind: String,
}

#[derive(Deserialize)]
struct Body<T> {
    record: T,
}

/// Writes a record of this kind and version.
///
/// # Errors
/// [`RecordError::Unwritable`] when the value has no JSON form, such as a map whose keys are no text.
pub fn encode<T: Serialize>(kind: &'static str, version: u32, record: &T) -> Result<Arc<str>, RecordError> {
    let envelope = EnvelopeOut { version, kind, record };
    match serde_json::to_string(&envelope) {
        Ok(text) => Ok(text.into()),
        Err(source) => Err(RecordError::Unwritable { kind, source }),
    }
}

/// Reads a record that must be of this kind and one of these versions.
///
/// # Errors
/// [`RecordError`] names the record and says what is there instead.
pub fn decode<T: DeserializeOwned>(
    stored: &Stored,
    kind: &'static str,
    versions: RangeInclusive<u32>,
) -> Result<T, RecordError> {
    let key = || stored.key.clone();
    // Twice over the text: the content must not be looked at before kind and version are known to be right, and both
    // readings are far cheaper than the disk's.
    let header: Header =
        serde_json::from_str(&stored.value).map_err(|source| RecordError::Envelope { key: key(), source })?;
    if header.kind != kind {
        return Err(RecordError::Kind { key: key(), expected: kind, found: header.kind });
    }
    let newest = *versions.end();
    if header.version > newest {
        return Err(RecordError::NewerVersion { key: key(), kind, found: header.version, newest });
    }
    if header.version < *versions.start() {
        return Err(RecordError::OlderVersion { key: key(), kind, found: header.version, newest });
    }
    match serde_json::from_str::<Body<T>>(&stored.value) {
        Ok(body) => Ok(body.record),
        Err(source) => Err(RecordError::Content { key: key(), kind, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Version;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Sheep {
        name: String,
        version: u8,
    }

    fn stored(value: &str) -> Stored {
        Stored { key: Key::new("sheep/dolly").unwrap(), version: Version(1), value: value.into() }
    }

    fn message(value: &str) -> String {
        let error = decode::<Sheep>(&stored(value), "sheep", 2..=2).unwrap_err();
        assert!(error.to_string().contains("sheep/dolly"), "{error} does not name the record");
        error.to_string()
    }

    #[test]
    fn the_form_on_disk_is_fixed() {
        let text = encode("sheep", 2, &Sheep { name: "Dolly".to_owned(), version: 9 }).unwrap();
        assert_eq!(&*text, r#"{"version":2,"kind":"sheep","record":{"name":"Dolly","version":9}}"#);
        assert_eq!(decode::<Sheep>(&stored(&text), "sheep", 1..=2).unwrap().version, 9);
    }

    #[test]
    fn what_is_not_the_record_expected_is_refused_with_the_reason() {
        assert!(message("").contains("not a record"));
        assert!(message("[1,2]").contains("not a record"));
        assert!(message(r#"{"version":2,"kind":"goat","record":{}}"#).contains("\"goat\""));
        assert!(message(r#"{"version":3,"kind":"sheep","record":7}"#).contains("up to 2"));
        assert!(message(r#"{"version":1,"kind":"sheep","record":7}"#).contains("release before"));
        assert!(message(r#"{"version":2,"kind":"sheep","record":{"name":"x"}}"#).contains("content"));
        assert!(message(r#"{"version":-2,"kind":"sheep"}"#).contains("not a record"));
    }
}
