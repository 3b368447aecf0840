# Builds dkms modules as if packages were installed that are not. Runs in a private mount namespace (unshare --mount), in
# which /usr is what it would be with them: dkms, the compiler and the kernel's makefiles use absolute paths. Nothing of
# the host changes: installed headers that a module does not build for would wedge dpkg.
# $1: "new" for the modules that the packages bring, else those that dkms has; $2: kernels; then package=version ...
# Ends with 0: all build; 1: one does not (its log, then "gpuwright: ... does not build for KERNEL"); 2: nobody could try.
which=$1
kernels=$2
shift 2
umask 022
cannot() {
    echo "gpuwright: $*"
    exit 2
}
scratch=$(mktemp -d /var/tmp/gpuwright-dkms.XXXXXX) || cannot 'no scratch directory'
trap 'umount /usr 2>/dev/null; rm -rf "$scratch"' EXIT
mkdir "$scratch/deb" "$scratch/root" "$scratch/root/usr" "$scratch/tree"
cd "$scratch/deb" || cannot 'no scratch directory'
if [ $# -gt 0 ]; then
    apt-get -q -o APT::Sandbox::User=root download "$@" || cannot 'download failed'
    for deb in *.deb; do
        dpkg-deb --extract "$deb" "$scratch/root" || cannot "$deb cannot be unpacked"
    done
    if [ -d "$scratch/root/lib" ]; then # before Debian 13 packages have files below /lib, which is a link to usr/lib
        mkdir -p "$scratch/root/usr/lib" && cp -a "$scratch/root/lib/." "$scratch/root/usr/lib/" || cannot 'disk full'
    fi
    mount -t overlay -o "ro,lowerdir=$scratch/root/usr:/usr" overlay /usr || cannot 'no overlay file system'
fi
cd /
if [ "$which" = new ]; then
    modules=$(for conf in "$scratch"/root/usr/src/*/dkms.conf; do
        sed -n 's/^PACKAGE_NAME="*\([^"]*\)"*/\1/p; s/^PACKAGE_VERSION="*\([^"]*\)"*/\1/p' "$conf" | paste -s -d /
    done)
else
    modules=$(dkms status | sed -n 's|^\([^/,: ]*\)[/,] *\([^/,: ]*\).*|\1/\2|p' | sort -u)
fi
[ -n "$modules" ] || cannot 'no module to try'
for module in $modules; do
    set -- --dkmstree "$scratch/tree" -m "${module%%/*}" -v "${module#*/}"
    said=$(dkms add "$@" 2>&1) || cannot "dkms add: $said"
    for kernel in $kernels; do
        echo "gpuwright: building $module for $kernel"
        if said=$(dkms build "$@" -k "$kernel" 2>&1); then continue; fi
        printf '%s\n' "$said"
        cat "$scratch/tree/$module/build/make.log"
        echo "gpuwright: $module does not build for $kernel"
        exit 1
    done
done
