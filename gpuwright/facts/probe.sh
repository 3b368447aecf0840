# One round trip: everything a plan needs to know of a host, and what it runs at the moment, as framed sections.
# POSIX sh, awk, od, df; no Python, no lspci, nothing of NVIDIA's or AMD's. Nothing here changes the host.
# $1 is a root prefix, so that a recorded tree answers like a host; in a tree, the outputs of `uname -m`,
# `systemd-detect-virt` and of the section space lie in files of its top (arch, virtualisation, space).
# Each section is "@@begin NAME" ... "@@end NAME STATUS"; a missing end means that the text was cut off.
# "@@denied WHAT" in a section: it is there, and this user may not read it.
# Values are read with the shell's own `read` and `cd`: a fork for each file would cost more than all the rest.
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
root=
if [ -n "${1-}" ]; then
    root=$(cd -P "$1" && pwd -P) || exit 1
    root=${root%/}
fi
pci=$root/sys/bus/pci/devices

section() {
    printf '@@begin %s\n' "$1"
    "read_$1" 2>/dev/null
    printf '@@end %s %s\n' "$1" "$?"
}

denied() {
    printf '@@denied %s\n' "${1#"$root"}"
}

# FILE: whether it can be read; one that is there and cannot is named
readable() {
    [ -e "$1" ] || return 1
    [ -r "$1" ] || { denied "$1"; return 1; }
}

# FILE: its first line in $line, "" and a failure without one
first() {
    line=
    readable "$1" || return 1
    IFS= read -r line <"$1"
    [ -n "$line" ]
}

# LINK: the name of the directory that it leads to in $line
leads() {
    line=
    cd -P "$1" && line=${PWD##*/}
}

read_os_release() {
    if [ -r "$root/etc/os-release" ]; then cat "$root/etc/os-release"; else cat "$root/usr/lib/os-release"; fi
}

read_arch() {
    if [ -n "$root" ]; then cat "$root/arch"; else uname -m; fi
}

read_kernel() {
    first "$root/proc/sys/kernel/osrelease" && printf 'release %s\n' "$line"
    first "$root/proc/cmdline" && printf 'cmdline %s\n' "$line"
}

read_memory() {
    grep '^MemTotal:' "$root/proc/meminfo"
}

# processors, then "vendor family" of the first; ARM has an implementer instead, and no family
read_cpus() {
    awk -F '[ \t]*:[ \t]*' '
        $1 == "processor" { count++ }
        ($1 == "vendor_id" || $1 == "CPU implementer") && vendor == "" { vendor = $2 }
        $1 == "cpu family" && family == "" { family = $2 }
        END { print count + 0; if (vendor != "") print vendor, family }' "$root/proc/cpuinfo"
}

# DMI; a device tree (Jetson) has one name, ended with a zero byte
read_machine() {
    if [ -d "$root/sys/class/dmi/id" ]; then
        for name in sys_vendor product_name board_name; do
            if first "$root/sys/class/dmi/id/$name"; then printf '%s %s\n' "$name" "$line"; fi
        done
    elif [ -r "$root/proc/device-tree/model" ]; then
        printf 'product_name %s\n' "$(tr -d '\000' <"$root/proc/device-tree/model")"
    fi
}

# address class vendor device subsystem_vendor subsystem_device name=value ...
pci_function() {
    [ -e "$1/class" ] || return 0
    text=${1##*/}
    for name in class vendor device subsystem_vendor subsystem_device; do
        if first "$1/$name"; then text="$text $line"; else text="$text -"; fi
    done
    path=
    if cd -P "$1"; then path=${PWD#"$root"}; fi
    text="$text path=$path"
    for name in numa_node max_link_speed max_link_width current_link_speed current_link_width boot_vga; do
        if first "$1/$name"; then text="$text $name=${line%% *}"; fi
    done
    for name in driver iommu_group; do
        if leads "$1/$name"; then text="$text $name=$line"; fi
    done
    case $text in *' 0x03'* | *' 0x12'*)
        if readable "$1/resource"; then
            bars=
            for _ in 0 1 2 3 4 5; do read -r start end _ && bars="$bars$start-$end,"; done <"$1/resource"
            text="$text bars=$bars"
        fi
        ;;
    esac
    printf '%s\n' "$text"
}

# GPUs and other display devices, accelerators, network controllers, NVSwitches, and the bridges above GPUs.
# A virtual function is its physical function's business.
read_pci() {
    bridges=
    [ -d "$pci" ] || return 0
    for device in "$pci"/*; do
        first "$device/class" || continue
        class=$line
        case $class in 0x02* | 0x03* | 0x12* | 0x0680*) ;; *) continue ;; esac
        [ ! -e "$device/physfn" ] || continue
        first "$device/vendor"
        vendor=$line
        case $class:$vendor in
        0x0680*:0x10de | 0x03*:0x10de | 0x03*:0x1002 | 0x12*:0x10de | 0x12*:0x1002)
            pci_function "$device"
            above "${path%/*}"
            ;;
        0x0680*) ;;
        *) pci_function "$device" ;;
        esac
    done
    for address in $bridges; do pci_function "$pci/$address"; done
}

# PATH of sysfs: adds its PCI functions to $bridges
above() {
    set -f
    saved=$IFS
    IFS=/
    for part in $1; do
        case $part in *[!0-9a-f:.]*) continue ;; *:*:*.?) ;; *) continue ;; esac
        case " $bridges " in *" $part "*) ;; *) bridges="$bridges $part" ;; esac
    done
    IFS=$saved
    set +f
}

# For each of $bridges "address CONTROL" (four hex digits), or "address none". PCIe's extended capabilities begin at
# byte 256: id, version, offset of the next; ACS is 000d. Without CAP_SYS_ADMIN the kernel shows 64 bytes only.
read_acs() {
    [ -n "$bridges" ] || return 0
    for address in $bridges; do
        printf 'bridge %s\n' "$address"
        od -An -v -tx4 "$pci/$address/config"
    done | awk '
        function hex(digits,  i, n) {
            for (i = 1; i <= length(digits); i++) n = n * 16 + index("0123456789abcdef", substr(digits, i, 1)) - 1
            return n
        }
        function answer(  at, left) {
            if (address == "") return
            if (words < 64) { hidden = 1; return }
            at = 64
            for (left = 64; left > 0 && at >= 64 && at + 1 < words; left--) {
                if (substr(word[at], 5) == "000d") { print address, substr(word[at + 1], 1, 4); return }
                at = int(hex(substr(word[at], 1, 3)) / 4)
            }
            print address, "none"
        }
        $1 == "bridge" { answer(); address = $2; words = 0; next }
        { for (i = 1; i <= NF; i++) word[words++] = $i }
        END { answer(); if (hidden) print "@@denied ACS of bridges" }'
}

read_iommu() {
    [ -d "$root/sys/kernel/iommu_groups" ] || return 1
    set -- "$root"/sys/kernel/iommu_groups/*
    if [ -e "$1" ]; then echo $#; else echo 0; fi
}

# "nic NAME PATH DRIVER" of hardware, "rdma NAME PATH", "route NAME" of a default route
read_nics() {
    for nic in "$root"/sys/class/net/*; do
        if [ ! -e "$nic/device" ] || [ -e "$nic/device/physfn" ]; then continue; fi
        leads "$nic/device/driver"
        cd -P "$nic/device" && printf 'nic %s %s %s\n' "${nic##*/}" "${PWD#"$root"}" "$line"
    done
    for rdma in "$root"/sys/class/infiniband/*; do
        if [ ! -e "$rdma/device" ] || [ -e "$rdma/device/physfn" ]; then continue; fi
        cd -P "$rdma/device" && printf 'rdma %s %s\n' "${rdma##*/}" "${PWD#"$root"}"
    done
    set --
    for file in "$root/proc/net/route" "$root/proc/net/ipv6_route"; do
        if readable "$file"; then set -- "$@" "$file"; fi
    done
    [ $# -eq 0 ] || awk '
        $2 == "00000000" && $8 == "00000000" { print "route", $1 }
        $1 ~ /^0+$/ && $2 == "00" && $NF != "lo" { print "route", $NF }' "$@"
}

# name bytes rotational, without the pseudo devices that any kernel has, and the paths behind an NVMe multipath disk
read_disks() {
    for disk in "$root"/sys/block/*; do
        case ${disk##*/} in '*' | loop* | ram* | zram* | dm-* | md* | sr* | fd* | nbd* | nvme*c*n*) continue ;; esac
        first "$disk/size" || continue
        size=$line
        if first "$disk/queue/rotational"; then printf '%s %s %s\n' "${disk##*/}" "$((size * 512))" "$line"; fi
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
    loader=none
    for directory in "$root/efi" "$root/boot/efi" "$root/boot"; do
        if [ -d "$directory/loader" ]; then loader=systemd-boot; fi
        if [ -d "$directory" ] && [ ! -x "$directory" ]; then denied "$directory"; loader=unknown; fi
    done
    if [ -d "$root/boot/grub" ]; then loader=grub; fi
    echo loader "$loader"
    echo secure_boot "$(secure_boot)"
    echo grubenv "$(grubenv)"
}

# An EFI variable is four bytes of attributes and its value. An empty /sys/firmware is a container's.
secure_boot() {
    set -- "$root"/sys/firmware/efi/efivars/SecureBoot-*
    if [ -e "$1" ]; then
        case $(od -An -tu1 "$1") in *' 1') echo enabled ;; *' 0') echo disabled ;; *) echo unknown ;; esac
        return
    fi
    set -- "$root"/sys/firmware/efi/efivars/* "$root"/sys/firmware/*
    if [ -e "$1" ]; then echo unsupported; return; fi
    if [ -e "$2" ] && [ ! -d "$root/sys/firmware/efi" ]; then echo unsupported; else echo unknown; fi
}

# What /boot/grub lies on: the deepest mount above it, its file system, and what its block device is made of
grubenv() {
    [ -d "$root/boot/grub" ] || { echo none; return; }
    mount=$(awk '
        $5 == "/" || $5 == "/boot" || $5 == "/boot/grub" {
            if (length($5) < length(point)) next
            point = $5
            for (i = 7; $i != "-"; i++) if (i > NF) next
            best = $(i + 1) " " $3
        }
        END { print best }' "$root/proc/self/mountinfo")
    case $mount in
    btrfs* | zfs*) echo "${mount%% *}" ;;
    ext* | xfs* | vfat* | f2fs* | jfs*) stack "$root/sys/dev/block/${mount#* }" ;;
    *) echo unknown ;;
    esac
}

# DIRECTORY of a block device: lvm, md or plain; below an encrypted one lies another
stack() {
    cd -P "$1" || { echo unknown; return; }
    if first "$PWD/dm/uuid"; then
        case $line in LVM-*) echo lvm; return ;; esac
    fi
    if [ -d md ] || [ -d ../md ]; then echo md; return; fi
    set -- "$PWD"/slaves/*
    if [ -e "$1" ]; then stack "$1"; else echo plain; fi
}

# "loaded NAME VERSION", NVIDIA's own line, "file PATH" of the running kernel's modules, and modinfo's fields of
# nvidia where it is not loaded: Debian's renamed modules say what they are by name, and cost a second to unpack.
read_drivers() {
    for name in nvidia amdgpu nouveau nova_core; do
        [ -d "$root/sys/module/$name" ] || continue
        first "$root/sys/module/$name/version"
        printf 'loaded %s %s\n' "$name" "$line"
    done
    if first "$root/proc/driver/nvidia/version"; then printf 'nvrm %s\n' "$line"; fi
    first "$root/proc/sys/kernel/osrelease" || return 1
    modules=$root/lib/modules/$line
    [ -d "$modules" ] || { echo no modules; return; }
    readable "$modules/modules.dep" || return 0
    nvidia='nvidia(-current|-legacy-[0-9a-z]+|-tesla(-[0-9]+)?)?(-open)?'
    files=$(awk -F : "\$1 ~ /(^|\/)($nvidia|amdgpu|nouveau|nova[-_]core)[.]ko([.][a-z]+)?\$/ { print \"file\", \$1 }" \
        "$modules/modules.dep")
    [ -z "$files" ] || printf '%s\n' "$files"
    [ ! -d "$root/sys/module/nvidia" ] || return 0
    file=$(printf '%s\n' "$files" | sed -n '/\/nvidia[.]ko/{s/^file //p;q;}')
    [ -z "$file" ] || modinfo "$modules/$file" | sed -n '/^version:/p; /^license:/p'
}

# "name version" of what is installed and of interest, "hold name" of every hold
read_packages() {
    readable "$root/var/lib/dpkg/status" || return 1
    awk '
        function emit() {
            if (state == "installed" && name ~ interest) print "package", name, version
            if (want == "hold") print "hold", name
            name = version = want = state = ""
        }
        BEGIN {
            interest = "^(linux-(image|headers|modules|generic|virtual|lowlatency|oem|nvidia|aws|azure|gcp|oracle" \
                "|binary|source|base-[0-9]|firmware)|(lib)?nvidia|lib(cuda|amdhip|hsa|nccl|rccl|nvsdm)|cuda|nvlsm" \
                "|firmware-(amd|nvidia)|xserver-xorg-video-nvidia|(amd)?rocm|amdgpu|amd-(smi|container)|hip|hsa-|hsakmt" \
                "|rccl|datacenter-gpu-manager|docker|podman|containerd|runc$|dkms$)"
        }
        /^Package: / { name = $2 }
        /^Status: / { want = $2; state = $4 }
        /^Version: / { version = $2 }
        /^$/ { emit() }
        END { emit() }' "$root/var/lib/dpkg/status"
}

# "kernel RELEASE yes|no" with headers or without, "config RELEASE", "set RELEASE SYMBOL VALUE"
read_kernels() {
    set --
    for kernel in "$root"/lib/modules/*; do
        [ -d "$kernel/kernel" ] || continue
        release=${kernel##*/}
        headers=no
        if [ -e "$kernel/build/Makefile" ] || [ -d "$root/usr/src/linux-headers-$release" ]; then headers=yes; fi
        printf 'kernel %s %s\n' "$release" "$headers"
        for config in "$root/boot/config-$release" "$kernel/config"; do
            if readable "$config"; then set -- "$@" "$config"; break; fi
        done
    done
    [ $# -eq 0 ] || awk '
        FNR == 1 {
            release = FILENAME
            if (!sub(/.*\/config-/, "", release)) { sub(/\/config$/, "", release); sub(/.*\//, "", release) }
            print "config", release
        }
        /^CONFIG_(PCI_P2PDMA|HSA_AMD|HSA_AMD_P2P|DMABUF_MOVE_NOTIFY|DRM_AMDGPU|DEVICE_PRIVATE|MODULE_SIG|MODULE_SIG_FORCE|INTEL_IOMMU_DEFAULT_ON|IOMMU_DEFAULT_PASSTHROUGH)=/ {
            sub(/^CONFIG_/, "")
            sub(/=/, " ")
            print "set", release, $0
        }' "$@"
}

# MODULE/VERSION, MODULE/VERSION/KERNEL/ARCH where it is built
read_dkms() {
    for entry in "$root"/var/lib/dkms/*/*/source "$root"/var/lib/dkms/*/*/*/*/module; do
        if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
        entry=${entry#"$root/var/lib/dkms/"}
        printf '%s\n' "${entry%/*}"
    done
}

# kind and where; an installer's log alone may be of an attempt, unless its nvidia-smi is there and no package's
read_leftovers() {
    if [ -e "$root/usr/bin/nvidia-uninstall" ]; then
        echo nvidia-run /usr/bin/nvidia-uninstall
    elif [ -e "$root/var/log/nvidia-installer.log" ] && [ -e "$root/usr/bin/nvidia-smi" ] &&
        [ ! -L "$root/usr/bin/nvidia-smi" ] &&
        ! grep -qxF /usr/bin/nvidia-smi "$root"/var/lib/dpkg/info/*nvidia*.list; then
        echo nvidia-run /var/log/nvidia-installer.log
    fi
    for snap in "$root"/var/lib/snapd/snaps/docker_*.snap; do
        if [ -e "$snap" ]; then printf 'snap-docker %s\n' "${snap#"$root"}"; break; fi
    done
    for rocm in "$root"/opt/rocm-*; do
        if [ -d "$rocm" ] && [ ! -L "$rocm" ]; then printf 'rocm-legacy %s\n' "${rocm#"$root"}"; fi
    done
    if [ -d "$root/root" ] && [ ! -x "$root/root" ]; then denied "$root/root"; fi
    for conda in "$root"/opt/*conda* "$root"/opt/*forge* "$root"/root/*conda* "$root"/root/*forge*; do
        for cuda in "$conda"/pkgs/cudatoolkit-* "$conda"/pkgs/cuda-*; do
            if [ -e "$cuda" ]; then printf 'conda-cuda %s\n' "${conda#"$root"}"; break; fi
        done
    done
}

# "path PATH" and what df says of it
read_space() {
    if [ -n "$root" ]; then cat "$root/space"; return; fi
    for path in /dev/shm /boot; do
        if [ -d "$path" ]; then printf 'path %s\n' "$path"; df -Pk "$path"; fi
    done
}

# "file PATH" and its lines of weight, without comments, keys and credentials
read_apt() {
    set --
    for file in "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*.list \
        "$root"/etc/apt/sources.list.d/*.sources "$root"/etc/apt/preferences "$root"/etc/apt/preferences.d/*; do
        if [ ! -d "$file" ] && readable "$file"; then set -- "$@" "$file"; fi
    done
    [ $# -eq 0 ] || awk -v root="$root" '
        FNR == 1 { print "file", substr(FILENAME, length(root) + 1); keep = 0 }
        /^[ \t]*#/ { next }
        /^[^ \t]/ { keep = /^(deb[ \t]|(Types|URIs|Suites|Components|Enabled|Package|Pin|Pin-Priority):)/ }
        /^[ \t]*$/ { keep = 0; print ""; next }
        keep && /:\/\// { gsub(/:\/\/[^\/@ \t]*@/, "://"); gsub(/[?][^ \t]*/, "") }
        keep' "$@"
}

read_firmware() {
    for file in "$root"/lib/firmware/amdgpu/gc_*_mes* "$root"/lib/firmware/amdgpu/gc_*_rlc.* \
        "$root"/lib/firmware/amdgpu/psp_*_sos* "$root"/lib/firmware/nvidia/[0-9]*/gsp_*; do
        if [ -e "$file" ]; then printf '%s\n' "${file#"$root/lib/firmware/"}"; fi
    done
}

# engines that came without a package; those with one are among the packages
read_engines() {
    for file in "$root"/usr/local/bin/dockerd "$root"/usr/local/bin/containerd "$root"/usr/local/bin/podman; do
        if [ -e "$file" ]; then printf '%s\n' "${file#"$root"}"; fi
    done
}

read_serials() {
    for name in product_serial product_uuid board_serial chassis_serial; do
        if first "$root/sys/class/dmi/id/$name"; then printf '%s %s\n' "$name" "$line"; fi
    done
    for nic in "$root"/sys/class/net/*; do
        [ -e "$nic/device" ] || continue
        if first "$nic/address"; then printf 'mac-%s %s\n' "${nic##*/}" "$line"; fi
    done
}

# The last one is of those that a host must have: a text that was cut off between two sections lacks it.
for name in os_release arch kernel memory cpus machine pci acs iommu nics disks virtualisation init drivers packages \
    kernels dkms leftovers space apt firmware engines serials boot; do
    section "$name"
done
