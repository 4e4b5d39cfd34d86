"""The shape of the read models: the tables that this program needs, and the schema that holds them.

The schema's name has the shape's number in it, so a program of another shape that still runs finds no table to write
into: it fails, and never mixes its rows with those of its successor.
"""

from __future__ import annotations

import enum
import re
from hashlib import sha256
from importlib import resources
from typing import cast

import msgspec

from projections.database import Database
from projections.fault_points import FaultPoint, reach
from projections.statements import load

SQL = load("projections.sql", "rebuild.sql")

NUMBER = 1
"""Raised whenever the tables change, or what is written into them: the next start then rebuilds. A program never
rebuilds by itself what one of a higher number has made. ``tests/golden/shapes.json`` has the digest of each number."""

LIVE, NEXT, AUDIT = f"read_{NUMBER}", f"read_{NUMBER}_next", f"read_{NUMBER}_audit"
"""The schema in use, the one being built to take its place, and the one that an audit builds to compare with."""

_COMMENT = re.compile(r"--.*$", re.MULTILINE)
_NAME = re.compile(r"read(?:_(\d+))?(?:_next|_audit)?")


class Standing(enum.Enum):
    """How the read models of a database stand to those that this program needs."""

    NONE = "there are none"
    FITS = "they are the same"
    OLDER = "an older program made them"
    NEWER = "a newer program made them"


class Made(msgspec.Struct, frozen=True):
    """Read models that stand in a database; number 0 is that of programs that had none."""

    schema: str
    number: int
    digest: str | None


def schema_text() -> str:
    """The SQL that creates the read models in the schema of the search path."""
    return resources.files("projections.sql").joinpath("tables.sql").read_text(encoding="utf-8")


def schema_digest() -> str:
    """What tells one shape from another: the text of its SQL, without comments and layout."""
    return sha256(" ".join(_COMMENT.sub("", schema_text()).split()).encode()).hexdigest()


async def made_read_models(database: Database) -> Made | None:
    """The read models in use, whoever made them; ``None`` when there are none."""
    rows = await database.fetch(SQL["live_schemas"])
    made = [Made(row["name"], int(_number(row["name"])), row["digest"]) for row in rows]
    return max(made, key=lambda one: one.number, default=None)


async def standing(database: Database) -> Standing:
    """How the read models in use stand to this program's."""
    made = await made_read_models(database)
    if made is None:
        return Standing.NONE
    if made.number > NUMBER:
        return Standing.NEWER
    return Standing.FITS if (made.number, made.digest) == (NUMBER, schema_digest()) else Standing.OLDER


async def being_built(database: Database, name: str) -> bool:
    """Whether read models of this program's shape were begun in schema ``name``, beside those in use."""
    return cast("str | None", await database.fetchval(SQL["digest_of_schema"], name)) == schema_digest()


async def create_schema(database: Database, name: str) -> None:
    """Make the read models, empty, in schema ``name``; one that stands there is dropped."""
    async with database.transaction():
        await database.execute(SQL["drop_schema"].format(schema=name))
        await database.execute(SQL["create_schema"].format(schema=name, digest=schema_digest()))
        await database.execute(f"set local search_path = {name}")
        await database.execute(schema_text())
        await database.execute(SQL["grant_schema"].format(schema=name))


async def drop_schema(database: Database, name: str) -> None:
    """Drop the read models in schema ``name``, if there are any."""
    await database.execute(SQL["drop_schema"].format(schema=name))


async def put_in_place(database: Database, built: str) -> None:
    """Drop the read models in use and those that older programs left unfinished, and use those in schema ``built``."""
    for row in await database.fetch(SQL["live_schemas"]):
        await database.execute(SQL["drop_schema"].format(schema=row["name"]))
    for row in await database.fetch(SQL["unfinished_schemas"]):
        if int(_number(row["name"])) < NUMBER:
            await database.execute(SQL["drop_schema"].format(schema=row["name"]))
    await reach(FaultPoint.rebuild_dropped)
    await database.execute(SQL["rename_schema"].format(schema=built, name=LIVE))


def _number(name: str) -> str:
    found = _NAME.fullmatch(name)
    assert found is not None
    return found[1] or "0"
