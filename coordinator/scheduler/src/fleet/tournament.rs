//! Owns the lowest score among some hosts, for several request classes side by side, while scores change one host at a
//! time.
//!
//! ```text
//!   level 2                [lowest of 8 nodes] …             each box holds the lowest score
//!   level 1     [lowest of 8 hosts] [lowest of 8 hosts] …    below it for each of W classes
//!   level 0     [s][s][s][s][s][s][s][s] [s][s] …            the hosts: leaves
//! ```
//!
//! Many changes come before a class is asked for once, so they do no more than they must: a score that falls lowers the
//! nodes above it; where one rises that was the lowest, the node is noted and left as it is. A node is thus never above
//! what is below it. Those that may be too low are compared anew, all together, before the lowest is looked for.
//!
//! Must not: know which host a leaf is, or which of equal ones is to be preferred; whoever asks says so.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::hint::black_box;

/// How many children a node has. Eight rows are compared within some thirty cycles, and six levels hold 260,000 hosts.
const CHILDREN: usize = 8;

/// If more than one in so many nodes may be too low, all are compared anew.
const STALE_SHARE_MAX: usize = 4;

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

/// Scores by leaf.
#[derive(Debug)]
pub(super) struct Tournament<const W: usize> {
    /// How many leaves there are.
    count: usize,
    /// The leaves and, above them, each level of nodes up to the root. The last parent of a level has all children, too;
    /// those that are not there are infeasible.
    levels: Vec<Vec<Scores<W>>>,
    /// The nodes of level 1 that may be too low, some of them more than once.
    stale: Vec<usize>,
}

impl<const W: usize> Default for Tournament<W> {
    fn default() -> Self {
        Self { count: 0, levels: vec![Vec::new()], stale: Vec::new() }
    }
}

/// Bytes that a leaf takes, nodes included.
pub(super) const fn bytes_per_leaf<const W: usize>() -> usize {
    size_of::<Scores<W>>() * CHILDREN / (CHILDREN - 1)
}

impl<const W: usize> Tournament<W> {
    /// Takes other leaves in the place of all that it has.
    pub(super) fn assign(&mut self, leaves: impl Iterator<Item = Scores<W>>) {
        self.levels.truncate(1);
        self.levels[0].clear();
        self.levels[0].extend(leaves);
        self.count = self.levels[0].len();
        self.make_room();
        self.rebuild();
    }

    /// The lowest score of a class; infeasible when no host can take it.
    pub(super) fn lowest(&mut self, lane: usize) -> f64 {
        self.settle();
        self.levels.last().and_then(|root| root.first()).map_or(INFEASIBLE, |root| root.0[lane])
    }

    /// Whether nothing may be too low.
    pub(super) fn is_settled(&self) -> bool {
        self.stale.is_empty()
    }

    /// Calls `found` with each leaf that has this score, which is the lowest of its class. Nothing may be too low.
    pub(super) fn each_lowest(&self, lane: usize, lowest: f64, found: &mut impl FnMut(usize)) {
        self.each_below(self.levels.len() - 1, 0, lane, lowest, found);
    }

    fn each_below(
        &self,
        level: usize,
        place: usize,
        lane: usize,
        lowest: f64,
        found: &mut impl FnMut(usize),
    ) {
        let Some(below) = level.checked_sub(1) else { return found(place) };
        for (child, row) in children(&self.levels[below], place).iter().enumerate() {
            if row.0[lane] == lowest {
                self.each_below(below, place * CHILDREN + child, lane, lowest, found);
            }
        }
    }

    /// The leaves with the lowest scores of a class, at most `count`, best first, and among equals by the `slot` of their
    /// hosts. Nothing may be too low.
    pub(super) fn best(&self, lane: usize, count: usize, slot: impl Fn(usize) -> usize) -> Vec<(usize, f64)> {
        let mut found = Vec::new();
        let branch = |level: usize, place: usize| {
            let score = self.levels[level].get(place)?.0[lane];
            // Zero is no more than minus zero, as everywhere else.
            let score = score + 0.0;
            let slot = |place| (level == 0).then(|| slot(place));
            score.is_finite().then(|| Reverse(Branch { score, slot: slot(place), level, place }))
        };
        let mut open: BinaryHeap<Reverse<Branch>> = branch(self.levels.len() - 1, 0).into_iter().collect();
        // What is taken out is no worse than anything below the others, so a host that is taken out is the next best.
        while let Some(Reverse(Branch { score, level, place, .. })) = open.pop() {
            let Some(below) = level.checked_sub(1) else {
                found.push((place, score));
                if found.len() >= count {
                    break;
                }
                continue;
            };
            open.extend((place * CHILDREN..(place + 1) * CHILDREN).filter_map(|child| branch(below, child)));
        }
        found
    }

    /// Compares anew what may be too low: all such nodes of one level, then those above them that changed.
    fn settle(&mut self) {
        let Self { levels, stale, .. } = self;
        if stale.is_empty() {
            return;
        }
        if stale.len() > levels.get(1).map_or(0, Vec::len) / STALE_SHARE_MAX {
            return self.rebuild();
        }
        stale.sort_unstable();
        for number in 1..levels.len() {
            stale.dedup();
            let (below, level) = levels.split_at_mut(number);
            let (Some(below), Some(level)) = (below.last(), level.first_mut()) else { break };
            let rows = stale.iter().flat_map(|place| children(below, *place));
            black_box(rows.map(touch).sum::<f64>());
            stale.retain_mut(|place| {
                let Some(node) = level.get_mut(*place) else { return false };
                let after = lowest(children(below, *place));
                let has_changed = after != *node;
                *node = after;
                *place /= CHILDREN;
                has_changed
            });
        }
        stale.clear();
    }

    /// Compares everything anew.
    fn rebuild(&mut self) {
        self.stale.clear();
        for number in 1..self.levels.len() {
            let (below, level) = self.levels.split_at_mut(number);
            let (Some(below), Some(level)) = (below.last(), level.first_mut()) else { return };
            for (node, children) in level.iter_mut().zip(below.chunks_exact(CHILDREN)) {
                *node = lowest(children);
            }
        }
    }

    /// Reads what replacing a leaf will read, and returns a number that means nothing. What is read for several leaves
    /// without waiting for each other is waited for together.
    #[inline]
    pub(super) fn touch(&self, leaf: usize) -> f64 {
        let node = self.levels.get(1).and_then(|level| level.get(leaf / CHILDREN));
        self.levels[0].get(leaf).map_or(0.0, touch) + node.map_or(0.0, touch)
    }

    /// Adds a leaf and returns its number.
    pub(super) fn push(&mut self, scores: &Scores<W>) -> usize {
        let leaf = self.count;
        self.count += 1;
        self.make_room();
        self.update(leaf, scores);
        leaf
    }

    /// Replaces the scores of one leaf.
    pub(super) fn update(&mut self, leaf: usize, scores: &Scores<W>) {
        let Self { levels, stale, .. } = self;
        let Some((leaves, levels)) = levels.split_first_mut() else { return };
        let Some(row) = leaves.get_mut(leaf) else { return };
        let old = std::mem::replace(row, *scores);
        let mut place = leaf;
        for (number, level) in levels.iter_mut().enumerate() {
            place /= CHILDREN;
            let count = level.len();
            let Some(node) = level.get_mut(place) else { return };
            // With as many as there are nodes all are compared anew, whatever else is noted.
            if number == 0 && has_lost(node, &old, scores) && stale.len() < count {
                stale.push(place);
            }
            let after = lower(node, scores);
            if after == *node {
                return;
            }
            *node = after;
        }
    }

    /// Makes room for as many leaves as there are. What is new is infeasible.
    fn make_room(&mut self) {
        let mut width = self.count;
        let mut number = 0;
        loop {
            if number == self.levels.len() {
                // A new root starts from the old one, which is its first child.
                let root = lowest(children(&self.levels[number - 1], 0));
                self.levels.push(vec![root]);
            }
            let level = &mut self.levels[number];
            let padded = width.next_multiple_of(CHILDREN);
            if level.len() < padded {
                level.resize(padded, Scores::NONE);
            }
            if number > 0 && width <= 1 {
                return;
            }
            width = width.div_ceil(CHILDREN);
            number += 1;
        }
    }
}

/// Reads one number of each half of a row, which is a cache line; see [`Tournament::touch`].
#[inline]
pub(super) fn touch<const W: usize>(row: &Scores<W>) -> f64 {
    row.0[0] + row.0[W / 2]
}

/// The children of a node in the level above.
#[inline]
fn children<const W: usize>(level: &[Scores<W>], node: usize) -> &[Scores<W>] {
    let first = node * CHILDREN;
    level.get(first..first + CHILDREN).unwrap_or_default()
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
fn lowest<const W: usize>(children: &[Scores<W>]) -> Scores<W> {
    children.iter().fold(Scores::NONE, |lowest, child| lower(&lowest, child))
}

/// Whether in some lane the child was as low as its node and has risen.
#[inline]
fn has_lost<const W: usize>(node: &Scores<W>, old: &Scores<W>, new: &Scores<W>) -> bool {
    (0..W).fold(false, |lost, lane| lost | ((old.0[lane] == node.0[lane]) & (new.0[lane] > node.0[lane])))
}

/// A node or a leaf that [`Tournament::best`] has yet to look at; the least of them first.
#[derive(Debug, Clone, Copy)]
struct Branch {
    /// The lowest score there.
    score: f64,
    /// Of a leaf its host's slot. Nodes come before equal leaves: a lower slot may be below them.
    slot: Option<usize>,
    level: usize,
    place: usize,
}

impl Ord for Branch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Branch {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hosts are preferred the other way round than leaves stand.
    fn slot(leaf: usize) -> usize {
        1000 - leaf
    }

    fn naive_best(rows: &[[f64; 2]], lane: usize, count: usize) -> Vec<(usize, f64)> {
        let mut all: Vec<(usize, f64)> = rows.iter().map(|row| row[lane]).enumerate().collect();
        all.retain(|(_, score)| score.is_finite());
        all.sort_by(|(one, low), (other, high)| low.total_cmp(high).then(slot(*one).cmp(&slot(*other))));
        all.truncate(count);
        all
    }

    fn agree(tournament: &mut Tournament<2>, rows: &[[f64; 2]], lane: usize) {
        let lowest = rows.iter().map(|row| row[lane]).fold(INFEASIBLE, f64::min);
        assert_eq!(tournament.lowest(lane).to_bits(), lowest.to_bits());
        assert!(tournament.is_settled());
        assert_eq!(tournament.best(lane, 5, slot), naive_best(rows, lane, 5));
        if lowest < INFEASIBLE {
            let mut found = Vec::new();
            tournament.each_lowest(lane, lowest, &mut |leaf| found.push(leaf));
            let equal = rows.iter().enumerate().filter(|(_, row)| row[lane] == lowest);
            assert_eq!(found, equal.map(|(leaf, _)| leaf).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn the_lowest_are_always_found(
            assigned in 0_usize..100,
            changes in proptest::collection::vec((0_usize..200, 0_u8..6, 0_u8..6, 0_u8..4), 0..300),
        ) {
            // Many ties, and leaves that come as time goes by; sometimes one class is asked for, sometimes none.
            let score = |value: u8| if value == 5 { INFEASIBLE } else { f64::from(value) };
            let mut rows: Vec<[f64; 2]> = Vec::new();
            let mut tournament = Tournament::<2>::default();
            for (index, (leaf, left, right, asked)) in changes.into_iter().enumerate() {
                if index == 150 {
                    rows = (0..assigned).map(|leaf| rows[leaf % rows.len()]).collect();
                    tournament.assign(rows.iter().map(|row| Scores(*row)));
                }
                let row = [score(left), score(right)];
                if leaf < rows.len() {
                    rows[leaf] = row;
                    tournament.update(leaf, &Scores(row));
                } else {
                    prop_assert_eq!(tournament.push(&Scores(row)), rows.len());
                    rows.push(row);
                }
                for lane in (0..2).filter(|lane| asked & (1 << lane) != 0) {
                    agree(&mut tournament, &rows, lane);
                }
            }
            for lane in 0..2 {
                agree(&mut tournament, &rows, lane);
            }
        }
    }
}
