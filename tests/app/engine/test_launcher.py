"""The embedded server against everything that happens to servers: sharing, signals, kills, leftovers."""

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path

import asyncpg
import pytest

from app.engine import launcher
from app.engine.binaries import Binaries, find_binaries
from app.engine.launcher import Engine, EngineError, data_home, embedded
from app.engine.locks import FileLock
from app.engine.processes import OPENED, pid_file, postmaster, serving

PATIENCE = 20.0
"""Seconds after which an awaited condition counts as failed."""


async def _value(dsn: str, statement: str):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def _postmaster(dsn: str) -> int:
    """Return the pid in the first line of the pid file, as the server at `dsn` reads it."""
    return int((await _value(dsn, "SELECT pg_read_file('postmaster.pid')")).split()[0])


async def _until(condition) -> None:
    """Wait for a state of the operating system, which tells nobody when it changes."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def _directory(home: Path) -> Path:
    return home / f"pg{find_binaries().major}"


def _processes(home: Path) -> list[int]:
    directory = _directory(home)
    return serving(directory, directory.stat().st_uid) if directory.exists() else []


def _sides(home: Path) -> list[Path]:
    """Return the side directories in which initdb works, or worked."""
    return list(home.glob("pg*.initdb-*"))


def _run_lock_is_free(home: Path) -> bool:
    lock = FileLock(home / "run.lock")
    try:
        return lock.try_exclusive()
    finally:
        lock.close()


def _is_stopped(home: Path) -> bool:
    return _run_lock_is_free(home) and not _processes(home) and not (_directory(home) / "postmaster.pid").exists()


async def test_data_survive_a_restart(home: Path):
    async with embedded(home) as engine:
        assert engine.data_directory == home / f"pg{engine.version}"
        assert await _value(engine.dsn, "SELECT current_database() || ' ' || current_user") == "taximeter postgres"
        await _value(engine.dsn, "CREATE TABLE fare AS SELECT 42 AS cents")
        assert not _run_lock_is_free(home)
    assert _is_stopped(home)
    async with embedded(home) as engine:
        assert await _value(engine.dsn, "SELECT cents FROM fare") == 42
    assert _is_stopped(home)


async def test_the_settings_that_money_depends_on(open_home: Path):
    async with embedded(open_home) as engine:
        connection = await asyncpg.connect(engine.dsn)
        shown = {row["name"]: row["setting"] for row in await connection.fetch("SHOW ALL")}
        locale = await connection.fetchrow(
            "SELECT to_jsonb(d) ->> 'datlocprovider' AS provider, datcollate,"
            " coalesce(to_jsonb(d) ->> 'datlocale', 'none') AS locale"
            " FROM pg_database d WHERE datname = current_database()"
        )
        await connection.close()
        mode = engine.data_directory.stat().st_mode & 0o777
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert shown[name] == "on", name
    assert shown["listen_addresses"] == ""
    assert shown["server_encoding"] == "UTF8"
    assert shown["max_connections"] == "200"
    assert shown["jit"] == "off"
    assert shown["max_wal_size"] == "4GB"
    assert shown["checkpoint_timeout"] == "15min"
    assert mode == 0o700
    assert locale is not None
    assert (locale["provider"], locale["locale"]) == (("b", "C.UTF-8") if engine.version >= 17 else ("c", "none"))


async def test_root_serves_a_closed_directory_without_opening_it(home: Path):
    async with embedded(home) as engine:
        named = await _value(engine.dsn, "SHOW data_directory")
        assert home.parent.stat().st_mode & 0o777 == 0o700
    assert named.startswith(OPENED if os.geteuid() == 0 else str(engine.data_directory))


async def test_the_server_has_its_own_session(home: Path):
    async with embedded(home) as engine:
        pid = await _postmaster(engine.dsn)
        # Ctrl-C at a terminal goes to the session of the application only.
        assert os.getsid(pid) == pid != os.getsid(0)


async def test_only_the_last_user_stops_the_server(home: Path, enter):
    async with embedded(home) as engine:
        user = await enter(home)
        pid = await _postmaster(engine.dsn)
        assert await _postmaster(user.dsn) == pid
        async with embedded(home) as second:
            assert await _postmaster(second.dsn) == pid
        assert await user.leave() == 0
        assert await _postmaster(engine.dsn) == pid
    assert _is_stopped(home)


async def test_the_server_outlives_the_process_that_started_it(home: Path, enter):
    starter = await enter(home)
    pid = await _postmaster(starter.dsn)
    async with embedded(home) as engine:
        assert await starter.leave() == 0
        assert await _postmaster(engine.dsn) == pid
    assert _is_stopped(home)


async def test_four_processes_start_at_once_on_nothing(home: Path, enter):
    users = await asyncio.gather(*(enter(home) for _ in range(4)))
    assert len({await _postmaster(user.dsn) for user in users}) == 1
    assert await asyncio.gather(*(user.leave() for user in users)) == [0] * 4
    assert _is_stopped(home)


async def test_sigterm_leaves_no_server_behind(home: Path, enter):
    user = await enter(home)
    user.process.terminate()
    assert await user.process.wait() == 0
    assert _is_stopped(home)


async def test_after_a_killed_user_the_next_one_attaches_and_stops(home: Path, enter):
    user = await enter(home)
    pid = await _postmaster(user.dsn)
    await user.kill()
    assert _processes(home)
    async with embedded(home) as engine:
        assert await _postmaster(engine.dsn) == pid
    assert _is_stopped(home)


async def test_after_a_killed_user_and_server_the_data_are_there(home: Path, enter):
    user = await enter(home)
    await _value(user.dsn, "CREATE TABLE fare AS SELECT 42 AS cents")
    pid = await _postmaster(user.dsn)
    os.kill(pid, signal.SIGKILL)
    await user.kill()
    async with embedded(home) as engine:
        assert await _postmaster(engine.dsn) != pid
        assert await _value(engine.dsn, "SELECT cents FROM fare") == 42
    assert _is_stopped(home)


async def test_a_busy_process_of_a_killed_server_is_told_to_quit(home: Path, monkeypatch):
    monkeypatch.setattr("app.engine.server.ORPHAN_SECONDS", 0.2)
    async with embedded(home) as engine:
        connection = await asyncpg.connect(engine.dsn)
        # It never waits for anything, so it does not notice that its postmaster is gone.
        query = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 1e15) AS s(n)"))
        backend = connection.get_server_pid()
        await _until(lambda: _state(backend) == "R")
        os.kill(await _postmaster(engine.dsn), signal.SIGKILL)
        async with embedded(home) as again:
            assert backend not in _processes(home)
            assert await _value(again.dsn, "SELECT 1") == 1
        with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
            await query
    assert _is_stopped(home)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_stale_pid_file_that_names_a_living_process(home: Path):
    async with embedded(home) as engine:
        lines = (engine.data_directory / "postmaster.pid").read_text().splitlines()
    (engine.data_directory / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    async with embedded(home) as engine:
        assert await _postmaster(engine.dsn) != os.getppid()
        assert await _value(engine.dsn, "SELECT 1") == 1
    assert _is_stopped(home)


async def test_a_killed_initdb_never_looks_finished(home: Path, spawn_user):
    process = await spawn_user(home)
    await _until(lambda: any((side / "base").exists() for side in _sides(home)))
    process.kill()
    await process.wait()
    assert not _directory(home).exists()
    async with embedded(home) as engine:
        assert await _value(engine.dsn, "SELECT 1") == 1
    assert not _sides(home)


@pytest.mark.parametrize("moment", ["before initdb", "during initdb", "starting"])
async def test_a_cancelled_start_leaves_nothing_behind(home: Path, moment: str):
    async def enter_and_stay() -> None:
        async with embedded(home):
            await asyncio.Event().wait()

    def reached() -> bool:
        if moment == "before initdb":
            return (home / "start.lock").exists()
        if moment == "during initdb":
            return any((side / "base").exists() for side in _sides(home))
        return bool(_processes(home))

    task = asyncio.create_task(enter_and_stay())
    await _until(reached)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _processes(home)
    assert not _sides(home)
    assert _run_lock_is_free(home)


async def test_a_second_cancellation_does_not_interrupt_the_stop(home: Path, monkeypatch):
    stopping, go_on = asyncio.Event(), asyncio.Event()
    stop = launcher.stop

    async def slow_stop(cluster) -> None:
        stopping.set()
        await go_on.wait()
        await stop(cluster)

    inside = asyncio.Event()

    async def enter_and_stay() -> None:
        async with embedded(home):
            inside.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(launcher, "stop", slow_stop)
    task = asyncio.create_task(enter_and_stay())
    await inside.wait()
    task.cancel()
    await stopping.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _is_stopped(home)


@pytest.mark.parametrize("name", ["d" * 100, "with space, and comma"])
async def test_a_path_that_cannot_carry_a_socket(open_home: Path, enter, name: str):
    home = open_home.parent / name / "home"
    async with embedded(home) as engine:
        short = engine.socket_directory
        assert short.is_dir()
        assert home not in short.parents
        user = await enter(home)
        assert user.dsn == engine.dsn
        assert await _value(user.dsn, "SELECT 1") == 1
        assert await user.leave() == 0
    assert not short.exists()


async def test_another_major_is_refused(home: Path):
    (home / "pg14").mkdir(parents=True)
    with pytest.raises(EngineError, match=r"pg14 holds data of PostgreSQL 14, but .* are PostgreSQL"):
        async with embedded(home):
            pass
    assert not _directory(home).exists()


async def test_a_server_that_cannot_start_says_why(home: Path):
    async with embedded(home) as engine:
        control = engine.data_directory / "global" / "pg_control"
    control.write_bytes(b"")
    with pytest.raises(EngineError, match="pg_control"):
        async with embedded(home):
            pass
    assert _run_lock_is_free(home)


async def test_a_server_whose_lock_was_deleted_is_left_alone(home: Path, enter):
    user = await enter(home)
    pid = await _postmaster(user.dsn)
    for name in ("run.lock", "users.lock", "start.lock"):
        (home / name).unlink()
    with pytest.raises(EngineError, match=r"The process \d+ serves"):
        async with embedded(home):
            pass
    assert await _postmaster(user.dsn) == pid


async def test_an_ordinary_user(open_home: Path, enter):
    user = await enter(open_home, "--ordinary")
    assert user.uid != 0
    assert _directory(open_home).stat().st_uid == user.uid
    assert await _value(user.dsn, "SHOW data_directory") == str(_directory(open_home))
    # Root may join the server of a user, and becomes the one to stop it.
    async with embedded(open_home) as engine:
        assert await user.leave() == 0
        assert await _value(engine.dsn, "SELECT 1") == 1
    assert _is_stopped(open_home)


async def test_programs_in_a_closed_virtual_environment(home: Path, open_home: Path, monkeypatch):
    found = find_binaries()
    package = found.directory.parent.parent
    closed = open_home.parent / "closed" / "site-packages"
    closed.parent.mkdir(mode=0o700)
    shutil.copytree(package, closed / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    hidden = Binaries(closed / package.name / "pginstall" / "bin", found.major, "0.0.1")
    monkeypatch.setattr(launcher, "find_binaries", lambda _wanted: hidden)
    async with embedded(home) as engine:
        pid = await _postmaster(engine.dsn)
        program = await asyncio.to_thread(Path(f"/proc/{pid}/cmdline").read_text)
    assert closed.parent.stat().st_mode & 0o777 == 0o700
    expected = home / "programs-0.0.1" if os.geteuid() == 0 else closed
    assert program.startswith(f"{expected}/")


def test_dsn_for_another_database_and_user():
    engine = Engine("postgresql://unused", Path("/data/pg18"), 18, Path("/data/pg18"), Path("/programs"))
    assert engine.dsn_for("a b", "r/o") == "postgresql://r%2Fo@/a%20b?host=/data/pg18&port=5432"


def test_data_home_by_convention(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert data_home() == Path("/var/lib/taximeter")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert data_home() == Path("/elsewhere/taximeter")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert data_home() == Path("/home/someone/.local/share/taximeter")


async def test_a_home_that_is_a_file():
    with pytest.raises(EngineError, match="cannot be used"):
        async with embedded(Path(__file__)):
            pass


async def test_the_pid_file_is_not_believed(home: Path):
    async with embedded(home) as engine:
        directory = engine.data_directory
        uid = directory.stat().st_uid
        recorded = pid_file(directory)
        assert recorded is not None
        assert postmaster(directory, uid) == recorded.pid
        with contextlib.ExitStack() as stack:
            content = (directory / "postmaster.pid").read_text()
            stack.callback((directory / "postmaster.pid").write_text, content)
            (directory / "postmaster.pid").write_text(content.replace(str(recorded.pid), str(os.getpid()), 1))
            assert postmaster(directory, uid) is None
            assert recorded.pid in serving(directory, uid)
