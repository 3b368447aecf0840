# Runs while a VM's base disk is built, inside mmdebstrap, with the new root file system as $1: what an installer
# would leave on a server that boots by BIOS and GRUB, with one user who has sudo.
set -eu
root=$1
uuid=@UUID@

chroot "$root" useradd --create-home --shell /bin/bash --groups sudo,adm ops
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
printf 'PasswordAuthentication no\nPermitRootLogin no\nUseDNS no\n' > "$root/etc/ssh/sshd_config.d/50-sandbox.conf"
# No fsck at boot, which would wait for udev: the journal is replayed anyway.
printf 'UUID=%s / ext4 errors=remount-ro 0 0\n' "$uuid" > "$root/etc/fstab"

# QEMU's user network: DHCP, a resolver at 10.0.2.3.
printf '[Match]\nType=ether\n[Network]\nDHCP=ipv4\n' > "$root/etc/systemd/network/50-sandbox.network"
ln -sf /usr/lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
printf 'nameserver 10.0.2.3\n' > "$root/etc/resolv.conf"

# What differs from host to host comes as a tar on the second disk: names, keys, a password.
cat > "$root/etc/systemd/system/sandbox-seed.service" <<'UNIT'
[Unit]
Description=Names and keys of this sandbox host
DefaultDependencies=no
# Not after dev-vdb.device: the node is there since the initramfs, and udev is slow on an emulated processor.
After=local-fs.target systemd-remount-fs.service
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/sandbox-seed
[Install]
WantedBy=multi-user.target
UNIT
ln -sf /etc/systemd/system/sandbox-seed.service "$root/etc/systemd/system/multi-user.target.wants/"
cat > "$root/usr/local/sbin/sandbox-seed" <<'SEED'
#!/bin/sh
set -eu
tar -xf /dev/vdb -C /
hostname -F /etc/hostname
if [ -e /root/sandbox-password ]; then
    chpasswd < /root/sandbox-password
    rm -f /root/sandbox-password
fi
SEED
chmod 0755 "$root/usr/local/sbin/sandbox-seed"

# An emulated processor is 10 to 20 times slower than a real one: nothing that a host does not need.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-pcrphase.service systemd-hwdb-update.service keyboard-setup.service console-setup.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount getty@tty1.service systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# As cloud images do it: a later file that overrules /etc/default/grub. Without the bpf LSM systemd saves half a minute
# on an emulated processor.
mkdir -p "$root/etc/default/grub.d"
cat > "$root/etc/default/grub.d/50-sandbox.cfg" <<'GRUB'
GRUB_TIMEOUT=0
GRUB_TERMINAL="console serial"
GRUB_CMDLINE_LINUX_DEFAULT="console=ttyS0 lsm=landlock,yama,apparmor"
GRUB_DISABLE_OS_PROBER=true
GRUB
printf 'grub-pc grub-pc/install_devices multiselect /dev/vda\n' | chroot "$root" debconf-set-selections

# There is no disk yet that grub-probe could look at: it answers for the one that there will be.
mkdir -p "$root/boot/grub/i386-pc"
cp "$root"/usr/lib/grub/i386-pc/*.mod "$root"/usr/lib/grub/i386-pc/*.lst "$root/boot/grub/i386-pc/"
mv "$root/usr/sbin/grub-probe" "$root/usr/sbin/grub-probe.real"
cat > "$root/usr/sbin/grub-probe" <<PROBE
#!/bin/sh
while [ \$# -gt 0 ]; do
    case \$1 in
    --target=*) target=\${1#*=} ;;
    -t | --target) target=\$2; shift ;;
    esac
    shift
done
case \$target in
device) echo /dev/vda1 ;;
fs_uuid) echo $uuid ;;
fs) echo ext2 ;;
partmap) echo msdos ;;
drive) echo '(hostdisk//dev/vda,msdos1)' ;;
esac
PROBE
chmod 0755 "$root/usr/sbin/grub-probe"
chroot "$root" grub-editenv /boot/grub/grubenv create
chroot "$root" grub-mkconfig -o /boot/grub/grub.cfg
mv "$root/usr/sbin/grub-probe.real" "$root/usr/sbin/grub-probe"
chroot "$root" grub-mkimage -O i386-pc -o /boot/grub/i386-pc/core.img -p '(hd0,msdos1)/boot/grub' \
    biosdisk part_msdos ext2
