"""One business and its archive, which the tests of a session share and never change."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.audit.archive.manifest import Exported
from app.engine.launcher import Engine
from tests.app.audit.archive.history import empty, exported, opened_shop
from tests.app.shop import Shop


@dataclass(frozen=True)
class Kept:
    """A database, who lives in it, and its archive."""

    dsn: str
    shop: Shop
    archive: Exported


@pytest.fixture(scope="session")
async def kept(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kept]:
    dsn = await empty(engine)
    async with opened_shop(dsn) as shop:
        archive = await exported(dsn, tmp_path_factory.mktemp("kept") / "archive")
        yield Kept(dsn, shop, archive)


@pytest.fixture
def copied(kept: Kept, tmp_path: Path) -> Path:
    """A copy of the archive, to do harm to."""
    return Path(shutil.copytree(kept.archive.directory, tmp_path / "copied"))
