"""One rehearsed loss, which every test of a restore mends in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.app.backup.drill import Drill, a_directory, rehearse


@pytest.fixture(scope="session")
async def drill() -> AsyncIterator[Drill]:
    with a_directory() as directory:
        yield await rehearse(directory)


@pytest.fixture
def directory() -> Iterator[Path]:
    with a_directory() as made:
        yield made


@pytest.fixture
def drill_directory(drill: Drill) -> Path:
    """Where the backups of the rehearsed loss are."""
    return drill.directory / "backups"
