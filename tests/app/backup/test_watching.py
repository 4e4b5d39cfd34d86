"""The service says once that its WAL archive fails, and once that it works again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.backup import watching
from app.backup.watching import watch_archive
from app.database import Owner


async def test_each_change_is_said_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, said = asyncio.Event(), list[str]()
    answers = iter([None, "it fails", "it fails", OSError("lost"), "it fails", None, None])

    async def trouble(_: Owner) -> str | None:
        answer = next(answers, None)
        if isinstance(answer, OSError):
            raise answer
        if answer is None and said and said[-1] != "it fails":
            stop.set()
        return answer

    monkeypatch.setattr(watching, "archive_trouble", trouble)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.001)
    telling: Callable[[str], None] = said.append
    async with asyncio.timeout(30):
        await watch_archive(lambda: dsn, stop, telling)
    assert said == ["it fails", "the WAL archive takes files again"]
