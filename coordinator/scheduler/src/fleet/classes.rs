//! Owns request classes: requests that no host can tell apart share one, and its scores are kept until a host changes.
//!
//! ```text
//!   Request ─▶ ClassKey ─▶ (group, lane)      a group holds 16 classes and their scores for every host
//!   host changed ─▶ ChangeLog ─▶ groups catch up when one of their classes is asked for
//! ```
//!
//! A request seen for the first time gets no class: scoring every host once is cheaper than keeping its scores. Classes
//! not asked for the longest make room for others.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

use reeve_common::device::{DeviceAmount, DeviceSelector};

use super::asked::Asked;
use super::asks::Asks;
use super::change_log::ChangeLog;
use super::demands::{DemandKey, Demands};
use super::function_table::{SharedUse, Workspaces};
use super::particulars::Particulars;
use super::scoring::{Belonging, Ground, LANES, PICKED, Questions};
use super::tournament::{INFEASIBLE, Scores, Tournament, bytes_per_host};
use crate::request::Request;

/// How much memory the kept scores of one realm may take: 240 classes at 100,000 hosts, 4,800 at 5,000.
pub(super) const SCORES_BYTES_MAX: usize = 256 << 20;
/// How many requests without a class are remembered, so that the second of a kind gets one.
const REMEMBERED_MAX: usize = 256;
/// How many hosts are read ahead and scored together: what is read for them fits into half of a processor's own cache.
const CHANGES_AT_ONCE: usize = 32;

/// What makes two requests of a realm the same for every host of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    cores: u64,
    memory: u64,
    devices: Vec<(DeviceSelector, DeviceAmount)>,
    owner: Option<String>,
    team: Option<String>,
    labels: Vec<(String, String)>,
    demands: Option<Box<DemandKey>>,
}

impl ClassKey {
    /// The class of `request`, where the cost functions ask about what `uses` says.
    pub(super) fn of(request: &Request, uses: &SharedUse, particulars: &Particulars) -> Self {
        let label = |key: &String| request.labels.get(key).map(|value| (key.clone(), value.clone()));
        Self {
            cores: request.cores.0,
            memory: request.memory.0,
            devices: super::holding::devices_of(request),
            owner: uses.owner.then(|| request.owner.clone()),
            team: uses.team.then(|| request.team.clone()),
            labels: uses.label_keys.iter().filter_map(label).collect(),
            demands: DemandKey::of(request, particulars),
        }
    }

    /// Whether hosts must be asked for more than amounts.
    const fn is_demanding(&self) -> bool {
        self.demands.is_some()
    }
}

/// One class.
#[derive(Debug)]
struct Class {
    key: ClassKey,
    /// A request of it; any other would do as well.
    request: Request,
    last_used: u64,
}

impl Class {
    /// What its requests demand; none for ordinary ones.
    fn demands(&self, ground: &Ground<'_>) -> Option<Demands<'_>> {
        self.key.is_demanding().then(|| ground.demands(&self.request))
    }
}

/// Sixteen classes side by side.
#[derive(Debug)]
struct Group {
    classes: [Option<Class>; LANES],
    asks: Asks,
    /// Up to which change it has caught up; none before it was ever scored whole.
    caught_up: Option<u64>,
}

impl Group {
    fn new() -> Self {
        Self { classes: [const { None }; LANES], asks: Asks::none(), caught_up: None }
    }

    fn set(&mut self, lane: usize, class: Class, asked: &Asked) {
        self.asks.set(lane, asked);
        self.classes[lane] = Some(class);
    }

    /// What must be looked up before its classes are scored on a host.
    fn questions<'a>(&'a self, ground: &Ground<'a>) -> Questions<'a> {
        let belonging =
            |class: &'a Option<Class>| class.as_ref().map(|class| Belonging::of(&class.request, ground.book));
        let demands = |class: &'a Option<Class>| class.as_ref().and_then(|class| class.demands(ground));
        let is_demanding = self.classes.iter().flatten().any(|class| class.key.is_demanding());
        Questions {
            asks: &self.asks,
            belongings: ground.asks_whose_it_is.then(|| self.classes.each_ref().map(belonging)),
            demands: is_demanding.then(|| self.classes.each_ref().map(demands)),
        }
    }
}

/// The scores of one class for all hosts, as they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptScores<'a> {
    tournament: &'a Tournament<LANES>,
    group: usize,
    lane: usize,
}

impl KeptScores<'_> {
    /// How many hosts can take the VM.
    pub(super) fn feasible(&self) -> usize {
        self.tournament.feasible(self.group, self.lane)
    }

    /// The best of them by slot, at most `count`, best first, the first among equals.
    pub(super) fn best(&self, count: usize) -> Vec<(usize, f32)> {
        self.tournament.best(self.group, self.lane, count)
    }

    /// The score of one host.
    pub(super) fn of(&self, slot: usize) -> f32 {
        self.tournament.score(slot, self.group, self.lane)
    }
}

/// The classes of one realm.
#[derive(Debug, Default)]
pub(super) struct ClassCache {
    scores_bytes_max: usize,
    groups: Vec<Group>,
    /// The scores of all groups.
    tournament: Tournament<LANES>,
    places: HashMap<ClassKey, (usize, usize)>,
    remembered: Vec<u64>,
    remembered_next: usize,
    hasher: BuildHasherDefault<DefaultHasher>,
    clock: u64,
    workspaces: Workspaces<LANES>,
    scan_workspaces: Workspaces<PICKED>,
    /// For each slot the number of the round in which it was last met; spares scoring a host twice in one round.
    met: Vec<u64>,
    round: u64,
    /// Room for the hosts that groups catch up with.
    changed: Vec<usize>,
}

impl Clone for ClassCache {
    /// As large, and empty: scores are made again when they are asked for, and a copy is seldom asked for all.
    fn clone(&self) -> Self {
        Self::new(self.scores_bytes_max)
    }
}

impl ClassCache {
    /// Without classes. One group is kept however little memory there may be.
    pub(super) fn new(scores_bytes_max: usize) -> Self {
        Self { scores_bytes_max, ..Self::default() }
    }

    /// Forgets all classes, as when what makes a class has changed.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.tournament = Tournament::default();
        self.places.clear();
    }

    /// Has every score made anew before it is used, as when hosts moved to other slots.
    pub(super) fn distrust(&mut self) {
        for group in &mut self.groups {
            group.caught_up = None;
        }
        self.tournament = Tournament::with_groups(self.tournament.groups());
    }

    /// The slot of the host with the lowest score for `request`, the first among equals.
    pub(super) fn decide(
        &mut self,
        key: ClassKey,
        request: &Request,
        asked: &Asked,
        ground: &Ground<'_>,
        log: &ChangeLog,
    ) -> Option<usize> {
        self.clock += 1;
        if let Some((group, lane)) = self.places.get(&key).copied() {
            self.catch_up(group, ground, log);
            let used = self.groups.get_mut(group)?;
            if let Some(class) = used.classes[lane].as_mut() {
                class.last_used = self.clock;
            }
            return self.tournament.winner(group, lane);
        }
        if self.is_remembered(&key) {
            let (group, lane) = self.admit(key, request, asked, ground, log);
            return self.tournament.winner(group, lane);
        }
        let (mut lowest, mut first) = (INFEASIBLE, usize::MAX);
        let demands = key.is_demanding().then(|| ground.demands(request));
        ground.scan(request, asked, demands.as_ref(), &mut self.scan_workspaces, |slots, scores| {
            // Most have nobody among them who is as good as the best so far, and that is seen several at a time.
            if !scores.iter().fold(false, |is_among, score| is_among | (*score <= lowest)) {
                return;
            }
            for (slot, score) in slots.iter().zip(scores) {
                if *score < lowest || (*score == lowest && *slot < first) {
                    (lowest, first) = (*score, *slot);
                }
            }
        });
        (lowest < INFEASIBLE).then_some(first)
    }

    /// The scores of a class, if they are kept and right as they are.
    pub(super) fn kept(&self, key: &ClassKey, log: &ChangeLog) -> Option<KeptScores<'_>> {
        let (group, lane) = self.places.get(key).copied()?;
        let is_right =
            self.groups.get(group)?.caught_up == Some(log.end()) && self.tournament.is_settled(group);
        is_right.then_some(KeptScores { tournament: &self.tournament, group, lane })
    }

    /// Whether a request of this class was met a short while ago; from now on it was.
    fn is_remembered(&mut self, key: &ClassKey) -> bool {
        let hash = self.hasher.hash_one(key);
        if self.remembered.contains(&hash) {
            return true;
        }
        if self.remembered.len() < REMEMBERED_MAX {
            self.remembered.push(hash);
        } else {
            self.remembered[self.remembered_next] = hash;
            self.remembered_next = (self.remembered_next + 1) % REMEMBERED_MAX;
        }
        false
    }

    /// Scores again, for the classes of a group, the hosts that changed since it last did.
    fn catch_up(&mut self, number: usize, ground: &Ground<'_>, log: &ChangeLog) {
        let Self { groups, tournament, workspaces, met, round, changed, .. } = self;
        let Some(group) = groups.get_mut(number) else { return };
        let end = log.end();
        if group.caught_up == Some(end) {
            return;
        }
        let changes = group.caught_up.and_then(|position| log.since(position));
        group.caught_up = Some(end);
        let questions = group.questions(ground);
        let mut row = |slot| Scores(ground.row(&questions, slot, workspaces));
        let slot_count = ground.columns.len();
        let Some(changes) = changes else {
            for slot in 0..slot_count {
                tournament.put(slot, number, row(slot));
            }
            return tournament.rebuild(number);
        };
        *round += 1;
        met.resize(slot_count, 0);
        changed.clear();
        changed.extend(changes.iter().copied().filter(|slot| {
            let last = std::mem::replace(&mut met[*slot], *round);
            last != *round
        }));
        for slots in changed.chunks(CHANGES_AT_ONCE) {
            black_box(
                slots
                    .iter()
                    .map(|slot| f64::from(tournament.touch(*slot, number)) + ground.columns.touch(*slot))
                    .sum::<f64>(),
            );
            for slot in slots.iter().copied() {
                tournament.update(slot, number, &row(slot));
            }
        }
    }

    /// Gives a request's class a lane and scores it on every host.
    fn admit(
        &mut self,
        key: ClassKey,
        request: &Request,
        asked: &Asked,
        ground: &Ground<'_>,
        log: &ChangeLog,
    ) -> (usize, usize) {
        let (number, lane) = self.make_room(ground.columns.len());
        self.catch_up(number, ground, log);
        let class = Class { key: key.clone(), request: request.clone(), last_used: self.clock };
        self.groups[number].set(lane, class, asked);
        let Self { tournament, scan_workspaces, .. } = self;
        for slot in 0..ground.columns.len() {
            tournament.put_lane(slot, number, lane, INFEASIBLE);
        }
        let demands = key.is_demanding().then(|| ground.demands(request));
        ground.scan(request, asked, demands.as_ref(), scan_workspaces, |slots, scores| {
            for (slot, score) in slots.iter().zip(scores) {
                tournament.put_lane(*slot, number, lane, *score);
            }
        });
        tournament.rebuild(number);
        self.places.insert(key, (number, lane));
        (number, lane)
    }

    /// A lane without a class: a vacant one, one of a new group, or that of the class not asked for the longest.
    fn make_room(&mut self, host_count: usize) -> (usize, usize) {
        let lanes = || {
            self.groups.iter().enumerate().flat_map(|(number, group)| {
                group.classes.iter().enumerate().map(move |(lane, class)| (number, lane, class))
            })
        };
        if let Some((number, lane, _)) = lanes().find(|(_, _, class)| class.is_none()) {
            return (number, lane);
        }
        let groups_max = self.scores_bytes_max / (host_count.max(1) * bytes_per_host::<LANES>());
        let oldest = lanes().min_by_key(|(_, _, class)| class.as_ref().map(|class| class.last_used));
        match oldest {
            Some((number, lane, Some(class))) if self.groups.len() >= groups_max => {
                let key = class.key.clone();
                self.places.remove(&key);
                (number, lane)
            }
            _ => {
                self.groups.push(Group::new());
                let groups = self.groups.len();
                if groups > self.tournament.groups() {
                    // Making room moves all scores, so it is made for several.
                    self.tournament.set_groups(groups.next_power_of_two().min(groups_max).max(groups));
                }
                (groups - 1, 0)
            }
        }
    }
}
