# Sourced by bin/demo and bin/test: what this machine needs, installed and started. Every step can run again.
# Sets $root (the repository) and $venv; the caller sets $state (its state directory) before `engine`.

PATH="$PATH:/usr/sbin:/sbin"
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv="$root/.venv"
began=$(date +%s)
child=
exec 3<&0

elapsed() { echo "$(($(date +%s) - began))"; }

step() { printf '\n[%4s s] %s\n' "$(elapsed)" "$*"; }

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Runs a command so that a signal to this script ends it at once: sh handles traps only between commands,
# but `wait` can be interrupted.
run() {
    "$@" <&3 &
    child=$!
    status=0
    wait "$child" || status=$?
    child=
    return "$status"
}

# Call as: on_interrupt FUNCTION. The function removes what the script made.
on_interrupt() {
    trap "interrupted $1" INT TERM HUP
}

interrupted() {
    trap '' INT TERM HUP
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null || status=$? # it may have ended by itself
        wait "$child" || status=$?
    fi
    if [ -t 1 ]; then printf '\033[?25h'; fi # a progress line hides the cursor
    printf '\nInterrupted after %s s; removing what was made.\n' "$(elapsed)" >&2
    "$1"
    trap - EXIT
    exit 130
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "This step needs root and there is no sudo: $*"
    fi
}

# The first Python that is new enough; with "venv" as $1 it must also be able to make a virtual environment.
find_python() {
    check='import sys; sys.exit(sys.version_info < (3, 11))'
    if [ "${1:-}" = venv ]; then check="import ensurepip, venv; $check"; fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$check" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

missing_packages() {
    if [ -z "$(find_python venv)" ]; then
        python=$(find_python)
        echo "${python:-python3}-venv"
    fi
    command -v mmdebstrap >/dev/null || echo mmdebstrap
    command -v ssh-keygen >/dev/null || echo openssh-client
    command -v apt-ftparchive >/dev/null || echo apt-utils
    command -v gpg >/dev/null || echo gnupg
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    if [ "$(id -u)" -ne 0 ] && ! command -v newuidmap >/dev/null; then echo uidmap; fi
    if [ -z "${DOCKER_HOST:-}" ] && [ ! -S /var/run/docker.sock ] && ! command -v dockerd >/dev/null; then
        echo docker.io
        command -v iptables >/dev/null || echo iptables
    fi
}

packages() {
    missing=$(missing_packages | tr '\n' ' ')
    if [ -n "$missing" ]; then
        command -v apt-get >/dev/null || die "Missing here: $missing(Debian's package names). Please install them."
        step "Installing Debian packages: $missing"
        run as_root apt-get -qq update
        # shellcheck disable=SC2086  # a list of package names
        run as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing
    fi
    [ -n "$(find_python venv)" ] || die "Python 3.11 or newer with venv is needed; this machine's python3 is\
 $(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null || echo missing). Debian 12, Ubuntu\
 24.04 and later have it; on Ubuntu 22.04: apt-get install python3.11-venv"
}

environment() {
    wanted="$(sha256sum "$root/pyproject.toml" | cut -d' ' -f1) $root"
    stamp="$venv/installed-from"
    if [ -x "$venv/bin/gpuwright" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
    step "Installing Python packages into .venv/ (from pyproject.toml)"
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then run "$(find_python venv)" -m venv --clear "$venv"; fi
    run env PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install -q -e "$root[dev]"
    printf '%s\n' "$wanted" > "$stamp"
}

engine_answers() {
    "$venv/bin/python" -c 'import docker; docker.from_env(timeout=10).ping()' 2>/dev/null
}

engine() {
    if engine_answers; then return; fi
    if [ -z "${DOCKER_HOST:-}" ] && { [ ! -S /var/run/docker.sock ] || [ -w /var/run/docker.sock ]; }; then
        start_engine
    fi
    waited=0
    until engine_answers; do
        if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
            die "Docker runs, but user $(id -un) may not use it. Either run this script with sudo, or:
    sudo usermod -aG docker $(id -un)     # then log in again"
        fi
        waited=$((waited + 1))
        [ "$waited" -le 60 ] || die "No Docker engine answers (DOCKER_HOST=${DOCKER_HOST:-unset}). \
Look at 'journalctl -u docker' or $root/.gpuwright/dockerd.log"
        sleep 1
    done
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        step "Starting Docker (systemctl start docker)"
        as_root systemctl start docker
    else
        mkdir -p "$root/.gpuwright"
        log="$root/.gpuwright/dockerd.log"
        step "No systemd here: starting dockerd by hand; it keeps running, its log is $log"
        # shellcheck disable=SC2024  # the log belongs to the user
        as_root setsid dockerd >> "$log" 2>&1 < /dev/null 3<&- &
    fi
}
