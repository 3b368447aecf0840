#!/bin/sh
# Stand-in for tests: nvidia-smi's words (drivers 535 to 595, from public logs) about cards that are folders of files.
# A folder: limit, min, max, default (watts), clock, clock_max, clock_min (MHz), persistence, lock, busy; without `max`
# the card takes no limit, without `clock_max` no lock. `broken` in the home: the driver does not answer.
home=${NVIDIA_SMI_HOME:-/var/lib/gpu-stand-in/smi}
printf '%s\n' "$*" >>"$home/asked"
if [ -e "$home/broken" ]; then
    echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest" \
        "NVIDIA driver is installed and running."
    exit 9
fi
cards=$(cd "$home" && ls -d ????:* 2>/dev/null)
if [ "$1" = -i ]; then
    cards=$2
    shift 2
    if [ ! -d "$home/$cards" ]; then
        echo "No devices were found"
        exit 6
    fi
fi
said=0
for card in $cards; do
    of=$home/$card id=0000$(printf %s "$card" | tr a-f A-F)
    value() { if [ -s "$of/$1" ]; then cat "$of/$1"; else echo "[N/A]"; fi; }
    watts() { if [ -s "$of/$1" ]; then printf '%.2f\n' "$(cat "$of/$1")"; else echo "[N/A]"; fi; }
    case $1 in
    --query-gpu=*)
        line=
        for field in $(printf %s "${1#*=}" | tr , ' '); do
            case $field in
            pci.bus_id) found=$id ;;
            power.limit) found=$(watts limit) ;;
            power.min_limit) found=$(watts min) ;;
            power.max_limit) found=$(watts max) ;;
            power.default_limit) found=$(watts default) ;;
            clocks.gr) found=$(value clock) ;;
            clocks.max.gr) found=$(value clock_max) ;;
            persistence_mode) found=$(value persistence) ;;
            utilization.gpu) found=$(value busy) ;;
            driver_version) found=$(cat /sys/module/nvidia/version 2>/dev/null || echo 580.159.04) ;;
            *)
                echo "Field \"$field\" is not a valid field to query."
                exit 2
                ;;
            esac
            line="$line${line:+, }$found"
        done
        echo "$line"
        ;;
    --query-supported-clocks=*) value clock_max && value clock_min ;;
    -pm)
        case $2 in 1) mode=Enabled ;; *) mode=Disabled ;; esac
        echo "$mode" >"$of/persistence"
        echo "$mode persistence mode for GPU $id."
        ;;
    -pl)
        if [ ! -s "$of/max" ]; then
            echo "Changing power management limit is not supported for GPU: $id."
            echo "Treating as warning and moving on."
        elif ! awk -v a="$2" -v b="$(cat "$of/min")" -v c="$(cat "$of/max")" 'BEGIN { exit !(b <= a && a <= c) }'; then
            echo "Provided power limit $(printf %.2f "$2") W is not a valid power limit which should be between" \
                "$(watts min) W and $(watts max) W for GPU $id"
            echo "Terminating early due to previous errors."
            exit 2
        else
            echo "Power limit for GPU $id was set to $(printf %.2f "$2") W from $(watts default) W."
            [ -e "$of/stuck" ] || printf '%s\n' "${2%.00}" >"$of/limit"
        fi
        ;;
    -lgc)
        if [ ! -s "$of/clock_max" ]; then
            echo "Setting locked GPU clocks is not supported for GPU $id."
            echo "Treating as warning and moving on."
        else
            echo "$2" >"$of/lock"
            echo "GPU clocks set to \"(gpuClkMin ${2%,*}, gpuClkMax ${2#*,})\" for GPU $id"
        fi
        ;;
    -rgc) rm -f "$of/lock" ;;
    *)
        echo "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help."
        exit 2
        ;;
    esac
    case $1 in -*=*) ;; *) said=1 ;; esac
done
if [ "$said" = 1 ]; then echo "All done."; fi
