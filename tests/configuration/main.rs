//! The configuration as an administrator meets it: the example of the documentation is taken as it stands, the shipped
//! example is good, and every kind of mistake is answered by a message that was read by a person and is kept here.
//!
//! Messages are beside their files as `NAME.expected`; run with `REEVE_WRITE_EXPECTED=1` to write them anew, then read
//! them.

// A test's helper fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod hostile;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{CostFunctionName, DeviceClass, PoolName, ProfileName, RealmName};
use reeve_common::storage::DiskCache;
use reeve_common::units::{Bytes, Mebibytes, Millicores};
use reeve_common::vm::VirtType;
use reeve_coordinator::config::{
    CoordinatorConfig, OptionValue, Realm, check, check_cost_functions, summary,
};
use reeve_coordinator::model::failover::{Brake, WhenHostLost};
use reeve_scheduler::QuotaLimits;

fn good(path: &str) -> CoordinatorConfig {
    match check(Path::new(path)) {
        Ok((config, warnings)) if warnings.is_empty() => config,
        Ok((_, warnings)) => panic!("{}", warnings[0]),
        Err(errors) => panic!("{errors}"),
    }
}

fn realm<'a>(config: &'a CoordinatorConfig, name: &str) -> &'a Realm {
    &config.realms[&RealmName::new(name).unwrap()]
}

#[test]
fn the_documented_realm_is_read_as_it_stands() {
    let config = good("configuration/seed/coordinator.conf");
    let realm = realm(&config, "primary");
    assert!(!realm.disabled);
    assert_eq!(realm.name, "Primary Libvirt Realm");
    let pools = [&realm.volumes_pool, &realm.drives_pool, &realm.bricks_pool].map(PoolName::as_str);
    assert_eq!(pools, ["ticrypt-vm", "ticrypt-vm-drives", "ticrypt-bricks"]);
    assert_eq!(realm.registration_timeout, Duration::from_secs(300));
    assert_eq!(realm.poll_frequency, Duration::from_secs(30));
    assert!(realm.drives.lazy_allocation);
    assert_eq!(realm.drives.cache, DiskCache::Default);
    assert_eq!((realm.drives.min_size, realm.drives.max_size), (None, Some(Bytes(500 << 30))));
    // What the example leaves out.
    assert_eq!((realm.log_scheduling, &realm.network_filter), (false, &None));
    assert_eq!((realm.virt_type, realm.network.as_str()), (VirtType::Auto, "default"));
    assert_eq!(realm.shutdown_timeout, Duration::from_secs(180));
}

#[test]
fn the_shipped_example_is_good_and_holds_the_documented_realm() {
    let config = good("../packaging/coordinator.conf");
    let seed = good("configuration/seed/coordinator.conf");
    assert_eq!(config.realms, seed.realms);
    assert_eq!(summary(&config, 0), "ok: 1 realm, 2 hardware profiles, 5 cost functions\n");
    let profile = &config.hardware_profiles[&ProfileName::new("r750").unwrap()];
    let capacity = profile.capacity();
    assert_eq!((capacity.cores, capacity.memory), (Millicores::from_cores(248), Mebibytes(492 << 10)));
    assert_eq!(profile.cost_function, CostFunctionName::new("balanced").unwrap());
    assert_eq!(config.agent_listen.to_string(), "0.0.0.0:7443");
    assert_eq!(config.join_listen.to_string(), "0.0.0.0:7444");
    assert_eq!(config.measured_age_max, Duration::from_secs(30), "six samples, when nothing is said");
    assert_eq!(config.store_path(), Path::new("/var/lib/reeve-coordinator/store.sqlite"));
}

#[test]
fn every_key_does_what_it_says() {
    let config = good("configuration/every-key.conf");
    assert_eq!(config.agent_listen.to_string(), "[::]:1443");
    assert_eq!(config.join_listen.to_string(), "192.0.2.7:1444");
    assert_eq!(config.advertised(1444).as_deref(), Some("[2001:db8::7]:1444"));
    assert_eq!(config.state_directory, Path::new("/srv/reeve"));
    assert_eq!(config.api_socket, Path::new("/srv/reeve/api.sock"));
    assert_eq!(config.metrics_listen, Some("[::1]:9464".parse().unwrap()));
    assert_eq!(
        (config.suspect_after, config.lost_after, config.sample_interval),
        (Duration::from_secs(7), Duration::from_secs(20), Duration::from_millis(1500))
    );
    let second = realm(&config, "second");
    assert!(second.disabled && second.log_scheduling && !second.drives.lazy_allocation);
    assert_eq!(second.network_filter.as_ref().map(ToString::to_string).as_deref(), Some("clean-traffic"));
    assert_eq!(second.drives.cache, DiskCache::Writethrough);
    assert_eq!(second.drives.min_size, Some(Bytes(1_500_000_000)));
    assert_eq!((second.virt_type, second.network.as_str()), (VirtType::Qemu, "inside"));
    assert_eq!(second.shutdown_timeout, Duration::from_secs(5400));
    assert_eq!(second.when_host_lost, WhenHostLost::Restart);
    assert_eq!(second.brake, Brake { percent: 40, hosts: 5 });
    let untold = realm(&config, "third");
    assert_eq!((untold.when_host_lost, untold.brake), (WhenHostLost::Ask, Brake { percent: 25, hosts: 2 }));
    assert_eq!(second.settings(config.sample_interval).poll_frequency, Duration::from_secs(60));
    assert_eq!(second.settings(config.sample_interval).lease, Some(Duration::from_secs(40)));
    let fence = |host: &str| second.fence.as_ref().and_then(|fence| fence.means(&host.parse().unwrap()));
    let [one, two] = ["node-1", "node-2"].map(|host| fence(host).unwrap());
    assert_eq!(
        (one.command.as_path(), one.timeout),
        (Path::new("/usr/sbin/fence_ipmilan"), Duration::from_secs(20))
    );
    assert_eq!(
        (two.command.as_path(), two.timeout),
        (Path::new("/usr/sbin/fence_other"), Duration::from_secs(120))
    );
    assert_eq!(one.options["password"], OptionValue::File("/etc/reeve/ipmi".into()));
    assert_eq!(two.options["username"], OptionValue::Text("other".to_owned()));
    assert_eq!(two.options["ip"], OptionValue::Text("10.0.1.2".to_owned()));
    assert!(
        fence("node-3").is_none() && realm(&config, "third").lease.is_none(),
        "who is not named is not fenced"
    );
    assert_eq!(second.comparison_frequency, Duration::from_secs(90));
    let quotas = &second.quotas;
    assert_eq!((quotas.any_owner.cores, quotas.any_owner.vms), (Some(Millicores::from_cores(64)), Some(20)));
    assert_eq!(quotas.any_owner.memory, Some(Mebibytes(256 << 10)));
    let ann = quotas.owners["ann"];
    assert_eq!((ann.devices_permille, ann.cores), (Some(2500), None), "her limits and no others");
    assert_eq!(quotas.owners["Bob Smith"], QuotaLimits::default());
    assert_eq!((quotas.owners.len(), quotas.teams["physics"].cores), (2, Some(Millicores(500))));
    assert!(realm(&config, "third").quotas.is_nothing());
    // Substituted and extended.
    assert_eq!(realm(&config, "third").registration_timeout, second.registration_timeout);
    let [small, large] =
        ["small", "large"].map(|name| &config.hardware_profiles[&ProfileName::new(name).unwrap()]);
    assert_eq!((large.cores, large.memory), (Millicores(96_500), small.memory));
    assert_eq!(large.memory_overcommit.0, 1250);
    let devices: Vec<_> = large.devices.iter().map(|(class, count)| (class.as_str(), *count)).collect();
    assert_eq!(devices, [("nvidia-a100", 2), ("nvidia-h100", 1), ("nvidia-t4", 4)]);
    assert_eq!(large.divisible_devices.iter().map(DeviceClass::as_str).collect::<Vec<_>>(), ["nvidia-t4"]);
    assert_eq!(large.huge_pages, [(HugePageSize(2), 512), (HugePageSize(1024), 2)].into());
    assert_eq!((large.numa_nodes, small.numa_nodes), (Some(2), None));
    assert_eq!(config.measured_age_max, Duration::from_millis(4500));
    let members = config.device_classes.values().map(|class| (class.ids.len(), class.mediated_types.len()));
    assert_eq!(members.collect::<Vec<_>>(), [(2, 0), (0, 1)]);
    let function = &config.cost_functions[&small.cost_function];
    let terms: Vec<_> = function.terms().collect();
    assert_eq!(terms, [("load", "cores.load"), ("crowding", "vms / 10"), ("constant", "5")]);
    assert_eq!(format!("{:?}", function.rule()), "Total");
}

#[test]
fn the_presets_are_there_without_being_declared() {
    let config = good("configuration/seed/coordinator.conf");
    let names: Vec<&str> = config.cost_functions.keys().map(CostFunctionName::as_str).collect();
    assert_eq!(names, ["balanced", "opportunity", "pack", "spread", "unfragmented"]);
}

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "conf")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Compares what is said with what was said when a person read it.
fn compare(path: &Path, said: &str) -> Result<(), String> {
    let expected = path.with_extension("expected");
    if std::env::var_os("REEVE_WRITE_EXPECTED").is_some() {
        std::fs::write(&expected, said).unwrap();
    }
    match std::fs::read_to_string(&expected) {
        Ok(text) if text == said => Ok(()),
        _ => Err(format!("{} is now answered by\n{said}", path.display())),
    }
}

#[test]
fn every_kind_of_mistake_has_its_message() {
    let wrong = fixtures("configuration/mistakes").into_iter().filter_map(|path| {
        let said = match check(&path) {
            Ok(_) => return Some(format!("{} was taken", path.display())),
            Err(errors) => format!("{errors}\n"),
        };
        compare(&path, &said).err()
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_kind_of_doubt_has_its_warning() {
    let wrong = fixtures("configuration/warnings").into_iter().filter_map(|path| {
        let (_, warnings) = check(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let said: String = warnings.iter().map(|warning| format!("{warning}\n")).collect();
        compare(&path, &said).err()
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Cost functions can be read alone: from a configuration, or from a file that holds nothing else.
#[test]
fn cost_functions_are_read_from_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let file = folder.path().join("cost.conf");
        std::fs::write(&file, text).unwrap();
        let read = check_cost_functions(&file).map_err(|errors| errors.to_string());
        read.map(|(functions, _)| {
            functions.iter().map(|function| function.name().to_string()).collect::<Vec<_>>()
        })
    };
    let (b, a) = ("b { load = \"cores.load\" }", "a { by = total, load = \"vms\" }");
    assert_eq!(read(&format!("{b}\n{a}")).unwrap(), ["b", "a"]);
    assert_eq!(read(&format!("no-such-key = 1\ncost-functions {{ {b}, {a} }}")).unwrap(), ["b", "a"]);
    assert!(read(&format!("{b}\n{a}\nc = 1")).unwrap_err().contains("c: a section is expected"));
    assert!(read("b { load = \"cores.laod\" }").unwrap_err().contains("did you mean `cores.load`"));
    for empty in ["", "cost-functions { }", "cost-functions = 1", "b { }"] {
        assert!(read(empty).unwrap_err().contains("the configuration has 1 error"), "{empty:?}");
    }
}
