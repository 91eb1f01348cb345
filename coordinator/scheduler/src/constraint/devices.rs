//! Constraint: enough devices of what is asked for are left, whole or in part, and may be shared where a part is asked.

use reeve_common::device::{DeviceAmount, DeviceSelector, Share};

use super::Standing;
use crate::device_choice::{self, ClassDevices, Entry, HostDevices};
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    let selectors = device_choice::in_order(request).into_iter().map(|(selector, _)| selector);
    let mut asked = selectors.zip(standing.entries);
    let mut result = Ok(());
    standing.devices.serve(standing.entries, |left, served| {
        let Some((selector, entry)) = asked.next() else { return };
        if served.chosen.is_none() && result.is_ok() {
            result = Err(reason(left, selector, entry));
        }
    });
    result
}

/// Why `left` has nothing for an entry.
fn reason(left: &HostDevices, selector: &DeviceSelector, entry: &Entry) -> Reason {
    let would_do: Vec<&ClassDevices> =
        entry.classes.iter().flatten().filter_map(|number| left.class(*number)).collect();
    match entry.amount {
        DeviceAmount::Whole(asked) => Reason::Devices {
            selector: selector.clone(),
            asked,
            free: would_do.iter().map(|class| class.whole()).sum(),
            free_of_one: would_do.iter().map(|class| class.whole()).max().unwrap_or(0),
            total: count(&would_do),
        },
        DeviceAmount::Share(asked) => share_reason(&would_do, selector, asked),
    }
}

fn share_reason(would_do: &[&ClassDevices], selector: &DeviceSelector, asked: Share) -> Reason {
    let selector = selector.clone();
    let divisible: Vec<&ClassDevices> = would_do.iter().copied().filter(|class| class.is_divisible).collect();
    if divisible.is_empty() && count(would_do) > 0 {
        return Reason::DevicesNotDivisible { selector, asked };
    }
    let largest = |class: &&ClassDevices| {
        let free = class.free.iter().copied().max().unwrap_or(0);
        u64::from(free).min(class.total().saturating_sub(class.used))
    };
    let largest = divisible.iter().map(largest).max().unwrap_or(0);
    Reason::DeviceShare { selector, asked, largest, total: count(&divisible) }
}

/// How many devices there are of these classes.
fn count(classes: &[&ClassDevices]) -> u64 {
    classes.iter().map(|class| class.free.len() as u64).sum()
}
