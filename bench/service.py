"""A service of the bench's own: an embedded server, and `taximeter serve` on it, for one run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from app.engine.launcher import embedded

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120
BENCH_KEY = "bench-key"


@dataclass(frozen=True)
class Target:
    """A running service, its key, the address of its database, and the id of its first process."""

    url: str
    key: str
    dsn: str
    pid: int

    @property
    def port(self) -> int:
        """Where it listens on this machine."""
        port = urlsplit(self.url).port
        assert port is not None
        return port


def fresh_home() -> Path:
    """A directory that the account of the embedded server may enter, also when that is not ours."""
    home = Path(tempfile.mkdtemp(prefix="taximeter-bench-"))
    home.chmod(0o711)
    return home


@asynccontextmanager
async def own_service(workers: int = 1) -> AsyncIterator[Target]:
    """A ``taximeter serve`` on an embedded server that lives for this run only."""
    home, pids = fresh_home(), list[int]()
    try:
        async with embedded(home / "data") as engine, served(engine.dsn, pids, workers=workers, key=BENCH_KEY) as url:
            yield Target(url, BENCH_KEY, engine.dsn, pids[0])
    finally:
        shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def served(
    dsn: str, pids: list[int] | None = None, *, workers: int = 1, key: str | None = None
) -> AsyncIterator[str]:
    """A ``taximeter serve`` on a database, its address; ``key`` is the first of an empty database. Notes its process
    id in ``pids``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--port", "0", "--workers", str(workers), "--database-url", dsn),
        cwd=ROOT,
        env={**os.environ, **({"TAXIMETER_API_KEY": key} if key else {})},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    if pids is not None:
        pids.append(process.pid)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (found := re.search(r"serves at (\S+)", (await process.stdout.readline()).decode())):
                if process.stdout.at_eof():
                    raise SystemExit("the service did not start")
        yield found[1]
    finally:
        process.terminate()
        await process.communicate()


def headers(key: str) -> dict[str, str]:
    """What each request carries."""
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
