"""What verify asks of a host about its GPUs' power and the variables of collectives: a part of the one script.

nvidia-smi is asked only where a limit or a clock is planned, and last.
"""

from __future__ import annotations

from gpuwright.operations.card_power import READ
from gpuwright.operations.ownership import OWNER
from gpuwright.plan import HostPlan
from gpuwright.plan.collectives import CONF
from gpuwright.plan.power import SCRIPT, UNIT_FILE

TEXT = (
    READ
    + OWNER
    + r"""
owners_of_settings() { each "$settings_of_gpus" owner; }

# What holds over the files of NCCL and RCCL for root's own programs: where it stands, and the line.
collectives_overrides() {
    home=$(getent passwd root | cut -d: -f6) || return 1
    for place in "$home/.nccl.conf" "$home/.rccl.conf" /etc/environment; do
        [ -f "$place" ] || continue
        sed -n 's/^export //; /^[NR]CCL_[A-Z0-9_]*=/p' "$place" | sed "s|^|$place$tab|"
    done
    if ! found=$(systemctl show-environment); then return 1; fi
    printf '%s\n' "$found" | sed -n "/^[NR]CCL_[A-Z0-9_]*=/s|^|systemd's environment$tab|p"
}

card_power() { for vendor in $card_vendors; do "card_power_$vendor"; done; }

for reading in $settings_readings; do section "$reading" "$reading"; done
"""
)


def variables(plan: HostPlan) -> dict[str, str]:
    """What TEXT is told: paths, cards, and which of its readings are asked for."""
    cards = plan.power.cards
    vendors = dict.fromkeys(card.vendor for card in cards)
    amd = dict.fromkeys(card.address for card in cards if card.vendor == "amd")
    wanted = ["owners_of_settings"]
    wanted += ["collectives_overrides"] if plan.collectives.files else []
    wanted += ["card_power"] if cards else []
    return {
        "settings_of_gpus": "\n".join((*CONF.values(), UNIT_FILE, SCRIPT)),
        "amd": " ".join(amd),
        "card_vendors": " ".join(vendors),
        "settings_readings": " ".join(wanted),
    }
