"""apt packages: what is installed now, and the smallest command that installs the rest."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.operations.shell import script, show
from gpuwright.plan.model import Package

LOCK_TIMEOUT_S = 600


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
def present(packages: tuple[Package, ...]) -> Generator[StringCommand]:
    """
    Install the packages that are missing, and never remove one to do so.

    + packages: a package counts as there when it, or one of its alternatives, is installed
    """
    if not packages:
        return
    names = tuple(name for package in packages for name in (package.name, *package.alternatives))
    installed = host.get_fact(InstalledPackages, names=names)
    if not installed.get("", True):
        # An interrupted apt leaves packages unpacked; apt refuses to go on before they are configured.
        yield script("DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a")
    missing = [
        package.name
        for package in packages
        if not any(installed.get(name, False) for name in (package.name, *package.alternatives))
    ]
    if not missing:
        host.noop("all packages are installed")
        return
    show(f"apt install {' '.join(missing)}")
    yield script(f"apt-get -o DPkg::Lock::Timeout={LOCK_TIMEOUT_S} -q update")
    yield script(
        f"""
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout={LOCK_TIMEOUT_S} \\
            -o Dpkg::Options::=--force-confold -q install --yes --no-install-recommends --no-remove "$@"
        """,
        *missing,
    )
