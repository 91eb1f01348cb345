#!/bin/sh
# Brings what `make bench` holds the agent against, on Debian 12: the exporter of Debian's for Prometheus and libvirt, and
# what it is asked with.
#
# Asks nothing, may be repeated, does nothing when all is there. Works as root, or as a user who may use sudo.
#   packaging/setup-bench.sh           bring what is missing
#   packaging/setup-bench.sh --check   only say what is missing; exit 1 if anything is
set -eu

packages="curl"

# The exporter is unpacked here and not installed: an installed one is a service that runs from then on and asks this
# machine's libvirt. What it is linked to is what the agent is linked to.
exporter=prometheus-libvirt-exporter
exporter_root=/var/cache/reeve-lab/exporter

missing_packages() {
  for package in $packages; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}
has_exporter() { command -v "$exporter" >/dev/null || [ -x "$exporter_root/usr/bin/$exporter" ]; }

missing=$(missing_packages; has_exporter || echo "$exporter")
[ -n "$missing" ] || exit 0
if [ "${1:-}" = --check ]; then
  echo "missing:" $missing >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "bringing $missing needs root, and there is no sudo: run this as root" >&2; exit 1; }
  exec sudo "$0" "$@"
fi

export DEBIAN_FRONTEND=noninteractive
echo "bringing:" $missing
apt_get() { apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold "$@" </dev/null; }
apt_get update
[ -z "$(missing_packages)" ] || apt_get install --no-install-recommends $packages
if ! has_exporter; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt_get download "$exporter" && dpkg-deb --extract "$exporter"_*.deb unpacked)
  rm -rf "$exporter_root"
  mkdir -p "${exporter_root%/*}"
  cp -R "$work/unpacked" "$exporter_root"
fi

left=$(missing_packages; has_exporter || echo "$exporter")
[ -z "$left" ] || { echo "still missing:" $left >&2; exit 1; }
echo "all that the benchmarks need is there"
