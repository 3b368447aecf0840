"""What verify asks of a host, as POSIX sh. Each reading is a framed section that ends with its exit code.

Nothing here changes the host. Keys stay on it: environment files are judged there, a container's environment is
read for planned names only, and a key goes to curl on stdin, because arguments are for all to see.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from gpuwright.models import manifest
from gpuwright.models.reading import OPEN_OR_SHUT
from gpuwright.operations.gpu_words import GPU_WORDS
from gpuwright.plan import HostPlan
from gpuwright.plan.model import EnvFile, JsonMerge, ManagedFile, Model, Package, Service, SystemUser, Unit
from gpuwright.stamp import PATH as STAMP
from gpuwright.verify import driver_script, power_script, runtime_script, service_gpu_script
from gpuwright.verify.parts import planned

COMPLETION_S = 120

# Rows come as lines of tab-separated columns. `each LIST FUNCTION` calls FUNCTION with a row's columns.
_COMMON = r"""
LC_ALL=C TZ=UTC0
export LC_ALL TZ
tab=$(printf '\t')

section() {
    name=$1
    shift
    printf '\n#gpuwright begin %s\n' "$name"
    "$@" 2>/dev/null
    printf '\n#gpuwright end %s %d\n' "$name" "$?"
}

each() {
    printf '%s\n' "$1" | while IFS=$tab read -r one two three four five; do
        [ -z "$one" ] || "$2" "$one" "$two" "$three" "$four" "$five" || exit 1
    done
}
"""

_STATE = r"""
package() {
    status=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$1") || status=un
    printf '%s\t%s\n' "$1" "$(printf %s "$status" | tr -d ' ')"
}
packages() { command -v dpkg-query >/dev/null || return 1; each "$packages" package; }

file() {
    if [ -L "$1" ]; then
        printf '%s\tlink\t-\t-\t-\n' "$1"
    elif [ -f "$1" ]; then
        digest=$(sha256sum <"$1") || return 1
        open=$(find -H "${1%/*}/" -maxdepth 0 \( ! -user 0 -o -perm /022 \)) || return 1
        printf '%s\t%s\t%s\t%s\n' "$1" "$(stat --printf='%04a\t%U:%G' "$1")" "${digest%% *}" "${open:-root}"
    elif [ -e "$1" ]; then
        printf '%s\tother\t-\t-\t-\n' "$1"
    else
        printf '%s\tabsent\t-\t-\t-\n' "$1"
    fi
}
files() { each "$files" file; }

properties=LoadState,UnitFileState,ActiveState,SubState,NeedDaemonReload,DropInPaths,InactiveExitTimestamp,InvocationID
unit() {
    printf '\nUnit=%s\n' "$1"
    systemctl show --timestamp=us --property="$properties" -- "$1"
}
units() { each "$units" unit; }

watch() {
    changed=absent
    if [ -e "$2" ]; then changed=$(date --reference="$2" +%s%N) || return 1; fi
    printf '%s\t%s\t%s\n' "$1" "$2" "$changed"
}
watches() { each "$watches" watch; }

manager() { [ -z "$properties_of_manager" ] || systemctl show --property="$properties_of_manager"; }
clock() { timedatectl show --property=NTPSynchronized --value; }

account() {
    line=$(getent passwd "$1") || { printf '%s\tabsent\t-\t-\n' "$1"; return 0; }
    locked=$(passwd --status "$1" | cut -d' ' -f2) || return 1
    groups=$(id -Gn "$1" | tr ' ' ,)
    printf '%s\t%s\t%s\t%s\n' "$1" "$(printf %s "$line" | cut -d: -f3-4,6-7)" "$locked" "${groups:-none}"
}
accounts() { each "$accounts" account; }

env_file() {
    [ -f "$1" ] && [ ! -L "$1" ] || { printf '%s\tabsent\t-\t-\t-\t-\t-\t-\n' "$1"; return 0; }
    keys=$(grep -Ec "^$2=[0-9a-f]{64}\$" "$1") || keys=${keys:-0}
    uid=wrong gid=wrong gpus=wrong
    if grep -qx "GPUWRIGHT_UID=$(id -u "$3")" "$1"; then uid=right; fi
    if grep -qx "GPUWRIGHT_GID=$(id -g "$3")" "$1"; then gid=right; fi
    # shellcheck disable=SC2086  # addresses
    if words=$(gpu_words "$4" $5); then
        if grep -qxF "GPUWRIGHT_GPUS=$words" "$1"; then gpus=right; fi
    else
        gpus=unknown
    fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$(stat -c '%04a' "$1")" "$(stat -c '%U:%G' "$1")" "$keys" \
        "$uid" "$gid" "$gpus" "$(sed -n 's/^GPUWRIGHT_GPUS=//p' "$1")"
}
env_files() { each "$env_files" env_file; }

text() {
    [ -f "$1" ] || { printf '%s\tabsent\n' "$1"; return 0; }
    printf '%s\tpresent\n' "$1"
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\t=%s\n' "$1" "$line"; done <"$1"
}
texts() { each "$texts" text; }

engine() { docker version --format '{{.Server.Version}}' >/dev/null; }

image() {
    id=$(docker image inspect --format '{{.Id}}' "$1") || id=absent
    printf '%s\t%s\n' "$1" "$id"
}
images() { engine && each "$images" image; }

# Never .Config.Env: the key is in it.
shape='{"Id":{{json .Id}},"Start":{{json (index .Config.Labels "gpuwright.start")}},'
shape=$shape'"Image":{{json .Image}},"State":{{json .State.Status}},"User":{{json .Config.User}},'
shape=$shape'"Privileged":{{json .HostConfig.Privileged}},"CapAdd":{{json .HostConfig.CapAdd}},'
shape=$shape'"CapDrop":{{json .HostConfig.CapDrop}},"SecurityOpt":{{json .HostConfig.SecurityOpt}},'
shape=$shape'"ReadonlyRootfs":{{json .HostConfig.ReadonlyRootfs}},"Memory":{{json .HostConfig.Memory}},'
shape=$shape'"NetworkMode":{{json .HostConfig.NetworkMode}},"PidMode":{{json .HostConfig.PidMode}},'
shape=$shape'"IpcMode":{{json .HostConfig.IpcMode}},"Devices":{{json .HostConfig.Devices}},"Mounts":{{json .Mounts}},'
shape=$shape'"DeviceRequests":{{json .HostConfig.DeviceRequests}},"GroupAdd":{{json .HostConfig.GroupAdd}},'
shape=$shape'"ShmSize":{{json .HostConfig.ShmSize}},"Arguments":{{json .Config.Cmd}}}'
container() {
    row=$(docker container inspect --format "$shape" "$1") || row=absent
    printf '%s\t%s\n' "$1" "$row"
}
containers() { engine && each "$containers" container; }

variable() {
    value=$(docker container inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" | grep "^$2=") ||
        value=absent
    printf '%s\t%s\t%s\n' "$1" "$2" "${value#*=}"
}
variables() { engine && each "$variables" variable; }

process() {
    pid=$(docker container inspect --format '{{.State.Pid}}' "$1") || return 0
    [ "$pid" -gt 0 ] || return 0
    printf '%s\t%s\t%s\t' "$1" "$pid" "$(readlink "/proc/$pid/ns/mnt")" || return 1
    awk '/^CapEff:/ { e = $2 } /^CapBnd:/ { b = $2 } /^NoNewPrivs:/ { n = $2 } /^Uid:/ { u = $3 } /^Gid:/ { g = $3 }
        END { printf "%s\t%s\t%s\t%s:%s\n", e, b, n, u, g }' "/proc/$pid/status"
}
processes() { engine && each "$containers" process; }

listeners() { ss -H -l -t -n -p; }
owners() {
    for pid in $(listeners | grep -o 'pid=[0-9]*' | sort -u | cut -d= -f2); do
        if space=$(readlink "/proc/$pid/ns/mnt"); then printf '%s\t%s\n' "$pid" "$space"; fi
    done
}

our_units() {
    for path in /etc/systemd/system/gpuwright-*.service; do if [ -e "$path" ]; then echo "${path##*/}"; fi; done
}
our_containers() { engine && docker container ls --all --filter name=^/gpuwright- --format '{{.Names}}'; }

model_directory() { [ ! -d "$1" ] || find -H "$1" -type f -printf '%p\t%s\t%Ts\n'; }
model_files() { each "$models" model_directory; }
exposed() { [ ! -d "$1" ] || find -H "$1" \( -type f -o -type d \) OPEN_OR_SHUT; }
model_exposed() { each "$models" exposed; }

rung() {
    [ -f "/var/lib/gpuwright/rungs/$1.env" ] || { printf '%s\tnone\t-\n' "$1"; return 0; }
    number=$(sed -n 's/^GPUWRIGHT_RUNG_NUMBER=//p' "/var/lib/gpuwright/rungs/$1.env")
    printf '%s\t%s\t%s\n' "$1" "${number:-?}" "$(sed -n 's/^GPUWRIGHT_RUNG=//p' "/var/lib/gpuwright/rungs/$1.env")"
}
rungs() { each "$rungs" rung; }

gpu() {
    driver=none
    if [ -e "/sys/bus/pci/devices/$1/driver" ]; then
        driver=$(basename "$(readlink -f "/sys/bus/pci/devices/$1/driver")")
    fi
    printf '%s\t%s\n' "$1" "$driver"
}
gpus() { each "$gpus" gpu; }

for reading in packages files units watches manager clock accounts env_files texts images containers variables \
    processes listeners owners our_units our_containers model_files model_exposed gpus rungs; do
    section "$reading" "$reading"
done
""".replace("OPEN_OR_SHUT", OPEN_OR_SHUT)

_DIGESTS = r"""
digest() {
    [ -f "$2" ] || { printf '%s\tabsent\n' "$2"; return 0; }
    case "$1" in
    git-sha1) found=$({ printf 'blob %d\0' "$(stat -c %s "$2")"; cat "$2"; } | sha1sum) || return 1 ;;
    *) found=$(sha256sum <"$2") || return 1 ;;
    esac
    printf '%s\t%s:%s\n' "$2" "$1" "${found%% *}"
}
digests() { each "$digests" digest; }
began=$(date +%s%N)
section digests digests
section digest_seconds echo "$(($(date +%s%N) - began))"
"""

_ANSWER = r"""
url="http://127.0.0.1:$port/v1/chat/completions"
curl_() { curl --silent --noproxy '*' --header 'Content-Type: application/json' --data "$question" "$@" "$url"; }
# A refusal is an answer to us: only a curl that could not be run is a failed reading (its own codes end at 99).
ran() { "$@"; [ $? -lt 126 ]; }
code() { ran curl_ --max-time 20 --output /dev/null --write-out '%{http_code}\n' "$@"; }
# Who does not even refuse is not asked a longer question.
doors() {
    door=$(code) || return 1
    printf '%s\n' "$door"
    if [ "$door" = 000 ]; then echo 000; return; fi
    code --header 'Authorization: Bearer 0000000000000000000000000000000000000000000000000000000000000000'
}
# By user id (proc_net_tcp: local address, state 0A, uid): the key is for the service's own process alone.
listener() {
    awk -v port="$(printf ':%04X' "$port")" \
        '$4 == "0A" && substr($2, length($2) - 4) == port { print $8 }' /proc/net/tcp /proc/net/tcp6 | sort -u
}
completion() {
    if [ "$door" = 000 ]; then
        printf '\n000 0.0\n'
        return
    fi
    found=$(listener)
    if [ -n "$found" ] && [ "$found" != "$(sed -n 's/^GPUWRIGHT_UID=//p' "$env_file")" ]; then
        printf '\nforeign 0.0\n'
        return
    fi
    key=$(sed -n "s/^$key_name=//p" "$env_file") || return 1
    [ -n "$key" ] || return 1
    printf 'header = "Authorization: Bearer %s"\n' "$key" |
        ran curl_ --max-time "$limit" --config - --write-out '\n%{http_code} %{time_total}\n'
}
section "doors:$service" doors
section "completion:$service" completion
"""


def state_script(plan: HostPlan, gpus: Iterable[str]) -> str:
    """All but digests and answers, in one round trip."""
    packages = [name for package in planned(plan, Package) for name in (package.name, *package.alternatives)]
    services, models, units = planned(plan, Service), planned(plan, Model), planned(plan, Unit)
    texts = [STAMP, *(merge.path for merge in planned(plan, JsonMerge))]
    dropped = (*plan.base.dropped_files, *plan.container_engine.dropped_files)
    driver = driver_script.variables(plan)
    given = service_gpu_script.variables(services)
    return _script(
        # The driver's part comes late: nvidia-smi can hang.
        GPU_WORDS
        + _STATE
        + runtime_script.text(plan)
        + (driver_script.TEXT if driver else "")
        + (service_gpu_script.TEXT if given else "")
        + power_script.TEXT,
        packages=_rows((name,) for name in dict.fromkeys(packages)),
        files=_rows((path,) for path in (*(file.path for file in planned(plan, ManagedFile)), *dropped)),
        units=_rows((unit.name,) for unit in units),
        watches=_rows((unit.name, path) for unit in units for path in unit.watches),
        properties_of_manager=",".join(name for name, _ in plan.base.manager),
        accounts=_rows((user.name,) for user in planned(plan, SystemUser)),
        env_files=_rows(
            (file.path, file.key, file.user, file.gpu_way or "-", " ".join(file.gpus) or "-")
            for file in planned(plan, EnvFile)
        ),
        texts=_rows((path,) for path in (*texts, *(f"{m.directory}/{manifest.NAME}" for m in models))),
        images=_rows((service.image,) for service in services),
        containers=_rows((service.container,) for service in services),
        variables=_rows((service.container, name) for service in services for name, _ in service.environment),
        models=_rows((model.directory,) for model in models),
        gpus=_rows((address,) for address in gpus),
        rungs=_rows((service.name,) for service in services if service.rungs),
        **given,
        **driver,
        **power_script.variables(plan),
    )


def digests_script(files: Iterable[tuple[str, str]]) -> str:
    """Hash again what the manifests list; `files` are (kind of digest, path)."""
    return _script(_DIGESTS, digests=_rows(files))


def answer_script(service: Service, question: str) -> str:
    """Knock without a key and with a wrong one, then ask `question`, a JSON request, with the right one."""
    return _script(
        _ANSWER,
        service=service.name,
        port=str(service.port),
        env_file=service.env_file,
        key_name=service.key,
        question=question,
        limit=str(COMPLETION_S),
    )


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("\t".join(row) for row in rows)


def _script(text: str, **values: str) -> str:
    return "\n".join([*(f"{name}={shlex.quote(value)}" for name, value in values.items()), _COMMON, text])
