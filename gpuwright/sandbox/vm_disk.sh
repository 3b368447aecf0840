# A root file system in a tar becomes an ext4 partition in a disk image. As root, or in a user namespace that maps ids.
# $1 tar, $2 disk image (exists, of its full size), $3 partition's offset, $4 its size in KiB, $5 UUID, $6 scratch.
set -eu
mkdir "$6/root"
tar -xf "$1" -C "$6/root" --exclude='./dev/*'
cp "$6/root/usr/lib/grub/i386-pc/boot.img" "$6/root/boot/grub/i386-pc/core.img" "$6/"
PATH="$PATH:/usr/sbin:/sbin" mke2fs -q -t ext4 -U "$5" -E "offset=$3,lazy_itable_init=1" -d "$6/root" "$2" "$4k"
rm -rf "$6/root"
