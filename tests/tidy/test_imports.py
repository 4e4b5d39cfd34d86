"""The one arrow, app -> projections -> domain, and a domain that touches nothing outside of itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "domain": {"domain"},
    "projections": {"projections", "domain"},
    "app": {"app", "projections", "domain"},
}
"""What each layer may import of the project itself."""

OUTSIDE = {
    "domain": ("msgspec", "eventsourcing.domain"),
    "projections": ("msgspec", "eventsourcing", "asyncpg"),
}
"""What each inner layer may import besides the standard library."""

IMPURE_MODULES = {
    "asyncio",
    "concurrent",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
}
"""Modules of the standard library that read a clock, make chance, or reach the machine."""

IMPURE_CALLS = {"now", "utcnow", "today", "open", "input", "print", "eval", "exec"}


def modules(layer: str) -> list[Path]:
    found = sorted((ROOT / layer).rglob("*.py"))
    assert found, f"{layer} has no modules: this test looks in the wrong place"
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """The full name of every module that is imported anywhere in the tree, also inside of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            # `from domain import number` imports the module domain.number.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def impurities(tree: ast.AST) -> Iterator[str]:
    """What a pure module may not hold."""
    for name in imported(tree):
        if name.split(".")[0] in IMPURE_MODULES:
            yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            yield f"line {node.lineno} is asynchronous"
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPURE_CALLS:
                yield f"line {node.lineno} calls {called}()"


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_the_arrow_points_inwards(layer: str) -> None:
    for path in modules(layer):
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            package = name.split(".")[0]
            assert package not in MAY_IMPORT or package in MAY_IMPORT[layer], f"{path} imports {name}"
            assert package not in ("tests", "bench"), f"{path} imports {name}"


@pytest.mark.parametrize("layer", OUTSIDE)
def test_the_inner_layers_depend_on_little(layer: str) -> None:
    for path in modules(layer):
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            package = name.split(".")[0]
            known = package in sys.stdlib_module_names or package in MAY_IMPORT
            allowed = any(name == outside or name.startswith(f"{outside}.") for outside in OUTSIDE[layer])
            assert known or allowed, f"{path} imports {name}"


def test_the_domain_is_pure() -> None:
    for path in modules("domain"):
        found = list(impurities(ast.parse(path.read_text(encoding="utf-8"))))
        assert not found, f"{path}: {found}"


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio",
        "import os.path",
        "from random import random",
        "from time import time",
        "async def decide(): ...",
        "at = datetime.now(UTC)",
        "at = datetime.datetime.utcnow()",
        "def read(): return open('prices')",
    ],
)
def test_an_impurity_is_found(text: str) -> None:
    assert list(impurities(ast.parse(text)))
