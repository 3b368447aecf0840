#!/bin/sh
# On a machine with an NVIDIA GPU, nvcc and cmake: are memory and speed as `gpuwright size` says?
#   sh bench/device/size.sh OUTDIR SOURCE.tar.xz BUILD [SECONDS]
# SOURCE is llama.cpp's tree (a directory llama.cpp in a tar). BUILD is kept: a build that was cut off goes on there;
# one that is not done after SECONDS (540) ends with exit code 75. WHEELS and PYTHON as in adopt.sh; SCRATCH is where
# files of up to 45 GB have room (/dev/shm). OUTDIR gets size.json.
set -eu
out=${1:?OUTDIR is missing}
source=${2:?SOURCE is missing}
build=${3:?BUILD is missing}
seconds=${4:-540}
python=${PYTHON:-python3}
cd "$(dirname "$0")/../.."
mkdir -p "$out" "$build"
out=$(cd "$out" && pwd)
build=$(cd "$build" && pwd)
bench=$build/out/bin/llama-bench
if [ ! -x "$bench" ]; then
    [ -d "$build/llama.cpp" ] || tar xJf "$source" -C "$build"
    if [ ! -e "$build/out/CMakeCache.txt" ]; then
        cmake -S "$build/llama.cpp" -B "$build/out" -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON -DGGML_CUDA_NCCL=OFF \
            -DCMAKE_CUDA_ARCHITECTURES=native -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF \
            -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
            >"$out/configure.txt" 2>&1 || { tail -n 20 "$out/configure.txt"; exit 1; }
    fi
    began=$(date +%s)
    timeout "$seconds" cmake --build "$build/out" --target llama-bench -j "$(nproc)" >"$out/build.txt" 2>&1 || {
        code=$?
        tail -n 5 "$out/build.txt"
        [ "$code" -ne 124 ] || exit 75
        exit 1
    }
    echo "llama-bench built in $(($(date +%s) - began)) s, $(nproc) processors"
    exit 75
fi
scratch=$(mktemp -d -p "${SCRATCH:-/tmp}")
trap 'rm -rf "$scratch"' EXIT
export PYTHONDONTWRITEBYTECODE=1 HOME="$scratch"
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$scratch/site" \
        "$WHEELS"/*.whl
fi
export PYTHONPATH="$scratch/site:$PWD"
"$python" bench/device/size.py "$bench" "$out" "$scratch"
