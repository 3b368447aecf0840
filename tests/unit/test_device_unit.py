"""bench/device: what stands in for systemd and for nvidia-ctk on a lent machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.device import cdi, unit

# systemd 257 ran this with a program that prints its arguments; started() must give the same.
UNIT = r"""[Unit]
Description=x %n
[Service]
EnvironmentFile=/a.conf
EnvironmentFile=-/b.env
ExecStart=/args run --rm --name x \
    --label gpuwright.unit=%n --label p=100%% \
    --user ${GPUWRIGHT_UID}:${GPUWRIGHT_GID} \
# a comment in between
    $GPUWRIGHT_GPUS "two words" 'single ${A}' a\tc \
    $EMPTY ${EMPTY} pre$A ${MISSING} $MISSING $$A $${A} "${A} q" "$GPUWRIGHT_GPUS" it\'s "a\"b" \
    end
ExecStartPost=/ready
"""
FILES = {
    "a.conf": 'A=1\nGPUWRIGHT_UID=5\n# c\n; d\n\nQ="quoted value"\nEMPTY=\n',
    "b.env": 'GPUWRIGHT_GID=7\nA=2\nGPUWRIGHT_GPUS=--device x=GPU-1 --device "y z=GPU-2"\n',
}
GPUS = ["--device", "x=GPU-1", "--device", "y z=GPU-2"]


def test_the_words_are_systemds(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    known = unit.load(UNIT, tmp_path)
    assert known["Q"] == "quoted value"
    assert unit.started(UNIT, "my-svc.service", known) == [
        *("/args", "run", "--rm", "--name", "x", "--label", "gpuwright.unit=my-svc.service"),
        *("--label", "p=100%", "--user", "5:7", *GPUS, "two words", "single 2", "a\tc"),
        *("", "pre$A", "", "$A", "${A}", "2 q", *GPUS, "it's", 'a"b', "end"),
    ]
    assert unit.commands(UNIT, "ExecStartPost", "my-svc.service", known) == [["/ready"]]


@pytest.mark.parametrize(
    "line", ["ExecStart=+/x", "ExecStart=/x %i", r"ExecStart=/x a\x20b", "ExecStart=/x 'a", "A=b"]
)
def test_what_is_not_read_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        unit.started(f"[Service]\n{line}\n", "x.service", {})


XML = """<?xml version="1.0" ?><nvidia_smi_log><driver_version>580.159.04</driver_version>
<gpu id="a"><uuid>GPU-a</uuid><minor_number>1</minor_number><pci><pci_bus_id>00000000:00:06.0</pci_bus_id></pci></gpu>
<gpu id="b"><uuid>GPU-b</uuid><minor_number>0</minor_number><pci><pci_bus_id>00000000:00:0A.0</pci_bus_id></pci></gpu>
</nvidia_smi_log>"""


def test_a_spec_names_each_card_by_index_and_uuid() -> None:
    version, cards = cdi.cards(XML)
    assert version == "580.159.04"
    assert [(card.address, card.minor) for card in cards] == [("0000:00:06.0", 1), ("0000:00:0a.0", 0)]
    found = json.loads(json.dumps(cdi.spec(cards, ("/dev/nvidiactl",), (("/h/l.so.1", "/c/l.so.1"),))))
    nodes = {
        device["name"]: [node["path"] for node in device["containerEdits"]["deviceNodes"]]
        for device in found["devices"]
    }
    assert nodes == {
        **{
            "0": ["/dev/nvidia1"],
            "1": ["/dev/nvidia0"],
            "GPU-a": ["/dev/nvidia1"],
            "GPU-b": ["/dev/nvidia0"],
        },
        "all": ["/dev/nvidia1", "/dev/nvidia0"],
    }
    assert found["containerEdits"]["mounts"][0]["containerPath"] == "/c/l.so.1"


def test_only_libraries_of_the_loaded_version_are_mounted(tmp_path: Path) -> None:
    for name in ("libcuda.so.580.159.04", "libcuda.so.580.95.05", "libother.so.1"):
        (tmp_path / name).touch()
    for name in ("libcuda.so.1", "libcuda.so"):
        (tmp_path / name).symlink_to("libcuda.so.580.159.04")
    mounts = cdi.libraries("580.159.04", (tmp_path, tmp_path / "absent"))
    assert [Path(container).name for _, container in mounts] == ["libcuda.so.1", "libcuda.so.580.159.04"]
    assert {host for host, _ in mounts} == {str(tmp_path / "libcuda.so.580.159.04")}
