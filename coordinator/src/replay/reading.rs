//! Owns the two tables of a trace: which columns they have, what may stand in them, and what contradicts itself.
//!
//! ```text
//!   hosts   host,millicores,memory_mib,device_class,device_count
//!   VMs     vm,millicores,memory_mib,device_class,device_count,device_permille,arrive_s,depart_s
//! ```
//!
//! `device_class` of a VM may name alternatives (`A|B`) or be empty for any class. `device_permille` below 1000 asks for
//! that share of one device. Without `depart_s` the VM stays.
//!
//! Must not: open files.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use reeve_common::device::{DeviceAmount, DeviceSelector, Share, WHOLE_PERMILLE};
use reeve_common::ids::{DeviceClass, HostName};
use reeve_common::text::is_printable;
use reeve_common::units::{Mebibytes, Millicores};

use super::mistake::{Mistakes, TraceErrors, quoted};
use super::table::{Field, Table};
use super::trace::{Shape, ShapeNumbers, Trace, TraceHost, TraceVm};

/// Hosts of a trace: twice what the scheduler is measured with.
pub const HOSTS_MAX: usize = 200_000;
/// VMs of a trace. A million take 140 MiB, and three times as much when no two ask for the same; more is better replayed in
/// parts.
pub const VMS_MAX: usize = 2_000_000;
/// A million cores, in thousandths: more than any machine has.
const MILLICORES_MAX: u64 = 1_000_000_000;
/// 4 PiB: more than any machine has.
const MEMORY_MIB_MAX: u64 = 1 << 32;
/// Devices of one machine.
const DEVICES_MAX: u64 = 1024;
/// 30,000 years.
const SECONDS_MAX: u64 = 1_000_000_000_000;
/// The longest name of a VM, in bytes. Traces number or hash them.
const VM_NAME_LENGTH_MAX: usize = 128;

const HOST_COLUMNS: [&str; 5] = ["host", "millicores", "memory_mib", "device_class", "device_count"];
const VM_COLUMNS: [&str; 8] = [
    "vm",
    "millicores",
    "memory_mib",
    "device_class",
    "device_count",
    "device_permille",
    "arrive_s",
    "depart_s",
];

/// Reads a table of hosts; `file` is what it is called in messages.
///
/// # Errors
/// Everything that is wrong with it, up to a limit.
pub(super) fn hosts(source: impl Read, file: &str) -> Result<Vec<TraceHost>, TraceErrors> {
    let mut mistakes = Mistakes::default();
    let mut hosts: Vec<TraceHost> = Vec::new();
    let mut lines: HashMap<HostName, u64> = HashMap::new();
    if let Some(mut table) = Table::open(source, HOST_COLUMNS, &mut mistakes) {
        let mut count = 0;
        while let Some(row) = table.next(&mut mistakes) {
            count += 1;
            if count > HOSTS_MAX {
                mistakes.last(row.line, format!("a trace has at most {HOSTS_MAX} hosts"));
                break;
            }
            let line = row.line;
            let Some(host) = host(row.fields, &mut mistakes) else { continue };
            if let Some(first) = lines.insert(host.name.clone(), line) {
                mistakes.field(
                    line,
                    "host",
                    format!("{} is on line {first} already", quoted(host.name.as_str())),
                );
            }
            hosts.push(host);
        }
        if count == 0 && mistakes.len() == 0 {
            mistakes.file("there is no host in it");
        }
    }
    mistakes.into_errors(file).map(|()| hosts)
}

fn host(fields: [Field<'_>; 5], mistakes: &mut Mistakes) -> Option<TraceHost> {
    let [name, cores, memory, class, count] = fields;
    let cores = cores.number(MILLICORES_MAX, mistakes);
    let memory = memory.number(MEMORY_MIB_MAX, mistakes);
    let count = count.number(DEVICES_MAX, mistakes);
    let name = match HostName::new(name.text) {
        Ok(name) => Some(name),
        Err(error) => refused(name, &error, mistakes),
    };
    let devices = match (count?, class.text) {
        (0, _) => Some(None),
        (_, "") => {
            class.refuse("a host's devices have a class, and there is nothing here".to_owned(), mistakes);
            None
        }
        (count, text) => match DeviceClass::new(text) {
            Ok(class) => Some(Some((class, u32::try_from(count).unwrap_or(u32::MAX)))),
            Err(error) => refused(class, &error, mistakes),
        },
    };
    Some(TraceHost { name: name?, cores: Millicores(cores?), memory: Mebibytes(memory?), devices: devices? })
}

/// Adds an error in a name, which says all there is to say itself.
fn refused<T>(field: Field<'_>, error: &dyn std::error::Error, mistakes: &mut Mistakes) -> Option<T> {
    field.refuse(error.to_string(), mistakes);
    None
}

/// Reads a table of VMs that are to live on `hosts`.
///
/// # Errors
/// Everything that is wrong with it, up to a limit.
pub(super) fn trace(hosts: Vec<TraceHost>, source: impl Read, file: &str) -> Result<Trace, TraceErrors> {
    let mut mistakes = Mistakes::default();
    let mut vms: Vec<TraceVm> = Vec::new();
    let mut shapes = ShapeNumbers::default();
    let mut lines: HashMap<Box<str>, u64> = HashMap::new();
    let classes: HashSet<&DeviceClass> =
        hosts.iter().filter_map(|host| host.devices.as_ref()).map(|(class, _)| class).collect();
    if let Some(mut table) = Table::open(source, VM_COLUMNS, &mut mistakes) {
        let mut count = 0;
        while let Some(row) = table.next(&mut mistakes) {
            count += 1;
            if count > VMS_MAX {
                mistakes.last(row.line, format!("a trace has at most {VMS_MAX} VMs; replay it in parts"));
                break;
            }
            let (line, name, class) = (row.line, row.fields[0], row.fields[3]);
            check_name(name, &mut mistakes);
            if let Some(first) = lines.insert(name.text.into(), line) {
                name.refuse(format!("{} is on line {first} already", quoted(name.text)), &mut mistakes);
            }
            let Some((shape, times)) = vm(row.fields, &mut mistakes) else { continue };
            let unknown = shape
                .devices
                .as_ref()
                .is_some_and(|(selector, _)| !classes.iter().any(|class| selector.admits(class)));
            let (number, is_new) = shapes.number(shape);
            if unknown && is_new {
                class.refuse(no_such_devices(class.text, &classes), &mut mistakes);
            }
            vms.push(TraceVm { shape: number, arrive_s: times.0, depart_s: times.1 });
        }
        if count == 0 && mistakes.len() == 0 {
            mistakes.file("there is no VM in it");
        }
    }
    mistakes.into_errors(file)?;
    Ok(Trace { hosts, shapes: shapes.into_shapes(), vms })
}

fn check_name(name: Field<'_>, mistakes: &mut Mistakes) {
    let text = name.text;
    if text.is_empty() {
        name.refuse("a VM has a name, and there is nothing here".to_owned(), mistakes);
    } else if text.len() > VM_NAME_LENGTH_MAX {
        name.refuse(
            format!("a VM's name has at most {VM_NAME_LENGTH_MAX} bytes, this one has {}", text.len()),
            mistakes,
        );
    } else if !text.chars().all(is_printable) {
        name.refuse(format!("{} has a character that cannot be printed", quoted(text)), mistakes);
    }
}

fn no_such_devices(asked: &str, classes: &HashSet<&DeviceClass>) -> String {
    let mut known: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
    known.sort_unstable();
    match (asked, known.as_slice()) {
        (_, []) => "no host has any device, so that no host could ever take this VM".to_owned(),
        (asked, known) => format!(
            "no host has devices of class {}, so that no host could ever take this VM; the hosts have {}",
            quoted(asked),
            known.join(", ")
        ),
    }
}

/// What a VM asks for, and when it comes and leaves.
fn vm(fields: [Field<'_>; 8], mistakes: &mut Mistakes) -> Option<(Shape, (u64, Option<u64>))> {
    let [_, cores, memory, class, count, permille, arrive, depart] = fields;
    let cores = cores.number(MILLICORES_MAX, mistakes);
    let memory = memory.number(MEMORY_MIB_MAX, mistakes);
    let devices = devices(class, count, permille, mistakes);
    let arrive_s = arrive.number(SECONDS_MAX, mistakes);
    let depart_s =
        if depart.text.is_empty() { Some(None) } else { depart.number(SECONDS_MAX, mistakes).map(Some) };
    if let (Some(arrive_s), Some(Some(depart_s))) = (arrive_s, depart_s)
        && depart_s < arrive_s
    {
        let message = format!("{depart_s} is before arrive_s, {arrive_s}: a VM cannot leave before it comes");
        depart.refuse(message, mistakes);
    }
    let shape = Shape { cores: Millicores(cores?), memory: Mebibytes(memory?), devices: devices? };
    Some((shape, (arrive_s?, depart_s?)))
}

type Devices = Option<(DeviceSelector, DeviceAmount)>;

fn devices(
    class: Field<'_>,
    count: Field<'_>,
    permille: Field<'_>,
    mistakes: &mut Mistakes,
) -> Option<Devices> {
    let whole = u64::from(WHOLE_PERMILLE);
    let (number, part) = (count.number(DEVICES_MAX, mistakes), permille.number(whole, mistakes));
    let (number, part) = (number?, part?);
    if number == 0 {
        return Some(None);
    }
    let selector = match class.text {
        "" => Ok(DeviceSelector::any()),
        text => text.parse::<DeviceSelector>(),
    };
    let selector = match selector {
        Ok(selector) => selector,
        Err(error) => return refused(class, &error, mistakes),
    };
    if part == whole {
        return Some(Some((selector, DeviceAmount::Whole(u32::try_from(number).unwrap_or(u32::MAX)))));
    }
    if number > 1 {
        let message = format!(
            "{part} thousandths of {number} devices: a share is of one device, so device_count must be 1"
        );
        permille.refuse(message, mistakes);
        return None;
    }
    let share = u16::try_from(part).ok().and_then(|part| Share::new(part).ok());
    if share.is_none() {
        permille
            .refuse(format!("{part} thousandths of a device are nothing; a whole one is {whole}"), mistakes);
    }
    Some(Some((selector, DeviceAmount::Share(share?))))
}
