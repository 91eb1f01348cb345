//! Owns the lowest score among all hosts, for several request classes side by side, while scores change one host at a time.
//!
//! ```text
//!   level 1                [lowest of 8 nodes] …             each box holds the lowest score
//!   level 0     [lowest of 8 hosts] [lowest of 8 hosts] …    below it for each of W classes
//!   leaves      [s][s][s][s][s][s][s][s] [s][s] …
//! ```
//!
//! Many changes come before a class is asked for once, so they do no more than they must: a score that falls lowers the
//! nodes above it, one that rises leaves them as they are. A node is thus never above what is below it; where it is too low
//! it is compared anew when the search for a winner comes by, and only there.
//!
//! Hosts stand in the order of their ids, so that among equal scores the first from the left is the host with the lowest
//! id.

/// How many children a node has. Eight rows are compared within some thirty cycles, and six levels hold 260,000 hosts.
const CHILDREN: usize = 8;

/// How many levels of nodes are beyond a processor's own caches when there are 100,000 hosts.
const TOUCHED_LEVELS: usize = 2;
/// Floats in a cache line.
const FLOATS_OF_LINE: usize = 8;

/// The score of a host that cannot take the VM; those that can have a finite one.
pub(super) const INFEASIBLE: f64 = f64::INFINITY;

/// The scores of one host, or the lowest of a node, in each lane: whole cache lines.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(super) struct Scores<const W: usize>(pub(super) [f64; W]);

impl<const W: usize> Scores<W> {
    /// Of a host that can take none of the VMs.
    pub(super) const NONE: Self = Self([INFEASIBLE; W]);
}

/// Scores of hosts by their slot.
#[derive(Debug)]
pub(super) struct Tournament<const W: usize> {
    leaves: Vec<Scores<W>>,
    levels: Vec<Vec<Scores<W>>>,
}

impl<const W: usize> Default for Tournament<W> {
    fn default() -> Self {
        Self { leaves: Vec::new(), levels: Vec::new() }
    }
}

/// Bytes that a host takes in one tournament, nodes included.
pub(super) const fn bytes_per_host<const W: usize>() -> usize {
    size_of::<Scores<W>>() * CHILDREN / (CHILDREN - 1)
}

impl<const W: usize> Tournament<W> {
    /// The slot of the lowest score of a class, the first among equals, if any host can take it.
    pub(super) fn winner(&mut self, lane: usize) -> Option<usize> {
        let top = self.levels.len().checked_sub(1)?;
        // Going down: the node at `place` in the level above `floor`.
        let (mut floor, mut place) = (top, 0);
        loop {
            let (below, above) = self.levels.split_at_mut(floor);
            let below = below.last().unwrap_or(&self.leaves);
            let node = above.first_mut()?.get_mut(place)?;
            let lowest_of_node = *node.0.get(lane)?;
            if floor == top && !lowest_of_node.is_finite() {
                return None;
            }
            if let Some(child) = children(below, place).iter().position(|row| row.0[lane] == lowest_of_node) {
                place = place * CHILDREN + child;
                if floor == 0 {
                    return Some(place);
                }
                floor -= 1;
            } else {
                // It was too low, and so may be the one above it, which is looked at again.
                *node = lowest(below, place);
                if floor < top {
                    floor += 1;
                    place /= CHILDREN;
                }
            }
        }
    }

    /// Puts scores in without comparing them; [`Tournament::rebuild`] does that for all.
    pub(super) fn put(&mut self, slot: usize, scores: Scores<W>) {
        self.grow(slot + 1);
        self.leaves[slot] = scores;
    }

    /// Likewise for one class.
    pub(super) fn put_lane(&mut self, slot: usize, lane: usize, score: f64) {
        self.grow(slot + 1);
        self.leaves[slot].0[lane] = score;
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

    /// Reads what replacing the scores of a host will read, and returns a number that means nothing. Hosts change here and
    /// there in more memory than the caches hold; reads that do not wait for each other are waited for together.
    #[inline]
    pub(super) fn touch(&self, slot: usize) -> f64 {
        let mut sum = 0.0;
        let mut node = slot;
        for level in self.levels.iter().take(TOUCHED_LEVELS) {
            node /= CHILDREN;
            sum += level.get(node).map_or(0.0, |row| row.0.iter().step_by(FLOATS_OF_LINE).sum());
        }
        sum
    }

    /// Replaces the scores of one host.
    pub(super) fn update(&mut self, slot: usize, scores: Scores<W>) {
        self.grow(slot + 1);
        self.leaves[slot] = scores;
        let mut node = slot;
        for level in &mut self.levels {
            node /= CHILDREN;
            let after = lower(&level[node], &scores);
            if after == level[node] {
                return;
            }
            level[node] = after;
        }
    }

    /// Makes room for `count` hosts; new ones are infeasible until they are scored.
    fn grow(&mut self, count: usize) {
        if self.leaves.len() >= count {
            return;
        }
        self.leaves.resize(count, Scores::NONE);
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
            self.levels[level].resize(width, Scores::NONE);
            level += 1;
            if width <= 1 {
                return;
            }
        }
    }
}

/// The children of a node.
#[inline]
fn children<const W: usize>(below: &[Scores<W>], node: usize) -> &[Scores<W>] {
    let first = node * CHILDREN;
    below.get(first..(first + CHILDREN).min(below.len())).unwrap_or_default()
}

/// The lower of two in each lane.
#[inline]
fn lower<const W: usize>(left: &Scores<W>, right: &Scores<W>) -> Scores<W> {
    let mut lower = *left;
    for lane in 0..W {
        lower.0[lane] = if right.0[lane] < left.0[lane] { right.0[lane] } else { left.0[lane] };
    }
    lower
}

/// The lowest score in each lane among the children of a node.
#[inline]
fn lowest<const W: usize>(below: &[Scores<W>], node: usize) -> Scores<W> {
    let mut lowest = Scores::NONE;
    for child in children(below, node) {
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
            changes in proptest::collection::vec((0_usize..200, 0_u8..6, 0_u8..6, 0_u8..4), 0..300),
        ) {
            // Many ties, and hosts that come as time goes by; sometimes one class is asked for, sometimes none.
            let score = |value: u8| if value == 5 { INFEASIBLE } else { f64::from(value) };
            let mut rows = vec![[INFEASIBLE; 2]; count];
            let mut tournament = Tournament::<2>::default();
            for (index, (slot, left, right, asked)) in changes.into_iter().enumerate() {
                let slot = slot % (count / 3 + index).clamp(1, count);
                rows[slot] = [score(left), score(right)];
                tournament.update(slot, Scores(rows[slot]));
                for lane in (0..2).filter(|lane| asked & (1 << lane) != 0) {
                    prop_assert_eq!(tournament.winner(lane), naive(&rows, lane));
                }
            }
            for lane in 0..2 {
                prop_assert_eq!(tournament.winner(lane), naive(&rows, lane));
            }
            tournament.put_lane(0, 1, INFEASIBLE);
            rows[0][1] = INFEASIBLE;
            tournament.rebuild();
            prop_assert_eq!(tournament.winner(1), naive(&rows, 1));
        }
    }
}
