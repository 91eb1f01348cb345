//! Owns what is in the guest: its scripts, its kernel modules in the order in which they are loaded, and how the
//! ill-behaved variants differ. Pure: names and texts, no files.
//!
//! ```text
//! kernel ─▶ /init: mounts, modules ─▶ busybox init ─┬▶ /etc/start-agent: waits for the virtio port, then qemu-ga
//!                                                   ├▶ /etc/start-power: acpid, powers off when the button is pressed
//!                                                   ├▶ /etc/start-network: DHCP where there is an interface
//!                                                   └▶ getty on the serial console
//! ```

use super::archive::Entry;

/// Kernel modules in the order of their dependencies, below the kernel's module directory.
pub(crate) const MODULES: [&str; 12] = [
    "kernel/drivers/virtio/virtio_ring.ko",
    "kernel/drivers/virtio/virtio.ko",
    "kernel/drivers/virtio/virtio_pci_legacy_dev.ko",
    "kernel/drivers/virtio/virtio_pci_modern_dev.ko",
    "kernel/drivers/virtio/virtio_pci.ko",
    "kernel/drivers/char/virtio_console.ko",
    "kernel/drivers/acpi/button.ko",
    "kernel/drivers/input/evdev.ko",
    "kernel/drivers/block/virtio_blk.ko",
    "kernel/net/core/failover.ko",
    "kernel/drivers/net/net_failover.ko",
    "kernel/drivers/net/virtio_net.ko",
];

/// How a guest behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Variant {
    /// As it should.
    Good,
    /// Never opens the guest agent's channel: it never registers.
    Mute,
    /// Writes garbage to the guest agent's channel without end.
    Babbler,
    /// Answers every line on the guest agent's channel with well-formed JSON that is no answer.
    Liar,
    /// Registers, then ignores every request to shut down.
    Deaf,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Good, Self::Mute, Self::Babbler, Self::Liar, Self::Deaf];

    /// Its name in file names and on the guest's console.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Mute => "mute",
            Self::Babbler => "babbler",
            Self::Liar => "liar",
            Self::Deaf => "deaf",
        }
    }

    const fn agent_script(self) -> &'static str {
        match self {
            Self::Good | Self::Deaf => "exec qemu-ga -m virtio-serial -p \"$port\" -t /run\n",
            Self::Mute => "exec sleep 2000000000\n",
            Self::Babbler => "exec yes 'garbage }]\"{' >\"$port\"\n",
            Self::Liar => {
                "exec <>\"$port\"\nwhile read -r line; do echo '{\"return\": {\"nonsense\": [1, null]}}'; done >&0\n"
            }
        }
    }

    const fn power_script(self) -> &'static str {
        match self {
            Self::Deaf => "exec sleep 2000000000\n",
            Self::Good | Self::Mute | Self::Babbler | Self::Liar => {
                "while ! ls /dev/input/event* >/dev/null 2>&1; do usleep 50000; done\nexec acpid -f -l /dev/null\n"
            }
        }
    }

    /// What qemu-ga runs for `guest-shutdown`. The power goes a moment later, so that the agent can see its child
    /// succeed first.
    const fn shutdown_script(self) -> &'static str {
        match self {
            Self::Deaf => "exit 0\n",
            Self::Good | Self::Mute | Self::Babbler | Self::Liar => {
                "echo 'powering off on request of the guest agent' >/dev/console\n(usleep 200000; sync; poweroff -f) &\n"
            }
        }
    }
}

const INIT: &str = r"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do insmod $module; done
hostname reeve-guest
exec init
";

const WAIT_FOR_PORT: &str = r#"while :; do
  for entry in /sys/class/virtio-ports/*; do
    [ "$(cat "$entry/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] && break 2
  done
  usleep 50000
done
port=/dev/${entry##*/}
echo "guest agent's port is $port" >/dev/console
"#;

const NETWORK: &str = r#"ip link set lo up
ip link set eth0 up 2>/dev/null || exec sleep 2000000000
exec udhcpc -f -q -i eth0 -s /etc/udhcpc
"#;

const UDHCPC: &str = r#"#!/bin/sh
case "$1" in
bound | renew)
  ip addr replace "$ip/$mask" dev "$interface"
  [ -z "$router" ] || ip route replace default via "${router%% *}"
  echo "address $ip" >/dev/console
  ;;
esac
"#;

const INITTAB: &str = "::respawn:/etc/start-agent
::respawn:/etc/start-power
::once:/etc/start-network
ttyS0::respawn:/bin/getty -L -l /etc/login 115200 ttyS0 vt100
";

const POWER_BUTTON: &str = "#!/bin/sh
echo 'powering off: the power button was pressed' >/dev/console
sync
exec poweroff -f
";

/// A test guest asks for no password, whatever name is given.
const LOGIN: &str = "#!/bin/sh\necho \"Any name will do. This is a test guest of reeve.\"\nexec /bin/sh -l\n";

/// The scripts and directories of a variant. The programs, libraries and modules are the builder's to add.
pub(crate) fn scripts(variant: Variant) -> Vec<Entry> {
    let directories = [
        "bin",
        "sbin",
        "usr",
        "usr/sbin",
        "proc",
        "sys",
        "dev",
        "lib",
        "lib64",
        "etc",
        "etc/acpi",
        "etc/acpi/PWRF",
        "run",
        "tmp",
        "var",
        "modules",
    ];
    let script = |text: &str| format!("#!/bin/sh\n{text}");
    let mut entries: Vec<Entry> = directories.into_iter().map(Entry::directory).collect();
    entries.extend([
        Entry::program("init", INIT),
        Entry::file("etc/inittab", INITTAB),
        Entry::file("etc/issue", format!("\nreeve test guest ({})\n", variant.name())),
        Entry::program("etc/login", LOGIN),
        Entry::program("etc/udhcpc", UDHCPC),
        Entry::program("etc/start-agent", script(&format!("{WAIT_FOR_PORT}{}", variant.agent_script()))),
        Entry::program("etc/start-power", script(variant.power_script())),
        Entry::program("etc/start-network", script(NETWORK)),
        // The directory and number are acpid's own names for the fixed power button.
        Entry::program("etc/acpi/PWRF/00000080", POWER_BUTTON),
        Entry::program("sbin/shutdown", script(variant.shutdown_script())),
    ]);
    entries
}

/// The boot loader's configuration. `mitigations=off` saves a fifth of the boot under software emulation; `panic=-1`
/// makes a broken guest end instead of hang.
pub(crate) const BOOT_LOADER: &str = "DEFAULT reeve
PROMPT 0
TIMEOUT 0
LABEL reeve
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=-1 tsc=reliable nokaslr mitigations=off audit=0
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_only_where_they_misbehave() {
        let good = scripts(Variant::Good);
        for (variant, expected) in [
            (Variant::Mute, vec!["etc/issue", "etc/start-agent"]),
            (Variant::Babbler, vec!["etc/issue", "etc/start-agent"]),
            (Variant::Liar, vec!["etc/issue", "etc/start-agent"]),
            (Variant::Deaf, vec!["etc/issue", "etc/start-power", "sbin/shutdown"]),
        ] {
            let different: Vec<String> = scripts(variant)
                .into_iter()
                .filter(|entry| !good.contains(entry))
                .map(|entry| entry.path)
                .collect();
            assert_eq!(different, expected, "{variant:?}");
        }
    }

    #[test]
    fn every_directory_stands_before_what_is_in_it() {
        let entries = scripts(Variant::Good);
        for (index, entry) in entries.iter().enumerate() {
            if let Some((parent, _)) = entry.path.rsplit_once('/') {
                assert!(entries[..index].iter().any(|earlier| earlier.path == parent), "{}", entry.path);
            }
        }
    }
}
