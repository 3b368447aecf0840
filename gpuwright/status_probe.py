"""What `gpuwright status` reads on a host: one POSIX sh script, and the parsers of its sections.

A section that is missing, cut off or failed is None, which no parser turns into an empty answer.
"""

from __future__ import annotations

FRAME = "#gpuwright"

# Every section ends with its exit code, so that a cut or a failed one cannot pass for an empty one.
# The stamp's strings are picked with sed: a host has neither Python nor jq for us.
SCRIPT = r"""
LC_ALL=C
export LC_ALL
stamp=/etc/gpuwright/applied.json

section() {
    name=$1
    shift
    printf '\n#gpuwright begin %s\n' "$name"
    "$@" 2>/dev/null
    printf '\n#gpuwright end %s %d\n' "$name" "$?"
}

declared() {
    [ -r "$stamp" ] || return 0
    tr ',{}' '\n\n\n' <"$stamp" |
        sed -n 's/^[[:space:][]*"'"$1"'"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' | sort -u
}

machine() {
    read -r up _ </proc/uptime && read -r load </proc/loadavg || return 1
    printf 'uptime=%s\nload=%s\nnow=%s\n' "$up" "$load" "$(date +%s)"
    # shellcheck disable=SC1091
    (. /etc/os-release && printf 'os=%s\n' "$PRETTY_NAME")
}

stamp() {
    [ ! -e "$stamp" ] || cat "$stamp"
}

units() {
    set -- $(declared unit)
    [ $# -eq 0 ] || systemctl show --timestamp=unix \
        --property=Id,ActiveState,SubState,ActiveEnterTimestamp,NRestarts -- "$@"
}

# What `docker stats` calls memory: without file cache that the kernel may drop.
memory() {
    [ "$1" -gt 0 ] || return 0
    v1=$(sed -n 's/^[0-9]*:memory://p' "/proc/$1/cgroup")
    v2=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
    for used in "/sys/fs/cgroup$v2/memory.current" "/sys/fs/cgroup/memory$v1/memory.usage_in_bytes"; do
        [ -r "$used" ] || continue
        awk 'NR == 1 { used = $1 } /^(total_)?inactive_file / { cache = $2 } END { printf "%d", used - cache }' \
            "$used" "${used%/*}/memory.stat"
        return
    done
}

engine() {
    docker version --format '{{.Server.Version}}'
}

container_format='{{.State.Status}} {{.Image}}'
container_format=$container_format' health:{{if .State.Health}}{{.State.Health.Status}}{{end}} {{.State.Pid}}'

containers() {
    engine >/dev/null || return 1
    for container in $(declared container); do
        row=$(docker container inspect --format "$container_format" "$container") ||
            { printf '%s\tabsent\n' "$container"; continue; }
        set -- $row
        printf '%s\t%s\t%s\t%s\t%s\n' "$container" "$1" "$2" "$3" "$(memory "$4")"
    done
}

images() {
    engine >/dev/null || return 1
    for image in $(declared image); do
        row=$(docker image inspect --format '{{.Id}} {{.Size}}' "$image") || row=" 0"
        printf '%s\t%s\t%s\n' "$image" "${row% *}" "${row##* }"
    done
}

store() {
    path=$(declared model_store | head -n 1)
    printf '%s' "${path:-/var/lib/gpuwright/models}"
}

models() {
    root=$(store)
    [ -d "$root" ] || return 0
    for directory in "$root"/*/; do
        [ ! -d "$directory" ] || du -s -b -- "$directory" || return 1
    done
}

disk() {
    path=$(store)
    while [ ! -e "$path" ]; do path=$(dirname -- "$path"); done
    df -P -B1 -- "$path"
}

section machine machine
section stamp stamp
section units units
section engine engine
section containers containers
section images images
section listeners ss -H -ltn
section models models
section disk disk
"""


def parse_sections(text: str) -> dict[str, str]:
    """The complete sections of SCRIPT's output whose command succeeded, by name."""
    sections: dict[str, str] = {}
    name: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if line.startswith(f"{FRAME} begin ") and len(words) == 3:
            name, lines = words[2], []
        elif line.startswith(f"{FRAME} end ") and len(words) == 4:
            if name == words[2] and words[3] == "0":
                sections[name] = "\n".join(lines)
            name = None
        elif name is not None:
            lines.append(line)
    return sections


def pairs(text: str | None) -> dict[str, str]:
    pairs = (line.partition("=") for line in (text or "").splitlines())
    return {key: value for key, found, value in pairs if found}


def units(text: str | None) -> dict[str, dict[str, str]] | None:
    """The properties of each unit by its name; systemctl separates units by an empty line."""
    if text is None:
        return None
    blocks = (pairs(block) for block in text.split("\n\n"))
    return {block["Id"]: block for block in blocks if "Id" in block}


def table(text: str | None) -> dict[str, list[str]] | None:
    """Tab-separated rows by their first column."""
    if text is None:
        return None
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: row[1:] for row in rows if len(row) > 1}


def models(text: str | None) -> tuple[tuple[str, int], ...] | None:
    """Name and bytes, from `du` of the store's directories."""
    if text is None:
        return None
    rows = (line.split("\t") for line in text.splitlines())
    sized = ((row[1].rstrip("/").rpartition("/")[2], integer(row[0])) for row in rows if len(row) == 2)
    return tuple(sorted((name, size) for name, size in sized if size is not None))


def listeners(text: str | None) -> tuple[tuple[str, int], ...] | None:
    """Address and port of each listener, from `ss -H -ltn`."""
    if text is None:
        return None
    found: list[tuple[str, int]] = []
    for line in text.splitlines():
        columns = line.split()
        address, _, port = columns[3].rpartition(":") if len(columns) > 3 else ("", "", "")
        if port.isdigit():
            found.append((address, int(port)))
    return tuple(dict.fromkeys(found))


def row(text: str | None) -> list[str]:
    """The last line's words, as `df -P` prints them below its header."""
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].split() if len(lines) > 1 else []


def load(text: str | None) -> tuple[float, float, float] | None:
    try:
        one, five, fifteen = (float(word) for word in (text or "").split()[:3])
    except ValueError:
        return None
    return one, five, fifteen


def integer(text: str | None) -> int | None:
    try:
        return int(float(text)) if text else None
    except ValueError:
        return None
