# Fills the empty root file system $1 with llama-server and the libraries it loads. Runs inside mmdebstrap,
# whose MMDEBSTRAP_APT_CONFIG makes apt-get use this machine's mirrors and check Debian's signatures.
# The caller sets $packages.
set -eu
root=$1

mkdir -p "$root/debs" "$root/tmp" "$root/models" "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin"
chmod 1777 "$root/tmp"
for name in bin lib lib64 sbin; do
    [ -e "$root/$name" ] || ln -s "usr/$name" "$root/$name"
done

# shellcheck disable=SC2086  # a list of package names
(cd "$root/debs" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -qq -o APT::Sandbox::User=root download $packages)
mkdir -p "$root/usr/share/llama-image"
for deb in "$root"/debs/*.deb; do
    dpkg-deb --show --showformat '${Package}=${Version}\n' "$deb" >> "$root/usr/share/llama-image/packages"
    dpkg-deb --extract "$deb" "$root"
done
rm -r "$root/debs"

# Only copyright files stay of the documentation: 10 MB less to copy to every host.
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
rm -rf "$root/usr/share/locale" "$root/usr/share/i18n" "$root/usr/share/gcc" "$root/usr/share/bash-completion" \
    "$root/usr/share/llama.cpp/llama.cpp-tools" "$root/usr/share/lintian" "$root/usr/libexec"
