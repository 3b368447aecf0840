"""Rules of the house that a reader relies on, asserted on the source."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "gpuwright").rglob("*.py"))
ROLES = sorted((ROOT / "roles").glob("*/__init__.py"))


def imports(path: Path) -> set[str]:
    """Names of all modules that a file imports, at any depth in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "gpuwright" / "plan").rglob("*.py")), ids=str)
def test_plan_is_pure(path: Path) -> None:
    foreign = {
        name
        for name in imports(path)
        if name.split(".")[0]
        in {"pyinfra", "ansible", "docker", "subprocess", "os", "socket", "time", "random"}
        or name.startswith(("gpuwright.operations", "gpuwright.sandbox", "roles"))
    }
    assert not foreign


@pytest.mark.parametrize("path", CORE + ROLES, ids=str)
def test_nobody_imports_what_patches_the_process(path: Path) -> None:
    assert not {name for name in imports(path) if name.startswith("pyinfra_cli")}


@pytest.mark.parametrize("path", ROLES, ids=str)
def test_roles_decide_nothing(path: Path) -> None:
    deciding = (
        ast.If, ast.IfExp, ast.For, ast.While, ast.Match, ast.BoolOp, ast.Lambda, ast.Try,
        ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
    )  # fmt: skip
    assert not [
        type(node).__name__ for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, deciding)
    ]


@pytest.mark.parametrize("path", ROLES, ids=str)
def test_operation_names_are_constants(path: Path) -> None:
    names = [
        keyword.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "name"
    ]
    assert names
    assert all(isinstance(name, ast.Constant) for name in names)


def test_deploy_calls_every_role_once() -> None:
    called = [
        node.func.id
        for node in ast.walk(ast.parse((ROOT / "deploy.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    for role in (path.parent.name for path in ROLES):
        assert called.count(role) == 1


def test_every_catalogue_row_has_a_source() -> None:
    for path in (ROOT / "gpuwright" / "catalog").glob("*.toml"):
        for rows in tomllib.loads(path.read_text()).values():
            assert all(row["source"].strip() for row in rows), path.name


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    listed = tomllib.loads(text)["project"]
    for requirement in [*listed["dependencies"], *listed["optional-dependencies"]["dev"]]:
        (line,) = (line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "#" in line, line
