#!/bin/sh
# Installs what packages are built and tried with, on Debian 12: two Cargo commands at fixed versions, and the tools that
# check and install packages.
#
# Asks nothing, may be repeated, does nothing when all is there. Works as root, or as a user who may use sudo.
#   packaging/setup-packages.sh           install what is missing
#   packaging/setup-packages.sh --check   only say what is missing; exit 1 if anything is
set -eu

# Fixed, so that the same sources give the same packages.
cargo_deb=3.8.0
cargo_generate_rpm=0.21.0

# To build: stripping, the libraries' versions, repeatable archives. To check: lintian, rpmlint. To try: a minimal Debian under
# systemd-nspawn, and rpm.
packages="binutils dpkg-dev gzip xz-utils lintian rpm rpmlint mmdebstrap systemd-container man-db"

missing_packages() {
  for package in $packages; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

cargo=${CARGO:-cargo}
has_command() { "$cargo" install --list 2>/dev/null | grep -qx "$1 v$2:"; }
missing_commands() {
  has_command cargo-deb $cargo_deb || echo "cargo-deb@$cargo_deb"
  has_command cargo-generate-rpm $cargo_generate_rpm || echo "cargo-generate-rpm@$cargo_generate_rpm"
}

missing=$(missing_packages)
commands=$(missing_commands)
[ -n "$missing$commands" ] || exit 0
if [ "${1:-}" = --check ]; then
  echo "missing:" $missing $commands >&2
  exit 1
fi
if [ -n "$missing" ]; then
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "installing $missing needs root, and there is no sudo: run this as root" >&2; exit 1; }
    as_root="sudo env DEBIAN_FRONTEND=noninteractive"
  fi
  export DEBIAN_FRONTEND=noninteractive
  echo "installing:" $missing
  apt="$as_root apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold"
  $apt update </dev/null
  $apt install --no-install-recommends $missing </dev/null
fi
if [ -n "$commands" ]; then
  echo "building:" $commands
  # They work for seconds: to be built soon is worth more than to be fast. Together, since they share much of what they are
  # made of.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  CARGO_TARGET_DIR=$work CARGO_PROFILE_DEV_DEBUG=false "$cargo" install --debug --locked $commands </dev/null
fi
left=$(missing_packages; missing_commands)
[ -z "$left" ] || { echo "still missing:" $left >&2; exit 1; }
echo "all that packages need is installed"
