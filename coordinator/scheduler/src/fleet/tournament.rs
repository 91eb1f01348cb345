//! Owns the lowest score among all hosts, for several request classes side by side, while scores change one host at a time.
//!
//! ```text
//!   level 1                [best of 8 nodes] …                 each box holds, for each of W classes,
//!   level 0     [best of 8 hosts] [best of 8 hosts] …          the lowest score and whose it is
//!   leaves      [s][s][s][s][s][s][s][s] [s][s] …
//! ```
//!
//! A change climbs only as far as it changes anything: a host that was not the best of its eight and is not now stops at
//! its leaf. Equal scores go to the lowest host id, so the order of hosts in memory never shows.

/// How many children a node has. Eight rows are scanned within some hundred cycles, and six levels hold 260,000 hosts.
const CHILDREN: usize = 8;

/// The score of a host that cannot take the VM; those that can have a finite one.
pub(super) const INFEASIBLE: f64 = f64::INFINITY;

/// For each class a score and the host it belongs to. Ids are kept as floats, which hold them exactly, because then a row
/// is compared with the same instructions throughout.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Best<const W: usize> {
    scores: [f64; W],
    ids: [f64; W],
}

impl<const W: usize> Best<W> {
    const NONE: Self = Self { scores: [INFEASIBLE; W], ids: [f64::INFINITY; W] };

    /// Takes over, lane by lane, what is better in `other`.
    #[inline]
    fn improve(&mut self, scores: &[f64; W], ids: &[f64; W]) {
        for lane in 0..W {
            let wins = is_better(scores[lane], ids[lane], self.scores[lane], self.ids[lane]);
            self.scores[lane] = if wins { scores[lane] } else { self.scores[lane] };
            self.ids[lane] = if wins { ids[lane] } else { self.ids[lane] };
        }
    }
}

/// A lower score, or the same with a lower id. Without short cuts, so that lanes are compared at once.
#[inline]
fn is_better(score: f64, id: f64, than_score: f64, than_id: f64) -> bool {
    (score < than_score) | ((score == than_score) & (id < than_id))
}

/// Scores of hosts by their slot.
#[derive(Debug)]
pub(super) struct Tournament<const W: usize> {
    leaves: Vec<[f64; W]>,
    levels: Vec<Vec<Best<W>>>,
}

impl<const W: usize> Default for Tournament<W> {
    fn default() -> Self {
        Self { leaves: Vec::new(), levels: Vec::new() }
    }
}

/// Bytes that a host takes in one tournament, nodes included.
pub(super) const fn bytes_per_host<const W: usize>() -> usize {
    size_of::<[f64; W]>() + size_of::<Best<W>>() / (CHILDREN - 1)
}

impl<const W: usize> Tournament<W> {
    /// The lowest score of a class and the host's id, if any host can take it.
    pub(super) fn winner(&self, lane: usize) -> Option<(f64, u32)> {
        let root = self.levels.last()?.first()?;
        let (score, id) = (*root.scores.get(lane)?, *root.ids.get(lane)?);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it was made from a u32
        score.is_finite().then_some((score, id as u32))
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

    /// Compares everything anew. `ids` gives the host id of each slot.
    pub(super) fn rebuild(&mut self, ids: &[u32]) {
        self.grow(ids.len());
        for node in 0..self.levels.first().map_or(0, Vec::len) {
            self.levels[0][node] = self.best_of_hosts(node, ids);
        }
        for level in 1..self.levels.len() {
            for node in 0..self.levels[level].len() {
                self.levels[level][node] = best_of_nodes(&self.levels[level - 1], node);
            }
        }
    }

    /// Replaces the scores of one host.
    pub(super) fn update(&mut self, slot: usize, scores: [f64; W], ids: &[u32]) {
        self.grow(ids.len());
        let id = [f64::from(ids[slot]); W];
        let mut old = Best { scores: std::mem::replace(&mut self.leaves[slot], scores), ids: id };
        let mut new = Best { scores, ids: id };
        let mut node = slot;
        for level in 0..self.levels.len() {
            if old == new {
                return;
            }
            node /= CHILDREN;
            let before = self.levels[level][node];
            let after = if must_rescan(&before, &old, &new) {
                if level == 0 {
                    self.best_of_hosts(node, ids)
                } else {
                    best_of_nodes(&self.levels[level - 1], node)
                }
            } else {
                let mut best = before;
                best.improve(&new.scores, &new.ids);
                best
            };
            self.levels[level][node] = after;
            (old, new) = (before, after);
        }
    }

    fn best_of_hosts(&self, node: usize, ids: &[u32]) -> Best<W> {
        let first = node * CHILDREN;
        let mut best = Best::NONE;
        for (scores, id) in self.leaves.iter().zip(ids).skip(first).take(CHILDREN) {
            best.improve(scores, &[f64::from(*id); W]);
        }
        best
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
                let nodes = match level.checked_sub(1) {
                    Some(below) => vec![best_of_nodes(&self.levels[below], 0)],
                    None => Vec::new(),
                };
                self.levels.push(nodes);
            }
            self.levels[level].resize(width, Best::NONE);
            level += 1;
            if width <= 1 {
                return;
            }
        }
    }
}

fn best_of_nodes<const W: usize>(below: &[Best<W>], node: usize) -> Best<W> {
    let mut best = Best::NONE;
    for child in below.iter().skip(node * CHILDREN).take(CHILDREN) {
        best.improve(&child.scores, &child.ids);
    }
    best
}

/// Whether in some lane the node's best came from this child and the child has become worse: then another child may be the
/// best now.
#[inline]
fn must_rescan<const W: usize>(node: &Best<W>, old: &Best<W>, new: &Best<W>) -> bool {
    let mut found = false;
    for lane in 0..W {
        let was_this = node.ids[lane] == old.ids[lane];
        let is_worse = is_better(node.scores[lane], node.ids[lane], new.scores[lane], new.ids[lane]);
        found |= was_this & is_worse;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(scores: &[[f64; 2]], ids: &[u32], lane: usize) -> Option<(f64, u32)> {
        let feasible =
            scores.iter().zip(ids).map(|(row, id)| (row[lane], *id)).filter(|(s, _)| s.is_finite());
        feasible.min_by(|a, b| a.partial_cmp(b).unwrap())
    }

    proptest! {
        #[test]
        fn the_winner_is_always_the_lowest(
            count in 1_usize..200,
            changes in proptest::collection::vec((0_usize..200, 0_u8..6, 0_u8..6), 0..300),
        ) {
            // Ids in another order than slots, scores with many ties.
            let ids: Vec<u32> = (0..count).map(|slot| u32::try_from((slot * 7919) % 100_003).unwrap()).collect();
            let score = |value: u8| if value == 5 { INFEASIBLE } else { f64::from(value) };
            let mut rows = vec![[INFEASIBLE; 2]; count];
            let mut tournament = Tournament::<2>::default();
            for (index, (slot, left, right)) in changes.into_iter().enumerate() {
                let grown = (count / 3 + index).clamp(1, count);
                let slot = slot % grown;
                rows[slot] = [score(left), score(right)];
                tournament.update(slot, rows[slot], &ids[..grown]);
                for lane in 0..2 {
                    prop_assert_eq!(tournament.winner(lane), naive(&rows, &ids, lane));
                }
            }
            tournament.rebuild(&ids);
            prop_assert_eq!(tournament.winner(1), naive(&rows, &ids, 1));
        }
    }
}
