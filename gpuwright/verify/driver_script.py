"""What verify asks of a host about its GPU driver and its kernels: a part of the one script for the host's state.

Nothing is asked where nothing is planned, and nvidia-smi comes last: it can hang for ever on a broken GPU.
"""

from __future__ import annotations

from gpuwright.operations.locked_packages import patterns_of
from gpuwright.plan import HostPlan
from gpuwright.plan.model import ManagedFile
from gpuwright.plan.stack_model import LockedSet
from gpuwright.verify import kernel_log
from gpuwright.verify.parts import planned

MODPROBE_D = "/etc/modprobe.d/"

TEXT = r"""
# Every kernel that GRUB or systemd-boot could start, and the one that runs.
releases() {
    uname -r
    for image in /boot/vmlinu[xz]-*; do
        if [ -e "$image" ]; then printf '%s\n' "${image#/boot/vmlinu?-}"; fi
    done
}

counted() {
    for gpu in /proc/driver/nvidia/gpus/*; do
        [ -d "$gpu" ] || continue
        minor=$(sed -n 's/^Device Minor:[[:space:]]*//p' "$gpu/information") || return 1
        printf 'nvidia\t%s\t/dev/nvidia%s\n' "${gpu##*/}" "$minor"
    done
    for node in /sys/class/kfd/kfd/topology/nodes/*; do
        [ -e "$node/gpu_id" ] || continue
        read -r id <"$node/gpu_id" || return 1
        if [ "$id" = 0 ]; then continue; fi
        awk '{ value[$1] = $2 }
            END { printf "amd\t%d:%d\t/dev/dri/renderD%d\n", value["domain"], value["location_id"],
                value["drm_render_minor"] }' "$node/properties" || return 1
    done
}

nodes() {
    for node in /dev/nvidia* /dev/kfd /dev/dri/renderD*; do
        if [ -c "$node" ]; then printf '%s\n' "$node"; fi
    done
}

module() {
    releases | sort -u | while IFS= read -r release; do
        if fields=$(modinfo -k "$release" "$1"); then
            printf '%s\n' "$fields" | awk -v kernel="$release" -v name="$1" '
                { value = $0; sub(/^[a-z]+: */, "", value) }
                /^filename:/ { file = value }
                /^version:/ { version = value }
                /^signer:/ { signer = value }
                END { printf "%s\t%s\t%s\t%s\t%s\n", kernel, name, file, version, signer }'
        else
            printf '%s\t%s\tabsent\t\t\n' "$release" "$1"
        fi
    done
}
modules() { command -v modinfo >/dev/null || return 1; each "$modules" module; }

boots() {
    for image in /boot/vmlinu[xz]-*; do
        [ -e "$image" ] || continue
        release=${image#/boot/vmlinu?-} made=absent
        for initrd in "/boot/initrd.img-$release" "/boot/initramfs-$release.img"; do
            if [ -e "$initrd" ]; then made=$(date --reference="$initrd" +%s%N) || return 1; fi
        done
        printf '%s\t%s\n' "$release" "$made"
    done
}
# What a person or a trial boot has chosen, beside the newest kernel that a boot loader takes by itself.
boot_choice() {
    for chosen in /boot/grub/grubenv /etc/default/grub /etc/default/grub.d/*.cfg /boot/efi/loader/loader.conf \
        /efi/loader/loader.conf /boot/loader/loader.conf; do
        if [ -r "$chosen" ]; then
            sed -n -E 's/^(saved_entry|next_entry|GRUB_DEFAULT)=//p; s/^default[[:space:]]+//p' "$chosen"
        fi
    done
}
option_file() {
    if [ -e "$1" ]; then printf '%s\t%s\n' "$1" "$(date --reference="$1" +%s%N)"; fi
}
option_files() { each "$option_files" option_file; }

metapackage() {
    needs=$(dpkg-query --show --showformat='${Depends}' "$1") || needs=
    printf '%s\t%s\n' "$1" "$needs"
}
metapackages() { command -v dpkg-query >/dev/null || return 1; each "$metapackages" metapackage; }

# As operations/locked_packages.py reads them.
columns='${Package}\t${Version}\t${db:Status-Want}\t${db:Status-Status}\t${Pre-Depends}, ${Depends}\n'
locked() {
    all=$(dpkg-query --show --showformat="$columns") || return 1
    printf '%s\n' "$all" | grep -E "^($locked)" | awk -F '\t' '$4 != "not-installed" && $4 != "config-files"'
}

# Without the indexes that modprobe prints after its configuration.
rival() {
    loaded=no
    if [ -d "/sys/module/$1" ]; then loaded=yes; fi
    if printf '%s\n' "$config" | tr - _ | grep -qx "blacklist $1"; then barred=yes; else barred=no; fi
    printf '%s\t%s\t%s\n' "$1" "$loaded" "$barred"
}
rivals() {
    command -v modprobe >/dev/null || return 1
    config=$(modprobe --showconfig) || return 1
    config=${config%%'# End of configuration files'*}
    each "$rivals" rival
}

# Names of the keys that the running kernel takes module signatures of.
signing_keys() { sed -n 's/.* asymmetri \(.*\): X509\.[^ ]* .*/\1/p' /proc/keys; }

kernel_log() {
    if [ -n "$(journalctl --dmesg --boot --quiet --no-pager --output=cat --lines=1)" ]; then
        set -- journalctl --dmesg --boot --quiet --no-pager --output=cat
    else
        set -- dmesg
        [ -n "$("$@" | head -n 1)" ] || return 1
    fi
    if "$@" | head -n 200 | grep -q 'Linux version '; then echo whole; else echo cut; fi
    "$@" | grep -E "$log_patterns" | tail -n 400
}

# Ends though nvidia-smi may not: a process that waits for a dead GPU takes no signal, and must not hold our output.
nvidia_smi() {
    {
        {
            timeout -k 1 30 nvidia-smi --query-gpu=pci.bus_id,driver_version,persistence_mode --format=csv,noheader
            printf 'exit %d\n' "$?"
        } </dev/null &
    } | timeout 35 cat
}

for reading in $driver_readings; do section "$reading" "$reading"; done
"""


def variables(plan: HostPlan) -> dict[str, str]:
    """What TEXT is told: rows for its readings, and which of them are asked for. Empty where nothing is planned."""
    sets = planned(plan, LockedSet)
    if not (plan.drivers or sets):
        return {}
    modules = dict.fromkeys(driver.module for driver in plan.drivers)
    rivals = dict.fromkeys(name for driver in plan.drivers for name in driver.blacklist)
    wanted = ["boots", "boot_choice", "metapackages"]
    if plan.drivers:
        wanted += ["counted", "nodes", "modules", "option_files", "rivals", "signing_keys", "kernel_log"]
    if sets:
        wanted.append("locked")
    if any(driver.vendor == "nvidia" for driver in plan.drivers):
        wanted.append("nvidia_smi")
    options = (file.path for file in planned(plan, ManagedFile) if file.path.startswith(MODPROBE_D))
    return {
        "modules": "\n".join(modules),
        "metapackages": "\n".join(plan.kernel.packages),
        "rivals": "\n".join(rivals),
        "option_files": "\n".join(options),
        "locked": "|".join(pattern for each in sets for pattern in patterns_of(each)),
        "log_patterns": kernel_log.patterns(),
        "driver_readings": " ".join(wanted),
    }
