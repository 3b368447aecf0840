# What gpu_stand_in.py does on a sandbox host, as root: a disguise of mounts and two programs. See there what is what.
set -eu
home=/var/lib/gpu-stand-in

# PLACE: home's copy of it is mounted there, once. Files that are written in place show at once.
shown() { is_shown "$1" || mount --bind "$home$1" "$1"; }

# PLACE: what the container has is seen again
bare() { while is_shown "$1"; do umount "$1"; done; }

# A container engine mounts over some places itself.
is_shown() {
    awk -v place="$1" '$5 == place && $4 ~ /gpu-stand-in/ { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# NAME: a program of stdin, first in PATH
program() {
    cat >"/usr/local/bin/$1.new"
    chmod 0755 "/usr/local/bin/$1.new"
    mv -f "/usr/local/bin/$1.new" "/usr/local/bin/$1"
}

# A machine without cards yet: `card` comes after it.
machine() {
    program systemd-detect-virt <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: this host shall look like a bare machine.
case " $* " in *' -q '* | *' --quiet '*) ;; *) echo none ;; esac
exit 1
PROGRAM
    program uname <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: the running kernel's release is what the test says; all else is as it is.
case $* in
-r | --kernel-release) exec cat /proc/sys/kernel/osrelease ;;
*) exec /usr/bin/uname "$@" ;;
esac
PROGRAM
    # Only what loads and unloads a module now is played; what asks what would be loaded is kmod's own business.
    program modprobe <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: a module that lies ready for the stand-in's kernel counts as loaded, and shows in /sys/module.
set -eu
modules=/var/lib/gpu-stand-in/sys/module
case $#:$1 in
1:[!-]*)
    version=$(modinfo -k "$(uname -r)" -F version "$1" 2>/dev/null) || {
        echo "modprobe: FATAL: Module $1 not found in directory /lib/modules/$(uname -r)" >&2
        exit 1
    }
    name=$(modinfo -k "$(uname -r)" -F name "$1" | tr - _)
    mkdir -p "$modules/$name"
    echo "$version" >"$modules/$name/version"
    if [ "$name" = nvidia ]; then
        /usr/local/sbin/stand-in-procfs "$version" "$(modinfo -k "$(uname -r)" -F license "$1")"
    fi
    ;;
2:-r)
    rm -rf "$modules/$2"
    if [ "$2" = nvidia ]; then rm -rf /var/lib/gpu-stand-in/proc/driver/nvidia; fi
    ;;
*) exec /sbin/modprobe "$@" ;;
esac
PROGRAM
    # What NVIDIA's module shows in /proc, in its words: $1 its version, $2 its license; cards are those on the bus.
    mkdir -p /usr/local/sbin
    cat >/usr/local/sbin/stand-in-procfs <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: /proc/driver/nvidia of a module that was never loaded.
set -eu
proc=/var/lib/gpu-stand-in/proc/driver/nvidia
rm -rf "$proc"
mkdir -p "$proc/gpus"
what='x86_64 Kernel Module'
if [ "$2" != NVIDIA ]; then what='Open Kernel Module for x86_64'; fi
printf 'NVRM version: NVIDIA UNIX %s  %s  Release Build  (a stand-in)\n' "$what" "$1" >"$proc/version"
minor=0
for card in /var/lib/gpu-stand-in/sys/bus/pci/devices/*; do
    [ "$(cat "$card/vendor")" = 0x10de ] || continue
    address=${card##*/}
    mkdir "$proc/gpus/$address"
    uuid=GPU-5ca1ab1e-0000-4000-8000-000$(printf %s "$address" | tr -d ':.')
    printf 'Model: \t\t a stand-in\nGPU UUID: \t %s\nDevice Minor: \t %d\nGPU Excluded:\t No\n' "$uuid" "$minor" \
        >"$proc/gpus/$address/information"
    minor=$((minor + 1))
done
PROGRAM
    chmod 0755 /usr/local/sbin/stand-in-procfs
    program nvidia-modprobe <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: nodes are /dev/null under other names. -u makes those of unified memory, any call the others.
set -eu
node() {
    [ -e "$1" ] || : >"$1"
    mountpoint -q "$1" || mount --bind /dev/null "$1"
}
[ -d /proc/driver/nvidia ] || exit 1
node /dev/nvidiactl
for gpu in /proc/driver/nvidia/gpus/*; do
    node "/dev/nvidia$(sed -n 's/^Device Minor:[[:space:]]*//p' "$gpu/information")"
done
case " $* " in *' -u '*) node /dev/nvidia-uvm; node /dev/nvidia-uvm-tools ;; esac
PROGRAM
    # apt gives the scripts of packages a PATH of its own.
    echo 'DPkg::Path "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";' >/etc/apt/apt.conf.d/00gpu-stand-in
    mkdir -p "$home/sys/bus/pci/devices" "$home/sys/module" "$home/proc/sys/kernel" "$home/proc/driver"
    rm -rf "$home"/sys/bus/pci/devices/*
    shown /sys/bus/pci/devices
    shown /sys/module
    shown /proc/driver
}

# ADDRESS FILE=VALUE ...: a PCI function; BARs are "start-end" pairs in one value
card() {
    function=$home/sys/bus/pci/devices/$1
    shift
    mkdir "$function"
    for pair; do
        case $pair in
        resource=*) for bar in ${pair#*=}; do echo "${bar%-*} ${bar#*-} 0x0"; done >"$function/resource" ;;
        *) echo "${pair#*=}" >"$function/${pair%%=*}" ;;
        esac
    done
}

# RELEASE: the kernel that runs from now on
kernel() {
    echo "$1" >"$home/proc/sys/kernel/osrelease"
    shown /proc/sys/kernel/osrelease
}

# enabled|disabled|none: UEFI's variable, or a container's firmware
secure_boot() {
    variable=$home/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    mkdir -p "${variable%/*}"
    case $1 in
    enabled) printf '\006\000\000\000\001' >"$variable" ;;
    disabled) printf '\006\000\000\000\000' >"$variable" ;;
    none) bare /sys/firmware; return ;;
    esac
    shown /sys/firmware
}

# A shim's list of keys: mokutil as far as it is asked here, in its words.
shim() {
    mkdir -p "$home/mok"
    program mokutil <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: keys are files, the person at the console is the test.
set -eu
mok=/var/lib/gpu-stand-in/mok
same() { [ -e "$mok/$1" ] && cmp -s "$mok/$1" "$2"; }
case $1 in
--test-key)
    if same enrolled "$2"; then echo "$2 is already enrolled"; exit 1; fi
    if same requested "$2"; then echo "$2 is already in the enrollment request"; exit 1; fi
    echo "$2 is not enrolled"
    ;;
--import)
    IFS= read -r first
    IFS= read -r second
    [ "$first" = "$second" ] || { echo "password doesn't match" >&2; exit 255; }
    cp "$2" "$mok/requested"
    printf '%s' "$first" >"$mok/password"
    ;;
*) exit 64 ;;
esac
PROGRAM
}

# PASSWORD: what a person types into MokManager, at the console, after a reboot
enrol() {
    [ "$(cat "$home/mok/password")" = "$1" ]
    mv "$home/mok/requested" "$home/mok/enrolled"
    rm "$home/mok/password"
}

# PATH: a device node that can be held open
node() {
    [ -e "$1" ] || : >"$1"
    mountpoint -q "$1" || mount --bind /dev/null "$1"
}

no_node() {
    if mountpoint -q "$1"; then umount "$1"; fi
    rm -f "$1"
}

# RELEASE: as after a reboot into that kernel, before anything was loaded
boot() {
    rm -rf "$home"/sys/module/* "$home"/proc/driver/nvidia
    for node in /dev/nvidia*; do if [ -e "$node" ]; then no_node "$node"; fi; done
    rm -rf /var/run/cdi
    kernel "$1"
}

# GRUB as Debian has it, except for grub-probe, which finds no disk below a container. Nothing ever boots with it.
grub() {
    apt-get -q install -y --no-install-recommends grub2-common >/dev/null
    dpkg-divert --quiet --local --rename --divert /usr/sbin/grub-probe.real --add /usr/sbin/grub-probe
    cat >/usr/sbin/grub-probe <<'PROGRAM'
#!/bin/sh
# Stand-in for tests: one plain disk with one plain partition.
case " $* " in
*=device\ * | *' device '*) echo /dev/vda1 ;;
*=fs_uuid\ * | *' fs_uuid '*) echo 01234567-89ab-cdef-0123-456789abcdef ;;
*=fs\ * | *' fs '*) echo ext2 ;;
*=partmap\ * | *' partmap '*) echo gpt ;;
*=drive\ * | *' drive '*) echo '(hd0,gpt1)' ;;
esac
PROGRAM
    chmod 0755 /usr/sbin/grub-probe
    mkdir -p /boot/grub
    grub-editenv /boot/grub/grubenv create
    update-grub 2>/dev/null
}

# ADDRESS NAME=VALUE ...: a card that nvidia-smi (a program of stdin's) knows, with what it shows and takes
smi() {
    cards=$home/smi
    mkdir -p "$cards/$1"
    program nvidia-smi
    card=$cards/$1
    shift
    for pair; do echo "${pair#*=}" >"$card/${pair%%=*}"; done
}

no_smi() {
    rm -rf /usr/local/bin/nvidia-smi "$home/smi"
}

# UNIT: a daemon that would end for want of a GPU only stays
daemon() {
    mkdir -p "/etc/systemd/system/$1.service.d"
    printf '[Service]\nType=exec\nPIDFile=\nExecStart=\nExecStart=/bin/sleep infinity\n' \
        >"/etc/systemd/system/$1.service.d/gpu-stand-in.conf"
    systemctl daemon-reload
}
