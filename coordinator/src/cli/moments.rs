//! Owns how a moment is told to people: as a distance from now, in one unit.

use reeve_common::clock::Timestamp;

use crate::api::types::Moment;

/// Units and their length in seconds, largest first.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// `3m ago`, `in 2h`, or `now` within a second.
pub(super) fn relative(moment: Moment, now: Timestamp) -> String {
    let at = moment.0;
    let (distance, future) = if at > now { (at.since(now), true) } else { (now.since(at), false) };
    let seconds = distance.as_secs();
    let Some((length, unit)) = UNITS.into_iter().find(|(length, _)| seconds >= *length) else {
        return "now".to_owned();
    };
    let count = seconds / length;
    if future { format!("in {count}{unit}") } else { format!("{count}{unit} ago") }
}

/// Both: `3m ago (2026-03-01T12:00:00Z)`.
pub(super) fn relative_and_absolute(moment: Moment, now: Timestamp) -> String {
    format!("{} ({})", relative(moment, now), moment.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_told_in_one_unit() {
        let now = Timestamp(10_000_000_000);
        for (milliseconds, text) in [
            (0, "now"),
            (999, "now"),
            (59_000, "59s ago"),
            (185_000, "3m ago"),
            (7_200_000, "2h ago"),
            (864_000_000, "10d ago"),
        ] {
            assert_eq!(relative(Moment(Timestamp(now.0 - milliseconds)), now), text);
        }
        assert_eq!(relative(Moment(Timestamp(now.0 + 900_500)), now), "in 15m");
    }
}
