"""No binary float where quantities and money are, in Python or in SQL."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXACT_LAYERS = ("domain", "projections")
PYTHON = sorted(path for layer in EXACT_LAYERS for path in (ROOT / layer).rglob("*.py"))
SQL = sorted(path for layer in ("app", "projections") for path in (ROOT / layer).rglob("*.sql"))

_INEXACT_TYPE = re.compile(r"\b(real|double\s+precision|float[48]?|money)\b", re.IGNORECASE)
_SQL_COMMENT_OR_TEXT = re.compile(r"--.*$|'[^']*'", re.MULTILINE)


def floats(tree: ast.AST) -> Iterator[str]:
    """Every place where a binary float is written, named or converted to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"line {node.lineno}: {node.value!r}"
        elif isinstance(node, ast.Name) and node.id in ("float", "complex"):
            yield f"line {node.lineno}: {node.id}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (f"line {node.lineno}: imports {name}" for name in names if name in ("math", "statistics"))


def inexact_types(text: str) -> list[str]:
    """The types in SQL text that do not hold a decimal exactly."""
    return _INEXACT_TYPE.findall(_SQL_COMMENT_OR_TEXT.sub("", text))


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_is_exact(path: Path) -> None:
    assert not list(floats(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", SQL, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_is_exact(path: Path) -> None:
    assert not inexact_types(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", ["price = 0.1", "float(price)", "def f(x: float): ...", "1e3", "import math"])
def test_a_float_is_found(text: str) -> None:
    assert list(floats(ast.parse(text)))


@pytest.mark.parametrize("text", ["total real not null", "x double precision", "x FLOAT8", "amount money"])
def test_an_inexact_type_is_found(text: str) -> None:
    assert inexact_types(text)
