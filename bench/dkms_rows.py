"""Rows of the build matrix: a package of NVIDIA's modules on a kernel, what was predicted, and what came of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gpuwright.catalog.nvidia_driver import BuildRule, Modules
from gpuwright.catalog.version import numbers
from gpuwright.errors import GpuwrightError
from gpuwright.paths import ROOT
from gpuwright.sandbox.state import write_private

PREDICTIONS = ROOT / "bench" / "dkms" / "predictions.toml"
RESULTS = ROOT / "bench" / "dkms" / "results.json"
HEAD = """\
# Does a package of NVIDIA's modules build on a kernel? What the catalogue's build rules say, written down before the
# build was tried: `python -m bench.dkms predict` writes this file, and never changes a prediction that is there. Where
# a rule was corrected, the row gets a further prediction with the reason. `rules` are those that it fails by: none
# means that it builds.
"""
# The order of building, by kernels: what a host gets today comes first.
SUITES = ("-security", "-backports", "")

Key = tuple[str, str, str, str]


class Record(BaseModel):
    """What stands in a file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Prediction(Record):
    """What the catalogue said `at` a time, and `because` of what it says otherwise than before."""

    at: str
    rules: tuple[str, ...]
    because: str = ""

    @property
    def builds(self) -> bool:
        """Whether the modules build."""
        return not self.rules


class Row(Record):
    """A package on a kernel. `kernel` is what `uname -r` would say, `kernel_version` the upstream version of it."""

    os: str
    package: str
    version: str
    package_suite: str
    modules: Modules
    kernel: str
    kernel_version: str
    headers: str
    headers_version: str
    kernel_suite: str
    prediction: tuple[Prediction, ...] = ()

    @property
    def key(self) -> Key:
        """What tells rows apart."""
        return self.os, self.package, self.version, self.kernel

    @property
    def last(self) -> Prediction:
        """The prediction that holds."""
        return self.prediction[-1]

    def __str__(self) -> str:
        return f"{self.package} {self.version} on {self.kernel}"


class Result(Record):
    """What a build came to: modules and who signed them, or the compiler's first errors."""

    os: str
    package: str
    version: str
    kernel: str
    at: str
    builds: bool
    seconds: float
    errors: tuple[str, ...] = ()
    last_line: str
    modules: tuple[str, ...] = ()
    signer: str = ""
    dkms: str
    compiler: str

    @property
    def key(self) -> Key:
        """The row's."""
        return self.os, self.package, self.version, self.kernel


def predicted(row: Row, rules: Iterable[BuildRule], at: str, because: str = "") -> Prediction:
    """What the catalogue says of a row: as the planner asks it, by the upstream versions of both sides."""
    failing = [
        rule.name
        for rule in rules
        if rule.modules == row.modules and rule.applies(row.kernel_version) and not rule.copes(row.version)
    ]
    return Prediction(at=at, rules=tuple(failing), because=because)


def merged(
    there: Iterable[Row],
    offered: Iterable[Row],
    measured: set[Key],
    rules: Iterable[BuildRule],
    at: str,
    because: str,
) -> list[Row]:
    """The rows that are offered today or measured already, each with what was and is predicted for it.

    Raises GpuwrightError where the catalogue contradicts an earlier prediction and nobody says why.
    """
    rules = tuple(rules)
    offers = {row.key: row for row in offered}
    kept = {row.key: row for row in there if row.key in measured or row.key in offers}
    rows = [_predicted_again(row, rules, at, because) for row in (offers | kept).values()]
    return sorted(rows, key=_telling)


def load_rows(path: Path = PREDICTIONS) -> list[Row]:
    """The rows of the file, the first to build first; none where there is no file."""
    if not path.exists():
        return []
    return [Row.model_validate(each) for each in tomllib.loads(path.read_text(encoding="utf-8"))["row"]]


def save_rows(rows: Iterable[Row], path: Path = PREDICTIONS) -> None:
    """Replace the file."""
    parts = [HEAD]
    for row in rows:
        parts.append("\n[[row]]\n" + _lines(row.model_dump(exclude={"prediction"})))
        parts += ["\n[[row.prediction]]\n" + _lines(each.model_dump()) for each in row.prediction]
    _write(path, "".join(parts))


def load_results(path: Path = RESULTS) -> dict[Key, Result]:
    """Results by row; none where nothing was built yet."""
    if not path.exists():
        return {}
    results = [Result.model_validate(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    return {each.key: each for each in results}


def add_result(result: Result, path: Path = RESULTS) -> None:
    """Write one more result beside those that are there, at once: a killed bench loses the build in hand only."""
    results = load_results(path) | {result.key: result}
    _write(path, json.dumps([each.model_dump() for each in results.values()], indent=1) + "\n")


def _predicted_again(row: Row, rules: tuple[BuildRule, ...], at: str, because: str) -> Row:
    if not row.prediction:
        return row.model_copy(update={"prediction": (predicted(row, rules, at),)})
    now = predicted(row, rules, at, because)
    if now.rules == row.last.rules:
        return row
    if not because:
        raise GpuwrightError.of(
            f"prediction for {row}",
            f"the catalogue says {_spoken(now)}, and the file {_spoken(row.last)}",
            "a reason for a prediction that changes",
            'Say which rule was corrected and by what evidence: predict --because "...".',
        )
    return row.model_copy(update={"prediction": (*row.prediction, now)})


def _spoken(prediction: Prediction) -> str:
    return "that it builds" if prediction.builds else f"that it fails ({'; '.join(prediction.rules)})"


def _telling(row: Row) -> tuple[bool, int, bool, tuple[int, ...], str, str]:
    """What apt takes by itself before backports; newer kernels first, and open modules before others."""
    suite = next(number for number, end in enumerate(SUITES) if row.kernel_suite.endswith(end))
    newest_first = tuple(-number for number in numbers(row.kernel_version))
    backport = row.package_suite.endswith("-backports")
    return backport, suite, row.modules != "open", newest_first, row.os, row.package


def _lines(values: dict[str, object]) -> str:
    """TOML for strings and lists of them, which JSON writes the same way; empty strings are left out."""
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items() if value != ""
    )


def _write(path: Path, text: str) -> None:
    """Replace a file that is committed: atomically, and readable as git makes it."""
    write_private(path, text)
    path.chmod(0o644)
