"""``taximeter backup`` and ``taximeter restore`` as a person meets them at a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.app.backup.drill import archive_in
from tests.app.test_supervisor import ROOT, command, ready, send, serving


async def ran(*arguments: str | Path) -> tuple[int, str]:
    """A command's status and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *command(*map(str, arguments)), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_service_is_backed_up_lost_and_restored(directory: Path) -> None:
    """The machine of the data dies without a warning; what was archived by then comes back."""
    data, archive, backups = directory / "data", archive_in(directory), directory / "backups"
    data.mkdir(mode=0o711)
    async with serving(data, "--wal-archive", str(archive), TAXIMETER_API_KEY="key") as running:
        status, said = await ran("backup", backups, "--data", data)
        assert status == 0, said
        assert re.search(r"^backup:   .*/backups/base-\d{8}T\d{6}\.\d{3}Z  \([\d.]+ MB in [\d.]+ s\)$", said, re.M)
        assert "holds:    tenant default up to position 2 at least" in said
        assert f"archive:  {archive}" in said
        assert (await send(running, "key"))["ingested_count"] == 1
        assert await running.interrupt() == 0
    data.rename(directory / "lost")
    status, said = await ran("restore", backups, "--data", data)
    assert status == 0, said
    assert "tenant default: up to position 3, digest " in said
    assert f"Start it with:  taximeter serve --data {data}" in said
    async with serving(data) as again:
        assert (await send(again, "key"))["duplicate_count"] == 1
        headers = {"Authorization": "Bearer key"}
        async with httpx.AsyncClient(base_url=again.url, headers=headers, timeout=60) as client:
            await ready(client)
            assert (await client.get("/log/head")).json()["position"] == 3
    status, said = await ran("restore", backups, "--data", data)
    assert (status, "a restore never writes over one" in said) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["backup", "{}/backups", "--data", "{}/typo"],
            "there is no Taximeter data in {}/typo, so there is nothing to",
        ),
        (["restore", "{}/typo"], "There is no directory {}/typo."),
        (["restore", "{}"], "There is no backup in {}: `taximeter backup {}` makes one."),
        (["restore", "{}", "--until", "yesterday"], "--until is 'yesterday': must be an RFC 3339 timestamp"),
        (["restore", "{}", "--until", "2026-03-10T12:00:00"], "must have an offset from UTC"),
        (["restore", "{}", "--position", "t:x"], "--position is 't:x': must be a position such as 1200"),
        (["restore", "{}", "--position", "5", "--until", "x"], "not allowed with argument"),
        (["backup", "{}/backups", "--keep", "0"], "argument --keep: must be a whole number from 1"),
    ],
)
async def test_what_cannot_be_done_is_one_clear_line(directory: Path, arguments: list[str], said: str) -> None:
    status, message = await ran(*(one.format(directory) for one in arguments))
    assert status == 2
    assert said.format(directory, directory) in message
    assert "Traceback" not in message
    assert os.listdir(directory) == []


def processes_of(directory: Path) -> list[str]:
    """The processes whose command line names the directory."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(directory).encode() in entry.read_bytes():
                found.append(entry.parent.name)
    return found


@pytest.mark.parametrize("phase", [b"checking", b"restoring", b"  ... recovered"])
async def test_a_restore_that_is_interrupted_leaves_nothing(
    drill_directory: Path, directory: Path, phase: bytes
) -> None:
    process = await asyncio.create_subprocess_exec(
        *command("restore", str(drill_directory), "--data", str(directory / "home")),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(phase):
            break
    process.send_signal(signal.SIGINT)
    await process.stderr.read()
    assert await process.wait() == 130
    assert os.listdir(directory / "home") == ["start.lock"]
    assert processes_of(directory) == [], "no server of it lives either"
