"""CDI specifications on a host, and what they must be true of: one script, for operations and for verify."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gpuwright.operations.cdi_spec import Node, Spec, parse

# Engines read all files of these two; what is in the second one wins (container-device-interface, pkg/cdi).
DIRECTORIES = ("/etc/cdi", "/var/run/cdi")

# `cdi VENDOR MODULE TOOL SERVICE` prints rows of tab-separated columns, the first of which says what they are.
SCRIPT = r"""
root=
cdi() (
    tab=$(printf '\t')
    PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
    # When the content or the place of a file last changed: a package brings old dates along.
    changed() { stat -L -c "$1" "$2" | tr -d .; }
    case $1 in
    nvidia)
        if [ -r "$root/proc/driver/nvidia/version" ]; then
            printf 'loaded\t%s\n' "$(head -n 1 "$root/proc/driver/nvidia/version" | tr '\t' ' ')"
        fi
        for gpu in "$root"/proc/driver/nvidia/gpus/*; do
            [ -r "$gpu/information" ] || continue
            awk -v address="${gpu##*/}" -F ':[ \t]*' '
                /^GPU UUID:/ { uuid = $2 }
                /^Device Minor:/ { minor = $2 }
                /^GPU Excluded:/ && $2 ~ /^Yes/ { excluded = 1 }
                END { if (!excluded) printf "gpu\t%s\t%s\t/dev/nvidia%s\n", address, uuid, minor }' \
                "$gpu/information" || exit 1
        done ;;
    amd)
        if [ -d "$root/sys/module/amdgpu" ]; then printf 'loaded\t\n'; fi
        for node in "$root"/sys/class/kfd/kfd/topology/nodes/*; do
            [ -r "$node/gpu_id" ] && [ "$(cat "$node/gpu_id")" != 0 ] || continue
            awk '{ value[$1] = $2 }
                END { at = value["location_id"]; printf "gpu\t%04x:%02x:%02x.%d\t\t/dev/dri/renderD%d\n",
                    value["domain"], int(at / 256) % 256, int(at / 8) % 32, at % 8, value["drm_render_minor"] }' \
                "$node/properties" || exit 1
        done ;;
    esac
    printf 'disk\t%s\n' "$(modinfo -k "$(uname -r)" -F version "$2" 2>/dev/null)"
    for file in "$(command -v "$3")" "$(modinfo -k "$(uname -r)" -n "$2" 2>/dev/null)"; do
        if [ -f "$file" ]; then printf 'program\t%s\t%s\n' "$file" "$(changed %.9Z "$file")"; fi
    done
    if [ -n "$4" ]; then
        for property in LoadState UnitFileState NeedDaemonReload; do
            printf 'service\t%s\n' "$(systemctl show --property="$property" --value "$4")"
        done
    fi
    for node in "$root"/dev/nvidia* "$root"/dev/kfd "$root"/dev/dri/*; do
        if [ -c "$node" ]; then
            # stat has its numbers in hexadecimal.
            printf 'node\t%s\t%s\n' "${node#"$root"}" "$(stat -L -c "%t${tab}%T${tab}%g" "$node")"
        fi
    done
    for file in "$root"/etc/cdi/*.yaml "$root"/etc/cdi/*.json "$root"/var/run/cdi/*.yaml "$root"/var/run/cdi/*.json; do
        [ -f "$file" ] || continue
        size=$(wc -c <"$file") || exit 1
        printf 'spec\t%s\t%s\t%d\n' "${file#"$root"}" "$(changed %.9Y "$file")" "$size"
        if [ "$size" -gt 1000000 ]; then continue; fi
        awk -v path="${file#"$root"}" '{ print "text\t" path "\t=" $0 }' "$file" || exit 1
        grep -oE '(hostPath|path)"?[[:space:]]*:[[:space:]]*("[^"]*"|[^",}]*)' "$file" |
            sed -E "s|^[^/]*||; s|[\"'[:space:]]*\$||" | grep . | sort -u | while IFS= read -r path; do
                if [ -e "$root$path" ]; then printf 'there\t%s\n' "$path"; fi
            done
    done
    printf 'end\n'
)
"""


@dataclass(frozen=True)
class HostGpu:
    """A GPU as its driver counts it; `uuid` is "" where the driver has not read it yet, or names none."""

    address: str
    uuid: str
    node: str


@dataclass(frozen=True)
class SpecFile:
    """A file in one of DIRECTORIES. `spec` is None where it cannot be read, for a reason in `unreadable`."""

    path: str
    changed_ns: int
    text: str
    spec: Spec | None
    unreadable: str = ""


@dataclass(frozen=True)
class CdiHost:
    """`loaded` is the version of the driver that runs, "" for one without, None where none is loaded; `on_disk` of the
    module that would be. `programs` are files that a specification is made by, with the time of their change in ns.
    `nodes` are device nodes by path. `there` are paths that some specification names and the host has. `service` is
    systemd's LoadState, UnitFileState and NeedDaemonReload, each "" where it has none.
    """

    loaded: str | None
    on_disk: str
    gpus: tuple[HostGpu, ...]
    programs: Mapping[str, int]
    nodes: Mapping[str, Node]
    files: Mapping[str, SpecFile]
    there: frozenset[str]
    service: tuple[str, ...]


@dataclass
class _Rows:
    """Rows as they come."""

    loaded: str | None = None
    on_disk: str = ""
    gpus: list[HostGpu] = field(default_factory=list)
    programs: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    specs: dict[str, tuple[int, int]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)
    service: tuple[str, ...] = ()
    ended: bool = False


def read(lines: Iterable[str]) -> CdiHost:
    """What SCRIPT printed. Raises ValueError for a text that was cut off."""
    rows = _Rows()
    for line in lines:
        if line:
            _row(rows, line)
    if not rows.ended or len(rows.service) not in (0, 3):
        raise ValueError("the reading was cut off")
    files = {path: _file(path, *at, rows.texts.get(path, [])) for path, at in rows.specs.items()}
    return CdiHost(
        rows.loaded,
        rows.on_disk,
        tuple(rows.gpus),
        rows.programs,
        rows.nodes,
        files,
        frozenset(rows.there),
        rows.service,
    )


def _row(rows: _Rows, line: str) -> None:
    match line.split("\t", 3 if line.startswith("spec\t") else -1):
        case ["loaded", said]:
            rows.loaded = _version(said)
        case ["disk", version]:
            rows.on_disk = version
        case ["gpu", address, uuid, node]:
            rows.gpus.append(HostGpu(address, "" if "?" in uuid else uuid, node))
        case ["program", path, changed]:
            rows.programs[path] = int(changed)
        case ["node", path, major, minor, gid]:
            rows.nodes[path] = Node(path, int(major, 16), int(minor, 16), int(gid))
        case ["service", said]:
            rows.service += (said,)
        case ["spec", path, changed, size]:
            rows.specs[path] = (int(changed), int(size))
        case ["text", path, *rest] if rest and rest[0].startswith("="):
            rows.texts.setdefault(path, []).append("\t".join(rest)[1:])
        case ["there", path]:
            rows.there.add(path)
        case ["end"]:
            rows.ended = True
        case _:
            raise ValueError(f"a row that was cut off: {line[:80]!r}")


def _file(path: str, changed_ns: int, size: int, lines: list[str]) -> SpecFile:
    text = "".join(f"{line}\n" for line in lines)
    if len(text.encode()) == size + 1:  # without a newline at its end
        text = text[:-1]
    try:
        if len(text.encode()) != size:
            raise ValueError(f"it has {size} bytes, of which {len(text.encode())} could be read")
        return SpecFile(path, changed_ns, text, parse(text))
    except ValueError as error:
        return SpecFile(path, changed_ns, text, None, str(error))


def _version(said: str) -> str:
    """Of "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build ..."; "" for none."""
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", f"{said} ")
    return found[1] if found else ""
