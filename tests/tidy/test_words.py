"""One word per concept: the words that docs/glossary.md rejects name nothing in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("app", "domain", "projections", "bench")
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "misc", "common"}
"""Module names that say nothing about what is inside."""

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ROW = re.compile(r"^\| \*\*.+?\*\* \| .+ \| (?P<rejected>.*) \|$", re.MULTILINE)
_SQL_COMMENT_OR_TEXT = re.compile(r"--.*$|'[^']*'", re.MULTILINE)

PYTHON = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
SQL = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.sql"))


def rejected_words() -> set[str]:
    """The words in code font in the last column of the glossary's tables."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return {word for row in _ROW.finditer(text) for word in re.findall(r"`([a-z]+)`", row["rejected"])}


def parts(name: str) -> set[str]:
    """The words that a name is made of: ``UsageEvent`` and ``usage_event`` are usage and event."""
    return {part.lower() for part in _PART.findall(name)}


def defined(tree: ast.AST) -> Iterator[str]:
    """Every name that the module gives to something of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_the_glossary_rejects_words() -> None:
    assert len(rejected_words()) >= 30


@pytest.mark.parametrize("path", [*PYTHON, *SQL], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_named_after_what_is_inside(path: Path) -> None:
    assert path.stem not in EMPTY_NAMES
    assert not parts(path.stem) & rejected_words()


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_uses_a_rejected_word(path: Path) -> None:
    rejected = rejected_words()
    for name in defined(ast.parse(path.read_text(encoding="utf-8"))):
        assert not parts(name) & rejected, f"{path} names something {name}: see docs/glossary.md"


@pytest.mark.parametrize("path", SQL, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_table_or_column_uses_a_rejected_word(path: Path) -> None:
    text = _SQL_COMMENT_OR_TEXT.sub("", path.read_text(encoding="utf-8"))
    assert not parts(text) & rejected_words(), f"see docs/glossary.md: {parts(text) & rejected_words()}"
