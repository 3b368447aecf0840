# Runs while the base image is built, inside mmdebstrap, with the new root file system as $1. It makes of a
# minimal Debian what an installer would leave: a user with sudo, and keys that are made at first boot.
set -eu
root=$1

chroot "$root" useradd --create-home --shell /bin/bash --groups sudo,adm ops
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"

# Every host makes its own keys and machine id when it first boots, as cloud images do.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
printf 'PasswordAuthentication no\nPermitRootLogin no\n' > "$root/etc/ssh/sshd_config.d/50-sandbox.conf"

# Units without a meaning here: there is no console and no hardware to wait for.
for unit in console-getty.service getty.target getty-static.service systemd-udevd.service \
    systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-modules-load.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    dev-hugepages.mount systemd-firstboot.service systemd-remount-fs.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# Sandbox quirk: /proc/sys is read-only here (it is the control machine's), so a Docker engine of 26 or newer
# could not switch IPv6 off on its bridge and would refuse bridge networks. A real server needs no such line.
mkdir -p "$root/etc/systemd/system/docker.service.d"
printf '[Service]\nEnvironment=DOCKER_ALLOW_IPV6_ON_IPV4_INTERFACE=1\n' \
    > "$root/etc/systemd/system/docker.service.d/50-sandbox.conf"

# pid 1. With cgroup v2 the engine mounts the container's own hierarchy read-only; systemd must write there.
cat > "$root/usr/local/sbin/sandbox-init" <<'INIT'
#!/bin/sh
set -eu
if [ -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -w /sys/fs/cgroup ]; then
    mount -o remount,bind,rw /sys/fs/cgroup
fi
ssh-keygen -A >/dev/null
exec /lib/systemd/systemd
INIT
chmod 0755 "$root/usr/local/sbin/sandbox-init"
