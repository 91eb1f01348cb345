//! Owns how hosts are shown.

use crate::api::types::{Amounts, ConnectionState, Host, Inventory, JoinToken, NumaNode, Pool, Sample};
use crate::cli::amounts;
use crate::cli::moments::{relative, relative_and_absolute};
use crate::cli::screen::{Screen, Sheet, number, some_text, table, words, yes_or_no};

pub(in crate::cli) fn hosts(screen: &Screen, hosts: &[Host]) -> String {
    let columns = [
        words("NAME"),
        words("REALM"),
        words("PROFILE"),
        words("STATE"),
        words("CONNECTION"),
        number("CORES"),
        number("MEMORY"),
        number("VMS"),
        words("WARNING"),
    ];
    screen.list(
        hosts,
        |host| host.name.to_string(),
        &columns,
        |host| {
            vec![
                host.name.to_string(),
                host.realm.to_string(),
                host.profile.to_string(),
                state(host),
                connection(host, screen),
                used(host, |amounts| amounts::cores(amounts.millicores)),
                used(host, |amounts| amounts::memory(amounts.memory_mib)),
                host.vms.len().to_string(),
                first_and_count(host),
            ]
        },
    )
}

/// `enabled, draining`.
fn state(host: &Host) -> String {
    let draining = if host.draining { ", draining" } else { "" };
    format!("{}{draining}", host.state.as_str())
}

fn connection(host: &Host, screen: &Screen) -> String {
    let word = host.connection.as_str();
    match host.connection_since.filter(|_| host.connection != ConnectionState::NeverJoined) {
        Some(since) => format!("{word} {}", relative(since, screen.now)),
        None => word.to_owned(),
    }
}

fn used(host: &Host, amount: impl Fn(&Amounts) -> String) -> String {
    match (&host.used, &host.capacity) {
        (Some(used), Some(capacity)) => amounts::part(amount(used), amount(capacity)),
        _ => String::new(),
    }
}

/// The first warning, and how many more there are; what stands of it (`reeve warning list`) may be more than is told here.
fn first_and_count(host: &Host) -> String {
    let more = host.standing_warnings.max(host.warnings.len());
    match (host.warnings.first(), more) {
        (None, 0) => String::new(),
        (None, more) => format!("{more} standing"),
        (Some(one), 1) => one.clone(),
        (Some(first), more) => format!("{first} (and {} more)", more - 1),
    }
}

pub(in crate::cli) fn host(screen: &Screen, host: &Host) -> String {
    screen.one(
        host,
        |host| host.name.to_string(),
        |host| {
            let sheet = Sheet::new()
                .line("Name", host.name.as_str())
                .line("Id", host.id.to_string())
                .line("Realm", host.realm.as_str())
                .line("Profile", host.profile.as_str())
                .line("State", state(host))
                .line("Connection", connection(host, screen))
                .line("Libvirt", &*host.uri)
                .optional("Libvirt answers", host.hypervisor_reachable.map(yes_or_no))
                .optional("Labels", some_text(amounts::labels(&host.labels)))
                .line("Added", relative_and_absolute(host.added_at, screen.now))
                .optional("Joined", host.joined_at.map(|at| relative_and_absolute(at, screen.now)));
            let sheet = promised(sheet, host);
            let sheet = host.inventory.iter().fold(sheet, inventory);
            let sheet = host.sample.iter().fold(sheet, |sheet, sample| measured(sheet, sample, screen));
            sheet
                .optional("Can be fenced", host.can_be_fenced.then_some("yes"))
                .optional(
                    "Stops by itself",
                    host.stops_by_itself_at
                        .map(|at| format!("if not heard any more, {}", relative(at, screen.now))),
                )
                .several("Fencings", host.fences.iter().map(|fence| super::fence::line(fence, screen)))
                .optional(
                    "Standing warnings",
                    Some(host.standing_warnings).filter(|count| *count > 0).map(|count| count.to_string()),
                )
                .several("Warnings", host.warnings.iter().cloned())
                .several("VMs", host.vms.iter().map(ToString::to_string))
                .section("Pools", &pools(&host.pools))
                .section("Domains of others", &foreign(host))
                .render()
        },
    )
}

fn promised(sheet: Sheet, host: &Host) -> Sheet {
    let Some(capacity) = &host.capacity else {
        return sheet.line("Promised", "unknown: its profile is not in the configuration");
    };
    let none = Amounts::default();
    let used = host.used.as_ref().unwrap_or(&none);
    let devices = capacity.devices.iter().map(|(class, whole)| {
        let used = used.devices_permille.get(class).copied().unwrap_or(0);
        let shared = if capacity.divisible_devices.contains(class) { ", divisible" } else { "" };
        format!("{} {class}{shared}", amounts::part(amounts::device_share(used), whole))
    });
    let pages = capacity.huge_pages.iter().map(|(size, whole)| {
        let used = used.huge_pages.get(size).copied().unwrap_or(0);
        amounts::huge_pages(amounts::part(used, whole), *size)
    });
    sheet
        .line(
            "Promised cores",
            amounts::part(amounts::cores(used.millicores), amounts::cores(capacity.millicores)),
        )
        .line(
            "Promised memory",
            amounts::part(amounts::memory(used.memory_mib), amounts::memory(capacity.memory_mib)),
        )
        .several("Promised devices", devices)
        .several("Promised huge pages", pages)
        .optional(
            "NUMA nodes",
            Some(capacity.numa_nodes).filter(|nodes| *nodes > 0).map(|nodes| nodes.to_string()),
        )
}

fn inventory(sheet: Sheet, inventory: &Inventory) -> Sheet {
    sheet
        .line("Host name", &*inventory.hostname)
        .line(
            "Processor",
            format!("{} x {} ({})", inventory.logical_cpus, inventory.cpu_model, inventory.architecture),
        )
        .line("Memory", amounts::memory(inventory.memory_mib))
        .line("Kernel", &*inventory.kernel)
        .line("Hypervisor", &*inventory.hypervisor)
        .line("KVM usable", yes_or_no(inventory.kvm_usable))
        .line("Agent", &*inventory.agent_version)
        .several("Found NUMA nodes", inventory.numa_nodes.iter().map(numa_node))
        .several("Found devices", inventory.devices.iter().map(|(class, count)| format!("{count} {class}")))
        .optional(
            "Guests' processors",
            Some(inventory).filter(|inventory| !inventory.processor_models.is_empty()).map(|inventory| {
                format!(
                    "{} models, {} features (-o json lists them)",
                    inventory.processor_models.len(),
                    inventory.processor_features.len()
                )
            }),
        )
}

/// `node 0: 32 processors, 250 GiB, of it 16 pages of 1 GiB`.
fn numa_node(node: &NumaNode) -> String {
    let pages = node.huge_pages.iter().map(|(size, count)| amounts::huge_pages(count, *size));
    let pages: String = pages.map(|pages| format!(", of it {pages}")).collect();
    let memory = amounts::memory(node.memory_mib);
    format!("node {}: {} processors, {memory}{pages}", node.node, node.logical_cpus)
}

fn measured(sheet: Sheet, sample: &Sample, screen: &Screen) -> Sheet {
    let pressure = |label: &str, permille: Option<u32>| {
        permille.map(|permille| format!("{label} {}", amounts::percent(permille)))
    };
    let pressures: Vec<String> = [
        pressure("cpu", sample.cpu_pressure_permille),
        pressure("memory", sample.memory_pressure_permille),
        pressure("io", sample.io_pressure_permille),
    ]
    .into_iter()
    .flatten()
    .collect();
    sheet
        .line("Measured", relative(sample.at, screen.now))
        .line("  processors busy", amounts::percent(sample.cpu_permille))
        .line("  memory used", amounts::memory(sample.memory_used_mib))
        .line("  load", format!("{}.{:02}", sample.load_permille / 1000, sample.load_permille % 1000 / 10))
        .optional("  pressure", some_text(pressures.join(", ")))
}

fn pools(pools: &[Pool]) -> String {
    let columns = [words("NAME"), words("STATE"), number("SIZE"), number("LEFT")];
    let bytes = |bytes: Option<u64>| bytes.map(amounts::size).unwrap_or_default();
    let rows = pools.iter().map(|pool| {
        vec![
            pool.name.to_string(),
            pool.state.as_str().to_owned(),
            bytes(pool.capacity_bytes),
            bytes(pool.available_bytes),
        ]
    });
    if pools.is_empty() { String::new() } else { table(Some(&columns), &columns, rows) }
}

fn foreign(host: &Host) -> String {
    let columns = [words("NAME"), words("RUNNING"), number("VCPUS"), number("MEMORY")];
    let rows = host.foreign_domains.iter().map(|domain| {
        vec![
            domain.name.clone(),
            yes_or_no(domain.active).to_owned(),
            domain.vcpus.to_string(),
            amounts::memory(domain.memory_mib),
        ]
    });
    if host.foreign_domains.is_empty() { String::new() } else { table(Some(&columns), &columns, rows) }
}

/// The join line alone, so that it can be piped; what to do with it goes to standard error.
pub(in crate::cli) fn join_token(screen: &Screen, token: &JoinToken) -> (String, String) {
    let line = screen.one(token, |token| token.line.clone(), |token| format!("{}\n", token.line));
    let hint = format!(
        "Give this line to `reeve-agent join` on {}. It works once, and expires {}.\n",
        token.host,
        relative(token.expires_at, screen.now)
    );
    (line, hint)
}
