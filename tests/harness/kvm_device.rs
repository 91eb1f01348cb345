//! Owns how a libvirtd of the tests' sees `/dev/kvm`.
//!
//! Where the device is there and QEMU's user may not open it (a machine without udev, which gives it to the group `kvm`),
//! libvirt believes at each call that what it knows of QEMU is outdated, and asks QEMU again for seconds. So it gets the
//! device as udev would give it, in its own mount namespace alone.

/// A shell's command, for a mount namespace whose `/run` is its own. Does nothing on a machine without the device.
pub const GIVE_KVM_TO_ITS_GROUP: &str = "if [ -c /dev/kvm ] && getent group kvm > /dev/null; then \
     mknod -m 660 /run/reeve-kvm c 10 232 && chgrp kvm /run/reeve-kvm && mount --bind /run/reeve-kvm /dev/kvm; fi";
