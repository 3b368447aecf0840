#!/bin/sh
# Docker for a machine without a package archive: Debian's engine with what it needs beside the C library, in one file.
#   sh bench/device/docker.sh FILE.tar.xz [SUITE]
# The packages of SUITE (trixie) come from this machine's Debian mirror, signatures checked; the lists and packages are
# kept in no place of this machine's own apt. For x86-64 and a C library as new as Ubuntu 24.04's (2.39). FILE unpacks
# to bin and lib; container.sh runs it. 38 MB; four minutes of one processor.
set -eu
file=${1:?FILE.tar.xz is missing}
suite=${2:-trixie}
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
mkdir -p "$(dirname "$file")"
file=$(cd "$(dirname "$file")" && pwd)/$(basename "$file")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root" "$work/docker/bin" "$work/docker/lib"
chmod 755 "$work"

"$python" - "$suite" >"$work/sources.list" <<'PYTHON'
import sys
from gpuwright.sandbox import mirrors

sources = mirrors.from_machine().sources(sys.argv[1])
sys.exit("this machine's apt names no Debian mirror") if not sources else None
print("\n".join(map(mirrors.render_one_line, sources)))
PYTHON

set -- -qq -o APT::Sandbox::User=root -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o Dir::State::Lists="$work/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$work/cache"
apt-get "$@" update
packages="docker.io docker-cli containerd runc libsystemd0 libcap2 libseccomp2"
# shellcheck disable=SC2086  # a list of package names
(cd "$work/cache" && apt-get "$@" download $packages)
for deb in "$work"/cache/*.deb; do
    dpkg-deb --show --showformat '${Package} ${Version}\n' "$deb" >>"$work/docker/packages"
    dpkg-deb --extract "$deb" "$work/root"
done
for program in usr/sbin/dockerd usr/bin/docker usr/bin/containerd usr/bin/containerd-shim-runc-v2 usr/sbin/runc; do
    cp "$work/root/$program" "$work/docker/bin/"
done
for library in libsystemd.so.0 libcap.so.2 libseccomp.so.2; do
    cp -L "$work/root/usr/lib/x86_64-linux-gnu/$library" "$work/docker/lib/"
done
tar c -C "$work/docker" --owner=0 --group=0 . | nice xz --x86 --lzma2=preset=9e,dict=128MiB >"$file.new"
mv "$file.new" "$file"
cat "$work/docker/packages"
du -h "$file"
