#!/bin/sh
# Builds the packages reeve-agent, reeve-coordinator and reeve, as deb and rpm, into target/packages.
#
#   packaging/build.sh                     of programs built with --release, the same bytes for the same commit
#   packaging/build.sh --profile dev       of the programs that `make test` has built: quick, for trying packages
#   packaging/build.sh --version 0.0.9     with another version in the packages' names, for trying upgrades
#   packaging/build.sh --output DIRECTORY  elsewhere
#   packaging/build.sh --no-build          of programs that have been built already
set -eu
cd "$(dirname "$0")/.."

profile=release
version=
output=target/packages
build=yes
while [ $# -gt 0 ]; do
  case $1 in
  --profile) profile=$2; shift 2 ;;
  --version) version=$2; shift 2 ;;
  --output) output=$2; shift 2 ;;
  --no-build) build=no; shift ;;
  *) echo "usage: packaging/build.sh [--profile dev|release] [--version VERSION] [--output DIRECTORY] [--no-build]" >&2; exit 2 ;;
  esac
done
cargo=${CARGO:-cargo}
[ -n "$version" ] || version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

# The commit's time stands in every archive instead of the moment of building.
moment=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y Cargo.lock)}
umask 022

# Writes man pages, completions and licences. It is not packed, so a quick build does.
writer=${CARGO_TARGET_DIR:-target}/debug/reeve-package-files
deb_compression= rpm_compression=zstd
if [ "$profile" = release ]; then
  # Paths of this machine are not part of the programs. A folder of its own, since these flags mean building everything. And
  # the product alone: together with the tests its libraries would be built with what only tests need.
  home=${CARGO_HOME:-$HOME/.cargo}
  built=target/packages/build
  [ $build = no ] || SOURCE_DATE_EPOCH=$moment CARGO_TARGET_DIR=$built \
    RUSTFLAGS="--remap-path-prefix=$PWD=/reeve --remap-path-prefix=$home=/cargo" \
    CFLAGS="-ffile-prefix-map=$PWD=/reeve -ffile-prefix-map=$home=/cargo" \
    "$cargo" build --release -p reeve-agent -p reeve-coordinator --bins --locked
  [ $build = no ] || "$cargo" build --workspace --bin reeve-package-files --locked
  programs=$built/release
else
  [ $build = no ] || "$cargo" build --workspace --bins --locked
  programs=${CARGO_TARGET_DIR:-target}/debug
  # Nobody downloads these.
  deb_compression=--fast rpm_compression=none
fi

# Not before: the libraries in C are built anew when it changes, and `make test` knows nothing of it.
export SOURCE_DATE_EPOCH="$moment"
# An rpm keeps a file's own time where it is older than the commit, as in a checkout that was brought up to it.
find LICENSE COST-FUNCTIONS.md packaging -type f -exec touch --date="@$moment" {} +

# Everything that is packed lies here, as it is packed.
stage=target/packages/stage
rm -rf "$stage"
mkdir -p "$stage/bin" "$output"
for program in reeve-agent reeve-coordinator reeve; do
  strip --strip-all --remove-section=.comment -o "$stage/bin/$program" "$programs/$program"
done
"$writer" --date "$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%d)" "$stage"
gzip --best --no-name "$stage"/man/*
sed "s/@VERSION@/$version-1/; s/@DATE@/$(LC_ALL=C date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")/" packaging/deb/changelog \
  >"$stage/changelog"

for package in reeve-agent reeve-coordinator reeve; do
  deb_variant= rpm_variant=
  case $package in
  reeve-agent) crate=agent ;;
  reeve-coordinator) crate=coordinator rpm_variant="--variant daemon" ;;
  reeve) crate=coordinator deb_variant="--variant cli" ;;
  esac
  rm -f "$output/${package}_$version-"*.deb "$output/$package-$version-"*.rpm
  "$cargo" deb --quiet --no-build --no-strip $deb_compression --locked -p "reeve-$crate" $deb_variant --deb-version "$version-1" --output "$output/"
  "$cargo" generate-rpm --payload-compress $rpm_compression -p "$crate" $rpm_variant --set-metadata "version = \"$version\"" --output "$output/"
done
ls -l "$output"/*.deb "$output"/*.rpm
