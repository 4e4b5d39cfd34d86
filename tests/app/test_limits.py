"""Every limit is one that something keeps."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "app"
LIMITS = [
    target.id
    for statement in ast.parse((APP / "limits.py").read_text(encoding="utf-8")).body
    if isinstance(statement, ast.Assign)
    for target in statement.targets
    if isinstance(target, ast.Name)
]


def test_the_limits_are_found() -> None:
    assert "POOL_SIZE" in LIMITS


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_used(name: str) -> None:
    users = [path for path in APP.rglob("*.py") if re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))]
    assert len(users) > 1, "only app/limits.py knows it"
