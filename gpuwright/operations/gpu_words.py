"""The words by which `docker run` gives a container GPUs: what they are called exists only on the host."""

from __future__ import annotations

# WAY ADDRESS ...: prints the words; says what is missing and ends with 1 where they cannot be had.
GPU_WORDS = r"""
gpu_words() {
    way=$1 words= separator=
    shift
    # "-" is no address: a table cannot have empty columns.
    if [ "${1:--}" = - ]; then set --; fi
    case $way in
    amd-cdi) words='--device amd.com/gpu=all' ;;
    amd-device-nodes) words='--device /dev/kfd'; separator=' ' ;;
    esac
    groups=
    for address; do
        case $way in
        nvidia-cdi)
            uuid=$(timeout -k 1 60 nvidia-smi --id="$address" --query-gpu=uuid --format=csv,noheader 2>&1) || uuid=
            case $uuid in
            GPU-*) words="$words$separator--device nvidia.com/gpu=$uuid" separator=' ' ;;
            *) echo "gpu $address: nvidia-smi does not know it; is the driver loaded?" >&2; return 1 ;;
            esac
            ;;
        amd-device-nodes)
            node=
            for each in "/sys/bus/pci/devices/$address/drm"/renderD*; do
                if [ -e "$each" ]; then node=/dev/dri/${each##*/}; fi
            done
            if [ ! -e "$node" ] || [ ! -e /dev/kfd ]; then
                echo "gpu $address: no render node, or no /dev/kfd; is amdgpu loaded?" >&2
                return 1
            fi
            words="$words --device $node"
            for path in "$node" /dev/kfd; do
                gid=$(stat -c %g "$path")
                case " $groups " in *" $gid "*) ;; *) groups="$groups $gid" ;; esac
            done
            ;;
        esac
    done
    for gid in $groups; do words="$words --group-add $gid"; done
    printf '%s\n' "$words"
}
"""
