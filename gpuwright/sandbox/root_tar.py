"""A root file system as a tar, made by mmdebstrap from this machine's Debian mirrors."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox.mirrors import KEYRING, Source, render_deb822, render_one_line


def make(
    archive: Path,
    suite: str,
    sources: tuple[Source, ...],
    apt_options: tuple[tuple[str, str], ...],
    arguments: list[str],
    log: Path,
) -> None:
    """Run mmdebstrap with `arguments` (variant, packages, hooks) and write the tar to `archive`.

    Without sources mmdebstrap's own default mirror is used. Signatures are checked against Debian's keyring.
    Everything it says goes to `log`; GpuwrightError repeats its errors, which name the mirror or permission.
    """
    if shutil.which("mmdebstrap") is None:
        raise GpuwrightError.of(
            "mmdebstrap", "not installed", "mmdebstrap, to build images", "apt-get install mmdebstrap"
        )
    command = ["mmdebstrap", *arguments]
    command += [f'--aptopt={name} "{value}"' for name, value in apt_options]
    if KEYRING.exists():
        command.append(f"--keyring={KEYRING}")
    if sources:  # hosts get the deb822 file that an installer writes, not mmdebstrap's one-line list
        listed = archive.with_name("debian.sources")
        listed.write_text(render_deb822(sources))
        target = "/etc/apt/sources.list.d/debian.sources"
        command.append('--customize-hook=mkdir -p "$1/etc/apt/sources.list.d"')
        command.append(f"--customize-hook=upload {shlex.quote(str(listed))} {target}")
        command.append('--customize-hook=rm -f "$1/etc/apt/sources.list"')
    command += [suite, str(archive), *map(render_one_line, sources)]
    code, said = _run(command)
    log.write_text(said)
    if code != 0:
        errors = [line for line in said.splitlines() if line.startswith("E:")]
        raise GpuwrightError.of(
            f"building from Debian {suite}",
            "mmdebstrap failed: " + " ".join((errors or said.splitlines())[-3:]),
            f"a reachable mirror that carries {suite}, and the right to make a root file system",
            f"Read {log}; test the mirror with `apt-get update`.",
        )


def _run(command: list[str]) -> tuple[int, str]:
    """Exit status and output. An interrupt ends mmdebstrap by SIGTERM: killed, it would leave its root."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        return process.returncode, said
