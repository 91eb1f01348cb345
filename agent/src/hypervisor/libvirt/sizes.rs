//! Owns noticing that a domain was given more or fewer processors, or more or less memory, behind our back: libvirt
//! tells nobody of `virsh setvcpus` and `setmaxmem`, so the sizes of all domains are looked at often and what has changed
//! becomes an event like any other.
//!
//! Must not: judge a size, or say which domains are ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use reeve_common::ids::VmId;
use reeve_common::units::Mebibytes;

use super::super::HypervisorEvent;
use super::connection::Connection;
use super::{domains, quick};

/// How often the sizes are looked at: with what follows, what changed is known within a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A look is one small question for each domain, of some 90 µs here: five a second are not felt, forty would be most of what
/// an agent costs. So on a host with more than two domains a look comes later; with a hundred it is still sooner than the
/// poll that compares everything. To ask for all in one call would be cheap here and dear elsewhere: libvirt then asks
/// each QEMU twice, which costs the host many times what it saves the agent.
const QUESTION_INTERVAL: Duration = Duration::from_millis(200);

/// Processors and the most memory of each domain.
pub(super) type Sizes = BTreeMap<VmId, (u32, Mebibytes)>;

/// Looks until the connection is no longer used, in a thread of its own.
pub(super) fn watch(connection: &Arc<Connection>) -> std::io::Result<()> {
    let connection = Arc::downgrade(connection);
    std::thread::Builder::new().name("libvirt-sizes".to_owned()).spawn(move || keep_looking(&connection))?;
    Ok(())
}

fn keep_looking(connection: &Weak<Connection>) {
    let mut before: Option<Sizes> = None;
    while let Some(connection) = connection.upgrade() {
        let looked = connection.is_up().then(|| connection.call(quick("looking at sizes"), domains::sizes));
        // What happened while it could not be asked is looked at as a whole when it is back.
        let now = looked.and_then(Result::ok);
        if let (Some(before), Some(now)) = (&before, &now) {
            for vm in changed(before, now) {
                connection.tell(HypervisorEvent::Domain(vm));
            }
        }
        let domains = now.as_ref().map_or(0, Sizes::len);
        before = now;
        drop(connection);
        std::thread::sleep(pause(domains));
    }
}

fn pause(domains: usize) -> Duration {
    let domains = u32::try_from(domains).unwrap_or(u32::MAX);
    LOOK_INTERVAL.max(QUESTION_INTERVAL.saturating_mul(domains))
}

/// The domains of another size, and those that are new: libvirt tells of their coming, and not of what was done to them
/// between that and this look. Of those that went it tells.
fn changed<'a>(before: &'a Sizes, now: &'a Sizes) -> impl Iterator<Item = VmId> + 'a {
    let differs = |(vm, size): (&VmId, &(u32, Mebibytes))| (before.get(vm) != Some(size)).then_some(*vm);
    now.iter().filter_map(differs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::sample_values::vm;

    #[test]
    fn a_crowded_host_is_looked_at_later() {
        assert_eq!([pause(0), pause(2)], [LOOK_INTERVAL; 2]);
        assert_eq!(pause(100), Duration::from_secs(20));
    }

    #[test]
    fn what_differs_and_what_is_new_is_told() {
        let sizes = |all: &[(u128, u32, u64)]| -> Sizes {
            all.iter().map(|(number, vcpus, memory)| (vm(*number), (*vcpus, Mebibytes(*memory)))).collect()
        };
        let before = sizes(&[(1, 1, 64), (2, 2, 64), (3, 1, 64), (4, 1, 64)]);
        let now = sizes(&[(1, 1, 64), (2, 1, 64), (3, 1, 128), (5, 9, 9)]);
        assert_eq!(changed(&before, &now).collect::<Vec<_>>(), [vm(2), vm(3), vm(5)]);
    }
}
