# One round trip: everything a plan needs to know of a host, as framed sections on stdout.
# POSIX sh and coreutils only. $1 is a root prefix, so that a recorded tree answers like a host.
# Each section is "@@begin NAME" ... "@@end NAME STATUS"; a missing end means that the text was cut off.
root=${1-}

section() {
    printf '@@begin %s\n' "$1"
    "read_$1" 2>/dev/null
    printf '@@end %s %s\n' "$1" "$?"
}

read_os_release() {
    if [ -r "$root/etc/os-release" ]; then cat "$root/etc/os-release"; else cat "$root/usr/lib/os-release"; fi
}

read_arch() {
    if [ -n "$root" ]; then cat "$root/arch"; else uname -m; fi
}

read_memory() {
    grep '^MemTotal:' "$root/proc/meminfo"
}

read_cpus() {
    grep -c '^processor' "$root/proc/cpuinfo"
}

# address class vendor device subsystem_vendor subsystem_device, for class 0x03 (display, 3D) only
read_pci_display() {
    [ -d "$root/sys/bus/pci/devices" ] || return 0
    for device in "$root"/sys/bus/pci/devices/*; do
        [ -r "$device/class" ] || continue
        class=$(cat "$device/class")
        case $class in
        0x03*)
            printf '%s %s %s %s %s %s\n' "${device##*/}" "$class" "$(cat "$device/vendor")" "$(cat "$device/device")" \
                "$(cat "$device/subsystem_vendor")" "$(cat "$device/subsystem_device")"
            ;;
        esac
    done
}

# name bytes rotational, without the pseudo devices that any kernel has
read_disks() {
    for disk in "$root"/sys/block/*; do
        case ${disk##*/} in '*' | loop* | ram* | zram* | dm-* | md* | sr* | fd* | nbd*) continue ;; esac
        printf '%s %s %s\n' "${disk##*/}" "$(($(cat "$disk/size") * 512))" "$(cat "$disk/queue/rotational")"
    done
}

read_virtualisation() {
    if [ -n "$root" ]; then cat "$root/virtualisation"; return; fi
    command -v systemd-detect-virt >/dev/null || return 127
    systemd-detect-virt || [ $? -eq 1 ]
}

read_init() {
    if [ -d "$root/run/systemd/system" ]; then echo systemd; else cat "$root/proc/1/comm"; fi
}

read_boot() {
    if [ -d "$root/sys/firmware/efi" ]; then echo firmware uefi; else echo firmware bios; fi
    if [ -d "$root/boot/grub" ]; then
        echo loader grub
    elif [ -d "$root/boot/loader" ] || [ -d "$root/efi/loader" ] || [ -d "$root/boot/efi/loader" ]; then
        echo loader systemd-boot
    else
        echo loader none
    fi
}

section os_release
section arch
section memory
section cpus
section pci_display
section disks
section virtualisation
section init
section boot
