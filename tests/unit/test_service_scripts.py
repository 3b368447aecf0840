"""gate and ladder as they are written to hosts, against a stand-in nvidia-smi and journal and a made-up /sys.

With real processes and a real llama-server: tests/sandbox/test_services.py; on a real GPU: bench/device/container.sh.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gpuwright.plan.model import ManagedFile
from gpuwright.render import render

NVIDIA, AMD = "0000:41:00.0", "0000:c3:00.0"
UUID = "GPU-11111111-2222-3333-4444-555555555555"
GIB = 1024**3
SMI = """#!/bin/sh
# Stand-in for tests: answers from files.
for word; do case $word in --query-*) asked=${word#--query-} ;; esac; done
cat "$ANSWERS/$asked" || { echo "Unable to determine the device handle for GPU: Unknown Error"; exit 15; }
"""


class Host:
    """A made-up root with one script; `said` is its standard error."""

    def __init__(self, root: Path, script: str) -> None:
        self.root, self.answers, self.said = root, root / "answers", ""
        self.script = root / script
        self.script.write_text(render(ManagedFile("", f"inference/{script}.sh.j2")))
        self.answers.mkdir()
        (root / "bin").mkdir()
        self.program("nvidia-smi", SMI)
        self.program("docker", "#!/bin/sh\nexit 1\n")
        (root / "proc").mkdir()
        (root / "proc" / "meminfo").write_text("MemAvailable: 8388608 kB\n")
        unit = root / "etc" / "systemd" / "system" / "gpuwright-chat.service"
        unit.parent.mkdir(parents=True)
        unit.write_text("")
        (root / "etc" / "gpuwright").mkdir()
        (root / "etc" / "gpuwright" / "chat.conf").write_text("")

    def program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def card(self, address: str, vendor: str, **files: int) -> Path:
        device = self.root / "sys" / "bus" / "pci" / "devices" / address
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        for name, value in files.items():
            (device / name).write_text(f"{value}\n")
        return device

    def nvidia(self, free: str, recovery: str | None = "None", processes: str = "", uuid: str = UUID) -> None:
        self.card(NVIDIA, "0x10de")
        (self.answers / "gpu=uuid,memory.free").write_text(f"{uuid}, {free}\n")
        (self.answers / "compute-apps=pid,used_memory").write_text(processes)
        if recovery is not None:
            (self.answers / "gpu=gpu_recovery_action").write_text(f"{recovery}\n")

    def run(self, **variables: str) -> int:
        environment = {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "ANSWERS": str(self.answers),
            "GPUWRIGHT_ROOT": str(self.root),
            "GPUWRIGHT_NAME": "chat",
            "GPUWRIGHT_RAM_BYTES": str(GIB),
            "GPUWRIGHT_GPUS": f"--device nvidia.com/gpu={UUID}",
            "GPUWRIGHT_GATE_WAIT_S": "0",
            **variables,
        }
        done = subprocess.run(
            ["sh", self.script], env=environment, capture_output=True, text=True, check=False
        )
        self.said = done.stderr
        return done.returncode


@pytest.fixture
def gate(tmp_path: Path) -> Host:
    return Host(tmp_path, "gate")


@pytest.fixture
def ladder(tmp_path: Path) -> Host:
    return Host(tmp_path, "ladder")


NEEDS = {"GPUWRIGHT_GPU_NEEDS": f"{NVIDIA}={20 * GIB}"}


def test_a_free_card_opens_the_gate(gate: Host) -> None:
    gate.nvidia("20480")
    assert gate.run(**NEEDS) == 0, gate.said


def test_a_driver_without_recovery_action_is_as_good(gate: Host) -> None:
    gate.nvidia("20480", recovery=None)
    assert gate.run(**NEEDS) == 0, gate.said


@pytest.mark.parametrize(
    ("free", "recovery", "uuid", "says"),
    [
        ("20479", "None", UUID, "has 20479 MiB free, planned are 20480 MiB; held by"),
        ("24000", "Reset", UUID, "asks for a recovery: Reset"),
        ("24000", "None", UUID.replace("1", "9"), "another card than at the last deploy"),
        ("[Unknown Error]", "None", UUID, "It is not well"),
        ("", "None", UUID, "It is not well"),
    ],
)
def test_a_card_that_is_not_as_planned_shuts_it(
    gate: Host, free: str, recovery: str, uuid: str, says: str
) -> None:
    gate.nvidia(free, recovery, f"{os.getpid()}, 4000\n", uuid)
    assert gate.run(**NEEDS) == 1
    assert says in gate.said, gate.said
    if "held by" in says:
        assert f"(pid {os.getpid()}" in gate.said and "4000 MiB" in gate.said


def test_a_card_that_does_not_answer_or_is_gone_shuts_it(gate: Host) -> None:
    assert gate.run(**NEEDS) == 1 and f"gpu {NVIDIA} is not on the PCI bus" in gate.said
    gate.card(NVIDIA, "0x10de")
    assert gate.run(**NEEDS) == 1 and "does not answer: Unable to determine the device handle" in gate.said


def test_all_cards_are_named_at_once(gate: Host) -> None:
    assert gate.run(GPUWRIGHT_GPU_NEEDS=f"{NVIDIA}=1 {AMD}=1", GPUWRIGHT_RAM_BYTES=str(9 * GIB)) == 1
    assert gate.said.count("is not on the PCI bus") == 2 and "planned are 9216 MiB" in gate.said


def test_an_amd_card_is_read_from_sysfs_with_its_holders(gate: Host) -> None:
    gate.card(AMD, "0x1002", mem_info_vram_total=48 * GIB, mem_info_vram_used=40 * GIB)
    node = gate.root / "sys/class/kfd/kfd/topology/nodes/1"
    node.mkdir(parents=True)
    (node / "properties").write_text(f"domain 0\nlocation_id {0xC3 << 8}\n")
    (node / "gpu_id").write_text("4711\n")
    process = gate.root / "sys/class/kfd/kfd/proc" / str(os.getpid())
    process.mkdir(parents=True)
    (process / "vram_4711").write_text(f"{40 * GIB}\n")
    assert gate.run(GPUWRIGHT_GPU_NEEDS=f"{AMD}={8 * GIB}") == 0, gate.said
    assert gate.run(GPUWRIGHT_GPU_NEEDS=f"{AMD}={9 * GIB}") == 1
    assert f"(pid {os.getpid()}" in gate.said and "40960 MiB" in gate.said, gate.said


def test_an_amd_card_without_its_driver_shuts_it(gate: Host) -> None:
    gate.card(AMD, "0x1002")
    assert gate.run(GPUWRIGHT_GPU_NEEDS=f"{AMD}=1") == 1 and "amdgpu does not hold it" in gate.said


def ended(ladder: Host, log: str, result: str = "exit-code", **variables: str) -> str:
    """What the next start reads after one that ended with `log` in its journal."""
    ladder.program("journalctl", f"#!/bin/sh\ncase $* in --sync) ;; *) echo '{log}' ;; esac\n")
    words = {"GPUWRIGHT_RUNG_1": "-ub 256", "GPUWRIGHT_RUNG_2": "-c 2048 -ub 256"}
    pattern = {"GPUWRIGHT_OUT_OF_MEMORY": "failed to allocate|out of memory"}
    ladder.run(SERVICE_RESULT=result, INVOCATION_ID="0123", **words, **pattern, **variables)
    file = ladder.root / "var/lib/gpuwright/rungs/chat.env"
    return file.read_text() if file.exists() else ""


def test_the_ladder_is_gone_down_a_rung_a_time_and_ends(ladder: Host) -> None:
    assert ended(ladder, "the model is broken") == ""
    assert ended(ladder, "cudaMalloc failed: out of memory", result="success") == ""
    first = ended(ladder, "cudaMalloc failed: out of memory")
    assert first == "GPUWRIGHT_RUNG_NUMBER=1\nGPUWRIGHT_RUNG=-ub 256\n"
    assert "the next start is on rung 1, with -ub 256" in ladder.said
    second = ended(ladder, "Failed to allocate buffer", GPUWRIGHT_RUNG_NUMBER="1")
    assert second == "GPUWRIGHT_RUNG_NUMBER=2\nGPUWRIGHT_RUNG=-c 2048 -ub 256\n"
    assert ended(ladder, "out of memory", GPUWRIGHT_RUNG_NUMBER="2") == second
    assert "nothing more is declared to be given up" in ladder.said


def test_a_newer_declaration_begins_at_the_top(gate: Host) -> None:
    rung = gate.root / "var/lib/gpuwright/rungs/chat.env"
    rung.parent.mkdir(parents=True)
    rung.write_text("GPUWRIGHT_RUNG_NUMBER=1\n")
    unit = gate.root / "etc/systemd/system/gpuwright-chat.service"
    os.utime(unit, (1, 1))
    os.utime(gate.root / "etc/gpuwright/chat.conf", (1, 1))
    assert gate.run() == 0 and rung.exists()
    unit.touch()
    os.utime(rung, (1, 1))
    assert gate.run() == 0 and not rung.exists()
