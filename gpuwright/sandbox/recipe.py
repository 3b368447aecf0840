"""What a base image is made of, as data whose hash names the image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.resources import files

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox.mirrors import Mirrors, Source

RELEASES = {"debian12": "bookworm", "debian13": "trixie"}

# What every installed Debian server has. Not here on purpose: python3, curl and gpg, because a target needs
# only a POSIX shell, and a role that silently used one of them must fail in the sandbox.
PACKAGES = (
    "systemd",
    "systemd-sysv",  # /sbin/reboot and friends
    "dbus",  # systemctl talks to pid 1 for users through it
    "openssh-server",
    "sudo",
    "ca-certificates",  # https mirrors
    "iproute2",
    "kmod",  # comes with every kernel package; hosts have none here
    "procps",
    "apt-utils",  # keeps debconf quiet, as on an installed system
)


@dataclass(frozen=True)
class Recipe:
    """Inputs of one base image. Sources are empty where this machine names no Debian mirror."""

    os: str
    suite: str
    packages: tuple[str, ...]
    sources: tuple[Source, ...]
    apt_options: tuple[tuple[str, str], ...]
    setup: str

    @property
    def digest(self) -> str:
        """Twelve hex digits over every input: another input, another image."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        """The image's name in the control machine's engine."""
        return f"gpuwright-sandbox-{self.os}:{self.digest}"


def recipe(os_name: str, mirrors: Mirrors, apt_options: dict[str, str]) -> Recipe:
    """The recipe for `os_name`; GpuwrightError names the releases there are."""
    if os_name not in RELEASES:
        raise GpuwrightError.of(
            f"sandbox os {os_name}", "unknown", f"one of {', '.join(RELEASES)}", "Give one of these to --os."
        )
    suite = RELEASES[os_name]
    setup = files("gpuwright.sandbox").joinpath("setup.sh").read_text()
    options = tuple(sorted(apt_options.items()))
    return Recipe(os_name, suite, PACKAGES, mirrors.sources(suite), options, setup)
