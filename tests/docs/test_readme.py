"""The README's commands are run, in order, against a real service; the answers it shows must be the real ones."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WALK = "## One event, followed to an invoice line"
ADDRESS = "http://127.0.0.1:8080"
KEY = "demo-key"
"""The address and the key that stand in the README; both are replaced, so that nothing else is met."""

PATIENCE_SECONDS = 60.0
END_OF_BLOCK = "-- end of block --"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OWN = (
    (re.compile(r"\b(mtr|pdt|sub|inv)_[0-9A-Za-z]+"), r"\1_ID"),
    (re.compile(r'("(?:position)": ?)\d+'), r"\1N"),
    (re.compile(r'("(?:issued_at|recorded_at|digest)": ?)"[^"]*"'), r'\1"OWN"'),
    (re.compile(r'("tenant_id": ?)"[^"]*"'), r'\1"OWN"'),
)
"""What differs from run to run."""


@dataclass(frozen=True)
class Step:
    """A block of commands and what the README says they print."""

    commands: str
    answer: str


def section(title: str) -> str:
    """The text under a heading, up to the next one of its level."""
    return README.split(f"{title}\n", 1)[1].split("\n## ", 1)[0]


def steps() -> list[Step]:
    """The walk's blocks: each ``sh`` with the ``json`` or ``text`` that follows it."""
    found: list[Step] = []
    for language, body in _BLOCK.findall(section(WALK)):
        if language == "sh":
            found.append(Step(body, ""))
        else:
            found[-1] = Step(found[-1].commands, body.strip())
    return found


def stable(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, same in _OWN:
        text = pattern.sub(same, text)
    return text.strip()


@dataclass(frozen=True)
class Place:
    """A running service and the key of its tenant."""

    url: str
    key: str


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    """A real ``taximeter serve`` with a tenant of its own, whose first key is preset as the README presets it."""
    unique = uuid4().hex[:12]
    key = f"readme-{unique}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--port", "0", "--database-url", dsn, "--tenant", f"readme-{unique}"),
        cwd=ROOT,
        env={**os.environ, "TAXIMETER_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            printed = ""
            while not (found := re.search(r"serves at (\S+)", printed)):
                assert not process.stdout.at_eof(), printed
                printed += (await process.stdout.readline()).decode()
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
                assert (await client.get(f"{found[1]}/health/live")).status_code == 200
        yield Place(found[1], key)
    finally:
        process.terminate()
        await process.communicate()


async def run_steps(place: Place, folder: Path) -> list[str]:
    """What each block printed, in one shell."""
    script = f"\necho; echo '{END_OF_BLOCK}'\n".join([*(step.commands for step in steps()), ""])
    script = script.replace(ADDRESS, place.url).replace(KEY, place.key)
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        cwd=folder,
        env={**os.environ, "NO_PROXY": "*", "no_proxy": "*"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await shell.communicate()
    assert shell.returncode == 0, output.decode()
    return output.decode().split(END_OF_BLOCK)[:-1]


async def test_the_commands_print_what_the_readme_says(place: Place, tmp_path: Path) -> None:
    printed = await run_steps(place, tmp_path)
    assert len(printed) == len(steps()) >= 8
    for step, output in zip(steps(), printed, strict=True):
        assert stable(output) == stable(step.answer), step.commands


def test_only_what_differs_from_run_to_run_is_let_through() -> None:
    assert stable('{"quantity":"1","position":6}') != stable('{"quantity":"2","position":6}')
    assert stable('"amount": 28') != stable('"amount": 29')
    assert stable('{"position":6,"invoice_id":"inv_a1"}') == stable('{"position":7,"invoice_id":"inv_b2"}')


@pytest.mark.parametrize("command", ["run", "test"])
def test_the_two_commands_are_there(command: str) -> None:
    assert f"```sh\nmake {command}\n```" in README
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_ci_calls_exactly_the_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.rstrip().endswith("\nmake test")


def links() -> list[tuple[Path, str]]:
    """Every link of the documents to a file of the repository."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    ]


def test_every_link_leads_somewhere() -> None:
    assert len(links()) > 10
    missing = [(str(page), target) for page, target in links() if not (page.parent / target).exists()]
    assert not missing
