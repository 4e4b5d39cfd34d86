"""``taximeter audit`` as a person meets it: what is printed, and the status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.__main__ import parser
from app.audit.commands import run_audit
from app.audit.heads import read_heads
from app.engine.problems import EngineError
from app.service import Service
from app.settings import SettingError
from tests.app.audit.history import History

Said = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def said(history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """The status of an action and what it printed; its signing key lies in the test's directory."""

    async def run(action: str, *arguments: str | Path) -> tuple[int, str]:
        named = [] if action == "verify" else ["--signing-key", tmp_path / "key"]
        database = [] if action == "key" else ["--database-url", history.dsn, "--tenant", history.tenant_id]
        flags = parser().parse_args(["audit", action, *map(str, (*arguments, *named, *database))])
        status = await run_audit(flags, {})
        return status, capsys.readouterr().out

    return run


async def published(said: Said, heads: Path) -> str:
    """The public key that today's heads were signed with."""
    _, key = await said("key")
    assert (await said("publish", heads))[0] == 0
    return key.strip()


async def test_a_log_that_fits_its_published_heads(said: Said, history: History, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    key = await published(said, heads)
    assert await said("key") == (0, f"{key}\n")
    assert (await said("publish", heads))[0] == 0
    assert [head.position for head in read_heads(heads, key).heads[history.tenant_id]] == [25, 25]
    status, text = await said("verify", "--heads", heads, "--public-key", key)
    assert status == 0
    assert text.splitlines()[0].endswith("as they were recorded; 2 published heads compared")
    assert text.splitlines()[-2:] == [f"the published heads are signed by {key}", "the log is as it was recorded"]


async def test_a_log_that_does_not_fit_is_told_to_people_and_to_machines(said: Said, history: History) -> None:
    await history.tamper("delete from log.usage_event where tenant_id = $1 and event_id = 'c3'")
    status, text = await said("verify")
    assert status == 1
    lines = text.splitlines()
    assert lines[0] == f"tenant {history.tenant_id}: DOES NOT FIT"
    assert lines[1:4] == [
        "  positions 9 to 18: 1 of the commit's 10 events are gone",
        "    position 12 is empty",
        "    position 12 should hold event 'c3', whose row is gone",
    ]
    assert lines[-1] == "1 of 1 logs do not fit"
    status, text = await said("verify", "--json")
    told: dict[str, Any] = msgspec.json.decode(text)
    first = told["tenants"][0]["findings"][0]
    assert (status, told["fits"]) == (1, False)
    assert (first["rule"], first["first_position"], first["last_position"]) == ("events", 9, 18)


async def test_a_forged_line_is_told_and_an_honest_log_beside_it(said: Said, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    await published(said, heads)
    heads.write_bytes(heads.read_bytes().replace(b'"position":25', b'"position":24'))
    status, text = await said("verify", "--heads", heads)
    assert status == 1
    assert f"line 1 of {heads}: its signature does not fit" in text
    assert text.splitlines()[-1] == "the logs fit themselves, but the file of heads is not what was published"
    status, text = await said("publish", heads)
    assert (status, "nothing was published" in text) == (1, True)


async def test_heads_of_another_key_are_refused_when_the_key_is_pinned(
    said: Said, history: History, own_service: Service, tmp_path: Path
) -> None:
    heads = tmp_path / "heads"
    key = await published(said, heads)
    forger = Ed25519PrivateKey.generate()
    await history.tamper("update log.usage_event set customer_id = 'bob' where tenant_id = $1 and event_id = 'c3'")
    await history.rechain(9)
    heads.write_bytes(b"".join(head.line() for head in await history.publish(own_service, forger)))
    assert (await said("verify", "--heads", heads))[0] == 0
    status, text = await said("verify", "--heads", heads, "--public-key", key)
    assert (status, f"not {key}" in text) == (1, True)


async def test_what_does_not_fit_is_not_signed(said: Said, history: History, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    await published(said, heads)
    before = heads.read_bytes()
    await history.tamper("update log.usage_event set customer_id = 'bob' where tenant_id = $1 and event_id = 'c3'")
    await history.rechain(9)
    status, text = await said("publish", heads)
    assert (status, "history was rewritten" in text) == (1, True)
    assert heads.read_bytes() == before


async def test_guards_that_are_off_are_noted(said: Said, history: History) -> None:
    assert "note:" not in (await said("verify"))[1]
    await history.owner.execute("alter table log.commit disable trigger immutable")
    try:
        status, text = await said("verify")
    finally:
        await history.owner.execute("alter table log.commit enable trigger immutable")
    assert status == 0
    assert "note: what keeps log.commit from being changed is switched off or gone" in text


async def test_what_cannot_be_done_is_told(said: Said, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="`taximeter audit key` makes one"):
        await said("publish", tmp_path / "heads")
    with pytest.raises(SettingError, match="cannot be read: No such file"):
        await said("verify", "--heads", tmp_path / "nowhere")
    await said("key")
    with pytest.raises(SettingError, match="cannot be written to"):
        await said("publish", tmp_path / "no" / "heads")
    flags = parser().parse_args(["audit", "verify", "--data", str(tmp_path)])
    with pytest.raises(EngineError, match="there is no Taximeter data"):
        await run_audit(flags, {})
    with pytest.raises(SystemExit):
        await said("verify", "--public-key", "abc")
