"""CDI specifications as texts: good, of another kind, cut off, empty, and no specification at all."""

from __future__ import annotations

import json

import pytest
import yaml

from gpuwright.operations.cdi_spec import Node, generated, parse
from tests.unit.cdi_host import AMD, AMD_TEXT, NVIDIA, NVIDIA_TEXT, UUIDS, VERSION

BY_HAND = """\
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
devices:
  - name: first
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
          hostPath: /srv/dev/nvidia0
"""


def test_what_nvidias_tool_writes() -> None:
    spec = parse(NVIDIA_TEXT)
    assert spec.kind == NVIDIA.kind
    assert list(spec.devices) == ["0", "1", *UUIDS, "all"]
    assert [node.path for node in spec.devices[UUIDS[1]]] == ["/dev/nvidia1"]
    assert set(NVIDIA.nodes) <= {node.path for node in spec.nodes}
    assert spec.versions(NVIDIA.versions) == (VERSION,)
    assert spec.paths.count("/dev/nvidia0") == 1
    assert {"/usr/bin/nvidia-cdi-hook", "/run/nvidia-persistenced/socket"} <= set(spec.paths)
    assert generated(NVIDIA_TEXT, spec, NVIDIA.marks)


def test_what_amds_tool_writes() -> None:
    spec = parse(AMD_TEXT)
    assert (spec.kind, list(spec.devices)) == (AMD.kind, ["0", "1", "all"])
    assert Node("/dev/dri/renderD129", 226, 129, 993) in spec.devices["1"]
    assert spec.versions(AMD.versions) == ()
    assert generated(AMD_TEXT, spec, AMD.marks)


def test_yaml_and_json_are_the_same() -> None:
    assert parse(json.dumps(yaml.safe_load(NVIDIA_TEXT)) + "\n") == parse(NVIDIA_TEXT)


def test_a_nodes_place_on_the_host_may_be_another_than_in_the_container() -> None:
    spec = parse(BY_HAND)
    assert spec.paths == ("/srv/dev/nvidia0",)


@pytest.mark.parametrize(
    "text",
    [
        BY_HAND,
        NVIDIA_TEXT.replace("nvidia-cdi-hook", "our-hook").replace("NVIDIA_CTK", "OUR"),
        NVIDIA_TEXT.replace('name: "0"', "name: first"),
        NVIDIA_TEXT.replace("name: all", "name: GPU-0"),
    ],
    ids=["short", "another hook", "another name", "not all"],
)
def test_what_no_tool_would_write_was_written_by_hand(text: str) -> None:
    assert not generated(text, parse(text), NVIDIA.marks)


BAD = {
    "empty": ("", "it is empty"),
    "blank": ("\n \n", "it is empty"),
    "cut in a line": (NVIDIA_TEXT[:700], "its last line was cut off"),
    "cut in JSON": (AMD_TEXT[: AMD_TEXT.index("devices")] + "\n", "it is not YAML or JSON"),
    "cut before the devices": (NVIDIA_TEXT[: NVIDIA_TEXT.index("    - name")], "it has no devices"),
    "cut before the kind": ("---\ncdiVersion: 0.5.0\n", "it has no cdiVersion and kind"),
    "tabs": ("kind:\tnvidia.com/gpu\n\t- a\n", "it is not YAML or JSON"),
    "a list": ("- nvidia.com/gpu\n", "it is no mapping"),
    "another file": ("hello\n", "it is no mapping"),
    "devices that are none": ("cdiVersion: 0.5.0\nkind: a/b\ndevices: all\n", "devices is no list"),
    "a device that is none": ("cdiVersion: 0.5.0\nkind: a/b\ndevices:\n  - all\n", "a device is no mapping"),
    "edits that are none": (BY_HAND.replace("deviceNodes:", "deviceNodes: none #"), "not YAML|is no list"),
    "a bomb": ("[" * 5000 + "\n", "it is not YAML or JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_specification_says_why(name: str) -> None:
    text, reason = BAD[name]
    with pytest.raises(ValueError, match=reason):
        parse(text)
