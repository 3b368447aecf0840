#!/bin/sh
# On a machine with NVIDIA GPUs, nvcc and cmake, without network and systemd: do gpuwright's containers have the GPUs?
#   sh bench/device/container.sh OUTDIR SOURCE.tar.xz DOCKER.tar.xz BUILD [SECONDS]
# As root. Builds llama.cpp for the machine's GPUs (SOURCE, of source.sh), starts Docker where there is none (DOCKER, of
# docker.sh), makes a CDI spec and an image, and asks all that container.py lists. BUILD is kept between calls: a build
# goes on in the background, what has passed is not asked again, and a call with less than what a step wants of its
# SECONDS (540) left ends with exit code 75. OUTDIR gets container.json. WHEELS and PYTHON as in adopt.sh; SCRATCH is
# where files of up to 45 GB have room (/dev/shm).
set -eu
out=${1:?OUTDIR is missing}
source=${2:?SOURCE is missing}
bundle=${3:?DOCKER is missing}
build=${4:?BUILD is missing}
seconds=${5:-540}
began=$(date +%s)
python=${PYTHON:-python3}
GPUWRIGHT_COMMAND="sh bench/device/container.sh OUTDIR $(basename "$source") $(basename "$bundle") BUILD"
cd "$(dirname "$0")/../.."
mkdir -p "$out" "$build"
out=$(cd "$out" && pwd)
build=$(cd "$build" && pwd)

# The build runs on when a call ends; "built" has its exit code.
alive() { [ -e "$build/pid" ] && kill -0 "$(cat "$build/pid")" 2>/dev/null; }
unpack() {
    rm -rf "$build/new"
    mkdir "$build/new"
    tar xJf "$1" -C "$build/new"
    mv "$build/new/${3:-}" "$build/$2"
}
[ -d "$build/llama.cpp" ] || unpack "$source" llama.cpp llama.cpp
if ! grep -qx 0 "$build/built" 2>/dev/null && ! alive; then
    rm -f "$build/built"
    date +%s >"$build/began"
    setsid sh -c '
        build=$1
        cmake -S "$build/llama.cpp" -B "$build/out" -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON -DGGML_CUDA_NCCL=ON \
            -DCMAKE_CUDA_ARCHITECTURES=native -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF \
            -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF &&
            cmake --build "$build/out" --target llama-server llama-bench -j "$(nproc)"
        code=$?
        date +%s >"$build/ended"
        echo "$code" >"$build/built"
    ' build "$build" >"$build/build.txt" 2>&1 </dev/null &
    echo "$!" >"$build/pid"
fi
[ -d "$build/docker" ] || unpack "$bundle" docker
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 GPUWRIGHT_COMMAND
if [ -n "${WHEELS:-}" ] && [ ! -e "$build/site/done" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$build/site" \
        "$WHEELS"/*.whl
    : >"$build/site/done"
fi
export PYTHONPATH="$build/site:$PWD"
code=0
"$python" bench/device/container.py "$out" "$build" "$((seconds - ($(date +%s) - began)))" || code=$?
cp "$build/build.txt" "$build/docker-state/dockerd.log" "$out" 2>/dev/null || :
exit "$code"
