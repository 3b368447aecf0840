"""A CDI specification as a file: what it gives to containers, and what of the host it names.

Format: github.com/cncf-tags/container-device-interface, SPEC.md; YAML or JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import yaml

# As the vendors' tools name devices: by index, with the partition after it, by UUID, and all of them at once.
_GIVEN = re.compile(r"all|none|gpu\d+|\d+([:.]\d+)?|mig\d+:\d+|(GPU|MIG)-[0-9A-Za-z/-]+")


@dataclass(frozen=True)
class Node:
    """A device node by its path on the host; a number is None where the specification leaves it to the host."""

    path: str
    major: int | None
    minor: int | None
    gid: int | None


@dataclass(frozen=True)
class Spec:
    """What every container gets is in `nodes`, `mounts` (host paths) and `hooks` (program, then its arguments).

    `devices` are each device's own nodes by its name.
    """

    kind: str
    devices: Mapping[str, tuple[Node, ...]]
    nodes: tuple[Node, ...]
    mounts: tuple[str, ...]
    hooks: tuple[tuple[str, ...], ...]

    @property
    def all_nodes(self) -> tuple[Node, ...]:
        """Every device node, once."""
        own = (node for nodes in self.devices.values() for node in nodes)
        return tuple(dict.fromkeys((*self.nodes, *own)))

    @property
    def paths(self) -> tuple[str, ...]:
        """Everything on the host that it names; an engine refuses a container where one of them is missing."""
        nodes = (node.path for node in self.all_nodes)
        return tuple(dict.fromkeys((*nodes, *self.mounts, *(hook[0] for hook in self.hooks if hook[0]))))

    def versions(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """The driver's versions that mounts and hooks name, by regexes whose first group is one; sorted."""
        texts = (*self.mounts, *(word for hook in self.hooks for word in hook))
        found = (re.search(pattern, text) for pattern in patterns for text in texts)
        return tuple(sorted({match[1] for match in found if match}))


def parse(text: str) -> Spec:
    """The specification in a file's text. Raises ValueError, with the reason, for what is none or was cut off."""
    if not text.strip():
        raise ValueError("it is empty")
    if not text.endswith("\n"):
        raise ValueError("its last line was cut off")
    try:
        data = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is not YAML or JSON ({_first_line(error)})") from error
    top = _mapping(data, "it")
    if not isinstance(top.get("cdiVersion"), str) or not isinstance(top.get("kind"), str):
        raise ValueError("it has no cdiVersion and kind")
    devices: dict[str, tuple[Node, ...]] = {}
    for row in _list(top, "devices"):
        device = _mapping(row, "a device")
        devices[str(device.get("name"))] = tuple(_nodes(_edits(device)))
    if not devices:
        raise ValueError("it has no devices")
    common = _edits(top)
    everything = [common, *(_edits(_mapping(row, "a device")) for row in _list(top, "devices"))]
    named = [
        _mapping(row, "a mount").get("hostPath") for edits in everything for row in _list(edits, "mounts")
    ]
    mounts = [path for path in named if isinstance(path, str)]
    hooks = [_hook(_mapping(h, "a hook")) for edits in everything for h in _list(edits, "hooks")]
    return Spec(
        str(top["kind"]),
        devices,
        tuple(_nodes(common)),
        tuple(dict.fromkeys(mounts)),
        tuple(dict.fromkeys(hooks)),
    )


def generated(text: str, spec: Spec, marks: Iterable[str]) -> bool:
    """Whether a vendor's tool made it: its words are in it, and devices have the names that the tool gives."""
    words = tuple(marks)
    return (
        "all" in spec.devices
        and all(_GIVEN.fullmatch(name) for name in spec.devices)
        and (not words or any(word in text for word in words))
    )


def _nodes(edits: Mapping[str, object]) -> Iterator[Node]:
    for row in _list(edits, "deviceNodes"):
        node = _mapping(row, "a device node")
        path = node.get("hostPath") or node.get("path")
        yield Node(str(path), _number(node, "major"), _number(node, "minor"), _number(node, "gid"))


def _hook(hook: Mapping[str, object]) -> tuple[str, ...]:
    return (str(hook.get("path") or ""), *(str(word) for word in _list(hook, "args")))


def _edits(of: Mapping[str, object]) -> Mapping[str, object]:
    found = of.get("containerEdits")
    return {} if found is None else _mapping(found, "containerEdits")


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no mapping")
    return value


def _list(of: Mapping[str, object], key: str) -> list[object]:
    found = of.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise ValueError(f"{key} is no list")
    return found


def _number(of: Mapping[str, object], key: str) -> int | None:
    found = of.get(key)
    return found if type(found) is int else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
