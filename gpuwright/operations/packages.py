"""apt packages: what is installed now, and the smallest command that installs the rest."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.operations import apt_lock
from gpuwright.operations.shell import script, show
from gpuwright.plan.model import Package


class InstalledPackages(FactBase[dict[str, bool]]):
    """Each asked name that dpkg knows, and whether it is fully installed; "" stands for dpkg itself.

    `{"": True, "curl": True, "docker.io": False}`
    """

    @override
    def command(self, names: tuple[str, ...]) -> StringCommand:
        return script(
            """
            if [ -z "$(dpkg --audit)" ]; then echo 'ii '; else echo 'iF '; fi
            for name; do
                status=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$name" 2>/dev/null) || status=un
                printf '%s %s\\n' "$(printf %s "$status" | tr -d ' ')" "$name"
            done
            """,
            *names,
        )

    @override
    @staticmethod
    def default() -> dict[str, bool]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, bool]:
        return {name: status[1:2] == "i" for status, _, name in (line.partition(" ") for line in output)}


@operation()
def present(packages: tuple[Package, ...], lock_timeout_s: int) -> Generator[PyinfraCommand]:
    """
    Install the packages that are missing, and never remove one to do so.

    + packages: a package counts as there when it, or one of its alternatives, is installed
    + lock_timeout_s: how long another run of apt is waited for
    """
    if not packages:
        return
    names = tuple(name for package in packages for name in (package.name, *package.alternatives))
    installed = host.get_fact(InstalledPackages, names=names)
    if installed.get("", True) and not _missing(packages, installed):
        host.noop("all packages are installed")
        return
    yield apt_lock.free(lock_timeout_s)
    # Read again: what held the lock may have installed them.
    installed = host.get_fact(InstalledPackages, names=names)
    if not installed.get("", True):
        # An interrupted apt leaves packages unpacked; apt refuses to go on before they are configured.
        yield script("DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a")
    missing = _missing(packages, installed)
    if not missing:
        return
    show(f"apt install {' '.join(missing)}")
    yield script('apt-get -o DPkg::Lock::Timeout="$1" -q update', str(lock_timeout_s))
    yield script(
        """
        timeout=$1; shift
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout="$timeout" \\
            -o Dpkg::Options::=--force-confold -q install --yes --no-install-recommends --no-remove "$@"
        """,
        str(lock_timeout_s),
        *missing,
    )


def _missing(packages: tuple[Package, ...], installed: dict[str, bool]) -> list[str]:
    return [
        package.name
        for package in packages
        if not any(installed.get(name, False) for name in (package.name, *package.alternatives))
    ]
