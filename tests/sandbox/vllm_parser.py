"""vLLM itself as a witness of the arguments and the environment that we render for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import docker

_PARSE = Path(__file__).with_name("vllm_parse.py")
_KNOWN = """
import json, sys
from vllm.envs import environment_variables
print(json.dumps([name for name in json.loads(sys.argv[1]) if name not in environment_variables]))
"""


def vllm_refusals(client: docker.DockerClient, image: str, *argvs: Sequence[str]) -> list[str | None]:
    """What the image's `vllm serve` says against each argv (without these two words); None for one that it accepts.

    One container for all: importing vLLM takes half a minute, reading an argv some milliseconds. Not every value
    is looked at: what needs the model or the GPUs (-tp 0, a quantisation) vLLM checks when it starts.
    """
    refusals: list[str | None] = _inside(client, image, _PARSE.read_text(), [list(argv) for argv in argvs])
    return refusals


def vllm_unknown_variables(client: docker.DockerClient, image: str, names: Iterable[str]) -> list[str]:
    """Those names with the prefix VLLM_ that the image's vLLM does not read: it only warns of them."""
    unknown: list[str] = _inside(client, image, _KNOWN, [name for name in names if name.startswith("VLLM_")])
    return unknown


def _inside(client: docker.DockerClient, image: str, script: str, argument: object) -> list:
    said = client.containers.run(
        image,
        ["-c", script, json.dumps(argument)],
        entrypoint="python",
        environment={"HOME": "/tmp"},
        remove=True,
        network_mode="none",
        user="12345:12345",
        read_only=True,
        tmpfs={"/tmp": ""},
    )
    return json.loads(said.decode().splitlines()[-1])
