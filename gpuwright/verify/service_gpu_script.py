"""What verify asks about the GPUs of services: those that a container sees, and what its processes hold of them."""

from __future__ import annotations

from collections.abc import Iterable

from gpuwright.plan.model import Service

# nvidia-smi can hang for ever on a broken GPU, inside a container as well.
TEXT = r"""
# Inside, as the service's own account: what NVML lets that see is what the engine gets.
seen() {
    case $2 in
    nvidia-*)
        timeout -k 1 60 docker exec "$1" nvidia-smi --query-gpu=pci.bus_id,uuid --format=csv,noheader |
            while IFS=', ' read -r address uuid; do printf '%s\t%s\t%s\n' "$1" "$address" "$uuid"; done
        ;;
    amd-*)
        pid=$(docker container inspect --format '{{.State.Pid}}' "$1") && [ "$pid" -gt 0 ] || return 0
        for node in "/proc/$pid/root/dev/dri"/renderD*; do
            [ -e "$node" ] || continue
            device=$(readlink -f "/sys/class/drm/${node##*/}/device") || return 1
            printf '%s\t%s\t-\n' "$1" "${device##*/}"
        done
        ;;
    esac
}
service_gpus() { each "$given" seen; }

# The host's own view of the same cards.
uuid() {
    case $2 in
    nvidia-*) printf '%s\t%s\n' "$1" "$(timeout -k 1 60 nvidia-smi --id="$1" --query-gpu=uuid --format=csv,noheader)" ;;
    *) printf '%s\t-\n' "$1" ;;
    esac
}
gpu_uuids() { each "$given_cards" uuid; }

# ADDRESS, mount namespace of the process, MiB that it holds there.
held() { if space=$(readlink "/proc/$2/ns/mnt"); then printf '%s\t%s\t%s\n' "$1" "$space" "$3"; fi; }
gpu_memory() {
    case $given in *nvidia-*)
        timeout -k 1 60 nvidia-smi --query-compute-apps=gpu_bus_id,pid,used_memory --format=csv,noheader,nounits |
            while IFS=', ' read -r address pid used; do held "$address" "$pid" "$used"; done
        ;;
    esac
    case $given in *amd-*)
        for node in /sys/class/kfd/kfd/topology/nodes/*; do
            id=$(cat "$node/gpu_id") && [ "$id" != 0 ] || continue
            place=$(awk '$1 == "location_id" { l = $2 } $1 == "domain" { d = $2 }
                END { printf "%04x:%02x:%02x.%d", d, int(l / 256), int(l / 8) % 32, l % 8 }' "$node/properties")
            for used in /sys/class/kfd/kfd/proc/*/"vram_$id"; do
                bytes=$(cat "$used" 2>/dev/null) || continue
                pid=${used%/*}
                held "$place" "${pid##*/}" $((bytes / 1048576))
            done
        done
        ;;
    esac
}

for reading in service_gpus gpu_uuids gpu_memory; do section "$reading" "$reading"; done
"""


def variables(services: Iterable[Service]) -> dict[str, str]:
    """What the script has to know; nothing where no service is given a GPU."""
    ours = [service for service in services if service.gpu_way]
    if not ours:
        return {}
    cards = dict.fromkeys((need.address, service.gpu_way) for service in ours for need in service.gpus)
    return {
        "given": "\n".join(f"{service.container}\t{service.gpu_way}" for service in ours),
        "given_cards": "\n".join(f"{address}\t{way}" for address, way in cards),
    }
