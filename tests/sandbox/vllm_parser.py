"""vLLM's own parser as a witness of the arguments that we render."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import docker

_SCRIPT = Path(__file__).with_name("vllm_parse.py")


def vllm_refusals(client: docker.DockerClient, image: str, *argvs: Sequence[str]) -> list[str | None]:
    """What the image's `vllm serve` says against each argv (without `vllm serve`); None for one that it accepts.

    One container for all: importing vLLM takes half a minute, reading an argv some milliseconds.
    """
    said = client.containers.run(
        image,
        ["-c", _SCRIPT.read_text(), json.dumps([list(argv) for argv in argvs])],
        entrypoint="python",
        environment={"HOME": "/tmp"},
        remove=True,
        network_mode="none",
        user="12345:12345",
        read_only=True,
        tmpfs={"/tmp": ""},
    )
    refusals: list[str | None] = json.loads(said.decode().splitlines()[-1])
    return refusals
