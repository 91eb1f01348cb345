//! Owns the building blocks of wire types whose size an outsider chooses: text, bytes and lists, each with its limit
//! in its type. The limit is checked before anything is allocated, and when writing too, so that what this side sends
//! the other side takes.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// At most this many elements are made room for before the first has been read.
const ROOM_AHEAD: usize = 256;

/// Text of at most `MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<const MAX: usize>(pub(super) String);

impl<const MAX: usize> Serialize for Text<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() > MAX {
            return Err(S::Error::custom(format_args!(
                "a text of {} bytes, at most {MAX} allowed",
                self.0.len()
            )));
        }
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for TextVisitor<MAX> {
            type Value = Text<MAX>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "text of at most {MAX} bytes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text.len() > MAX {
                    Err(E::invalid_length(text.len(), &self))
                } else {
                    Ok(Text(text.to_owned()))
                }
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Bytes, at most `MAX` of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob<const MAX: usize>(pub(super) Vec<u8>);

impl<const MAX: usize> Serialize for Blob<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() > MAX {
            return Err(S::Error::custom(format_args!("{} bytes, at most {MAX} allowed", self.0.len())));
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Blob<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for BlobVisitor<MAX> {
            type Value = Blob<MAX>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "at most {MAX} bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                if bytes.len() > MAX {
                    Err(E::invalid_length(bytes.len(), &self))
                } else {
                    Ok(Blob(bytes.to_vec()))
                }
            }
        }
        deserializer.deserialize_bytes(BlobVisitor)
    }
}

/// At most `MAX` elements. The element must take at least one byte on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() > MAX {
            return Err(S::Error::custom(format_args!("{} entries, at most {MAX} allowed", self.0.len())));
        }
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for element in &self.0 {
            sequence.serialize_element(element)?;
        }
        sequence.end()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MAX: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
            type Value = List<T, MAX>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "at most {MAX} entries")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                const { assert!(size_of::<T>() > 0, "an element without size could be repeated without end") };
                let announced = sequence.size_hint().unwrap_or(0);
                if announced > MAX {
                    return Err(A::Error::invalid_length(announced, &self));
                }
                let mut elements = Vec::with_capacity(announced.min(ROOM_AHEAD));
                while let Some(element) = sequence.next_element()? {
                    if elements.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    elements.push(element);
                }
                Ok(List(elements))
            }
        }
        deserializer.deserialize_seq(ListVisitor(std::marker::PhantomData))
    }
}
