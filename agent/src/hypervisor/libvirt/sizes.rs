//! Owns noticing that a domain was given more or fewer processors, or more or less memory, behind our back: libvirt
//! tells nobody of `virsh setvcpus` and `setmaxmem`. It saves the definition, though, which hints at the domain; it is
//! asked for its size then, and what has changed becomes an event like any other. From time to time all are asked, as
//! hints can be missed or not to be had.
//!
//! Must not: judge a size, or say which domains are ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::ids::VmId;
use reeve_common::units::Mebibytes;
use virt::connect::Connect;

use super::super::HypervisorEvent;
use super::asking_turns::{AskingTurns, Pause, Turn};
use super::connection::Connection;
use super::failure::Failure;
use super::saved_definitions::SavedDefinitions;
use super::{domains, quick};

/// Processors and the most memory of each domain.
pub(super) type Sizes = BTreeMap<VmId, (u32, Mebibytes)>;

/// Looks until the connection is no longer used, in a thread of its own.
pub(super) fn watch(
    connection: &Arc<Connection>,
    saved: SavedDefinitions,
    clock: Arc<dyn Clock>,
) -> std::io::Result<()> {
    let connection = Arc::downgrade(connection);
    std::thread::Builder::new()
        .name("libvirt-sizes".to_owned())
        .spawn(move || keep_looking(&connection, saved, &*clock))?;
    Ok(())
}

fn keep_looking(connection: &Weak<Connection>, mut saved: SavedDefinitions, clock: &dyn Clock) {
    let mut turns = AskingTurns::new(clock.monotonic());
    // What happens before the first look, whoever listens looks at as a whole.
    let mut known: Option<Sizes> = None;
    while let Some(connection) = connection.upgrade() {
        match turns.next(clock.monotonic()) {
            Turn::All => {
                // First the watch: what is written after the look has begun is then told.
                saved.watch_anew();
                let now = ask(&connection, domains::sizes);
                let count = now.as_ref().map(Sizes::len);
                turns.all_were_looked_at(count, saved.is_complete(), clock.monotonic());
                if let Some(now) = now {
                    tell_changed(&connection, known.as_ref(), &now);
                    known = Some(now);
                }
            }
            Turn::These(names) => match ask(&connection, move |connect| domains::sizes_of(connect, &names)) {
                Some(now) => {
                    tell_changed(&connection, known.as_ref(), &now);
                    known.iter_mut().for_each(|known| known.extend(&now));
                }
                None => turns.look_at_all(),
            },
            Turn::Nothing => {}
        }
        drop(connection);
        let written = match turns.pause(clock.monotonic()) {
            Pause::Watching(patience) => saved.wait(patience),
            Pause::Resting(rest) => {
                std::thread::sleep(rest);
                saved.wait(Duration::ZERO)
            }
        };
        turns.note(written, clock.monotonic());
    }
}

/// Asks libvirt, if it can be asked.
fn ask(
    connection: &Connection,
    work: impl FnOnce(&Connect) -> Result<Sizes, Failure> + Send + 'static,
) -> Option<Sizes> {
    connection.is_up().then(|| connection.call(quick("looking at sizes"), work))?.ok()
}

fn tell_changed(connection: &Connection, before: Option<&Sizes>, now: &Sizes) {
    for vm in before.into_iter().flat_map(|before| changed(before, now)) {
        connection.tell(HypervisorEvent::Domain(vm));
    }
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
    fn what_differs_and_what_is_new_is_told() {
        let sizes = |all: &[(u128, u32, u64)]| -> Sizes {
            all.iter().map(|(number, vcpus, memory)| (vm(*number), (*vcpus, Mebibytes(*memory)))).collect()
        };
        let before = sizes(&[(1, 1, 64), (2, 2, 64), (3, 1, 64), (4, 1, 64)]);
        let now = sizes(&[(1, 1, 64), (2, 1, 64), (3, 1, 128), (5, 9, 9)]);
        assert_eq!(changed(&before, &now).collect::<Vec<_>>(), [vm(2), vm(3), vm(5)]);
    }
}
