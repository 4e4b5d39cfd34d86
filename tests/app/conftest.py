"""What tests of whole services share."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.commands import prepare
from app.engine.launcher import embedded


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory into which another account may look: root's database runs under one."""
    directory = Path(tempfile.mkdtemp(prefix="taximeter-serve-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
async def unused_service() -> AsyncIterator[Path]:
    """The data of a service that has not been used. To make them takes longer than most tests of services."""
    with open_directory() as directory:
        async with embedded(directory) as running:
            await prepare(running.dsn)
        yield directory


@pytest.fixture
def empty() -> Iterator[Path]:
    """A directory for the data of a service that begins with nothing."""
    with open_directory() as directory:
        yield directory


@pytest.fixture
def data(unused_service: Path, empty: Path) -> Path:
    """A directory with the data of a service that has not been used."""
    # Unlike shutil, it keeps whose the files are.
    subprocess.run(["cp", "-a", f"{unused_service}/.", str(empty)], check=True)
    return empty
