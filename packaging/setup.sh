#!/bin/sh
# Installs what the lab, the demo and the tests need beside a Rust toolchain, on Debian 12.
#
# Asks nothing, may be repeated, does nothing when all is there. Works as root, or as a user who may use sudo.
#   packaging/setup.sh           install what is missing
#   packaging/setup.sh --check   only say what is missing; exit 1 if anything is
set -eu

# To build: the agent links libvirt; SQLite and ring are compiled from C.
# To run: libvirt and QEMU for the hosts; the rest makes the guest image and the network, clocks that are wrong, a journal, and a disk that fails.
packages="gcc libc6-dev make pkg-config libvirt-dev
  libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils dnsmasq-base nftables iptables iproute2
  busybox-static qemu-guest-agent syslinux mtools libfaketime systemd e2fsprogs"

# The guests' kernel is unpacked here and not installed: an installed one would become what this machine boots next.
kernel_root=/var/cache/reeve-lab/kernel

installed_version() {
  dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null | sed -n 's/^installed //p'
}

missing_packages() {
  for package in $packages; do
    [ -n "$(installed_version "$package")" ] || echo "$package"
  done
}

# qemu-img must be of the release of the QEMU that opens its images; a newer one may have come from elsewhere.
differing_utilities() {
  [ "$(installed_version qemu-utils)" = "$(installed_version qemu-system-x86)" ] || echo qemu-utils
}

has_kernel() {
  for root in "" "$kernel_root"; do
    for kernel in "$root"/boot/vmlinuz-*-cloud-amd64; do
      release=${kernel##*/vmlinuz-}
      [ -f "$root/lib/modules/$release/kernel/drivers/virtio/virtio.ko" ] && return 0
    done
  done
  return 1
}

missing=$(missing_packages; differing_utilities; has_kernel || echo guest-kernel)
[ -n "$missing" ] || exit 0
if [ "${1:-}" = --check ]; then
  echo "missing:" $missing >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "installing $missing needs root, and there is no sudo: run this as root" >&2; exit 1; }
  exec sudo "$0" "$@"
fi

export DEBIAN_FRONTEND=noninteractive
echo "installing:" $missing
apt_get() { apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold "$@" </dev/null; }
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p'; }
apt_get update
qemu_version=$(installed_version qemu-system-x86)
[ -n "$qemu_version" ] || qemu_version=$(candidate qemu-system-x86)
wanted=$(for package in $packages; do
  case $package in
  qemu-system-x86 | qemu-utils) echo "$package=$qemu_version" ;;
  *) echo "$package" ;;
  esac
done)
apt_get install --no-install-recommends --allow-downgrades $wanted

if ! has_kernel; then
  image=$(apt-cache depends --important linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*-cloud-amd64\)$/\1/p' | head -n 1)
  [ -n "$image" ] || { echo "the package archive has no linux-image-cloud-amd64" >&2; exit 1; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt_get download "$image" && dpkg-deb --extract "$image"_*.deb unpacked)
  rm -rf "$kernel_root"
  mkdir -p "${kernel_root%/*}"
  cp -R "$work/unpacked" "$kernel_root"
fi

left=$(missing_packages; differing_utilities; has_kernel || echo guest-kernel)
[ -z "$left" ] || { echo "still missing:" $left >&2; exit 1; }
echo "all that is needed is installed"
