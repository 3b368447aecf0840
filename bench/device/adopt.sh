#!/bin/sh
# On a machine with NVIDIA GPUs and a driver of another hand: is the driver adopted, and is nothing changed?
#   sh bench/device/adopt.sh OUTDIR
# As root. WHEELS names a directory of wheels (wheels.sh) where the machine's Python lacks our dependencies; PYTHON is
# python3 otherwise. OUTDIR gets report.json (what was asked and what came out), log.txt, facts.json, plans.json,
# verify.json, state.txt (verify's readings as the host gave them) and acceptance.xml. Exit code 0: all as expected.
set -eu
out=${1:?OUTDIR is missing}
python=${PYTHON:-python3}
cd "$(dirname "$0")/../.."
mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# All that a run could change, by programs that are not ours: packages, holds, files, modules, nodes, the driver.
fingerprint() {
    dpkg-query --show --showformat='${Package} ${Version} ${db:Status-Abbrev}\n'
    apt-mark showhold
    for directory in /etc /boot /lib/modules /var/lib/dpkg /var/lib/dkms /usr/src /usr/local/bin; do
        if [ -d "$directory" ]; then find "$directory" -xdev -type f -printf '%p %s %T@ %m %u\n'; fi
    done | LC_ALL=C sort
    cut -d' ' -f1 /proc/modules | LC_ALL=C sort
    ls -l /dev/nvidia* | LC_ALL=C sort
    cat /proc/cmdline /proc/driver/nvidia/version
}

export PYTHONDONTWRITEBYTECODE=1 HOME="$scratch"
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$scratch/site" \
        "$WHEELS"/*.whl
fi
export PYTHONPATH="$scratch/site:$PWD"
# A machine without NVIDIA's driver has parts of it missing here: their absence is part of the fingerprint.
fingerprint >"$scratch/before" 2>&1 || echo "incomplete: exit $?" >>"$scratch/before"
code=0
"$python" bench/device/adopt.py "$out" "$scratch" 2>&1 | tee "$out/log.txt"
[ -f "$out/report.json" ] || code=1
fingerprint >"$scratch/after" 2>&1 || echo "incomplete: exit $?" >>"$scratch/after"
if diff "$scratch/before" "$scratch/after" >"$scratch/changed"; then
    echo "fingerprint: unchanged, $(wc -l <"$scratch/before") lines" | tee -a "$out/log.txt"
else
    code=1
    { echo "fingerprint: CHANGED"; cat "$scratch/changed"; } | tee -a "$out/log.txt"
fi
if ! grep -q '"as_expected": true' "$out/report.json"; then code=1; fi
exit "$code"
