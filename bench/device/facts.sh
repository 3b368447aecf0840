#!/bin/sh
# What the probe reads on this machine, as root and as nobody, and what it costs.
#   sh bench/device/facts.sh OUTDIR
# OUTDIR gets probe_root.txt and probe_nobody.txt, as the probe wrote them but for serial numbers and MACs, and cpu.txt,
# the CPU seconds of one run, as the mean of RUNS: a shell's `times` counts in steps of 10 ms.
set -eu
out=${1:?OUTDIR is missing}
runs=${RUNS:-20}
probe=$(cd "$(dirname "$0")/../../gpuwright/facts" && pwd)/probe.sh
mkdir -p "$out"

# The script comes on stdin, as nobody may not read this checkout.
as_root() { sh -s <"$probe"; }
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups sh -s <"$probe"; }

without_serials() { sed '/^@@begin serials/,/^@@end serials/s/^\([^@ ][^ ]* \).*/\1redacted/'; }

# The shell's own seconds and those of its children, user and system, of `runs` runs.
cpu() {
    (
        count=0
        while [ "$count" -lt "$runs" ]; do
            "$1" >/dev/null
            count=$((count + 1))
        done
        times
    ) | tr 'ms' '  ' | awk -v user="${1#as_}" -v runs="$runs" '
        { for (i = 1; i < NF; i += 2) seconds += 60 * $i + $(i + 1) }
        END { printf "%s %.4f CPU seconds a run (mean of %d)\n", user, seconds / runs, runs }'
}

if [ "$(id -u)" != 0 ]; then
    echo "facts.sh: run it as root, it becomes nobody by itself" >&2
    exit 64
fi
cd /
as_root | without_serials >"$out/probe_root.txt"
as_nobody | without_serials >"$out/probe_nobody.txt"
{
    cpu as_root
    cpu as_nobody
} | tee "$out/cpu.txt"
grep -h '^@@denied' "$out/probe_nobody.txt" || echo "nobody was denied nothing"
