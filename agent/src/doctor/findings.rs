//! Owns the doctor's words: what each fact means for a host, and what to do about it. Pure.

use std::time::Duration;

use reeve_common::check::Check;
use reeve_common::units::format_duration;

use super::dialling::Answer;
use super::facts::{
    CgroupFacts, ClockFacts, HostFacts, HugePages, IdentityFacts, JournalFacts, KvmFacts, LockManager,
    UserFacts,
};
use crate::hypervisor::libvirt::{Examined, ProbeEnd};

/// The oldest libvirt that the agent was tried with: Debian 12's.
const LIBVIRT_MIN: u32 = 9_000_000;
/// The state directory holds a few files of some KiB, and the ends of consoles.
const ROOM_MIN: u64 = 64 << 20;
/// Controllers by which libvirt limits guests.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuset", "memory"];
/// What to do where KVM is done without.
const EMULATE: &str = "say `virt-type = qemu` in the realm and `kvm = never` in /etc/reeve/agent.conf";
/// Names that are listed at most in one line.
const NAMES_MAX: usize = 8;

/// All that can be said of a host.
#[must_use]
pub fn judge(facts: &HostFacts) -> Vec<Check> {
    let mut checks = vec![user(&facts.user), libvirt(facts)];
    if let Ok(examined) = &facts.libvirt {
        checks.push(pools(examined));
        checks.push(networks(examined));
    }
    checks.push(kvm(&facts.kvm));
    checks.push(lock_manager(&facts.lock_manager));
    checks.push(state_directory(facts));
    checks.push(identity(&facts.identity, facts.clock));
    if let Some((address, answer)) = &facts.coordinator {
        checks.push(coordinator(address, answer));
    }
    checks.push(clock(facts.clock));
    checks.push(cgroups(&facts.cgroups));
    checks.push(huge_pages(&facts.huge_pages));
    checks.push(journal(facts.journal));
    checks
}

fn user(user: &UserFacts) -> Check {
    const ABOUT: &str = "user";
    let name = &user.name;
    match (user.is_root, user.in_libvirt_group) {
        (true, _) => {
            Check::ok(ABOUT, "root: what the agent's own user may do is not seen; run this as that user, too")
        }
        (false, Some(true)) => Check::ok(ABOUT, format!("{name} is in the group libvirt")),
        (false, Some(false)) => Check::failure(
            ABOUT,
            format!("{name} is not in the group libvirt, so libvirt does not let it in"),
            format!("`usermod -aG libvirt {name}`, then log in anew or restart the agent"),
        ),
        (false, None) => Check::failure(
            ABOUT,
            "there is no group libvirt: libvirt is not installed",
            "install libvirt-daemon-system (Debian) or libvirt-daemon-kvm (Fedora, RHEL)",
        ),
    }
}

fn libvirt(facts: &HostFacts) -> Check {
    const ABOUT: &str = "libvirt";
    match &facts.libvirt {
        Ok(examined) if examined.library < LIBVIRT_MIN => Check::warning(
            ABOUT,
            format!("{} answers; the agent was never tried with one older than 9.0", examined.version),
            "upgrade libvirt",
        ),
        Ok(examined) => Check::ok(ABOUT, format!("{} answers at {}", examined.version, facts.libvirt_uri)),
        Err(why) => Check::failure(
            ABOUT,
            format!("it does not answer at {}: {why}", facts.libvirt_uri),
            "`systemctl status libvirtd virtqemud`; the agent's user must be in the group libvirt",
        ),
    }
}

fn pools(examined: &Examined) -> Check {
    const ABOUT: &str = "pools";
    let stopped: Vec<&str> = names(&examined.pools, false);
    if !stopped.is_empty() {
        return Check::warning(
            ABOUT,
            format!("not started: {}", listed(&stopped)),
            "`virsh pool-start POOL` and `virsh pool-autostart POOL` for those that the realm uses",
        );
    }
    match names(&examined.pools, true).as_slice() {
        [] => Check::warning(
            ABOUT,
            "there is no storage pool, and a realm needs three: for disks, drives and images",
            "`virsh pool-define-as NAME dir --target /PATH`, `virsh pool-start NAME`, `virsh pool-autostart NAME`",
        ),
        started => Check::ok(ABOUT, format!("started: {}", listed(started))),
    }
}

fn networks(examined: &Examined) -> Check {
    const ABOUT: &str = "networks";
    let stopped = names(&examined.networks, false);
    if stopped.is_empty() {
        return match names(&examined.networks, true).as_slice() {
            [] => Check::ok(ABOUT, "libvirt has no networks; guests can be on bridges, or on none"),
            started => Check::ok(ABOUT, format!("started: {}", listed(started))),
        };
    }
    Check::warning(
        ABOUT,
        format!("not started: {}", listed(&stopped)),
        "`virsh net-start NETWORK` and `virsh net-autostart NETWORK` for those that guests are to be on",
    )
}

fn names(things: &[(String, bool)], started: bool) -> Vec<&str> {
    things.iter().filter(|(_, is_started)| *is_started == started).map(|(name, _)| name.as_str()).collect()
}

fn listed(names: &[&str]) -> String {
    let some = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(more) if more > 0 => format!("{some} and {more} more"),
        _ => some,
    }
}

fn kvm(kvm: &KvmFacts) -> Check {
    const ABOUT: &str = "KVM";
    const SLOW: &str = "guests of virt-type auto run under software emulation, many times slower";
    match kvm {
        KvmFacts::NotWanted => Check::ok(ABOUT, "not used: the configuration says kvm = never"),
        KvmFacts::NoDevice => Check::failure(
            ABOUT,
            format!("there is no /dev/kvm: {SLOW}"),
            "switch virtualisation on in the firmware (VT-x, AMD-V) and load kvm_intel or kvm_amd; in a virtual machine its \
             host must allow nested virtualisation",
        ),
        KvmFacts::Probed(ProbeEnd::Marked) => Check::ok(ABOUT, "a guest was started and made progress"),
        KvmFacts::Probed(ProbeEnd::TooSlow) => Check::failure(
            ABOUT,
            format!("its device opens, and a small guest made no progress under it: {SLOW}"),
            format!(
                "this is nested or emulated virtualisation that does not work: use another machine; or {EMULATE}"
            ),
        ),
        KvmFacts::Probed(ProbeEnd::NotOffered(why)) => Check::failure(
            ABOUT,
            format!("libvirt does not offer it ({why}): {SLOW}"),
            "`virt-host-validate qemu`; may QEMU's user open /dev/kvm? After a change: `systemctl restart libvirtd`",
        ),
        KvmFacts::Probed(ProbeEnd::Vanished) => Check::failure(
            ABOUT,
            "the guest by which it is tried ended without a result",
            "see /var/log/libvirt/qemu/reeve-kvm-probe*.log, and run this again",
        ),
        KvmFacts::NotProbed(why) => Check::warning(
            ABOUT,
            format!("/dev/kvm is there; whether a guest makes progress could not be tried: {why}"),
            "see the other findings first; a started pool of files is needed, for a disk of 1 MiB",
        ),
    }
}

fn lock_manager(lock_manager: &LockManager) -> Check {
    const ABOUT: &str = "lock manager";
    match lock_manager {
        LockManager::Named(name) => {
            Check::ok(ABOUT, format!("{name} keeps two guests from writing one disk"))
        }
        LockManager::None => Check::warning(
            ABOUT,
            "none: the coordinator gives a disk to one VM, but nothing keeps one that is started by hand off it",
            "lock_manager = \"lockd\" in /etc/libvirt/qemu.conf, then `systemctl restart libvirtd` (or virtqemud); where hosts \
             share storage, a shared lockspace directory in /etc/libvirt/qemu-lockd.conf, too",
        ),
        LockManager::Unnamed => Check::ok(
            ABOUT,
            "there is one, which keeps two guests from writing one disk (its name is root's to read)",
        ),
        LockManager::NotInForce(name) => Check::warning(
            ABOUT,
            format!("{name} stands in /etc/libvirt/qemu.conf, and the libvirt that runs goes without it"),
            "`systemctl restart libvirtd` (or virtqemud); VMs run on",
        ),
        LockManager::NoGuest(why) => Check::failure(
            ABOUT,
            format!("no guest can be started, with or without one: {why}"),
            "`systemctl status virtlogd virtlockd`, and /var/log/libvirt/qemu/reeve-lock-probe*.log; then run this again",
        ),
        LockManager::Unknown(why) => Check::warning(
            ABOUT,
            format!("whether there is one could not be found out: {why}"),
            "see the other findings first; as root, `grep lock_manager /etc/libvirt/qemu.conf` says what is wanted",
        ),
    }
}

fn state_directory(facts: &HostFacts) -> Check {
    const ABOUT: &str = "state directory";
    let (path, free) = &facts.state_directory;
    let path = path.display();
    match free {
        None => Check::failure(
            ABOUT,
            format!("{path} is not there"),
            "the package makes it; without one: `install -d -m 0700 -o reeve-agent -g reeve-agent` and its path",
        ),
        Some(free) if *free < ROOM_MIN => Check::failure(
            ABOUT,
            format!("{path} has {} MiB left: the agent records what it does before it does it", free >> 20),
            "make room on its file system",
        ),
        Some(_) => Check::ok(ABOUT, format!("{path} has room")),
    }
}

fn identity(identity: &IdentityFacts, clock: ClockFacts) -> Check {
    const ABOUT: &str = "certificate";
    const JOIN: &str = "`reeve host join-token NAME` on the coordinator's machine, and `reeve-agent join --replace LINE` here";
    match identity {
        IdentityFacts::NotJoined => Check::warning(
            ABOUT,
            "this machine has not joined a coordinator yet",
            "`reeve host join-token NAME` on the coordinator's machine, and `reeve-agent join LINE` here",
        ),
        IdentityFacts::NotReadable(why) => Check::warning(
            ABOUT,
            format!("it cannot be looked at: {why}"),
            "run this as root or as the agent's user: `sudo -u reeve-agent reeve-agent doctor`",
        ),
        IdentityFacts::WrongFile(why) => Check::failure(
            ABOUT,
            why.clone(),
            format!(
                "do what it says, as root; if the file is lost, or somebody may have copied the key: {JOIN}"
            ),
        ),
        IdentityFacts::Unusable(why) => Check::failure(ABOUT, why.clone(), JOIN),
        IdentityFacts::Joined { who, not_before, not_after } => {
            let now = clock.now;
            if now < *not_before {
                return Check::failure(
                    ABOUT,
                    format!("it is valid from {not_before} on, and this machine's clock says {now}"),
                    "set the clock: `timedatectl`",
                );
            }
            if now >= *not_after {
                return Check::failure(
                    ABOUT,
                    format!("it expired at {not_after}: {who} is not let in any more"),
                    format!("if the clock is right: {JOIN}"),
                );
            }
            let left = not_after.since(now);
            if left < not_after.since(*not_before) / 4 {
                return Check::warning(
                    ABOUT,
                    format!("{who}, until {not_after}; it should have been renewed by now"),
                    "is the agent running and connected? `journalctl -u reeve-agent`",
                );
            }
            let hours = Duration::from_secs(left.as_secs() / 3600 * 3600);
            Check::ok(ABOUT, format!("{who}, good for {} more and renewed by itself", format_duration(hours)))
        }
    }
}

fn coordinator(address: &str, answer: &Answer) -> Check {
    const ABOUT: &str = "coordinator";
    match answer {
        Answer::Welcome { milliseconds } => Check::ok(
            ABOUT,
            format!("{address} answers over UDP and accepts this host's certificate, in {milliseconds} ms"),
        ),
        Answer::Unnamed(why) => Check::failure(
            ABOUT,
            format!("{address} cannot be looked up: {why}"),
            "check DNS, or say `coordinator = HOST:PORT` in /etc/reeve/agent.conf",
        ),
        Answer::NothingListens => Check::failure(
            ABOUT,
            format!("{address} is reached, and says that nothing listens on that UDP port"),
            "`systemctl status reeve-coordinator` there; is agent-listen another port, or does a firewall there reject it \
             (`nft list ruleset`)?",
        ),
        Answer::Silence { seconds } => Check::failure(
            ABOUT,
            format!(
                "nothing came back from {address} within {seconds} s: a firewall drops UDP, or the machine is off"
            ),
            "let UDP through on that port on both machines and between them, such as `firewall-cmd --add-port=7443/udp` or \
             `nft add rule inet filter input udp dport 7443 accept` there; ping tells whether the machine is up",
        ),
        Answer::Refused(why) => Check::failure(
            ABOUT,
            format!("{address} answers, and refuses this host: {why}"),
            "`reeve warning list` on the coordinator says more; a host that was removed must be added and join anew",
        ),
        Answer::Stranger(why) => Check::failure(
            ABOUT,
            format!("something answers at {address} that is not this host's coordinator: {why}"),
            "is the address right? If the coordinator was made anew, every host joins anew",
        ),
        Answer::NotDialled(why) => {
            Check::warning(ABOUT, format!("{address} was not dialled: {why}"), "see certificate")
        }
    }
}

fn clock(clock: ClockFacts) -> Check {
    const ABOUT: &str = "time";
    match clock.synchronised {
        Some(true) => Check::ok(ABOUT, "the clock is synchronised"),
        Some(false) => Check::warning(
            ABOUT,
            "the clock is not synchronised: certificates are refused once it is minutes off, and logs cannot be compared",
            "`timedatectl set-ntp true`, or start chrony",
        ),
        None => Check::warning(
            ABOUT,
            "whether the clock is synchronised cannot be told: neither systemd-timesyncd nor chrony answers",
            "install chrony or systemd-timesyncd, unless this machine's clock is kept by its own host",
        ),
    }
}

fn cgroups(cgroups: &CgroupFacts) -> Check {
    const ABOUT: &str = "cgroups";
    let (version, controllers) = match cgroups {
        CgroupFacts::Unified(controllers) => ("version 2", controllers),
        CgroupFacts::Legacy(controllers) => ("version 1", controllers),
        CgroupFacts::Missing => {
            return Check::warning(
                ABOUT,
                "there are no control groups: limits and shares of processor time, memory and disks have no effect",
                "boot with the system's usual kernel options; /sys/fs/cgroup must be mounted",
            );
        }
    };
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|wanted| !controllers.iter().any(|known| known == wanted)).collect();
    if missing.is_empty() {
        Check::ok(ABOUT, format!("{version}, with cpu, cpuset and memory"))
    } else {
        Check::warning(
            ABOUT,
            format!("{version}, without {}: what a setup says of that has no effect", missing.join(", ")),
            "see the kernel's options (cgroup_disable=), and what the parent group of libvirtd allows",
        )
    }
}

fn huge_pages(pages: &[HugePages]) -> Check {
    const ABOUT: &str = "huge pages";
    let set_aside: Vec<String> = pages
        .iter()
        .filter(|pages| pages.all > 0)
        .map(|pages| {
            let HugePages { size_kib, all, free } = pages;
            if *size_kib >= 1 << 20 {
                format!("{all} of {} GiB ({free} free)", size_kib >> 20)
            } else {
                format!("{all} of {} MiB ({free} free)", size_kib >> 10)
            }
        })
        .collect();
    if set_aside.is_empty() {
        return Check::ok(ABOUT, "none are set aside; VMs that ask for them are placed elsewhere");
    }
    Check::ok(ABOUT, set_aside.join(", "))
}

fn journal(journal: JournalFacts) -> Check {
    const ABOUT: &str = "journal";
    match journal {
        JournalFacts::Readable => {
            Check::ok(ABOUT, "it can be read, for `reeve vm logs` and `reeve host logs`")
        }
        JournalFacts::NotReadable => Check::warning(
            ABOUT,
            "it cannot be read by this user: `reeve host logs` and `reeve vm logs` show nothing of this host",
            "`usermod -aG systemd-journal reeve-agent`, and restart the agent",
        ),
        JournalFacts::Missing => Check::warning(
            ABOUT,
            "there is no journal: the agent logs to standard error, and `reeve vm logs` shows nothing of this host",
            "run the agent under systemd",
        ),
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
