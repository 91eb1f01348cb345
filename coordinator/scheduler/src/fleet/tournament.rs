//! Owns the lowest score among all hosts, for several request classes side by side, while scores change one host at a time.
//!
//! ```text
//!   level 1                [lowest of 8 nodes] …             each box holds the lowest score
//!   level 0     [lowest of 8 hosts] [lowest of 8 hosts] …    below it for each of W classes
//!   leaves      [s][s][s][s][s][s][s][s] [s][s] …
//! ```
//!
//! A change climbs only as far as it changes anything. Hosts stand in the order of their ids, so that among equal scores
//! the first from the left is the host with the lowest id.

/// How many children a node has. Eight rows are compared within some thirty cycles, and six levels hold 260,000 hosts.
const CHILDREN: usize = 8;

/// The score of a host that cannot take the VM; those that can have a finite one.
pub(super) const INFEASIBLE: f64 = f64::INFINITY;

/// Scores of hosts by their slot.
#[derive(Debug)]
pub(super) struct Tournament<const W: usize> {
    leaves: Vec<[f64; W]>,
    levels: Vec<Vec<[f64; W]>>,
}

impl<const W: usize> Default for Tournament<W> {
    fn default() -> Self {
        Self { leaves: Vec::new(), levels: Vec::new() }
    }
}

/// Bytes that a host takes in one tournament, nodes included.
pub(super) const fn bytes_per_host<const W: usize>() -> usize {
    size_of::<[f64; W]>() * CHILDREN / (CHILDREN - 1)
}

impl<const W: usize> Tournament<W> {
    /// The slot of the lowest score of a class, the first among equals, if any host can take it.
    pub(super) fn winner(&self, lane: usize) -> Option<usize> {
        let lowest = *self.levels.last()?.first()?.get(lane)?;
        if !lowest.is_finite() {
            return None;
        }
        let mut place = 0;
        for rows in self.levels.iter().rev().skip(1).chain([&self.leaves]) {
            let first = place * CHILDREN;
            let children = rows.iter().skip(first).take(CHILDREN);
            place = first + children.map(|row| row[lane]).position(|score| score == lowest)?;
        }
        Some(place)
    }

    /// Puts scores in without comparing them; [`Tournament::rebuild`] does that for all.
    pub(super) fn put(&mut self, slot: usize, scores: [f64; W]) {
        self.grow(slot + 1);
        self.leaves[slot] = scores;
    }

    /// Likewise for one class.
    pub(super) fn put_lane(&mut self, slot: usize, lane: usize, score: f64) {
        self.grow(slot + 1);
        self.leaves[slot][lane] = score;
    }

    /// Compares everything anew.
    pub(super) fn rebuild(&mut self) {
        let mut below = &self.leaves;
        for level in &mut self.levels {
            for (node, place) in level.iter_mut().enumerate() {
                *place = lowest(below, node);
            }
            below = level;
        }
    }

    /// Replaces the scores of one host. Its siblings are looked at only where it was the lowest and is not any more.
    pub(super) fn update(&mut self, slot: usize, scores: &[f64; W]) {
        self.grow(slot + 1);
        let mut old = std::mem::replace(&mut self.leaves[slot], *scores);
        let mut new = *scores;
        let mut below = &self.leaves;
        let mut node = slot;
        for level in &mut self.levels {
            node /= CHILDREN;
            let before = level[node];
            let after =
                if has_lost(&before, &old, &new) { lowest(below, node) } else { lower(&before, &new) };
            if after == before {
                return;
            }
            level[node] = after;
            (old, new) = (before, after);
            below = level;
        }
    }

    /// Makes room for `count` hosts; new ones are infeasible until they are scored.
    fn grow(&mut self, count: usize) {
        if self.leaves.len() >= count {
            return;
        }
        self.leaves.resize(count, [INFEASIBLE; W]);
        let mut width = count;
        let mut level = 0;
        loop {
            width = width.div_ceil(CHILDREN);
            if level == self.levels.len() {
                // A new root starts from the old one, which is its first child.
                let below = level.checked_sub(1).and_then(|below| self.levels.get(below));
                let root = below.map_or_else(Vec::new, |below| vec![lowest(below, 0)]);
                self.levels.push(root);
            }
            self.levels[level].resize(width, [INFEASIBLE; W]);
            level += 1;
            if width <= 1 {
                return;
            }
        }
    }
}

/// Whether in some lane the child was as low as its node and has risen.
#[inline]
fn has_lost<const W: usize>(node: &[f64; W], old: &[f64; W], new: &[f64; W]) -> bool {
    let mut found = false;
    for lane in 0..W {
        found |= (old[lane] == node[lane]) & (new[lane] > node[lane]);
    }
    found
}

/// The lower of two in each lane.
#[inline]
fn lower<const W: usize>(left: &[f64; W], right: &[f64; W]) -> [f64; W] {
    let mut lower = *left;
    for lane in 0..W {
        lower[lane] = if right[lane] < left[lane] { right[lane] } else { left[lane] };
    }
    lower
}

/// The lowest score in each lane among the children of a node.
#[inline]
fn lowest<const W: usize>(below: &[[f64; W]], node: usize) -> [f64; W] {
    let first = node * CHILDREN;
    let children = below.get(first..(first + CHILDREN).min(below.len())).unwrap_or_default();
    let mut lowest = [INFEASIBLE; W];
    for child in children {
        lowest = lower(&lowest, child);
    }
    lowest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(rows: &[[f64; 2]], lane: usize) -> Option<usize> {
        let lowest = rows.iter().map(|row| row[lane]).fold(INFEASIBLE, f64::min);
        rows.iter().position(|row| row[lane] == lowest && lowest.is_finite())
    }

    proptest! {
        #[test]
        fn the_winner_is_always_the_first_of_the_lowest(
            count in 1_usize..200,
            changes in proptest::collection::vec((0_usize..200, 0_u8..6, 0_u8..6), 0..300),
        ) {
            // Many ties, and hosts that come as time goes by.
            let score = |value: u8| if value == 5 { INFEASIBLE } else { f64::from(value) };
            let mut rows = vec![[INFEASIBLE; 2]; count];
            let mut tournament = Tournament::<2>::default();
            for (index, (slot, left, right)) in changes.into_iter().enumerate() {
                let slot = slot % (count / 3 + index).clamp(1, count);
                rows[slot] = [score(left), score(right)];
                tournament.update(slot, &rows[slot]);
                for lane in 0..2 {
                    prop_assert_eq!(tournament.winner(lane), naive(&rows, lane));
                }
            }
            tournament.put_lane(0, 1, INFEASIBLE);
            rows[0][1] = INFEASIBLE;
            tournament.rebuild();
            prop_assert_eq!(tournament.winner(1), naive(&rows, 1));
        }
    }
}
