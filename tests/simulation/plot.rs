//! Owns the plots: a few things that happen to one host one after the other, as they do in a data centre, and that
//! faults drawn one by one hardly ever come to. Each comes to a moment in which one rule of the product is all that keeps
//! a VM from running twice, or a host from being taken for empty.
//!
//! | plot | the moment |
//! |---|---|
//! | a deaf controller | the fence command says that a host is off which nobody hears, and its status says that it is on |
//! | repaired and back | a host was seen to be off, is back and runs VMs, and is cut off when the coordinator starts anew |
//! | stuck guests | a lease runs out on a host that cannot end its guests |
//! | no watchdog | an agent is stopped, and no watchdog resets its machine |
//! | the last to come | VMs that waited get their places on a host while it is being emptied, or removed |

use std::time::Duration;

use reeve_common::ids::HostId;

use super::administrator::HostCare;
use super::chance::Chance;
use super::deed::Deed;
use super::estate::{Care, HOSTS};
use super::fences::FenceManner;
use super::machine::has_watchdog;
use super::story::Step;

/// A plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plot {
    DeafController,
    RepairedAndBack,
    StuckGuests,
    NoWatchdog,
    LastToCome,
}

/// Those that mean something where hosts that are lost are dealt with so.
const fn plots(care: Care) -> &'static [Plot] {
    match care {
        Care::Statements => &[Plot::RepairedAndBack, Plot::LastToCome],
        Care::Fences => &[Plot::DeafController, Plot::RepairedAndBack, Plot::LastToCome],
        Care::Leases => &[Plot::StuckGuests, Plot::NoWatchdog, Plot::RepairedAndBack, Plot::LastToCome],
    }
}

/// The steps of one plot, drawn for a story of this seed.
pub(super) fn draw(seed: u64, care: Care, chance: &mut Chance) -> Vec<Step> {
    let host = HostId(u32::try_from(chance.within(1..=u64::from(HOSTS))).unwrap_or(1));
    let plot = chance.pick(plots(care)).copied().unwrap_or(Plot::LastToCome);
    let mut script = Script { chance, at: Duration::ZERO, steps: Vec::new() };
    match plot {
        Plot::DeafController => script.deaf_controller(host),
        Plot::RepairedAndBack => script.repaired_and_back(host),
        Plot::StuckGuests => script.stuck_guests(host),
        Plot::NoWatchdog => {
            let bare = (1..=HOSTS).map(HostId).find(|host| !has_watchdog(seed, *host));
            script.no_watchdog(bare.unwrap_or(host));
        }
        Plot::LastToCome => script.last_to_come(host),
    }
    script.steps
}

/// What happens, written down as time goes by.
struct Script<'a> {
    chance: &'a mut Chance,
    at: Duration,
    steps: Vec<Step>,
}

impl Script<'_> {
    fn after(&mut self, milliseconds: std::ops::RangeInclusive<u64>) -> &mut Self {
        self.at += self.chance.milliseconds(milliseconds);
        self
    }

    fn then(&mut self, deed: Deed) -> &mut Self {
        self.steps.push(Step { at: self.at, deed });
        self
    }

    fn long(&mut self, milliseconds: std::ops::RangeInclusive<u64>) -> Duration {
        self.chance.milliseconds(milliseconds)
    }

    /// VMs for every host.
    fn start_vms(&mut self, count: u32) -> &mut Self {
        for _ in 0..count {
            self.after(50..=800).then(Deed::Start("small"));
        }
        self
    }

    fn deaf_controller(&mut self, host: HostId) {
        self.after(500..=10_000).start_vms(4);
        let (deaf, cut) = (self.long(40_000..=60_000), self.long(25_000..=50_000));
        self.after(3_000..=20_000).then(Deed::FenceFault(host, FenceManner::WithoutEffect, deaf));
        self.after(0..=3_000).then(Deed::Cut(host, cut));
    }

    fn repaired_and_back(&mut self, host: HostId) {
        let off = self.long(9_000..=15_000);
        self.after(3_000..=40_000).then(Deed::LosePower(host, off));
        let back = self.at + off;
        self.after(500..=2_000).then(Deed::Care(host, HostCare::ConfirmOff));
        self.at = back;
        self.after(1_500..=4_000).start_vms(4);
        let (cut, dead) = (self.long(8_000..=20_000), self.long(100..=3_000));
        self.after(4_000..=8_000).then(Deed::Cut(host, cut));
        self.after(0..=1_000).then(Deed::KillCoordinator(dead));
    }

    fn stuck_guests(&mut self, host: HostId) {
        self.after(500..=10_000).start_vms(4);
        let (cut, stuck) = (self.long(50_000..=65_000), self.long(50_000..=60_000));
        self.after(3_000..=15_000).then(Deed::Cut(host, cut));
        self.after(0..=4_000).then(Deed::LoseLibvirt(host, stuck));
    }

    fn no_watchdog(&mut self, host: HostId) {
        self.after(500..=10_000).start_vms(4);
        let frozen = self.long(20_000..=50_000);
        self.after(3_000..=30_000).then(Deed::FreezeAgent(host, frozen));
    }

    fn last_to_come(&mut self, host: HostId) {
        let all = || (1..=HOSTS).map(HostId);
        self.after(500..=20_000);
        for other in all() {
            self.then(Deed::Care(other, HostCare::Schedule(false)));
        }
        self.after(300..=1_000).start_vms(4);
        let slow = self.long(25_000..=40_000);
        self.after(100..=1_000).then(Deed::SlowStore(slow));
        self.after(0..=500).then(Deed::Care(host, HostCare::Schedule(true)));
        let end = if self.chance.permille(250) { HostCare::Remove } else { HostCare::Drain };
        self.after(0..=4_000).then(Deed::Care(host, end));
        self.at += slow;
        for other in all() {
            self.after(0..=500).then(Deed::Care(other, HostCare::Schedule(true)));
        }
    }
}
