"""Steps of container.py up to an image: this machine, Docker, CDI, GPUs in a container, the build."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.device import cdi, image, size
from bench.device.report import Later, Step
from bench.device.run import BENCH, OK, ONE, ROOT, SERVER, Run, uuids
from gpuwright.facts import parse
from gpuwright.facts.read import probe_script


def machine(run: Run, step: Step) -> bool:
    done = subprocess.run(
        ["sh", "-c", probe_script()], capture_output=True, text=True, check=False, timeout=120
    )
    run.facts = parse(done.stdout)
    version, run.cards = cdi.ask()
    for card in run.cards:
        run.report.mask(card.uuid, f"GPU-00000000-0000-0000-0000-{card.index:012}")
    run.report.mask(str(run.build), "BUILD")
    run.report.mask(str(run.store), "STORE")
    run.report.mask(str(ROOT), ".")
    gpu = size.card()
    nvcc = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=False).stdout
    step.data = {
        "gpus": [card.address for card in run.cards],
        "gpu": gpu.name,
        "driver": version,
        "cuda": "".join(re.findall(r"release ([\d.]+)", nvcc)),
        "os": run.facts.os_name,
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "memory_bytes": run.facts.memory_bytes,
    }
    for key, value in step.data.items():
        step.say(f"{key}: {value}")
    known = sorted(each.address for each in run.facts.gpus)
    step.say(f"the probe's GPUs: {', '.join(known)}")
    return bool(run.cards) and known == sorted(card.address for card in run.cards)


def engine(run: Run, step: Step) -> bool:
    info = run.daemon.start()
    keys = ("ServerVersion", "Driver", "CgroupDriver", "CgroupVersion", "CDISpecDirs", "SecurityOptions")
    step.data = {key: info.get(key) for key in keys}
    for key, value in step.data.items():
        step.say(f"{key}: {value}")
    for warning in info.get("Warnings") or ():  # type: ignore[attr-defined]
        step.say(warning)
    return bool(info.get("CDISpecDirs"))


def spec(run: Run, step: Step) -> bool:
    version, cards, document = cdi.write(run.build / "cdi")
    edits: Any = document["containerEdits"]
    nodes = [node["path"] for node in edits["deviceNodes"]]
    names = [mount["hostPath"] for mount in edits["mounts"]]
    step.data = {"driver": version, "nodes": nodes, "mounts": len(names)}
    step.say(f"{version}: {len(cards)} GPUs, nodes {', '.join(nodes)}, {len(names)} mounts")
    for node in (*nodes, *(f"/dev/nvidia{card.minor}" for card in cards)):
        step.say(f"{node}: mode {Path(node).stat().st_mode & 0o777:o}")
    return {"/dev/nvidiactl", "/dev/nvidia-uvm"} <= set(nodes)


def visible(run: Run, step: Step) -> bool:
    """Before there is an image of the engine: of nothing but what nvidia-smi wants."""
    program = Path(shutil.which("nvidia-smi") or "").resolve()
    root = run.build / "root"
    made = image.make(
        run.daemon, root, {"/usr/bin/nvidia-smi": program}, "/usr/bin/nvidia-smi", "gpuwright-smi"
    )
    hardened = (
        *("run", "--rm", "--network", "host", "--user", "1000:1000", "--cap-drop", "ALL", "--read-only"),
        *("--security-opt", "no-new-privileges", "--tmpfs", "/tmp"),
    )
    host = [card.uuid for card in run.cards]
    good = True
    for name, expected in (("all", host), *((card.uuid, [card.uuid]) for card in run.cards)):
        device = f"{cdi.KIND}={name}"
        done = run.daemon.run(*hardened, "--device", device, made, "-L", check=False)
        found = uuids(done.stdout)
        step.say(f"--device {device}: {found or done.stdout + done.stderr}")
        step.data[device] = found
        good = good and found == expected
    none = run.daemon.run(*hardened, "--entrypoint", "/usr/bin/nvidia-smi", made, "-L", check=False)
    step.say(f"without --device: exit code {none.returncode}")
    return good and none.returncode != 0


def models(run: Run, step: Step) -> bool:
    run.file(OK).parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests" / "fixtures" / "ok.gguf", run.file(OK))
    run.made(ONE, step)
    return True


def built(run: Run, step: Step) -> bool:
    code = run.build / "built"
    while not code.exists():
        if run.report.left() < 10:
            tail = (run.build / "build.txt").read_text(errors="replace").splitlines()[-1:]
            raise Later(f"the build goes on: {' '.join(tail)}")
        time.sleep(1)
    log = (run.build / "build.txt").read_text(errors="replace").splitlines()
    if code.read_text().strip() != "0":
        for line in log[-30:]:
            step.say(line)
        return False
    took = int((run.build / "ended").read_text()) - int((run.build / "began").read_text())
    done = subprocess.run(
        [run.program("llama-server"), "--version"], capture_output=True, text=True, check=False
    )
    step.data = {
        "build_s": took,
        "nccl": any("Found NCCL" in line for line in log),
        "architectures": [line.strip("- ") for line in log if "CUDA" in line and "architectures" in line],
        "version": (done.stdout + done.stderr).strip().splitlines(),
    }
    for key, value in step.data.items():
        step.say(f"{key}: {value}")
    return done.returncode == 0


def imported(run: Run, step: Step) -> bool:
    tag = "gpuwright-llama"
    known = run.daemon.run("image", "inspect", "--format", "{{.Id}}", tag, check=False)
    began = time.monotonic()
    if known.returncode == 0:
        run.image = known.stdout.strip()
    else:
        programs = {SERVER: run.program("llama-server"), BENCH: run.program("llama-bench")}
        run.image = image.make(run.daemon, run.build / "root", programs, SERVER, tag)
    step.say(f"{run.image}, {time.monotonic() - began:.0f} s")
    names = sorted(image.libraries(run.program("llama-server")))
    step.data = {
        "libraries": names,
        "sha256": {
            name: hashlib.sha256(run.program(name).read_bytes()).hexdigest()
            for name in ("llama-server", "llama-bench")
        },
    }
    step.say(f"libraries: {', '.join(names)}")
    device = f"{cdi.KIND}={run.cards[0].uuid}"
    inside = run.daemon.run(
        "run", "--rm", "--network", "none", "--device", device, run.image, "--version", check=False
    )
    for line in (inside.stdout + inside.stderr).splitlines()[-5:]:
        step.say(line)
    return inside.returncode == 0
