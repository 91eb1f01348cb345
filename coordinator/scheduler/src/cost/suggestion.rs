//! Owns the guess at which name was meant.

/// Names further away than this share of their length are no typing mistakes.
const DISTANCE_SHARE: usize = 3;

/// As many letters are enough to complete a name.
const BEGINNING_LENGTH_MIN: usize = 3;

/// "did you mean …" for the nearest of `candidates`, if one is near enough or begins like the text.
pub(super) fn did_you_mean<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let furthest = (text.chars().count() / DISTANCE_SHARE).max(1);
    candidates
        .map(|candidate| {
            let is_beginning = text.len() >= BEGINNING_LENGTH_MIN && candidate.starts_with(text);
            (if is_beginning { 1 } else { distance(text, candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= furthest)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// How many characters must be changed, added, dropped or swapped with their neighbour to get from one to the other;
/// the case of letters does not count.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().chars().collect();
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(left != right);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *left == to[column - 1] && from[row - 1] == *right;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = ["cores.load", "memory.load", "vms"];
        assert_eq!(
            did_you_mean("core.laod", names.into_iter()).as_deref(),
            Some("did you mean `cores.load`?")
        );
        assert_eq!(did_you_mean("Vms", names.into_iter()).as_deref(), Some("did you mean `vms`?"));
        assert_eq!(did_you_mean("mem", names.into_iter()).as_deref(), Some("did you mean `memory.load`?"));
        assert_eq!(did_you_mean("temperature", names.into_iter()), None);
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
