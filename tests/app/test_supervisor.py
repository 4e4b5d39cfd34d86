"""``taximeter serve`` as a person meets it: real processes, a real port, Ctrl-C and kill -9."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest

from app import server_watch

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
SAID = "stderr.txt"
"""What a service of the test said on standard error, in a file beside its data."""


@dataclass
class Serving:
    """A running ``taximeter serve`` and the lines that it printed until it was ready."""

    process: asyncio.subprocess.Process
    lines: list[str]

    @property
    def url(self) -> str:
        return next(found[1] for line in self.lines if (found := re.search(r"serves at (\S+)", line)))

    @property
    def key(self) -> str:
        return next(found[1] for line in self.lines if (found := re.search(r'Bearer (\S+)"', line)))

    async def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return await self.process.wait()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app", *arguments]


@asynccontextmanager
async def serving(data: Path, *arguments: str, **environment: str) -> AsyncIterator[Serving]:
    with (data / SAID).open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *command("serve", "--data", str(data), "--port", "0", *arguments),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(START_SECONDS):
            while not lines or "Ctrl-C" not in lines[-1]:
                line = (await process.stdout.readline()).decode()
                assert line, f"it ended early: {lines}"
                lines.append(line)
        yield Serving(process, lines)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await process.wait()
        # The transport of the pipe is closed with the end of the output.
        await process.stdout.read()


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until a web process answers: the socket is open before they are."""
    async with asyncio.timeout(START_SECONDS):
        while (await client.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.05)  # Another process is waited for: there is no event to wait on.


def server_pid(data: Path) -> int | None:
    """The process id of the embedded server, if one lives there."""
    pid_file = next(iter(data.glob("pg*/postmaster.pid")), None)
    return int(pid_file.read_text().splitlines()[0]) if pid_file else None


def child_with(parent: int, argument: bytes) -> int:
    """The child process of ``parent`` that was started with this argument."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next(int(pid) for pid in children if argument in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))


EVENT = {"events": [{"event_id": "hello-1", "customer_id": "ada", "event_name": "api.call"}]}


async def send(running: Serving, key: str) -> dict[str, int]:
    # The socket takes connections before a web process has started, which on a loaded machine takes some seconds.
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=START_SECONDS) as client:
        await ready(client)
        answer = await client.post("/events/ingest", json=EVENT)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def send_until_answered(running: Serving, key: str) -> dict[str, int]:
    """Send again and again until the service answers with success; what a client does that was left without one."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        asyncio.timeout(START_SECONDS),
        httpx.AsyncClient(base_url=running.url, headers=headers, timeout=START_SECONDS) as client,
    ):
        while True:
            try:
                answer = await client.post("/events/ingest", json=EVENT)
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == 200:
                    return answer.json()
            await asyncio.sleep(0.05)


async def test_data_survives_a_restart_and_ctrl_c_stops_the_database_too(empty: Path) -> None:
    async with serving(empty) as first:
        key = first.key
        assert (await send(first, key))["ingested_count"] == 1
        assert await first.interrupt() == 0
    assert server_pid(empty) is None
    async with serving(empty, "--workers", "2") as second:
        assert not any(key in line for line in second.lines), "a key is shown once"
        assert (await send(second, key))["duplicate_count"] == 1
    assert server_pid(empty) is None


async def test_after_kill_9_the_next_start_recovers_and_stops_cleanly(data: Path) -> None:
    async with serving(data, TAXIMETER_API_KEY="a-key-of-my-own") as first:
        assert (await send(first, "a-key-of-my-own"))["ingested_count"] == 1
        first.process.kill()
        await first.process.wait()
        pid = server_pid(data)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    async with serving(data) as second:
        assert (await send(second, "a-key-of-my-own"))["duplicate_count"] == 1
        assert await second.interrupt() == 0
    assert server_pid(data) is None


def take_away(data: Path, name: str) -> Callable[[], object]:
    """Move a file of the server out of its place; calling the answer puts it back."""
    place = next(data.glob(f"pg*/{name}"))
    kept = place.rename(data / "taken_away")
    return lambda: kept.rename(place)


async def kill_database(data: Path) -> None:
    pid = server_pid(data)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_a_database_that_was_killed_is_started_again(data: Path) -> None:
    """Nobody has to look after it: the same service serves again, and has lost nothing."""
    async with serving(data, TAXIMETER_API_KEY="a-key-of-my-own") as first:
        assert (await send(first, "a-key-of-my-own"))["ingested_count"] == 1
        for times in range(2):
            await kill_database(data)
            assert (await send_until_answered(first, "a-key-of-my-own"))["duplicate_count"] == 1
            # Said once it is seen to run; a web process may have found it before.
            async with asyncio.timeout(START_SECONDS):
                while (data / SAID).read_text().count("the embedded PostgreSQL server runs again") <= times:
                    await asyncio.sleep(0.05)
        assert await first.interrupt() == 0
    assert server_pid(data) is None


async def test_a_database_at_another_address_gets_other_children() -> None:
    """Where the path of the data is too long for a socket, each start has a directory of its own for it."""
    long = Path(tempfile.mkdtemp(prefix="taximeter-serve-")) / ("d" * 90)
    long.mkdir(mode=0o711)
    long.parent.chmod(0o711)
    try:
        async with serving(long, TAXIMETER_API_KEY="a-key-of-my-own") as first:
            assert (await send(first, "a-key-of-my-own"))["ingested_count"] == 1
            await kill_database(long)
            assert (await send_until_answered(first, "a-key-of-my-own"))["duplicate_count"] == 1
            assert await first.interrupt() == 0
    finally:
        shutil.rmtree(long.parent)


async def test_a_database_that_cannot_be_started_again_ends_the_service_with_an_error(data: Path) -> None:
    """A restart policy acts on the exit status; answering 503 for ever would tell nobody."""
    async with serving(data, TAXIMETER_API_KEY="a-key-of-my-own") as first:
        assert (await send(first, "a-key-of-my-own"))["ingested_count"] == 1
        put_back = take_away(data, "global/pg_control")
        await kill_database(data)
        async with asyncio.timeout(START_SECONDS):
            assert await first.process.wait() == 1
        assert "the embedded PostgreSQL server is gone" in (data / SAID).read_text()
        assert "Stopping; a start that succeeds" in (data / SAID).read_text()
    assert server_pid(data) is None
    put_back()
    async with serving(data) as second:
        assert (await send(second, "a-key-of-my-own"))["duplicate_count"] == 1


async def test_a_database_that_recovers_by_itself_ends_nothing(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is hung up on, calls again, and goes on until the stop."""
    monkeypatch.setattr(server_watch, "WATCH_SECONDS", 0.01)
    stop = asyncio.Event()
    watching = asyncio.create_task(server_watch.watch(dsn, stop))
    killer = await asyncpg.connect(dsn)
    ended: set[int] = set()
    async with asyncio.timeout(START_SECONDS):
        while len(ended) < 5:
            ended |= {
                row["pid"]
                for row in await killer.fetch(
                    "select pid, pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = 'taximeter watch' and datname = current_database()"
                )
            }
    await killer.close()
    stop.set()
    assert await watching is False


async def test_a_second_service_on_the_same_data_says_so_and_harms_nothing(data: Path) -> None:
    async with serving(data) as first:
        other = await asyncio.create_subprocess_exec(
            *command("serve", "--data", str(data), "--port", "0"), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, message = await other.communicate()
        assert other.returncode == 2
        assert f"already being served from {data}" in message.decode()
        assert (await send(first, first.key))["ingested_count"] == 1


async def test_a_taken_port_and_a_bad_setting_are_one_clear_line(data: Path) -> None:
    async with serving(data) as first:
        port = first.url.rpartition(":")[2]
        for arguments, said in (
            (["serve", "--port", port], f"cannot listen on 127.0.0.1 port {port}"),
            (["serve", "--workers", "none"], "--workers is 'none': must be a whole number from 1 to 64"),
            (
                ["migrate", "--database-url", "mysql://x"],
                "--database-url is not usable: must begin with postgresql://",
            ),
        ):
            process = await asyncio.create_subprocess_exec(
                *command(*arguments), cwd=ROOT, stderr=asyncio.subprocess.PIPE
            )
            _, message = await process.communicate()
            assert process.returncode == 2
            assert message.decode().splitlines()[0].startswith(f"taximeter: {said}")


async def test_a_web_process_that_dies_is_replaced(data: Path) -> None:
    async with serving(data) as running:
        await send(running, running.key)
        web = await asyncio.to_thread(child_with, running.process.pid, b"web")
        os.kill(web, signal.SIGKILL)
        assert (await send_until_answered(running, running.key))["duplicate_count"] == 1


async def test_the_tools_work_beside_a_running_service(data: Path) -> None:
    async with serving(data) as running:
        process = await asyncio.create_subprocess_exec(
            *command("key", "create", "--tenant", "other", "--scope", "ingest", "--data", str(data)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        key = re.search(r"API key: (\S+)", printed.decode())
        assert key is not None
        # Another tenant has ids of its own.
        assert (await send(running, running.key))["ingested_count"] == 1
        assert (await send(running, key[1]))["ingested_count"] == 1
        for arguments in (["rebuild"], ["migrate"], ["close-due"]):
            tool = await asyncio.create_subprocess_exec(
                *command(*arguments, "--data", str(data)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await tool.communicate()
            assert tool.returncode == 0, said
        assert (await send(running, running.key))["duplicate_count"] == 1


async def test_a_database_by_url_is_served_the_same(dsn: str, empty: Path) -> None:
    owner = await asyncpg.connect(dsn)
    await owner.execute("create database served")
    await owner.close()
    url = re.sub(r"/taximeter(?=\?|$)", "/served", dsn)
    assert url != dsn
    async with serving(empty, "--database-url", url) as running:
        assert (await send(running, running.key))["ingested_count"] == 1
    assert server_pid(empty) is None


async def test_a_preset_key_that_opens_nothing_is_said(data: Path) -> None:
    async with serving(data) as first:
        assert any(line == f"Data: {data}\n" for line in first.lines)
        key = first.key
    async with serving(data, TAXIMETER_API_KEY="another-key") as second:
        assert any("TAXIMETER_API_KEY is no key of this database" in line for line in second.lines)
        assert (await send(second, key))["ingested_count"] == 1
    async with serving(data, TAXIMETER_API_KEY=key) as third:
        assert "API key: that of TAXIMETER_API_KEY\n" in third.lines


@pytest.mark.parametrize("command_name", ["rebuild", "close-due", "project"])
async def test_a_mistyped_directory_does_not_become_an_empty_database(empty: Path, command_name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(command_name, "--data", str(empty / "typo")), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, message = await process.communicate()
    assert (process.returncode, os.listdir(empty)) == (2, [])
    assert f"there is no Taximeter data in {empty / 'typo'}" in message.decode()
