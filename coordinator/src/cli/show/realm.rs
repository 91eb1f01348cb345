//! Owns how realms, hardware profiles and volumes are shown.

use serde::Serialize;

use crate::api::types::{Amounts, Profile, QuotaLimits, QuotaUsage, Realm, Volume, Volumes};
use crate::cli::amounts;
use crate::cli::arguments::Format;
use crate::cli::screen::{Screen, Sheet, json, number, table, words, yes_or_no};

pub(in crate::cli) fn realms(screen: &Screen, realms: &[Realm]) -> String {
    let columns =
        [words("NAME"), words("TITLE"), words("STATE"), number("HOSTS"), number("CONNECTED"), number("VMS")];
    screen.list(
        realms,
        |realm| realm.name.to_string(),
        &columns,
        |realm| {
            vec![
                realm.name.to_string(),
                realm.title.clone(),
                state(realm).to_owned(),
                realm.hosts.to_string(),
                realm.connected_hosts.to_string(),
                realm.vms.to_string(),
            ]
        },
    )
}

const fn state(realm: &Realm) -> &'static str {
    if realm.disabled { "disabled" } else { "enabled" }
}

pub(in crate::cli) fn realm(screen: &Screen, realm: &Realm) -> String {
    screen.one(
        realm,
        |realm| realm.name.to_string(),
        |realm| {
            Sheet::new()
                .line("Name", realm.name.as_str())
                .line("Title", &*realm.title)
                .line("State", state(realm))
                .line("Driver", &*realm.driver)
                .line("Hosts", format!("{}, {} connected", realm.hosts, realm.connected_hosts))
                .line("VMs", realm.vms.to_string())
                .line("Volumes pool", realm.volumes_pool.as_str())
                .line("Drives pool", realm.drives_pool.as_str())
                .line("Bricks pool", realm.bricks_pool.as_str())
                .line("Registration timeout", amounts::duration(realm.registration_timeout_ms))
                .line("Poll frequency", amounts::duration(realm.poll_frequency_ms))
                .line("Shutdown timeout", amounts::duration(realm.shutdown_timeout_ms))
                .line("When host lost", realm.when_host_lost.as_str())
                .line(
                    "Failover brake",
                    format!(
                        "above {} % of the hosts and {} hosts",
                        realm.failover_brake_percent, realm.failover_brake_hosts
                    ),
                )
                .line("Accelerator", realm.virt_type.as_str())
                .optional("Network", realm.network.as_ref().map(|network| network.as_str()))
                .optional("Network filter", realm.network_filter.as_ref().map(|filter| filter.as_str()))
                .line("Log scheduling", yes_or_no(realm.log_scheduling))
                .line(
                    "Drives",
                    if realm.drives.lazy_allocation { "allocated lazily" } else { "allocated in full" },
                )
                .line("Drive cache", &*realm.drives.cache)
                .optional("Smallest drive", realm.drives.min_size_bytes.map(amounts::size))
                .optional("Largest drive", realm.drives.max_size_bytes.map(amounts::size))
                .section("Quotas", &quotas(realm))
                .render()
        },
    )
}

/// What owners and teams may have and have: a line for each who is named or has something, and one for all others.
fn quotas(realm: &Realm) -> String {
    let columns = [words("HOLDER"), number("CORES"), number("MEMORY"), number("DEVICES"), number("VMS")];
    let quotas = &realm.quotas;
    let mut rows = Vec::new();
    for (kind, holders, others) in
        [("owner", &quotas.owners, &quotas.any_owner), ("team", &quotas.teams, &quotas.any_team)]
    {
        rows.extend(
            holders
                .iter()
                .map(|quota| quota_row(format!("{kind} {}", quota.name), &quota.limits, Some(&quota.used))),
        );
        if *others != QuotaLimits::default() {
            rows.push(quota_row(format!("each other {kind}"), others, None));
        }
    }
    if rows.is_empty() { String::new() } else { table(Some(&columns), &columns, rows.into_iter()) }
}

/// `3 of 64` where there is a limit; what is not limited is not told.
fn quota_row(holder: String, limits: &QuotaLimits, used: Option<&QuotaUsage>) -> Vec<String> {
    let told = |limit: Option<u64>, of: fn(&QuotaUsage) -> u64, words: fn(u64) -> String| {
        let Some(limit) = limit else { return String::new() };
        used.map_or_else(|| words(limit), |used| amounts::part(words(of(used)), words(limit)))
    };
    vec![
        holder,
        told(limits.millicores, |used| used.millicores, amounts::cores),
        told(limits.memory_mib, |used| used.memory_mib, amounts::memory),
        told(limits.devices_permille, |used| used.devices_permille, amounts::device_share),
        told(limits.vms, |used| used.vms, |vms| vms.to_string()),
    ]
}

pub(in crate::cli) fn profiles(screen: &Screen, profiles: &[Profile]) -> String {
    let columns = [
        words("NAME"),
        number("CORES"),
        number("MEMORY"),
        words("DEVICES"),
        words("HUGE PAGES"),
        number("NUMA"),
        number("PROMISED CORES"),
        number("PROMISED MEMORY"),
        words("COST FUNCTION"),
        number("HOSTS"),
    ];
    screen.list(
        profiles,
        |profile| profile.name.to_string(),
        &columns,
        |profile| {
            vec![
                profile.name.to_string(),
                amounts::cores(profile.whole.millicores),
                amounts::memory(profile.whole.memory_mib),
                devices(&profile.whole),
                huge_pages(&profile.whole),
                Some(profile.whole.numa_nodes)
                    .filter(|nodes| *nodes > 0)
                    .map_or_else(String::new, |n| n.to_string()),
                amounts::cores(profile.capacity.millicores),
                amounts::memory(profile.capacity.memory_mib),
                profile.cost_function.to_string(),
                profile.hosts.len().to_string(),
            ]
        },
    )
}

/// `nvidia-a100 4 (divisible)`.
fn devices(whole: &Amounts) -> String {
    let classes = whole.devices.iter().map(|(class, count)| {
        let divisible = if whole.divisible_devices.contains(class) { " (divisible)" } else { "" };
        format!("{class} {count}{divisible}")
    });
    classes.collect::<Vec<_>>().join(", ")
}

/// `64 pages of 1 GiB`.
fn huge_pages(whole: &Amounts) -> String {
    let sizes = whole.huge_pages.iter().map(|(size, count)| amounts::huge_pages(count, *size));
    sizes.collect::<Vec<_>>().join(", ")
}

/// A volume beside the pool it is in, so that a list over several pools stays one table.
#[derive(Serialize)]
struct Line<'a> {
    pool: &'a Volumes,
    volume: &'a Volume,
}

pub(in crate::cli) fn volumes(screen: &Screen, pools: &[Volumes]) -> String {
    if screen.format == Format::Json {
        return json(&pools);
    }
    let lines: Vec<Line<'_>> =
        pools.iter().flat_map(|pool| pool.volumes.iter().map(move |volume| Line { pool, volume })).collect();
    let columns =
        [words("POOL"), words("VOLUME"), number("SIZE"), number("TAKES"), words("FORMAT"), words("SEEN BY")];
    screen.list(
        &lines,
        |line| line.volume.name.to_string(),
        &columns,
        |line| {
            vec![
                line.pool.kind.as_str().to_owned(),
                line.volume.name.to_string(),
                amounts::size(line.volume.capacity_bytes),
                amounts::size(line.volume.allocation_bytes),
                line.volume.format.clone(),
                line.pool.host.to_string(),
            ]
        },
    )
}
