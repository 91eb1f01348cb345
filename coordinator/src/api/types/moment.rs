//! Owns how a moment is written in JSON: RFC 3339 in UTC, to the millisecond.

use std::fmt;

use reeve_common::clock::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

/// A moment, as `2026-03-01T12:00:00.250Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-03-01T12:00:00.250Z")]
pub struct Moment(pub Timestamp);

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.to_string();
        let seconds = seconds.strip_suffix('Z').unwrap_or(&seconds);
        write!(formatter, "{seconds}.{:03}Z", self.0.0 % 1000)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|error| D::Error::custom(format!("{text:?} is no RFC 3339 moment: {error}")))?;
        let milliseconds = at.unix_timestamp_nanos().div_euclid(1_000_000);
        // What lies before 1970 cannot have been written by a coordinator; it counts as 1970.
        Ok(Self(Timestamp(u64::try_from(milliseconds).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_being_written_and_read() {
        let moment = Moment(Timestamp(1_700_000_000_042));
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(text, "\"2023-11-14T22:13:20.042Z\"");
        assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment);
        assert!(serde_json::from_str::<Moment>("\"yesterday\"").is_err());
    }
}
