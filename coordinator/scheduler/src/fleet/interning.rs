//! Owns values that many VMs share, kept once and counted: a million VMs have a hundred sizes and some thousand owners.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// The number of a shared value; valid as long as somebody holds it.
pub(super) type Number = u32;

/// Values by number, each with how often it is held.
#[derive(Debug, Clone)]
pub(super) struct Interner<T> {
    numbers: HashMap<Arc<T>, Number>,
    entries: Vec<Entry<T>>,
    vacant: Vec<Number>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    value: Option<Arc<T>>,
    held: u64,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), entries: Vec::new(), vacant: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Interner<T> {
    /// The number of `value`, held once more.
    pub(super) fn acquire(&mut self, value: &T) -> Number {
        if let Some(number) = self.numbers.get(value).copied() {
            if let Some(entry) = self.entries.get_mut(number as usize) {
                entry.held += 1;
            }
            return number;
        }
        let value = Arc::new(value.clone());
        let entry = Entry { value: Some(Arc::clone(&value)), held: 1 };
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry { value: None, held: 0 });
            Number::try_from(self.entries.len() - 1).unwrap_or(Number::MAX)
        });
        if let Some(place) = self.entries.get_mut(number as usize) {
            *place = entry;
        }
        self.numbers.insert(value, number);
        number
    }

    /// Held once less; forgotten when nobody holds it any more.
    pub(super) fn release(&mut self, number: Number) {
        let Some(entry) = self.entries.get_mut(number as usize) else { return };
        entry.held = entry.held.saturating_sub(1);
        if entry.held == 0
            && let Some(value) = entry.value.take()
        {
            self.numbers.remove(&value);
            self.vacant.push(number);
        }
    }

    /// The number of `value` if somebody holds it.
    pub(super) fn find(&self, value: &T) -> Option<Number> {
        self.numbers.get(value).copied()
    }

    /// Whether nothing is held.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The value behind a number that is held.
    pub(super) fn get(&self, number: Number) -> Option<&T> {
        self.entries.get(number as usize).and_then(|entry| entry.value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_live_as_long_as_they_are_held() {
        let mut interner = Interner::default();
        let first = interner.acquire(&"a".to_owned());
        assert_eq!(interner.acquire(&"a".to_owned()), first);
        let other = interner.acquire(&"b".to_owned());
        assert_ne!(first, other);
        interner.release(first);
        assert_eq!(interner.get(first).map(String::as_str), Some("a"));
        interner.release(first);
        assert_eq!(interner.find(&"a".to_owned()), None);
        assert_eq!(interner.acquire(&"c".to_owned()), first);
        assert_eq!(interner.get(other).map(String::as_str), Some("b"));
    }
}
