"""Machines of tests/fleet that were recorded, to be looked at without them:

pyinfra inventories/recorded.py deploy.py --dry
"""

import tomllib as _tomllib
from pathlib import Path as _Path

_fleet = _Path(__file__).absolute().parents[1] / "tests" / "fleet"


def _data(recording):
    """What deploy.py asks for, and the settings that it had when the host was recorded."""
    about = _tomllib.loads((recording.parent / "machine.toml").read_text())
    return {"replay_recording": str(recording), **about["settings"]}


recorded = [
    (f"@replay/{_recording.parent.name}{_recording.stem.removeprefix('recording')}", _data(_recording))
    for _recording in sorted(_fleet.glob("*/recording*.json"))
]
