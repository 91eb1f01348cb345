//! Owns request classes: requests that no host can tell apart share one, and its scores are kept until a host changes.
//!
//! ```text
//!   Request ─▶ ClassKey ─▶ (group, lane)      a group holds 16 classes and their scores for every host
//!   host changed ─▶ ChangeLog ─▶ each group catches up when one of its classes is asked for
//! ```
//!
//! A request seen for the first time gets no class: scoring every host once is cheaper than keeping its scores. Classes
//! not asked for the longest make room for others.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use reeve_common::device::{DeviceAmount, DeviceSelector};

use super::asked::Asked;
use super::columns::Columns;
use super::demands::{DemandKey, Demands};
use super::function_table::{SharedUse, Workspaces};
use super::particulars::Particulars;
use super::scoring::{Belonging, Ground, LANES};
use super::strands::Taken;
use super::tournament::{Tournament, bytes_per_host};
use crate::device_choice::Entry;
use crate::request::Request;

/// How much memory the kept scores of one realm may take: 240 classes at 100,000 hosts, 4,800 at 5,000.
pub(super) const SCORES_BYTES_MAX: usize = 256 << 20;
/// How many requests without a class are remembered, so that the second of a kind gets one.
const REMEMBERED_MAX: usize = 256;
/// How many changes are kept at least for groups to catch up with; one that is further behind is scored anew.
const CHANGES_MIN: usize = 4096;

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
    tournament: Tournament<LANES>,
    /// Up to which change it has caught up; none before it was ever scored whole.
    caught_up: Option<u64>,
}

/// What sixteen classes ask for, one lane each.
#[derive(Debug)]
pub(super) struct Asks {
    cores: [u64; LANES],
    memory: [u64; LANES],
    /// Devices, for the lanes that ask for some.
    devices: Vec<(usize, Vec<Entry>)>,
    /// Millicores asked, as floats.
    pub(super) cores_asked: [f64; LANES],
    /// MiB asked.
    pub(super) memory_asked: [f64; LANES],
    /// Thousandths of devices asked.
    pub(super) devices_asked: [f64; LANES],
}

/// What a lane without a class asks for: more than there is.
const NEVER: u64 = u64::MAX;

impl Group {
    fn new() -> Self {
        Self {
            classes: [const { None }; LANES],
            asks: Asks::none(),
            tournament: Tournament::default(),
            caught_up: None,
        }
    }

    fn set(&mut self, lane: usize, class: Class, asked: &Asked) {
        self.asks.set(lane, asked);
        self.classes[lane] = Some(class);
    }
}

impl Asks {
    fn none() -> Self {
        Self {
            cores: [NEVER; LANES],
            memory: [NEVER; LANES],
            devices: Vec::new(),
            cores_asked: [0.0; LANES],
            memory_asked: [0.0; LANES],
            devices_asked: [0.0; LANES],
        }
    }

    /// Which classes have room on a host. The same questions as [`Asked::fits`] asks, lane by lane.
    pub(super) fn fits(&self, columns: &Columns, slot: usize) -> [bool; LANES] {
        let mut fits = [columns.open[slot]; LANES];
        let (cores, memory) = (columns.cores.get(slot), columns.memory.get(slot));
        for ((fits, asked_cores), asked_memory) in fits.iter_mut().zip(self.cores).zip(self.memory) {
            *fits &= cores.fits(asked_cores) & memory.fits(asked_memory);
        }
        for (lane, entries) in &self.devices {
            fits[*lane] = fits[*lane] && columns.host_devices[slot].can_serve(entries);
        }
        fits
    }

    /// The devices that lanes ask for, in the order in which they are served; lanes that ask for none are left out.
    pub(super) fn devices(&self) -> impl Iterator<Item = (usize, &[Entry])> {
        self.devices.iter().map(|(lane, entries)| (*lane, entries.as_slice()))
    }

    /// What a lane asks for.
    pub(super) fn taken(&self, lane: usize) -> Taken<'_> {
        let devices = self.devices.iter().find(|(known, _)| *known == lane);
        Taken {
            cores: self.cores[lane],
            memory: self.memory[lane],
            devices: devices.map_or(&[], |(_, entries)| entries),
        }
    }

    fn set(&mut self, lane: usize, asked: &Asked) {
        self.cores[lane] = asked.cores;
        self.memory[lane] = asked.memory;
        self.cores_asked[lane] = asked.cores_float();
        self.memory_asked[lane] = asked.memory_float();
        self.devices_asked[lane] = asked.devices_float();
        self.devices.retain(|(known, _)| *known != lane);
        if !asked.devices.is_empty() {
            self.devices.push((lane, asked.devices.clone()));
        }
    }
}

/// Which hosts changed, in order; numbered from the beginning of time.
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

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The changes since `position`; none if they are forgotten.
    fn since(&self, position: u64) -> Option<&[usize]> {
        let start = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.slots.get(start..)
    }
}

/// The classes of one realm.
#[derive(Debug, Default)]
pub(super) struct ClassCache {
    scores_bytes_max: usize,
    groups: Vec<Group>,
    places: HashMap<ClassKey, (usize, usize)>,
    remembered: Vec<u64>,
    remembered_next: usize,
    hasher: BuildHasherDefault<DefaultHasher>,
    clock: u64,
    workspaces: Workspaces<LANES>,
    /// For each slot the number of the round in which it was last met; spares scoring a host twice in one round.
    met: Vec<u64>,
    round: u64,
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
        self.places.clear();
    }

    /// Has every score made anew before it is used, as when hosts moved to other slots.
    pub(super) fn distrust(&mut self) {
        for group in &mut self.groups {
            group.caught_up = None;
            group.tournament = Tournament::default();
        }
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
            let group = self.groups.get_mut(group)?;
            if let Some(class) = group.classes[lane].as_mut() {
                class.last_used = self.clock;
            }
            return group.tournament.winner(lane);
        }
        if self.is_remembered(&key) {
            let (group, lane) = self.admit(key, request, asked, ground, log);
            return self.groups.get(group)?.tournament.winner(lane);
        }
        let mut best: Option<(f64, usize)> = None;
        let demands = key.is_demanding().then(|| ground.demands(request));
        ground.scan(request, asked, demands.as_ref(), &mut self.workspaces, |slot, score| {
            if best.is_none_or(|(lowest, first)| score < lowest || (score == lowest && slot < first)) {
                best = Some((score, slot));
            }
        });
        best.map(|(_, slot)| slot)
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
        let Self { groups, workspaces, met, round, .. } = self;
        let Some(group) = groups.get_mut(number) else { return };
        let end = log.end();
        let changes = group.caught_up.and_then(|position| log.since(position));
        if changes.is_some_and(<[usize]>::is_empty) {
            return;
        }
        let Group { classes, asks, tournament, caught_up } = group;
        let belongings = ground.asks_whose_it_is.then(|| {
            classes
                .each_ref()
                .map(|class| class.as_ref().map(|class| Belonging::of(&class.request, ground.book)))
        });
        let is_demanding = classes.iter().flatten().any(|class| class.key.is_demanding());
        let demands = is_demanding
            .then(|| classes.each_ref().map(|class| class.as_ref().and_then(|class| class.demands(ground))));
        let mut row = |slot| ground.row(asks, belongings.as_ref(), demands.as_ref(), slot, workspaces);
        let slot_count = ground.columns.len();
        if let Some(changes) = changes {
            *round += 1;
            met.resize(slot_count, 0);
            for slot in changes.iter().rev().copied() {
                if std::mem::replace(&mut met[slot], *round) != *round {
                    tournament.update(slot, &row(slot));
                }
            }
        } else {
            for slot in 0..slot_count {
                tournament.put(slot, row(slot));
            }
            tournament.rebuild();
        }
        *caught_up = Some(end);
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
        let group = &mut self.groups[number];
        group.set(lane, class, asked);
        for slot in 0..ground.columns.len() {
            group.tournament.put_lane(slot, lane, super::tournament::INFEASIBLE);
        }
        let tournament = &mut group.tournament;
        let demands = key.is_demanding().then(|| ground.demands(request));
        ground.scan(request, asked, demands.as_ref(), &mut self.workspaces, |slot, score| {
            tournament.put_lane(slot, lane, score);
        });
        tournament.rebuild();
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
                (self.groups.len() - 1, 0)
            }
        }
    }
}
