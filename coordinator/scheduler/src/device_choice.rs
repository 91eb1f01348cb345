//! Owns which devices of a host a VM gets: one rule, asked by the constraint, by the reservation and by the score alike.
//!
//! ```text
//!   entry of a request ─▶ the first of its classes, by name, that can serve it ─▶ instances of that class
//!     share:  the partly used instance with the least left that still fits, else the lowest free one
//!     whole:  the lowest free ones
//! ```
//!
//! Entries are served one after the other, those with the fewest alternatives first and those for any class last, so that
//! who is not choosy takes what the others leave. No entry is ever moved to make room for another.
//!
//! Must not: know VMs, hosts' names or costs.

use reeve_common::device::{DeviceAmount, DeviceSelector, WHOLE_PERMILLE};

use crate::request::Request;

/// The most instances of one class that a host is believed to have. No board has room for a hundredth of it; a profile that
/// promises more must not cost memory.
pub(crate) const INSTANCES_MAX: usize = 1024;

/// The most devices counted for one entry of a request, in thousandths. What asks for more is counted as this much, and no
/// host has it, so that sums never overflow.
const PERMILLE_MAX: u64 = 1 << 40;

/// The entries of `request` in the order in which they are served, those for nothing left out.
pub(crate) fn in_order(request: &Request) -> Vec<(&DeviceSelector, DeviceAmount)> {
    let asked = request.devices.iter().filter(|(_, amount)| !amount.is_nothing());
    let mut entries: Vec<_> = asked.map(|(selector, amount)| (selector, *amount)).collect();
    // An empty list of alternatives is any class. Sorting is stable: among equals the names decide.
    entries.sort_by_key(|(selector, _)| match selector.alternatives().len() {
        0 => usize::MAX,
        count => count,
    });
    entries
}

/// Part of what a VM asks for: so much of one of these classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The numbers of the classes that would do, in the order they are tried; none for a class that nobody has.
    pub(crate) classes: Vec<Option<usize>>,
    /// Any class would do; then `classes` has all that there are.
    pub(crate) is_for_any: bool,
    /// How much.
    pub(crate) amount: DeviceAmount,
}

impl Entry {
    /// How much in thousandths.
    pub(crate) fn permille(&self) -> u64 {
        counted(self.amount)
    }
}

/// What an amount is counted as, in thousandths.
pub(crate) fn counted(amount: DeviceAmount) -> u64 {
    amount.permille().min(PERMILLE_MAX)
}

/// Instances chosen: the first `count` that have `each` left, from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    first: usize,
    count: usize,
    each: u16,
}

impl Chosen {
    /// Which they are, given what was left when they were chosen.
    pub(crate) fn instances(self, free: &[u16]) -> impl Iterator<Item = usize> {
        let fit = move |(_, left): &(usize, &u16)| **left >= self.each;
        free.iter().enumerate().skip(self.first).filter(fit).map(|(instance, _)| instance).take(self.count)
    }
}

/// The rule. `free` is what is left of each instance of one class.
pub(crate) fn choose(free: &[u16], is_divisible: bool, amount: DeviceAmount) -> Option<Chosen> {
    match amount {
        DeviceAmount::Whole(count) => {
            let count = usize::try_from(count).ok()?;
            let first = free.iter().position(|left| *left == WHOLE_PERMILLE)?;
            let found = free.iter().filter(|left| **left == WHOLE_PERMILLE).count();
            (found >= count).then_some(Chosen { first, count, each: WHOLE_PERMILLE })
        }
        DeviceAmount::Share(share) => {
            let fits = |(_, left): &(usize, &u16)| is_divisible && **left >= share.permille();
            // A whole one has more left than any that is partly used, and the first of the least is the lowest.
            let (first, _) = free.iter().enumerate().filter(fits).min_by_key(|(_, left)| **left)?;
            Some(Chosen { first, count: 1, each: share.permille() })
        }
    }
}

/// The devices of one class on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClassDevices {
    /// The number of the class.
    pub(crate) number: usize,
    /// They may be shared.
    pub(crate) is_divisible: bool,
    /// What is promised, in thousandths of a device. More than there is where VMs run that do not fit.
    pub(crate) used: u64,
    /// What is left of each instance, in thousandths.
    pub(crate) free: Vec<u16>,
}

impl ClassDevices {
    /// What there is, in thousandths of a device.
    pub(crate) fn total(&self) -> u64 {
        self.free.len() as u64 * u64::from(WHOLE_PERMILLE)
    }

    /// How many are wholly free, no more than may still be promised.
    pub(crate) fn whole(&self) -> u64 {
        self.whole_with(0, 0)
    }

    /// The same with `taken` instances fewer and `permille` promised besides.
    fn whole_with(&self, taken: u64, permille: u64) -> u64 {
        let free = self.free.iter().filter(|left| **left == WHOLE_PERMILLE).count() as u64;
        let unpromised = self.total().saturating_sub(self.used + permille) / u64::from(WHOLE_PERMILLE);
        free.saturating_sub(taken).min(unpromised)
    }

    /// The instances that `amount` would get, if it may be promised. VMs that run though they do not fit, or on
    /// instances that the profile lost, count against what may be promised.
    pub(crate) fn choose(&self, amount: DeviceAmount) -> Option<Chosen> {
        let chosen = choose(&self.free, self.is_divisible, amount)?;
        (self.used + amount.permille() <= self.total()).then_some(chosen)
    }
}

/// What becomes of one entry on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    /// The class that serves it, or that it is counted for; none where no class is known.
    pub(crate) class: Option<usize>,
    /// The instances; none when nothing serves it.
    pub(crate) chosen: Option<Chosen>,
    /// How much in thousandths.
    pub(crate) permille: u64,
}

/// The devices of one host by class. Most hosts have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostDevices {
    classes: Vec<ClassDevices>,
    /// Promised of no class, in thousandths: VMs that want any class are on a host that has none.
    used_of_none: u64,
}

impl HostDevices {
    /// So many unused devices of these classes: number, count, whether they may be shared.
    pub(crate) fn new(classes: impl Iterator<Item = (usize, u32, bool)>) -> Self {
        let devices = |(number, count, is_divisible)| ClassDevices {
            number,
            is_divisible,
            used: 0,
            free: vec![WHOLE_PERMILLE; usize::try_from(count).unwrap_or(usize::MAX).min(INSTANCES_MAX)],
        };
        Self { classes: classes.map(devices).collect(), used_of_none: 0 }
    }

    /// The classes that it has or that something is promised of.
    pub(crate) fn classes(&self) -> &[ClassDevices] {
        &self.classes
    }

    /// One class.
    pub(crate) fn class(&self, number: usize) -> Option<&ClassDevices> {
        self.classes.iter().find(|class| class.number == number)
    }

    fn class_mut(&mut self, number: usize) -> &mut ClassDevices {
        let place = self.classes.iter().position(|class| class.number == number).unwrap_or_else(|| {
            self.classes.push(ClassDevices { number, ..ClassDevices::default() });
            self.classes.len() - 1
        });
        &mut self.classes[place]
    }

    /// What there is of all classes, in thousandths.
    pub(crate) fn total(&self) -> u64 {
        self.classes.iter().map(ClassDevices::total).sum()
    }

    /// What is left of all instances, in thousandths.
    pub(crate) fn free(&self) -> u64 {
        self.classes.iter().flat_map(|class| &class.free).map(|left| u64::from(*left)).sum()
    }

    /// What is promised of all classes, in thousandths.
    pub(crate) fn used(&self) -> u64 {
        self.classes.iter().map(|class| class.used).sum::<u64>() + self.used_of_none
    }

    /// What would become of `entry`.
    pub(crate) fn serve_one(&self, entry: &Entry) -> Served {
        self.serve_by(entry, |class| class.choose(entry.amount))
    }

    /// The same for what is there already: though too much may be promised, an instance that is free is its own.
    pub(crate) fn serve_what_runs(&self, entry: &Entry) -> Served {
        let served = self.serve_one(entry);
        if served.chosen.is_some() {
            return served;
        }
        self.serve_by(entry, |class| choose(&class.free, class.is_divisible, entry.amount))
    }

    fn serve_by(&self, entry: &Entry, choose: impl Fn(&ClassDevices) -> Option<Chosen>) -> Served {
        let permille = entry.permille();
        let there = || entry.classes.iter().flatten().filter_map(|number| self.class(*number));
        if let Some((class, chosen)) = there().find_map(|class| Some((class.number, choose(class)?))) {
            return Served { class: Some(class), chosen: Some(chosen), permille };
        }
        // Nothing serves it; it is counted for the first class that the host has, else for the first one named.
        let present = there().find(|class| !class.free.is_empty()).map(|class| class.number);
        let named = if entry.is_for_any { None } else { entry.classes.first().copied().flatten() };
        Served { class: present.or(named), chosen: None, permille }
    }

    /// Calls `visit` with what would become of each entry and the devices as they would be before it; whether all would
    /// be served.
    pub(crate) fn serve(&self, entries: &[Entry], mut visit: impl FnMut(&Self, Served)) -> bool {
        if let [entry] = entries {
            let served = self.serve_one(entry);
            visit(self, served);
            return served.chosen.is_some();
        }
        let mut left = self.clone();
        let mut all = true;
        for entry in entries {
            let served = left.serve_one(entry);
            visit(&left, served);
            left.take(served);
            all &= served.chosen.is_some();
        }
        all
    }

    /// Whether all entries would be served.
    pub(crate) fn can_serve(&self, entries: &[Entry]) -> bool {
        entries.is_empty() || (!self.classes.is_empty() && self.serve(entries, |_, _| {}))
    }

    /// How much of a class `entries` would get, in thousandths.
    pub(crate) fn asked_of(&self, number: usize, entries: &[Entry]) -> u64 {
        let mut asked = 0;
        self.serve(entries, |_, served| {
            if served.class == Some(number) {
                asked += served.permille;
            }
        });
        asked
    }

    /// How many devices, of one class or of all, are wholly free once `entries` are served.
    pub(crate) fn whole(&self, number: Option<usize>, entries: &[Entry]) -> u64 {
        let wanted = |class: &&ClassDevices| number.is_none_or(|number| class.number == number);
        match entries {
            [] => self.classes.iter().filter(wanted).map(ClassDevices::whole).sum(),
            [entry] => {
                let served = self.serve_one(entry);
                let whole = |class: &ClassDevices| {
                    if served.class != Some(class.number) {
                        return class.whole();
                    }
                    class.whole_with(served.whole_taken(class), served.permille)
                };
                self.classes.iter().filter(wanted).map(whole).sum()
            }
            entries => self.with(entries).whole(number, &[]),
        }
    }

    /// The devices as they would be with `entries`.
    pub(crate) fn with(&self, entries: &[Entry]) -> Self {
        let mut left = self.clone();
        left.take_all(entries);
        left
    }

    /// Becomes `other` with `entries`, in the room that is there already.
    pub(crate) fn become_with(&mut self, other: &Self, entries: &[Entry]) {
        self.used_of_none = other.used_of_none;
        self.classes.resize_with(other.classes.len(), ClassDevices::default);
        for (class, source) in self.classes.iter_mut().zip(&other.classes) {
            let free = std::mem::take(&mut class.free);
            *class = ClassDevices { free, ..*source };
            class.free.clone_from(&source.free);
        }
        self.take_all(entries);
    }

    fn take_all(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.take(self.serve_one(entry));
        }
    }

    /// Takes what was served, and returns which instances these are.
    pub(crate) fn take(&mut self, served: Served) -> Vec<usize> {
        let Some(number) = served.class else {
            self.used_of_none += served.permille;
            return Vec::new();
        };
        let class = self.class_mut(number);
        class.used += served.permille;
        let Some(chosen) = served.chosen else { return Vec::new() };
        let instances: Vec<usize> = chosen.instances(&class.free).collect();
        for instance in &instances {
            class.free[*instance] -= chosen.each;
        }
        instances
    }

    /// Takes `each` of exactly these instances, unless one of them has less left. Instances that the host does not have any
    /// more are counted and nothing else.
    pub(crate) fn take_again(&mut self, number: usize, instances: &[usize], each: u16) -> bool {
        let class = self.class_mut(number);
        let is_left = |instance: &usize| class.free.get(*instance).is_none_or(|left| *left >= each);
        if !instances.iter().all(is_left) {
            return false;
        }
        class.used += instances.len() as u64 * u64::from(each);
        for instance in instances {
            if let Some(left) = class.free.get_mut(*instance) {
                *left -= each;
            }
        }
        true
    }

    /// Counts `permille` less as promised, and gives back `each` of these instances.
    pub(crate) fn give_back(&mut self, number: Option<usize>, permille: u64, instances: &[usize], each: u16) {
        let Some(number) = number else {
            self.used_of_none = self.used_of_none.saturating_sub(permille);
            return;
        };
        let class = self.class_mut(number);
        class.used = class.used.saturating_sub(permille);
        for instance in instances {
            if let Some(left) = class.free.get_mut(*instance) {
                *left = (*left + each).min(WHOLE_PERMILLE);
            }
        }
    }
}

impl Served {
    /// How many instances that were wholly free it touches.
    fn whole_taken(&self, class: &ClassDevices) -> u64 {
        self.chosen.map_or(0, |chosen| {
            let is_whole = |instance: &usize| class.free.get(*instance) == Some(&WHOLE_PERMILLE);
            chosen.instances(&class.free).filter(is_whole).count() as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::device::Share;
    use reeve_common::ids::RealmName;
    use reeve_common::units::{Mebibytes, Millicores};

    use super::*;

    fn share(permille: u16) -> DeviceAmount {
        DeviceAmount::Share(Share::new(permille).unwrap())
    }

    fn instances(free: &[u16], amount: DeviceAmount) -> Option<Vec<usize>> {
        choose(free, true, amount).map(|chosen| chosen.instances(free).collect())
    }

    #[test]
    fn a_share_goes_where_the_least_is_left() {
        assert_eq!(instances(&[1000, 600, 400, 400, 200], share(300)), Some(vec![2]));
        assert_eq!(instances(&[1000, 600, 400, 400, 200], share(500)), Some(vec![1]));
        assert_eq!(instances(&[600, 1000, 1000], share(700)), Some(vec![1]), "the lowest free one");
        assert_eq!(instances(&[600, 699, 0], share(700)), None);
        assert_eq!(choose(&[1000], false, share(1)), None, "its class may not be shared");
    }

    #[test]
    fn whole_ones_are_the_lowest_that_are_free() {
        assert_eq!(instances(&[0, 1000, 999, 1000, 1000], DeviceAmount::Whole(2)), Some(vec![1, 3]));
        assert_eq!(instances(&[0, 1000, 999], DeviceAmount::Whole(2)), None);
        assert_eq!(instances(&[], DeviceAmount::Whole(1)), None);
    }

    #[test]
    fn the_choosiest_are_served_first() {
        let request = |devices: &[(&str, DeviceAmount)]| Request {
            devices: devices.iter().map(|(selector, amount)| (selector.parse().unwrap(), *amount)).collect(),
            ..Request::new(RealmName::new("r").unwrap(), Millicores(0), Mebibytes(0))
        };
        let wanted = request(&[
            ("*", share(1)),
            ("a|b", share(2)),
            ("c", DeviceAmount::Whole(1)),
            ("d", DeviceAmount::Whole(0)),
        ]);
        let names: Vec<String> = in_order(&wanted).iter().map(|(selector, _)| selector.to_string()).collect();
        assert_eq!(names, ["c", "a|b", "*"]);
    }

    fn entry(classes: &[usize], amount: DeviceAmount) -> Entry {
        Entry { classes: classes.iter().copied().map(Some).collect(), is_for_any: false, amount }
    }

    #[test]
    fn one_class_serves_an_entry_and_the_next_entry_sees_what_is_left() {
        let devices = HostDevices::new([(0, 1, true), (1, 2, true)].into_iter());
        let two = entry(&[0, 1], DeviceAmount::Whole(2));
        assert_eq!(devices.serve_one(&two).class, Some(1), "the first class that can serve all of it");
        assert!(!devices.can_serve(&[two.clone(), entry(&[1], share(1))]));
        assert!(devices.can_serve(&[two.clone(), entry(&[1, 0], share(1))]));
        assert_eq!(devices.whole(None, &[two.clone(), entry(&[1, 0], share(1))]), 0);
        assert_eq!(devices.whole(Some(0), std::slice::from_ref(&two)), 1);
        assert_eq!(devices.asked_of(1, &[two]), 2000);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_keeps_others_out() {
        let mut devices = HostDevices::new([(0, 2, true)].into_iter());
        let three = devices.serve_what_runs(&entry(&[0], DeviceAmount::Whole(3)));
        assert_eq!((three.class, three.chosen), (Some(0), None));
        devices.take(three);
        assert_eq!((devices.used(), devices.total(), devices.whole(None, &[])), (3000, 2000, 0));
        assert!(!devices.can_serve(&[entry(&[0], share(1))]), "though instances seem free");
        assert!(devices.serve_what_runs(&entry(&[0], share(1))).chosen.is_some(), "it runs there already");
        devices.give_back(Some(0), 3000, &[], WHOLE_PERMILLE);
        assert!(devices.can_serve(&[entry(&[0], DeviceAmount::Whole(2))]));
    }

    #[test]
    fn an_instance_is_taken_again_only_if_it_is_there_to_take() {
        let mut devices = HostDevices::new([(0, 2, true)].into_iter());
        assert!(devices.take_again(0, &[1], 600));
        assert!(!devices.take_again(0, &[0, 1], 1000), "half of it is somebody's");
        assert!(devices.take_again(0, &[7], 1000), "lost with the old profile, and still used");
        assert_eq!(devices.used(), 1600);
        devices.give_back(Some(0), 600, &[1], 600);
        devices.give_back(Some(0), 1000, &[7], 1000);
        assert_eq!((devices.used(), devices.whole(Some(0), &[])), (0, 2));
    }
}
