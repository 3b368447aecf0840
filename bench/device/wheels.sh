#!/bin/sh
# Wheels for a machine without a package index, of the versions that are installed here: what adopt.sh needs (24 MB), or
# PACKAGE... (container.sh: jinja2 pydantic, 3 MB).
#   sh bench/device/wheels.sh DIRECTORY [PYTHON_VERSION [PACKAGE...]]
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
shift
[ $# -eq 0 ] || shift
packages=${*:-pyinfra jinja2 paramiko pydantic typer rich docker huggingface-hub pytest pytest-testinfra}
set --
for number in 39 38 36 35 34 31 28 27 24 17; do set -- "$@" --platform "manylinux_2_${number}_x86_64"; done
# shellcheck disable=SC2086  # a list of package names
"$python" -m pip download --quiet --disable-pip-version-check --dest "$directory" --constraint "$constraints" \
    --only-binary=:all: --implementation cp --python-version "$version" "$@" \
    --platform manylinux2014_x86_64 --platform manylinux1_x86_64 $packages
du -sh "$directory"
