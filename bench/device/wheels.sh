#!/bin/sh
# Wheels of what adopt.sh needs, for a machine without a package index: of the versions that are installed here.
#   sh bench/device/wheels.sh DIRECTORY [PYTHON_VERSION]
# DIRECTORY is emptied first; PYTHON_VERSION is that machine's (3.12), its processor x86-64.
set -eu
directory=${1:?DIRECTORY is missing}
version=${2:-3.12}
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
"$python" -m pip freeze --exclude-editable >"$constraints"
rm -rf "$directory"
mkdir -p "$directory"
set --
for number in 39 38 36 35 34 31 28 27 24 17; do set -- "$@" --platform "manylinux_2_${number}_x86_64"; done
"$python" -m pip download --quiet --disable-pip-version-check --dest "$directory" --constraint "$constraints" \
    --only-binary=:all: --implementation cp --python-version "$version" "$@" \
    --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
    pyinfra jinja2 paramiko pydantic typer rich docker huggingface-hub pytest pytest-testinfra
du -sh "$directory"
