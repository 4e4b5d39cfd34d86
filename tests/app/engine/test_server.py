"""The server process itself: its log, and how hard it is stopped."""

import os
import signal
import time
from pathlib import Path

import pytest

from app.engine import server
from app.engine.launcher import EngineError, embedded
from app.engine.processes import pid_file, serving


async def test_a_large_log_is_put_aside_at_the_next_start(home: Path, monkeypatch: pytest.MonkeyPatch):
    async with embedded(home) as engine:
        log = engine.data_directory / "server.log"
    before = log.read_text()
    assert "database system is shut down" in before
    async with embedded(home):
        pass
    assert log.read_text().startswith(before)
    monkeypatch.setattr(server, "LOG_LIMIT", 10)
    before = log.read_text()
    async with embedded(home):
        pass
    assert log.with_name("server.log.1").read_text() == before
    assert before not in log.read_text()


async def test_the_log_is_never_written_through_a_link(home: Path):
    async with embedded(home) as engine:
        log = engine.data_directory / "server.log"
    log.unlink()
    log.symlink_to(home / "precious")
    with pytest.raises(EngineError, match=r"server\.log"):
        async with embedded(home):
            pass
    assert not (home / "precious").exists()


async def test_a_server_that_does_not_listen_is_killed(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "FAST_SECONDS", 0.1)
    monkeypatch.setattr(server, "IMMEDIATE_SECONDS", 2.0)
    async with embedded(home) as engine:
        recorded = pid_file(engine.data_directory)
        assert recorded is not None
        # A stopped process takes no signal but this one's opposite and SIGKILL.
        os.kill(recorded.pid, signal.SIGSTOP)
    assert serving(engine.data_directory, engine.data_directory.stat().st_uid) == []
    async with embedded(home):
        pass


def test_patience_with_a_server_that_is_not_ready(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patience = server._Patience()
    now = server.ORPHAN_SECONDS + 1
    assert patience.suspects_orphans()
    assert not patience.suspects_orphans()
    now = server.SILENCE_SECONDS - 1
    assert not patience.is_over(server._Answer.SILENT)
    assert not patience.is_over(server._Answer.BUSY)
    assert not patience.suspects_orphans()
    now += server.SILENCE_SECONDS + 1
    assert patience.is_over(server._Answer.SILENT)
    assert not patience.is_over(server._Answer.BUSY)
    now = server.RECOVERY_SECONDS + 1
    assert patience.is_over(server._Answer.BUSY)
