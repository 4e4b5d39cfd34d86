"""Every invariant of the architecture names tests, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| I(\d+) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
NAMED = [name for _, _, proofs in ROWS for name in re.findall(r"`(tests/[^`]+)`", proofs)]


def test_the_invariants_are_numbered() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"I{row[0]}")
def test_an_invariant_names_its_proof(row: tuple[str, str, str]) -> None:
    assert re.search(r"`tests/[^`]+::test_\w+`", row[2])


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert function in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
