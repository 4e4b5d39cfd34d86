"""Every named statement is prepared against the real schema, so that a typo fails here and not in a request."""

from __future__ import annotations

import ast
import string
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from app.database import Owner, connect_owner
from projections.shape import LIVE
from projections.statements import parse

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for layer in ("app", "projections")
    for path in (ROOT / layer / "sql").glob("*.sql")
    if "-- name: " in path.read_text(encoding="utf-8")
)
STATEMENTS = {
    f"{path.relative_to(ROOT)} {name}": (name, text)
    for path in FILES
    for name, text in parse(path.read_text(encoding="utf-8"), path.name).items()
}
FILLED_IN = {
    "schema": LIVE,
    "name": LIVE,
    "digest": "00",
    "a": LIVE,
    "b": LIVE,
    "table": "invoice",
    "key": "tenant_id, invoice_id",
    "which": "true",
}
"""What stands for the names in braces, which the program fills in itself."""


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Owner]:
    connection = await connect_owner(dsn)
    yield connection
    await connection.close()


def filled(text: str) -> str:
    """The statement with names of ours in its braces; other braces (array literals) are left alone."""
    fields = {field for _, field, _, _ in string.Formatter().parse(text) if field} if "{" in text else set()
    return text.format(**FILLED_IN) if fields and fields <= FILLED_IN.keys() else text


def constants() -> set[str]:
    """Every string that stands in the code or in its tests."""
    modules = [path for layer in ("app", "projections", "tests") for path in (ROOT / layer).rglob("*.py")]
    return {
        node.value
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_there_are_statements() -> None:
    assert len(FILES) >= 8


@pytest.mark.parametrize("title", STATEMENTS)
async def test_a_statement_fits_the_schema(owner: Owner, title: str) -> None:
    _, text = STATEMENTS[title]
    assert isinstance(owner, asyncpg.Connection)
    for part in filled(text).split(";\n"):
        await owner.prepare(part)


async def test_a_typo_does_not_fit(owner: Owner) -> None:
    assert isinstance(owner, asyncpg.Connection)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await owner.prepare("select total_amout from invoice")


def test_every_statement_is_used() -> None:
    unused = {name for name, _ in STATEMENTS.values()} - constants()
    assert not unused, f"no module names {unused}"
