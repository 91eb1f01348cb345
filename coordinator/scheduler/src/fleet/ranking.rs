//! Owns the scores of a group's classes on every host, and who of them comes into question for the lowest.
//!
//! ```text
//!   rows         the scores of every host                                    written at each change
//!   contenders   hosts that are no worse than the bound of some class        written and read at each change
//!   bound        for each class: nobody else is better, whoever is outside   raised when contenders run out
//! ```
//!
//! A fleet's rows lie in more memory than any cache holds, and most hosts are far from being the best for anybody. So
//! only contenders stand in a tournament, which stays small; the rows of the others are written and not read until the
//! best contender of a class is no better than its bound. Then contenders are chosen anew from all rows.
//!
//! Among equal scores the host with the lowest slot wins.

use super::tournament::{INFEASIBLE, Scores, Tournament, bytes_per_leaf, touch};

/// At least so many hosts contend for each class, if there are as many: choosing them anew looks at every host.
const CONTENDERS_LEAST: usize = 1024;
/// And at least one in so many. The more contend, the more seldom they are chosen anew, and the more memory is read at
/// each change.
const CONTENDERS_SHARE: usize = 8;
/// How many hosts are looked at to guess the bounds. One in eight of all hosts is then within a third of what it should be,
/// nearly always; decisions do not depend on it.
const SAMPLE: usize = 512;
/// Contenders are chosen anew, with lower bounds, when there are so many times as many as the last time.
const GROWTH_MAX: usize = 2;

/// A host that is not among the contenders.
const OUTSIDE: u32 = u32::MAX;
/// A bound at which no host is outside.
const NOBODY: usize = usize::MAX;

/// Up to where hosts are contenders of a class.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Hosts outside have no lower score,
    score: f64,
    /// and those that have the same one have no lower slot.
    slot: usize,
}

impl Bound {
    const NONE: Self = Self { score: INFEASIBLE, slot: NOBODY };

    /// Whether a contender is better than everybody outside.
    fn is_above(self, score: f64, slot: usize) -> bool {
        score < self.score || (score == self.score && slot < self.slot)
    }
}

/// Scores by slot.
#[derive(Debug)]
pub(super) struct Ranking<const W: usize> {
    rows: Vec<Scores<W>>,
    bounds: [Bound; W],
    tournament: Tournament<W>,
    /// The slot of each leaf of the tournament.
    slots: Vec<u32>,
    /// The leaf of each slot; [`OUTSIDE`] for hosts that do not contend.
    leaves: Vec<u32>,
    /// Leaves without a host.
    vacant: Vec<u32>,
    /// At least so many contenders are chosen.
    contenders_least: usize,
    /// With more of them, they are chosen anew.
    contenders_max: usize,
}

/// Bytes that a host takes at most, when all contend. Usually one in six does.
pub(super) const fn bytes_per_host<const W: usize>() -> usize {
    size_of::<Scores<W>>() + bytes_per_leaf::<W>() + 2 * size_of::<u32>()
}

impl<const W: usize> Ranking<W> {
    /// Without hosts. It chooses few contenders where there are few bytes for scores.
    pub(super) fn new(scores_bytes_max: usize) -> Self {
        Self {
            rows: Vec::new(),
            bounds: [Bound::NONE; W],
            tournament: Tournament::default(),
            slots: Vec::new(),
            leaves: Vec::new(),
            vacant: Vec::new(),
            contenders_least: (scores_bytes_max / bytes_per_host::<W>()).clamp(1, CONTENDERS_LEAST),
            contenders_max: usize::MAX,
        }
    }

    /// The slot of the lowest score of a class, the first among equals, if any host can take it.
    pub(super) fn winner(&mut self, lane: usize) -> Option<usize> {
        if self.slots.len() - self.vacant.len() > self.contenders_max {
            self.choose();
        }
        let winner = self.best_contender(lane);
        if winner.is_some_and(|(slot, score)| self.bounds[lane].is_above(score, slot)) {
            return winner.map(|(slot, _)| slot);
        }
        if self.bounds[lane].score == INFEASIBLE {
            return None;
        }
        self.choose();
        self.best_contender(lane).map(|(slot, _)| slot)
    }

    fn best_contender(&mut self, lane: usize) -> Option<(usize, f64)> {
        let lowest = self.tournament.lowest(lane);
        let mut first = OUTSIDE;
        if lowest < INFEASIBLE {
            self.tournament.each_lowest(lane, lowest, &mut |leaf| first = first.min(self.slots[leaf]));
        }
        (first != OUTSIDE).then_some((first as usize, lowest))
    }

    /// Whether [`Self::best`] can be asked: a winner was looked for since the last change.
    pub(super) fn is_settled(&self) -> bool {
        self.tournament.is_settled()
    }

    /// The score of a host.
    pub(super) fn score(&self, slot: usize, lane: usize) -> f64 {
        self.rows.get(slot).map_or(INFEASIBLE, |row| row.0[lane])
    }

    /// The hosts with the lowest scores of a class, at most `count`, best first, and among equals in their order.
    pub(super) fn best(&self, lane: usize, count: usize) -> Vec<(usize, f64)> {
        let slot = |leaf: usize| self.slots[leaf] as usize;
        let mut best = self.tournament.best(lane, count, slot);
        best.iter_mut().for_each(|(place, _)| *place = slot(*place));
        let are_enough = best.len() == count || self.bounds[lane].score == INFEASIBLE;
        let bound = self.bounds[lane];
        if are_enough && best.last().is_none_or(|(slot, score)| bound.is_above(*score, *slot)) {
            return best;
        }
        // Somebody outside may be among them.
        best.clear();
        for (slot, row) in self.rows.iter().enumerate() {
            let score = row.0[lane] + 0.0;
            let is_better = best.len() < count || best.last().is_some_and(|(_, last)| score < *last);
            if score < INFEASIBLE && is_better {
                // Slots come in their order, so that an equal one stands behind.
                best.insert(best.partition_point(|(_, other)| *other <= score), (slot, score));
                best.truncate(count);
            }
        }
        best
    }

    /// Puts scores in without comparing them; [`Self::choose`] is to follow.
    pub(super) fn put(&mut self, slot: usize, scores: Scores<W>) {
        self.grow(slot + 1);
        self.rows[slot] = scores;
    }

    /// Likewise for one class.
    pub(super) fn put_lane(&mut self, slot: usize, lane: usize, score: f64) {
        self.grow(slot + 1);
        self.rows[slot].0[lane] = score;
    }

    /// Reads what replacing the scores of a host will read, and returns a number that means nothing; see
    /// [`Tournament::touch`].
    #[inline]
    pub(super) fn touch(&self, slot: usize) -> f64 {
        let row = self.rows.get(slot).map_or(0.0, touch);
        let leaf = self.leaves.get(slot).copied().unwrap_or(OUTSIDE);
        row + if leaf == OUTSIDE { 0.0 } else { self.tournament.touch(leaf as usize) }
    }

    /// Replaces the scores of one host.
    pub(super) fn update(&mut self, slot: usize, scores: &Scores<W>) {
        self.grow(slot + 1);
        self.rows[slot] = *scores;
        let contends = contends(scores, &self.bounds);
        let leaf = self.leaves[slot];
        if leaf != OUTSIDE {
            let scores = if contends { scores } else { &Scores::NONE };
            self.tournament.update(leaf as usize, scores);
            if !contends {
                self.leaves[slot] = OUTSIDE;
                self.vacant.push(leaf);
            }
        } else if contends {
            self.enter(slot, scores);
        }
    }

    #[allow(clippy::cast_possible_truncation)] // ids of hosts are of 32 bits, so no realm has more of them
    fn enter(&mut self, slot: usize, scores: &Scores<W>) {
        let leaf = if let Some(leaf) = self.vacant.pop() {
            self.tournament.update(leaf as usize, scores);
            self.slots[leaf as usize] = slot as u32;
            leaf
        } else {
            self.slots.push(slot as u32);
            self.tournament.push(scores) as u32
        };
        self.leaves[slot] = leaf;
    }

    /// Chooses the contenders anew.
    #[allow(clippy::cast_possible_truncation)] // likewise
    pub(super) fn choose(&mut self) {
        let wanted = (self.rows.len() / CONTENDERS_SHARE).max(self.contenders_least);
        self.guess_bounds(wanted);
        self.slots.clear();
        self.vacant.clear();
        self.leaves.fill(OUTSIDE);
        let mut counts = [0; W];
        for (slot, row) in self.rows.iter().enumerate() {
            if contends(row, &self.bounds) && is_among(row, slot, &mut self.bounds, &mut counts, wanted) {
                self.leaves[slot] = self.slots.len() as u32;
                self.slots.push(slot as u32);
            }
        }
        self.tournament.assign(self.slots.iter().map(|slot| self.rows[*slot as usize]));
        self.contenders_max = GROWTH_MAX * self.slots.len().max(self.contenders_least);
    }

    /// Sets the bounds so that about as many hosts as `wanted` contend for each class.
    fn guess_bounds(&mut self, wanted: usize) {
        self.bounds = [Bound::NONE; W];
        let count = self.rows.len();
        if count <= wanted {
            return;
        }
        let looked_at = SAMPLE.min(count);
        let rank = (looked_at * wanted / count).min(looked_at - 1);
        // Each row once, since they lie far apart.
        let rows: Vec<Scores<W>> = (0..looked_at).map(|number| self.rows[scattered(number, count)]).collect();
        for (lane, bound) in self.bounds.iter_mut().enumerate() {
            let mut sample: Vec<f64> = rows.iter().map(|row| row.0[lane]).collect();
            let (_, score, _) = sample.select_nth_unstable_by(rank, f64::total_cmp);
            bound.score = *score;
        }
    }

    /// Makes room for `count` hosts; new ones are infeasible until they are scored.
    fn grow(&mut self, count: usize) {
        if self.rows.len() < count {
            self.rows.resize(count, Scores::NONE);
            self.leaves.resize(count, OUTSIDE);
        }
    }
}

/// Whether a host is no worse than the bound of some class.
#[inline]
fn contends<const W: usize>(row: &Scores<W>, bounds: &[Bound; W]) -> bool {
    (0..W).fold(false, |contends, lane| {
        contends | ((row.0[lane] <= bounds[lane].score) & (row.0[lane] < INFEASIBLE))
    })
}

/// Whether a host contends for some class where at most about `wanted` of those that are equal to its bound do; the first
/// that does not is noted. `counts` says how many contend so far.
fn is_among<const W: usize>(
    row: &Scores<W>,
    slot: usize,
    bounds: &mut [Bound; W],
    counts: &mut [usize; W],
    wanted: usize,
) -> bool {
    let mut is_among = false;
    for lane in 0..W {
        let score = row.0[lane];
        if score > bounds[lane].score || score >= INFEASIBLE {
            continue;
        }
        if score < bounds[lane].score || counts[lane] < wanted {
            counts[lane] += 1;
            is_among = true;
        } else {
            bounds[lane].slot = bounds[lane].slot.min(slot);
        }
    }
    is_among
}

/// The numbers below `count` here and there: multiples of the golden ratio, of which no two are near each other.
#[allow(clippy::cast_possible_truncation)] // below `count`
fn scattered(number: usize, count: usize) -> usize {
    let fraction = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(fraction) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive_best(rows: &[[f64; 2]], lane: usize, count: usize) -> Vec<(usize, f64)> {
        let mut all: Vec<(usize, f64)> = rows.iter().map(|row| row[lane]).enumerate().collect();
        all.retain(|(_, score)| score.is_finite());
        all.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        all.truncate(count);
        all
    }

    fn agree(ranking: &mut Ranking<2>, rows: &[[f64; 2]], lane: usize) {
        let best = naive_best(rows, lane, 5);
        assert_eq!(ranking.winner(lane), best.first().map(|(slot, _)| *slot));
        assert!(ranking.is_settled());
        assert_eq!(ranking.best(lane, 5), best);
    }

    proptest! {
        /// With one contender or few, many ties, and hosts that come as time goes by.
        #[test]
        fn the_winner_is_always_the_first_of_the_lowest(
            count in 1_usize..120,
            bytes in 0_usize..4000,
            values in 1_u8..40,
            changes in proptest::collection::vec((0_usize..200, 0_u8..40, 0_u8..40, 0_u8..4), 0..400),
        ) {
            let score = |value: u8| if value % 8 == 7 { INFEASIBLE } else { f64::from(value % values) };
            let mut rows = vec![[INFEASIBLE; 2]; count];
            let mut ranking = Ranking::<2>::new(bytes);
            for (index, (slot, left, right, asked)) in changes.into_iter().enumerate() {
                let slot = slot % (count / 3 + index).clamp(1, count);
                rows[slot] = [score(left), score(right)];
                ranking.update(slot, &Scores(rows[slot]));
                prop_assert_eq!(ranking.score(slot, 1).to_bits(), rows[slot][1].to_bits());
                for lane in (0..2).filter(|lane| asked & (1 << lane) != 0) {
                    agree(&mut ranking, &rows, lane);
                }
                if index == 200 {
                    // A class gives its lane to another one.
                    for (slot, row) in rows.iter_mut().enumerate() {
                        row[1] = score(u8::try_from(slot).unwrap());
                        ranking.put_lane(slot, 1, row[1]);
                    }
                    ranking.choose();
                }
            }
            for lane in 0..2 {
                agree(&mut ranking, &rows, lane);
            }
        }
    }

    #[test]
    fn few_contend_and_they_are_chosen_anew_when_they_run_out() {
        let count = 40_000_u32;
        let mut rows: Vec<[f64; 2]> = Vec::new();
        let mut ranking = Ranking::<2>::new(usize::MAX);
        for slot in 0..count {
            // For one class hosts are better and better, for the other all are the same.
            rows.push([f64::from(count - slot), 7.25]);
            ranking.put(slot as usize, Scores([f64::from(count - slot), 7.25]));
        }
        ranking.choose();
        let contenders = |ranking: &Ranking<2>| ranking.slots.len() - ranking.vacant.len();
        let wanted = count as usize / CONTENDERS_SHARE;
        assert!((wanted..3 * wanted).contains(&contenders(&ranking)), "{}", contenders(&ranking));
        for step in 0..5000_u32 {
            let lane = usize::from(step % 3 == 0);
            let expected = if lane == 1 {
                rows.iter().position(|row| row[1] == 7.25)
            } else {
                (0..rows.len()).min_by(|one, other| rows[*one][0].total_cmp(&rows[*other][0]))
            };
            let winner = ranking.winner(lane).unwrap();
            assert_eq!(Some(winner), expected, "step {step}");
            rows[winner] = [1e6 + f64::from(step), 9.5];
            ranking.update(winner, &Scores(rows[winner]));
            assert!(contenders(&ranking) < 6 * wanted);
        }
        // When many hosts become better than all others, few contend again.
        for (slot, row) in rows.iter_mut().enumerate() {
            *row = [-f64::from(u32::try_from(slot).unwrap()), 1.0];
            ranking.update(slot, &Scores(*row));
        }
        assert_eq!((ranking.winner(0), ranking.winner(1)), (Some(rows.len() - 1), Some(0)));
        assert!(contenders(&ranking) < 3 * wanted, "{}", contenders(&ranking));
    }
}
