//! Owns the lowest score among all hosts, for several request classes side by side, while scores change one host at a time.
//!
//! ```text
//!   level 1                [lowest of 8 nodes] …             each box holds the lowest score
//!   level 0     [lowest of 8 hosts] [lowest of 8 hosts] …    below it for each of W classes
//!   leaves      [s][s][s][s][s][s][s][s] [s][s] …
//! ```
//!
//! Many changes come before a class is asked for once, so they do no more than they must: a score that falls lowers the
//! nodes above it; where one rises that was the lowest, the node is noted and left as it is. A node is thus never above
//! what is below it. Those that may be too low are compared anew, all together, before a winner is looked for.
//!
//! Scores are floats of 32 bits (see `ChoiceRule::score`), so that sixteen classes are one line of a processor's cache.
//!
//! Hosts stand in the order of their ids, so that among equal scores the first from the left is the host with the lowest
//! id.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::hint::black_box;

/// How many children a node has. Eight rows are compared within some thirty cycles, and six levels hold 260,000 hosts.
const CHILDREN: usize = 8;

/// How many levels of nodes are beyond a processor's own caches when there are 100,000 hosts.
const TOUCHED_LEVELS: usize = 2;
/// If more than one in so many nodes may be too low, all are compared anew.
const STALE_SHARE_MAX: usize = 4;
/// Floats in a cache line.
const FLOATS_OF_LINE: usize = 16;

/// The score of a host that cannot take the VM; those that can have a finite one.
pub(super) const INFEASIBLE: f32 = f32::INFINITY;

/// The scores of one host, or the lowest of a node, in each lane: whole cache lines.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(super) struct Scores<const W: usize>(pub(super) [f32; W]);

impl<const W: usize> Scores<W> {
    /// Of a host that can take none of the VMs.
    pub(super) const NONE: Self = Self([INFEASIBLE; W]);
}

/// Scores of hosts by their slot, for any number of groups of `W` classes.
#[derive(Debug)]
pub(super) struct Tournament<const W: usize> {
    groups: usize,
    leaves: Rows<W>,
    levels: Vec<Rows<W>>,
    /// For each group the nodes of level 0 that may be too low, some of them more than once.
    stale: Vec<Vec<usize>>,
    /// For each group how many hosts can take the VM, in each lane.
    feasible: Vec<[u64; W]>,
}

impl<const W: usize> Default for Tournament<W> {
    fn default() -> Self {
        Self::with_groups(0)
    }
}

/// Bytes that a host takes in one group, nodes included.
pub(super) const fn bytes_per_host<const W: usize>() -> usize {
    size_of::<Scores<W>>() * CHILDREN / (CHILDREN - 1)
}

impl<const W: usize> Tournament<W> {
    /// Without hosts, for so many groups.
    pub(super) fn with_groups(groups: usize) -> Self {
        let (stale, feasible) = (vec![Vec::new(); groups], vec![[0; W]; groups]);
        Self { groups, leaves: Rows::default(), levels: Vec::new(), stale, feasible }
    }

    /// How many groups there is room for.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Makes room for more groups. No host can take a VM of a new one until it is scored.
    pub(super) fn set_groups(&mut self, groups: usize) {
        for rows in self.levels.iter_mut().chain([&mut self.leaves]) {
            *rows = rows.with_groups(self.groups, groups);
        }
        self.stale.resize(groups, Vec::new());
        self.feasible.resize(groups, [0; W]);
        self.groups = groups;
    }

    /// The slot of the lowest score of a class, the first among equals, if any host can take it.
    pub(super) fn winner(&mut self, group: usize, lane: usize) -> Option<usize> {
        self.settle(group);
        let lowest = *self.levels.last()?.get(self.groups, 0, group)?.0.get(lane)?;
        if !lowest.is_finite() {
            return None;
        }
        let mut place = 0;
        for rows in self.levels.iter().rev().skip(1).chain([&self.leaves]) {
            let children = rows.children(self.groups, place, group);
            place = place * CHILDREN + children.iter().position(|row| row.0[lane] == lowest)?;
        }
        Some(place)
    }

    /// Whether nothing may be too low, so that [`Tournament::best`] can be asked.
    pub(super) fn is_settled(&self, group: usize) -> bool {
        self.stale.get(group).is_some_and(Vec::is_empty)
    }

    /// How many hosts can take the VMs of a class.
    pub(super) fn feasible(&self, group: usize, lane: usize) -> usize {
        let count = self.feasible.get(group).map_or(0, |counts| counts[lane]);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// The score of a host.
    pub(super) fn score(&self, slot: usize, group: usize, lane: usize) -> f32 {
        self.leaves.get(self.groups, slot, group).map_or(INFEASIBLE, |row| row.0[lane])
    }

    /// The hosts with the lowest scores of a class, at most `count`, best first, and among equals in their order. The
    /// group is settled.
    pub(super) fn best(&self, group: usize, lane: usize, count: usize) -> Vec<(usize, f32)> {
        let mut found = Vec::new();
        let mut open = BinaryHeap::new();
        if let Some(root) = self.levels.last().and_then(|rows| rows.get(self.groups, 0, group)) {
            open.extend(Branch::of(root.0[lane], 0, self.levels.len(), 0));
        }
        // What is taken out is no worse than anything below the others, so a host that is taken out is the next best.
        while let Some(Reverse(Branch { score, level, place, .. })) = open.pop() {
            let Some(below) = level.checked_sub(1) else {
                found.push((place, score));
                if found.len() >= count {
                    break;
                }
                continue;
            };
            let rows = below.checked_sub(1).map_or(&self.leaves, |number| &self.levels[number]);
            let width = hosts_below(below);
            for (child, row) in rows.children(self.groups, place, group).iter().enumerate() {
                let child = place * CHILDREN + child;
                open.extend(Branch::of(row.0[lane], child * width, below, child));
            }
        }
        found
    }

    /// Compares anew what may be too low: all such nodes of one level, then those above them that changed.
    fn settle(&mut self, group: usize) {
        let Self { groups, leaves, levels, stale, .. } = self;
        let (Some(nodes), Some(level)) = (stale.get_mut(group), levels.first()) else { return };
        if nodes.is_empty() {
            return;
        }
        if nodes.len() > level.count / STALE_SHARE_MAX {
            return self.rebuild(group);
        }
        nodes.sort_unstable();
        let mut below = &*leaves;
        for level in levels {
            nodes.dedup();
            black_box(nodes.iter().map(|node| touch(below.children(*groups, *node, group))).sum::<f32>());
            nodes.retain_mut(|number| {
                let Some(node) = level.get_mut(*groups, *number, group) else { return false };
                let after = lowest(below.children(*groups, *number, group));
                let has_changed = after != *node;
                *node = after;
                *number /= CHILDREN;
                has_changed
            });
            below = level;
        }
        nodes.clear();
    }

    /// Puts scores in without comparing them; [`Tournament::rebuild`] does that for all.
    pub(super) fn put(&mut self, slot: usize, group: usize, scores: Scores<W>) {
        self.grow(slot + 1);
        if let Some(leaf) = self.leaves.get_mut(self.groups, slot, group) {
            *leaf = scores;
        }
    }

    /// Likewise for one class.
    pub(super) fn put_lane(&mut self, slot: usize, group: usize, lane: usize, score: f32) {
        self.grow(slot + 1);
        if let Some(leaf) = self.leaves.get_mut(self.groups, slot, group) {
            leaf.0[lane] = score;
        }
    }

    /// Compares everything of a group anew.
    pub(super) fn rebuild(&mut self, group: usize) {
        if let Some(nodes) = self.stale.get_mut(group) {
            nodes.clear();
        }
        if let Some(feasible) = self.feasible.get_mut(group) {
            *feasible = [0; W];
            for parent in 0..self.leaves.count.div_ceil(CHILDREN) {
                let rows = self.leaves.children(self.groups, parent, group);
                rows.iter().for_each(|row| recount(feasible, &Scores::NONE, row));
            }
        }
        let mut below = &self.leaves;
        for level in &mut self.levels {
            for node in 0..level.count {
                if let Some(place) = level.get_mut(self.groups, node, group) {
                    *place = lowest(below.children(self.groups, node, group));
                }
            }
            below = level;
        }
    }

    /// Reads what replacing the scores of a host will read, and returns a number that means nothing. Hosts change here and
    /// there in more memory than the caches hold; reads that do not wait for each other are waited for together.
    #[inline]
    pub(super) fn touch(&self, slot: usize, group: usize) -> f32 {
        let leaf = self.leaves.get(self.groups, slot, group).map(std::slice::from_ref);
        let mut sum = leaf.map_or(0.0, touch);
        let mut place = slot;
        for level in self.levels.iter().take(TOUCHED_LEVELS) {
            place /= CHILDREN;
            sum += level.get(self.groups, place, group).map(std::slice::from_ref).map_or(0.0, touch);
        }
        sum
    }

    /// Replaces the scores of one host.
    pub(super) fn update(&mut self, slot: usize, group: usize, scores: &Scores<W>) {
        self.grow(slot + 1);
        let Self { groups, leaves, levels, stale, feasible } = self;
        let (Some(leaf), Some(stale)) = (leaves.get_mut(*groups, slot, group), stale.get_mut(group)) else {
            return;
        };
        let old = std::mem::replace(leaf, *scores);
        if let Some(feasible) = feasible.get_mut(group) {
            recount(feasible, &old, scores);
        }
        let mut place = slot;
        for (number, level) in levels.iter_mut().enumerate() {
            place /= CHILDREN;
            let count = level.count;
            let Some(node) = level.get_mut(*groups, place, group) else { return };
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

    /// Makes room for `count` hosts; new ones are infeasible until they are scored.
    fn grow(&mut self, count: usize) {
        if self.leaves.count >= count {
            return;
        }
        self.leaves.grow(self.groups, count);
        let mut width = count;
        let mut level = 0;
        loop {
            width = width.div_ceil(CHILDREN);
            if level == self.levels.len() {
                // A new root starts from the old one, which is its first child.
                let mut root = Rows::default();
                root.grow(self.groups, 1);
                if let Some(below) = level.checked_sub(1).and_then(|below| self.levels.get(below)) {
                    for group in 0..self.groups {
                        if let Some(node) = root.get_mut(self.groups, 0, group) {
                            *node = lowest(below.children(self.groups, 0, group));
                        }
                    }
                }
                self.levels.push(root);
            }
            self.levels[level].grow(self.groups, width);
            level += 1;
            if width <= 1 {
                return;
            }
        }
    }
}

/// Rows of one level, those of hosts or nodes with the same parent together:
///
/// ```text
///   [parent 0: [group 0: child 0 … child 7] [group 1: child 0 … child 7] …] [parent 1: …] …
/// ```
///
/// What a change of one host touches is thus in two pages of memory, and what a parent is compared with is in one piece.
/// The last parent has all children, too; those that are not there are infeasible.
#[derive(Debug)]
struct Rows<const W: usize> {
    rows: Vec<Scores<W>>,
    /// How many hosts or nodes there are.
    count: usize,
}

impl<const W: usize> Default for Rows<W> {
    fn default() -> Self {
        Self { rows: Vec::new(), count: 0 }
    }
}

impl<const W: usize> Rows<W> {
    #[inline]
    fn index(groups: usize, place: usize, group: usize) -> usize {
        (place / CHILDREN * groups + group) * CHILDREN + place % CHILDREN
    }

    #[inline]
    fn get(&self, groups: usize, place: usize, group: usize) -> Option<&Scores<W>> {
        self.rows.get(Self::index(groups, place, group))
    }

    #[inline]
    fn get_mut(&mut self, groups: usize, place: usize, group: usize) -> Option<&mut Scores<W>> {
        self.rows.get_mut(Self::index(groups, place, group))
    }

    /// The children of a node in the level above.
    #[inline]
    fn children(&self, groups: usize, node: usize, group: usize) -> &[Scores<W>] {
        let first = (node * groups + group) * CHILDREN;
        self.rows.get(first..first + CHILDREN).unwrap_or_default()
    }

    fn grow(&mut self, groups: usize, count: usize) {
        self.count = self.count.max(count);
        self.rows.resize(self.count.div_ceil(CHILDREN) * groups * CHILDREN, Scores::NONE);
    }

    /// The same rows with room for `new` groups instead of `old`.
    fn with_groups(&self, old: usize, new: usize) -> Self {
        let parents = self.count.div_ceil(CHILDREN);
        let mut rows = Vec::with_capacity(parents * new * CHILDREN);
        for parent in 0..parents {
            let end = rows.len() + new * CHILDREN;
            for group in 0..old.min(new) {
                rows.extend_from_slice(self.children(old, parent, group));
            }
            rows.resize(end, Scores::NONE);
        }
        Self { rows, count: self.count }
    }
}

/// How many hosts a node of this level stands for, a host itself being level 0.
fn hosts_below(level: usize) -> usize {
    (0..level).fold(1, |hosts, _| hosts * CHILDREN)
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

/// Counts in each lane a host that could not take the VM and now can, and the other way round.
#[inline]
fn recount<const W: usize>(feasible: &mut [u64; W], old: &Scores<W>, new: &Scores<W>) {
    for ((count, old), new) in feasible.iter_mut().zip(&old.0).zip(&new.0) {
        let (was, is) = (*old < INFEASIBLE, *new < INFEASIBLE);
        *count = count.wrapping_add(u64::from(is)).wrapping_sub(u64::from(was));
    }
}

/// A node or a host that [`Tournament::best`] has yet to look at; the least of them first.
#[derive(Debug, Clone, Copy)]
struct Branch {
    /// The lowest score there.
    score: f32,
    /// The first slot there.
    first: usize,
    /// 0 for a host, one more for each level above.
    level: usize,
    place: usize,
}

impl Branch {
    /// None where no host can take the VM.
    fn of(score: f32, first: usize, level: usize, place: usize) -> Option<Reverse<Self>> {
        // Zero is no more than minus zero, as everywhere else.
        let score = score + 0.0;
        score.is_finite().then_some(Reverse(Self { score, first, level, place }))
    }
}

impl Ord for Branch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.first.cmp(&other.first))
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

/// Reads one number of each cache line, and returns one that means nothing; see [`Tournament::touch`].
#[inline]
fn touch<const W: usize>(rows: &[Scores<W>]) -> f32 {
    rows.iter().flat_map(|row| row.0.iter().step_by(FLOATS_OF_LINE)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(rows: &[[f32; 2]], lane: usize) -> Option<usize> {
        let lowest = rows.iter().map(|row| row[lane]).fold(INFEASIBLE, f32::min);
        rows.iter().position(|row| row[lane] == lowest && lowest.is_finite())
    }

    fn naive_best(rows: &[[f32; 2]], lane: usize, count: usize) -> Vec<(usize, f32)> {
        let mut all: Vec<(usize, f32)> = rows.iter().map(|row| row[lane]).enumerate().collect();
        all.retain(|(_, score)| score.is_finite());
        all.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        all.truncate(count);
        all
    }

    proptest! {
        #[test]
        fn the_winner_is_always_the_first_of_the_lowest(
            count in 1_usize..200,
            changes in proptest::collection::vec((0_usize..200, 0_u8..6, 0_u8..6, 0_u8..4), 0..300),
        ) {
            // Many ties, and hosts that come as time goes by; sometimes one class is asked for, sometimes none.
            let score = |value: u8| if value == 5 { INFEASIBLE } else { f32::from(value) };
            let mut rows = vec![[INFEASIBLE; 2]; count];
            let mut tournament = Tournament::<2>::with_groups(1);
            let mut group = 0;
            for (index, (slot, left, right, asked)) in changes.into_iter().enumerate() {
                if index == 100 {
                    // The scores of the other group are nobody's business.
                    tournament.set_groups(3);
                    for (slot, scores) in rows.iter().enumerate() {
                        tournament.put(slot, 2, Scores(*scores));
                    }
                    tournament.rebuild(2);
                    tournament.update(count / 2, 0, &Scores([-1.0; 2]));
                    group = 2;
                }
                let slot = slot % (count / 3 + index).clamp(1, count);
                rows[slot] = [score(left), score(right)];
                tournament.update(slot, group, &Scores(rows[slot]));
                for lane in (0..2).filter(|lane| asked & (1 << lane) != 0) {
                    prop_assert_eq!(tournament.winner(group, lane), naive(&rows, lane));
                    prop_assert!(tournament.is_settled(group));
                    prop_assert_eq!(tournament.best(group, lane, 5), naive_best(&rows, lane, 5));
                }
                for lane in 0..2 {
                    let feasible = naive_best(&rows, lane, usize::MAX).len();
                    prop_assert_eq!(tournament.feasible(group, lane), feasible);
                    prop_assert_eq!(tournament.score(slot, group, lane).to_bits(), rows[slot][lane].to_bits());
                }
            }
            for lane in 0..2 {
                prop_assert_eq!(tournament.winner(group, lane), naive(&rows, lane));
            }
            tournament.put_lane(0, group, 1, INFEASIBLE);
            rows[0][1] = INFEASIBLE;
            tournament.rebuild(group);
            prop_assert_eq!(tournament.winner(group, 1), naive(&rows, 1));
        }
    }
}
