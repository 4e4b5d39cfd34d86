"""The shape of the read models: its number, and whose they are."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncpg import Connection, Record

from projections import shape
from projections.shape import (
    LIVE,
    NEXT,
    NUMBER,
    Standing,
    create_schema,
    made_read_models,
    put_in_place,
    schema_digest,
    standing,
)

KNOWN: dict[str, str] = json.loads((Path(__file__).parents[1] / "golden" / "shapes.json").read_text())


def test_other_tables_have_another_number() -> None:
    assert KNOWN[str(NUMBER)] == schema_digest(), (
        "projections/sql/tables.sql has changed: raise NUMBER in projections/shape.py and add its digest to "
        "tests/golden/shapes.json, or databases that run are not rebuilt"
    )
    assert max(map(int, KNOWN)) == NUMBER


def test_a_comment_is_no_other_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    digest, text = schema_digest(), shape.schema_text()
    monkeypatch.setattr(shape, "schema_text", lambda: text.replace("\n", "  -- why\n"))
    assert schema_digest() == digest
    monkeypatch.setattr(shape, "schema_text", lambda: re.sub("bigint", "integer", text, count=1))
    assert schema_digest() != digest


@pytest.fixture
async def bare(owner: Connection[Record]) -> AsyncIterator[Connection[Record]]:
    """A database without read models, inside of a transaction that is rolled back."""
    rolled_back = owner.transaction()
    await rolled_back.start()
    await owner.execute(f"drop schema {LIVE} cascade")
    yield owner
    await rolled_back.rollback()


async def test_whose_they_are(bare: Connection[Record]) -> None:
    assert await standing(bare) is Standing.NONE
    assert await made_read_models(bare) is None
    # Programs before there were numbers had this one.
    await bare.execute("create schema read")
    assert await standing(bare) is Standing.OLDER
    made = await made_read_models(bare)
    assert made is not None
    assert (made.schema, made.number) == ("read", 0)
    await create_schema(bare, LIVE)
    assert await standing(bare) is Standing.FITS
    await bare.execute(f"comment on schema {LIVE} is 'shape 00ff'")
    assert await standing(bare) is Standing.OLDER
    await bare.execute(f"create schema read_{NUMBER + 1}_next")
    assert await standing(bare) is Standing.OLDER, "what is being built is not in use"
    await bare.execute(f"create schema read_{NUMBER + 1}")
    assert await standing(bare) is Standing.NEWER


async def test_the_new_ones_replace_all_others(bare: Connection[Record]) -> None:
    newer = f"read_{NUMBER + 1}_next"
    for name in ("read", "read_next", f"read_{NUMBER + 1}", newer, "reader"):
        await bare.execute(f"create schema {name}")
    await create_schema(bare, NEXT)
    await put_in_place(bare, NEXT)
    rows = await bare.fetch("select nspname from pg_namespace where nspname ~ '^read'")
    # A newer program may be at building its own.
    assert {row["nspname"] for row in rows} == {LIVE, newer, "reader"}
    assert await standing(bare) is Standing.FITS
