//! Owns which hosts changed, in order, so that whoever keeps scores knows which of them are no longer right.

/// How many changes are kept at least; who is further behind has to look at all hosts.
const CHANGES_MIN: usize = 4096;

/// Hosts by slot as they changed, numbered from the beginning of time.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeLog {
    slots: Vec<usize>,
    first: u64,
}

impl ChangeLog {
    /// Notes a change; forgets the older half when there are more than hosts, since scoring all is cheaper then.
    pub(super) fn note(&mut self, slot: usize, host_count: usize) {
        if self.slots.len() >= CHANGES_MIN.max(2 * host_count) {
            let forgotten = self.slots.len() / 2;
            self.slots.drain(..forgotten);
            self.first += forgotten as u64;
        }
        self.slots.push(slot);
    }

    /// The number of the next change.
    pub(super) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The changes since `position`; none if they are forgotten.
    pub(super) fn since(&self, position: u64) -> Option<&[usize]> {
        let start = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.slots.get(start..)
    }
}
